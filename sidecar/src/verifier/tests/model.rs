//! Random schedules of everything that can happen, against a small model of what may be concluded.
//!
//! `PROPTEST_CASES` sets the number of schedules; a failing one is shrunk.

use std::{collections::BTreeMap, time::Duration};

use alloy_primitives::{Address, B256, keccak256};
use proptest::{prelude::*, sample::Index};

use super::{world::*, *};
use crate::{
    batchers::BatcherSource,
    eth::BlockId,
    store::memory::{MemoryStore, Writes},
    telemetry::metrics::Target,
};

/// The branches of L2. Each leaves the main one, so that a block's hash names its whole past.
const FORKS: [Fork; 5] = [
    MAIN,
    Fork { name: 1, at: 3 },
    Fork { name: 2, at: 8 },
    Fork { name: 3, at: 8 },
    Fork { name: 4, at: 15 },
];

/// What can fail, by itself or as a whole.
const SERVICES: [&str; 15] = [
    "node",
    "node latest",
    "node hash",
    "node block",
    "node finalized",
    "node chain id",
    "consensus",
    "l1",
    "l1 hash",
    "l1 finalized",
    "batchers",
    "feed",
    "feed height",
    "feed range",
    "feed limits",
];

/// The batcher before the rotation.
const OLD: Address = Address::repeat_byte(0xb0);
/// The L1 block since which [`BATCHER`] is in force in place of [`OLD`].
const ROTATION: u64 = 2;

fn in_force_at(l1_origin: u64) -> Address {
    if l1_origin < ROTATION { OLD } else { BATCHER }
}

/// The batch for a block of a branch, by the key that is in force.
fn honest(fork: Fork, number: u64) -> Posted {
    Posted { signer: in_force_at(origin(number).number), ..Posted::of(fork, number) }
}

/// What the contract says.
#[derive(Debug, Clone, Copy)]
enum History {
    True,
    /// Nobody was ever replaced.
    Only(Address),
}

impl History {
    fn entries(self) -> BTreeMap<u64, Address> {
        match self {
            Self::True => [(0, OLD), (ROTATION, BATCHER)].into(),
            Self::Only(batcher) => [(0, batcher)].into(),
        }
    }
}

