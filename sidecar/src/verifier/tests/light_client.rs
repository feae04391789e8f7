//! What moves the head is compared with the light client on L1.

use alloy_primitives::Address;
use tracing::Level;

use super::{world::*, *};
use crate::{
    config::HotshotProofs,
    store::memory::MemoryStore,
    verifier::{BUDGET, audit::MOST_HEADERS},
};

/// The fork that services forge a batch of.
const FORGED: Fork = Fork { name: 1, at: 8 };

fn start(world: &World, store: &MemoryStore, proofs: HotshotProofs) -> Runner {
    world.verifier_with(store, |options| {
        options.proofs = proofs;
        options.light_client = Some(Address::ZERO);
    })
}

/// A world whose node follows the forged fork, and a HotShot of eight blocks, as L1 shows it.
fn world() -> World {
    let world = World::new(40);
    world.post_all(MAIN, 1..=8);
    world.change().light_client.insert(0, 0);
    show(&world, 1, 0);
    world
}

/// From that L1 block on, the light client is at a HotShot height.
fn show(world: &World, l1: u64, height: u64) {
    let mut world = world.change();
    world.light_client.insert(l1, height);
    world.l1_finalized = Some(l1.max(20));
}

/// The next final L1 block, with the light client at HotShot's height.
async fn checkpoint(world: &World, runner: &mut Runner) {
    let height = world.change().hotshot.len() as u64;
    next_l1(world, height);
    settle(runner).await;
}

fn next_l1(world: &World, height: u64) {
    let next = world.change().l1_finalized.unwrap_or(0) + 1;
    show(world, next, height);
}

/// As many rounds as it takes until a state of the light client counts.
async fn settle(runner: &mut Runner) {
    for _ in 0..4 {
        runner.run_until_idle().await;
    }
}

/// A majority shows a block with the next batches of the forged fork, and the node follows it.
fn forge(world: &World, numbers: impl IntoIterator<Item = u64>) {
    let payload = |number| serde_json::to_vec(&Posted::of(FORGED, number)).unwrap();
    let blocks: Vec<_> = numbers.into_iter().map(|number| vec![payload(number)]).collect();
    let mut world = world.change();
    let from = world.hotshot.len();
    world.hotshot.extend(std::iter::repeat_n(Vec::new(), blocks.len()));
    world.forged = Some(Forgery { from, blocks });
    world.node_fork = FORGED;
}

/// HotShot goes on, and so does what is shown in its place.
fn mine(world: &World, count: usize) {
    let mut world = world.change();
    world.hotshot.extend(std::iter::repeat_n(Vec::new(), count));
    if let Some(Forgery { blocks, .. }) = &mut world.forged {
        blocks.extend(std::iter::repeat_n(Vec::new(), count));
    }
}

fn be_honest(world: &World) {
    world.change().forged = None;
}

fn status(runner: &Runner) -> Status {
    runner.head().unwrap().status
}

fn audited(runner: &Runner) -> Option<u64> {
    runner.head().unwrap().proven.as_ref().unwrap().hotshot_height
}

#[tokio::test]
async fn what_moved_the_head_is_compared_and_the_head_goes_on() {
    let world = world();
    let store = MemoryStore::default();
    let mut runner = start(&world, &store, HotshotProofs::Payload);
    settle(&mut runner).await;
    assert_eq!((runner.number(), audited(&runner)), (8, Some(0)));
    checkpoint(&world, &mut runner).await;
    assert_eq!((runner.number(), audited(&runner)), (8, Some(8)));
    // Batches above the light client's height do not wait for it.
    world.post_all(MAIN, 9..=10);
    settle(&mut runner).await;
    assert_eq!((runner.number(), audited(&runner)), (10, Some(8)));
    // One behind the cursor is compared without a request.
    let paths = world.calls("feed path");
    next_l1(&world, 9);
    settle(&mut runner).await;
    assert_eq!((audited(&runner), world.calls("feed path")), (Some(9), paths));
    assert_eq!((status(&runner), runner.code()), (Status::Ok, "awaiting_batch"));
}

