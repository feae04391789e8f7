//! Who may sign: the contract's history, rotations, and L1 reorgs that undo them.

use alloy_primitives::{Address, keccak256};
use proptest::prelude::*;

use super::{
    model::cases,
    world::{BATCHER as OLD, *},
};
use crate::{
    batchers::{BatcherSource, BatcherTenure},
    eth::BlockId,
    rollup::Rollup,
    store::{Record, Store, memory::MemoryStore},
    verifier::{Options, Round, Stall},
};

const NEW: Address = Address::repeat_byte(0xb2);
const CONTRACT: Address = Address::repeat_byte(0xcc);

fn by_contract(options: &mut Options) {
    options.batchers = BatcherSource::Contract(Some(CONTRACT));
}

fn with_light_client(options: &mut Options) {
    by_contract(options);
    options.light_client = Some(Address::repeat_byte(1));
    options.initial_hotshot_height = None;
}

fn signed_by(signer: Address, number: u64) -> Posted {
    Posted { signer, ..Posted::of(MAIN, number) }
}

/// Each block under the key that is in force at its origin, with `NEW` since L1 block 5: block 10.
fn post_rotated(world: &World, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        let signer = if number / BLOCKS_PER_ORIGIN >= 5 { NEW } else { OLD };
        world.post([signed_by(signer, number)]);
    }
}

/// Twenty blocks, and L1 as it is; `NEW` since L1 block 5.
fn rotating(l1_finalized: u64, l1_latest: u64) -> World {
    let world = World::new(20);
    {
        let mut state = world.change();
        state.batchers.insert(5, NEW);
        (state.l1_finalized, state.l1_latest) = (Some(l1_finalized), l1_latest);
    }
    world
}

/// Sixty blocks of which 39 are on HotShot; `NEW` since L1 block 20, which L1 has yet to build. The
/// light client says HotShot's height as it is when an L1 block is made.
fn before_the_rotation() -> World {
    let world = World::new(60);
    {
        let mut state = world.change();
        state.batchers.insert(20, NEW);
        state.light_client.extend((0..30).map(|l1| (l1, l1 * BLOCKS_PER_ORIGIN)));
        (state.l1_finalized, state.l1_latest) = (Some(19), 19);
    }
    world.post_all(MAIN, 1..=39);
    world
}

#[tokio::test]
async fn a_rotation_in_the_middle_of_a_stream_is_followed() {
    let world = World::new(20);
    world.change().batchers.insert(5, NEW);
    post_rotated(&world, 1..=20);
    let mut runner = world.verifier_with(&MemoryStore::default(), by_contract);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 20);
    let tenures = runner.board.findings().batchers.tenures.clone();
    assert_eq!(tenures[0], BatcherTenure { batcher: OLD, from: 0, until: Some(5) });
    assert_eq!(tenures[1], BatcherTenure { batcher: NEW, from: 5, until: None });
}

#[tokio::test]
async fn the_contract_that_the_rollup_names_is_read_unless_it_is_zero() {
    for (named, is_one) in [(Some(CONTRACT), true), (Some(Address::ZERO), false), (None, false)] {
        let world = World::new(5);
        world.post_all(MAIN, 1..=5);
        world.change().named_authenticator = named;
        let mut runner = world.verifier_with(&MemoryStore::default(), |options| {
            options.batchers = BatcherSource::Contract(None);
        });
        runner.run_until_idle().await;
        assert_eq!(runner.board.findings().batchers.contract, named.filter(|_| is_one));
        assert_eq!(runner.code() == "batchers_unknown", !is_one, "{named:?}");
    }
}

#[tokio::test]
async fn what_the_contract_said_at_a_block_that_is_not_final_is_forgotten() {
    let world = World::new(20);
    world.post_all(MAIN, 1..=5);
    let mut runner = world.verifier_with(&MemoryStore::default(), by_contract);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 5);
    world.post_all(MAIN, 6..=8);
    world.change().l1_epoch = 1;
    world.change().down.insert("batchers");
    runner.run_until_idle().await;
    assert_eq!((runner.number(), runner.code()), (5, "batchers_unknown"));
    world.change().down.clear();
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 8);
}

