//! Which batch is the next block.

use std::sync::Arc;

use alloy_primitives::{Address, B256};

use super::{world::*, *};
use crate::{
    batchers::{Authority, BatcherTenure},
    eth::BlockId,
    head::HeadBlock,
    l1::View as L1View,
    rollup::{Batch, Position, Rollup as _, op::Facts},
    store::memory::MemoryStore,
    upstream::UpstreamError,
    verifier::{Candidates, Choice, choose},
};

const OTHER: Fork = Fork { name: 1, at: 5 };

/// What the candidates for block 1 come to, by their signers.
fn outcome(l1: &L1View, batches: impl IntoIterator<Item = (Address, Facts)>) -> Stall {
    let rollup = World::new(0).rollup();
    let mut candidates = Candidates::<TestRollup>::new(10);
    let tip = HeadBlock { number: 0, hash: Some(l2_hash(MAIN, 0)), l1_origin: Some(origin(0)) };
    for (index, (signer, facts)) in batches.into_iter().enumerate() {
        let batch = Batch { signer, facts, content: () };
        let position = Position { index, ..Position::start_of(0) };
        candidates.insert(position, batch, &tip, |batch| rollup.can_follow(&tip, batch));
    }
    match choose(&rollup, &candidates, &tip, Some(&()), l1) {
        Choice::Stalled(stall) => stall,
        other => panic!("{other:?}"),
    }
}

fn facts() -> Facts {
    let Posted { number, hash, parent_hash, timestamp, l1_origin, .. } = Posted::of(MAIN, 1);
    Facts { number, hash, parent_hash, timestamp, l1_origin }
}

#[test]
fn batches_that_are_out_are_counted_by_the_reason() {
    let mut l1 = L1View::new(Ok(Some(origin(2))));
    l1.know_authority(Arc::new(Authority::fixed(vec![BatcherTenure::always(BATCHER)])));
    let unauthorized = |index: u8| (Address::repeat_byte(index), facts());
    let of_another_fork = (BATCHER, Facts { parent_hash: B256::ZERO, ..facts() });
    let orphan = BlockId { hash: B256::ZERO, ..origin(2) };
    let orphaned = (BATCHER, Facts { l1_origin: orphan, ..facts() });
    let counts = |batches: Vec<_>| match outcome(&l1, batches) {
        Stall::CompetingFork { number: 1, other_fork, orphaned_origin, unauthorized } => {
            [other_fork, orphaned_origin, unauthorized]
        }
        stall => panic!("{stall:?}"),
    };
    assert_eq!(counts(vec![unauthorized(1), unauthorized(2)]), [0, 0, 2]);
    assert_eq!(counts(vec![orphaned]), [0, 1, 0]);
    assert_eq!(counts(vec![of_another_fork]), [1, 0, 0]);
    assert_eq!(counts(vec![unauthorized(1), orphaned, of_another_fork]), [1, 1, 1]);
    assert_eq!(outcome(&l1, []), Stall::AwaitingBatch { number: 1 });
}

#[test]
fn l1_without_a_majority_is_told_from_l1_without_an_answer() {
    let code = |error| outcome(&L1View::new(Err(error)), [(BATCHER, facts())]).code();
    assert_eq!(code(UpstreamError::NoMajority("1 of 3".into())), "l1_no_majority");
    assert_eq!(code(UpstreamError::Connection("refused".into())), "l1_unavailable");
}

