//! HotShot blocks that the services no longer have, and Ethereum that overtakes.

use alloy_primitives::Address;

use super::{world::*, *};
use crate::{store::memory::MemoryStore, verifier::Options};

fn with_light_client(options: &mut Options) {
    options.light_client = Some(Address::repeat_byte(1));
}

/// Blocks 1 to 5 are confirmed; then come blocks whose batches the service forgets before they are
/// read, up to 30, and others up to 60.
async fn pruned(options: fn(&mut Options)) -> (World, MemoryStore, Runner) {
    let world = World::new(60);
    world.post_all(MAIN, 1..=5);
    let store = MemoryStore::default();
    let mut runner = world.verifier_with(&store, options);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 5);
    world.post_all(MAIN, 6..=60);
    world.change().hotshot_pruned_below = 30;
    runner.run_until_idle().await;
    (world, store, runner)
}

#[tokio::test]
async fn a_position_that_services_no_longer_have_is_named_and_asked_for_again() {
    let (world, _, mut runner) = pruned(|_| {}).await;
    assert_eq!(runner.stall(), Stall::PositionUnavailable { cursor: 5, height: 60 });
    assert_eq!(runner.board.findings().hotshot.catch_up, None);
    world.change().hotshot_pruned_below = 0;
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 60);
}

#[tokio::test]
async fn reading_goes_on_where_ethereum_has_overtaken_it() {
    for restarts in [false, true] {
        let (world, store, mut runner) = pruned(with_light_client).await;
        // HotShot's block may be made in the same second as the L1 block.
        world.change().hotshot_times.insert(38, 20);
        // Of no use: the service does not have that either.
        world.change().light_client.extend([(0, 0), (10, 19), (20, 38)]);
        world.finalize(20);
        runner.run_until_idle().await;
        assert_eq!((runner.number(), runner.code()), (20, "position_unavailable"));
        if restarts {
            runner = world.verifier_with(&store, with_light_client);
        }
        world.finalize(40);
        runner.run_until_idle().await;
        assert_eq!((runner.number(), runner.code()), (60, "up_to_date"));
        assert_eq!(runner.head().unwrap().source, Source::Espresso);
        assert!(store.on_disk().unwrap().restart_height >= Some(38));
    }
}

#[tokio::test]
async fn a_position_that_is_there_is_left_only_for_a_later_one() {
    let world = World::new(60);
    world.post_all(MAIN, 1..=60);
    world.change().l1_finalized = Some(2);
    world.change().light_client.extend([(0, 0), (20, 3)]);
    let mut runner = world.verifier_with(&MemoryStore::default(), with_light_client);
    runner.run_until_idle().await;
    let read = world.change().ranges.len();
    world.change().l1_finalized = Some(30);
    world.finalize(40);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 60);
    assert_eq!(world.change().ranges.len(), read, "all was read, and nothing is read again");
}

#[tokio::test]
async fn a_height_that_is_not_of_this_hotshot_is_not_skipped_to() {
    // The light client of another network: HotShot is not that far, or was later than that L1
    // block.
    let unreached: fn(&World) = |world| _ = world.change().light_client.insert(20, 1000);
    let younger: fn(&World) = |world| {
        let mut state = world.change();
        state.light_client.insert(20, 50);
        state.hotshot_times.insert(45, 21);
    };
    for (wrong, code) in [(unreached, "position_unavailable"), (younger, "start_height_unknown")] {
        let (world, _, mut runner) = pruned(with_light_client).await;
        wrong(&world);
        world.finalize(40);
        runner.run_until_idle().await;
        assert_eq!((runner.number(), runner.code()), (40, code));
        // Each is asked again once Ethereum has moved on.
        world.change().light_client.insert(21, 40);
        world.finalize(42);
        runner.run_until_idle().await;
        assert_eq!((runner.number(), runner.code()), (60, "up_to_date"));
    }
}

#[tokio::test]
async fn without_any_height_the_reason_names_the_setting() {
    let (world, _, mut runner) = pruned(|_| {}).await;
    world.finalize(40);
    runner.run_until_idle().await;
    let stall = runner.stall();
    assert_eq!((runner.number(), stall.code()), (40, "start_height_unknown"));
    assert!(stall.to_string().contains("light_client_address"), "{stall}");
    // As long as the position is there, none is needed.
    world.change().hotshot_pruned_below = 0;
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 60);
}

#[tokio::test]
async fn an_outage_of_l1_delays_a_skip_and_does_not_prevent_it() {
    let (world, _, mut runner) = pruned(with_light_client).await;
    world.change().light_client.insert(20, 38);
    for down in ["light client", "l1 time", "feed header"] {
        world.change().down = [down].into();
        world.finalize(40);
        runner.run_until_idle().await;
        assert_eq!((runner.number(), runner.code()), (40, "position_unavailable"));
    }
    world.change().down.clear();
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 60);
}

#[tokio::test]
async fn services_that_were_reset_are_named_and_left_for_a_later_place() {
    let world = World::new(60);
    world.post_all(MAIN, 1..=20);
    let mut runner = world.verifier_with(&MemoryStore::default(), with_light_client);
    runner.run_until_idle().await;
    let before = std::mem::take(&mut world.change().hotshot);
    world.post_all(MAIN, 1..=3);
    runner.round().await;
    assert_eq!(runner.code(), "awaiting_batch", "one answer may be of a service that lags");
    runner.round().await;
    assert_eq!(runner.stall(), Stall::PositionUnavailable { cursor: 20, height: 3 });
    // It is what it was again.
    world.change().hotshot = before;
    world.post_all(MAIN, 21..=40);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 40);
}

#[tokio::test]
async fn a_batch_that_never_counts_does_not_hold_the_position_back_for_ever() {
    let world = World::new(60);
    world.post([Posted { number: u64::MAX, ..Posted::of(MAIN, 1) }]);
    world.post_all(MAIN, 1..=40);
    let store = MemoryStore::default();
    let mut runner = world.verifier_with(&store, with_light_client);
    runner.run_until_idle().await;
    assert_eq!((runner.number(), store.on_disk().unwrap().restart_height), (40, Some(0)));
    world.post_all(MAIN, 41..=60);
    // At L1 block 20, the origin of block 40, HotShot had the batch of block 39.
    world.change().light_client.insert(20, 39);
    world.change().hotshot_pruned_below = 20;
    let mut runner = world.verifier_with(&store, with_light_client);
    runner.run_until_idle().await;
    assert_eq!(runner.stall(), Stall::PositionUnavailable { cursor: 0, height: 61 });
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 60);
}