#[tokio::test]
async fn the_light_client_is_read_twice_for_each_final_block() {
    let world = world();
    let mut runner = start(&world, &MemoryStore::default(), HotshotProofs::Payload);
    for count in 1..4 {
        world.post([]);
        checkpoint(&world, &mut runner).await;
        settle(&mut runner).await;
        assert_eq!(world.calls("checkpoint"), 2 * count);
    }
}

#[tokio::test]
async fn a_forged_batch_ends_in_unproven() {
    let world = world();
    let store = MemoryStore::default();
    let mut runner = start(&world, &store, HotshotProofs::Payload);
    settle(&mut runner).await;
    checkpoint(&world, &mut runner).await;
    forge(&world, 9..=10);
    settle(&mut runner).await;
    assert_eq!((runner.number(), status(&runner)), (10, Status::Ok));
    // At once nothing is confirmed any more, and a later L1 block decides.
    checkpoint(&world, &mut runner).await;
    assert_eq!((runner.code(), status(&runner)), ("checkpoint_contradicts", Status::Ok));
    mine(&world, 1);
    checkpoint(&world, &mut runner).await;
    assert_eq!((runner.code(), status(&runner)), ("unproven", Status::Unproven));
    // It is stored, whatever is proven after the start.
    for proofs in [HotshotProofs::Off, HotshotProofs::Payload, HotshotProofs::Root] {
        let mut runner = start(&world, &store, proofs);
        assert_eq!(status(&runner), Status::Unproven);
        settle(&mut runner).await;
        assert_eq!((runner.code(), status(&runner)), ("unproven", Status::Unproven));
    }
    // The services tell the truth, and HotShot has that batch after all.
    be_honest(&world);
    let mut runner = start(&world, &store, HotshotProofs::Payload);
    settle(&mut runner).await;
    assert_eq!(status(&runner), Status::Unproven);
    world.post_all(FORGED, 9..=11);
    settle(&mut runner).await;
    assert_eq!((runner.number(), status(&runner)), (10, Status::Unproven));
    checkpoint(&world, &mut runner).await;
    assert_eq!((runner.number(), status(&runner)), (11, Status::Ok));
}

/// The codes in the lines of the log that warn, since it was noted.
fn warnings() -> Vec<Option<String>> {
    let warns = |(level, _): &(Level, _)| *level <= Level::WARN;
    log::lines().into_iter().filter(warns).map(|(_, code)| code).collect()
}

#[tokio::test]
async fn a_head_that_stops_is_one_line_in_the_log() {
    let world = world();
    let mut runner = start(&world, &MemoryStore::default(), HotshotProofs::Payload);
    settle(&mut runner).await;
    checkpoint(&world, &mut runner).await;
    log::note();
    forge(&world, 9..=10);
    settle(&mut runner).await;
    for _ in 0..2 {
        mine(&world, 1);
        checkpoint(&world, &mut runner).await;
    }
    let codes = ["checkpoint_contradicts", "unproven"].map(|code| Some(code.to_owned()));
    assert_eq!(runner.code(), "unproven");
    assert_eq!(warnings(), codes);
    // Headers that do not follow those before.
    let world = self::world();
    let mut runner = start(&world, &MemoryStore::default(), HotshotProofs::Payload);
    settle(&mut runner).await;
    forge(&world, 9..=10);
    settle(&mut runner).await;
    log::note();
    be_honest(&world);
    mine(&world, 1);
    settle(&mut runner).await;
    assert_eq!(warnings(), [Some("answer_disproven".to_owned())]);
}

#[tokio::test]
async fn ethereum_ends_unproven_at_the_head_or_above() {
    for finalized in [10, 12] {
        let world = world();
        let store = MemoryStore::default();
        let mut runner = start(&world, &store, HotshotProofs::Payload);
        settle(&mut runner).await;
        forge(&world, 9..=10);
        settle(&mut runner).await;
        checkpoint(&world, &mut runner).await;
        mine(&world, 1);
        checkpoint(&world, &mut runner).await;
        assert_eq!(status(&runner), Status::Unproven);
        world.finalize(9);
        settle(&mut runner).await;
        assert_eq!(status(&runner), Status::Unproven, "below the head");
        world.finalize(finalized);
        settle(&mut runner).await;
        assert_eq!((runner.number(), status(&runner)), (finalized, Status::Ok));
        assert!(!store.on_disk().unwrap().audit.unproven);
        world.post_all(FORGED, finalized + 1..=finalized + 1);
        be_honest(&world);
        settle(&mut runner).await;
        checkpoint(&world, &mut runner).await;
        assert_eq!((runner.number(), status(&runner)), (finalized + 1, Status::Ok));
    }
}

