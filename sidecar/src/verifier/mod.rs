//! The verifier: reads what HotShot confirmed, chooses the next batch, compares it with the node's
//! block, and moves the head. It knows no rollup kind.
//!
//! A round ([`Verifier::round`]) looks at everything once and then does all the work there is; the
//! loop ([`Verifier::run`]) pauses only when a round found nothing to do.

mod admission;
mod anchor;
mod batchers;
mod candidates;
mod chain;
mod choice;
mod confirmation;
mod feed;
mod finality;
pub mod findings;
mod intake;
mod progress;
mod read_ahead;
mod sources;
mod waiting;

use std::{sync::Arc, time::Duration};

use alloy_primitives::Address;
use jiff::Timestamp;
use tokio::{sync::watch, time::Instant};
use tracing::Instrument as _;

use crate::{
    batchers::BatcherSource,
    head::{HeadBlock, HeadKeeper},
    node::RollupConfig,
    rollup::Rollup,
    store::StoreError,
    telemetry::{Metrics, metrics::BatchResult},
};
use batchers::Batchers;
use feed::Feed;
use finality::FinalityReading;

pub use candidates::{Budget, Candidates, Dropped, Position};
pub use choice::{Choice, L1View, OriginVerdict, choose, is_possible_child};
pub use findings::{Board, Findings};
pub use progress::CatchUp;
pub use sources::{FeedSource, L1Source, NodeSource};
pub use waiting::Waiting;

/// Settings of the verifier.
#[derive(Debug, Clone)]
pub struct Options {
    /// Pause after a round without work.
    pub interval: Duration,
    /// The Espresso namespace, if it is not the chain id.
    pub namespace: Option<u32>,
    /// Where it is told who may sign batches.
    pub batchers: BatcherSource,
    /// The light client contract on L1.
    pub light_client: Option<Address>,
    /// Where reading HotShot begins when neither store nor light client knows.
    pub initial_hotshot_height: Option<u64>,
    /// How much is kept of what HotShot has ahead of the head.
    pub budget: Budget,
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// There may be more to do at once.
    Worked,
    /// There is nothing to do until something changes.
    Idle,
}

/// What a rollup's chain is, once node and op-node have said so.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ChainFacts {
    config: RollupConfig,
    namespace: u32,
}

/// What a verifier works with.
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
    /// Makes the feed, once the namespace is known.
    open_feed: Box<dyn Fn(u32) -> F + Send + Sync>,
    options: Options,
    keeper: HeadKeeper,
    board: Arc<Board>,
    metrics: Metrics,
    chain: Option<ChainFacts>,
    /// Where verification starts while there is no head: genesis.
    anchor: Option<HeadBlock>,
    batchers: Batchers,
    feed: Option<Feed<F>>,
    candidates: Candidates<R>,
    finality: Option<FinalityReading>,
    node_latest: Option<u64>,
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

impl<R: Rollup, N: NodeSource, L: L1Source, F: FeedSource> Verifier<R, N, L, F> {
    /// A verifier of these parts.
    #[must_use]
    pub fn new(parts: Parts<R, N, L, F>, options: Options) -> Self {
        let Parts { rollup, node, l1, open_feed, keeper, board, metrics } = parts;
        let candidates = Candidates::new(options.budget);
        Self {
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
            batchers: Batchers::default(),
            feed: None,
            candidates,
            finality: None,
            node_latest: None,
            undecided: None,
        }
    }

