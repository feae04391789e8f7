//! The protocol under schedules of delays, lost answers, kills, restored engines and nodes that
//! reorganize: the head never falls, what is published is one branch, and it goes on afterwards.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use finality_core::head::HeadReport;
use tokio::{sync::broadcast, task::JoinHandle};

use super::*;
use crate::{
    head::PublishedHead,
    store::{
        conformance,
        engine::{Report, SharedHead, Watch},
        memory::MemoryStore,
    },
    telemetry::Metrics,
};

const IDENTITY: Identity = Identity { chain_id: 7, genesis_hash: B256::ZERO, namespace: 7 };
const LIMITS: Limits = Limits {
    quorum: Quorum::One,
    timeout: Duration::from_secs(5),
    max_age: Duration::from_secs(60),
};
/// How long a report counts.
const LEASE: Duration = Duration::from_secs(10);

/// The block of a fork at a number; fork 0 is what HotShot confirms.
fn hash(fork: u64, number: u64) -> B256 {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&fork.to_be_bytes());
    bytes[24..].copy_from_slice(&number.to_be_bytes());
    bytes.into()
}

fn block(fork: u64, number: u64) -> HeadBlock {
    HeadBlock { number, hash: Some(hash(fork, number)), l1_origin: None }
}

/// Numbers that look random and are not.
#[derive(Debug)]
struct Dice(AtomicU64);

impl Dice {
    fn below(&self, limit: u64) -> u64 {
        let drawn = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn one_in(&self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

#[derive(Debug, Clone)]
struct Contents {
    at: Moment,
    published: Option<Published>,
}

/// An engine in memory, with faults.
struct Memory {
    contents: Mutex<Contents>,
    /// Every publication, in order.
    history: Mutex<Vec<Published>>,
    news: broadcast::Sender<News>,
    reports: Mutex<BTreeMap<String, (Report, Instant)>>,
    /// How often the head was read, and the reports.
    loads: AtomicU64,
    counts: AtomicU64,
    dice: Arc<Dice>,
    /// Whether answers are delayed and lost.
    faulty: AtomicBool,
    down: AtomicBool,
    /// How long the answer to a reading travels, in milliseconds.
    slowness: AtomicU64,
}

impl Memory {
    fn new(dice: Arc<Dice>) -> Arc<Self> {
        Arc::new(Self {
            contents: Mutex::new(Contents {
                at: Moment { engine: 1, revision: 1 },
                published: None,
            }),
            history: Mutex::default(),
            news: broadcast::channel(1024).0,
            reports: Mutex::default(),
            loads: AtomicU64::new(0),
            counts: AtomicU64::new(0),
            dice,
            faulty: AtomicBool::new(false),
            down: AtomicBool::new(false),
            slowness: AtomicU64::new(0),
        })
    }

    fn reading(&self) -> Reading {
        let Contents { at, published } = self.contents.lock().clone();
        Reading { at, published }
    }

    fn write(&self, seen: Option<u64>, head: &SharedHead) -> Advance {
        let mut contents = self.contents.lock();
        let found = contents.published.as_ref().map(|published| published.revision);
        if found != seen {
            let Contents { at, published } = contents.clone();
            // The question may have been put twice.
            let is_ours = published.as_ref().is_some_and(|published| published.head == *head);
            let reading = Reading { at, published };
            return if is_ours { Advance::Done(reading) } else { Advance::Lost(reading) };
        }
        contents.at.revision += 1;
        let published = Published { revision: contents.at.revision, head: head.clone() };
        contents.published = Some(published.clone());
        self.history.lock().push(published);
        let Contents { at, published } = contents.clone();
        let reading = Reading { at, published };
        let _ = self.news.send(News::Head(Box::new(reading.clone())));
        Advance::Done(reading)
    }

    /// Some time passes, and perhaps nothing comes back.
    async fn travel(&self) -> Result<(), EngineError> {
        if self.down.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(900)).await;
            return Err(EngineError::Silent("down".into()));
        }
        if self.faulty.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(self.dice.below(30))).await;
            if self.dice.one_in(6) {
                return Err(EngineError::Silent("lost".into()));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Engine for Memory {
    async fn load(&self) -> Result<Reading, EngineError> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.travel().await?;
        let reading = self.reading();
        pass(self.slowness.load(Ordering::Relaxed)).await;
        self.travel().await?;
        Ok(reading)
    }

    async fn advance(&self, seen: Option<u64>, head: &SharedHead) -> Result<Advance, EngineError> {
        self.travel().await?;
        let outcome = self.write(seen, head);
        self.travel().await?;
        Ok(outcome)
    }

    async fn watch(&self, after: u64) -> Result<Box<dyn Watch>, EngineError> {
        self.travel().await?;
        let news = self.news.subscribe();
        let missed = Some(self.reading()).filter(|reading| {
            reading.published.as_ref().is_some_and(|published| published.revision > after)
        });
        let missed = missed.into_iter().map(|missed| News::Head(Box::new(missed))).collect();
        Ok(Box::new(Following { news, missed }))
    }

    async fn report(&self, report: &Report) -> Result<(), EngineError> {
        self.travel().await?;
        let told = (report.clone(), Instant::now());
        self.reports.lock().insert(report.replica.to_string(), told);
        let _ = self.news.send(News::Reports);
        self.travel().await
    }

    async fn reports(&self) -> Result<Vec<Report>, EngineError> {
        self.counts.fetch_add(1, Ordering::Relaxed);
        self.travel().await?;
        let mut reports = self.reports.lock().clone();
        reports.retain(|_, (_, told)| told.elapsed() < LEASE);
        self.travel().await?;
        Ok(reports.into_values().map(|(report, _)| report).collect())
    }

    async fn withdraw(&self, replica: StoreId) -> Result<(), EngineError> {
        self.travel().await?;
        self.reports.lock().remove(&replica.to_string());
        let _ = self.news.send(News::Reports);
        Ok(())
    }
}

struct Following {
    news: broadcast::Receiver<News>,
    missed: VecDeque<News>,
}

#[async_trait]
impl Watch for Following {
    async fn next(&mut self) -> Result<News, EngineError> {
        if let Some(missed) = self.missed.pop_front() {
            return Ok(missed);
        }
        self.news.recv().await.map_err(|error| EngineError::Silent(error.to_string()))
    }
}

/// A node that may leave its chain above a number.
#[derive(Debug, Default)]
struct FakeNode {
    latest: AtomicU64,
    /// Fork 1 from this number on; zero: on fork 0 throughout.
    forked_at: AtomicU64,
}

impl FakeNode {
    fn fork_at(&self, number: u64) -> u64 {
        let forked_at = self.forked_at.load(Ordering::Relaxed);
        u64::from(forked_at != 0 && number >= forked_at)
    }
}

#[async_trait]
impl Blocks for FakeNode {
    async fn hash_at(&self, number: u64) -> Result<Option<B256>, String> {
        let latest = self.latest.load(Ordering::Relaxed);
        Ok((number <= latest).then(|| hash(self.fork_at(number), number)))
    }
}

/// One replica with its files and its node, which outlive it.
struct Member {
    verified: MemoryStore,
    served: MemoryStore,
    node: Arc<FakeNode>,
    running: Option<Running>,
    /// The highest order that its clients have seen.
    seen: (u64, u64),
}

struct Running {
    keeper: HeadKeeper,
    head: PublishedHead,
    confirmations: Confirmations,
    task: JoinHandle<Result<(), Reset>>,
}

impl Member {
    fn new() -> Self {
        Self {
            verified: MemoryStore::default(),
            served: MemoryStore::default(),
            node: Arc::default(),
            running: None,
            seen: (0, 0),
        }
    }

    fn start(&mut self, engine: &Arc<Memory>) {
        self.start_with(engine, Quorum::One);
    }

    fn start_with(&mut self, engine: &Arc<Memory>, quorum: Quorum) {
        let limits = Limits { quorum, ..LIMITS };
        let (mut keeper, head) = HeadKeeper::new(self.verified.reopen(), Metrics::new());
        let engine = Arc::clone(engine);
        let connect = Box::new(move |_| Arc::clone(&engine) as Arc<dyn Engine>);
        let (replica, confirmations) =
            keeper.join(connect, self.served.reopen(), Arc::clone(&self.node) as _, limits);
        keeper.bind(IDENTITY).unwrap();
        let task = tokio::spawn(replica.run());
        self.running = Some(Running { keeper, head, confirmations, task });
    }

    fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.task.abort();
        }
    }

