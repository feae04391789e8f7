//! Random schedules of services that forge HotShot's headers and of a light client that lags, lies
//! or stands still, against a small model of what the head may then be.

use std::time::Duration;

use alloy_primitives::{Address, B256};
use proptest::{prelude::*, sample::Index};

use super::{model::cases, world::*, *};
use crate::{config::HotshotProofs, eth::BlockId, store::memory::MemoryStore};

/// The branches of L2.
const FORKS: [Fork; 3] = [MAIN, Fork { name: 1, at: 3 }, Fork { name: 2, at: 8 }];
/// No block has a higher number: all L1 origins are final.
const HIGHEST: u64 = 40;
/// What can fail.
const SERVICES: [&str; 7] =
    ["feed", "feed range", "feed path", "l1", "checkpoint", "light client", "node block"];

/// Everything that can happen between two rounds.
#[derive(Debug, Clone)]
enum Event {
    /// HotShot has the next batches of a branch, each in a block of its own.
    Post { fork: Index, count: u64 },
    /// HotShot blocks without anything.
    PostNothing { count: usize },
    /// A majority shows other blocks in place of the newest ones: the next batches of a branch, and
    /// nothing in the rest. HotShot has so many further blocks.
    Forge { fork: Index, instead_of: usize, count: u64, further: usize },
    /// All services tell the truth.
    BeHonest,
    /// Whether one service tells it all the time.
    OneIsHonest(bool),
    /// The next L1 block is final. The light client is so far behind HotShot there, or where it
    /// was.
    L1Block { behind: Option<u64> },
    /// The same, and its root is another one.
    FalseRoot,
    /// Whether services show what is under a root.
    Paths(bool),
    /// The node follows a branch.
    Node { fork: Index, latest: u64 },
    /// Ethereum finalizes the node's block that many below its latest one.
    Finalize { back: u64 },
    /// Something gives no answer.
    Down { service: Index },
    /// Everything answers again.
    Up,
    /// Time passes.
    Pass { seconds: u64 },
    /// The verifier works.
    Rounds { count: usize },
    /// The process is killed and started again; without proofs, unless they are what keeps the
    /// head on HotShot's chain.
    Restart { without_proofs: bool },
}

fn event() -> impl Strategy<Value = Event> {
    let fork = any::<Index>;
    prop_oneof![
        6 => (fork(), 1..5_u64).prop_map(|(fork, count)| Event::Post { fork, count }),
        2 => (1..12_usize).prop_map(|count| Event::PostNothing { count }),
        4 => (fork(), 0..5_usize, 0..5_u64, 0..5_usize).prop_map(
            |(fork, instead_of, count, further)| Event::Forge { fork, instead_of, count, further }
        ),
        2 => Just(Event::BeHonest),
        2 => any::<bool>().prop_map(Event::OneIsHonest),
        6 => prop::option::weighted(0.8, 0..6_u64).prop_map(|behind| Event::L1Block { behind }),
        1 => Just(Event::FalseRoot),
        1 => any::<bool>().prop_map(Event::Paths),
        3 => (fork(), 0..=HIGHEST).prop_map(|(fork, latest)| Event::Node { fork, latest }),
        1 => (0..10_u64).prop_map(|back| Event::Finalize { back }),
        1 => fork().prop_map(|service| Event::Down { service }),
        2 => Just(Event::Up),
        1 => (1..60_u64).prop_map(|seconds| Event::Pass { seconds }),
        12 => (1..5_usize).prop_map(|count| Event::Rounds { count }),
        2 => any::<bool>().prop_map(|without_proofs| Event::Restart { without_proofs }),
    ]
}

/// A block that the model knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    proofs: HotshotProofs,
    budget: usize,
    /// The batches that HotShot has, in its order.
    posted: Vec<Posted>,
    /// The next number of each branch that is posted, and that is forged.
    next: [u64; FORKS.len()],
    /// What Ethereum finalized.
    finalized: Vec<Tip>,
    /// The last head.
    tip: Tip,
    /// Whether a majority that forged was believed where nothing is compared: what it hid may be
    /// missed.
    believed: bool,
}

fn start(world: &World, store: &MemoryStore, proofs: HotshotProofs, budget: usize) -> Runner {
    world.verifier_with(store, |options| {
        options.proofs = proofs;
        options.light_client = Some(Address::ZERO);
        options.budget = budget;
    })
}

impl Schedule {
    fn new(proofs: HotshotProofs, budget: usize) -> Self {
        let world = World::new(HIGHEST);
        world.change().l1_finalized = Some(HIGHEST);
        world.change().light_client.insert(0, 0);
        let store = MemoryStore::default();
        let runner = start(&world, &store, proofs, budget);
        Self {
            world,
            store,
            runner,
            proofs,
            budget,
            posted: Vec::new(),
            next: FORKS.map(|fork| fork.at + 1),
            finalized: Vec::new(),
            tip: Tip::of(MAIN, 0),
            believed: false,
        }
    }