/// Everything that can happen between two rounds.
#[derive(Debug, Clone)]
enum Event {
    /// The next batches of a branch, each in a HotShot block of its own.
    Post { fork: Index, count: u64 },
    /// The next batches of a branch in one HotShot block, the last one first.
    PostBackwards { fork: Index, count: u64 },
    /// Copies of a batch that HotShot has already.
    Replay { which: Index, copies: usize },
    /// A batch of a branch long before its turn.
    PostAhead { fork: Index, by: u64 },
    /// A batch on an L1 block that Ethereum will not keep.
    PostOrphan { fork: Index, back: u64 },
    /// A batch whose number never comes.
    PostFar,
    /// Many different batches by the old key that extend a branch, on the L1 origin of their block
    /// or on the next one.
    PostOld { fork: Index, by: u64, count: usize, next_origin: bool },
    /// The contract says something else from the next final block on.
    Contract(History),
    /// What unauthorized signers post.
    PostJunk { count: usize },
    /// The services keep only their newest blocks, this many.
    Forget { kept: u64 },
    /// HotShot blocks without anything.
    PostNothing { count: usize },
    /// The newest HotShot block is not there yet.
    HotshotLate(bool),
    /// The service claims a height.
    HotshotHeight(Option<u64>),
    /// The node follows a branch up to a block.
    Node { fork: Index, latest: u64 },
    /// The node stops uncleanly: its latest block falls, and it still serves those above.
    Unclean { back: u64 },
    /// Another endpoint of the node follows a branch, or gives no answer.
    Other { fork: Option<Index> },
    /// The node has forgotten blocks below its latest one.
    Prune { kept: Option<u64> },
    /// L1's newest final block as the node reports it: it may go back.
    L1Finalized(Option<u64>),
    /// The next L1 block has the batch for the node's block that many below its latest one, and
    /// op-node derives it.
    Batch { back: u64 },
    /// Node and op-node call their latest block finalized, as after execution-layer sync; or they
    /// say the truth again.
    ElSync(bool),
    /// Whether op-node keeps a safe-head database.
    SafeHeads(bool),
    /// Something gives no answer.
    Down { service: Index },
    /// Everything answers again.
    Up,
    /// What becomes of writes from now on.
    Saves(Writes),
    /// L1 contradicts its final block: it is read anew, with the same blocks.
    L1Anew,
    /// Time passes.
    Pass { millis: u64 },
    /// What streams say, true or not.
    News { which: Index },
    /// The verifier works.
    Rounds { count: usize },
    /// The process is killed and started again.
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    let fork = any::<Index>;
    prop_oneof![
        10 => (fork(), 1..8_u64).prop_map(|(fork, count)| Event::Post { fork, count }),
        3 => (fork(), 1..8_u64).prop_map(|(fork, count)| Event::PostBackwards { fork, count }),
        2 => (fork(), 1..12_usize).prop_map(|(which, copies)| Event::Replay { which, copies }),
        2 => (fork(), 0..30_u64).prop_map(|(fork, by)| Event::PostAhead { fork, by }),
        2 => (fork(), 0..4_u64).prop_map(|(fork, back)| Event::PostOrphan { fork, back }),
        1 => Just(Event::PostFar),
        2 => (fork(), 0..4_u64, 1..30_usize, any::<bool>()).prop_map(
            |(fork, by, count, next_origin)| Event::PostOld { fork, by, count, next_origin }
        ),
        1 => prop_oneof![
            2 => Just(History::True),
            1 => Just(History::Only(OLD)),
            1 => Just(History::Only(BATCHER)),
        ].prop_map(Event::Contract),
        1 => (1..5_usize).prop_map(|count| Event::PostJunk { count }),
        1 => (0..30_u64).prop_map(|kept| Event::Forget { kept }),
        1 => (1..15_usize).prop_map(|count| Event::PostNothing { count }),
        1 => any::<bool>().prop_map(Event::HotshotLate),
        1 => prop::option::of(prop_oneof![0..30_u64, Just(u64::MAX)]).prop_map(Event::HotshotHeight),
        6 => (fork(), 0..40_u64).prop_map(|(fork, latest)| Event::Node { fork, latest }),
        2 => (1..20_u64).prop_map(|back| Event::Unclean { back }),
        1 => prop::option::of(fork()).prop_map(|fork| Event::Other { fork }),
        1 => prop::option::of(0..5_u64).prop_map(|kept| Event::Prune { kept }),
        4 => prop::option::weighted(0.9, 0..30_u64).prop_map(Event::L1Finalized),
        3 => (0..10_u64).prop_map(|back| Event::Batch { back }),
        2 => any::<bool>().prop_map(Event::ElSync),
        1 => any::<bool>().prop_map(Event::SafeHeads),
        2 => fork().prop_map(|service| Event::Down { service }),
        3 => Just(Event::Up),
        2 => prop_oneof![
            2 => Just(Writes::Work), 1 => Just(Writes::Fail), 1 => Just(Writes::FailAfterWriting)
        ].prop_map(Event::Saves),
        1 => Just(Event::L1Anew),
        4 => (0..9_000_u64).prop_map(|millis| Event::Pass { millis }),
        2 => fork().prop_map(|which| Event::News { which }),
        12 => (1..4_usize).prop_map(|count| Event::Rounds { count }),
        3 => Just(Event::Restart),
    ]
}

/// A block that the model knows to be confirmed.
#[derive(Debug, Clone, Copy)]
struct Tip {
    number: u64,
    hash: B256,
    origin: BlockId,
}

impl Tip {
    fn of(fork: Fork, number: u64) -> Self {
        Self { number, hash: l2_hash(fork, number), origin: origin(number) }
    }
}

