//! One of several replicas that publish one head.
//!
//! What this replica has verified is proposed to the engine, and what the engine shows becomes the
//! head of every replica, once its own file has it. A replica proposes only what descends from the
//! published block by its own verification, except that Ethereum's finality decides.

mod candidate;
mod confirm;
mod quorum;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use alloy_primitives::B256;
use async_trait::async_trait;
use finality_core::head::{Source, Status};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use thiserror::Error;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{HeadBlock, HeadKeeper, verified::Verified, view::View};
use crate::store::{
    Identity, Record, Store, StoreError, StoreId,
    engine::{Advance, Engine, EngineError, Moment, News, Published, Quorum, Reading},
};
use confirm::Question;
use quorum::Heard;

pub use confirm::Confirmations;
pub use quorum::ReplicaReport;

/// How often the engine is asked without a reason, and the age is looked at.
const TICK: Duration = Duration::from_secs(1);
/// The pause after a question that was not answered.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the node is asked about a head before it is shown as unchecked.
const NODE_PATIENCE: Duration = Duration::from_millis(300);
/// Races lost in a row before the other replicas' heads are looked at again.
const RACES: usize = 8;

/// The node of this replica.
#[async_trait]
pub trait Blocks: Send + Sync + 'static {
    /// The hash of its block at a number, none above its latest one.
    ///
    /// # Errors
    /// It did not answer.
    async fn hash_at(&self, number: u64) -> Result<Option<B256>, String>;
}

/// Makes the engine for a chain.
pub type Connect = Box<dyn Fn(Identity) -> Arc<dyn Engine> + Send + Sync>;

/// When something is published, and how long the engine may be silent.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many replicas must have verified a block.
    pub quorum: Quorum,
    /// Before this replica says so.
    pub timeout: Duration,
    /// Before its head is not used any more.
    pub max_age: Duration,
}

/// The head was lowered on purpose: it is taken over at the next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the published head was lowered on purpose, to generation {generation}: start again to take it over; an Envoy whose filter is of an earlier version needs a new cache_key"
)]
pub struct Reset {
    /// The generation of the published head.
    pub generation: u64,
}

/// What a replica knows of the published head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClusterState {
    /// The engine has not answered since the start.
    Starting,
    /// It answers.
    Connected,
    /// It has not answered for `cluster_timeout`.
    Silent,
    /// It has not answered for `cluster_max_age`: the head is not used any more.
    CutOff,
    /// It has lost a head that was published.
    Regressed,
    /// Fewer replicas live than `publish_quorum`, or too many have verified another branch.
    QuorumShort,
}

/// What `/v1/status` says of the other replicas' engine.
#[derive(Debug, Clone, Serialize)]
pub struct ClusterReport {
    /// Whether it answers.
    pub state: ClusterState,
    /// Seconds since its last answer.
    pub age: Option<f64>,
    /// The published block, as last seen.
    pub published: Option<u64>,
    /// The newest block that this replica has verified.
    pub verified: Option<u64>,
    /// The replicas that live, where they count each other (`publish_quorum`).
    pub replicas: Vec<ReplicaReport>,
    /// Why the last question was not answered.
    pub error: Option<String>,
}

/// What is known of the engine.
#[derive(Debug, Default)]
struct State {
    /// The highest head that this replica has served, which its file has.
    served: Option<Served>,
    /// The newest moment that was seen.
    seen: Option<Moment>,
    published: Option<Published>,
    heard: Heard,
    /// Whether the engine has lost what this replica has served.
    regressed: bool,
}

/// A head that was served.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Served {
    generation: u64,
    block: HeadBlock,
    source: Source,
    /// When the engine had it; none if it was served before there was an engine.
    at: Option<Moment>,
}

impl Served {
    const fn order(&self) -> (u64, u64) {
        (self.generation, self.block.number)
    }

    fn of(record: &Record) -> Self {
        let Record { generation, number, hash, l1_origin, source, moment, .. } = *record;
        Self { generation, block: HeadBlock { number, hash, l1_origin }, source, at: moment }
    }

    fn of_published(published: &Published, at: Moment) -> Self {
        let head = &published.head;
        let (number, hash, l1_origin) = (head.number, head.hash, head.l1_origin);
        Self {
            generation: head.generation,
            block: HeadBlock { number, hash, l1_origin },
            source: head.source,
            at: Some(at),
        }
    }
}

