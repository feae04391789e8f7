//! Reading HotShot: gaps, limits, and too little room.

use std::{sync::Arc, time::Duration};

use alloy_primitives::{Address, B256};
use espresso_proofs::commitment;
use finality_core::head::HeadReport;
use tokio::time::Instant;

use super::{world::*, *};
use crate::{
    eth::BlockId,
    head::HeadBlock,
    rollup::{
        Batch, Position,
        op::{Facts, can_follow},
    },
    store::memory::MemoryStore,
    telemetry::metrics::Target,
    upstream::MEDIUM,
    verifier::Candidates,
};

const OTHER: Fork = Fork { name: 1, at: 5 };

#[tokio::test]
async fn a_block_whose_payload_is_missing_is_waited_for() {
    let world = World::new(40);
    world.post_all(MAIN, 1..=40);
    world.change().hotshot_missing.insert(23);
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 23, "everything before it was read");
    assert_eq!(runner.stall(), Stall::PositionUnavailable { cursor: 23, height: 40 });
    world.change().hotshot_missing.extend(24..40);
    runner.run_until_idle().await;
    assert_eq!(runner.stall(), Stall::CatchingUp { cursor: 23, height: 40 }, "not yet");
    world.change().hotshot_missing.clear();
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 40);
}

#[tokio::test]
async fn a_block_is_gone_if_a_newer_one_is_there_that_is_not_late() {
    for (height, missing, code) in [
        (40, &[23][..], "position_unavailable"),
        // The newest block is late, or another one was forgotten, too.
        (40, &[23, 39], "position_unavailable"),
        (40, &[23, 30], "position_unavailable"),
        (40, &[23, 30, 39], "catching_up"),
        // Ten blocks below the height it may be late itself.
        (33, &[23], "catching_up"),
        (34, &[23], "position_unavailable"),
    ] {
        let world = World::new(40);
        world.post_all(MAIN, 1..=height);
        world.change().hotshot_missing.extend(missing);
        let mut runner = world.verifier(&MemoryStore::default());
        runner.run_until_idle().await;
        assert_eq!((runner.number(), runner.code()), (23, code), "{height} {missing:?}");
    }
}

#[tokio::test]
async fn a_save_covers_all_blocks_whose_batches_have_arrived() {
    let world = World::new(400);
    world.post_all(MAIN, 1..=400);
    let store = MemoryStore::default();
    let mut runner = world.verifier(&store);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 400);
    // The service returns ten blocks at once.
    let saves = store.saves().len();
    assert!(saves < 20, "{saves}");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_long_to_be_read_beside_others_is_read_alone() {
    let world = World::new(40);
    world.post_all(MAIN, 1..=40);
    {
        let mut state = world.change();
        state.range_time = Duration::from_millis(10);
        state.long_hotshot_blocks = [0, 7, 8, 30].into();
        state.long_node_blocks = [1, 9, 10, 40].into();
    }
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 40);
    assert_eq!(world.calls("feed block alone"), 4);
}

/// Blocks that are long for what strangers have posted beside the batches.
#[tokio::test(start_paused = true)]
async fn after_a_long_block_the_next_is_asked_for_once() {
    let world = World::new(40);
    world.post_all(MAIN, 1..=40);
    {
        let mut state = world.change();
        state.range_time = Duration::from_millis(10);
        state.long_hotshot_blocks = (10..30).collect();
        for height in 10..30 {
            state.hotshot[height].push(vec![0; MEDIUM]);
        }
    }
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 40);
    // One more is asked for alone behind the last long one.
    assert_eq!(world.calls("feed block alone"), 21);
    let ranges = world.calls("feed range");
    assert!(ranges < 20, "{ranges}");
}

#[tokio::test(start_paused = true)]
async fn a_round_is_short_however_much_there_is_to_read() {
    let world = World::new(2_000);
    world.post_all(MAIN, 1..=2_000);
    world.change().range_time = Duration::from_millis(500);
    let mut runner = world.verifier(&MemoryStore::default());
    let started = Instant::now();
    assert_eq!(runner.round().await, Round::Worked);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert!(runner.number() > 10);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 2_000);
}

