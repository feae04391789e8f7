//! The state of the head: one snapshot at any moment, and the true state.

use std::sync::Arc;

use parking_lot::Mutex;
use tracing::Level;

use super::{world::*, *};
use crate::{store::memory::MemoryStore, verifier::confirmation::BLOCKS_PER_SAVE};

/// Heads with the codes beside them.
type Seen = Arc<Mutex<Vec<(Option<u64>, &'static str)>>>;

/// What the status shows whenever the node is asked for a block.
fn watch(world: &World, runner: &Runner) -> Seen {
    let seen = Seen::default();
    let (board, into) = (Arc::clone(&runner.board), Arc::clone(&seen));
    world.change().probes.push(Arc::new(move |call| {
        if call == "node block" {
            let findings = board.findings();
            let head = findings.head.as_ref().map(|head| head.number);
            into.lock().push((head, findings.stall.code()));
        }
    }));
    seen
}

#[tokio::test]
async fn a_head_published_in_mid_round_takes_the_reason_of_the_last_round_away() {
    // What was confirmed is saved before all of it is.
    let last = 2 * BLOCKS_PER_SAVE;
    let world = World::new(last);
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!(runner.stall(), Stall::AwaitingBatch { number: 1 });
    world.post_all(MAIN, 1..=last);
    let seen = watch(&world, &runner);
    assert_eq!(runner.round().await, Round::Idle, "all of it is confirmed in one round");
    assert_eq!(runner.stall(), Stall::UpToDate { number: last });
    let mut seen = seen.lock().clone();
    seen.dedup();
    assert_eq!(seen[0], (None, "awaiting_batch"), "of the last round, like the head");
    assert!(seen.len() > 2, "the head was published in the middle of the round: {seen:?}");
    for (head, code) in &seen[1..] {
        assert!(head.is_some() && *code == "advancing", "{seen:?}");
    }
}

#[tokio::test]
async fn the_lag_is_never_that_of_another_head() {
    let world = World::new(5);
    world.post_all(MAIN, 1..=5);
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    world.post_all(MAIN, 6..=6);
    // The node gains the block after it was asked for its latest one.
    let gaining = world.clone();
    world.change().probes.push(Arc::new(move |call| {
        if call == "l1 finalized" {
            gaining.change().node_latest = 6;
        }
    }));
    runner.run_until_idle().await;
    assert_eq!(runner.stall(), Stall::UpToDate { number: 6 });
    let findings = runner.board.findings();
    assert_eq!(findings.node.latest, Some(6));
    let text = runner.metrics.render();
    for line in ["head_block_number 6", "node_latest_block_number 6", "head_lag_blocks 0"] {
        assert!(text.contains(&format!("espresso_{line}\n")), "{line}");
    }
    // A node behind the head is no negative lag either.
    world.change().probes.clear();
    world.change().node_latest = 3;
    runner.run_until_idle().await;
    assert_eq!(runner.code(), "node_behind");
    assert!(runner.metrics.render().contains("espresso_head_lag_blocks 0\n"));
}

#[tokio::test]
async fn up_to_date_is_a_head_at_the_node_s_latest_block_with_hotshot_read() {
    let world = World::new(5);
    world.post_all(MAIN, 1..=5);
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!(runner.stall(), Stall::UpToDate { number: 5 });
    // The payload of HotShot's newest block may come later.
    world.post([]);
    world.change().hotshot_missing.insert(5);
    runner.run_until_idle().await;
    assert_eq!(runner.stall(), Stall::UpToDate { number: 5 });
    world.post([]);
    runner.run_until_idle().await;
    assert_eq!(runner.stall(), Stall::CatchingUp { cursor: 5, height: 7 });
    world.change().hotshot_missing.clear();
    world.change().down.insert("feed height");
    runner.run_until_idle().await;
    assert_eq!(runner.code(), "feed_unavailable");
    world.change().down.clear();
    world.change().node_latest = 6;
    runner.run_until_idle().await;
    assert_eq!(runner.stall(), Stall::AwaitingBatch { number: 6 });
    world.post_all(MAIN, 6..=7);
    runner.run_until_idle().await;
    assert_eq!(runner.stall(), Stall::NodeMissingBlock { number: 7 });
}

#[tokio::test]
async fn trouble_with_the_feed_does_not_hide_what_keeps_the_next_block_back() {
    let world = World::new(10);
    world.post_all(MAIN, 1..=10);
    world.change().l1_finalized = Some(2);
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    assert_eq!(runner.code(), "awaiting_l1_finality");
    world.post([]);
    world.change().down.insert("feed range");
    runner.run_until_idle().await;
    assert_eq!(runner.code(), "awaiting_l1_finality");
}

#[tokio::test]
async fn the_newest_block_is_what_a_stream_shows_below_the_height_that_services_agree_on() {
    let world = World::new(9);
    world.post_all(MAIN, 1..=5);
    let mut runner = world.verifier(&MemoryStore::default());
    let mut shown = async |told| {
        world.change().told_header = told;
        runner.run_until_idle().await;
        runner.board.findings().hotshot.newest_block.as_ref().map(|block| block.height)
    };
    assert_eq!(shown(None).await, None);
    for lie in [5, 6] {
        assert_eq!(shown(Some(lie)).await, None, "there are five");
    }
    assert_eq!(shown(Some(4)).await, Some(4));
}

#[tokio::test]
async fn a_board_tells_of_changes_of_head_and_code_only() {
    let world = World::new(5);
    world.post_all(MAIN, 1..=4);
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    let mut changes = runner.board.subscribe();
    runner.run_until_idle().await;
    assert!(!changes.has_changed().unwrap(), "another round that found the same");
    world.change().down.insert("node");
    runner.run_until_idle().await;
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    world.change().down.clear();
    world.post_all(MAIN, 5..=5);
    runner.run_until_idle().await;
    assert!(changes.has_changed().unwrap());
    assert_eq!(changes.borrow().stall, Stall::UpToDate { number: 5 });
}

#[tokio::test]
async fn a_reason_stays_that_of_the_fault_while_nothing_is_asked() {
    let world = World::new(5);
    world.post_all(MAIN, 1..=4);
    let mut runner = world.verifier(&MemoryStore::default());
    runner.run_until_idle().await;
    let before = runner.board.findings();
    assert_eq!(before.stall.code(), "awaiting_batch");
    world.change().down.insert("feed");
    runner.run_until_idle().await;
    let fault = runner.board.findings();
    assert_eq!(fault.stall.code(), "feed_unavailable");
    assert!(fault.since > before.since);
    // In the pause after it, and when Ethereum moves the head meanwhile.
    for finalized in [None, Some(5)] {
        world.change().backs_off = true;
        if let Some(finalized) = finalized {
            world.finalize(finalized);
        }
        runner.run_until_idle().await;
        let now = runner.board.findings();
        assert_eq!((&now.stall, now.since), (&fault.stall, fault.since));
    }
    assert_eq!(runner.number(), 5);
    world.change().down.clear();
    runner.run_until_idle().await;
    let after = runner.board.findings();
    assert_eq!(after.stall.code(), "up_to_date");
    assert!(after.since > fault.since);
}

#[tokio::test]
async fn the_log_has_one_line_for_each_change_of_state_with_its_code() {
    log::note();
    let world = World::new(5);
    world.post_all(MAIN, 1..=4);
    let mut runner = world.verifier(&MemoryStore::default());
    let mut expected = Vec::new();
    for (level, code, down, node_latest, node_fork) in [
        (Level::INFO, "awaiting_batch", None, 5, MAIN),
        (Level::WARN, "feed_unavailable", Some("feed"), 5, MAIN),
        (Level::WARN, "node_unavailable", Some("node"), 5, MAIN),
        (Level::WARN, "node_behind", None, 3, MAIN),
        (Level::ERROR, "diverged", None, 5, Fork { name: 1, at: 3 }),
        (Level::INFO, "awaiting_batch", None, 5, MAIN),
    ] {
        {
            let mut state = world.change();
            state.down = down.into_iter().collect();
            (state.node_latest, state.node_fork) = (node_latest, node_fork);
            // Lag and latest block are those of the last answer.
            state.probes.clear();
        }
        for _ in 0..3 {
            runner.run_until_idle().await;
            assert_eq!(runner.code(), code);
        }
        expected.push((level, code.to_owned()));
        let lines = log::lines().into_iter();
        let lines = lines.filter_map(|(level, code)| Some((level, code?)));
        // The first round has moved the head.
        let lines: Vec<_> = lines.filter(|(_, code)| code != "advancing").collect();
        assert_eq!(lines, expected);
    }
}