    /// Does rounds until `stop` is true, then saves where reading resumes.
    ///
    /// # Errors
    /// [`StoreError::OtherChain`] when the stored head is of another chain than the node: nothing
    /// good can come of going on. Everything else is retried.
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
            // A closed channel means that the process is going down as well.
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
                    () = tokio::time::sleep(self.options.interval) => {}
                }
            }
        }
    }

    /// Looks at everything once and does the work there is, up to a bound.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn round(&mut self) -> Result<Round, StoreError> {
        let outcome = self.work().await;
        let waiting = match outcome {
            Ok(waiting) => waiting,
            Err(Stop::Wait(waiting)) => Some(waiting),
            Err(Stop::Fatal(error)) => return Err(error),
        };
        let round = match waiting {
            Some(waiting) => {
                if let Waiting::Origin { number, .. } = waiting
                    && self.undecided.replace(number) != Some(number)
                {
                    self.metrics.batch(BatchResult::Undecided);
                }
                self.board.waits(waiting);
                Round::Idle
            }
            None => Round::Worked,
        };
        self.report_progress();
        self.report_round();
        Ok(round)
    }

    /// Answers what there is to wait for, or none when there may be more to do at once.
    async fn work(&mut self) -> Result<Option<Waiting>, Stop> {
        let chain = self.chain().await?;
        let look = self.check_head().await;
        let mut l1 = self.refresh_l1().await;
        self.apply_finality(&chain, &mut l1).await?;
        let tip = self.tip(&chain)?;
        look?;
        self.refresh_batchers(&chain, &mut l1).await?;
        self.open(&chain, &tip).await?;
        self.rewind_for_new_batchers(&tip).await?;
        let waiting = self.advance(&chain, &mut l1).await?;
        if waiting.is_some() {
            self.refresh_newest_header().await;
        }
        Ok(waiting.map(|waiting| self.explain(waiting)))
    }

    /// The block after which verification goes on.
    fn current(&self) -> Option<HeadBlock> {
        self.keeper.block().or(self.anchor)
    }

    fn report_round(&self) {
        let current = self.current();
        let block_time = self.chain.as_ref().map(|chain| chain.config.block_time);
        let head = self.keeper.block();
        self.board.update(|findings| {
            findings.next = current.and_then(|block| block.number.checked_add(1));
            findings.candidates.count = self.candidates.len();
            findings.candidates.bytes = self.candidates.bytes();
            findings.candidates.reread_from =
                self.candidates.dropped().map(|dropped| dropped.reread_from);
            findings.hotshot.cursor = self.feed.as_ref().map(Feed::cursor);
            findings.hotshot.restart_height = self.keeper.restart_height();
            findings.node.latest = self.node_latest;
            findings.lag = head.zip(self.node_latest).map(|(head, latest)| {
                let blocks = latest.saturating_sub(head.number);
                let seconds = blocks.saturating_mul(block_time.unwrap_or_default());
                findings::Lag { blocks, seconds }
            });
            findings.last_round = Some(Timestamp::now());
            findings.rounds += 1;
        });
    }

    /// Saves where reading resumes when it moved on by more than `distance` since it was last
    /// saved.
    async fn save_restart_height(&mut self, distance: u64) -> Result<(), StoreError> {
        let (Some(feed), Some(current)) = (&self.feed, self.keeper.block()) else {
            return Ok(());
        };
        // While the head's own hash is to be learned, its batch must be found again.
        let confirmed =
            if current.hash.is_some() { current.number } else { current.number.saturating_sub(1) };
        let height = self.candidates.restart_height(confirmed, feed.cursor());
        let saved = self.keeper.restart_height();
        if saved.is_none_or(|saved| height.saturating_sub(saved) > distance) {
            let result = self.keeper.checkpoint(height).await;
            self.note_save(&result);
            return result;
        }
        Ok(())
    }

    /// Notes on the board whether the head could be saved.
    fn note_save(&self, result: &Result<(), StoreError>) {
        let error = result.as_ref().err().map(ToString::to_string);
        self.board.update(|findings| {
            if let Some(error) = &error
                && findings.last_store_error.is_none()
            {
                tracing::error!(error, "the head cannot be saved");
            }
            findings.last_store_error = error;
        });
    }
}

/// Why a round ends early.
#[derive(Debug)]
enum Stop {
    /// Until something changes.
    Wait(Waiting),
    /// For good.
    Fatal(StoreError),
}

impl From<Waiting> for Stop {
    fn from(waiting: Waiting) -> Self {
        Self::Wait(waiting)
    }
}

#[cfg(test)]
mod tests;