#[tokio::test]
async fn a_key_counts_only_at_the_origins_that_are_its_own() {
    let world = World::new(20);
    world.change().batchers.insert(5, NEW);
    world.post_all(MAIN, 1..=3);
    // The new key too early, then the right one; the old key too late, then the right one.
    let other = Fork { name: 1, at: 3 };
    world.post([Posted { signer: NEW, ..Posted::of(other, 4) }, signed_by(OLD, 4)]);
    world.post_all(MAIN, 5..=9);
    let other = Fork { name: 1, at: 9 };
    world.post([Posted { signer: OLD, ..Posted::of(other, 10) }]);
    let mut runner = world.verifier_with(&MemoryStore::default(), by_contract);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 9);
    assert_eq!(runner.stall(), Stall::AwaitingBatch { number: 10 });
    post_rotated(&world, 10..=20);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 20);
    assert!(runner.metrics.render().contains(r#"batches_total{result="mismatch"} 0"#));
}

#[tokio::test]
async fn a_batch_that_the_wrong_key_signed_first_counts_under_the_right_one() {
    let world = World::new(20);
    world.change().batchers.insert(5, NEW);
    for number in 1..=20 {
        let (wrong, right) = if number < 10 { (NEW, OLD) } else { (OLD, NEW) };
        world.post([signed_by(wrong, number), signed_by(right, number)]);
    }
    let mut runner = world.verifier_with(&MemoryStore::default(), by_contract);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 20);
}

#[tokio::test]
async fn batches_of_the_old_key_whose_origin_is_not_final_survive_a_rotation() {
    let world = rotating(3, 9);
    post_rotated(&world, 1..=20);
    let mut runner = world.verifier_with(&MemoryStore::default(), by_contract);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 7, "block 8 is built on L1 block 4");
    for (finalized, number) in [(4, 9), (5, 11), (10, 20)] {
        world.change().l1_finalized = Some(finalized);
        runner.run_until_idle().await;
        assert_eq!(runner.number(), number);
    }
}

#[tokio::test]
async fn batches_of_a_new_key_count_once_its_rotation_is_final() {
    // Known by L1's latest block, or only when it is final, after its batches were read.
    for l1_latest in [9, 3] {
        let world = rotating(3, l1_latest);
        post_rotated(&world, 1..=20);
        let mut runner = world.verifier_with(&MemoryStore::default(), by_contract);
        runner.run_until_idle().await;
        assert_eq!(runner.number(), 7);
        world.change().l1_finalized = Some(10);
        runner.run_until_idle().await;
        runner.run_until_idle().await;
        assert_eq!(runner.number(), 20);
        let reread = runner.metrics.render().contains(r#"resets_total{reason="keys"} 1"#);
        assert_eq!(reread, l1_latest == 3, "only what was read before is read again");
    }
}

#[tokio::test]
async fn a_new_key_is_looked_for_no_further_back_than_its_batches_can_be() {
    let world = before_the_rotation();
    let mut runner = world.verifier_with(&MemoryStore::default(), with_light_client);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 39);
    for number in 40..=50 {
        world.post([signed_by(NEW, number)]);
    }
    runner.run_until_idle().await;
    assert!(runner.verifier.candidates.is_empty(), "they are unauthorized");
    let before = world.change().ranges.len();
    world.change().l1_finalized = Some(25);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 50);
    assert_eq!(world.change().ranges[before].0, 38, "from the head's own L1 origin on");
}

#[tokio::test]
async fn a_restart_after_batches_of_an_unknown_key_were_read_finds_them() {
    let world = before_the_rotation();
    let store = MemoryStore::default();
    let mut runner = world.verifier_with(&store, with_light_client);
    runner.run_until_idle().await;
    for number in 40..=50 {
        world.post([signed_by(NEW, number)]);
    }
    runner.run_until_idle().await;
    // The end of a process saves the position after what it rejected as unauthorized.
    runner.verifier.save_restart_height(0).await.unwrap();
    assert_eq!(store.reopen().record().unwrap().restart_height, Some(50));
    drop(runner);
    world.change().l1_finalized = Some(25);
    // A file of an earlier version does not say by which history batches were dropped.
    let unmarked = Record { batchers: None, ..store.on_disk().unwrap() };
    for store in [store, MemoryStore::with(unmarked)] {
        let mut runner = world.verifier_with(&store, with_light_client);
        runner.run_until_idle().await;
        assert_eq!(runner.number(), 50);
    }
}