    fn report(&self) -> Option<Arc<HeadReport>> {
        self.running.as_ref()?.head.borrow().clone()
    }

    fn order(&self) -> Option<(u64, u64)> {
        self.report().map(|report| (report.generation, report.number))
    }

    /// What its clients see never falls.
    fn check(&mut self) {
        if let Some(order) = self.order() {
            assert!(order >= self.seen, "{order:?} after {:?}", self.seen);
            self.seen = order;
        }
    }

    async fn verify(&mut self, fork: u64, number: u64) {
        let Some(running) = &mut self.running else { return };
        let known = running.keeper.block().map_or(0, |block| block.number);
        if known >= number {
            return;
        }
        for number in known + 1..=number {
            running.keeper.walked(number, hash(fork, number));
        }
        self.node.latest.fetch_max(number, Ordering::Relaxed);
        running.keeper.confirm(block(fork, number), number, number, None).await.unwrap();
    }
}

/// Every publication names the one before it, and each is a block of one branch.
fn assert_one_branch(history: &[Published]) {
    for pair in history.windows(2) {
        let [before, after] = pair else { return };
        let previous = after.head.previous.unwrap();
        assert_eq!((previous.revision, previous.hash), (before.revision, before.head.hash));
        assert!(before.head.order() < after.head.order(), "{before:?} {after:?}");
    }
    for Published { head, .. } in history {
        assert_eq!(head.hash, Some(hash(0, head.number)), "{head:?}");
    }
}

