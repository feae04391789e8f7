//! Reorgs, lost state and kills at bad moments.

use alloy_primitives::Address;

use super::{world::*, *};
use crate::store::memory::MemoryStore;

const OTHER: Fork = Fork { name: 1, at: 5 };

async fn confirmed(world: &World, store: &MemoryStore, number: u64) -> Runner {
    world.post_all(MAIN, 1..=number);
    let mut runner = world.verifier(store);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), number);
    runner
}

#[tokio::test]
async fn a_kill_between_reading_and_saving_loses_no_batch() {
    let world = World::new(20);
    let store = MemoryStore::default();
    drop(confirmed(&world, &store, 4).await);
    // Everything is read, some of it in advance, but the node has none of the blocks yet.
    world.change().node_latest = 4;
    world.post_all(MAIN, [9, 7, 5, 8, 6]);
    let mut runner = world.verifier(&store);
    runner.run_until_idle().await;
    assert_eq!(runner.verifier.candidates.len(), 5);
    drop(runner);
    world.change().node_latest = 20;
    let mut runner = world.verifier(&store);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 9);
}

#[tokio::test]
async fn a_head_that_finality_moves_leaves_the_waiting_candidates_in_place() {
    for (jump, end) in [(6, 12), (9, 12), (12, 12), (15, 15)] {
        let world = World::new(20);
        let store = MemoryStore::default();
        let mut runner = confirmed(&world, &store, 4).await;
        // Block 5 is missing; 6 to 12 wait.
        world.post_all(MAIN, 6..=12);
        runner.run_until_idle().await;
        assert_eq!(runner.verifier.candidates.len(), 7);
        world.finalize(jump);
        runner.round().await;
        drop(runner);
        let mut runner = world.verifier(&store);
        runner.run_until_idle().await;
        assert_eq!(runner.number(), end, "after a jump to {jump}");
    }
}

#[tokio::test]
async fn a_wiped_store_starts_at_the_finalized_block_and_finds_the_next_batch() {
    for light_client in [true, false] {
        let world = World::new(20);
        drop(confirmed(&world, &MemoryStore::default(), 16).await);
        world.finalize(10);
        // At L1 block 5, the origin of block 10, HotShot was at most at block 11's batch.
        world.change().light_client.insert(5, 9);
        let mut runner = world.verifier_with(&MemoryStore::default(), |options| {
            options.light_client = light_client.then_some(Address::repeat_byte(1));
            options.initial_hotshot_height = (!light_client).then_some(3);
        });
        runner.run_until_idle().await;
        assert_eq!(runner.number(), 16);
    }
}

#[tokio::test]
async fn a_start_above_the_next_batch_waits_only_until_finality_has_passed_it() {
    let world = World::new(20);
    world.post_all(MAIN, 1..=16);
    world.finalize(2);
    let store = MemoryStore::default();
    let mut runner =
        world.verifier_with(&store, |options| options.initial_hotshot_height = Some(9));
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 2);
    assert_eq!(runner.stall(), Stall::AwaitingBatch { number: 3 });
    world.finalize(9);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 16);
}

#[tokio::test]
async fn a_light_client_that_goes_back_does_not_move_a_running_or_stored_position() {
    let world = World::new(20);
    let store = MemoryStore::default();
    world.post_all(MAIN, 1..=8);
    world.change().light_client.insert(0, 0);
    let contract = Some(Address::repeat_byte(1));
    let mut runner = world.verifier_with(&store, |options| options.light_client = contract);
    runner.run_until_idle().await;
    let asked = world.calls("light client");
    world.change().light_client.clear();
    world.change().ranges.clear();
    world.post_all(MAIN, 9..=12);
    runner.run_until_idle().await;
    let mut runner = world.verifier_with(&store, |options| options.light_client = contract);
    world.post_all(MAIN, 13..=16);
    runner.run_until_idle().await;
    assert_eq!((runner.number(), world.calls("light client")), (16, asked));
    assert!(world.change().ranges.iter().all(|(from, _)| *from >= 8));
}