    async fn apply(&mut self, event: Event) {
        match event {
            Event::Post { fork, count } => {
                let batches = self.next_batches(fork, count);
                for batch in batches {
                    self.post(vec![batch]);
                }
            }
            Event::PostNothing { count } => (0..count).for_each(|_| self.post(Vec::new())),
            Event::Forge { fork, instead_of, count, further } => {
                let which = fork.index(FORKS.len());
                let next = self.next;
                let batches = self.next_batches(fork, count);
                // HotShot may have them later, after all.
                self.next[which] = next[which];
                let payload = |batch| vec![serde_json::to_vec(&batch).unwrap()];
                let mut blocks: Vec<_> = batches.into_iter().map(payload).collect();
                let length = self.world.change().hotshot.len();
                let from = length.saturating_sub(instead_of);
                let until = (from + blocks.len()).max(length) + further;
                blocks.resize(until - from, Vec::new());
                let mut world = self.world.change();
                world.hotshot.resize(until, Vec::new());
                world.forged = Some(Forgery { from, blocks });
            }
            Event::BeHonest => self.world.change().forged = None,
            Event::OneIsHonest(honest) => self.world.change().one_is_honest = honest,
            Event::L1Block { behind } => self.next_l1(behind),
            Event::FalseRoot => {
                self.next_l1(None);
                let height = self.world.change().light_client.values().next_back().copied();
                self.world.change().false_root = height;
            }
            Event::Paths(served) => self.world.change().serves_paths = served,
            Event::Node { fork, latest } => {
                let fork = *fork.get(&FORKS);
                let last = self.finalized.last();
                if last.is_none_or(|tip| l2_hash(fork, tip.number) == tip.hash) {
                    let latest = latest.max(last.map_or(0, |tip| tip.number));
                    let mut world = self.world.change();
                    (world.node_fork, world.node_latest) = (fork, latest);
                }
            }
            Event::Finalize { back } => {
                let latest = self.world.change().node_latest;
                self.finalize(latest.saturating_sub(back));
            }
            Event::Down { service } => {
                self.world.change().down.insert(*service.get(&SERVICES));
            }
            Event::Up => self.world.change().down.clear(),
            Event::Pass { seconds } => tokio::time::advance(Duration::from_secs(seconds)).await,
            Event::Rounds { count } => {
                for _ in 0..count {
                    self.round().await;
                }
            }
            Event::Restart { without_proofs } => {
                let is_root = self.proofs == HotshotProofs::Root;
                let without = without_proofs && !is_root;
                self.restart(if without { HotshotProofs::Off } else { self.proofs });
            }
        }
    }

    fn restart(&mut self, proofs: HotshotProofs) {
        self.runner = start(&self.world, &self.store, proofs, self.budget);
    }

    fn next_batches(&mut self, fork: Index, count: u64) -> Vec<Posted> {
        let which = fork.index(FORKS.len());
        let from = self.next[which];
        self.next[which] = (from + count).min(HIGHEST + 1);
        (from..self.next[which]).map(|number| Posted::of(FORKS[which], number)).collect()
    }

    /// A HotShot block. A majority that forges shows it, too, on top of what it has forged.
    fn post(&mut self, batches: Vec<Posted>) {
        self.posted.extend(batches.iter().cloned());
        self.world.post(batches);
        let mut world = self.world.change();
        let block = world.hotshot.last().cloned().unwrap();
        world.forged.iter_mut().for_each(|forgery| forgery.blocks.push(block.clone()));
    }

    /// The next L1 block is final.
    fn next_l1(&self, behind: Option<u64>) {
        let mut world = self.world.change();
        let next = world.l1_finalized.unwrap_or(0) + 1;
        let known = world.light_client.values().next_back().copied().unwrap_or(0);
        let height = behind.map_or(known, |behind| {
            world.hotshot.len() as u64 - behind.min(world.hotshot.len() as u64)
        });
        world.light_client.insert(next, height.max(known));
        world.l1_finalized = Some(next);
        world.false_root = None;
    }

    /// Ethereum finalizes a block of the node, unless that contradicts the head.
    fn finalize(&mut self, number: u64) {
        let (fork, latest) = {
            let world = self.world.change();
            (world.node_fork, world.node_latest)
        };
        let tip = Tip::of(fork, number);
        let stored = self.stored();
        let low = stored.number.min(number);
        let agrees = FORKS.into_iter().any(|other| {
            l2_hash(other, stored.number) == stored.hash
                && l2_hash(other, low) == l2_hash(fork, low)
        });
        let is_newer = self.finalized.last().is_none_or(|last| last.number < number);
        if agrees && is_newer && number > 0 && number <= latest {
            self.finalized.push(tip);
            self.world.finalize(number);
        }
    }