async fn pass(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

/// One schedule of three replicas.
async fn schedule(seed: u64) {
    let dice = Arc::new(Dice(AtomicU64::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d))));
    let engine = Memory::new(Arc::clone(&dice));
    let mut members = [Member::new(), Member::new(), Member::new()];
    let quorum = [Quorum::One, Quorum::Of(2), Quorum::All][usize::try_from(seed % 3).unwrap()];
    members.iter_mut().for_each(|member| member.start_with(&engine, quorum));
    let mut snapshot = engine.contents.lock().clone();
    let restores = dice.one_in(3);
    let mut restored = false;
    let mut tip = 0;
    engine.faulty.store(true, Ordering::Relaxed);
    for _ in 0..40 {
        let chosen = usize::try_from(dice.below(3)).unwrap();
        let member = &mut members[chosen];
        match dice.below(12) {
            0 => member.kill(),
            1 if member.running.is_none() => member.start_with(&engine, quorum),
            2 => engine.down.store(dice.one_in(2), Ordering::Relaxed),
            3 => {
                let above = dice.below(tip + 1);
                let forked_at = if dice.one_in(2) { 0 } else { above.max(1) };
                member.node.forked_at.store(forked_at, Ordering::Relaxed);
            }
            4 => snapshot = engine.contents.lock().clone(),
            5 if restores && dice.one_in(2) => {
                let mut contents = engine.contents.lock();
                restored |= contents.published != snapshot.published;
                *contents = snapshot.clone();
                contents.at.engine += u64::from(dice.one_in(2));
            }
            6 if !restored => {
                // What is confirmed is what any replica had served before the question.
                let usable = |member: &&Member| {
                    member.report().is_some_and(|report| report.status != Status::CutOff)
                };
                let floor = members.iter().filter(usable).filter_map(Member::order).max();
                let Some(running) = &members[chosen].running else { continue };
                if let Some(report) = running.confirmations.confirm().await {
                    assert!(
                        Some((report.generation, report.number)) >= floor,
                        "{seed}: {report:?}"
                    );
                }
            }
            _ => {
                tip += 1 + dice.below(3);
                if member.node.fork_at(tip) == 0 || dice.one_in(2) {
                    member.verify(0, tip).await;
                }
            }
        }
        pass(dice.below(60)).await;
        members.iter_mut().for_each(Member::check);
    }
    // All is well again: every replica publishes what the furthest one has verified.
    engine.faulty.store(false, Ordering::Relaxed);
    engine.down.store(false, Ordering::Relaxed);
    for member in &mut members {
        member.node.forked_at.store(0, Ordering::Relaxed);
        member.node.latest.store(tip + 1, Ordering::Relaxed);
        if member.running.is_none() {
            member.start_with(&engine, quorum);
        }
    }
    let enough = if quorum == Quorum::One { 1 } else { 3 };
    for member in members.iter_mut().take(enough) {
        member.verify(0, tip + 1).await;
    }
    for member in &mut members {
        let running = member.running.as_mut().unwrap();
        let arrived = running.head.wait_for(|head| {
            head.as_ref().is_some_and(|head| head.number == tip + 1 && head.status == Status::Ok)
        });
        let arrived = tokio::time::timeout(Duration::from_secs(30), arrived).await;
        assert!(arrived.is_ok_and(|arrived| arrived.is_ok()), "{seed}: it goes on");
        assert!(running.confirmations.confirm().await.is_some(), "{seed}: it is confirmed");
        member.check();
        member.kill();
    }
    if !restored {
        assert_one_branch(&engine.history.lock());
    }
}

#[tokio::test(start_paused = true)]
async fn model_of_replicas_every_schedule_is_safe_and_goes_on() {
    for seed in 0..1_000 {
        schedule(seed).await;
    }
}

/// A cluster without faults, and its members.
#[tokio::test(start_paused = true)]
async fn the_engine_of_these_tests_is_one() {
    let engine = Memory::new(Arc::new(Dice(AtomicU64::new(0))));
    conformance::one_head_is_kept(&*engine).await;
    conformance::reports_live_as_long_as_their_replicas([&*engine; 2]).await;
}

async fn started(count: usize) -> (Arc<Memory>, Vec<Member>) {
    let engine = Memory::new(Arc::new(Dice(AtomicU64::new(1))));
    let mut members: Vec<_> = (0..count).map(|_| Member::new()).collect();
    members.iter_mut().for_each(|member| member.start(&engine));
    pass(10).await;
    (engine, members)
}

#[tokio::test(start_paused = true)]
async fn what_one_has_verified_all_serve_by_their_own_nodes() {
    let (_, mut members) = started(3).await;
    members[1].node.latest.store(9, Ordering::Relaxed);
    members[1].node.forked_at.store(4, Ordering::Relaxed);
    members[2].node.latest.store(4, Ordering::Relaxed);
    members[0].verify(0, 5).await;
    pass(100).await;
    let statuses: Vec<_> = members.iter().map(|member| member.report().unwrap().status).collect();
    assert_eq!(statuses, [Status::Ok, Status::Diverged, Status::NodeBehind]);
    assert!(members.iter().all(|member| member.order() == Some((0, 5))));
}

