//! Scenario 16: op-geth and op-node of the full node stop, start, go back and begin anew.

use finality_core::head::Status;
use finality_e2e::{
    client::{hex, quantity},
    devnet::Devnet,
    real::Real,
    wait::{PATIENCE, until},
};
use serde_json::json;

/// How far the node goes back.
const BACK: u64 = 40;

/// The head goes on with what L2 builds from now on.
async fn head_goes_on(net: &Devnet<Real>) {
    net.head_reaches(net.height().await + 2).await;
    net.report("status ok", |report| report.status == Status::Ok).await;
    net.assert_tagged_equals_direct().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s16_the_full_node_restarts() {
    let net = Devnet::real().with_op_batcher().start().await;
    let watch = net.watch();
    net.by_the_clock(async {
        let node = &net.rollup.node;
        let safe_heads = node.op_node.with_safe_head_database();
        head_goes_on(&net).await;

        watch.node_may_differ(true);
        node.op_geth.stop().await;
        node.op_geth.start(&[]).await;
        head_goes_on(&net).await;

        node.op_node.stop().await;
        node.op_node.start(&[&safe_heads]).await;
        head_goes_on(&net).await;

        // Under a running op-node the node goes back below the head.
        net.head_reaches(BACK + 2).await;
        let head = net.head().await.unwrap();
        node.op_geth.rpc().call("debug_setHead", json!([hex(head - BACK)])).await;
        net.tagged_is_refused("node_behind").await;
        head_goes_on(&net).await;

        // It begins anew.
        node.op_node.stop().await;
        node.op_geth.stop().await;
        node.op_geth.wipe().await;
        node.op_geth.start(&[]).await;
        net.tagged_is_refused("node_behind").await;
        node.op_node.start(&[&safe_heads]).await;
        head_goes_on(&net).await;
        watch.node_may_differ(false);
        head_goes_on(&net).await;
    })
    .await;
    assert_eq!(net.sidecar.batches("mismatch").await, 0.0);
    watch.finish().await;
}

/// Blocks since the last clean stop, whose state an unclean one loses.
const LOST: u64 = 6;

/// After an unclean stop op-geth goes on from the state that it had written, and still serves the
/// blocks above: the head is among them.
#[tokio::test(flavor = "multi_thread")]
async fn s16_the_full_node_stops_uncleanly() {
    let net = Devnet::real().start().await;
    let watch = net.watch();
    let node = &net.rollup.node;
    let rpc = node.op_geth.rpc();
    let latest = async || quantity(&rpc.call("eth_blockNumber", json!([])).await);
    let reaches = async |number: u64| {
        let what = format!("the node to reach {number}");
        until(&what, PATIENCE, async || (latest().await >= number).then_some(())).await;
    };
    net.catch_up().await;
    net.head_reaches(net.height().await).await;
    node.op_geth.stop().await;
    node.op_geth.start(&[]).await;
    reaches(latest().await + LOST).await;
    net.catch_up().await;
    let head = net.head_reaches(net.height().await).await;
    // Batches that the sidecar gets later.
    reaches(head + 2).await;
    net.batcher.post(&net.build(2).await);
    // The blocks up to there are on the disk.
    while latest().await < head + LOST {
        net.rollup.users.fill().await;
        reaches(latest().await + 1).await;
    }

    // A running op-node could make it go on.
    watch.node_may_differ(true);
    node.op_node.stop().await;
    node.op_geth.kill();
    node.op_geth.start(&[]).await;
    let written = latest().await;
    assert!(written < head, "its latest block is {written}");
    let block = rpc.call("eth_getBlockByNumber", json!([hex(head), false])).await;
    assert!(!block.is_null(), "it does not serve block {head} above {written}");
    net.tagged_is_refused("node_behind").await;
    net.report("node_behind", |report| report.status == Status::NodeBehind).await;
    net.mine_hotshot(1).await;
    net.head_stays_at(head).await;
    net.tagged_is_refused("node_behind").await;

    rpc.call("debug_setHead", json!([hex(written)])).await;
    node.op_node.start(&[&node.op_node.with_safe_head_database()]).await;
    net.head_reaches(head + 2).await;
    net.report("status ok", |report| report.status == Status::Ok).await;
    watch.node_may_differ(false);
    net.catch_up().await;
    net.head_reaches(net.height().await).await;
    net.assert_tagged_equals_direct().await;
    assert_eq!(net.sidecar.batches("mismatch").await, 0.0);
    watch.finish().await;
}