/// The services forge a batch, wait for a restart, and tell the truth from then on.
#[tokio::test]
async fn forging_before_a_restart_is_found_out_after_it() {
    for between in [None, Some(HotshotProofs::Off)] {
        let world = world();
        let store = MemoryStore::default();
        let mut runner = start(&world, &store, HotshotProofs::Payload);
        settle(&mut runner).await;
        checkpoint(&world, &mut runner).await;
        forge(&world, 9..=10);
        settle(&mut runner).await;
        assert_eq!(runner.number(), 10);
        drop(runner);
        be_honest(&world);
        if let Some(proofs) = between {
            settle(&mut start(&world, &store, proofs)).await;
        }
        let mut runner = start(&world, &store, HotshotProofs::Payload);
        mine(&world, 2);
        settle(&mut runner).await;
        assert_eq!(status(&runner), Status::Ok);
        checkpoint(&world, &mut runner).await;
        mine(&world, 1);
        checkpoint(&world, &mut runner).await;
        assert_eq!((runner.number(), status(&runner)), (10, Status::Unproven));
    }
}

/// What was believed where nothing was proven is looked up once something is.
#[tokio::test]
async fn a_head_of_a_time_without_proofs_is_looked_up() {
    for honest in [true, false] {
        let world = world();
        let store = MemoryStore::default();
        let mut runner = start(&world, &store, HotshotProofs::Off);
        settle(&mut runner).await;
        match honest {
            true => {
                world.post_all(FORGED, 9..=10);
                world.change().node_fork = FORGED;
            }
            false => forge(&world, 9..=10),
        }
        settle(&mut runner).await;
        assert_eq!(runner.number(), 10);
        be_honest(&world);
        mine(&world, 2);
        let mut runner = start(&world, &store, HotshotProofs::Payload);
        settle(&mut runner).await;
        checkpoint(&world, &mut runner).await;
        mine(&world, 1);
        checkpoint(&world, &mut runner).await;
        let expected = if honest { Status::Ok } else { Status::Unproven };
        assert_eq!((runner.number(), status(&runner)), (10, expected));
    }
}

/// What forged headers hide moves no head, and the restart position must not be above it.
#[tokio::test]
async fn what_was_hidden_before_a_restart_is_read_after_it() {
    for proofs in [HotshotProofs::Payload, HotshotProofs::Root] {
        let world = world();
        let store = MemoryStore::default();
        let mut runner = start(&world, &store, proofs);
        settle(&mut runner).await;
        checkpoint(&world, &mut runner).await;
        // A majority shows nothing in place of the next batch.
        world.change().forged = Some(Forgery { from: 8, blocks: vec![Vec::new(); 2] });
        world.post_all(MAIN, 9..=10);
        mine(&world, 2);
        settle(&mut runner).await;
        assert_eq!(runner.board.findings().hotshot.cursor, Some(12));
        // Ethereum moves the head meanwhile, and it is saved where reading is.
        world.finalize(8);
        settle(&mut runner).await;
        be_honest(&world);
        let mut runner = start(&world, &store, proofs);
        settle(&mut runner).await;
        checkpoint(&world, &mut runner).await;
        assert_eq!((runner.number(), status(&runner)), (10, Status::Ok), "{:?}", runner.stall());
    }
}

