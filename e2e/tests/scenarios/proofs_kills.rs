//! Scenario 20, killed again and again: what is compared with L1 goes on where it was.

use finality_e2e::wait::{PATIENCE, until};

use crate::proofs::{be_honest, forge, show_on_l1, with};

const ROUNDS: u64 = 8;

/// With `root`, each time at another moment: while batches wait for the light client, while it
/// covers them, and before the start has got anywhere.
#[tokio::test(flavor = "multi_thread")]
async fn s20_killed_again_and_again_under_the_root() {
    let net = with(2, "root").await;
    let watch = net.watch();
    net.produce(1).await;
    show_on_l1(&net).await;
    net.head_reaches(net.height().await).await;
    let stored = async || std::fs::read(net.sidecar.store()).unwrap_or_default();
    for round in 0..ROUNDS {
        let before = stored().await;
        net.produce(2).await;
        match round % 4 {
            0 => drop(net.sidecar.reason("awaiting_checkpoint").await),
            1 => show_on_l1(&net).await,
            2 => {
                net.mine_hotshot(1).await;
                net.mine_l1(3).await;
                until("the head to be saved", PATIENCE, async || {
                    net.mine_l1(1).await;
                    (stored().await != before).then_some(())
                })
                .await;
            }
            _ => {
                net.sidecar.kill();
                net.sidecar.spawn();
            }
        }
        net.sidecar.kill();
        let served = *watch.seen().heads.last().unwrap();
        net.mine_hotshot(1).await;
        net.sidecar.start().await;
        let report = net.report("any number", |_| true).await;
        assert!(report.number >= served, "{report:?} after {served}");
    }
    show_on_l1(&net).await;
    net.head_reaches(net.height().await).await;
    net.assert_tagged_equals_direct().await;
    watch.finish().await;
}

/// With `payload`, all services forge headers and turn honest in between: whatever was audited
/// before a kill is gone on from, and the head is found out.
#[tokio::test(flavor = "multi_thread")]
async fn s20_forged_headers_and_kills_again_and_again() {
    let net = with(2, "payload").await;
    net.produce(1).await;
    show_on_l1(&net).await;
    let head = net.head_reaches(net.height().await).await;
    let audited = async || net.sidecar.status().await["proofs"]["audited"].as_u64();
    let proven = audited().await;
    assert!(proven.is_some());
    let blocks = forge(&net, 2).await;
    net.head_reaches(head + 1).await;
    for round in 0..ROUNDS {
        net.sidecar.kill();
        if round == ROUNDS / 2 {
            be_honest(&net);
        }
        net.mine_hotshot(1).await;
        net.sidecar.start().await;
        let report = net.report("the head of before", |_| true).await;
        assert_eq!(report.number, head + 1);
        assert!(audited().await <= Some(proven.unwrap() + 1), "nothing of the head is audited");
    }
    show_on_l1(&net).await;
    net.tagged_is_refused("unproven").await;
    for _ in 0..ROUNDS {
        net.sidecar.kill();
        net.sidecar.start().await;
        net.sidecar.reason("unproven").await;
        net.tagged_is_refused("unproven").await;
    }
    net.batcher.post(&blocks);
    net.mine_hotshot(1).await;
    show_on_l1(&net).await;
    net.produce(1).await;
    net.head_reaches(head + 2).await;
    net.assert_tagged_equals_direct().await;
}
