//! What L1 has really finalized, whatever node and op-node call finalized.

use std::time::Duration;

use super::{world::*, *};
use crate::store::memory::MemoryStore;

/// The tip at which execution-layer sync ended.
const SYNCED: u64 = 40;
/// The L1 block with the first batch above it.
const BATCH: u64 = 25;

/// A verifier that has confirmed up to block 8, beside a node after execution-layer sync: L1 has no
/// batch above block 8.
async fn after_el_sync(world: &World, store: &MemoryStore) -> Runner {
    world.post_all(MAIN, 1..=8);
    let mut runner = world.verifier(store);
    runner.run_until_idle().await;
    world.change().el_synced = Some(SYNCED);
    world.change().consensus_l1 = (BATCH - 1, BATCH - 1);
    world.change().l1_finalized = Some(BATCH - 1);
    runner.run_until_idle().await;
    runner
}

/// op-node derives a block above the tip from that L1 block.
fn derive(world: &World, number: u64, l1: u64) {
    let mut state = world.change();
    state.derived.insert(l1, number);
    state.consensus_safe = Some(number);
    state.consensus_l1 = (l1, l1);
}

fn refused(runner: &Runner) -> String {
    runner.board.findings().node.finalized_refused.clone().unwrap_or_default()
}

#[tokio::test]
async fn after_execution_layer_sync_finalized_waits_for_l1_to_decide() {
    for database in [true, false] {
        let world = World::new(50);
        world.change().safe_head_database = database;
        let store = MemoryStore::default();
        let mut runner = after_el_sync(&world, &store).await;
        assert_eq!((runner.number(), runner.code()), (8, "finality_unproven"));
        // Nothing changes while op-node reads L1.
        world.change().consensus_l1 = (BATCH + 5, BATCH + 9);
        world.change().l1_finalized = Some(BATCH + 5);
        runner.run_until_idle().await;
        assert_eq!((runner.number(), runner.code()), (8, "finality_unproven"));

        derive(&world, SYNCED + 2, BATCH + 10);
        runner.run_until_idle().await;
        // What is waited for is on its way.
        assert_eq!((runner.number(), runner.code()), (8, "awaiting_batch"));
        assert!(!refused(&runner).is_empty());
        world.change().l1_finalized = Some(BATCH + 10);
        runner.run_until_idle().await;
        let head = runner.head().unwrap();
        assert_eq!((head.number, head.source), (SYNCED, Source::Ethereum));
        assert_eq!(refused(&runner), "");
        let findings = runner.board.findings();
        assert_eq!(findings.node.finalized_proven.unwrap().number, SYNCED + 2);
    }
}

#[tokio::test]
async fn what_the_sequencer_lost_after_execution_layer_sync_was_never_the_head() {
    let world = World::new(50);
    let store = MemoryStore::default();
    let mut runner = after_el_sync(&world, &store).await;
    let other = Fork { name: 1, at: 20 };
    world.change().node_fork = other;
    derive(&world, SYNCED + 2, BATCH);
    world.change().l1_finalized = Some(BATCH);
    runner.run_until_idle().await;
    let head = runner.head().unwrap();
    assert_eq!((head.number, head.status), (SYNCED, Status::Ok));
    assert_eq!(head.hash, Some(l2_hash(other, SYNCED).to_string()));
}

#[tokio::test]
async fn a_proof_holds_only_while_l1_and_the_node_have_its_blocks() {
    type Change = fn(&World);
    let changes: [(Change, Change); 2] = [
        // L1 drops the block with the batch: another one has it.
        (
            |world| world.change().l1_fork = Fork { name: 3, at: BATCH - 1 },
            |world| {
                // The same block is safe again, by a batch in another L1 block.
                derive(world, SYNCED + 2, BATCH + 1);
                world.change().l1_finalized = Some(BATCH + 1);
            },
        ),
        // The node leaves the block that was safe.
        (
            |world| world.change().node_fork = Fork { name: 3, at: SYNCED },
            |world| world.change().node_fork = MAIN,
        ),
    ];
    for (change, back) in changes {
        let world = World::new(50);
        world.change().safe_head_database = false;
        let store = MemoryStore::default();
        let mut runner = after_el_sync(&world, &store).await;
        derive(&world, SYNCED + 2, BATCH);
        runner.run_until_idle().await;
        change(&world);
        // After the reorg, op-node has not derived anything yet.
        world.change().consensus_safe = None;
        world.change().l1_finalized = Some(BATCH);
        runner.run_until_idle().await;
        assert_eq!(runner.number(), 8);
        back(&world);
        runner.run_until_idle().await;
        assert_eq!(runner.number(), SYNCED);
    }
}