#[tokio::test(start_paused = true)]
async fn a_new_block_ends_the_wait_for_one_whose_payload_is_late() {
    let world = World::new(7);
    world.post_all(MAIN, 1..=6);
    world.change().hotshot_missing = [4].into();
    let runner = world.verifier_with(&MemoryStore::default(), |options| {
        options.interval = Duration::from_secs(10);
    });
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut head = runner.head.clone();
    let task = tokio::spawn(runner.verifier.run(stopped));
    tokio::time::sleep(Duration::from_secs(65)).await;
    world.change().hotshot_missing.clear();
    world.post_all(MAIN, [7]);
    let told = Instant::now();
    world.1.ring(Target::Query);
    let arrived = head.wait_for(|head| head.as_ref().is_some_and(|head| head.number == 7));
    arrived.await.unwrap();
    assert_eq!(told.elapsed(), Duration::ZERO);
    stop.send(true).unwrap();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_went_wrong_before_this_round_is_asked_for_again() {
    let world = World::new(3);
    world.post_all(MAIN, 1..=2);
    world.post_all(Fork { name: 1, at: 1 }, 3..=8);
    world.change().hotshot.extend([Vec::new(), Vec::new()]);
    world.post_all(MAIN, [3]);
    // Ten blocks are read at once. Their batches fill the room, so that the eleventh is asked for
    // and not read, and the service does not have it yet.
    (world.change().node_latest, world.change().hotshot_missing) = (0, [10].into());
    let budget = 8;
    let mut runner =
        world.verifier_with(&MemoryStore::default(), |options| options.budget = budget);
    runner.run_until_idle().await;
    assert_eq!(runner.verifier.candidates.len(), 8);
    while world.calls("feed range") < 2 {
        tokio::task::yield_now().await;
    }
    (world.change().node_latest, world.change().hotshot_missing) = (3, [].into());
    runner.round().await;
    assert_eq!(runner.number(), 3, "in one round");
}

#[tokio::test]
async fn absurd_heights_do_no_harm() {
    let world = World::new(40);
    world.post_all(MAIN, 1..=5);
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    for height in [u64::MAX, 0, 1] {
        world.change().hotshot_height = Some(height);
        runner.run_until_idle().await;
        assert_eq!(runner.number(), 5);
    }
    world.change().hotshot_height = None;
    world.post_all(MAIN, 6..=7);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 7);
}

#[tokio::test]
async fn a_feed_that_is_down_only_delays() {
    let world = World::new(40);
    world.post_all(MAIN, 1..=5);
    let mut runner = world.verifier(&MemoryStore::default());
    for down in ["feed", "feed range", "feed height", "feed limits"] {
        world.change().down.insert(down);
        runner.run_until_idle().await;
        world.change().down.clear();
    }
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 5);
}

#[tokio::test]
async fn a_block_that_no_service_proves_is_waited_for_and_never_skipped() {
    let world = World::new(40);
    world.post_all(MAIN, 1..=5);
    world.change().disproven = Some(3);
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!(runner.code(), "answer_disproven");
    // What comes before is read all the same.
    let stopped = runner.number();
    assert!((1..5).contains(&stopped), "{stopped}");
    world.change().disproven = None;
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 5);
}

#[tokio::test]
async fn what_was_dropped_for_room_is_read_again() {
    for count in [1, 2, 3, 7, 10, 11] {
        let world = World::new(60);
        // The next block's batch comes last, again and again, after more than there is room for.
        for start in (1..=60).step_by(12) {
            world.post_all(MAIN, (start + 1)..=(start + 11));
            world.post_all(MAIN, [start]);
        }
        let budget = count;
        let mut runner =
            world.verifier_with(&MemoryStore::default(), |options| options.budget = budget);
        runner.run_until_idle().await;
        assert_eq!(runner.number(), 60, "room for {count}");
        assert!(runner.verifier.candidates.len() <= count);
    }
}

#[tokio::test]
async fn all_batches_in_one_hotshot_block_and_hardly_any_room() {
    let world = World::new(30);
    world.post((1..=30).rev().map(|number| Posted::of(MAIN, number)));
    let budget = 2;
    let mut runner =
        world.verifier_with(&MemoryStore::default(), |options| options.budget = budget);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 30);
}

#[tokio::test]
async fn a_batch_from_the_far_future_cannot_keep_the_reader_going_back() {
    let world = World::new(60);
    world.post([Posted { number: 1 << 60, ..Posted::of(OTHER, 9) }]);
    world.post_all(MAIN, 2..=30);
    world.post_all(MAIN, [1]);
    world.post_all(MAIN, 31..=60);
    let budget = 10;
    let store = MemoryStore::default();
    let mut runner = world.verifier_with(&store, |options| options.budget = budget);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 60);
    assert!(world.calls("feed range") < 100, "{} ranges", world.calls("feed range"));
}

