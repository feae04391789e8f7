//! Scenario 19: mixed-up URLs have a code and a reason, and lead to no head.

use finality_e2e::{
    anvil::Anvil,
    devnet::Devnet,
    nitro::contracts::{BRIDGE, SEQUENCER_INBOX},
    ports::free_port,
    process,
    signer::Signer,
};

use crate::mixed_up::{Case, differences};

#[tokio::test(flavor = "multi_thread")]
async fn s19_mixed_up_urls_are_named() {
    let net = Devnet::real().start().await;
    let folder = process::folder();
    let other = Anvil::start("other", free_port(), 1234, 1_700_000_000, &[], folder.path()).await;
    let settings = net.sidecar.settings();
    let (node, sequencer) = (&net.rollup.node, &net.rollup.sequencer);
    let local = |port: u16| format!("http://127.0.0.1:{port}");
    let cases: Vec<Case<'_>> = vec![
        ("node and op-node swapped", "chain_unknown", "eth_chainId", {
            Box::new(|settings| {
                let consensus = settings.node_consensus_rpc.as_mut().unwrap();
                std::mem::swap(&mut settings.node_execution_rpc, consensus);
            })
        }),
        ("the port of the Engine API", "chain_unknown", "401", {
            Box::new(|settings| settings.node_execution_rpc = local(node.op_geth.engine_port()))
        }),
        ("a port for WebSocket only", "chain_unknown", "404", {
            Box::new(|settings| settings.node_execution_rpc = local(sequencer.op_geth.ws_port()))
        }),
        ("the node as L1", "config_mismatch", "l1_rpc", {
            Box::new(|settings| settings.l1_rpc = settings.node_execution_rpc.clone())
        }),
        ("L1 as the node", "config_mismatch", "node_execution_rpc", {
            Box::new(|settings| settings.node_execution_rpc = settings.l1_rpc.clone())
        }),
        ("Envoy as the node", "chain_unknown", "filter", {
            Box::new(|settings| settings.node_execution_rpc = net.envoy.url())
        }),
        ("the node of another chain", "config_mismatch", "node_execution_rpc", {
            Box::new(|settings| settings.node_execution_rpc = other.rpc().url().into())
        }),
        ("another L1", "config_mismatch", "l1_rpc", {
            Box::new(|settings| settings.l1_rpc = other.rpc().url().into())
        }),
        ("op-geth as a node of Nitro", "chain_unknown", "rollup", {
            Box::new(|settings| {
                settings.node_consensus_rpc = None;
                settings.more = vec![
                    ("--rollup", "nitro".into()),
                    ("--bridge-address", BRIDGE.to_string()),
                    ("--sequencer-inbox-address", SEQUENCER_INBOX.to_string()),
                    ("--batcher-addresses", Signer::batcher().address().to_string()),
                ];
            })
        }),
    ];
    assert_eq!(differences(settings, cases).await, [""; 0]);
    // Beside them all the right one goes on.
    net.produce(2).await;
    net.head_reaches(net.height().await).await;
}