#[tokio::test(start_paused = true)]
async fn another_branch_is_published_only_when_ethereum_has_decided() {
    let (engine, mut members) = started(2).await;
    members[1].node.latest.store(8, Ordering::Relaxed);
    members[0].verify(1, 5).await;
    pass(100).await;
    // Verified against a node of the other branch: neither lower nor equal nor above.
    members[1].verify(0, 5).await;
    members[1].verify(0, 8).await;
    pass(5_000).await;
    assert_eq!(engine.reading().published.unwrap().head.hash, Some(hash(1, 5)));
    assert_eq!(members[1].report().unwrap().status, Status::Diverged);

    let keeper = &mut members[1].running.as_mut().unwrap().keeper;
    keeper.observe_finalized(block(0, 4));
    pass(5_000).await;
    assert_eq!(engine.reading().published.unwrap().head.number, 5, "finality is below it");
    let keeper = &mut members[1].running.as_mut().unwrap().keeper;
    keeper.observe_finalized(block(0, 5));
    pass(100).await;
    let numbers: Vec<_> = engine.history.lock().iter().map(|head| head.head.number).collect();
    assert_eq!(numbers, [5, 5, 8]);
    assert_eq!(members[0].report().unwrap().hash, Some(hash(0, 8).to_string()));
}

#[tokio::test(start_paused = true)]
async fn a_silent_engine_cuts_off_and_a_start_serves_nothing_before_its_first_answer() {
    let (engine, mut members) = started(1).await;
    members[0].verify(0, 5).await;
    pass(100).await;
    engine.down.store(true, Ordering::Relaxed);
    members[0].verify(0, 6).await;
    pass(30_000).await;
    let report = members[0].report().unwrap();
    assert_eq!((report.number, report.status), (5, Status::Ok));
    let running = members[0].running.as_ref().unwrap();
    let cluster = running.keeper.cluster().unwrap();
    assert_eq!((cluster.state, cluster.error.is_some()), (ClusterState::Silent, true));
    assert!(running.confirmations.confirm().await.is_none());
    pass(40_000).await;
    assert_eq!(members[0].report().unwrap().status, Status::CutOff);

    members[0].kill();
    members[0].start(&engine);
    pass(1_000).await;
    let report = members[0].report().unwrap();
    assert_eq!((report.number, report.status), (5, Status::CutOff));
    engine.down.store(false, Ordering::Relaxed);
    pass(3_000).await;
    let report = members[0].report().unwrap();
    assert_eq!((report.number, report.status), (6, Status::Ok), "what was verified meanwhile");
}