#[tokio::test]
async fn everything_that_is_ready_is_confirmed_in_one_go() {
    let world = World::new(300);
    world.post_all(MAIN, 1..=300);
    let store = MemoryStore::default();
    let mut runner = world.verifier(&store);
    runner.run_until_idle().await;
    let head = runner.head().unwrap();
    assert_eq!((head.number, head.source, head.status), (300, Source::Espresso, Status::Ok));
    assert_eq!(head.hash, Some(l2_hash(MAIN, 300).to_string()));
    assert_eq!(world.calls("node block"), 300, "one call of the node for a confirmation");
    assert!(runner.metrics.render().contains(r#"batches_total{result="confirmed"} 300"#));
    assert!(store.saves().len() < 100, "writes are coalesced");
}

#[tokio::test]
async fn an_origin_that_is_not_final_is_waited_for() {
    let world = World::new(10);
    world.post_all(MAIN, 1..=10);
    world.change().l1_finalized = Some(2);
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 5, "block 6 is built on L1 block 3");
    let finalized = Some(BlockId { number: 2, hash: l1_hash(MAIN, 2) });
    let (number, origin) = (6, origin(6));
    assert_eq!(runner.stall(), Stall::AwaitingL1Finality { number, origin, finalized });
    for _ in 0..3 {
        let metrics = runner.metrics.render();
        assert!(metrics.contains(r#"batches_total{result="undecided"} 1"#), "said once");
        runner.run_until_idle().await;
    }
    world.change().l1_finalized = Some(4);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 9);
}

#[tokio::test]
async fn an_undecided_batch_is_not_overtaken() {
    let world = World::new(10);
    world.post_all(MAIN, 1..=5);
    let undecided =
        Posted { l1_origin: BlockId { number: 3, hash: B256::ZERO }, ..Posted::of(OTHER, 6) };
    // The good one, second in HotShot order, is built on an L1 block that is final.
    let good = Posted { l1_origin: origin(5), ..Posted::of(MAIN, 6) };
    world.post([undecided]);
    world.post([good]);
    world.change().l1_finalized = Some(2);
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 5);
    // Once L1 block 3 is final, and another one, the first batch is out.
    world.change().l1_finalized = Some(3);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 6);
}

#[tokio::test]
async fn a_batch_on_an_l1_block_that_ethereum_dropped_is_skipped() {
    let world = World::new(8);
    world.post_all(MAIN, 1..=5);
    let orphan = BlockId { number: 3, hash: l1_hash(Fork { name: 9, at: 0 }, 3) };
    world.post([Posted { l1_origin: orphan, ..Posted::of(OTHER, 6) }]);
    world.post_all(MAIN, 6..=8);
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 8);
    assert!(runner.metrics.render().contains(r#"batches_total{result="skipped"} 1"#));
}

#[tokio::test]
async fn one_wrong_answer_of_l1_rejects_nothing_forever() {
    let world = World::new(8);
    world.post_all(MAIN, 1..=8);
    world.change().l1_fork = Fork { name: 4, at: 2 };
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 5);
    let (other_fork, orphaned_origin, unauthorized) = (0, 1, 0);
    assert_eq!(
        runner.stall(),
        Stall::CompetingFork { number: 6, other_fork, orphaned_origin, unauthorized }
    );
    world.change().l1_fork = MAIN;
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 8);
}

#[tokio::test]
async fn l1_being_down_only_delays() {
    let world = World::new(8);
    world.post_all(MAIN, 1..=8);
    let mut runner = world.verifier(&MemoryStore::default());
    world.change().down.insert("l1 hash");
    runner.run_until_idle().await;
    assert_eq!(runner.head(), None, "block 1 needs the hash of L1 block 0");
    assert_eq!(runner.code(), "l1_unavailable");
    world.change().down.insert("l1");
    runner.run_until_idle().await;
    assert_eq!(runner.code(), "l1_unavailable");
    world.change().down.clear();
    world.change().l1_finalized = None;
    runner.run_until_idle().await;
    assert_eq!(runner.code(), "awaiting_l1_finality", "it answers that nothing is final");
    world.change().l1_finalized = Some(1_000_000);
    world.change().down.clear();
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 8);
}