#[tokio::test]
async fn the_highest_proven_block_below_finalized_is_admitted() {
    for database in [true, false] {
        let world = World::new(50);
        world.post_all(MAIN, 1..=8);
        world.change().safe_head_database = database;
        world.change().l1_finalized = Some(8);
        let mut runner = world.verifier(&MemoryStore::default());
        for (number, l1) in [(12, 8), (16, 10), (20, 12), (24, 14)] {
            derive(&world, number, l1);
            runner.run_until_idle().await;
        }
        // op-node's finalized is between two of its answers.
        world.change().node_finalized = Some(18);
        world.change().consensus_finalized = Some(18);
        world.change().l1_finalized = Some(11);
        runner.run_until_idle().await;
        assert_eq!(runner.number(), 16);
        assert!(refused(&runner).contains("block 16"), "{}", refused(&runner));
        world.change().l1_finalized = Some(12);
        runner.run_until_idle().await;
        assert_eq!((runner.number(), refused(&runner).as_str()), (18, ""));
    }
}

#[tokio::test(start_paused = true)]
async fn op_node_is_asked_once_per_interval_where_the_cadence_of_l1_is_not_longer() {
    let world = World::new(50);
    let mut runner = world.verifier_with(&MemoryStore::default(), |options| {
        options.interval = Duration::from_secs(3600);
    });
    for (number, hours, asked) in [(10, 0, 1), (10, 0, 1), (12, 0, 1), (12, 1, 2), (12, 0, 2)] {
        world.finalize(number);
        tokio::time::advance(Duration::from_secs(3600 * hours)).await;
        runner.round().await;
        assert_eq!(world.calls("sync status"), asked);
    }
}

#[tokio::test]
async fn an_admitted_block_is_asked_for_once_and_again_if_another_one_is_proven() {
    let world = World::new(50);
    world.post_all(MAIN, 1..=8);
    world.change().l1_finalized = Some(8);
    world.change().safe_head_database = false;
    let mut runner = world.verifier(&MemoryStore::default());
    derive(&world, 16, 10);
    runner.run_until_idle().await;
    world.change().node_finalized = Some(18);
    world.change().consensus_finalized = Some(20);
    world.change().l1_finalized = Some(11);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 16);
    let asked = world.calls("node block");
    world.change().node_finalized = Some(19);
    runner.run_until_idle().await;
    assert_eq!((runner.number(), world.calls("node block")), (16, asked));
    // Node and op-node know better: what they called final was another block of that number.
    let other = Fork { name: 1, at: 14 };
    world.change().node_fork = other;
    world.change().safe_head_database = true;
    runner.run_until_idle().await;
    let head = runner.head().unwrap();
    assert_eq!((head.number, head.status), (16, Status::Ok));
    assert_eq!(head.hash, Some(l2_hash(other, 16).to_string()));
}

#[tokio::test]
async fn an_unproven_block_that_is_the_head_already_is_no_reason() {
    let world = World::new(8);
    world.post_all(MAIN, 1..=8);
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    world.change().el_synced = Some(8);
    world.change().l1_finalized = Some(8);
    runner.run_until_idle().await;
    assert!(!refused(&runner).is_empty());
    assert_eq!((runner.number(), runner.code()), (8, "up_to_date"));
}

/// The batcher pauses: op-node calls finalized what is safe, and says nothing new. What it said
/// before proves it, also after a restart.
#[tokio::test]
async fn what_op_node_said_before_the_batcher_paused_proves_its_last_block() {
    for restarts in [false, true] {
        let world = World::new(50);
        world.post_all(MAIN, 1..=8);
        world.change().safe_head_database = false;
        world.change().l1_finalized = Some(8);
        let store = MemoryStore::default();
        let mut runner = world.verifier(&store);
        runner.run_until_idle().await;
        derive(&world, 30, 20);
        runner.run_until_idle().await;
        if restarts {
            runner.verifier.save_restart_height(0).await.unwrap();
            assert_eq!(store.on_disk().unwrap().samples.len(), 1);
            runner = world.verifier(&store);
        }
        world.finalize(30);
        world.change().l1_finalized = Some(20);
        runner.run_until_idle().await;
        assert_eq!((runner.number(), refused(&runner).as_str()), (30, ""));
    }
}

