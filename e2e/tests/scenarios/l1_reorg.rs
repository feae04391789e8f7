//! Scenario 2: L1 reorgs.

use finality_e2e::{
    block::block,
    devnet::Devnet,
    l1::FINALITY_DEPTH,
    rollup::{OriginPolicy, Rollup},
};

/// The sequencer builds on L1 blocks that are not final; L1 drops them, and so must everything
/// else.
#[tokio::test(flavor = "multi_thread")]
async fn s02_l1_reorg_drops_origins() {
    let net = Devnet::emulated().origins(OriginPolicy::Latest).start().await;
    let watch = net.watch();
    net.produce(4).await;
    let old = net.rollup.sequencer.chain().await;
    let tip = net.height().await;
    // Only blocks with a final origin are confirmed, although HotShot has them all.
    let final_origin = net.l1.finalized().await.number;
    let confirmed = old.iter().filter(|block| block.l1_origin() <= final_origin).count();
    let confirmed = confirmed as u64;
    assert_eq!(confirmed, tip - FINALITY_DEPTH);
    net.head_reaches(confirmed).await;
    net.head_stays_at(confirmed).await;

    net.l1.reorg(3).await;
    net.head_stays_at(confirmed).await;

    // The sequencer drops the blocks whose origins are gone; the node follows; HotShot gets both.
    net.rollup.sequencer.fork_above(tip - 3).await;
    let new = net.build(3).await;
    net.batcher.post(&new);
    net.mine_hotshot(1).await;
    net.all_is_read().await;
    net.head_stays_at(confirmed).await;
    assert_ne!(
        block(&old, tip).batch.content.epoch_hash,
        new.last().unwrap().batch.content.epoch_hash
    );

    net.mine_l1(FINALITY_DEPTH).await;
    net.head_reaches(tip).await;
    let report = net.sidecar.head().await.unwrap();
    assert_eq!(report.hash.unwrap(), new.last().unwrap().hash.to_string());
    net.assert_tagged_equals_direct().await;
    assert!(net.sidecar.batches("skipped").await > 0.0, "the dead batches were not looked at");

    net.produce(FINALITY_DEPTH + 2).await;
    net.head_reaches(tip + 2).await;
    watch.finish().await;
}

/// A sequencer that uses only final origins is unaffected.
async fn reorgs_with_final_origins(net: &Devnet<impl Rollup>) {
    let watch = net.watch();
    for depth in 1..=FINALITY_DEPTH {
        net.produce(2).await;
        net.l1.reorg(depth).await;
        net.produce(2).await;
        net.head_reaches(net.height().await).await;
        net.assert_tagged_equals_direct().await;
    }
    watch.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s02_l1_reorg_with_final_origins() {
    reorgs_with_final_origins(&Devnet::emulated().start().await).await;
}

mod real {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn s02_real_l1_reorg_with_final_origins() {
        reorgs_with_final_origins(&Devnet::real().start().await).await;
    }
}