/// The blocks that the head was read from without proofs are read again with them, since a batch
/// below is kept, and lack the head's batch.
#[tokio::test]
async fn a_head_of_a_time_without_proofs_is_looked_up_where_its_block_is_read_again() {
    let world = World::new(40);
    world.change().light_client.insert(0, 0);
    show(&world, 1, 0);
    world.post([Posted::of(FORGED, 9)]);
    let store = MemoryStore::default();
    let mut runner = start(&world, &store, HotshotProofs::Off);
    settle(&mut runner).await;
    let payload = serde_json::to_vec(&Posted::of(MAIN, 1)).unwrap();
    world.change().hotshot.push(Vec::new());
    world.change().forged = Some(Forgery { from: 1, blocks: vec![vec![payload]] });
    settle(&mut runner).await;
    assert_eq!((runner.number(), store.on_disk().unwrap().restart_height), (1, Some(0)));
    be_honest(&world);
    let mut runner = start(&world, &store, HotshotProofs::Payload);
    for _ in 0..2 {
        mine(&world, 1);
        settle(&mut runner).await;
        checkpoint(&world, &mut runner).await;
    }
    assert_eq!((runner.number(), status(&runner)), (1, Status::Unproven));
}

#[tokio::test]
async fn a_light_client_that_is_false_for_one_reading_refuses_nothing() {
    for proofs in [HotshotProofs::Payload, HotshotProofs::Root] {
        let world = world();
        let mut runner = start(&world, &MemoryStore::default(), proofs);
        settle(&mut runner).await;
        checkpoint(&world, &mut runner).await;
        world.post_all(MAIN, 9..=10);
        settle(&mut runner).await;
        world.change().false_root = Some(10);
        checkpoint(&world, &mut runner).await;
        assert_eq!((runner.code(), status(&runner)), ("checkpoint_contradicts", Status::Ok));
        world.change().false_root = None;
        world.post_all(MAIN, 11..=11);
        checkpoint(&world, &mut runner).await;
        assert_eq!((runner.number(), status(&runner)), (11, Status::Ok), "{}", runner.code());
    }
}

/// It is borne out, and taken back later: the head was right.
#[tokio::test]
async fn unproven_ends_when_the_light_client_takes_it_back() {
    let world = world();
    let store = MemoryStore::default();
    let mut runner = start(&world, &store, HotshotProofs::Payload);
    settle(&mut runner).await;
    for _ in 0..2 {
        world.change().false_root = Some(8);
        checkpoint(&world, &mut runner).await;
    }
    assert_eq!(status(&runner), Status::Unproven);
    world.change().false_root = None;
    world.post_all(MAIN, 9..=9);
    checkpoint(&world, &mut runner).await;
    assert_eq!((runner.number(), status(&runner)), (9, Status::Ok), "{}", runner.code());
}

#[tokio::test]
async fn without_paths_payload_goes_on_and_root_waits() {
    let world = world();
    world.change().serves_paths = false;
    let store = MemoryStore::default();
    // Reading begins above HotShot's first block.
    let options = |proofs| {
        world.verifier_with(&store, |options| {
            options.proofs = proofs;
            options.light_client = Some(Address::ZERO);
        })
    };
    let mut runner = options(HotshotProofs::Payload);
    settle(&mut runner).await;
    world.post_all(MAIN, 9..=9);
    settle(&mut runner).await;
    drop(runner);
    world.post_all(MAIN, 10..=10);
    let mut runner = options(HotshotProofs::Payload);
    settle(&mut runner).await;
    checkpoint(&world, &mut runner).await;
    assert_eq!((runner.number(), status(&runner)), (10, Status::Ok));
    assert!(runner.board.findings().proofs.problem.is_some());
    world.post_all(MAIN, 11..=11);
    let mut runner = options(HotshotProofs::Root);
    settle(&mut runner).await;
    checkpoint(&world, &mut runner).await;
    assert_eq!((runner.number(), runner.code()), (10, "checkpoint_unavailable"));
    // They are served again.
    world.change().serves_paths = true;
    checkpoint(&world, &mut runner).await;
    assert_eq!((runner.number(), status(&runner)), (11, Status::Ok));
    assert_eq!(runner.board.findings().proofs.problem, None);
}

