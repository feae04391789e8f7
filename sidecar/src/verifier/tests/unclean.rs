//! A node after an unclean stop: it has blocks above its own latest one, without their state.

use super::{world::*, *};
use crate::store::memory::MemoryStore;

async fn at(world: &World, number: u64) -> Runner {
    world.post_all(MAIN, 1..=number);
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!(runner.number(), number);
    runner
}

/// The node goes back to a block, and still shows those up to another.
fn falls_to(world: &World, latest: u64, serves_to: u64) {
    let mut world = world.change();
    (world.node_latest, world.node_serves_to) = (latest, serves_to);
}

fn status(runner: &Runner) -> Status {
    runner.head().unwrap().status
}

#[tokio::test]
async fn a_head_above_latest_is_not_ok_though_its_block_is_served() {
    let world = World::new(8);
    let mut runner = at(&world, 8).await;
    runner.run_until_idle().await;
    falls_to(&world, 5, 12);
    world.post_all(MAIN, 9..=12);
    // One reading may be that of another node; but nothing is confirmed any more.
    assert_eq!(runner.round().await, Round::Idle);
    assert_eq!(runner.stall(), Stall::NodeMissingBlock { number: 9 });
    assert_eq!((runner.number(), status(&runner)), (8, Status::Ok));
    for _ in 0..2 {
        runner.run_until_idle().await;
        assert_eq!(runner.stall(), Stall::NodeBehind { number: 8, latest: 5 });
        assert_eq!((runner.number(), status(&runner)), (8, Status::NodeBehind));
    }
    falls_to(&world, 10, 12);
    runner.run_until_idle().await;
    assert_eq!(runner.stall(), Stall::NodeMissingBlock { number: 11 });
    assert_eq!((runner.number(), status(&runner)), (10, Status::Ok));
    falls_to(&world, 12, 0);
    runner.run_until_idle().await;
    assert_eq!((runner.number(), runner.code()), (12, "up_to_date"));
}

#[tokio::test]
async fn a_latest_block_below_the_head_is_read_again_at_once() {
    let world = World::new(8);
    let mut runner = at(&world, 8).await;
    runner.run_until_idle().await;
    let before = world.calls("node latest");
    runner.run_until_idle().await;
    assert_eq!(world.calls("node latest"), before + 1, "once per round");
    let (nodes, first) = (world.clone(), parking_lot::Mutex::new(true));
    world.change().probes.push(std::sync::Arc::new(move |call| {
        if call == "node latest" {
            falls_to(&nodes, if std::mem::take(&mut *first.lock()) { 5 } else { 8 }, 8);
        }
    }));
    runner.round().await;
    assert_eq!((status(&runner), runner.code()), (Status::Ok, "up_to_date"));
}

#[tokio::test]
async fn a_stored_head_above_latest_is_never_ok() {
    let world = World::new(8);
    world.post_all(MAIN, 1..=8);
    let store = MemoryStore::default();
    world.verifier(&store).run_until_idle().await;
    falls_to(&world, 5, 8);
    let mut runner = world.verifier(&store);
    runner.run_until_idle().await;
    assert_eq!(status(&runner), Status::NodeUnchecked);
    runner.run_until_idle().await;
    assert_eq!(status(&runner), Status::NodeBehind);
}

#[tokio::test]
async fn a_latest_block_that_flickers_refuses_no_tags_and_holds_nothing_up() {
    let world = World::new(8);
    let mut runner = at(&world, 8).await;
    for number in 9..=30 {
        falls_to(&world, number - 2, number);
        runner.run_until_idle().await;
        assert_eq!(status(&runner), Status::Ok, "{number}");
        falls_to(&world, number, 0);
        world.post_all(MAIN, number..=number);
        runner.run_until_idle().await;
        assert_eq!((runner.number(), status(&runner)), (number, Status::Ok));
    }
    // Every other reading.
    let (nodes, count) = (world.clone(), parking_lot::Mutex::new(0));
    world.change().probes.push(std::sync::Arc::new(move |call| {
        if call == "node latest" {
            let mut count = count.lock();
            *count += 1;
            falls_to(&nodes, 40 - *count % 2, 40);
        }
    }));
    world.post_all(MAIN, 31..=40);
    for _ in 0..10 {
        runner.run_until_idle().await;
        assert_eq!(status(&runner), Status::Ok);
    }
    assert!(runner.number() >= 39, "{}", runner.number());
}

#[tokio::test]
async fn nothing_is_confirmed_above_latest() {
    let world = World::new(5);
    falls_to(&world, 5, 8);
    world.post_all(MAIN, 1..=8);
    let mut runner = world.verifier(&MemoryStore::default());
    for _ in 0..3 {
        runner.run_until_idle().await;
        assert_eq!((runner.number(), status(&runner)), (5, Status::Ok));
        assert_eq!(runner.stall(), Stall::NodeMissingBlock { number: 6 });
    }
    // Nor is a block there compared with another batch.
    world.change().node_fork = Fork { name: 1, at: 5 };
    runner.run_until_idle().await;
    assert_eq!(runner.stall(), Stall::NodeMissingBlock { number: 6 });
    assert!(runner.board.findings().last_mismatch.is_none());
}

#[tokio::test]
async fn a_node_that_falls_in_the_middle_of_a_round_confirms_only_what_it_kept() {
    for (latest, kept) in [(300, 0), (300, 3), (300, 8), (300, 200), (5, 3)] {
        let world = World::new(latest);
        world.post_all(MAIN, 1..=latest);
        let mut runner = world.verifier(&MemoryStore::default());
        let falling = world.clone();
        world.change().probes.push(std::sync::Arc::new(move |call| {
            if call == "node block" {
                falls_to(&falling, kept, latest);
            }
        }));
        runner.round().await;
        assert_eq!(runner.head().map_or(0, |head| head.number), kept, "in the same round");
        runner.run_until_idle().await;
        assert_eq!(runner.head().map_or(0, |head| head.number), kept);
        assert_eq!(runner.stall(), Stall::NodeMissingBlock { number: kept + 1 });
    }
}

#[tokio::test]
async fn a_finalized_block_above_latest_is_not_the_head() {
    let world = World::new(20);
    falls_to(&world, 5, 20);
    world.finalize(12);
    let mut empty = world.verifier(&MemoryStore::default());
    empty.run_until_idle().await;
    assert_eq!((empty.head().is_none(), empty.code()), (true, "no_anchor"));
    assert!(empty.board.findings().node.finalized_refused.is_some());
    falls_to(&world, 12, 20);
    empty.run_until_idle().await;
    assert_eq!((empty.number(), status(&empty)), (12, Status::Ok));
}
