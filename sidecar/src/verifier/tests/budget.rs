//! How often each dependency is asked, by a clock that only the tests move.

use std::{collections::BTreeMap, time::Duration};

use alloy_primitives::Address;
use futures::FutureExt as _;
use tokio::{sync::watch, time::Instant};

use super::world::*;
use crate::{
    batchers::BatcherSource,
    store::memory::MemoryStore,
    telemetry::{Metrics, metrics::Target},
    upstream::Listener,
};

/// Seconds between two blocks.
const L2: u64 = 2;
const HOTSHOT: u64 = 2;
const L1: u64 = 4;
/// L1 blocks that become final at once.
const EPOCH: u64 = 32;

/// What each question costs: calls, and requests. Those of the node that are counted without a
/// request are members of the two batches; it is asked for its chain only if it lacks the head.
const COSTS: [(&str, Dependency, u64, u64); 14] = [
    ("survey", Dependency::Node, 0, 1),
    ("block and latest", Dependency::Node, 0, 1),
    ("node latest", Dependency::Node, 1, 0),
    ("node hash", Dependency::Node, 1, 0),
    ("node block", Dependency::Node, 1, 0),
    ("node finalized", Dependency::Node, 1, 1),
    ("sync status", Dependency::OpNode, 1, 1),
    ("safe head", Dependency::OpNode, 1, 1),
    ("feed height", Dependency::Query, 1, 1),
    ("feed range", Dependency::Query, 1, 1),
    ("feed header", Dependency::Query, 1, 1),
    ("l1 finalized", Dependency::L1, 1, 1),
    ("l1 hash", Dependency::L1, 1, 1),
    // Three at the final block, one at the latest one.
    ("batchers", Dependency::L1, 2, 2),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Dependency {
    Node,
    OpNode,
    Query,
    L1,
}

/// What streams say of a steady world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Streams {
    /// There are none.
    None,
    /// Each new block.
    Honest,
    /// A hundred blocks in a second that are not there.
    Flood,
}

/// A steady world: every dependency moves at its cadence.
struct Steady {
    world: World,
    streams: Streams,
    liars: Vec<Listener>,
    started: Instant,
}

impl Steady {
    /// Makes the blocks that are due after that many milliseconds.
    fn tick(&mut self, millis: u64) {
        let every = |seconds: u64| millis.is_multiple_of(seconds * 1000);
        let seconds = millis / 1000;
        let mut news = Vec::new();
        if every(L1) {
            let mut world = self.world.change();
            let latest = seconds / L1;
            world.l1_latest = latest + 1000;
            if latest.is_multiple_of(EPOCH) {
                world.l1_finalized = Some(latest + 1000);
            }
            drop(world);
            news.push(Target::L1);
        }
        if every(L2) {
            self.world.change().node_latest = seconds / L2 + 1;
            news.push(Target::Node);
        }
        if every(HOTSHOT) {
            self.world.post_all(MAIN, [seconds / HOTSHOT + 1]);
            news.push(Target::Query);
        }
        match self.streams {
            Streams::None => {}
            Streams::Honest => news.into_iter().for_each(|target| self.world.1.ring(target)),
            Streams::Flood => self.liars.iter_mut().for_each(|liar| {
                liar.told(millis);
                liar.alone().now_or_never();
            }),
        }
    }

    /// Lets the verifier run beside the world for so many seconds.
    async fn run(&mut self, seconds: u64) {
        let from = self.started.elapsed().as_millis() as u64 / 10;
        for step in from + 1..=from + seconds * 100 {
            tokio::time::sleep_until(self.started + Duration::from_millis(step * 10)).await;
            self.tick(step * 10);
        }
    }
}

/// Calls and requests of each dependency in so many seconds of a steady state.
async fn counted(streams: Streams, seconds: u64) -> (BTreeMap<Dependency, (u64, u64)>, Steady) {
    let world = World::new(1);
    world.change().l1_finalized = Some(1000);
    world.post_all(MAIN, [1]);
    let store = MemoryStore::default();
    let runner = world.verifier_with(&store, |options| {
        options.interval = Duration::from_secs(1);
        options.batchers = BatcherSource::Contract(Some(Address::ZERO));
    });
    let (stop, stopped) = watch::channel(false);
    let head = runner.head.clone();
    let running = tokio::spawn(runner.verifier.run(stopped));
    let liar = |target| world.1.listener(target, 1, Metrics::new());
    let liars = [Target::Query, Target::Node, Target::L1].map(liar).into();
    let mut steady = Steady { world, streams, liars, started: Instant::now() };
    steady.run(120).await;
    let before = steady.world.change().calls.clone();
    steady.run(seconds).await;
    let after = steady.world.change().calls.clone();
    let number = head.borrow().as_ref().map(|head| head.number);
    assert!(number >= Some((seconds + 120) / L2), "{number:?}");
    stop.send_replace(true);
    running.await.unwrap().unwrap();
    let count = |name: &str| {
        let of = |calls: &BTreeMap<&str, u64>| calls.get(name).copied().unwrap_or(0);
        of(&after) - of(&before)
    };
    let mut totals = BTreeMap::new();
    for (name, dependency, calls, requests) in COSTS {
        let total: &mut (u64, u64) = totals.entry(dependency).or_default();
        *total = (total.0 + calls * count(name), total.1 + requests * count(name));
    }
    (totals, steady)
}