#[tokio::test]
async fn in_root_the_head_passes_nothing_that_is_not_under_the_root() {
    let world = world();
    let mut runner = start(&world, &MemoryStore::default(), HotshotProofs::Root);
    settle(&mut runner).await;
    assert_eq!((runner.head(), runner.code()), (None, "awaiting_checkpoint"));
    next_l1(&world, 5);
    settle(&mut runner).await;
    assert_eq!((runner.number(), runner.code()), (5, "awaiting_checkpoint"));
    // What was read ahead moves the head at once, without another request.
    let ranges = world.change().ranges.len();
    next_l1(&world, 8);
    settle(&mut runner).await;
    assert_eq!((runner.number(), world.change().ranges.len()), (8, ranges));
    // The light client stands still, and moves again.
    world.post_all(MAIN, 9..=12);
    for _ in 0..3 {
        next_l1(&world, 8);
        settle(&mut runner).await;
        assert_eq!((runner.number(), runner.code()), (8, "awaiting_checkpoint"));
    }
    checkpoint(&world, &mut runner).await;
    assert_eq!((runner.number(), status(&runner)), (12, Status::Ok));
}

#[tokio::test]
async fn in_root_the_node_s_blocks_are_compared_ahead() {
    let world = world();
    let store = MemoryStore::default();
    let mut runner = start(&world, &store, HotshotProofs::Root);
    settle(&mut runner).await;
    assert_eq!((runner.head(), runner.code()), (None, "awaiting_checkpoint"));
    assert_eq!(world.calls("node block"), 8);
    settle(&mut runner).await;
    assert_eq!(world.calls("node block"), 8, "each is asked for once");
    // Of those that the light client covers now, the last one is looked up again.
    for (height, asked) in [(5, 9), (8, 10)] {
        next_l1(&world, height);
        settle(&mut runner).await;
        assert_eq!((runner.number(), world.calls("node block")), (height, asked));
    }
    // What the node does not have yet is compared once it has.
    world.post_all(MAIN, 9..=12);
    world.change().node_latest = 10;
    settle(&mut runner).await;
    assert_eq!(world.calls("node block"), 12);
    world.change().node_latest = 11;
    settle(&mut runner).await;
    assert_eq!((world.calls("node block"), runner.code()), (13, "awaiting_checkpoint"));
    checkpoint(&world, &mut runner).await;
    assert_eq!((runner.number(), runner.code()), (11, "node_missing_block"));
}

/// The node leaves blocks that were compared before the light client covered their batches, or
/// comes back to them.
#[tokio::test]
async fn in_root_what_was_compared_ahead_is_looked_up_again() {
    for comes_back in [false, true] {
        let world = world();
        let other = Fork { name: 1, at: 4 };
        world.change().node_fork = if comes_back { other } else { MAIN };
        let mut runner = start(&world, &MemoryStore::default(), HotshotProofs::Root);
        settle(&mut runner).await;
        assert_eq!((runner.head(), runner.code()), (None, "awaiting_checkpoint"));
        world.change().node_fork = if comes_back { MAIN } else { other };
        checkpoint(&world, &mut runner).await;
        let expected = if comes_back { (8, "awaiting_batch") } else { (4, "mismatch") };
        assert_eq!((runner.number(), runner.code()), expected);
        world.change().node_fork = MAIN;
        settle(&mut runner).await;
        assert_eq!((runner.number(), status(&runner)), (8, Status::Ok));
    }
}

/// The light client stands still for longer than hashes of L1 are kept.
#[tokio::test]
async fn in_root_what_waits_for_long_needs_no_hash_of_l1_that_is_kept() {
    let blocks = 1_200;
    let world = World::new(blocks);
    world.post_all(MAIN, 1..=blocks);
    world.change().light_client.insert(0, 0);
    show(&world, blocks, 0);
    let mut runner = start(&world, &MemoryStore::default(), HotshotProofs::Root);
    settle(&mut runner).await;
    assert_eq!((runner.head(), runner.code()), (None, "awaiting_checkpoint"));
    next_l1(&world, 10);
    settle(&mut runner).await;
    assert_eq!((runner.number(), runner.code()), (10, "awaiting_checkpoint"));
    checkpoint(&world, &mut runner).await;
    assert_eq!((runner.number(), status(&runner)), (blocks, Status::Ok), "{:?}", runner.stall());
}

