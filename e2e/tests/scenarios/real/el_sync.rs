//! Scenario 14: the full node comes back by execution-layer sync while op-batcher stands still:
//! op-node and op-geth call their unsafe tip finalized.

use std::time::Duration;

use finality_core::head::{Source, Status};
use finality_e2e::{
    client::{hash, hex},
    devnet::Devnet,
    l1::FINALITY_DEPTH,
    real::Real,
    rollup::Rollup,
    wait::{PATIENCE, until},
};
use serde_json::json;
use tokio::time::sleep;

use super::reorgs::sequencer_loses_above;

/// How far the false `finalized` is above the head at least.
const AHEAD: u64 = 4;

/// A devnet in that state, the head, and what the node calls finalized.
async fn el_synced(more: &[&str]) -> (Devnet<Real>, u64, u64) {
    let net = Devnet::real().start().await;
    net.catch_up().await;
    let head = net.head_reaches(net.height().await).await;
    let node = &net.rollup.node;
    node.op_node.stop().await;
    node.op_geth.stop().await;
    node.op_geth.wipe().await;
    node.op_geth.start(&[]).await;
    node.op_node.start(&[&["--syncmode=execution-layer"][..], more].concat()).await;
    let finalized = until("op-node to call its tip finalized", PATIENCE, async || {
        node.op_node.reading("finalized_l2").await.filter(|number| *number >= head + AHEAD)
    })
    .await;
    // It begins to derive, and finds nothing.
    until("op-node to read L1", PATIENCE, async || {
        net.mine_l1(1).await;
        sleep(Duration::from_millis(100)).await;
        node.op_node.reading("current_l1").await.filter(|number| *number > FINALITY_DEPTH)
    })
    .await;
    net.mine_l1(FINALITY_DEPTH).await;
    net.report("status ok", |report| report.status == Status::Ok).await;
    net.head_stays_at(head).await;
    net.sidecar.reason("finality_unproven").await;
    (net, head, finalized)
}

async fn head_waits_for_l1(more: &[&str]) {
    let (net, head, finalized) = el_synced(more).await;
    let watch = net.watch();
    net.rollup.op_batcher.start().await;
    until("Ethereum to move the head", PATIENCE, async || {
        net.mine_l1(1).await;
        sleep(Duration::from_millis(200)).await;
        let report = net.sidecar.head().await?;
        assert!(report.number == head || net.rollup.is_finalized(report.number).await);
        (report.number >= finalized && report.source == Source::Ethereum).then_some(())
    })
    .await;
    net.rollup.op_batcher.stop();
    net.assert_tagged_equals_direct().await;
    net.catch_up().await;
    net.head_reaches(net.height().await).await;
    net.report("source espresso", |report| report.source == Source::Espresso).await;
    watch.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s14_after_execution_layer_sync_the_head_waits_for_l1() {
    head_waits_for_l1(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s14_the_same_with_an_engine_that_always_syncs_so() {
    head_waits_for_l1(&["--l2.enginekind=reth"]).await;
}

/// What the sequencer loses then was told to nobody.
#[tokio::test(flavor = "multi_thread")]
async fn s14_the_sequencer_loses_what_the_node_calls_finalized() {
    let (net, head, finalized) = el_synced(&[]).await;
    sequencer_loses_above(&net, head).await;
    let sequencer = net.rollup.sequencer.op_geth.rpc();
    let block = async |number: u64| {
        let block = sequencer.call("eth_getBlockByNumber", json!([hex(number), false])).await;
        (!block.is_null()).then(|| hash(&block["hash"]).to_string())
    };
    until("the sequencer to go on", PATIENCE, async || block(finalized).await).await;
    net.head_stays_at(head).await;
    let report = net.sidecar.head().await.unwrap();
    assert_eq!(report.hash, block(head).await, "the head is the sequencer's block");
}