#[tokio::test]
async fn a_replayed_batch_takes_no_room_from_the_one_that_is_next() {
    let world = World::new(12);
    world.post_all(MAIN, 1..=5);
    // Whatever the batcher once signed anybody may post again: here the next block of another fork.
    let fork = Posted { parent_hash: l2_hash(OTHER, 7), ..Posted::of(OTHER, 6) };
    world.post(std::iter::repeat_n(fork, 40));
    world.post_all(MAIN, 6..=12);
    let budget = 10;
    let mut runner =
        world.verifier_with(&MemoryStore::default(), |options| options.budget = budget);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 12);
    assert!(world.calls("feed range") < 10, "{} ranges", world.calls("feed range"));
}

#[tokio::test]
async fn a_number_is_not_decided_while_an_earlier_candidate_for_it_may_have_been_dropped() {
    let world = World::new(12);
    world.post_all(MAIN, 1..=5);
    // For block 8 the other fork comes first in HotShot order. There is room for two only, so that
    // it is dropped when the batches for 6 and 7 arrive.
    world.post([Posted { parent_hash: l2_hash(MAIN, 7), ..Posted::of(OTHER, 8) }]);
    world.post([Posted::of(MAIN, 7), Posted::of(MAIN, 6)]);
    world.post([Posted::of(MAIN, 8)]);
    let budget = 2;
    let mut runner =
        world.verifier_with(&MemoryStore::default(), |options| options.budget = budget);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 7, "HotShot's first batch for block 8 is not the node's");
    assert_eq!(runner.code(), "mismatch");
    let mismatch = runner.board.findings().last_mismatch.clone().unwrap();
    let payload = &world.change().hotshot[mismatch.hotshot_height as usize][0];
    let transaction = commitment::transaction(CHAIN_ID as u32, payload).to_string();
    assert_eq!(mismatch.transaction, Some(transaction), "it can be looked up");
    assert_eq!(mismatch.difference, by_payload().to_string(), "the payload was read again");
}

#[tokio::test]
async fn a_reader_that_would_go_back_to_the_same_place_in_vain_comes_to_rest() {
    let world = World::new(12);
    world.post_all(MAIN, [1]);
    // On L1 blocks that are not there, in more versions than there is room for.
    for version in 1..=4 {
        let l1_origin = BlockId { number: 1, hash: B256::repeat_byte(version) };
        world.post([Posted { l1_origin, ..Posted::of(MAIN, 2) }]);
    }
    let mut runner = world.verifier_with(&MemoryStore::default(), |options| options.budget = 2);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 1);
    let before = world.calls("feed range");
    runner.run_until_idle().await;
    assert!(world.calls("feed range") - before < 10);
}

#[tokio::test]
async fn behind_a_block_that_waits_nothing_is_read_that_must_be_dropped() {
    let world = World::new(200);
    world.post_all(MAIN, 1..=200);
    world.change().node_fork = Fork { name: 1, at: 4 };
    let budget = 40;
    let mut runner =
        world.verifier_with(&MemoryStore::default(), |options| options.budget = budget);
    runner.run_until_idle().await;
    assert_eq!((runner.number(), runner.code()), (4, "mismatch"));
    assert_eq!(runner.verifier.candidates.reread_from(), None);
    world.change().node_fork = MAIN;
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 200);
}

#[tokio::test]
async fn the_restart_position_moves_on_over_empty_blocks() {
    let world = World::new(5);
    world.post_all(MAIN, 1..=5);
    let store = MemoryStore::default();
    let mut runner = world.verifier(&store);
    runner.run_until_idle().await;
    assert_eq!(store.on_disk().unwrap().restart_height, Some(5));
    world.change().hotshot.extend(std::iter::repeat_n(Vec::new(), 3000));
    runner.run_until_idle().await;
    let position = store.on_disk().unwrap().restart_height.unwrap();
    assert!(position > 2000, "{position}");
    let (stop, stopped) = tokio::sync::watch::channel(true);
    runner.verifier.run(stopped).await.unwrap();
    drop(stop);
    assert_eq!(store.on_disk().unwrap().restart_height, Some(3005), "saved at the end");
}

