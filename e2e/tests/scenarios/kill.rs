//! Scenario 5: the sidecar is killed again and again while the head advances.

use finality_e2e::{
    devnet::Devnet,
    rollup::{Poster, Rollup},
    wait::{PATIENCE, until},
};

const ROUNDS: u64 = 8;

pub(crate) async fn killed_again_and_again(net: &Devnet<impl Rollup>) {
    let watch = net.watch();
    let stored = async || std::fs::read(net.sidecar.store()).unwrap_or_default();
    for round in 0..ROUNDS {
        let before = stored().await;
        net.produce(3).await;
        // At a different moment each time.
        match round % 4 {
            0 => {
                net.head_reaches(net.height().await).await;
            }
            1 => {
                until("the store to change", PATIENCE, async || {
                    (stored().await != before).then_some(())
                })
                .await;
            }
            2 => {
                net.sidecar.kill();
                net.sidecar.start().await;
            }
            _ => {
                net.sidecar.kill();
                net.sidecar.spawn();
            }
        }
        net.sidecar.kill();
        let served = *watch.seen().heads.last().unwrap();

        // Nothing verifies now, but the filter still has the head; or the last that it heard of a
        // sidecar is that it has not seen the node yet.
        let answer = net.ask_tagged().await;
        let is_unchecked =
            answer.result().is_err_and(|error| error.reason() == Some("node_unchecked"));
        assert!(is_unchecked || answer.head() >= Some(served), "{}", answer.text());
        net.build(1).await;
        net.sidecar.start().await;
        let report = net.report("any number", |_| true).await;
        assert!(report.number >= served, "{report:?} after {served}");
        let chain = net.rollup.chain().await;
        net.batcher.post(&chain[chain.len() - 1..]);
        net.mine_hotshot(1).await;
    }
    net.head_reaches(net.height().await).await;
    net.assert_tagged_equals_direct().await;

    // Once more without a kill.
    let floor = net.height().await;
    net.sidecar.stop().await;
    net.sidecar.start().await;
    net.report("the stored number", |report| report.number == floor).await;
    net.produce(2).await;
    net.head_reaches(floor + 2).await;
    watch.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s05_killed_again_and_again() {
    killed_again_and_again(&Devnet::emulated().start().await).await;
}

mod real {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn s05_real_killed_again_and_again() {
        killed_again_and_again(&Devnet::real().start().await).await;
    }
}

/// Batches that were read but not confirmed are read again after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn s05_killed_with_batches_waiting() {
    let net = Devnet::emulated().start().await;
    let watch = net.watch();
    net.produce(2).await;
    let head = net.head_reaches(net.height().await).await;

    // HotShot is ahead of the node, out of order and over several blocks.
    net.mine_l1(4).await;
    let blocks = net.rollup.sequencer.produce(4).await;
    for index in [3, 1, 0, 2] {
        net.batcher.post(&blocks[index..=index]);
        net.mine_hotshot(2).await;
    }
    net.all_is_read().await;
    net.head_stays_at(head).await;
    for lag in [3, 1, 0] {
        net.sidecar.kill();
        net.sidecar.start().await;
        let chain = net.rollup.sequencer.chain().await;
        net.rollup.node.follow(&chain[..chain.len() - lag]).await;
        net.head_reaches((chain.len() - lag) as u64).await;
        net.head_stays_at((chain.len() - lag) as u64).await;
    }
    net.assert_tagged_equals_direct().await;
    watch.finish().await;
}