/// The world, the verifier in it, and what the model concludes.
struct Schedule {
    world: World,
    store: MemoryStore,
    runner: Runner,
    budget: usize,
    /// The longest pause of the verifier; zero if everything is due in every round.
    interval: Duration,
    /// Whether so much time passes before each round that everything is due.
    is_patient: bool,
    /// The batcher's batches in HotShot order.
    posted: Vec<Posted>,
    /// The next number of each branch.
    next: [u64; FORKS.len()],
    /// The highest final L1 block that was ever reported.
    l1_finalized: u64,
    /// The batches on L1: their L1 block, and the L2 block that they lead to.
    batched: Vec<(u64, Tip)>,
    /// What node and op-node ever called finalized after execution-layer sync.
    el_synced: Vec<u64>,
    /// The highest head that was ever seen.
    tip: Tip,
    seen: bool,
    /// Rounds in a row in which the head was above the node's latest block.
    above: usize,
    /// Whether the last round has moved the head.
    moved: bool,
    /// Whether this process has asked the node about the head.
    asked: bool,
}

fn start(world: &World, store: &MemoryStore, (budget, interval): (usize, Duration)) -> Runner {
    world.verifier_with(store, |options| {
        options.budget = budget;
        options.interval = interval;
        options.batchers = BatcherSource::Contract(Some(Address::ZERO));
        options.light_client = Some(Address::ZERO);
    })
}

impl Schedule {
    fn new(room: usize, interval: Duration) -> Self {
        let world = World::new(0);
        world.change().l1_finalized = Some(0);
        world.change().batchers = History::True.entries();
        let store = MemoryStore::default();
        let budget = room;
        let runner = start(&world, &store, (budget, interval));
        Self {
            world,
            store,
            runner,
            budget,
            interval,
            is_patient: false,
            posted: Vec::new(),
            next: FORKS.map(|fork| fork.at + 1),
            l1_finalized: 0,
            batched: Vec::new(),
            el_synced: Vec::new(),
            tip: Tip::of(MAIN, 0),
            seen: false,
            above: 0,
            moved: false,
            asked: false,
        }
    }

    fn post(&mut self, batches: Vec<Posted>) {
        self.posted.extend(batches.iter().cloned());
        self.world.post(batches);
    }

