//! The verifier: reads what HotShot confirmed, chooses the next batch, compares it with the node's
//! block, and moves the head. It knows no rollup kind.
//!
//! A round ([`Verifier::round`]) checks what is due and then does all available work; the loop
//! ([`Verifier::run`]) pauses only after a round without work, until something is due or streams
//! tell of something new (`pace`).

mod ahead;
mod anchor;
mod audit;
mod batchers;
mod candidates;
mod chain;
mod choice;
mod confirmation;
mod decision;
mod feed;
mod finality;
pub mod findings;
mod head_check;
mod intake;
mod memory;
mod pace;
mod progress;
mod read_ahead;
mod skip;
mod stall;

use std::{sync::Arc, time::Duration};

use alloy_primitives::Address;
use jiff::Timestamp;
use tokio::{sync::watch, time::Instant};
use tracing::Instrument as _;

use crate::{
    batchers::BatcherSource,
    config::HotshotProofs,
    head::{ClusterState, HeadBlock, HeadKeeper},
    l1::View,
    rollup::{self, FeedSource, L1Source, NodeSource, Rollup},
    store::StoreError,
    telemetry::{
        Metrics,
        metrics::{BatchResult, HeadFacts, Standing, Target},
    },
    upstream::News,
};
use audit::Audit;
use batchers::Batchers;
use feed::Feed;
use finality::FinalityReading;
use findings::{BlockProof, Lag};
use pace::Pace;
use skip::Skip;
use stall::{ChangeLog, Since};

pub use batchers::NO_AUTHENTICATOR;
pub use candidates::{BUDGET, Candidates};
pub use choice::{Candidate, Choice, choose, copies_of};
pub use findings::{Board, Findings};
pub use progress::CatchUp;
pub use stall::{Person, Stall, StallKind};

/// Settings of the verifier.
#[derive(Debug, Clone)]
pub struct Options {
    /// The longest pause after a round without work, and the longest time for which the node is
    /// not asked about the head. Zero makes everything due in every round.
    pub interval: Duration,
    /// The Espresso namespace, if it is not the chain id.
    pub namespace: Option<u32>,
    /// Where the authorized batchers come from.
    pub batchers: BatcherSource,
    /// The light client contract on L1.
    pub light_client: Option<Address>,
    /// Where reading HotShot starts if neither store nor light client has a height.
    pub initial_hotshot_height: Option<u64>,
    /// The most candidates above the head.
    pub budget: usize,
    /// Whether the node's `finalized` needs no proof.
    pub trust_node_finalized: bool,
    /// How much is proven of what the query services say.
    pub proofs: HotshotProofs,
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// There may be more to do at once.
    Worked,
    /// There is nothing to do until something changes.
    Idle,
}

/// The chain of a rollup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ChainFacts {
    chain_id: u64,
    l1_chain_id: u64,
    chain: rollup::Chain,
    namespace: u32,
}

/// The parts of a verifier.
pub struct Parts<R, N, L, F> {
    /// The rollup kind.
    pub rollup: R,
    /// The full node.
    pub node: N,
    /// L1.
    pub l1: L,
    /// Opens the feed, once the namespace is known.
    pub open_feed: Box<dyn Fn(u32) -> F + Send + Sync>,
    /// Holds the head, which only the verifier moves.
    pub keeper: HeadKeeper,
    /// What streams say may have changed.
    pub news: News,
    /// Where findings are written.
    pub board: Arc<Board>,
    /// The metrics.
    pub metrics: Metrics,
}

impl<R, N, L, F> std::fmt::Debug for Parts<R, N, L, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("keeper", &self.keeper).finish_non_exhaustive()
    }
}

