//! A start with a stored head: what is told of it before the node was asked, and after.

use super::{world::*, *};
use crate::store::memory::MemoryStore;

/// A world whose head is block 20, and the store with it.
async fn with_head() -> (World, MemoryStore) {
    let world = World::new(20);
    world.post_all(MAIN, 1..=20);
    let store = MemoryStore::default();
    world.verifier(&store).run_until_idle().await;
    (world, store)
}

fn told(runner: &Runner) -> (u64, Status) {
    let head = runner.head().expect("a stored head is published from the start");
    (head.number, head.status)
}

#[tokio::test]
async fn a_stored_head_is_unusable_until_the_node_was_asked_about_it() {
    let (world, store) = with_head().await;
    for silent in ["node", "node chain id", "node latest", "node hash"] {
        world.change().down = [silent].into();
        let mut runner = world.verifier(&store);
        assert_eq!(told(&runner), (20, Status::NodeUnchecked), "before the first round");
        for _ in 0..3 {
            runner.run_until_idle().await;
            assert_eq!(told(&runner), (20, Status::NodeUnchecked), "{silent}");
        }
        world.change().down.clear();
        runner.run_until_idle().await;
        assert_eq!((told(&runner), runner.code()), ((20, Status::Ok), "up_to_date"));
        // What was checked once is not unchecked by an outage.
        world.change().down = [silent].into();
        runner.run_until_idle().await;
        assert_eq!(told(&runner), (20, Status::Ok), "{silent}");
    }
    // That the node's latest block may be below the head is no reason yet.
    world.change().down = ["consensus"].into();
    (world.change().node_latest, world.change().node_serves_to) = (15, 20);
    let mut runner = world.verifier(&store);
    runner.round().await;
    assert_eq!(runner.code(), "chain_unknown");
}

#[tokio::test]
async fn the_node_is_asked_about_the_head_while_all_else_is_down() {
    let other = Fork { name: 1, at: 15 };
    for down in [&["consensus"][..], &["l1"], &["consensus", "l1", "feed"]] {
        for (fork, latest, pruned, status, code) in [
            (MAIN, 20, 0, Status::Ok, "chain_unknown"),
            (MAIN, 30, 25, Status::Pruned, "chain_unknown"),
            (MAIN, 20, 25, Status::Pruned, "chain_unknown"),
            (MAIN, 0, 0, Status::NodeBehind, "node_behind"),
            (other, 30, 0, Status::Diverged, "diverged"),
        ] {
            let (world, store) = with_head().await;
            {
                let mut world = world.change();
                world.down = down.iter().copied().collect();
                (world.node_fork, world.node_latest, world.node_pruned_below) =
                    (fork, latest, pruned);
            }
            let mut runner = world.verifier(&store);
            runner.run_until_idle().await;
            assert_eq!((told(&runner), runner.code()), ((20, status), code), "{down:?}");
            // And again in every round.
            {
                let mut world = world.change();
                (world.node_fork, world.node_latest, world.node_pruned_below) = (other, 30, 0);
            }
            runner.run_until_idle().await;
            assert_eq!((told(&runner).1, runner.code()), (Status::Diverged, "diverged"));
        }
    }
}

#[tokio::test]
async fn a_node_with_another_genesis_block_is_named() {
    let world = World::new(5);
    world.post_all(MAIN, 1..=5);
    world.change().rollup_genesis = l2_hash(MAIN, 1);
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!((runner.head(), runner.code()), (None, "config_mismatch"));
}

#[tokio::test]
async fn a_head_without_a_hash_or_chain_is_usable_once_the_node_has_its_number() {
    let (world, stored) = with_head().await;
    world.change().down.insert("consensus");
    let mut record = stored.on_disk().unwrap();
    record.hash = None;
    let mut runner = world.verifier(&MemoryStore::with(record.clone()));
    runner.run_until_idle().await;
    assert_eq!(told(&runner), (20, Status::Ok));
    // Without its chain there is no report to make.
    record.identity = None;
    world.change().down.insert("node");
    let mut runner = world.verifier(&MemoryStore::with(record));
    runner.run_until_idle().await;
    assert!(runner.head().is_none());
    world.change().down.remove("node");
    runner.run_until_idle().await;
    assert_eq!(told(&runner), (20, Status::Ok));
}