#[tokio::test]
async fn a_long_way_to_the_tip_is_reported_until_it_is_done() {
    let world = World::new(5);
    world.change().hotshot.extend(std::iter::repeat_n(Vec::new(), 10_000));
    world.change().hotshot_missing.extend(2_500..10_000);
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    let catch_up = runner.board.findings().hotshot.catch_up.unwrap();
    assert_eq!((catch_up.blocks_left, catch_up.percent), (7_500, 25.0));
    assert!(runner.metrics.render().contains("espresso_hotshot_catch_up_ratio 0.25"));
    world.change().hotshot_missing.clear();
    runner.run_until_idle().await;
    assert_eq!(runner.board.findings().hotshot.catch_up, None);
    assert!(!runner.metrics.render().contains("espresso_hotshot_catch_up"));
}

#[tokio::test]
async fn ranges_fetched_ahead_are_asked_for_once_and_end_at_the_tip() {
    let world = World::new(300);
    world.post_all(MAIN, 1..=300);
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 300);
    let mut asked = world.change().ranges.clone();
    asked.sort_unstable();
    let next: Vec<_> = asked.iter().map(|(_, until)| *until).collect();
    let from: Vec<_> = asked.iter().map(|(from, _)| *from).collect();
    assert_eq!((from[0], next.last()), (0, Some(&300)));
    assert_eq!(from[1..], next[..next.len() - 1], "no gap, nothing twice");
    assert_eq!(world.calls("feed range"), asked.len() as u64, "and none failed");
}

