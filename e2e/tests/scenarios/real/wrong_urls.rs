//! Scenario 19: mixed-up URLs have a code and a reason, and lead to no head.

use finality_e2e::{
    anvil::Anvil,
    devnet::Devnet,
    ports::free_port,
    process,
    sidecar::{Settings, Sidecar},
};
use futures::future::join_all;

/// A case: its name, the code, a word of the reason, and what is wrong.
type Case<'a> = (&'a str, &'a str, &'a str, Box<dyn Fn(&mut Settings) + 'a>);

/// Asserts what a sidecar with other settings says. Answers what it says instead.
async fn differs(settings: &Settings, (name, code, word, change): Case<'_>) -> Option<String> {
    let folder = process::folder();
    let mut settings = settings.clone();
    change(&mut settings);
    let sidecar = Sidecar::new(settings, folder.path());
    sidecar.start().await;
    sidecar.full_round().await;
    let status = sidecar.status().await;
    let ready = sidecar.get("/readyz").await.unwrap().status;
    let (found, reason) = (&status["reason_code"], status["reason"].as_str().unwrap_or_default());
    let named = found == code && reason.contains(word);
    (!named || ready != 503 || sidecar.head().await.is_some())
        .then(|| format!("{name}: {found}, ready {ready}: {reason}"))
}

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
    ];
    let differences = join_all(cases.into_iter().map(|case| differs(settings, case))).await;
    assert_eq!(differences.into_iter().flatten().collect::<Vec<_>>(), [""; 0]);
    // Beside them all the right one goes on.
    net.produce(2).await;
    net.head_reaches(net.height().await).await;
}
