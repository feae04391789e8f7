//! What Ethereum decides, and a node that changes its mind.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

use super::{world::*, *};
use crate::{
    store::memory::{MemoryStore, Writes},
    telemetry::metrics::Target,
};

const OTHER: Fork = Fork { name: 1, at: 5 };

/// A verifier that has confirmed up to block 8 of ten that are posted.
async fn at_eight(world: &World, store: &MemoryStore) -> Runner {
    world.post_all(MAIN, 1..=8);
    let mut runner = world.verifier(store);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 8);
    runner
}

#[tokio::test]
async fn the_node_s_finalized_is_the_head_when_it_is_higher() {
    let world = World::new(50);
    let store = MemoryStore::default();
    let mut runner = at_eight(&world, &store).await;
    world.finalize(7);
    runner.run_until_idle().await;
    let head = runner.head().unwrap();
    assert_eq!((head.number, head.source), (8, Source::Espresso));
    assert_eq!(head.ethereum.unwrap().number, 7);
    world.finalize(30);
    runner.run_until_idle().await;
    let head = runner.head().unwrap();
    assert_eq!((head.number, head.source), (30, Source::Ethereum));
    // Verification continues from there, whatever HotShot lacks in between.
    world.post_all(MAIN, 29..=40);
    runner.run_until_idle().await;
    let head = runner.head().unwrap();
    assert_eq!((head.number, head.source), (40, Source::Espresso));
    // A reading that falls is ignored.
    world.finalize(3);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 40);
    assert_eq!(runner.head().unwrap().ethereum.unwrap().number, 30);
}

#[tokio::test]
async fn a_finalized_that_cannot_be_trusted_is_not_admitted() {
    type Lie = fn(&World);
    let lies: [(&str, Lie); 6] = [
        ("op-node only", |world| world.change().consensus_finalized = Some(29)),
        ("op-node has no finalized block", |world| world.change().consensus_finalized = None),
        ("not known to be final", |world| world.change().l1_finalized = Some(14)),
        ("not known to be final", |world| world.change().l1_finalized = None),
        ("Ethereum did not keep", |world| world.change().l1_fork = Fork { name: 3, at: 4 }),
        ("of chain 99", |world| world.change().node_chain_id = 99),
    ];
    for (said, lie) in lies {
        let world = World::new(50);
        world.post_all(MAIN, 1..=8);
        // A proof, or trust in its place, is not enough.
        let mut runner = world.verifier_with(&MemoryStore::default(), |options| {
            options.trust_node_finalized = true;
        });
        runner.run_until_idle().await;
        world.finalize(30);
        lie(&world);
        runner.run_until_idle().await;
        assert_eq!(runner.number(), 8, "{said}");
        let refused = runner.board.findings().node.finalized_refused.clone().unwrap();
        assert!(refused.contains(said), "{refused} lacks {said}");
    }
}

#[tokio::test]
async fn a_dependency_that_is_down_refuses_finality_only_for_now() {
    for down in ["sync status", "node block", "l1 hash", "l1", "node finalized"] {
        let world = World::new(50);
        let store = MemoryStore::default();
        let mut runner = at_eight(&world, &store).await;
        world.finalize(30);
        world.change().down.insert(down);
        runner.run_until_idle().await;
        assert_eq!(runner.number(), 8, "{down}");
        world.change().down.clear();
        runner.run_until_idle().await;
        assert_eq!(runner.number(), 30, "{down}");
    }
}