    async fn apply(&mut self, event: Event) {
        match event {
            Event::Post { fork, count } => {
                for _ in 0..count {
                    let batch = self.next_batch(fork);
                    self.post(vec![batch]);
                }
            }
            Event::PostBackwards { fork, count } => {
                let mut batches: Vec<_> = (0..count).map(|_| self.next_batch(fork)).collect();
                batches.reverse();
                self.post(batches);
            }
            Event::Replay { which, copies } if !self.posted.is_empty() => {
                let batch = which.get(&self.posted).clone();
                self.post(vec![batch; copies]);
            }
            Event::Replay { .. } => {}
            Event::PostAhead { fork, by } => {
                let fork = fork.index(FORKS.len());
                self.post(vec![honest(FORKS[fork], self.next[fork] + by)]);
            }
            Event::PostOrphan { fork, back } => {
                let fork = fork.index(FORKS.len());
                let number = self.next[fork].saturating_sub(back).max(BLOCKS_PER_ORIGIN);
                let batch = honest(FORKS[fork], number);
                let orphan = l1_hash(Fork { name: 9, at: 0 }, batch.l1_origin.number);
                self.post(vec![Posted {
                    hash: keccak256(format!("orphan {fork} {number}")),
                    l1_origin: BlockId { hash: orphan, ..batch.l1_origin },
                    ..batch
                }]);
            }
            Event::PostFar => {
                self.post(vec![Posted { number: u64::MAX, ..honest(MAIN, 1) }]);
            }
            Event::PostOld { fork, by, count, next_origin } => {
                let fork = fork.index(FORKS.len());
                let number = (self.next[fork] + by).max(ROTATION * BLOCKS_PER_ORIGIN);
                let built_on = number + if next_origin { BLOCKS_PER_ORIGIN } else { 0 };
                let batch = |index| Posted {
                    signer: OLD,
                    hash: keccak256(format!("old {fork} {number} {index}")),
                    l1_origin: origin(built_on),
                    ..Posted::of(FORKS[fork], number)
                };
                self.post((0..count).map(batch).collect());
            }
            Event::Contract(history) => self.world.change().batchers = history.entries(),
            Event::PostJunk { count } => {
                let unauthorized =
                    Posted { signed: false, ..honest(FORKS[1], self.tip.number + 1) };
                let unauthorized = serde_json::to_vec(&unauthorized).unwrap();
                let junk = [unauthorized, Vec::new(), vec![0; 64]].into_iter().cycle();
                self.world.change().hotshot.push(junk.take(count).collect());
            }
            Event::Forget { kept } => {
                let mut world = self.world.change();
                world.hotshot_pruned_below = (world.hotshot.len() as u64).saturating_sub(kept);
            }
            Event::PostNothing { count } => {
                self.world.change().hotshot.extend(std::iter::repeat_n(Vec::new(), count));
            }
            Event::HotshotLate(late) => {
                let mut world = self.world.change();
                let newest = world.hotshot.len().saturating_sub(1) as u64;
                world.hotshot_missing.clear();
                world.hotshot_missing.extend(late.then_some(newest));
            }
            Event::HotshotHeight(height) => self.world.change().hotshot_height = height,
            Event::Node { fork, latest } => self.move_node(*fork.get(&FORKS), latest),
            Event::Unclean { back } => {
                let mut world = self.world.change();
                world.node_serves_to = world.node_latest.max(world.node_serves_to);
                world.node_latest = world.node_latest.saturating_sub(back);
            }
            Event::Other { fork } => {
                self.world.change().other_endpoint = fork.map(|fork| *fork.get(&FORKS));
            }
            Event::Prune { kept } => {
                let mut world = self.world.change();
                let latest = world.node_latest;
                world.node_pruned_below = kept.map_or(0, |kept| latest.saturating_sub(kept));
            }
            Event::L1Finalized(number) => {
                self.l1_finalized = self.l1_finalized.max(number.unwrap_or(0));
                self.world.change().l1_finalized = number;
                self.let_op_node_derive();
            }
            Event::Batch { back } => self.batch(back),
            Event::ElSync(synced) => {
                let mut world = self.world.change();
                world.el_synced = synced.then_some(world.node_latest);
                self.el_synced.extend(world.el_synced);
            }
            Event::SafeHeads(kept) => self.world.change().safe_head_database = kept,
            Event::Down { service } => {
                self.world.change().down.insert(SERVICES[service.index(SERVICES.len())]);
            }
            Event::Up => self.world.change().down.clear(),
            Event::Saves(writes) => self.store.set_writes(writes),
            Event::L1Anew => self.world.change().l1_epoch += 1,
            Event::Pass { millis } => {
                tokio::time::advance(Duration::from_millis(millis)).await;
            }
            Event::News { which } => {
                self.world.1.ring(*which.get(&[Target::Query, Target::L1, Target::Node]));
            }
            Event::Rounds { count } => {
                for _ in 0..count {
                    self.round().await;
                }
            }
            Event::Restart => self.restart(),
        }
    }

    fn next_batch(&mut self, fork: Index) -> Posted {
        let fork = fork.index(FORKS.len());
        let number = self.next[fork];
        self.next[fork] += 1;
        honest(FORKS[fork], number)
    }

    /// The node keeps what L1 has.
    fn move_node(&self, fork: Fork, latest: u64) {
        if self.batched.last().is_some_and(|(_, tip)| l2_hash(fork, tip.number) != tip.hash) {
            return;
        }
        let mut world = self.world.change();
        (world.node_fork, world.node_latest, world.node_serves_to) = (fork, latest, 0);
    }

