//! Scenario 16: op-geth and op-node of the full node stop, start, go back and begin anew.

use finality_core::head::Status;
use finality_e2e::{client::hex, devnet::Devnet, real::Real};
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