#[tokio::test]
async fn a_first_start_waits_for_a_proof_and_says_so() {
    let world = World::new(50);
    world.post_all(MAIN, 1..=40);
    world.change().safe_head_database = false;
    world.change().l1_finalized = Some(8);
    world.finalize(10);
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!((runner.head(), runner.stall()), (None, Stall::FinalityUnproven { number: 10 }));
    assert_eq!(world.calls("feed range"), 0);
    derive(&world, 14, 9);
    runner.run_until_idle().await;
    assert_eq!(runner.code(), "finality_unproven");
    world.change().l1_finalized = Some(9);
    runner.run_until_idle().await;
    assert!(runner.number() > 10);
}

#[tokio::test]
async fn finalized_that_is_trusted_needs_no_proof() {
    let world = World::new(50);
    world.change().el_synced = Some(SYNCED);
    let mut runner = world.verifier_with(&MemoryStore::default(), |options| {
        options.trust_node_finalized = true;
    });
    runner.run_until_idle().await;
    assert_eq!(runner.number(), SYNCED);
    assert!(runner.board.findings().node.finalized_trusted);
    assert_eq!(world.calls("safe head"), 0);
}

/// Past the sequencing window op-node derives blocks without a batch, on whatever it took for safe.
#[tokio::test]
async fn blocks_without_a_batch_prove_nothing() {
    for database in [true, false] {
        let world = World::new(50);
        world.change().safe_head_database = database;
        let store = MemoryStore::default();
        let mut runner = after_el_sync(&world, &store).await;
        let l1 = origin(SYNCED + 2).number + SEQ_WINDOW_SIZE;
        derive(&world, SYNCED + 2, l1);
        // It begins again at lower L1 blocks after a restart.
        world.change().consensus_l1.0 = BATCH;
        world.change().l1_finalized = Some(l1);
        runner.run_until_idle().await;
        assert_eq!((runner.number(), runner.code()), (8, "finality_unproven"));
    }
}

#[tokio::test]
async fn a_proof_falls_with_the_block_that_the_node_leaves() {
    let world = World::new(50);
    world.change().safe_head_database = false;
    let store = MemoryStore::default();
    let mut runner = after_el_sync(&world, &store).await;
    derive(&world, SYNCED + 2, BATCH);
    world.change().l1_finalized = Some(BATCH);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), SYNCED);
    // The block above the tip is another one now, and what was proven says nothing of it.
    world.change().node_fork = Fork { name: 3, at: SYNCED };
    world.change().node_finalized = Some(SYNCED + 1);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), SYNCED);
    assert!(!refused(&runner).is_empty());
}

#[tokio::test]
async fn what_op_node_says_is_saved_now_and_then_and_at_the_end() {
    let world = World::new(50);
    let store = MemoryStore::default();
    let mut runner = after_el_sync(&world, &store).await;
    let saves = store.saves().len();
    for l1 in BATCH..BATCH + 5 {
        derive(&world, SYNCED + 2 + l1 - BATCH, l1);
        runner.run_until_idle().await;
    }
    assert_eq!(store.saves().len(), saves);
    runner.verifier.save_restart_height(0).await.unwrap();
    assert_eq!(store.saves().len(), saves + 1);
    runner.verifier.save_restart_height(0).await.unwrap();
    assert_eq!(store.saves().len(), saves + 1, "nothing is new");
}

#[tokio::test]
async fn a_proof_falls_with_the_final_block_that_it_rests_on() {
    let world = World::new(50);
    world.change().safe_head_database = false;
    let store = MemoryStore::default();
    let mut runner = after_el_sync(&world, &store).await;
    // A false reading of L1 calls the batch's block final.
    derive(&world, SYNCED + 2, BATCH);
    world.change().l1_finalized = Some(BATCH);
    world.change().down.insert("node block");
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 8, "proven, but the node did not say more");
    world.change().l1_epoch = 1;
    world.change().l1_finalized = Some(BATCH - 1);
    world.change().down.clear();
    runner.run_until_idle().await;
    assert_eq!((runner.number(), runner.code()), (8, "awaiting_batch"));
    world.change().l1_finalized = Some(BATCH);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), SYNCED);
}