#[tokio::test]
async fn divergence_ends_when_the_node_returns() {
    let world = World::new(8);
    let store = MemoryStore::default();
    let mut runner = at_eight(&world, &store).await;
    world.change().node_fork = OTHER;
    runner.run_until_idle().await;
    let head = runner.head().unwrap();
    assert_eq!((head.number, head.status), (8, Status::Diverged));
    let (confirmed, node) = (l2_hash(MAIN, 8), l2_hash(OTHER, 8));
    assert_eq!(runner.stall(), Stall::Diverged { number: 8, confirmed, node });
    // Finality below the head decides nothing.
    world.finalize(7);
    runner.run_until_idle().await;
    assert_eq!(runner.head().unwrap().status, Status::Diverged);
    world.change().node_fork = MAIN;
    world.change().node_latest = 12;
    world.post_all(MAIN, 9..=12);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 12);
    assert_eq!(runner.head().unwrap().status, Status::Ok);
    assert!(runner.metrics.render().contains("contradictions_total 0"));
}

#[tokio::test]
async fn divergence_ends_when_ethereum_decides_for_the_other_block() {
    for finalized in [8, 11] {
        let world = World::new(8);
        let store = MemoryStore::default();
        let mut runner = at_eight(&world, &store).await;
        world.change().node_fork = OTHER;
        world.change().node_latest = 12;
        runner.run_until_idle().await;
        assert_eq!(runner.head().unwrap().status, Status::Diverged);
        world.finalize(finalized);
        runner.run_until_idle().await;
        let head = runner.head().unwrap();
        assert_eq!(
            (head.number, head.source, head.status),
            (finalized, Source::Ethereum, Status::Ok)
        );
        assert_eq!(head.hash, Some(l2_hash(OTHER, finalized).to_string()));
        let contradiction = runner.board.findings().last_contradiction.clone().unwrap();
        assert_eq!(contradiction.verified_hash, l2_hash(MAIN, 8));
        assert_eq!(contradiction.node_hash, l2_hash(OTHER, 8));
        assert!(runner.metrics.render().contains("contradictions_total 1"));
        assert_eq!(store.on_disk().unwrap().hash, Some(l2_hash(OTHER, finalized)));
        // Verification continues from there.
        world.post_all(OTHER, 9..=12);
        runner.run_until_idle().await;
        assert_eq!(runner.number(), 12);
    }
}

#[tokio::test]
async fn a_node_behind_the_head_and_a_pruned_one_are_told_apart() {
    let world = World::new(8);
    let store = MemoryStore::default();
    let mut runner = at_eight(&world, &store).await;
    world.change().node_latest = 2;
    runner.run_until_idle().await;
    let head = runner.head().unwrap();
    assert_eq!((head.number, head.status), (8, Status::NodeBehind));
    assert_eq!(runner.stall(), Stall::NodeBehind { number: 8, latest: 2 });
    world.change().node_latest = 12;
    world.change().node_pruned_below = 9;
    runner.run_until_idle().await;
    assert_eq!(runner.head().unwrap().status, Status::Pruned);
    world.post_all(MAIN, 9..=12);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 12);
    assert_eq!(runner.head().unwrap().status, Status::Ok);
}

#[tokio::test]
async fn a_node_that_is_down_leaves_the_head_as_it_is() {
    let world = World::new(8);
    let store = MemoryStore::default();
    let mut runner = at_eight(&world, &store).await;
    world.change().down.insert("node");
    runner.run_until_idle().await;
    let head = runner.head().unwrap();
    assert_eq!((head.number, head.status), (8, Status::Ok));
    assert_eq!(runner.code(), "node_unavailable");
    assert_eq!(runner.round().await, Round::Idle);
}

#[tokio::test]
async fn finality_below_a_head_that_a_failed_save_left_on_the_disk_stops_nothing() {
    let world = World::new(20);
    let store = MemoryStore::default();
    let mut runner = at_eight(&world, &store).await;
    world.post_all(MAIN, 9..=12);
    store.set_writes(Writes::FailAfterWriting);
    runner.run_until_idle().await;
    assert_eq!((runner.number(), store.on_disk().unwrap().number), (8, 12));
    store.set_writes(Writes::Work);
    world.finalize(10);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 12);
    assert_eq!(runner.board.findings().last_store_error, None);
}

