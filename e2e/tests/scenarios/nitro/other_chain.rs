//! A node of another kind, another chain or another first block.

use std::sync::Arc;

use finality_e2e::{
    devnet::Devnet,
    nitro::{block::Rules, ledger::Ledger, node::Node},
    process,
    sidecar::Sidecar,
};

use crate::mixed_up::{Case, differences};

#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_what_is_no_node_of_the_chain_is_named() {
    let net = Devnet::nitro().start().await;
    let settings = net.sidecar.settings();
    let cases: Vec<Case<'_>> = vec![
        ("a node of Ethereum", "chain_unknown", "rollup", {
            Box::new(|settings| settings.node_execution_rpc = settings.l1_rpc.clone())
        }),
        ("another first block", "config_mismatch", "genesis_block", {
            Box::new(|settings| {
                settings.more.retain(|(flag, _)| *flag != "--genesis-block");
                settings.more.push(("--genesis-block", "1".into()));
            })
        }),
    ];
    assert_eq!(differences(settings, cases).await, [""; 0]);

    // With the store of a chain, no sidecar takes up another one.
    let rules = net.rollup.rules();
    let others = [Rules { chain_id: rules.chain_id + 1, ..rules }, rules];
    for rules in others {
        let genesis = Arc::new(rules.genesis(1, Ledger::default()));
        let node = Node::start(rules, genesis).await;
        let mut settings = settings.clone();
        settings.node_execution_rpc = node.server().url();
        let folder = process::folder();
        let sidecar = Sidecar::new(settings, folder.path());
        std::fs::copy(net.sidecar.store(), sidecar.store()).unwrap();
        sidecar.spawn();
        assert_eq!(sidecar.ends().await, Some(1));
    }
    // Beside them all the right one goes on.
    net.produce(2).await;
    net.head_reaches(net.height().await).await;
}