/// How it went, for people.
#[derive(Debug, Default)]
struct Course {
    answered: Option<Instant>,
    regressed: bool,
    is_short: bool,
    replicas: Vec<ReplicaReport>,
    error: Option<String>,
    published: Option<u64>,
}

/// The task that publishes with the other replicas.
pub struct Replica {
    shared: Arc<Shared>,
    connect: Connect,
    questions: mpsc::Receiver<Question>,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica").finish_non_exhaustive()
    }
}

/// What the task shares with those who ask.
pub(super) struct Shared {
    view: Arc<View>,
    verified: watch::Receiver<Verified>,
    /// Keeps the highest head that was served.
    store: Arc<Mutex<dyn Store>>,
    blocks: Arc<dyn Blocks>,
    limits: Limits,
    quorum: Quorum,
    /// By which the others know this replica.
    id: StoreId,
    state: tokio::sync::Mutex<State>,
    course: Mutex<Course>,
}

impl HeadKeeper {
    /// Publishes with other replicas from now on: what is verified is proposed to an engine, and
    /// what it shows is the head. `store` keeps what was served.
    pub fn join(
        &mut self,
        connect: Connect,
        store: impl Store + 'static,
        blocks: Arc<dyn Blocks>,
        limits: Limits,
    ) -> (Replica, Confirmations) {
        let path = self.path.clone();
        let (identity, block) = (self.identity, self.block);
        let (proposals, verified) =
            watch::channel(Verified { identity, block, finalized: None, path });
        self.proposals = Some(proposals);
        let generation = self.generation;
        // What was served before there was an engine was what was verified.
        let alone = block.map(|(block, source)| Served { generation, block, source, at: None });
        let served = store.record().map(Served::of).or(alone);
        self.view.change(|shown| {
            shown.block = served.as_ref().map(|served| (served.block, served.source));
            shown.generation = served.as_ref().map_or(0, |served| served.generation);
            let at = served.as_ref().and_then(|served| served.at);
            shown.store = at.map(Moment::store);
            if served.is_some() {
                shown.status = Status::NodeUnchecked;
            }
            shown.cut_off = true;
        });
        let seen = served.as_ref().and_then(|served| served.at);
        let state = State { served, seen, ..State::default() };
        let shared = Arc::new(Shared {
            view: Arc::clone(&self.view),
            verified,
            store: Arc::new(Mutex::new(store)),
            blocks,
            limits,
            quorum: limits.quorum,
            id: self.store.lock().id(),
            state: tokio::sync::Mutex::new(state),
            course: Mutex::new(Course::default()),
        });
        self.cluster = Some(Arc::clone(&shared));
        let (confirmations, questions) = Confirmations::new();
        (Replica { shared, connect, questions }, confirmations)
    }

    /// What is known of the other replicas' engine, if there is one.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterReport> {
        self.cluster.as_ref().map(|shared| shared.report())
    }
}

impl Replica {
    /// Publishes and follows until the head is lowered on purpose, or nobody verifies any more.
    ///
    /// # Errors
    /// [`Reset`].
    pub async fn run(self) -> Result<(), Reset> {
        let Self { shared, connect, questions } = self;
        let mut verified = shared.verified.clone();
        let known = verified.wait_for(|verified| verified.identity.is_some()).await;
        let Some(identity) = known.ok().and_then(|verified| verified.identity) else {
            return Ok(());
        };
        let engine = connect(identity);
        tokio::select! {
            ended = shared.follow(&*engine) => ended,
            ended = shared.answer(&*engine, questions) => ended,
            ended = shared.watch_age() => ended,
        }
    }
}

impl Shared {
    fn report(&self) -> ClusterReport {
        let course = self.course.lock();
        let age = course.answered.map(|answered| answered.elapsed());
        let state = match age {
            None => ClusterState::Starting,
            Some(age) if age >= self.limits.max_age => ClusterState::CutOff,
            Some(age) if age >= self.limits.timeout => ClusterState::Silent,
            Some(_) if course.regressed => ClusterState::Regressed,
            Some(_) if course.is_short => ClusterState::QuorumShort,
            Some(_) => ClusterState::Connected,
        };
        let verified = self.verified.borrow().block.map(|(block, _)| block.number);
        ClusterReport {
            state,
            age: age.map(|age| age.as_secs_f64()),
            published: course.published,
            verified,
            replicas: course.replicas.clone(),
            error: course.error.clone(),
        }
    }

