//! Scenario 21: replicas on a real etcd, with everything that may happen to it, to them and to
//! their nodes, in an order that a seed draws. `cargo xtask chaos` runs it for longer.

mod envoys;
mod load;
mod member;
mod record;

use std::{
    env,
    fmt::Debug,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use finality_core::head::{Source, Status};
use finality_e2e::{
    etcd::Etcd,
    history::{self, Kind, Order, Publication},
    link::Way,
    process,
    wait::until,
};
use finality_sidecar::store::{
    engine::{Advance, Engine as _, Previous, Quorum, SharedHead},
    etcd::{Etcd as Head, EtcdClient, EtcdLocation, TlsFiles},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use member::{IDENTITY, Member, World, hash};
use record::Record;

const REPLICAS: usize = 3;
/// How long all may take to serve one head again after a fault.
const RECOVERY: Duration = Duration::from_secs(60);
/// Blocks of the simulated chain.
const BLOCK: Duration = Duration::from_millis(150);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    LeaderKilled,
    LeaderFrozen,
    FollowerKilled,
    QuorumLost,
    /// Of one member, which is replaced.
    DataLost,
    ReplicaKilled,
    /// Between the acknowledgement and its file.
    ReplicaDeaf,
    PortsCut,
    PortsHang,
    OneWay,
    NodeLags,
    NodeForks,
    ForkThatNoNodeHas,
    Reset,
    ResetWhileOneIsOff,
    Restored,
    RestoredFromBeforeReset,
}

const FAULTS: [Fault; 17] = [
    Fault::LeaderKilled,
    Fault::LeaderFrozen,
    Fault::FollowerKilled,
    Fault::QuorumLost,
    Fault::DataLost,
    Fault::ReplicaKilled,
    Fault::ReplicaDeaf,
    Fault::PortsCut,
    Fault::PortsHang,
    Fault::OneWay,
    Fault::NodeLags,
    Fault::NodeForks,
    Fault::ForkThatNoNodeHas,
    Fault::Reset,
    Fault::ResetWhileOneIsOff,
    Fault::Restored,
    Fault::RestoredFromBeforeReset,
];

/// Numbers that look random and are not.
struct Dice(Mutex<u64>);

impl Dice {
    fn below(&self, limit: usize) -> usize {
        let mut seed = self.0.lock().unwrap();
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 8).unwrap() % limit
    }
}

/// The faults of a run: each once in an order of the dice, then any, until the time is over.
struct Faults<T: 'static> {
    all: &'static [T],
    left: Vec<T>,
    drawn: usize,
    /// Without it, each comes once.
    minutes: Option<u64>,
    begun: Instant,
}

impl<T: Copy + Debug> Faults<T> {
    fn new(all: &'static [T], minutes: Option<u64>) -> Self {
        Self { all, left: all.to_vec(), drawn: 0, minutes, begun: Instant::now() }
    }

    fn next(&mut self, dice: &Dice) -> Option<T> {
        let elapsed = self.begun.elapsed();
        let is_over = match self.minutes {
            Some(minutes) => self.drawn > 0 && elapsed >= Duration::from_secs(60 * minutes),
            None => self.left.is_empty(),
        };
        if is_over {
            return None;
        }
        let fault = if self.left.is_empty() {
            self.all[dice.below(self.all.len())]
        } else {
            self.left.remove(dice.below(self.left.len()))
        };
        self.drawn += 1;
        println!("{:>6} ms {fault:?}", elapsed.as_millis());
        Some(fault)
    }
}

/// How far and how long a client that moves between Envoys saw a cached head fall.
#[derive(Debug, Default)]
struct Falls {
    reads: usize,
    blocks: Vec<u64>,
    milliseconds: Vec<u128>,
}

impl Falls {
    fn print(&mut self) {
        self.blocks.sort_unstable();
        self.milliseconds.sort_unstable();
        let count = self.blocks.len();
        println!(
            "cached, moving between Envoys: {} reads, {count} below an earlier one",
            self.reads
        );
        if count > 0 {
            let at = |share: usize| (count - 1) * share / 100;
            for share in [50, 90, 99, 100] {
                let (blocks, time) = (self.blocks[at(share)], self.milliseconds[at(share)]);
                println!("  p{share}: {blocks} blocks, {time} ms");
            }
        }
    }
}

