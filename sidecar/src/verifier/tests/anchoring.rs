//! Where verification starts, and what a restart finds.

use alloy_primitives::{Address, B256};
use jiff::Timestamp;

use super::{world::*, *};
use crate::{
    store::{
        Identity, Record,
        memory::{MemoryStore, Writes},
    },
    upstream::UpstreamError,
};

fn identity() -> Identity {
    Identity { chain_id: CHAIN_ID, genesis_hash: l2_hash(MAIN, 0), namespace: CHAIN_ID as u32 }
}

fn record(number: u64) -> Record {
    Record {
        generation: 0,
        moment: None,
        number,
        hash: Some(l2_hash(MAIN, number)),
        l1_origin: Some(origin(number)),
        source: Source::Espresso,
        restart_height: Some(0),
        fallback_height: None,
        batchers: None,
        identity: Some(identity()),
        updated_at: Timestamp::UNIX_EPOCH,
        samples: Vec::new(),
        audit: crate::store::Audit::default(),
    }
}

/// A record as it is imported from the Go proxy.
fn taken_over(number: u64, restart_height: u64) -> Record {
    Record {
        hash: None,
        l1_origin: None,
        identity: None,
        restart_height: Some(restart_height),
        ..record(number)
    }
}

#[tokio::test]
async fn an_empty_store_starts_at_the_node_s_finalized() {
    let world = World::new(20);
    world.finalize(10);
    world.post_all(MAIN, 1..=20);
    world.change().light_client.insert(5, 8);
    let store = MemoryStore::default();
    let contract = Some(Address::repeat_byte(1));
    let mut runner = world.verifier_with(&store, |options| options.light_client = contract);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 20);
    assert_eq!(store.saves()[0], 10, "the first head is the finalized block");
    assert_eq!(
        world.change().ranges[0].0,
        8,
        "the light client's height at the head's own L1 origin"
    );
}

#[tokio::test]
async fn without_finality_genesis_is_the_anchor_but_never_published() {
    for finalized in [None, Some(0)] {
        let world = World::new(20);
        world.change().node_finalized = finalized;
        let store = MemoryStore::default();
        let mut runner = world.verifier(&store);
        runner.run_until_idle().await;
        assert_eq!(runner.head(), None);
        assert!(store.on_disk().is_none());
        assert_eq!(runner.stall(), Stall::AwaitingBatch { number: 1 });
        world.post_all(MAIN, 1..=1);
        runner.run_until_idle().await;
        assert_eq!(runner.number(), 1);
    }
}

#[tokio::test]
async fn a_finalized_that_is_refused_or_unreadable_does_not_mean_genesis() {
    for down in [None, Some("node finalized")] {
        let world = World::new(20);
        world.post_all(MAIN, 1..=20);
        world.finalize(10);
        world.change().consensus_finalized = Some(0);
        world.change().down.extend(down);
        let mut runner = world.verifier(&MemoryStore::default());
        runner.run_until_idle().await;
        assert_eq!(runner.head(), None);
        assert_eq!(runner.code(), "no_anchor");
        assert_eq!(world.calls("feed range"), 0);
    }
}

#[tokio::test]
async fn an_error_on_the_first_finalized_means_genesis_only_by_op_nodes_word() {
    for (finalized, knows_l1, anchored) in [
        (Some(0), true, true),
        (Some(0), false, false),
        (Some(10), true, false),
        (None, true, false),
    ] {
        let world = World::new(20);
        world.post_all(MAIN, 1..=20);
        {
            let mut state = world.change();
            let message = "the beacon has not told yet".into();
            state.finalized_error = Some(UpstreamError::Rpc { code: -32000, message });
            state.consensus_finalized = finalized;
            state.consensus_l1 = if knows_l1 { (5, 5) } else { (0, 0) };
        }
        let mut runner = world.verifier(&MemoryStore::default());
        runner.run_until_idle().await;
        if anchored {
            assert_eq!(runner.number(), 20);
        } else {
            assert_eq!((runner.head(), runner.code()), (None, "no_anchor"));
        }
        // It goes on once the node has one.
        world.change().finalized_error = None;
        world.finalize(10);
        runner.run_until_idle().await;
        assert_eq!(runner.number(), 20);
    }
}