#[tokio::test]
async fn an_l1_reorg_above_the_origins_changes_nothing_and_below_them_only_waits() {
    let world = World::new(20);
    let store = MemoryStore::default();
    let mut runner = confirmed(&world, &store, 8).await;
    world.post_all(MAIN, 9..=12);
    // Above: no batch is built there.
    world.change().l1_fork = Fork { name: 6, at: 6 };
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 12);
    // Below: Ethereum would have to give up what was final. The head stays: the hash of its origin
    // was kept, but not longer than the final block.
    world.post_all(MAIN, 13..=16);
    world.change().l1_fork = Fork { name: 7, at: 3 };
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 12);
    world.change().l1_fork = MAIN;
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 16);
}

#[tokio::test]
async fn a_deep_reorg_of_the_node_below_the_head_freezes_it_until_the_node_is_back() {
    let world = World::new(12);
    let store = MemoryStore::default();
    let mut runner = confirmed(&world, &store, 12).await;
    world.change().node_fork = Fork { name: 2, at: 1 };
    world.change().node_latest = 30;
    world.post_all(Fork { name: 2, at: 1 }, 2..=30);
    runner.run_until_idle().await;
    let head = runner.head().unwrap();
    assert_eq!((head.number, head.status), (12, Status::Diverged));
    // A restart sees the same.
    let mut runner = world.verifier(&store);
    runner.run_until_idle().await;
    let head = runner.head().unwrap();
    assert_eq!((head.number, head.status), (12, Status::Diverged));
    world.change().node_fork = MAIN;
    world.post_all(MAIN, 13..=20);
    runner.run_until_idle().await;
    let head = runner.head().unwrap();
    assert_eq!((head.number, head.status), (20, Status::Ok));
}

#[tokio::test]
async fn a_wiped_node_that_syncs_from_genesis_is_waited_for() {
    let world = World::new(12);
    let store = MemoryStore::default();
    let mut runner = confirmed(&world, &store, 12).await;
    world.post_all(MAIN, 13..=15);
    for latest in [0, 1, 6, 11] {
        world.change().node_latest = latest;
        // Its op-node starts over as well.
        world.change().consensus_finalized = None;
        runner.run_until_idle().await;
        let head = runner.head().unwrap();
        assert_eq!((head.number, head.status), (12, Status::NodeBehind), "at {latest}");
    }
    world.change().node_latest = 15;
    runner.run_until_idle().await;
    let head = runner.head().unwrap();
    assert_eq!((head.number, head.status), (15, Status::Ok));
}

#[tokio::test]
async fn l1_finality_that_stops_or_goes_back_only_waits() {
    let world = World::new(40);
    world.post_all(MAIN, 1..=40);
    world.change().l1_finalized = Some(4);
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 9);
    for finalized in [Some(4), None, Some(2), Some(0)] {
        world.change().l1_finalized = finalized;
        for _ in 0..50 {
            assert_eq!(runner.round().await, Round::Idle);
        }
        assert_eq!(runner.number(), 9);
    }
    world.change().l1_finalized = Some(20);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 40);
}

#[tokio::test]
async fn candidates_dropped_for_room_are_found_again_after_a_kill() {
    for rounds in 1..6 {
        let world = World::new(40);
        world.post_all(MAIN, 1..=2);
        world.post_all(MAIN, 4..=39);
        let budget = 6;
        let store = MemoryStore::default();
        let start = || world.verifier_with(&store, |options| options.budget = budget);
        let mut runner = start();
        for _ in 0..rounds {
            runner.round().await;
        }
        drop(runner);
        let mut runner = start();
        runner.round().await;
        world.post_all(MAIN, [3, 40]);
        drop(runner);
        let mut runner = start();
        runner.run_until_idle().await;
        assert_eq!(runner.number(), 40, "killed after {rounds} rounds");
    }
}

#[tokio::test]
async fn a_sequencer_reorg_while_batches_wait_follows_hotshots_order() {
    let world = World::new(5);
    world.post_all(MAIN, 1..=5);
    let store = MemoryStore::default();
    let mut runner = world.verifier(&store);
    runner.run_until_idle().await;
    world.post_all(OTHER, 6..=9);
    world.post_all(MAIN, 6..=12);
    world.change().node_latest = 12;
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 5);
    drop(runner);
    let mut runner = world.verifier(&store);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 5, "the node is on the fork that came second");
    world.change().node_fork = OTHER;
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 9);
}