/// A client that moves between Envoys, and what it has seen.
#[derive(Debug, Default)]
struct Moving {
    highest: Order,
    fell: Option<Instant>,
}

impl Moving {
    fn read(&mut self, order: Order, falls: &mut Falls) {
        falls.reads += 1;
        if order.0 == self.highest.0 && order < self.highest {
            let since = *self.fell.get_or_insert_with(Instant::now);
            falls.blocks.push(self.highest.1 - order.1);
            falls.milliseconds.push(since.elapsed().as_millis());
        } else {
            (self.highest, self.fell) = (self.highest.max(order), None);
        }
    }
}

struct Chaos {
    etcd: Etcd,
    /// Asks etcd past all faults but its own.
    head: Head,
    members: Vec<Arc<Member>>,
    world: Arc<World>,
    record: Arc<Record>,
    dice: Arc<Dice>,
    quorum: Quorum,
    /// Clients pause while what is recorded is checked.
    paused: Arc<AtomicBool>,
    falls: Arc<Mutex<Falls>>,
    /// The head when the running history began.
    start: Order,
    checked: usize,
    clients: JoinSet<()>,
}

impl Chaos {
    async fn start(folder: &std::path::Path, seed: u64, quorum: Quorum) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let etcd = Etcd::start(folder).await;
        let location = EtcdLocation::parse(&etcd.store()).unwrap();
        let head = EtcdClient::new(location, TlsFiles::default()).unwrap().of(IDENTITY);
        let members = (0..REPLICAS).map(|_| Arc::new(Member::new(&etcd))).collect();
        let chaos = Self {
            etcd,
            head,
            members,
            world: Arc::default(),
            record: Record::new(),
            dice: Arc::new(Dice(Mutex::new(seed))),
            quorum,
            paused: Arc::default(),
            falls: Arc::default(),
            start: (0, 0),
            checked: 0,
            clients: JoinSet::new(),
        };
        chaos.start_members().await;
        chaos
    }

    async fn start_members(&self) {
        for member in &self.members {
            member.start(self.quorum, &self.world, &self.record).await;
        }
    }

    fn start_clients(&mut self) {
        let world = Arc::clone(&self.world);
        self.clients.spawn(async move {
            loop {
                let tip = world.tip.fetch_add(1, Ordering::Relaxed);
                world.finalized.fetch_max(tip.saturating_sub(10), Ordering::Relaxed);
                tokio::time::sleep(BLOCK).await;
            }
        });
        for client in 0..4_u64 {
            let members = self.members.clone();
            let (record, paused) = (Arc::clone(&self.record), Arc::clone(&self.paused));
            let dice = Dice(Mutex::new(client));
            self.clients.spawn(async move {
                loop {
                    let member = &members[dice.below(REPLICAS)];
                    let begin = record.now();
                    if !paused.load(Ordering::Relaxed)
                        && let Some(value) = member.confirm().await
                        && !paused.load(Ordering::Relaxed)
                    {
                        record.add(Kind::Read, begin, Some(record.now()), value);
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
        }
        let (members, falls) = (self.members.clone(), Arc::clone(&self.falls));
        self.clients.spawn(read_cached(members, falls));
    }

    fn one(&self) -> &Arc<Member> {
        &self.members[self.dice.below(REPLICAS)]
    }

    async fn hold(&self) {
        let time = 300 + u64::try_from(self.dice.below(3_500)).unwrap();
        tokio::time::sleep(Duration::from_millis(time)).await;
    }

    /// One fault, for a while, until it is mended.
    async fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::LeaderKilled | Fault::FollowerKilled => {
                let leader = self.etcd.leader().await;
                let killed = if fault == Fault::LeaderKilled { leader } else { (leader + 1) % 3 };
                self.etcd.kill(killed);
                self.hold().await;
                self.etcd.spawn(killed);
            }
            Fault::LeaderFrozen => {
                let leader = self.etcd.leader().await;
                self.etcd.freeze(leader, true);
                self.hold().await;
                self.etcd.freeze(leader, false);
            }
            Fault::QuorumLost => {
                let leader = self.etcd.leader().await;
                let killed = [leader, (leader + 1) % 3];
                killed.iter().for_each(|index| self.etcd.kill(*index));
                self.hold().await;
                killed.iter().for_each(|index| self.etcd.spawn(*index));
            }
            Fault::DataLost => {
                let leader = self.etcd.leader().await;
                self.etcd.replace((leader + self.dice.below(3)) % 3).await;
                self.hold().await;
            }
            Fault::ReplicaKilled => {
                self.one().kill();
                self.hold().await;
            }
            Fault::ReplicaDeaf => {
                let member = Arc::clone(self.one());
                member.deaf.store(true, Ordering::Relaxed);
                self.hold().await;
                member.kill();
            }
            Fault::PortsCut => self.cut(Way::Away).await,
            Fault::PortsHang => self.cut(Way::Hangs).await,
            Fault::OneWay => self.cut(Way::OneWay).await,
            Fault::NodeLags => {
                let lag = 1 + u64::try_from(self.dice.below(40)).unwrap();
                let member = Arc::clone(self.one());
                member.node.lag.store(lag, Ordering::Relaxed);
                self.hold().await;
                member.node.lag.store(0, Ordering::Relaxed);
            }
            Fault::NodeForks => {
                let tip = self.world.tip.load(Ordering::Relaxed);
                let member = Arc::clone(self.one());
                let at = tip.saturating_sub(u64::try_from(self.dice.below(6)).unwrap()).max(1);
                member.node.forked_at.store(at, Ordering::Relaxed);
                self.hold().await;
                member.node.forked_at.store(0, Ordering::Relaxed);
            }
            Fault::ForkThatNoNodeHas => {
                let number = self.world.tip.load(Ordering::Relaxed) + 3;
                self.publish(|found| (found.generation, number), Some(2)).await;
                self.hold().await;
            }
            Fault::Reset | Fault::ResetWhileOneIsOff => {
                if fault == Fault::ResetWhileOneIsOff {
                    self.one().kill();
                }
                let lower = |found: &SharedHead| {
                    (found.generation + 1, found.number.saturating_sub(3).max(1))
                };
                self.publish(lower, None).await;
                self.hold().await;
            }
            Fault::Restored | Fault::RestoredFromBeforeReset => {
                self.etcd.take_snapshot();
                self.settle("the snapshot").await;
                if fault == Fault::RestoredFromBeforeReset {
                    let lower = |found: &SharedHead| (found.generation + 1, found.number);
                    self.publish(lower, None).await;
                }
                self.hold().await;
                self.settle("what is lost").await;
                // Until here all is one history. What was acknowledged since the snapshot is lost.
                self.check().await;
                self.etcd.restore_snapshot();
                self.hold().await;
            }
        }
        self.start_members().await;
    }

    async fn cut(&self, way: Way) {
        let member = Arc::clone(self.one());
        member.cut(way);
        self.hold().await;
        member.cut(Way::Open);
    }

    /// Publishes past all replicas: a reset, or what should not be.
    async fn publish(&self, next: impl Fn(&SharedHead) -> Order, fork: Option<u64>) {
        until("a publication", RECOVERY, async || {
            let begin = self.record.now();
            let found = self.head.load().await.ok()?.published?;
            let (generation, number) = next(&found.head);
            let mut head = SharedHead::new(IDENTITY, generation, number, Source::Espresso);
            head.hash = Some(hash(fork.unwrap_or(0), number));
            head.previous = Some(Previous { revision: found.revision, hash: found.head.hash });
            self.record.add(Kind::Write, begin, None, (generation, number));
            let advanced = self.head.advance(Some(found.revision), &head).await;
            matches!(advanced, Ok(Advance::Done(_))).then_some(())
        })
        .await;
    }

    /// Everything is well again: all serve one head, which goes on.
    async fn settle(&self, after: &str) {
        let target = self.world.tip.load(Ordering::Relaxed) + 1;
        until(&format!("all to serve one head after {after}"), RECOVERY, async || {
            self.start_members().await;
            let all = self.members.iter().all(|member| {
                member
                    .report()
                    .is_some_and(|head| head.status == Status::Ok && head.number >= target)
            });
            all.then_some(())
        })
        .await;
        for member in &self.members {
            until("a confirmation", RECOVERY, async || member.confirm().await).await;
        }
    }

    /// Checks what was recorded, and begins anew.
    async fn check(&mut self) {
        self.paused.store(true, Ordering::Relaxed);
        self.members.iter().for_each(|member| member.kill());
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let operations = self.record.take();
        let checked = history::check_register(self.start, &operations);
        assert_eq!(checked, Ok(()));
        let chain = published(&self.etcd).await;
        let writes: Vec<_> =
            operations.iter().filter(|operation| operation.value > self.start).copied().collect();
        assert_eq!(history::check_chain(&chain, &writes), Ok(()));
        self.checked += operations.len();
        self.begin_anew().await;
    }

    /// Begins another history, with what etcd has now.
    async fn begin_anew(&mut self) {
        self.paused.store(true, Ordering::Relaxed);
        self.members.iter().for_each(|member| member.kill());
        // Longer than any question that is still on its way.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        self.record.take();
        self.start = until("the head", RECOVERY, async || {
            self.head.load().await.ok()?.published.map(|found| found.head.order())
        })
        .await;
        self.start_members().await;
        self.paused.store(false, Ordering::Relaxed);
    }
}

/// Every publication that etcd has kept, from the last one back by what each names before it.
async fn published(etcd: &Etcd) -> Vec<Publication> {
    let prefix = |text: &str| BASE64_STANDARD.encode(text);
    let range = json!({ "key": prefix("finality/"), "range_end": prefix("finality0") });
    let found = etcd.ask("kv/range", &range).await;
    let keys = found["kvs"].as_array().into_iter().flatten().map(|found| &found["key"]);
    let is_head =
        |key: &&Value| BASE64_STANDARD.decode(key.as_str().unwrap()).unwrap().ends_with(b"/head");
    let key = keys.into_iter().find(is_head).expect("a head is published");
    let mut chain = Vec::new();
    let mut revision = "0".to_owned();
    let mut version = None;
    loop {
        let found = etcd.ask("kv/range", &json!({ "key": key, "revision": revision })).await;
        let Some(found) = found["kvs"].get(0) else { break };
        let text = BASE64_STANDARD.decode(found["value"].as_str().unwrap()).unwrap();
        let head: Value = serde_json::from_slice(&text).unwrap();
        let previous = head["previous"]
            .as_object()
            .map(|previous| (previous["revision"].as_u64().unwrap(), previous["hash"].to_string()));
        version.get_or_insert(found["version"].as_str().unwrap().parse::<usize>().unwrap());
        chain.push(Publication {
            revision: found["mod_revision"].as_str().unwrap().parse().unwrap(),
            value: (head["generation"].as_u64().unwrap(), head["number"].as_u64().unwrap()),
            hash: head["hash"].to_string(),
            previous: previous.clone(),
        });
        let Some((before, _)) = previous else { break };
        revision = before.to_string();
    }
    assert_eq!(Some(chain.len()), version, "each write names the one before it");
    chain.reverse();
    chain
}

/// A client that moves between Envoys and is served from what they were told.
async fn read_cached(members: Vec<Arc<Member>>, falls: Arc<Mutex<Falls>>) {
    let dice = Dice(Mutex::new(9));
    let mut moving = Moving::default();
    loop {
        if let Some(order) = members[dice.below(REPLICAS)].usable() {
            moving.read(order, &mut falls.lock().unwrap());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    env::var(name).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn s21_chaos_ends_with_a_history_that_one_rising_head_explains() {
    let seed = setting("FINALITY_E2E_SEED").unwrap_or(1_u64);
    let minutes: Option<u64> = setting("FINALITY_E2E_MINUTES");
    println!("seed {seed}");
    let folder = process::folder();
    let quorum = [Quorum::One, Quorum::Of(2)][usize::from(seed % 2 == 0)];
    let mut chaos = Chaos::start(folder.path(), seed, quorum).await;
    chaos.start_clients();
    chaos.settle("the start").await;
    let mut faults = Faults::new(&FAULTS, minutes);
    while let Some(fault) = faults.next(&chaos.dice) {
        let lossy = matches!(fault, Fault::Restored | Fault::RestoredFromBeforeReset);
        chaos.fault(fault).await;
        chaos.settle(&format!("{fault:?}")).await;
        if lossy {
            // Between replicas nothing was promised meanwhile.
            chaos.begin_anew().await;
        }
    }
    chaos.check().await;
    for (index, member) in chaos.members.iter().enumerate() {
        let shown = member.shown.lock().unwrap().clone();
        assert_eq!(history::check_rising(&shown), Ok(()), "replica {index}");
    }
    chaos.falls.lock().unwrap().print();
    println!("seed {seed}: {} faults, {} operations explained", faults.drawn, chaos.checked);
}