    /// One round, after which everything that was promised must hold.
    async fn round(&mut self) -> Round {
        tokio::time::advance(Duration::from_secs(1)).await;
        let compares = match self.runner.verifier.options.proofs {
            HotshotProofs::Off => false,
            HotshotProofs::Payload => self.world.change().serves_paths,
            HotshotProofs::Root => true,
        };
        self.believed |= !compares && self.world.change().forged.is_some();
        let round = self.runner.round().await;
        assert!(self.runner.verifier.candidates.len() <= self.budget, "too much is kept");
        let Some(head) = self.runner.head() else { return round };
        let hash: B256 = head.hash.as_deref().unwrap().parse().unwrap();
        if (head.number, hash) == (self.tip.number, self.tip.hash) {
            return round;
        }
        assert!(head.number >= self.tip.number, "{} after {}", head.number, self.tip.number);
        let is_true = self.finalized.iter().chain([&self.tip]).any(|from| {
            let end = self.derive(*from, head.number);
            (end.number, end.hash) == (head.number, hash)
        });
        assert!(is_true || self.proofs != HotshotProofs::Root, "off HotShot's chain: {head:?}");
        self.tip = self.stored();
        round
    }

    /// Follows the rule from a block: the first possible child in HotShot's order.
    fn derive(&self, mut tip: Tip, until: u64) -> Tip {
        while tip.number < until {
            let mut possible = self.posted.iter().filter(|batch| {
                batch.number == tip.number + 1
                    && batch.parent_hash == tip.hash
                    && (batch.l1_origin == tip.origin
                        || batch.l1_origin.number == tip.origin.number + 1)
            });
            let Some(batch) = possible.next() else { break };
            tip = Tip { number: batch.number, hash: batch.hash, origin: batch.l1_origin };
        }
        tip
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

    /// The light client moves on, and all services tell the truth.
    async fn settle(&mut self) {
        for _ in 0..4 {
            self.post(Vec::new());
            self.next_l1(Some(0));
            let mut rounds = 0;
            while self.round().await == Round::Worked || rounds < 4 {
                rounds += 1;
                assert!(rounds < 100, "the verifier never comes to rest");
                tokio::time::advance(Duration::from_secs(60)).await;
            }
        }
    }

    /// The node follows the branch that the head and what follows it are on.
    fn let_node_follow(&mut self) -> Tip {
        let stored = self.stored();
        let from = self.finalized.last().filter(|tip| tip.number > stored.number);
        let end = self.derive(from.copied().unwrap_or(stored), HIGHEST);
        let fork = FORKS.into_iter().find(|fork| l2_hash(*fork, end.number) == end.hash);
        let mut world = self.world.change();
        world.node_fork = fork.expect("a chain that the node can have");
        world.node_latest = HIGHEST;
        end
    }

    /// Everything is in order again: the head reaches the end of what HotShot has, unless it is off
    /// HotShot's chain. Then its tags are refused, until Ethereum has it.
    async fn heal(&mut self, restarts: bool) {
        if restarts || self.runner.verifier.options.proofs != self.proofs {
            self.restart(self.proofs);
        }
        {
            let mut world = self.world.change();
            world.down.clear();
            (world.forged, world.serves_paths) = (None, true);
        }
        let end = self.let_node_follow();
        self.settle().await;
        let Some(head) = self.runner.head() else {
            assert_eq!(end.number, 0, "stalled: {:?}", self.runner.stall());
            return;
        };
        if head.status == Status::Unproven {
            let is_head =
                |batch: &Posted| (batch.number, batch.hash) == (self.tip.number, self.tip.hash);
            assert!(!self.posted.iter().any(is_head), "HotShot has it");
            assert_ne!(self.proofs, HotshotProofs::Root);
            self.finalize(self.tip.number);
            let end = self.let_node_follow();
            self.settle().await;
            let reached = self.runner.number() == end.number;
            assert!(reached || self.believed, "stalled: {:?}", self.runner.stall());
            assert_eq!(self.runner.head().unwrap().status, Status::Ok);
            return;
        }
        assert_eq!(head.status, Status::Ok, "{:?}", self.runner.stall());
        assert!(
            head.number == end.number || self.believed,
            "stalled before {}: {:?}",
            end.number,
            self.runner.stall()
        );
        let known = self.posted.iter().map(|batch| batch.hash);
        let known = known.chain(self.finalized.iter().map(|tip| tip.hash));
        assert!(
            head.number == 0 || known.into_iter().any(|hash| hash == self.tip.hash),
            "{head:?}"
        );
    }
}

async fn run(proofs: HotshotProofs, budget: usize, events: Vec<Event>, restarts: bool) {
    let mut schedule = Schedule::new(proofs, budget);
    for event in events {
        schedule.apply(event).await;
    }
    schedule.heal(restarts).await;
}

proptest! {
    // Each takes longer, most of it for the hashes of roots.
    #![proptest_config(ProptestConfig::with_cases(cases() / 16))]

    #[test]
    fn no_schedule_keeps_the_head_off_hotshot_s_chain(
        proofs in prop::sample::select(vec![HotshotProofs::Payload, HotshotProofs::Root]),
        budget in prop::sample::select(vec![8, 16_384]),
        events in prop::collection::vec(event(), 1..50),
        restarts: bool,
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(proofs, budget, events, restarts));
    }
}
