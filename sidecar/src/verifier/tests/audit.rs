//! The findings of the audits of Espresso's streamer, at the level of the state machine. Each test
//! has the name of its finding; `docs/audit.md` lists them all.

use super::{world::*, *};
use crate::{
    eth::BlockId,
    store::{Record, memory::MemoryStore},
};

const OTHER: Fork = Fork { name: 1, at: 5 };

fn unauthorized(fork: Fork, number: u64, origin_number: u64) -> Posted {
    let l1_origin = BlockId { number: origin_number, ..origin(number) };
    Posted { signed: false, l1_origin, ..Posted::of(fork, number) }
}

#[tokio::test]
async fn st_1_an_unauthorized_future_batch_is_rejected_even_before_l1_answers() {
    let world = World::new(8);
    world.change().down.insert("l1 finalized");
    for _ in 0..20 {
        world.post([unauthorized(OTHER, 1, u64::MAX), unauthorized(MAIN, 1, 900)]);
    }
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert!(runner.verifier.candidates.is_empty());
    world.change().down.clear();
    world.post_all(MAIN, 1..=8);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 8);
}

#[tokio::test]
async fn st_2_no_candidates_is_not_an_error() {
    let world = World::new(0);
    let mut runner = world.verifier(&MemoryStore::default());
    for _ in 0..3 {
        assert_eq!(runner.round().await, Round::Idle);
    }
    world.post_all(MAIN, 5..=8);
    runner.run_until_idle().await;
    assert_eq!(runner.head(), None);
    assert_eq!(runner.stall(), Stall::AwaitingBatch { number: 1 });
}

#[tokio::test]
async fn st_3_unauthorized_batches_of_many_origins_cost_no_l1_call() {
    let world = World::new(8);
    world.change().l1_finalized = Some(50);
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    for number in 1..200 {
        world.post([unauthorized(OTHER, number % 8 + 1, number)]);
    }
    runner.run_until_idle().await;
    assert_eq!(world.calls("l1 hash"), 0);
    assert_eq!(world.calls("node block"), 0);
}

#[tokio::test]
async fn op_6_rewinding_keeps_what_is_confirmed() {
    let world = World::new(40);
    for start in (1..=40).step_by(10) {
        world.post((start..start + 10).rev().map(|number| Posted::of(MAIN, number)));
    }
    let store = MemoryStore::default();
    let budget = 4;
    let mut runner = world.verifier_with(&store, |options| options.budget = budget);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 40);
    assert!(store.saves().is_sorted());
    assert!(runner.metrics.render().contains(r#"batches_total{result="confirmed"} 40"#));
}

#[tokio::test]
async fn skip_off_by_one_overflow_at_the_edges_of_a_range_loses_no_batch() {
    // Ranges are of ten blocks.
    for at in [0, 1, 9, 10, 11, 19, 20, 29] {
        let world = World::new(12);
        for height in 0..40 {
            match height {
                _ if height == at => world.post((4..=9).map(|number| Posted::of(MAIN, number))),
                31..=33 => world.post_all(MAIN, [height - 30]),
                34..=36 => world.post_all(MAIN, [height - 24]),
                _ => world.post([]),
            }
        }
        let budget = 3;
        let store = MemoryStore::default();
        let mut runner = world.verifier_with(&store, |options| options.budget = budget);
        runner.run_until_idle().await;
        assert_eq!(runner.number(), 12, "overflow at {at}");
    }
}

#[tokio::test]
async fn fallback_start_a_restart_right_after_the_start_skips_no_batch() {
    let world = World::new(8);
    world.post_all(MAIN, 1..=8);
    let store = MemoryStore::default();
    for down in ["node latest", "feed height", "feed range", "node block", "l1 hash"] {
        world.change().down.insert(down);
        let mut runner = world.verifier(&store);
        runner.round().await;
        drop(runner);
        world.change().down.clear();
    }
    let mut runner = world.verifier(&store);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 8);
    assert_eq!(store.saves().first(), Some(&8), "block 1 was not skipped");
}

#[tokio::test]
async fn lagging_position_the_head_moves_on_after_finality_has_passed_it() {
    let world = World::new(40);
    world.post_all(MAIN, 1..=4);
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    // Blocks 5 to 20 came to Ethereum by another batcher and never to HotShot.
    world.finalize(20);
    world.post_all(MAIN, 21..=40);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 40);
}

#[tokio::test]
async fn duplicate_head_every_batch_three_times() {
    let world = World::new(30);
    for number in 1..=30 {
        world.post(std::iter::repeat_n(Posted::of(MAIN, number), 2));
        world.post_all(MAIN, [number]);
    }
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 30);
    assert!(runner.verifier.candidates.is_empty());
}