#[tokio::test(start_paused = true)]
async fn an_idle_verifier_looks_again_after_each_interval() {
    let world = World::new(20);
    world.post_all(MAIN, 1..=5);
    let interval = Duration::from_secs(7);
    let Runner { verifier, mut head, board, .. } =
        world.verifier_with(&MemoryStore::default(), |options| options.interval = interval);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let task = tokio::spawn(verifier.run(stopped));
    let mut reaches = async |number| {
        let is_there = |head: &Option<Arc<HeadReport>>| {
            head.as_ref().is_some_and(|head| head.number == number)
        };
        head.wait_for(is_there).await.unwrap();
    };
    reaches(5).await;
    tokio::time::sleep(interval / 2).await;
    let rounds = board.findings().rounds;
    let surveys = world.calls("survey");
    tokio::time::sleep(10 * interval).await;
    assert!(board.findings().rounds - rounds >= 10);
    assert_eq!(world.calls("survey") - surveys, 10, "the node is asked about the head");
    world.post_all(MAIN, 6..=8);
    reaches(8).await;
    stop.send(true).unwrap();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_verifier_that_is_told_to_stop_stops_and_says_so() {
    let world = World::new(5);
    let runner = world.verifier(&MemoryStore::default());
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let board = runner.board;
    assert!(board.verifier_alive());
    let task = tokio::spawn(runner.verifier.run(stopped));
    stop.send(true).unwrap();
    task.await.unwrap().unwrap();
    assert!(!board.verifier_alive());
}

/// The honest batch for a block, as it is kept.
fn kept(signer: Address, number: u64) -> Batch<Facts, ()> {
    let Posted { hash, parent_hash, timestamp, l1_origin, .. } = Posted::of(MAIN, number);
    Batch { facts: Facts { number, hash, parent_hash, timestamp, l1_origin }, signer, content: () }
}

fn genesis() -> HeadBlock {
    HeadBlock { number: 0, hash: Some(l2_hash(MAIN, 0)), l1_origin: Some(origin(0)) }
}

/// Whether a batch can follow a block whose next one must have a timestamp.
fn after(tip: HeadBlock, timestamp: Option<u64>) -> impl Fn(&Batch<Facts, ()>) -> bool {
    move |batch| can_follow(&tip, timestamp, &batch.facts)
}

#[test]
fn going_back_forgets_what_stands_behind() {
    let mut candidates = Candidates::<TestRollup>::new(3);
    for (height, number) in [(0, 6), (1, 9), (2, 7), (3, 8)] {
        let position = Position::start_of(height);
        candidates.insert(
            position,
            kept(Address::ZERO, number),
            &genesis(),
            after(genesis(), None),
        );
    }
    assert_eq!((candidates.dropped_for(8), candidates.reread_from()), (None, Some(1)));
    assert_eq!(candidates.dropped_for(9), Some(Position::start_of(1)));
    candidates.reread(1);
    assert_eq!((candidates.len(), candidates.reread_from()), (1, None));
    assert_eq!((candidates.run_length(6, 9), candidates.run_length(7, 9)), (1, 0));
}

#[test]
fn of_identical_batches_only_the_first_is_kept() {
    let mut candidates = Candidates::<TestRollup>::new(10);
    for (height, first) in [(5, 5), (8, 5), (2, 2), (5, 2)] {
        let position = Position::start_of(height);
        candidates.insert(position, kept(BATCHER, 1), &genesis(), after(genesis(), None));
        let heights: Vec<_> = candidates.of(1).map(|(position, _)| position.height).collect();
        assert_eq!((heights, candidates.len()), (vec![first], 1));
    }
}

#[test]
fn what_each_signer_lost_is_read_again_from_its_own_place() {
    let mut candidates = Candidates::<TestRollup>::new(2);
    assert!(candidates.is_empty());
    let flood = Address::repeat_byte(1);
    // The flood loses blocks 9 and 8, then the other one loses block 6.
    for (height, signer, number) in
        [(0, flood, 9), (1, flood, 8), (2, flood, 7), (3, BATCHER, 5), (4, BATCHER, 6)]
    {
        let position = Position::start_of(height);
        candidates.insert(position, kept(signer, number), &genesis(), after(genesis(), None));
    }
    assert_eq!(candidates.dropped_for(6), Some(Position::start_of(4)));
    assert_eq!(candidates.bytes(), 2 * size_of::<Batch<Facts, ()>>());
    candidates.reread(4);
    assert_eq!((candidates.dropped_for(6), candidates.reread_from()), (None, Some(0)));
    assert_eq!((candidates.len(), candidates.is_empty()), (2, false));
    candidates.skip_to(3);
    assert_eq!((candidates.len(), candidates.reread_from()), (1, Some(3)));
}

#[test]
fn the_signer_that_has_the_most_gives_way() {
    let mut candidates = Candidates::<TestRollup>::new(10);
    let flood = Address::repeat_byte(1);
    for number in 2..100 {
        let position = Position::start_of(number);
        candidates.insert(position, kept(flood, number), &genesis(), after(genesis(), None));
    }
    assert_eq!((candidates.dropped_for(11), candidates.reread_from()), (None, Some(12)));
    for number in 2..7 {
        let position = Position::start_of(100 + number);
        candidates.insert(position, kept(BATCHER, number), &genesis(), after(genesis(), None));
    }
    let has = |number| candidates.of(number).any(|(_, batch)| batch.signer == BATCHER);
    assert!((2..7).all(has), "each signer keeps its share");
    assert_eq!((candidates.dropped_for(6), candidates.reread_from()), (None, Some(7)));
    assert_eq!(candidates.len(), 10);
}

#[test]
fn what_can_never_follow_the_head_stays_while_there_is_room() {
    let mut candidates = Candidates::<TestRollup>::new(2);
    let timestamp = Some(Posted::of(MAIN, 1).timestamp);
    let honest = kept(BATCHER, 1);
    let elsewhere = Batch { facts: Facts { parent_hash: B256::ZERO, ..honest.facts }, ..honest };
    for (height, batch, count) in
        [(0, elsewhere, 1), (1, kept(BATCHER, 2), 2), (2, kept(BATCHER, 1), 2)]
    {
        let position = Position::start_of(height);
        candidates.insert(position, batch, &genesis(), after(genesis(), timestamp));
        assert_eq!((candidates.len(), candidates.reread_from()), (count, None));
    }
    assert_eq!(candidates.of(1).map(|(position, _)| position.height).collect::<Vec<_>>(), [2]);
}

#[test]
fn what_can_never_follow_the_head_is_dropped_first_and_not_remembered() {
    let mut candidates = Candidates::<TestRollup>::new(4);
    let (tip, timestamp) = (genesis(), Some(Posted::of(MAIN, 1).timestamp));
    let honest = kept(BATCHER, 1);
    let of_another_fork = |index: u8| {
        let parent_hash = B256::repeat_byte(index);
        Batch { facts: Facts { parent_hash, ..honest.facts }, ..honest }
    };
    // No block 5 can be built on L1 block 6 if the genesis block is built on L1 block 0.
    let far = BlockId { number: 6, ..honest.facts.l1_origin };
    let too_far = Batch { facts: Facts { number: 5, l1_origin: far, ..honest.facts }, ..honest };
    let late = Batch { facts: Facts { timestamp: 7, ..honest.facts }, ..honest };
    let useless = (0..20).map(of_another_fork).chain([too_far, late]);
    for (height, batch) in (0..).zip(useless) {
        candidates.insert(Position::start_of(height), batch, &tip, after(tip, timestamp));
    }
    candidates.insert(Position::start_of(90), honest, &tip, after(tip, timestamp));
    assert_eq!(candidates.of(1).map(|(position, _)| position.height).collect::<Vec<_>>(), [90]);
    assert_eq!(candidates.reread_from(), None);
}