    async fn watch_age(&self) -> Result<(), Reset> {
        loop {
            tokio::time::sleep(TICK).await;
            if self.report().state == ClusterState::CutOff && !self.view.shown().cut_off {
                tracing::error!("the engine is silent: the head is not used any more (cut_off)");
                self.view.change(|shown| shown.cut_off = true);
            }
        }
    }

    /// Publishes and follows what is published, whatever happens to the engine.
    async fn follow(&self, engine: &dyn Engine) -> Result<(), Reset> {
        let mut verified = self.verified.clone();
        loop {
            match self.follow_once(engine, &mut verified).await {
                Ok(Next::Again) => {}
                Ok(Next::Ended) => {
                    if let Err(error) = engine.withdraw(self.id).await {
                        self.note(&error);
                    }
                    return Ok(());
                }
                Err(Stop::Reset(reset)) => return Err(reset),
                Err(Stop::Engine(error)) => {
                    self.note(&error);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn follow_once(
        &self,
        engine: &dyn Engine,
        verified: &mut watch::Receiver<Verified>,
    ) -> Result<Next, Stop> {
        // A write without an answer may have happened: reading comes first.
        let reading = self.load(engine).await?;
        let mut told = reading.at.revision;
        self.tell(engine).await?;
        let mut news = engine.watch(told).await?;
        // Not anew for each event: however often there are some, the engine is asked.
        let mut ticks = tokio::time::interval(TICK);
        loop {
            self.publish(engine).await?;
            tokio::select! {
                news = news.next() => {
                    if let News::Head(reading) = news? {
                        told = told.max(reading.at.revision);
                        self.observe(&reading, None).await?;
                    }
                }
                changed = verified.changed() => {
                    if changed.is_err() {
                        return Ok(Next::Ended);
                    }
                    self.recognize();
                    self.tell(engine).await?;
                }
                _ = ticks.tick() => {
                    self.tell(engine).await?;
                    self.hear(engine, true).await?;
                    let reading = self.load(engine).await?;
                    let news = reading.published.map_or(0, |published| published.revision);
                    // The watch is silent, or the engine has lost what was written.
                    if news > told || reading.at.revision < told {
                        return Ok(Next::Again);
                    }
                }
            }
        }
    }

    /// Reads linearizably.
    async fn load(&self, engine: &dyn Engine) -> Result<Reading, Stop> {
        let before = self.state.lock().await.seen;
        let reading = engine.load().await?;
        self.observe(&reading, before).await?;
        Ok(reading)
    }

    /// Publishes what this replica has verified, as far as it may.
    async fn publish(&self, engine: &dyn Engine) -> Result<(), Stop> {
        self.hear(engine, false).await?;
        for _ in 0..RACES {
            let Some((seen, head)) = self.candidate().await else { return Ok(()) };
            let before = self.state.lock().await.seen;
            match engine.advance(seen, &head).await? {
                Advance::Done(reading) | Advance::Lost(reading) => {
                    self.observe(&reading, before).await?;
                }
            }
        }
        Ok(())
    }

    /// Takes over what the engine has shown. `before` is what was seen before it was asked, for a
    /// linearizable answer. Returns whether it is what this replica serves now.
    async fn observe(&self, reading: &Reading, before: Option<Moment>) -> Result<bool, Stop> {
        let mut state = self.state.lock().await;
        let has_gone_back = before.is_some_and(|before| !reading.at.follows(before));
        let is_late = state.seen.is_some_and(|seen| {
            seen.engine == reading.at.engine && seen.revision > reading.at.revision
        });
        if has_gone_back || !is_late {
            let serving = state.served.as_ref().is_some_and(|served| served.at.is_some());
            let published = reading.published.as_ref().map(|published| published.head.order());
            let has_lost = serving && published < state.served.as_ref().map(Served::order);
            if (has_gone_back || has_lost) && !state.regressed {
                tracing::error!("the engine has lost what it had acknowledged (cluster_regressed)");
                state.regressed = true;
            }
            state.seen = Some(reading.at);
            state.published.clone_from(&reading.published);
            self.serve_published(&mut state).await?;
        }
        {
            let mut course = self.course.lock();
            course.answered = Some(Instant::now());
            course.regressed = state.regressed;
            course.published = state.published.as_ref().map(|published| published.head.number);
            course.error = None;
        }
        // What was verified without an engine is no head among others until it is published.
        let is_published = state.served.as_ref().is_some_and(|served| served.at.is_some());
        if is_published && self.view.shown().cut_off {
            self.view.change(|shown| shown.cut_off = false);
        }
        // What was seen meanwhile counts as well.
        let order = |published: &Option<Published>| {
            published.as_ref().map(|published| published.head.order())
        };
        let (read, newest) = (order(&reading.published), order(&state.published));
        let is_served = newest == state.served.as_ref().map(Served::order);
        Ok(!state.regressed && read.is_some() && read <= newest && is_served)
    }

    /// Serves the published head, unless this replica has served a higher one.
    async fn serve_published(&self, state: &mut State) -> Result<(), Stop> {
        let State { served, seen: Some(at), published: Some(published), regressed, .. } = state
        else {
            return Ok(());
        };
        let next = Served::of_published(published, *at);
        if let Some(served) = served {
            if next.generation > served.generation {
                // The next start takes it over from there, whether the engine answers or not.
                self.save(&next, published.head.identity()).await?;
                return Err(Stop::Reset(Reset { generation: next.generation }));
            }
            if next.order() < served.order() {
                return Ok(());
            }
            let engine = |served: &Served| served.at.map(|at| at.engine);
            if next.block == served.block && engine(&next) == engine(served) {
                *regressed = false;
                return Ok(());
            }
        }
        self.save(&next, published.head.identity()).await?;
        let status = self.judge(next.block).await;
        self.view.change(|shown| {
            let is_news = shown.block.is_none_or(|(known, _)| known.number != next.block.number);
            if is_news || shown.status != status {
                shown.updated_at = Timestamp::now();
            }
            shown.block = Some((next.block, next.source));
            shown.generation = next.generation;
            shown.store = Some(at.store());
            shown.status = status;
        });
        *regressed = false;
        *served = Some(next);
        Ok(())
    }

    /// Writes what is about to be served to this replica's own file.
    async fn save(&self, served: &Served, identity: Identity) -> Result<(), Stop> {
        let HeadBlock { number, hash, l1_origin } = served.block;
        let record = Record {
            generation: served.generation,
            moment: served.at,
            number,
            hash,
            l1_origin,
            source: served.source,
            restart_height: None,
            fallback_height: None,
            batchers: None,
            identity: Some(identity),
            updated_at: Timestamp::now(),
            samples: Vec::new(),
            audit: crate::store::Audit::default(),
        };
        let store = Arc::clone(&self.store);
        let saving = tokio::task::spawn_blocking(move || store.lock().save(record));
        let saved = match saving.await {
            Ok(saved) => saved,
            Err(error) => Err(StoreError::Interrupted(error.to_string())),
        };
        saved.map_err(|error| Stop::Engine(EngineError::Refused(error.to_string())))
    }

    /// What this replica's node says of a block.
    async fn judge(&self, block: HeadBlock) -> Status {
        let Some(hash) = block.hash else { return Status::NodeUnchecked };
        if self.verified.borrow().path.has_seen(block.number, hash) {
            return Status::Ok;
        }
        let asked = self.blocks.hash_at(block.number);
        match tokio::time::timeout(NODE_PATIENCE, asked).await {
            Ok(Ok(Some(found))) if found == hash => Status::Ok,
            Ok(Ok(Some(_))) => Status::Diverged,
            // Whether it is pruned, the next round says.
            Ok(Ok(None)) => Status::NodeBehind,
            Ok(Err(_)) | Err(_) => Status::NodeUnchecked,
        }
    }

    /// The node has the head's block, once this replica has verified it after others.
    fn recognize(&self) {
        let (head, status) = {
            let shown = self.view.shown();
            (shown.block.map(|(block, _)| block), shown.status)
        };
        let Some(HeadBlock { number, hash: Some(hash), .. }) = head else { return };
        if matches!(status, Status::NodeBehind | Status::NodeUnchecked)
            && self.verified.borrow().path.has_seen(number, hash)
        {
            self.view.observe_status(head, Status::Ok);
        }
    }

    fn note(&self, error: &EngineError) {
        let error = error.to_string();
        let mut course = self.course.lock();
        if course.error.as_ref() != Some(&error) {
            tracing::warn!(error, "the published head cannot be read or written (store)");
            course.error = Some(error);
        }
    }
}

/// How following went.
#[derive(Debug)]
enum Next {
    /// The watch is of no use any more.
    Again,
    /// Nobody verifies any more.
    Ended,
}

/// Why following stops.
#[derive(Debug)]
enum Stop {
    Engine(EngineError),
    Reset(Reset),
}

impl From<EngineError> for Stop {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}