    /// In this model L1 never has another block than Espresso confirmed; the tests of finality show
    /// what happens then.
    fn batch(&mut self, back: u64) {
        let world = self.world.change();
        let fork = world.node_fork;
        let tip = Tip::of(fork, world.node_latest.saturating_sub(back));
        let head = self.store.on_disk();
        let contradicts = head.is_some_and(|head| {
            let (lower, higher) = (head.number.min(tip.number), head.number.max(tip.number));
            let of_head = FORKS.into_iter().filter(|fork| {
                Some(l2_hash(*fork, head.number)) == head.hash
                    && l2_hash(*fork, lower) == l2_hash(world.node_fork, lower)
            });
            higher == lower && head.hash != Some(tip.hash)
                || head.number < tip.number && Some(l2_hash(fork, head.number)) != head.hash
                || of_head.count() == 0
        });
        drop(world);
        let last = self.batched.last().copied();
        if contradicts || last.is_some_and(|(_, known)| known.number >= tip.number) {
            return;
        }
        let l1 = last.map_or(0, |(l1, _)| l1).max(tip.origin.number) + 1;
        self.batched.push((l1, tip));
        self.let_op_node_derive();
    }

    /// What op-node says when it has derived everything from L1.
    fn let_op_node_derive(&self) {
        let mut world = self.world.change();
        let finalized = self.finalized().map(|tip| tip.number);
        world.node_finalized = finalized;
        world.consensus_finalized = finalized.or(Some(0));
        world.derived = self.batched.iter().map(|(l1, tip)| (*l1, tip.number)).collect();
        world.consensus_safe = self.batched.last().map(|(_, tip)| tip.number);
        let head = self.batched.last().map_or(0, |(l1, _)| *l1);
        world.consensus_l1 = (head, head);
    }

    /// The highest block that Ethereum ever finalized.
    fn finalized(&self) -> Option<Tip> {
        let decided = self.batched.iter().filter(|(l1, _)| *l1 <= self.l1_finalized);
        decided.map(|(_, tip)| *tip).next_back()
    }

    /// A block that Ethereum finalized, by its number.
    fn finalized_at(&self, number: u64) -> Option<Tip> {
        let finalized = self.finalized().filter(|tip| tip.number >= number)?;
        let mut forks = FORKS.into_iter();
        let fork = forks.find(|fork| l2_hash(*fork, finalized.number) == finalized.hash)?;
        Some(Tip::of(fork, number))
    }

    fn restart(&mut self) {
        (self.above, self.asked) = (0, false);
        self.runner = start(&self.world, &self.store, (self.budget, self.interval));
    }