#[tokio::test]
async fn overflow_audit_numbers_at_their_limits_do_not_wrap() {
    let world = World::new(40);
    let mut runner = world.verifier(&MemoryStore::default());
    for height in [u64::MAX, 0, 1, u64::MAX - 1] {
        world.change().hotshot_height = Some(height);
        runner.run_until_idle().await;
    }
    world.change().hotshot_height = None;
    let at = |number| Posted { number, ..Posted::of(MAIN, 1) };
    world.post([at(u64::MAX), at(0), at(u64::MAX - 1)]);
    world.post_all(MAIN, 1..=3);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 3);
    for restart_height in [0, u64::MAX] {
        let record = Record {
            generation: 0,
            moment: None,
            number: u64::MAX,
            hash: None,
            l1_origin: None,
            source: Source::Espresso,
            restart_height: Some(restart_height),
            fallback_height: None,
            batchers: None,
            identity: None,
            updated_at: jiff::Timestamp::UNIX_EPOCH,
            samples: Vec::new(),
            audit: crate::store::Audit::default(),
        };
        let mut runner = world.verifier(&MemoryStore::with(record));
        runner.run_until_idle().await;
        assert_eq!(runner.number(), u64::MAX);
        assert_eq!(runner.head().unwrap().status, Status::NodeBehind);
    }
}

#[tokio::test]
async fn fork_support_the_child_of_the_head_wins_in_either_order() {
    for reversed in [false, true] {
        let world = World::new(9);
        world.post_all(MAIN, 1..=6);
        // Block 7 of the other fork follows a block 6 that is not ours.
        let mut both = vec![Posted::of(OTHER, 7), Posted::of(MAIN, 7)];
        if reversed {
            both.reverse();
        }
        world.post(both);
        world.post_all(MAIN, 8..=9);
        let mut runner = world.verifier(&MemoryStore::default());
        runner.run_until_idle().await;
        assert_eq!(runner.number(), 9);
    }
}

#[tokio::test]
async fn open_5_unauthorized_batches_with_old_origins_cost_no_l1_call() {
    let world = World::new(8);
    world.post_all(MAIN, 1..=8);
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    let before = world.calls("l1 hash");
    for number in 9..100 {
        world.post([unauthorized(OTHER, number, number % 4)]);
    }
    runner.run_until_idle().await;
    assert_eq!(world.calls("l1 hash"), before);
}

#[tokio::test]
async fn open_6_a_wrong_hash_of_l1_delays_but_rejects_nothing_forever() {
    let world = World::new(8);
    world.post_all(MAIN, 1..=8);
    world.change().l1_fork = Fork { name: 4, at: 1 };
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 3);
    world.change().l1_fork = MAIN;
    let read = world.calls("feed range");
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 8);
    assert_eq!(world.calls("feed range"), read, "nothing had to be read again");
}

#[tokio::test]
async fn open_8_what_waits_for_l1_was_authenticated_before() {
    let world = World::new(8);
    world.change().down.insert("l1 hash");
    for number in 1..=8 {
        world.post([unauthorized(OTHER, number, 0), Posted::of(MAIN, number)]);
    }
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!(runner.verifier.candidates.len(), 8);
    world.change().down.clear();
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 8);
}

#[tokio::test]
async fn open_9_numbers_far_ahead_leave_first_when_there_is_no_room() {
    let world = World::new(60);
    for number in (2..=60).rev() {
        world.post([Posted { number: number << 40, ..Posted::of(OTHER, 9) }]);
    }
    world.post_all(MAIN, (2..=30).rev());
    world.post_all(MAIN, (1..=1).chain(31..=60));
    let mut runner = world.verifier_with(&MemoryStore::default(), |options| options.budget = 10);
    while runner.round().await == Round::Worked {
        assert!(runner.verifier.candidates.len() <= 10);
    }
    assert_eq!(runner.number(), 60);
}

#[tokio::test]
async fn open_10_equal_batches_among_others_of_their_number_are_kept_once() {
    let world = World::new(5);
    world.post_all(MAIN, 1..=5);
    for _ in 0..5 {
        world.post([Posted::of(OTHER, 7), Posted::of(MAIN, 7), Posted::of(OTHER, 8)]);
    }
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!(runner.verifier.candidates.len(), 3);
}

#[tokio::test]
async fn open_11_an_undecided_batch_that_cannot_be_next_hides_no_other() {
    let world = World::new(8);
    world.post_all(MAIN, 1..=5);
    let far = BlockId { number: 500, ..origin(6) };
    world.post([Posted { l1_origin: far, ..Posted::of(OTHER, 6) }]);
    world.post_all(MAIN, 6..=8);
    world.change().l1_finalized = Some(4);
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 8);
}

#[tokio::test]
async fn open_12_a_skipped_batch_is_still_there_when_it_is_needed() {
    let world = World::new(8);
    world.post_all(MAIN, 1..=5);
    world.post([Posted::of(OTHER, 6)]);
    world.post_all(MAIN, 6..=8);
    world.change().l1_fork = Fork { name: 4, at: 2 };
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 5, "both are on an L1 block that Ethereum seems to have dropped");
    world.change().l1_fork = MAIN;
    world.change().node_fork = OTHER;
    let read = world.calls("feed range");
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 6, "HotShot's first one counts");
    assert_eq!(world.calls("feed range"), read, "nothing had to be read again");
}