/// Of each dependency, as in the documents: calls per block of its own chain.
fn assert_within(totals: &BTreeMap<Dependency, (u64, u64)>, seconds: u64, most: [u64; 4]) {
    let [node, op_node, query, l1] = most;
    let final_blocks = seconds / (L1 * EPOCH) + 1;
    let (calls, requests) = totals[&Dependency::Node];
    // And `finalized` once per L1 block.
    let per_l1 = seconds / L1 + 4 * final_blocks;
    assert!(calls <= node * seconds / L2 + per_l1, "{calls} calls of the node: {totals:?}");
    assert!(requests <= node * seconds / L2 / 2 + per_l1, "{requests} requests: {totals:?}");
    let (calls, _) = totals[&Dependency::OpNode];
    assert!(calls <= op_node * seconds / L1 + 2 * final_blocks, "op-node: {totals:?}");
    let (calls, _) = totals[&Dependency::Query];
    assert!(calls <= query * seconds / HOTSHOT, "query service: {totals:?}");
    let (calls, _) = totals[&Dependency::L1];
    assert!(calls <= l1 * seconds / L1 + 8 * final_blocks, "L1: {totals:?}");
}

#[tokio::test(start_paused = true)]
async fn with_streams_the_calls_stay_within_the_budget() {
    let (totals, _) = counted(Streams::Honest, 1_280).await;
    assert_within(&totals, 1_280, [6, 1, 3, 2]);
}

#[tokio::test(start_paused = true)]
async fn under_a_flood_of_lies_the_calls_stay_within_twice_the_budget() {
    let (totals, steady) = counted(Streams::Flood, 1_280).await;
    assert_within(&totals, 1_280, [12, 2, 6, 4]);
    let surveys = steady.world.calls("survey");
    assert!(surveys >= 1_280 + 120, "the node is asked about the head once per second: {surveys}");
}

#[tokio::test(start_paused = true)]
async fn without_streams_each_dependency_is_asked_up_to_eight_times_per_block() {
    let (totals, _) = counted(Streams::None, 1_280).await;
    assert_within(&totals, 1_280, [8, 1, 8, 2]);
}

#[tokio::test(start_paused = true)]
async fn idle_for_a_day_costs_as_little() {
    let world = World::new(40);
    world.change().l1_finalized = Some(1000);
    world.post_all(MAIN, 1..=40);
    let runner = world.verifier_with(&MemoryStore::default(), |options| {
        options.interval = Duration::from_secs(1);
    });
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(runner.verifier.run(stopped));
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    stop.send_replace(true);
    running.await.unwrap().unwrap();
    for name in ["survey", "feed height"] {
        let calls = world.calls(name);
        assert!((86_000..=87_000).contains(&calls), "{name}: {calls}");
    }
    for name in ["sync status", "node finalized", "l1 finalized"] {
        assert!(world.calls(name) <= 86_400 / L1 + 10, "{name}: {}", world.calls(name));
    }
    for name in ["feed range", "l1 hash", "node block", "batchers", "feed header"] {
        assert!(world.calls(name) <= 50, "{name}: {}", world.calls(name));
    }
}

#[tokio::test(start_paused = true)]
async fn a_block_that_the_node_lacks_is_asked_for_seven_times_per_block_and_once_it_is_told() {
    let world = World::new(5);
    world.post_all(MAIN, 1..=7);
    let runner = world.verifier_with(&MemoryStore::default(), |options| {
        options.interval = Duration::from_secs(1);
    });
    let (stop, stopped) = watch::channel(false);
    let mut head = runner.head.clone();
    let running = tokio::spawn(runner.verifier.run(stopped));
    // HotShot stands still by then, and is looked at more rarely.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let before = world.calls("block and latest");
    tokio::time::sleep(Duration::from_secs(20)).await;
    let calls = world.calls("block and latest") - before;
    assert!((60..=80).contains(&calls), "in ten blocks: {calls}");

    world.change().node_latest = 6;
    let told = Instant::now();
    world.1.ring(Target::Node);
    let arrived = head.wait_for(|head| head.as_ref().is_some_and(|head| head.number == 6));
    arrived.await.unwrap();
    assert_eq!(told.elapsed(), Duration::ZERO, "it does not wait for the next look");
    stop.send_replace(true);
    running.await.unwrap().unwrap();
}