#[tokio::test]
async fn with_both_forks_on_hotshot_the_first_one_counts_in_either_order() {
    for node_follows in [MAIN, OTHER] {
        for (first, second) in [(MAIN, OTHER), (OTHER, MAIN)] {
            let world = World::new(8);
            world.post_all(MAIN, 1..=5);
            for number in 6..=8 {
                world.post([Posted::of(first, number)]);
                world.post([Posted::of(second, number)]);
            }
            world.change().node_fork = node_follows;
            let mut runner = world.verifier(&MemoryStore::default());
            runner.run_until_idle().await;
            let agrees = node_follows == first;
            assert_eq!(runner.number(), if agrees { 8 } else { 5 });
            if !agrees {
                assert_eq!(runner.code(), "mismatch");
                assert!(runner.metrics.render().contains(r#"batches_total{result="mismatch"} 1"#));
                // Looking again does not alarm again; the node coming to the right fork ends it.
                runner.run_until_idle().await;
                assert!(runner.metrics.render().contains(r#"batches_total{result="mismatch"} 1"#));
                world.change().node_fork = first;
                runner.run_until_idle().await;
                assert_eq!(runner.number(), 8);
            }
        }
    }
}

#[tokio::test]
async fn a_batch_that_does_not_follow_the_head_is_never_chosen() {
    let world = World::new(8);
    world.post_all(MAIN, 1..=5);
    for bad in [
        Posted { parent_hash: B256::ZERO, ..Posted::of(OTHER, 6) },
        Posted { timestamp: 1, ..Posted::of(OTHER, 6) },
        Posted { l1_origin: origin(20), ..Posted::of(OTHER, 6) },
        Posted { l1_origin: origin(2), ..Posted::of(OTHER, 6) },
        // The same L1 height as block 5's origin, another hash.
        Posted { l1_origin: BlockId { number: 2, hash: B256::ZERO }, ..Posted::of(OTHER, 6) },
        Posted {
            l1_origin: BlockId { number: u64::MAX, hash: B256::ZERO },
            ..Posted::of(OTHER, 6)
        },
    ] {
        world.post([bad]);
    }
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 5);
    let (other_fork, orphaned_origin, unauthorized) = (6, 0, 0);
    assert_eq!(
        runner.stall(),
        Stall::CompetingFork { number: 6, other_fork, orphaned_origin, unauthorized }
    );
    world.post_all(MAIN, 6..=8);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 8);
}

#[tokio::test]
async fn nothing_is_skipped_on_espressos_word_alone() {
    let world = World::new(20);
    world.post_all(MAIN, (1..=5).chain(7..=20));
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 5);
    world.post_all(MAIN, 6..=6);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 20, "what came before its turn was kept");
}

#[tokio::test]
async fn order_repetition_and_numbers_from_the_future_do_no_harm() {
    let world = World::new(30);
    let mut numbers: Vec<u64> = (1..=30).collect();
    numbers.reverse();
    for number in numbers {
        world.post(
            [number, u64::MAX, number, 1 << 40]
                .map(|n| Posted { number: n, ..Posted::of(MAIN, number) }),
        );
    }
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 30);
}

#[tokio::test]
async fn a_node_without_the_block_is_waited_for() {
    let world = World::new(3);
    world.post_all(MAIN, 1..=9);
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 3);
    assert_eq!(runner.stall(), Stall::NodeMissingBlock { number: 4 });
    let before = world.calls("node block");
    runner.run_until_idle().await;
    assert!(
        world.calls("node block") - before <= 2,
        "a node that lags is not asked for what it lacks"
    );
    world.change().node_latest = 9;
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 9);
}

#[tokio::test]
async fn unauthorized_bytes_cause_no_call_and_take_no_memory() {
    let world = World::new(8);
    world.post_all(MAIN, 1..=4);
    let store = MemoryStore::default();
    let mut runner = world.verifier(&store);
    runner.run_until_idle().await;
    let calls =
        |world: &World| ["node block", "l1 hash", "light client"].map(|name| world.calls(name));
    let before = calls(&world);
    for number in 0..1000 {
        let strange = Posted { signed: false, ..Posted::of(OTHER, number + 1) };
        let far = Posted { l1_origin: origin(u64::MAX), ..strange.clone() };
        world.post([strange, far]);
        world.change().hotshot.push(vec![vec![], vec![0; 64], b"garbage".to_vec()]);
    }
    runner.run_until_idle().await;
    assert_eq!(calls(&world), before);
    assert!(runner.verifier.candidates.is_empty());
    world.post_all(MAIN, 5..=8);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 8);
}