    /// One round, after which everything that was promised must hold.
    async fn round(&mut self) -> Round {
        let before = self.runner.head().map(|head| head.number);
        if self.is_patient {
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        let surveys = self.world.calls("survey");
        let round = self.runner.round().await;
        let was_surveyed = self.world.calls("survey") > surveys;
        assert!(self.runner.verifier.candidates.len() <= self.budget, "too much is kept");
        let Some(head) = self.runner.head() else {
            assert!(!self.seen, "a head vanished");
            return round;
        };
        let stored = self.store.on_disk().expect("visible means durable");
        let hash = stored.hash.expect("nothing was imported");
        assert!(stored.number >= head.number, "visible means durable");
        if stored.number == head.number {
            assert_eq!(head.hash, Some(hash.to_string()));
        }
        assert!(head.number >= self.tip.number, "{} after {}", head.number, self.tip.number);
        let hash: B256 = head.hash.as_deref().unwrap().parse().unwrap();
        let known = (head.number, hash) == (self.tip.number, self.tip.hash);
        if !(known && self.seen) {
            self.tip = match head.source {
                Source::Espresso => {
                    // Ethereum may have moved the head in the same round.
                    let batched = self.batched.iter().map(|(_, tip)| tip.number);
                    let from = batched.chain(self.el_synced.iter().copied());
                    let ends = from
                        .filter(|number| *number <= head.number)
                        .filter_map(|number| self.finalized_at(number))
                        .chain([self.tip])
                        .map(|from| self.derive(from, head.number, self.l1_finalized));
                    ends.max_by_key(|end| (end.hash == hash, end.number)).unwrap()
                }
                Source::Ethereum => self.finalized_at(head.number).expect("Ethereum finalized it"),
            };
            assert_eq!((head.number, hash), (self.tip.number, self.tip.hash), "{head:?}");
            self.seen = true;
        }
        self.moved = before != Some(head.number);
        self.asked |= self.moved;
        if self.moved {
            let latest = self.world.change().node_latest;
            assert!(head.number <= latest, "above the node's latest block");
        }
        // Between two surveys the last one counts.
        if was_surveyed {
            self.check_status(head.status);
        }
        round
    }

    /// The status is what the node would say of the head.
    fn check_status(&mut self, status: Status) {
        const ASKED: [&str; 4] = ["node", "node chain id", "node latest", "node hash"];
        let world = self.world.change();
        if ASKED.iter().any(|service| world.down.contains(service)) {
            assert!(self.asked || status == Status::NodeUnchecked, "{status} of a silent node");
            return;
        }
        let is_above = world.node_latest < self.tip.number;
        self.above = if is_above { self.above + 1 } else { 0 };
        let other = world.other_endpoint.map(|fork| l2_hash(fork, self.tip.number));
        match world.block(self.tip.number) {
            _ if other.is_some_and(|hash| hash != self.tip.hash) => {
                // The endpoint in use may have moved the head in this round.
                assert!(self.moved || status == Status::Diverged, "{status} on another fork");
            }
            Some(block) if block.hash != self.tip.hash => assert_eq!(status, Status::Diverged),
            Some(_) if self.above == 1 => return,
            Some(_) if !is_above => assert_eq!(status, Status::Ok),
            // What was admitted as final before it was pruned may have become the head.
            None if !is_above => assert!(status.is_usable(), "{status} of a pruned block"),
            _ => assert_eq!(status, Status::NodeBehind),
        }
        drop(world);
        self.asked = true;
    }

    /// Follows the rule from a block: the first possible child on a final L1 block, in HotShot's
    /// order.
    fn derive(&self, mut tip: Tip, until: u64, l1_finalized: u64) -> Tip {
        while tip.number < until {
            let possible = self.posted.iter().filter(|batch| {
                let expected = Posted::of(MAIN, tip.number + 1);
                batch.number == expected.number
                    && batch.timestamp == expected.timestamp
                    && batch.parent_hash == tip.hash
                    && (batch.l1_origin == tip.origin
                        || batch.l1_origin.number == tip.origin.number + 1)
            });
            let mut decided = possible.skip_while(|batch| {
                let number = batch.l1_origin.number;
                number <= l1_finalized
                    && (batch.l1_origin.hash != l1_hash(MAIN, number)
                        || batch.signer != in_force_at(number))
            });
            match decided.next() {
                Some(batch) if batch.l1_origin.number <= l1_finalized => {
                    tip = Tip { number: batch.number, hash: batch.hash, origin: batch.l1_origin };
                }
                _ => return tip,
            }
        }
        tip
    }

    /// Everything is in order again: the head must reach the end of what HotShot has.
    async fn heal(&mut self) {
        self.is_patient = true;
        self.l1_finalized = 1_000_000;
        self.let_op_node_derive();
        let from = self.finalized().filter(|tip| tip.number > self.stored().number);
        let end = self.derive(from.unwrap_or(self.stored()), u64::MAX, self.l1_finalized);
        let fork = FORKS.into_iter().find(|fork| l2_hash(*fork, end.number) == end.hash);
        {
            let mut world = self.world.change();
            world.down.clear();
            world.el_synced = None;
            world.safe_head_database = true;
            world.hotshot_missing.clear();
            world.hotshot_height = None;
            world.hotshot_pruned_below = 0;
            world.l1_finalized = Some(self.l1_finalized);
            world.batchers = History::True.entries();
            world.node_pruned_below = 0;
            world.node_fork = fork.expect("a chain that the node can have");
            world.node_latest = end.number;
            world.node_serves_to = 0;
            world.other_endpoint = None;
        }
        self.store.set_writes(Writes::Work);
        let mut rounds = 0;
        while self.round().await == Round::Worked {
            rounds += 1;
            assert!(rounds < 100, "the verifier never comes to rest");
        }
        let head = self.runner.head();
        let reached = head.as_ref().map_or(0, |head| head.number);
        assert_eq!(reached, end.number, "stalled: {:?}", self.runner.stall());
        assert!(head.is_none_or(|head| head.status == Status::Ok));
    }

    /// The services forget what is not read yet, until Ethereum overtakes: then Espresso goes on.
    async fn be_overtaken(&mut self) {
        let fork = {
            let mut world = self.world.change();
            world.hotshot.extend(std::iter::repeat_n(Vec::new(), 30));
            world.hotshot_pruned_below = world.hotshot.len() as u64 - 15;
            world.node_fork
        };
        // It is found out in one round, and a later place is looked for in the next one.
        for _ in 0..3 {
            self.round().await;
        }
        let code = self.runner.code();
        assert!(["position_unavailable", "competing_fork"].contains(&code), "{code}");
        let last = self.batched.last().copied();
        let numbers = self.posted.iter().map(|batch| batch.number);
        let numbers = numbers.filter(|number| *number < u64::MAX);
        let numbers = numbers.chain(last.map(|(_, tip)| tip.number)).chain([self.stored().number]);
        let finalized = numbers.max().unwrap_or(0) + 1;
        {
            let mut world = self.world.change();
            world.hotshot_pruned_below = world.hotshot.len() as u64;
            let height = world.hotshot_pruned_below;
            world.light_client.insert(origin(finalized).number, height);
            world.node_latest = finalized + 3;
        }
        let tip = Tip::of(fork, finalized);
        self.batched.push((last.map_or(0, |(l1, _)| l1).max(tip.origin.number) + 1, tip));
        self.let_op_node_derive();
        self.post(vec![]);
        for number in finalized + 1..=finalized + 3 {
            self.post(vec![honest(fork, number)]);
        }
        let mut rounds = 0;
        while self.round().await == Round::Worked || rounds < 3 {
            rounds += 1;
            assert!(rounds < 100, "the verifier never comes to rest");
        }
        assert_eq!(self.runner.number(), finalized + 3, "stalled: {:?}", self.runner.stall());
        assert_eq!(self.runner.head().map(|head| head.source), Some(Source::Espresso));
    }

    /// The block that is on the disk.
    fn stored(&self) -> Tip {
        let Some(record) = self.store.on_disk() else { return Tip::of(MAIN, 0) };
        Tip {
            number: record.number,
            hash: record.hash.expect("nothing was imported"),
            origin: record.l1_origin.expect("nothing was imported"),
        }
    }
}

async fn run(room: usize, interval: Duration, events: Vec<Event>) {
    let mut schedule = Schedule::new(room, interval);
    for event in events {
        schedule.apply(event).await;
    }
    schedule.heal().await;
    // The restart position loses nothing either.
    schedule.restart();
    let fork = schedule.world.change().node_fork;
    let number = schedule.stored().number + 1;
    schedule.post(vec![honest(fork, number)]);
    schedule.heal().await;
    schedule.be_overtaken().await;
}

/// How many schedules a property test tries.
pub(super) fn cases() -> u32 {
    let given = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    given.unwrap_or(2000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn no_schedule_breaks_a_guarantee_or_stalls(
        room in prop::sample::select(vec![8, 10, 20, 16_384]),
        interval in prop::sample::select(vec![0, 300, 1000]).prop_map(Duration::from_millis),
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(room, interval, events));
    }
}
