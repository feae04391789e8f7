//! Scenario 11: the batcher's key changes while batches flow.

use alloy_primitives::Bytes;
use finality_e2e::{
    batch::Shape,
    batcher::OpRollup,
    devnet::Devnet,
    l1::FINALITY_DEPTH,
    rollup::OriginPolicy,
    signer::Signer,
    wait::{PATIENCE, until},
};
use serde_json::json;

/// The sequencer follows the L1 tip, so batches of both keys are on HotShot long before the
/// rotation between them is final.
async fn the_batchers_key_changes(net: &Devnet<impl OpRollup>) {
    let watch = net.watch();
    net.catch_up().await;
    net.produce(3).await;
    let built_up_to = async |origin: u64| {
        let chain = net.rollup.chain().await;
        chain.iter().filter(|block| block.l1_origin() <= origin).count() as u64
    };
    let rotation = net.rotate_batcher(Signer::successor()).await;
    net.produce(FINALITY_DEPTH).await;
    // A real sequencer is some L1 blocks behind.
    while built_up_to(rotation).await == net.height().await {
        net.produce(1).await;
    }

    // What is final by now is confirmed under the old key.
    let confirmed = built_up_to(net.l1.finalized().await.number).await;
    net.head_reaches(confirmed).await;
    net.head_stays_at(confirmed).await;

    // The last batches of the old key and the first ones of the new key, as their origins become
    // final.
    let tip = net.height().await;
    assert!(built_up_to(rotation - 1).await > 0 && built_up_to(rotation).await < tip);
    net.mine_l1(FINALITY_DEPTH).await;
    net.head_reaches(tip).await;
    net.assert_tagged_equals_direct().await;
    let status = net.sidecar.status().await;
    let terms = json!([
        {"batcher": Signer::batcher().address(), "from": 1, "until": rotation},
        {"batcher": Signer::successor().address(), "from": rotation, "until": null},
    ]);
    assert_eq!(status["batchers"]["terms"], terms);

    // The old key signs a block after the rotation: skipped, whatever its content and length.
    net.mine_l1(1).await;
    let block = net.build(1).await.remove(0);
    let batch = block.batch.clone();
    let mut other = batch.clone();
    other.header.extra_data = b"old key".as_slice().into();
    let mut huge = batch.clone();
    huge.content.transactions = vec![Bytes::from_static(&[1]); 530_000];
    for batch in [&other, &batch, &huge, &huge] {
        net.batcher.post_as(&Signer::batcher(), batch);
    }
    net.mine_hotshot(1).await;
    net.mine_l1(FINALITY_DEPTH).await;
    net.all_is_read().await;
    // Until the block's origin is known to be final, they may be what its batcher signed.
    let is_empty = async || {
        let status = net.sidecar.status().await;
        status["reason_code"] == "awaiting_batch" && status["candidates"]["count"] == 0
    };
    until("nothing to be kept", PATIENCE, async || is_empty().await.then_some(())).await;
    net.head_stays_at(tip).await;
    assert!(is_empty().await);
    net.batcher.post_batch(&batch, Shape::FourFields);
    net.mine_hotshot(1).await;
    net.head_reaches(tip + 1).await;
    watch.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_the_batchers_key_changes() {
    let net = Devnet::emulated().origins(OriginPolicy::Latest).start().await;
    the_batchers_key_changes(&net).await;
}

mod real {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn s11_real_the_batchers_key_changes() {
        let net = Devnet::real().origins(OriginPolicy::Latest).start().await;
        the_batchers_key_changes(&net).await;
    }
}

/// L1 drops the block of a rotation before it is final: the old key stays authorized.
#[tokio::test(flavor = "multi_thread")]
async fn s11_an_l1_reorg_undoes_the_rotation() {
    let net = Devnet::emulated().start().await;
    let watch = net.watch();
    net.produce(2).await;
    net.l1.set_batcher(Signer::successor().address()).await;
    net.mine_l1(2).await;
    net.l1.reorg(FINALITY_DEPTH - 1).await;
    // Past the L1 block of the rotation, all under the old key.
    net.produce(FINALITY_DEPTH + 4).await;
    net.head_reaches(net.height().await).await;
    let status = net.sidecar.status().await;
    let terms = json!([{"batcher": Signer::batcher().address(), "from": 1, "until": null}]);
    assert_eq!(status["batchers"]["terms"], terms);
    net.assert_tagged_equals_direct().await;
    watch.finish().await;
}

/// While the chain runs on the fallback batcher, status says so.
#[tokio::test(flavor = "multi_thread")]
async fn s11_the_fallback_batcher_is_active() {
    let net = Devnet::emulated().start().await;
    let watch = net.watch();
    net.sidecar.reason("up_to_date").await;
    net.build(3).await;
    net.sidecar.reason("awaiting_batch").await;
    net.l1.set_active_is_espresso(false).await;
    net.mine_l1(FINALITY_DEPTH + 1).await;
    net.sidecar.reason("fallback_batcher_active").await;
    // Ethereum's finality continues.
    let height = net.height().await;
    net.rollup.op_node.set_finalized(height);
    net.head_reaches(height).await;
    net.l1.set_active_is_espresso(true).await;
    net.mine_l1(FINALITY_DEPTH + 1).await;
    net.sidecar.reason("up_to_date").await;
    net.produce(2).await;
    net.head_reaches(height + 2).await;
    net.assert_tagged_equals_direct().await;
    watch.finish().await;
}