/// HotShot has two batches for block 10: first one of the new key on L1 block 5, where it is in
/// force, then one of the old key on L1 block 4. L1 is final up to 4.
fn two_for_block_10() -> World {
    let world = World::new(12);
    {
        let mut state = world.change();
        state.batchers.insert(5, NEW);
        state.l1_finalized = Some(4);
    }
    world.post_all(MAIN, 1..=9);
    world.post([Posted { signer: NEW, ..Posted::of(Fork { name: 1, at: 9 }, 10) }]);
    world.post([Posted { l1_origin: origin(9), ..Posted::of(MAIN, 10) }]);
    world
}

#[tokio::test]
async fn the_old_key_does_not_overtake_the_new_one() {
    let world = two_for_block_10();
    world.change().l1_latest = 9;
    let mut runner = world.verifier_with(&MemoryStore::default(), by_contract);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 9);
    assert_eq!(runner.code(), "awaiting_l1_finality");
}

#[tokio::test]
async fn a_kept_batch_does_not_overtake_one_of_a_key_that_is_learned_later() {
    let world = two_for_block_10();
    (world.change().l1_latest, world.change().node_latest) = (4, 9);
    let mut runner = world.verifier_with(&MemoryStore::default(), by_contract);
    runner.run_until_idle().await;
    assert_eq!(runner.stall(), Stall::NodeMissingBlock { number: 10 });
    (world.change().l1_finalized, world.change().node_latest) = (Some(5), 12);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 9);
    assert_eq!(runner.code(), "mismatch");
}

#[tokio::test]
async fn an_l1_reorg_that_undoes_a_rotation_undoes_the_key() {
    let world = rotating(4, 9);
    post_rotated(&world, 1..=12);
    let mut runner = world.verifier_with(&MemoryStore::default(), by_contract);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 9, "L1 block 5 is not final");
    assert!(runner.verifier.rollup.batchers().contains(&NEW));
    // On the other fork of L1 no batcher was replaced, so the old key stays authorized.
    world.change().batchers.remove(&5);
    world.post_all(MAIN, 10..=20);
    world.change().l1_finalized = Some(10);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 20);
}

#[tokio::test]
async fn one_wrong_history_rejects_nothing_for_ever() {
    let world = World::new(20);
    world.post_all(MAIN, 1..=20);
    for wrong in [vec![(0, NEW)], vec![(0, OLD), (3, NEW)], vec![]] {
        world.change().batchers = wrong.into_iter().collect();
        world.change().l1_finalized = Some(900);
        let mut runner = world.verifier_with(&MemoryStore::default(), by_contract);
        runner.run_until_idle().await;
        assert!(runner.head().is_none_or(|head| head.number < 20), "{:?}", runner.stall());
        world.change().batchers = [(0, OLD)].into();
        world.change().l1_finalized = Some(901);
        runner.run_until_idle().await;
        assert_eq!(runner.number(), 20);
    }
}

#[tokio::test]
async fn the_namespace_is_not_read_before_the_batchers_are_known() {
    let world = World::new(8);
    world.post_all(MAIN, 1..=8);
    world.change().down.insert("batchers");
    let mut runner = world.verifier_with(&MemoryStore::default(), by_contract);
    runner.run_until_idle().await;
    assert_eq!(runner.code(), "batchers_unknown");
    assert_eq!(world.calls("feed range"), 0);
    world.change().down.clear();
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 8);
}

#[tokio::test]
async fn while_the_contract_cannot_be_read_what_is_known_still_counts() {
    let world = World::new(20);
    world.post_all(MAIN, 1..=20);
    world.change().l1_finalized = Some(4);
    let mut runner = world.verifier_with(&MemoryStore::default(), by_contract);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 9);
    world.change().down.insert("batchers");
    world.change().l1_finalized = Some(10);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 9);
    assert_eq!(runner.code(), "awaiting_batcher_history");
    let error = runner.board.findings().batchers.error.clone().unwrap();
    assert!(error.contains("batchers is down"), "{error}");
    world.change().down.clear();
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 20);
}