#[tokio::test]
async fn a_head_that_any_endpoint_has_left_is_diverged_and_ethereum_contradicts_nothing() {
    let world = World::new(12);
    let store = MemoryStore::default();
    let mut runner = at_eight(&world, &store).await;
    world.post_all(MAIN, 9..=12);
    world.change().other_endpoint = Some(OTHER);
    runner.run_until_idle().await;
    let (confirmed, node) = (l2_hash(MAIN, 8), l2_hash(OTHER, 8));
    assert_eq!(runner.stall(), Stall::Diverged { number: 8, confirmed, node });
    // Finality at the head changes nothing, and above it the other endpoint is still elsewhere.
    for finalized in [8, 11] {
        world.finalize(finalized);
        runner.run_until_idle().await;
        let saves = store.saves().len();
        for _ in 0..3 {
            runner.run_until_idle().await;
            let head = runner.head().unwrap();
            assert_eq!((head.number, head.status), (finalized, Status::Diverged));
        }
        assert_eq!(store.saves().len(), saves);
    }
    assert!(runner.metrics.render().contains("contradictions_total 0"));
    world.change().other_endpoint = None;
    runner.run_until_idle().await;
    assert_eq!((runner.number(), runner.code()), (12, "up_to_date"));
}

#[tokio::test]
async fn a_node_of_another_chain_is_not_asked_about_the_head() {
    let world = World::new(8);
    let mut runner = at_eight(&world, &MemoryStore::default()).await;
    world.change().node_chain_id = 78;
    runner.run_until_idle().await;
    assert_eq!(
        (runner.code(), runner.head().unwrap().status),
        ("config_mismatch", Status::Diverged)
    );
    world.change().node_chain_id = CHAIN_ID;
    runner.run_until_idle().await;
    assert_eq!((runner.code(), runner.head().unwrap().status), ("up_to_date", Status::Ok));
}

#[tokio::test(start_paused = true)]
async fn what_keeps_finality_back_is_looked_at_again_after_each_interval() {
    type Fault = fn(&World);
    let faults: [(&str, u64, Fault); 4] = [
        // Once per L1 block, which is two blocks of the rollup.
        ("none", 15, |_| {}),
        ("the head has a problem", 60, |world| world.change().node_latest = 3),
        ("op-node is down", 60, |world| _ = world.change().down.insert("consensus")),
        ("finalized is refused", 60, |world| {
            world.finalize(30);
            world.change().consensus_finalized = Some(29);
        }),
    ];
    for (fault, expected, cause) in faults {
        let world = World::new(50);
        world.post_all(MAIN, 1..=8);
        let runner = world.verifier_with(&MemoryStore::default(), |options| {
            options.interval = Duration::from_secs(1);
        });
        let (_stop, stopped) = watch::channel(false);
        let task = tokio::spawn(runner.verifier.run(stopped));
        tokio::time::sleep(Duration::from_secs(60)).await;
        cause(&world);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let before = world.calls("node finalized");
        tokio::time::sleep(Duration::from_secs(60)).await;
        let calls = world.calls("node finalized") - before;
        assert!(calls.abs_diff(expected) <= 2, "{fault}: {calls}");
        task.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn what_l1_has_just_finalized_is_asked_about_at_once() {
    let world = World::new(50);
    world.post_all(MAIN, 1..=8);
    world.change().l1_finalized = Some(1000);
    let runner = world.verifier_with(&MemoryStore::default(), |options| {
        options.interval = Duration::from_secs(10);
    });
    let mut head = runner.head.clone();
    let (_stop, stopped) = watch::channel(false);
    let task = tokio::spawn(runner.verifier.run(stopped));
    tokio::time::sleep(Duration::from_secs(65)).await;
    world.finalize(30);
    world.change().l1_finalized = Some(1001);
    let told = Instant::now();
    world.1.ring(Target::L1);
    let arrived = head.wait_for(|head| head.as_ref().is_some_and(|head| head.number == 30));
    arrived.await.unwrap();
    assert_eq!(told.elapsed(), Duration::ZERO);
    task.abort();
}