#[tokio::test]
async fn the_light_client_is_asked_only_without_a_stored_position() {
    let world = World::new(20);
    world.post_all(MAIN, 1..=20);
    let contract = Some(Address::repeat_byte(1));
    let store = MemoryStore::with(Record { restart_height: Some(6), ..record(6) });
    let mut runner = world.verifier_with(&store, |options| options.light_client = contract);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 20);
    assert_eq!((world.calls("light client"), world.change().ranges[0].0), (0, 6));

    // Without a contract at that block the configured height serves, if there is one.
    for initial in [Some(3), None] {
        let world = World::new(20);
        world.post_all(MAIN, 1..=20);
        let store = MemoryStore::with(Record { restart_height: None, ..record(6) });
        let mut runner = world.verifier_with(&store, |options| {
            options.light_client = contract;
            options.initial_hotshot_height = initial;
        });
        runner.run_until_idle().await;
        match initial {
            Some(height) => assert_eq!(world.change().ranges[0].0, height),
            None => {
                let stall = runner.stall();
                assert_eq!(stall.code(), "start_height_unknown");
                assert!(stall.to_string().contains("initial_hotshot_height"), "{stall}");
            }
        }
        assert_eq!(runner.number(), if initial.is_some() { 20 } else { 6 });
    }
}

#[tokio::test]
async fn a_restart_resumes_where_nothing_can_be_missed() {
    let world = World::new(12);
    let store = MemoryStore::default();
    // Block 9's batch comes early, block 6's late: the position must stay at or below the early
    // one.
    world.post_all(MAIN, [1, 2, 9, 3, 4, 5, 7, 8]);
    let mut runner = world.verifier(&store);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 5);
    assert_eq!(store.on_disk().unwrap().restart_height, Some(2));
    drop(runner);
    world.post_all(MAIN, [6, 10, 11, 12]);
    let mut runner = world.verifier(&store);
    world.change().ranges.clear();
    runner.run_until_idle().await;
    assert_eq!(world.change().ranges[0].0, 2);
    assert_eq!(runner.number(), 12);
    assert_eq!(store.on_disk().unwrap().restart_height, Some(12));
}

#[tokio::test]
async fn a_head_that_cannot_be_saved_is_not_shown_and_is_confirmed_again() {
    let world = World::new(20);
    world.post_all(MAIN, 1..=4);
    let store = MemoryStore::default();
    let mut runner = world.verifier(&store);
    runner.run_until_idle().await;
    world.post_all(MAIN, 5..=20);
    store.set_writes(Writes::Fail);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 4);
    assert_eq!(runner.code(), "store_unwritable");
    assert!(runner.board.findings().last_store_error.is_some());
    store.set_writes(Writes::Work);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 20);
    assert_eq!(runner.board.findings().last_store_error, None);
}

#[tokio::test]
async fn kills_at_any_moment_lose_nothing() {
    let world = World::new(60);
    let store = MemoryStore::default();
    let mut seen = 0;
    for number in 1..=60 {
        world.post_all(MAIN, [number]);
        let mut runner = world.verifier(&store);
        runner.round().await;
        if let Some(head) = runner.head() {
            assert!(head.number >= seen);
            seen = head.number;
            assert_eq!(store.on_disk().unwrap().number, seen, "visible means durable");
        }
    }
    let mut runner = world.verifier(&store);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 60);
}

#[tokio::test]
async fn the_stored_head_is_served_while_op_node_is_down() {
    let world = World::new(20);
    world.change().down.insert("consensus");
    let store = MemoryStore::with(record(7));
    let mut runner = world.verifier(&store);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 7);
    assert_eq!(runner.code(), "chain_unknown");
}