/// The node goes back below what was compared, or does not answer any more.
#[tokio::test]
async fn in_root_a_node_that_lost_what_was_compared_confirms_what_it_has() {
    let world = world();
    let mut runner = start(&world, &MemoryStore::default(), HotshotProofs::Root);
    settle(&mut runner).await;
    world.change().down.insert("node block");
    world.change().down.insert("block and latest");
    checkpoint(&world, &mut runner).await;
    assert_eq!((runner.head(), runner.code()), (None, "node_unavailable"));
    world.change().down.clear();
    world.change().node_latest = 6;
    settle(&mut runner).await;
    assert_eq!((runner.number(), runner.code()), (6, "node_missing_block"));
    world.change().node_latest = 40;
    settle(&mut runner).await;
    assert_eq!((runner.number(), status(&runner)), (8, Status::Ok));
}

#[tokio::test]
async fn in_root_forged_headers_move_nothing() {
    for one_is_honest in [false, true] {
        let world = world();
        world.change().one_is_honest = one_is_honest;
        let mut runner = start(&world, &MemoryStore::default(), HotshotProofs::Root);
        settle(&mut runner).await;
        checkpoint(&world, &mut runner).await;
        forge(&world, 9..=10);
        settle(&mut runner).await;
        for _ in 0..4 {
            mine(&world, 1);
            checkpoint(&world, &mut runner).await;
            assert_eq!((runner.number(), status(&runner)), (8, Status::Ok));
        }
        // Two of three forge: a batch that HotShot has moves the head all the same.
        world.post_all(FORGED, 9..=9);
        world.change().forged.as_mut().unwrap().blocks.push(Vec::new());
        for _ in 0..3 {
            mine(&world, 1);
            checkpoint(&world, &mut runner).await;
        }
        assert_eq!(runner.number(), if one_is_honest { 9 } else { 8 }, "{:?}", runner.stall());
        assert_eq!(status(&runner), Status::Ok);
    }
}

/// Services that forge end below the light client's height where it is not HotShot's newest block.
#[tokio::test]
async fn in_root_a_forging_majority_does_not_hide_what_is_below_the_light_client() {
    let world = world();
    world.change().one_is_honest = true;
    let mut runner = start(&world, &MemoryStore::default(), HotshotProofs::Root);
    settle(&mut runner).await;
    checkpoint(&world, &mut runner).await;
    forge(&world, 9..=10);
    world.post_all(FORGED, 9..=9);
    world.change().forged.as_mut().unwrap().blocks.push(Vec::new());
    mine(&world, 1);
    for _ in 0..3 {
        let height = world.change().hotshot.len() as u64;
        next_l1(&world, height - 1);
        settle(&mut runner).await;
    }
    assert_eq!((runner.number(), status(&runner)), (9, Status::Ok), "{:?}", runner.stall());
}

/// Reading waits where no more can be kept, and goes on under the root once the light client has
/// moved: nothing that was in flight by then is left uncovered.
#[tokio::test]
async fn in_root_a_long_way_behind_needs_no_room_for_it() {
    // With room for a few of the batches, or for all of them, but not for their headers.
    for (heights, budget) in [(1_000, 16), (5_000, 16), (100_000, 16), (100_000, BUDGET)] {
        let world = World::new(40);
        world.change().range_limit = 500;
        world.change().light_client.insert(0, 0);
        show(&world, 1, 0);
        for number in 1..=40 {
            world.change().hotshot.extend(std::iter::repeat_n(Vec::new(), heights / 40 - 1));
            world.post_all(MAIN, [number]);
        }
        let heights = heights as u64;
        let mut runner = world.verifier_with(&MemoryStore::default(), |options| {
            options.proofs = HotshotProofs::Root;
            options.light_client = Some(Address::ZERO);
            options.budget = budget;
        });
        settle(&mut runner).await;
        assert_eq!((runner.head(), runner.code()), (None, "awaiting_checkpoint"));
        let cursor = runner.board.findings().hotshot.cursor.unwrap();
        assert!(cursor < (MOST_HEADERS as u64 + 500).min(heights * 3 / 4), "{cursor}");
        next_l1(&world, heights);
        settle(&mut runner).await;
        assert_eq!((runner.number(), status(&runner)), (40, Status::Ok), "{:?}", runner.stall());
        // One for what was read before, and those ranges again that were in flight.
        let (ranges, first) = (world.calls("feed range"), 24);
        assert!(ranges <= heights / 500 + first, "{ranges}");
        assert_eq!(world.calls("feed path"), 2, "where the chain begins, and what was read");
    }
}
