//! Scenario 17: L1 reorgs under a sequencer that builds on its tip, and a sequencer that loses
//! blocks.

use alloy_primitives::B256;
use finality_core::head::{Source, Status};
use finality_e2e::{
    block::block,
    client::{hash, hex, quantity},
    devnet::Devnet,
    l1::FINALITY_DEPTH,
    real::Real,
    rollup::{OriginPolicy, Rollup},
    wait::{PATIENCE, until},
};
use serde_json::json;

/// Blocks on the one with a transaction that the sequencer loses, too.
const LOST: u64 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn s17_l1_drops_the_origins_of_the_last_blocks() {
    let net = Devnet::real().origins(OriginPolicy::Latest).start().await;
    let watch = net.watch();
    net.catch_up().await;
    net.produce(4).await;
    let old = net.rollup.chain().await;
    let dropped = net.l1.latest().await.number - 2;
    // Some of the blocks that HotShot has are built on what L1 is going to drop.
    while net.rollup.chain().await.last().unwrap().l1_origin() < dropped {
        net.catch_up().await;
        net.build(1).await;
    }
    net.catch_up().await;
    let tip = net.height().await;
    net.l1.reorg(3).await;
    net.mine_l1(1).await;
    until("the sequencer to leave its last block", PATIENCE, async || {
        let old = net.rollup.chain().await;
        let last = old.last().unwrap();
        let rpc = net.rollup.sequencer.op_geth.rpc();
        let block = rpc.call("eth_getBlockByNumber", json!([hex(last.number), false])).await;
        (block.is_null() || hash(&block["hash"]) != last.hash).then_some(())
    })
    .await;
    // HotShot gets the other branch, too.
    while net.height().await <= tip {
        net.produce(1).await;
    }
    net.mine_l1(FINALITY_DEPTH).await;
    net.head_reaches(net.height().await).await;
    net.assert_tagged_equals_direct().await;
    let new = net.rollup.chain().await;
    assert_eq!(block(&new, 1).hash, block(&old, 1).hash);
    assert!(net.sidecar.batches("skipped").await > 0.0, "the dead batches were not looked at");
    watch.finish().await;
}

/// The sequencer comes back without its blocks above `number`, and builds others: one of the first
/// has a transaction that none of the lost ones had.
pub(super) async fn sequencer_loses_above(net: &Devnet<Real>, number: u64) {
    let sequencer = &net.rollup.sequencer;
    sequencer.op_node.stop().await;
    sequencer.op_geth.rpc().call("debug_setHead", json!([hex(number)])).await;
    // The old process would give what it has built last again, whatever waits to be in a block.
    sequencer.op_geth.stop().await;
    sequencer.op_geth.start(&[]).await;
    net.rollup.users.come_late().await;
    sequencer.op_node.start(&[]).await;
}

/// The hash of the full node's block of that number.
async fn hash_at(net: &Devnet<Real>, number: u64) -> Option<B256> {
    let params = json!([hex(number), false]);
    let block = net.direct().call("eth_getBlockByNumber", params).await;
    (!block.is_null()).then(|| hash(&block["hash"]))
}

/// Number and hash of a block of the full node with a user's transaction in it. A block without one
/// would be built again as it was.
async fn block_of_a_user(net: &Devnet<Real>) -> (u64, B256) {
    let sent = net.rollup.users.count().await;
    until("the full node to have the users' transactions", PATIENCE, async || {
        let mut last = None;
        for transaction in &sent {
            let receipt =
                net.direct().call("eth_getTransactionReceipt", json!([transaction])).await;
            let number = quantity(receipt.get("blockNumber")?);
            last = last.max(Some((number, hash(&receipt["blockHash"]))));
        }
        last
    })
    .await
}

/// What HotShot has not seen may go: the head goes on with the other blocks.
#[tokio::test(flavor = "multi_thread")]
async fn s17_the_sequencer_loses_unconfirmed_blocks() {
    let net = Devnet::real().start().await;
    let watch = net.watch();
    net.catch_up().await;
    let head = net.head_reaches(net.height().await).await;
    let (number, lost) = block_of_a_user(&net).await;
    sequencer_loses_above(&net, head).await;
    until("the node to leave the lost block", PATIENCE, async || {
        let now = hash_at(&net, number).await;
        now.is_some_and(|now| now != lost).then_some(())
    })
    .await;
    net.catch_up().await;
    net.produce(2).await;
    net.head_reaches(net.height().await).await;
    net.report("source espresso", |report| report.source == Source::Espresso).await;
    net.assert_tagged_equals_direct().await;
    watch.finish().await;
}

/// What HotShot has confirmed is not given up before Ethereum has finalized something else.
#[tokio::test(flavor = "multi_thread")]
async fn s17_the_sequencer_loses_confirmed_blocks() {
    let net = Devnet::real().start().await;
    let watch = net.watch();
    net.catch_up().await;
    let (lost, _) = block_of_a_user(&net).await;
    while net.height().await < lost + LOST {
        net.produce(1).await;
    }
    let head = net.head_reaches(net.height().await).await;
    watch.node_may_differ(true);
    sequencer_loses_above(&net, lost - 1).await;
    net.tagged_is_refused("diverged").await;
    net.head_stays_at(head).await;

    net.finalize(head).await;
    net.report("source ethereum", |report| report.source == Source::Ethereum).await;
    net.report("status ok", |report| report.status == Status::Ok).await;
    watch.node_may_differ(false);
    let contradictions = net.sidecar.metric("espresso_verifier_contradictions_total").await;
    assert_eq!(contradictions, Some(1.0));
    net.head_reaches(head).await;
    net.assert_tagged_equals_direct().await;
    net.catch_up().await;
    net.produce(2).await;
    net.head_reaches(net.height().await).await;
    net.report("source espresso", |report| report.source == Source::Espresso).await;
    watch.finish().await;
}