#[tokio::test]
async fn a_contract_that_is_absent_at_the_final_block_is_waited_for() {
    let world = World::new(20);
    world.post_all(MAIN, 1..=20);
    world.change().l1_finalized = Some(4);
    world.change().authenticator = Some(5);
    world.change().batchers = [(6, OLD)].into();
    let mut runner = world.verifier_with(&MemoryStore::default(), by_contract);
    runner.run_until_idle().await;
    assert_eq!(runner.head(), None);
    let stall = runner.stall();
    assert_eq!(stall.code(), "batchers_unknown");
    assert!(stall.to_string().contains("batch_authenticator_address"), "{stall}");
    // Ethereum's finality continues without it, and the chain continues from there.
    world.finalize(11);
    world.change().l1_finalized = Some(10);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 20);
}

#[tokio::test]
async fn without_a_contract_or_a_list_the_reason_names_the_settings() {
    let world = World::new(8);
    let mut runner = world.verifier_with(&MemoryStore::default(), |options| {
        options.batchers = BatcherSource::Contract(None);
    });
    runner.run_until_idle().await;
    for setting in ["batcher_addresses", "batch_authenticator_address"] {
        let stall = runner.stall();
        assert_eq!(stall.code(), "batchers_unknown");
        assert!(stall.to_string().contains(setting), "{stall}");
    }
}

#[tokio::test]
async fn the_fallback_batcher_is_named_as_the_reason() {
    let world = World::new(8);
    world.post_all(MAIN, 1..=4);
    world.change().active_is_espresso = false;
    let mut runner = world.verifier_with(&MemoryStore::default(), by_contract);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 4);
    assert_eq!(runner.stall(), Stall::FallbackBatcherActive { number: 5 });
    assert_eq!(runner.board.findings().batchers.active_is_espresso, Some(false));
    world.change().active_is_espresso = true;
    world.change().l1_finalized = Some(1_000_001);
    runner.run_until_idle().await;
    assert_eq!(runner.stall(), Stall::AwaitingBatch { number: 5 });
}

#[tokio::test]
async fn a_fixed_list_may_carry_l1_ranges_and_reads_no_contract() {
    let world = World::new(20);
    post_rotated(&world, 1..=20);
    let list = vec![
        BatcherTenure { batcher: OLD, from: 0, until: Some(5) },
        BatcherTenure { batcher: NEW, from: 5, until: Some(8) },
    ];
    let mut runner = world.verifier_with(&MemoryStore::default(), |options| {
        options.batchers = BatcherSource::Fixed(list.clone());
    });
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 15);
    assert_eq!(runner.code(), "awaiting_batch");
    assert_eq!(world.calls("batchers"), 0);
    assert_eq!(runner.board.findings().batchers.tenures, list);
}

#[tokio::test]
async fn unauthorized_batches_cause_no_reading_of_the_contract() {
    let world = World::new(8);
    world.post_all(MAIN, 1..=4);
    let mut runner = world.verifier_with(&MemoryStore::default(), by_contract);
    runner.run_until_idle().await;
    let before = world.calls("batchers");
    assert_eq!(before, 2, "at the final block and at the latest one");
    for number in 1..=1000 {
        world.post([signed_by(Address::repeat_byte(7), number), signed_by(NEW, number)]);
    }
    runner.run_until_idle().await;
    assert_eq!(world.calls("batchers"), before);
    assert!(runner.verifier.candidates.is_empty());
    world.change().l1_finalized = Some(1_000_001);
    runner.run_until_idle().await;
    assert_eq!(world.calls("batchers"), before + 2, "once for a new final block");
}

/// Different batches for a block by a key, all of which extend the chain.
fn flood(
    signer: Address,
    number: u64,
    origin: BlockId,
    count: u64,
) -> impl Iterator<Item = Posted> {
    (0..count).map(move |index| Posted {
        signer,
        l1_origin: origin,
        hash: keccak256(format!("flood {number} {index}")),
        ..Posted::of(MAIN, number)
    })
}