#[tokio::test]
async fn a_store_of_another_chain_ends_the_verifier() {
    let world = World::new(20);
    for other in [
        Identity { chain_id: 1, ..identity() },
        Identity { genesis_hash: B256::ZERO, ..identity() },
        Identity { namespace: 1, ..identity() },
    ] {
        let store = MemoryStore::with(Record { identity: Some(other), ..record(7) });
        let mut runner = world.verifier(&store);
        assert!(runner.verifier.round().await.is_err());
        assert_eq!(store.on_disk().unwrap().number, 7);
    }
}

#[tokio::test]
async fn chains_that_do_not_fit_together_are_said_and_nothing_is_served() {
    let world = World::new(20);
    world.change().node_chain_id = 99;
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    let stall = runner.stall();
    assert_eq!(stall.code(), "config_mismatch");
    assert!(stall.to_string().contains("node_consensus_rpc"), "{stall}");
    world.change().node_chain_id = CHAIN_ID;
    world.change().node_fork = Fork { name: 1, at: 0 };
    world.post_all(MAIN, 1..=1);
    runner.run_until_idle().await;
    assert_eq!(runner.head(), None);
}

#[tokio::test]
async fn a_number_taken_over_learns_its_hash_from_its_batch() {
    let world = World::new(20);
    world.post_all(MAIN, 1..=20);
    let store = MemoryStore::with(taken_over(7, 3));
    let mut runner = world.verifier(&store);
    runner.round().await;
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 20);
    assert_eq!(store.on_disk().unwrap().identity, Some(identity()));
}

#[tokio::test]
async fn a_number_taken_over_is_served_without_hash_until_something_tells_it() {
    let world = World::new(20);
    // Reading starts after the batch for block 7.
    world.post_all(MAIN, 1..=20);
    let store = MemoryStore::with(taken_over(7, 10));
    let mut runner = world.verifier_with(&store, |options| options.initial_hotshot_height = None);
    runner.run_until_idle().await;
    let head = runner.head().unwrap();
    assert_eq!((head.number, head.hash.as_deref()), (7, None));
    assert_eq!(runner.stall(), Stall::HeadHashUnknown { number: 7 });
    world.finalize(9);
    runner.run_until_idle().await;
    // Block 10's batch is at height 9, before where reading started.
    let head = runner.head().unwrap();
    assert_eq!((head.number, head.source), (9, Source::Ethereum));
    assert_eq!(head.hash, Some(l2_hash(MAIN, 9).to_string()));
}

/// The node is on a branch that HotShot has, too, but not first.
#[tokio::test]
async fn a_number_taken_over_does_not_learn_the_hash_of_a_branch_that_came_second() {
    let other = Fork { name: 1, at: 5 };
    let world = World::new(20);
    world.post_all(MAIN, 1..=8);
    world.post_all(other, 6..=9);
    world.finalize(4);
    world.change().node_fork = other;
    let store = MemoryStore::with(taken_over(7, 0));
    let mut runner = world.verifier(&store);
    runner.run_until_idle().await;
    let head = runner.head().unwrap();
    assert_eq!((head.number, head.hash.as_deref(), runner.code()), (7, None, "mismatch"));
    assert_eq!(runner.board.findings().next, Some(6));
    world.change().node_fork = MAIN;
    runner.run_until_idle().await;
    assert_eq!((runner.number(), store.on_disk().unwrap().hash), (8, Some(l2_hash(MAIN, 8))));
}

#[tokio::test]
async fn a_number_taken_over_is_verified_from_the_finalized_block_below_it() {
    let world = World::new(20);
    world.post_all(MAIN, 1..=5);
    world.finalize(4);
    world.change().light_client.insert(2, 3);
    let contract = Some(Address::repeat_byte(1));
    let store = MemoryStore::with(taken_over(7, 10));
    let start = || world.verifier_with(&store, |options| options.light_client = contract);
    let mut runner = start();
    runner.run_until_idle().await;
    assert_eq!(world.change().ranges[0].0, 3, "the light client's height at block 4's origin");
    assert_eq!(runner.stall(), Stall::HeadHashUnknown { number: 7 });
    assert_eq!(runner.board.findings().next, Some(6));
    // What was verified so far is verified again after a restart.
    runner.verifier.save_restart_height(0).await.unwrap();
    let mut runner = start();
    runner.run_until_idle().await;
    assert_eq!(store.on_disk().unwrap().number, 7);
    world.post_all(MAIN, 6..=9);
    runner.run_until_idle().await;
    assert_eq!((runner.number(), runner.head().unwrap().source), (9, Source::Espresso));
    assert!(store.saves().iter().all(|number| *number >= 7), "{:?}", store.saves());
}