/// The verifier of one rollup.
pub struct Verifier<R: Rollup, N, L, F> {
    rollup: Arc<R>,
    node: N,
    l1: L,
    /// Creates the feed, once the namespace is known.
    open_feed: Box<dyn Fn(u32) -> F + Send + Sync>,
    options: Options,
    keeper: HeadKeeper,
    board: Arc<Board>,
    metrics: Metrics,
    chain: Option<ChainFacts>,
    /// Where verification is while there is no head, or none whose hash is known.
    anchor: Option<HeadBlock>,
    batchers: Batchers,
    audit: Audit,
    feed: Option<Feed<F>>,
    skip: Skip,
    candidates: Candidates<R>,
    finality: Option<FinalityReading>,
    /// What is known of Ethereum's finality beside that.
    ethereum: R::Finality,
    /// When that was last seen saved.
    samples_saved: Option<Instant>,
    /// What the next comparison uses of the block that was verified last.
    below: Option<(HeadBlock, R::Below)>,
    /// The last reading of L1.
    l1_view: View,
    /// Of that reading.
    l1_epoch: u64,
    /// What the last survey of the node found wrong with the head.
    checked: Result<(), Stall>,
    pace: Pace,
    news: News,
    node_latest: Option<u64>,
    /// Whether the head was above the node's latest block when it was last checked.
    head_above_latest: bool,
    /// Whether the endpoint in use has no other block at the head, but another endpoint has.
    diverged_elsewhere: bool,
    /// The findings so far, published at the end of the round.
    findings: Findings,
    /// What the running round found wrong with the head.
    problem: Option<Stall>,
    /// Whether the running round has moved the head.
    has_advanced: bool,
    /// Where the running round has gone back to, and for which number.
    reread: Option<(u64, u64)>,
    /// Whether it would go back there again.
    in_circles: bool,
    changes: ChangeLog,
    since: Since,
    /// The last number whose batch was counted as undecided.
    undecided: Option<u64>,
}

impl<R: Rollup, N, L, F> std::fmt::Debug for Verifier<R, N, L, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier")
            .field("keeper", &self.keeper)
            .field("candidates", &self.candidates)
            .finish_non_exhaustive()
    }
}

impl<R: Rollup, N: NodeSource<R::Block>, L: L1Source, F: FeedSource> Verifier<R, N, L, F> {
    /// A verifier of these parts.
    #[must_use]
    pub fn new(parts: Parts<R, N, L, F>, options: Options) -> Self {
        let Parts { rollup, node, l1, open_feed, mut keeper, news, board, metrics } = parts;
        let pace = Pace::new(options.interval);
        let candidates = Candidates::new(options.budget);
        if let Some(origin) = keeper.block().and_then(|head| head.l1_origin) {
            l1.pin(origin);
        }
        let batchers = Batchers::marked(keeper.batchers());
        let ethereum = rollup.finality(keeper.samples());
        let audit = Audit::new(&options, keeper.audit());
        keeper.show_proofs(options.proofs.into());
        let mut findings = Findings::default();
        findings.node.finalized_trusted = options.trust_node_finalized;
        findings.block = BlockProof::stored(keeper.audit().block.as_ref());
        metrics.block_proof(findings.block.hash_since);
        let last_store_error = keeper.store_problem();
        if let Some(error) = &last_store_error {
            tracing::error!(error, "the head cannot be saved");
        }
        findings.last_store_error = last_store_error;
        let mut verifier = Self {
            rollup: Arc::new(rollup),
            node,
            l1,
            open_feed,
            options,
            keeper,
            board,
            metrics,
            chain: None,
            anchor: None,
            batchers,
            audit,
            feed: None,
            skip: Skip::default(),
            candidates,
            finality: None,
            ethereum,
            samples_saved: None,
            below: None,
            l1_view: View::default(),
            l1_epoch: 0,
            checked: Ok(()),
            pace,
            news,
            node_latest: None,
            head_above_latest: false,
            diverged_elsewhere: false,
            findings,
            problem: None,
            has_advanced: false,
            reread: None,
            in_circles: false,
            changes: ChangeLog::default(),
            since: Since::default(),
            undecided: None,
        };
        let since = verifier.since.shown(&Stall::Starting, Timestamp::now());
        verifier.show(Stall::Starting, since);
        verifier
    }