#[tokio::test]
async fn an_old_key_costs_no_memory_where_it_is_known_to_be_old() {
    // `NEW` since L1 block 5, which is final.
    let world = rotating(8, 9);
    for number in 1..=17 {
        if number >= 10 {
            world.post(flood(OLD, number, origin(number), 50));
        }
        post_rotated(&world, [number]);
    }
    let mut runner = world.verifier_with(&MemoryStore::default(), |options| {
        by_contract(options);
        options.budget = 10;
    });
    while runner.round().await == Round::Worked {
        assert!(runner.verifier.candidates.of(10).all(|(_, batch)| batch.signer == NEW));
    }
    assert_eq!(runner.number(), 17);
    let metrics = runner.metrics.render();
    assert!(metrics.contains(r#"resets_total{reason="dropped"} 0"#), "nothing was read again");
    assert!(metrics.contains(r#"rejected_payloads_total{reason="signer"} 400"#), "{metrics}");
}

#[tokio::test]
async fn an_old_key_delays_until_finality_and_no_longer() {
    // What the old key signs on L1 blocks that are not final may still count.
    let world = rotating(5, 9);
    for number in 1..=20 {
        if number >= 10 {
            world.post(flood(OLD, number, origin(number + BLOCKS_PER_ORIGIN), 50));
        }
        post_rotated(&world, [number]);
    }
    let mut runner = world.verifier_with(&MemoryStore::default(), |options| {
        by_contract(options);
        options.budget = 8;
    });
    for finalized in 5..=11 {
        world.change().l1_finalized = Some(finalized);
        runner.run_until_idle().await;
        // The second block on an L1 block waits for what the old key built on the next one.
        assert_eq!(runner.number(), (finalized * BLOCKS_PER_ORIGIN).min(20));
        let waits = if finalized < 10 { "awaiting_l1_finality" } else { "up_to_date" };
        assert_eq!(runner.code(), waits);
        assert!(runner.verifier.candidates.len() <= 8);
    }
}

/// What a history at L1's final block said is not what it says later: `OLD` was never replaced.
fn wrongly_rotated() -> World {
    let world = rotating(8, 9);
    world.post_all(MAIN, 1..=20);
    world
}

#[tokio::test]
async fn what_was_dropped_by_another_history_is_read_again() {
    let world = wrongly_rotated();
    let mut runner = world.verifier_with(&MemoryStore::default(), by_contract);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 9);
    world.change().batchers.remove(&5);
    world.change().l1_finalized = Some(10);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 20);
    assert!(runner.metrics.render().contains(r#"resets_total{reason="keys"} 1"#));
}

#[tokio::test]
async fn what_was_dropped_by_another_history_is_read_again_after_a_restart() {
    for final_after in [10, 8, 6] {
        let world = wrongly_rotated();
        let store = MemoryStore::default();
        let mut runner = world.verifier_with(&store, by_contract);
        runner.run_until_idle().await;
        runner.verifier.save_restart_height(0).await.unwrap();
        let stored = store.on_disk().unwrap();
        assert_eq!(stored.restart_height, Some(17), "beyond what was dropped");
        assert_eq!(stored.batchers.unwrap().up_to, 8);
        world.change().batchers.remove(&5);
        world.change().l1_finalized = Some(final_after);
        let mut runner = world.verifier_with(&store, by_contract);
        runner.run_until_idle().await;
        assert_eq!(runner.number(), (final_after * 2 + 1).min(20), "final up to {final_after}");
    }
}

#[tokio::test]
async fn another_fixed_list_after_a_restart_is_another_history() {
    let world = World::new(20);
    world.post_all(MAIN, 1..=20);
    let with = |until| {
        move |options: &mut Options| {
            options.batchers =
                BatcherSource::Fixed(vec![BatcherTenure { batcher: OLD, from: 0, until }]);
        }
    };
    let store = MemoryStore::default();
    let mut runner = world.verifier_with(&store, with(Some(5)));
    runner.run_until_idle().await;
    runner.verifier.save_restart_height(0).await.unwrap();
    assert_eq!((runner.number(), store.on_disk().unwrap().restart_height), (9, Some(20)));
    let mut runner = world.verifier_with(&store, with(None));
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 20);
}

#[tokio::test]
async fn a_key_that_came_while_the_contract_was_out_of_reach_is_found_after_a_restart() {
    let world = rotating(3, 3);
    post_rotated(&world, 1..=20);
    let store = MemoryStore::default();
    let mut runner = world.verifier_with(&store, by_contract);
    runner.run_until_idle().await;
    world.change().down.insert("batchers");
    // Ethereum moves the head past the rotation; the new key's batches were read and rejected.
    world.change().l1_finalized = Some(10);
    world.change().l1_latest = 10;
    world.finalize(12);
    runner.run_until_idle().await;
    runner.verifier.save_restart_height(0).await.unwrap();
    assert_eq!((runner.number(), store.on_disk().unwrap().restart_height), (12, Some(20)));
    world.change().down.clear();
    let mut runner = world.verifier_with(&store, by_contract);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 20);
}

/// Keys that the schedules below use.
const KEYS: u8 = 6;

#[derive(Debug, Clone)]
enum Step {
    /// An L1 block, perhaps with another key, and two L2 blocks on it whose batches are posted,
    /// perhaps behind others by every key that is not in force.
    Mine {
        rotation: Option<u8>,
        hostile: bool,
    },
    /// The distance of L1 finality from the tip, in blocks.
    Finalize(u64),
    /// What an L1 endpoint calls the latest block is so far behind.
    Lag(u64),
    /// Whether the contract can be read.
    Contract(bool),
    Round,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (proptest::option::weighted(0.3, 0..KEYS), proptest::bool::weighted(0.3))
            .prop_map(|(rotation, hostile)| Step::Mine { rotation, hostile }),
        4 => (0..4_u64).prop_map(Step::Finalize),
        1 => (0..4_u64).prop_map(Step::Lag),
        1 => any::<bool>().prop_map(Step::Contract),
        6 => Just(Step::Round),
        1 => Just(Step::Restart),
    ]
}

/// Whatever the order of rotations, finality, reading and restarts: in the end every block is
/// confirmed, and none under a key that was not in force at its origin.
async fn follow_rotations(steps: Vec<Step>) {
    let world = World::new(1);
    let key = |index: u8| Address::repeat_byte(0xb1 + index);
    {
        let mut state = world.change();
        (state.l1_finalized, state.l1_latest) = (Some(0), 0);
        state.light_client.insert(0, 0);
    }
    world.post_all(MAIN, 1..2);
    let (mut tip, mut lag) = (0, 0);
    let store = MemoryStore::default();
    let mut runner = world.verifier_with(&store, with_light_client);
    for step in steps {
        match step {
            Step::Mine { rotation, hostile } => {
                tip += 1;
                let mut state = world.change();
                let hotshot = state.hotshot.len() as u64;
                state.light_client.insert(tip, hotshot);
                if let Some(index) = rotation {
                    state.batchers.insert(tip, key(index));
                }
                let in_force = *state.batchers.values().next_back().unwrap();
                state.node_latest += BLOCKS_PER_ORIGIN;
                drop(state);
                for number in tip * BLOCKS_PER_ORIGIN..(tip + 1) * BLOCKS_PER_ORIGIN {
                    let other = Fork { name: 1, at: number - 1 };
                    let wrong = (0..KEYS).map(key).filter(|signer| hostile && *signer != in_force);
                    world.post(wrong.map(|signer| Posted { signer, ..Posted::of(other, number) }));
                    world.post([signed_by(in_force, number)]);
                }
            }
            Step::Finalize(distance) => {
                let mut state = world.change();
                state.l1_finalized = state.l1_finalized.max(Some(tip.saturating_sub(distance)));
            }
            Step::Lag(blocks) => lag = blocks,
            Step::Contract(true) => _ = world.change().down.remove("batchers"),
            Step::Contract(false) => _ = world.change().down.insert("batchers"),
            Step::Round => _ = runner.round().await,
            Step::Restart => {
                runner.verifier.save_restart_height(0).await.unwrap();
                runner = world.verifier_with(&store, with_light_client);
            }
        }
        let mut state = world.change();
        let finalized = state.l1_finalized.unwrap();
        state.l1_latest = tip.saturating_sub(lag).max(finalized);
    }
    {
        let mut state = world.change();
        state.down.clear();
        (state.l1_finalized, state.l1_latest) = (Some(tip), tip);
    }
    runner.run_until_idle().await;
    let last = (tip + 1) * BLOCKS_PER_ORIGIN - 1;
    assert_eq!(runner.number(), last, "{:?}", runner.stall());
    assert!(runner.metrics.render().contains(r#"batches_total{result="mismatch"} 0"#));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases() / 8))]

    #[test]
    fn every_schedule_of_rotations_is_followed(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(follow_rotations(steps));
    }
}