#[tokio::test(start_paused = true)]
async fn a_restored_engine_confirms_nothing_until_the_head_is_written_back() {
    let (engine, mut members) = started(2).await;
    let before = engine.contents.lock().clone();
    members[0].verify(0, 5).await;
    pass(100).await;
    // Neither node has the block now.
    members.iter().for_each(|member| member.node.latest.store(3, Ordering::Relaxed));
    *engine.contents.lock() = Contents { at: Moment { engine: 2, revision: 9 }, ..before };
    pass(3_000).await;
    for member in &members {
        let running = member.running.as_ref().unwrap();
        assert_eq!(running.keeper.cluster().unwrap().state, ClusterState::Regressed);
        assert!(running.confirmations.confirm().await.is_none());
        assert_eq!(member.order(), Some((0, 5)), "its own file");
    }
    members[1].node.latest.store(5, Ordering::Relaxed);
    pass(3_000).await;
    assert_eq!(engine.reading().published.unwrap().head.number, 5);
    let running = members[0].running.as_ref().unwrap();
    assert_eq!(running.keeper.cluster().unwrap().state, ClusterState::Connected);
    assert!(running.confirmations.confirm().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_gone_is_lost_at_any_revision_and_an_answer_that_is_late_loses_none() {
    let (engine, mut members) = started(1).await;
    members[0].verify(0, 5).await;
    pass(100).await;
    let late = engine.reading();
    members[0].verify(0, 6).await;
    pass(100).await;
    // The node does not have it any more, so that nothing is written back.
    members[0].node.latest.store(3, Ordering::Relaxed);
    engine.news.send(News::Head(Box::new(late))).unwrap();
    pass(10).await;
    assert_eq!(state_of(&members[0]), ClusterState::Connected);

    let at = Moment { engine: 1, revision: 50 };
    *engine.contents.lock() = Contents { at, published: None };
    pass(3_000).await;
    assert_eq!(state_of(&members[0]), ClusterState::Regressed);
    assert_eq!(members[0].order(), Some((0, 6)));
}

#[tokio::test(start_paused = true)]
async fn the_same_head_in_another_engine_is_of_another_store_and_no_newer() {
    let (engine, mut members) = started(1).await;
    members[0].verify(0, 5).await;
    pass(100).await;
    let shown = |member: &Member| {
        let updated_at = member.running.as_ref().unwrap().keeper.updated_at();
        (member.report().unwrap().store.clone(), updated_at)
    };
    let before = shown(&members[0]);
    engine.contents.lock().at.engine = 2;
    pass(3_000).await;
    let after = shown(&members[0]);
    assert_ne!(after.0, before.0);
    assert_eq!(after.1, before.1);
    let on_disk = members[0].served.on_disk().and_then(|record| record.moment);
    assert_eq!(on_disk.map(|moment| moment.engine), Some(2));
    members[0].verify(0, 6).await;
    pass(100).await;
    assert_ne!(shown(&members[0]).1, before.1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_head_is_written_back_onto_its_own_branch_or_ethereum_goes_before_it() {
    let (engine, mut members) = started(1).await;
    members[0].verify(0, 5).await;
    pass(100).await;
    let mut other = SharedHead::new(IDENTITY, 0, 3, Source::Espresso);
    other.hash = Some(hash(1, 3));
    let published = Some(Published { revision: 9, head: other });
    *engine.contents.lock() = Contents { at: Moment { engine: 2, revision: 9 }, published };
    pass(3_000).await;
    assert_eq!(published_hash(&engine), Some(hash(1, 3)), "another branch");
    assert_eq!(state_of(&members[0]), ClusterState::Regressed);
    members[0].node.forked_at.store(4, Ordering::Relaxed);
    let keeper = &mut members[0].running.as_mut().unwrap().keeper;
    keeper.observe_finalized(block(1, 6));
    pass(3_000).await;
    assert_eq!(published_hash(&engine), Some(hash(1, 6)));
    assert_eq!(state_of(&members[0]), ClusterState::Connected);
}

#[tokio::test(start_paused = true)]
async fn a_restored_engine_of_before_a_reset_gets_the_lowered_head_back() {
    let (engine, mut members) = started(1).await;
    let write = |generation, number| {
        let revision = engine.reading().published.map(|published| published.revision);
        let mut head = SharedHead::new(IDENTITY, generation, number, Source::Espresso);
        head.hash = Some(hash(0, number));
        assert!(matches!(engine.write(revision, &head), Advance::Done(_)));
    };
    members[0].verify(0, 5).await;
    pass(100).await;
    write(0, 9);
    pass(100).await;
    let before = engine.contents.lock().clone();
    write(1, 3);
    members[0].running.take().unwrap().task.await.unwrap().unwrap_err();
    members[0].start(&engine);
    pass(3_000).await;
    *engine.contents.lock() = Contents { at: Moment { engine: 2, revision: 50 }, ..before };
    pass(3_000).await;
    assert_eq!(engine.reading().published.unwrap().head.generation, 1);
    assert_eq!(state_of(&members[0]), ClusterState::Connected);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_was_lowered_on_purpose_ends_those_that_run() {
    let (engine, mut members) = started(2).await;
    members[0].verify(0, 5).await;
    pass(100).await;
    let revision = engine.reading().published.map(|published| published.revision);
    let lowered = SharedHead::new(IDENTITY, 1, 3, Source::Espresso);
    assert!(matches!(engine.write(revision, &lowered), Advance::Done(_)));
    for mut member in members {
        let ended = member.running.take().unwrap().task.await.unwrap();
        assert_eq!(ended, Err(Reset { generation: 1 }));
        // The next start needs no engine to know it.
        assert_eq!(member.served.on_disk().map(|record| record.order()), Some((1, 3)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lowered_head_without_a_hash_gets_it_from_who_has_verified_its_number() {
    let (engine, mut members) = started(1).await;
    members[0].verify(0, 5).await;
    pass(100).await;
    let revision = engine.reading().published.map(|published| published.revision);
    engine.write(revision, &SharedHead::new(IDENTITY, 1, 5, Source::Espresso));
    members[0].running.take().unwrap().task.await.unwrap().unwrap_err();
    members[0].start(&engine);
    pass(3_000).await;
    assert_eq!(published_hash(&engine), Some(hash(0, 5)));
}

#[tokio::test(start_paused = true)]
async fn those_who_ask_share_readings_that_are_spaced_and_nobody_causes_none() {
    let (engine, mut members) = started(1).await;
    members[0].verify(0, 5).await;
    pass(100).await;
    let Running { keeper, head: _, confirmations, task } = members[0].running.take().unwrap();
    let loads = || engine.loads.load(Ordering::Relaxed);
    let (before, started) = (loads(), Instant::now());
    for _ in 0..10 {
        let all = futures::future::join_all((0..100).map(|_| confirmations.confirm())).await;
        assert!(all.iter().all(Option::is_some));
    }
    assert_eq!(loads() - before, 10);
    assert!(started.elapsed() >= 9 * Duration::from_millis(2));

    drop(confirmations);
    let before = loads();
    pass(10_000).await;
    assert!(loads() - before <= 11, "{}", loads() - before);
    assert!(engine.reports.lock().is_empty(), "nobody counts them");
    drop(keeper);
    task.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_reading_that_is_under_way_answers_nobody_who_asks_later() {
    let (engine, mut members) = started(1).await;
    members[0].verify(0, 5).await;
    pass(100).await;
    let confirmations = &members[0].running.as_ref().unwrap().confirmations;
    engine.slowness.store(50, Ordering::Relaxed);
    let before = engine.loads.load(Ordering::Relaxed);
    let later = async {
        pass(20).await;
        confirmations.confirm().await
    };
    let (first, later) = tokio::join!(confirmations.confirm(), later);
    assert!(first.is_some() && later.is_some());
    assert_eq!(engine.loads.load(Ordering::Relaxed) - before, 2);
}

#[tokio::test(start_paused = true)]
async fn a_file_above_the_published_head_is_written_once() {
    let engine = Memory::new(Arc::new(Dice(AtomicU64::new(1))));
    let mut member = Member::new();
    let (mut alone, _) = HeadKeeper::new(member.verified.clone(), Metrics::new());
    alone.bind(IDENTITY).unwrap();
    alone.confirm(block(0, 7), 7, 7, None).await.unwrap();
    let mut lower = SharedHead::new(IDENTITY, 0, 4, Source::Espresso);
    lower.hash = Some(hash(0, 4));
    engine.write(None, &lower);
    member.node.latest.store(4, Ordering::Relaxed);
    member.start(&engine);
    pass(5_000).await;
    assert_eq!(state_of(&member), ClusterState::Connected, "nothing is lost");
    member.node.latest.store(7, Ordering::Relaxed);
    pass(5_000).await;
    assert_eq!(engine.history.lock().len(), 2);
    assert_eq!(engine.reading().published.unwrap().head.hash, Some(hash(0, 7)));
    assert_eq!(member.order(), Some((0, 7)));
}

#[tokio::test(start_paused = true)]
async fn what_was_never_published_is_no_head_after_a_restart() {
    let engine = Memory::new(Arc::new(Dice(AtomicU64::new(1))));
    engine.down.store(true, Ordering::Relaxed);
    let mut members = [Member::new(), Member::new()];
    members[0].start(&engine);
    members[0].verify(0, 7).await;
    pass(100).await;
    assert!(members[0].report().is_none());
    members[0].kill();
    // Now another one has published, on a chain that is not this replica's.
    engine.down.store(false, Ordering::Relaxed);
    let mut other = SharedHead::new(IDENTITY, 0, 5, Source::Espresso);
    other.hash = Some(hash(1, 5));
    engine.write(None, &other);
    members[0].start(&engine);
    pass(5_000).await;
    assert_eq!(members[0].report().unwrap().status, Status::CutOff);
    let running = members[0].running.as_ref().unwrap();
    assert!(running.confirmations.confirm().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_verified_since_a_start_needs_no_word_of_the_node() {
    let (engine, mut members) = started(1).await;
    members[0].verify(0, 5).await;
    pass(100).await;
    members[0].kill();
    members[0].start(&engine);
    pass(100).await;
    members[0].node.latest.store(0, Ordering::Relaxed);
    let keeper = &mut members[0].running.as_mut().unwrap().keeper;
    keeper.walked(6, hash(0, 6));
    keeper.confirm(block(0, 6), 6, 6, None).await.unwrap();
    pass(100).await;
    let report = members[0].report().unwrap();
    assert_eq!((report.number, report.status), (6, Status::Ok));
}

#[tokio::test(start_paused = true)]
async fn ethereum_s_word_goes_before_what_it_contradicts() {
    let (engine, mut members) = started(1).await;
    members[0].verify(0, 3).await;
    pass(100).await;
    engine.down.store(true, Ordering::Relaxed);
    members[0].verify(0, 8).await;
    let keeper = &mut members[0].running.as_mut().unwrap().keeper;
    keeper.observe_finalized(block(1, 5));
    engine.down.store(false, Ordering::Relaxed);
    pass(5_000).await;
    let last = engine.reading().published.unwrap().head;
    assert_eq!((last.hash, last.source), (Some(hash(1, 5)), Source::Ethereum));
}

#[tokio::test(start_paused = true)]
async fn one_that_may_publish_nothing_still_knows_that_the_engine_answers() {
    let (engine, mut members) = started(1).await;
    let mut other = SharedHead::new(IDENTITY, 0, 5, Source::Espresso);
    other.hash = Some(hash(1, 5));
    engine.write(None, &other);
    // More news of its own than there are ticks.
    for number in 6..500 {
        members[0].verify(0, number).await;
        pass(200).await;
    }
    let running = members[0].running.as_ref().unwrap();
    assert_eq!(running.keeper.cluster().unwrap().state, ClusterState::Connected);
    assert_eq!(members[0].order(), Some((0, 5)));
}

/// Members that publish what a quorum has verified.
async fn counting(count: usize, quorum: Quorum) -> (Arc<Memory>, Vec<Member>) {
    let engine = Memory::new(Arc::new(Dice(AtomicU64::new(1))));
    let mut members: Vec<_> = (0..count).map(|_| Member::new()).collect();
    members.iter_mut().for_each(|member| member.start_with(&engine, quorum));
    pass(10).await;
    (engine, members)
}

fn published(engine: &Memory) -> Option<u64> {
    engine.reading().published.map(|published| published.head.number)
}

fn published_hash(engine: &Memory) -> Option<B256> {
    engine.reading().published.and_then(|published| published.head.hash)
}

fn state_of(member: &Member) -> ClusterState {
    member.running.as_ref().unwrap().keeper.cluster().unwrap().state
}

#[tokio::test(start_paused = true)]
async fn a_quorum_publishes_what_as_many_have_verified() {
    let (engine, mut members) = counting(3, Quorum::Of(2)).await;
    members[0].verify(0, 9).await;
    pass(3_000).await;
    assert_eq!(published(&engine), None, "nobody else has it");
    assert_eq!(state_of(&members[0]), ClusterState::QuorumShort);
    members[1].verify(0, 5).await;
    pass(3_000).await;
    assert_eq!(published(&engine), Some(5));
    members[2].verify(0, 7).await;
    pass(3_000).await;
    assert_eq!(published(&engine), Some(7));
    assert_eq!(engine.reading().published.unwrap().head.hash, Some(hash(0, 7)));
    assert!(members.iter().all(|member| state_of(member) == ClusterState::Connected));
    let cluster = members[0].running.as_ref().unwrap().keeper.cluster().unwrap();
    let behind: Vec<_> = cluster.replicas.iter().map(|replica| replica.behind).collect();
    assert_eq!(behind.iter().sum::<u64>(), 6, "{behind:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_only_behind_is_not_short_of_others() {
    let (engine, mut members) = counting(3, Quorum::Of(3)).await;
    for (member, number) in members.iter_mut().zip([9, 5, 3]) {
        member.verify(0, number).await;
    }
    pass(3_000).await;
    assert_eq!(published(&engine), Some(3));
    let states: Vec<_> = members.iter().map(state_of).collect();
    assert_eq!(states, [ClusterState::Connected; 3]);
}

#[tokio::test(start_paused = true)]
async fn above_the_published_head_only_reports_of_the_own_branch_count() {
    let (engine, mut members) = counting(2, Quorum::Of(2)).await;
    for member in &mut members {
        member.verify(0, 4).await;
    }
    pass(3_000).await;
    members[0].verify(0, 6).await;
    members[1].verify(1, 6).await;
    pass(3_000).await;
    assert_eq!(published(&engine), Some(4));
}

#[tokio::test(start_paused = true)]
async fn however_often_reports_change_they_are_read_every_20_ms() {
    let (engine, mut members) = counting(1, Quorum::Of(2)).await;
    members[0].verify(0, 9).await;
    pass(1_000).await;
    let before = engine.counts.load(Ordering::Relaxed);
    for _ in 0..100 {
        let _ = engine.news.send(News::Reports);
    }
    pass(200).await;
    let counts = engine.counts.load(Ordering::Relaxed) - before;
    assert!((5..=12).contains(&counts), "{counts}");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_left_alone_is_short_of_others_before_there_is_anything_to_publish() {
    let (engine, mut members) = counting(2, Quorum::Of(2)).await;
    for member in &mut members {
        member.verify(0, 4).await;
    }
    pass(3_000).await;
    assert_eq!(published(&engine), Some(4));
    members[1].kill();
    pass(13_000).await;
    assert_eq!(state_of(&members[0]), ClusterState::QuorumShort);
}

#[tokio::test(start_paused = true)]
async fn all_wait_for_the_slowest_that_lives() {
    let (engine, mut members) = counting(3, Quorum::All).await;
    for (member, number) in members.iter_mut().zip([3, 9, 6]) {
        member.verify(0, 3).await;
        pass(1_000).await;
        member.verify(0, number).await;
    }
    pass(3_000).await;
    assert_eq!(published(&engine), Some(3));
    // A killed one counts until its lease ends.
    members[0].kill();
    pass(5_000).await;
    assert_eq!(published(&engine), Some(3));
    pass(8_000).await;
    assert_eq!(published(&engine), Some(6));
    // One that ends takes back what it has told.
    drop(members[2].running.take().unwrap().keeper);
    pass(500).await;
    assert_eq!(published(&engine), Some(9));
    members[0].start_with(&engine, Quorum::All);
    members[0].verify(0, 12).await;
    pass(3_000).await;
    assert_eq!(published(&engine), Some(9), "it lives again, and another one is slower");
    members[1].verify(0, 12).await;
    pass(3_000).await;
    assert_eq!(published(&engine), Some(12));
}

#[tokio::test(start_paused = true)]
async fn reports_of_another_branch_do_not_count_and_ethereum_decides() {
    let (engine, mut members) = counting(2, Quorum::Of(2)).await;
    members[0].verify(0, 4).await;
    members[1].verify(1, 5).await;
    pass(3_000).await;
    assert_eq!(published(&engine), None);
    assert_eq!(state_of(&members[1]), ClusterState::QuorumShort);
    // Published by an earlier version of the rule: no node has it.
    let mut fork = SharedHead::new(IDENTITY, 0, 3, Source::Espresso);
    fork.hash = Some(hash(2, 3));
    engine.write(None, &fork);
    pass(3_000).await;
    assert_eq!(published(&engine), Some(3));
    let keeper = &mut members[0].running.as_mut().unwrap().keeper;
    keeper.observe_finalized(block(0, 4));
    pass(3_000).await;
    assert_eq!(engine.reading().published.unwrap().head.hash, Some(hash(0, 4)));
}

#[tokio::test(start_paused = true)]
async fn finality_above_the_published_head_needs_a_quorum_unless_it_contradicts_that() {
    let finalize = async |member: &mut Member, number: u64| {
        member.node.latest.store(number, Ordering::Relaxed);
        member.running.as_mut().unwrap().keeper.observe_finalized(block(0, number));
        pass(3_000).await;
    };
    let (engine, mut members) = started(1).await;
    members[0].verify(0, 4).await;
    finalize(&mut members[0], 6).await;
    assert_eq!(published(&engine), Some(6), "one is enough");

    let (engine, mut members) = counting(2, Quorum::Of(2)).await;
    for member in &mut members {
        member.verify(0, 4).await;
    }
    pass(3_000).await;
    finalize(&mut members[0], 6).await;
    assert_eq!(published(&engine), Some(4));
    // The published block is not on the chain that is final.
    let revision = engine.reading().published.map(|published| published.revision);
    let mut fork = SharedHead::new(IDENTITY, 0, 5, Source::Espresso);
    fork.hash = Some(hash(2, 5));
    engine.write(revision, &fork);
    pass(3_000).await;
    assert_eq!(published_hash(&engine), Some(hash(0, 6)));
}

#[tokio::test(start_paused = true)]
async fn a_head_is_usable_once_it_is_verified_here_and_not_by_what_was_stored() {
    let (engine, mut members) = started(2).await;
    members[1].node.latest.store(3, Ordering::Relaxed);
    members[0].verify(0, 5).await;
    pass(100).await;
    members[1].verify(0, 4).await;
    pass(100).await;
    assert_eq!(members[1].report().unwrap().status, Status::NodeBehind);
    members[1].verify(0, 5).await;
    pass(100).await;
    assert_eq!(members[1].report().unwrap().status, Status::Ok, "without waiting for a round");

    // It has verified more than it has served, and while it is off its node leaves that block.
    engine.down.store(true, Ordering::Relaxed);
    members[1].verify(0, 7).await;
    members[1].kill();
    engine.down.store(false, Ordering::Relaxed);
    members[0].verify(0, 7).await;
    members[1].node.forked_at.store(6, Ordering::Relaxed);
    pass(3_000).await;
    members[1].start(&engine);
    pass(100).await;
    let report = members[1].report().unwrap();
    assert_eq!((report.number, report.status), (7, Status::Diverged));
}

/// Envoys order generations within one store: one that asks before the engine has answered must
/// not take the head for that of another.
#[tokio::test(start_paused = true)]
async fn a_start_names_the_store_of_the_head_that_it_has_served() {
    let (engine, mut members) = started(1).await;
    members[0].verify(0, 5).await;
    pass(100).await;
    let store = members[0].report().unwrap().store.clone();
    assert!(store.is_some());
    members[0].kill();
    engine.down.store(true, Ordering::Relaxed);
    members[0].start(&engine);
    let report = members[0].report().unwrap();
    assert_eq!((report.status, &report.store), (Status::CutOff, &store));
}

/// As after an unclean stop: it showed the blocks once, and its latest one is below them now.
#[tokio::test(start_paused = true)]
async fn a_node_that_fell_behind_is_asked_again_for_what_it_has_shown() {
    let (_, mut members) = counting(2, Quorum::Of(2)).await;
    members[1].verify(0, 9).await;
    members[0].verify(0, 5).await;
    pass(1_000).await;
    assert_eq!(members[1].report().unwrap().status, Status::Ok);
    members[1].node.latest.store(3, Ordering::Relaxed);
    let keeper = &mut members[1].running.as_mut().unwrap().keeper;
    keeper.observe_status(Some(block(0, 5)), Status::NodeBehind);
    keeper.observe_finalized(block(0, 2));
    pass(100).await;
    assert_eq!(members[1].report().unwrap().status, Status::NodeBehind, "of finality below it");
    members[0].verify(0, 6).await;
    pass(100).await;
    let report = members[1].report().unwrap();
    assert_eq!((report.number, report.status), (6, Status::NodeBehind));
}

#[tokio::test(start_paused = true)]
async fn what_is_unproven_here_is_not_published() {
    let (engine, mut members) = started(1).await;
    engine.down.store(true, Ordering::Relaxed);
    members[0].verify(0, 5).await;
    let keeper = &mut members[0].running.as_mut().unwrap().keeper;
    keeper.set_unproven(true).await.unwrap();
    engine.down.store(false, Ordering::Relaxed);
    pass(3_000).await;
    assert_eq!(published(&engine), None);
    let keeper = &mut members[0].running.as_mut().unwrap().keeper;
    keeper.set_unproven(false).await.unwrap();
    pass(3_000).await;
    assert_eq!(published(&engine), Some(5));
}