    /// Runs rounds until `stop` is true, then saves where reading resumes.
    ///
    /// # Errors
    /// [`StoreError::OtherChain`] if the stored head is of another chain than the node's: retrying
    /// would not help. Everything else is retried.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), StoreError> {
        let result = self.rounds(&mut stop).await;
        if let Err(error) = self.save_restart_height(0).await {
            tracing::warn!(%error, "the restart position could not be saved");
        }
        self.board.verifier_ended();
        result
    }

    async fn rounds(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), StoreError> {
        let stopped = async {
            // A closed channel also means that the process is shutting down.
            _ = stop.wait_for(|stop| *stop).await;
        };
        tokio::pin!(stopped);
        loop {
            let started = Instant::now();
            let round = tokio::select! {
                biased;
                () = &mut stopped => return Ok(()),
                round = self.round().instrument(tracing::debug_span!("round")) => round?,
            };
            self.metrics.tick(started.elapsed());
            if round == Round::Idle {
                tokio::select! {
                    biased;
                    () = &mut stopped => return Ok(()),
                    () = tokio::time::sleep_until(self.pace.next_round()) => {}
                    () = self.news.wait(self.awaited()) => {}
                }
            }
        }
    }

    /// Whose news begin a round.
    const fn awaited(&self) -> &'static [Target] {
        match (self.pace.waits_for_blocks(), self.pace.waits_for_node()) {
            (false, _) => &[],
            (true, false) => &[Target::Query, Target::L1],
            (true, true) => &[Target::Query, Target::L1, Target::Node],
        }
    }

    /// What streams have told makes parts of the round due.
    fn hear(&mut self) {
        if self.news.take(Target::Query) {
            self.pace.height.wake();
        }
        if self.news.take(Target::L1) {
            self.pace.l1_woken();
        }
        if self.news.take_agreed(Target::L1) {
            self.pace.l1_agreed();
        }
        if self.news.take(Target::Node) {
            self.pace.node_woken();
        }
    }

    /// Does what is due and the available work, up to a bound.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn round(&mut self) -> Result<Round, StoreError> {
        self.has_advanced = false;
        (self.reread, self.in_circles) = (None, false);
        self.pace.begin_round();
        self.hear();
        let mut l1 = std::mem::take(&mut self.l1_view);
        let worked = self.work(&mut l1).await;
        self.l1_view = l1;
        let (round, stall) = match worked {
            Ok(None) => (Round::Worked, self.at_work()),
            Ok(Some(stall)) | Err(Stop::Stalled(stall)) => (Round::Idle, stall),
            Err(Stop::Fatal(error)) => {
                self.end_round(Stall::ConfigMismatch(error.to_string()));
                return Err(error);
            }
        };
        self.pace.l1_awaited(matches!(stall, Stall::AwaitingL1Finality { .. }));
        if let Stall::AwaitingL1Finality { number, .. }
        | Stall::L1NoMajority { number, .. }
        | Stall::L1Unavailable { number, .. } = stall
            && self.undecided.replace(number) != Some(number)
        {
            self.metrics.batch(BatchResult::Undecided);
        }
        self.end_round(stall);
        Ok(round)
    }

    /// Returns why the head does not advance, or none when there may be more to do at once.
    async fn work(&mut self, l1: &mut View) -> Result<Option<Stall>, Stop> {
        let checked = self.ask_node().await?;
        let chain = match (self.chain().await, &checked) {
            // What is wrong with the head matters more than who does not answer.
            (Err(Stop::Stalled(Stall::ChainUnknown(_))), Err(problem))
                if self.problem.is_some() =>
            {
                return Err(problem.clone().into());
            }
            (chain, _) => chain?,
        };
        self.pace.learn(&chain, self.keeper.block());
        self.pace.tell(&self.news);
        self.refresh_l1(&chain, l1).await;
        let replaced = self.apply_finality(&chain, l1).await?;
        let tip = match self.tip(&chain) {
            Ok(tip) => tip,
            Err(stop) => {
                self.checkpoint().await?;
                return Err(stop);
            }
        };
        if !replaced {
            checked?;
        } else if self.diverged_elsewhere {
            // The new head is checked first.
            return Ok(None);
        }
        self.refresh_batchers(&chain, l1).await?;
        self.open(&chain, &tip).await?;
        self.rewind_to_what_was_skipped(&tip).await?;
        self.audit(l1).await?;
        self.pace.reading();
        let stall = self.advance(&chain, l1).await?;
        self.show_newest_block();
        Ok(stall)
    }

    /// The block after which verification continues.
    fn current(&self) -> Option<HeadBlock> {
        self.keeper.block().filter(|head| head.hash.is_some()).or(self.anchor)
    }

    /// The state after a round that has left work to do.
    fn at_work(&self) -> Stall {
        match self.feed.as_ref().and_then(Feed::unread) {
            Some(unread) if !self.has_advanced => unread,
            _ => Stall::Advancing,
        }
    }

    /// What keeps the head back, whatever this replica verifies.
    fn cluster_stall(&self) -> Option<Stall> {
        let cluster = self.keeper.cluster()?;
        match cluster.state {
            ClusterState::CutOff => Some(Stall::CutOff(cluster.error.unwrap_or_default())),
            ClusterState::Regressed => Some(Stall::ClusterRegressed),
            ClusterState::QuorumShort => Some(Stall::QuorumShort),
            _ => self.problem.clone(),
        }
    }

    /// Publishes the findings of a round.
    fn end_round(&mut self, stall: Stall) {
        let stall = self.cluster_stall().unwrap_or(stall);
        self.report_progress();
        if self.changes.is_news(&stall, Instant::now()) {
            stall.log();
        }
        let now = Timestamp::now();
        self.findings.last_round = Some(now);
        self.findings.rounds += 1;
        let since = self.since.ended(&stall, now);
        self.show(stall, since);
    }

    /// Shows a head that was published in the middle of a round: the last round's reason belongs to
    /// another head.
    fn show_head(&mut self) {
        let shown = self.findings.head.as_ref().map(|head| (head.number, head.status));
        let head = self.keeper.report().map(|head| (head.number, head.status));
        if shown == head {
            return;
        }
        self.has_advanced |= shown.map(|(number, _)| number) != head.map(|(number, _)| number);
        let stall = match &self.problem {
            Some(problem) => problem.clone(),
            None if self.chain.is_none() => Stall::Starting,
            None => Stall::Advancing,
        };
        let since = self.since.shown(&stall, Timestamp::now());
        self.show(stall, since);
    }

    /// Shows head, state and findings as one snapshot, in status and metrics.
    fn show(&mut self, stall: Stall, since: Timestamp) {
        let head = self.keeper.report();
        let block_time = self.chain.as_ref().and_then(|chain| chain.chain.block_time);
        let lag = head.as_ref().zip(self.node_latest).map(|(head, latest)| {
            let blocks = latest.saturating_sub(head.number);
            Lag { blocks, seconds: block_time.map(|seconds| blocks.saturating_mul(seconds)) }
        });
        self.metrics.standing(Standing {
            head: head.as_ref().map(|head| HeadFacts {
                number: head.number,
                source: head.source,
                status: head.status,
                updated: self.keeper.updated_at(),
            }),
            node_latest: self.node_latest,
            lag: lag.map(|lag| lag.blocks),
            stall: stall.code(),
            stalls: Stall::CODES,
            chain_id: self.keeper.chain_id(),
        });
        let current = self.current();
        let cursor = self.feed.as_ref().map(Feed::cursor);
        let findings = &mut self.findings;
        findings.head = head;
        findings.stall = stall;
        findings.since = since;
        findings.next = current.and_then(|block| block.number.checked_add(1));
        findings.candidates.count = self.candidates.len();
        findings.candidates.bytes = self.candidates.bytes();
        findings.candidates.reread_from = self.candidates.reread_from();
        findings.hotshot.cursor = cursor;
        findings.hotshot.restart_height = self.keeper.restart_height();
        findings.node.latest = self.node_latest;
        findings.lag = lag;
        findings.cluster = self.keeper.cluster();
        self.board.show(findings.clone());
    }

    /// Where reading resumes after a restart with a head: at the first batch above it, and not
    /// above what the light client covers, since blocks that it will contradict may hide batches.
    fn restart_height(&self, number: u64) -> Option<u64> {
        let height = self.candidates.restart_height(number, self.feed.as_ref()?.cursor());
        Some(self.settled_height().map_or(height, |settled| settled.min(height)))
    }

    /// Saves where reading resumes if it has moved by more than `distance` since it was last saved,
    /// and with it what may prove finality later.
    async fn save_restart_height(&mut self, distance: u64) -> Result<(), StoreError> {
        let Some(head) = self.keeper.block() else { return Ok(()) };
        let saved = self.keeper.restart_height();
        // The batches below a head whose hash is not known must be found again.
        let height = head.hash.and_then(|_| self.restart_height(head.number)).or(saved);
        let moved = height.is_some_and(|height| {
            saved.is_none_or(|saved| height.saturating_sub(saved) > distance)
        });
        if moved || self.samples_are_due(distance == 0) {
            let result = self.keeper.checkpoint(height).await;
            self.note_save(&result);
            return result;
        }
        Ok(())
    }

    /// Records whether the head could be saved.
    fn note_save(&mut self, result: &Result<(), StoreError>) {
        let error = result.as_ref().err().map(ToString::to_string);
        if let Some(error) = &error
            && self.findings.last_store_error.is_none()
        {
            tracing::error!(error, "the head cannot be saved");
        }
        self.findings.last_store_error = error;
    }
}

/// Why a round ends early.
#[derive(Debug)]
enum Stop {
    /// Until something changes.
    Stalled(Stall),
    /// For good.
    Fatal(StoreError),
}

impl From<Stall> for Stop {
    fn from(stall: Stall) -> Self {
        Self::Stalled(stall)
    }
}

#[cfg(test)]
mod tests;