#[tokio::test]
async fn a_number_taken_over_waits_for_a_finalized_block_that_is_proven() {
    let world = World::new(20);
    world.post_all(MAIN, 1..=9);
    world.change().el_synced = Some(6);
    let store = MemoryStore::with(taken_over(7, 0));
    let mut runner = world.verifier(&store);
    runner.run_until_idle().await;
    assert_eq!((runner.number(), runner.code()), (7, "finality_unproven"));
    // A node that does not know its finalized block yet is no reason to begin at genesis.
    world.change().el_synced = None;
    world.change().consensus_finalized = Some(2);
    runner.run_until_idle().await;
    assert_eq!((runner.number(), runner.code()), (7, "head_hash_unknown"));
    assert_eq!(world.calls("feed range"), 0);
    world.finalize(2);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 9);
}

#[tokio::test]
async fn the_hash_taken_over_may_come_from_finality_at_the_very_number() {
    let world = World::new(20);
    let store = MemoryStore::with(taken_over(7, 0));
    world.finalize(7);
    let mut runner = world.verifier(&store);
    runner.run_until_idle().await;
    let head = runner.head().unwrap();
    assert_eq!((head.number, head.hash.clone()), (7, Some(l2_hash(MAIN, 7).to_string())));
}

#[tokio::test]
async fn a_number_taken_over_starts_anew_when_l1_was_wrong() {
    let world = World::new(20);
    world.post_all(MAIN, 1..=9);
    // The finalized block below it is of another fork, and so L1 says.
    world.change().node_fork = Fork { name: 1, at: 3 };
    world.finalize(5);
    let mut runner = world.verifier(&MemoryStore::with(taken_over(7, 0)));
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 7);
    (world.change().node_fork, world.change().l1_epoch) = (MAIN, 1);
    runner.run_until_idle().await;
    let head = runner.head().unwrap();
    assert_eq!((head.number, head.hash.clone()), (9, Some(l2_hash(MAIN, 9).to_string())));
}

#[tokio::test]
async fn the_position_of_a_number_taken_over_stays_below_its_batches() {
    let world = World::new(20);
    world.post_all(MAIN, 1..=5);
    world.finalize(2);
    world.change().hotshot.extend(std::iter::repeat_n(Vec::new(), 10_000));
    let store = MemoryStore::with(taken_over(7, 0));
    let mut runner = world.verifier(&store);
    runner.run_until_idle().await;
    runner.verifier.save_restart_height(0).await.unwrap();
    assert_eq!(store.on_disk().unwrap().restart_height, Some(0));
    world.post_all(MAIN, 6..=8);
    let mut runner = world.verifier(&store);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 8);
}

#[tokio::test]
async fn the_hash_taken_over_may_come_from_the_last_batch() {
    let world = World::new(20);
    world.post_all(MAIN, 1..=7);
    world.finalize(2);
    let store = MemoryStore::with(taken_over(7, 0));
    let mut runner = world.verifier(&store);
    runner.run_until_idle().await;
    let head = runner.head().unwrap();
    assert_eq!((head.number, head.hash.clone()), (7, Some(l2_hash(MAIN, 7).to_string())));
}

#[tokio::test]
async fn zero_is_a_legal_head() {
    let world = World::new(3);
    let store = MemoryStore::with(record(0));
    let mut runner = world.verifier(&store);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 0);
    world.post_all(MAIN, 1..=3);
    runner.run_until_idle().await;
    assert_eq!(runner.number(), 3);
}
