//! Reads the namespace. The cursor moves only after a complete, well-formed answer.

use std::{collections::BTreeMap, sync::Arc};

use espresso_proofs::{Checkpoint, NamespaceBlock};
use tokio::task::JoinError;

use super::{
    FeedSource, L1Source, NodeSource, Stall, Verifier,
    findings::NewestBlock,
    intake::{self, Intake},
    progress::Progress,
    read_ahead::{Range, ReadAhead},
};
use crate::{
    espresso::Blocks,
    rollup::{Facts as _, Rollup},
    telemetry::metrics::Target,
    upstream::UpstreamError,
};

/// The feed, and how far it has been read.
#[derive(Debug)]
pub(super) struct Feed<F> {
    source: Arc<F>,
    /// The next height to read.
    cursor: u64,
    /// The number of HotShot blocks, as of this round.
    height: Option<u64>,
    /// The most blocks that the service returns at once.
    range_limit: Option<u64>,
    /// The light client's height: headers below it are proven, unless those above are among them.
    proven_below: u64,
    ahead: ReadAhead,
    progress: Progress,
    /// Whether the services do not have the next block while they serve newer ones.
    is_gone: bool,
    /// Answers in a row by which the height was below the cursor: the services were reset, unless
    /// one answer came from a service that lags.
    rounds_below: u32,
    /// What was wrong when the height was last asked for.
    problem: Option<Stall>,
}

/// Blocks that were read.
struct Read {
    from: u64,
    until: u64,
    /// Whether they were requested in this round.
    is_new: bool,
    answer: Result<Blocks, UpstreamError>,
}

/// Payloads of blocks this far below HotShot's height are not late any more.
const SETTLED: u64 = 10;

impl<F: FeedSource> Feed<F> {
    pub(super) fn new(source: F, cursor: u64) -> Self {
        Self {
            source: Arc::new(source),
            cursor,
            height: None,
            range_limit: None,
            proven_below: 0,
            ahead: ReadAhead::default(),
            progress: Progress::default(),
            is_gone: false,
            rounds_below: 0,
            problem: None,
        }
    }

    async fn ask_height(&mut self) -> Result<u64, UpstreamError> {
        let height = self.source.height().await?;
        if self.range_limit.is_none() {
            self.range_limit = Some(self.source.range_limit().await?);
        }
        Ok(height)
    }

    /// The services say that they do not have the block at the cursor. Finds out whether they have
    /// newer ones.
    async fn look_beyond(&mut self) {
        let height = self.height.unwrap_or(0);
        let settled = height.saturating_sub(SETTLED);
        self.is_gone = false;
        if self.cursor < settled {
            // The newest block may be late itself; the other one may be forgotten too.
            self.is_gone = self.source.is_gone(self.cursor, settled).await
                || self.source.is_gone(self.cursor, height - 1).await;
        }
    }

    /// The time of a HotShot block, seconds since the epoch.
    pub(super) async fn timestamp(&self, height: u64) -> Result<u64, UpstreamError> {
        Ok(self.source.header(height).await?.timestamp())
    }

    /// A payload, read again; none if the service does not have it now.
    pub(super) async fn payload(&self, height: u64, index: usize) -> Option<Vec<u8>> {
        let block = match self.source.range(height, height.checked_add(1)?).await {
            Err(UpstreamError::TooLarge { .. }) => self.source.block_alone(height).await.ok()?,
            blocks => blocks.ok()?,
        };
        let block = block.payloads.first()?;
        Some(block.payload(index)?.to_vec())
    }

    /// The final L1 block that the header of a HotShot block names; none if it is not known.
    pub(super) async fn l1_finalized(&self, height: u64) -> Option<u64> {
        self.source.l1_finalized(height).await.ok().flatten()
    }

    /// Starts as many requests as may be in flight.
    fn fetch_ahead(&mut self) {
        let limit = self.range_limit.unwrap_or(u64::MAX);
        let height = self.height.unwrap_or(0);
        self.ahead.fill(&self.source, self.cursor, height, limit, self.proven_below);
    }

    /// Reads the next blocks, if there are any: one alone if it is long, else what was requested.
    async fn read_next(&mut self) -> Option<Read> {
        if self.ahead.is_long() && Some(self.cursor) < self.height {
            self.ahead.forget();
            let (from, until) = (self.cursor, self.cursor.saturating_add(1));
            let answer = self.source.block_alone(from).await;
            return Some(Read { from, until, is_new: true, answer });
        }
        self.fetch_ahead();
        let range = self.ahead.pop()?;
        let Range { from, until, is_new, .. } = range;
        let answer = match range.answer().await {
            Err(UpstreamError::TooLarge { .. }) if until - from == 1 => {
                self.ahead.forget();
                self.source.block_alone(from).await
            }
            answer => answer,
        };
        Some(Read { from, until, is_new, answer })
    }

    /// From now on headers below this state's height are proven under its root. What is in flight
    /// is not, and is requested again.
    pub(super) fn prove_under(&mut self, checkpoint: Checkpoint) {
        if checkpoint.height > self.proven_below.max(self.cursor) {
            self.ahead.forget();
        }
        self.proven_below = checkpoint.height;
        self.source.prove_under(checkpoint);
    }
}

impl<F> Feed<F> {
    /// What is read.
    pub(super) fn source(&self) -> Arc<F> {
        Arc::clone(&self.source)
    }

    /// The next height to read.
    pub(super) const fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The number of HotShot blocks, as of this round.
    pub(super) const fn height(&self) -> Option<u64> {
        self.height
    }

    /// Goes back to an earlier height.
    pub(super) fn go_back(&mut self, height: u64) {
        self.cursor = self.cursor.min(height);
        self.is_gone = false;
    }

    /// Goes on at a later height.
    pub(super) fn skip_to(&mut self, height: u64) {
        self.cursor = self.cursor.max(height);
        self.is_gone = false;
    }

    /// Whether the next block cannot be had, as far as is known.
    pub(super) const fn is_unavailable(&self) -> bool {
        self.is_gone || self.rounds_below > 1
    }

    fn reached(&mut self, height: u64) {
        self.height = Some(height);
        let below = height < self.cursor;
        self.rounds_below = if below { self.rounds_below.saturating_add(1) } else { 0 };
    }

    /// Whether the next range has arrived.
    pub(super) fn has_arrived(&self) -> bool {
        self.ahead.has_arrived(self.cursor)
    }

    /// Drops what is in flight, for something else that is long.
    pub(super) fn pause(&mut self) {
        self.ahead.forget();
    }

    /// What is left to read, as of this round. HotShot's newest block does not count: its payload
    /// can come later than the height.
    pub(super) fn unread(&self) -> Option<Stall> {
        let height = self.height?;
        if self.is_unavailable() {
            return Some(Stall::PositionUnavailable { cursor: self.cursor, height });
        }
        let unread = self.cursor.saturating_add(1) < height;
        unread.then_some(Stall::CatchingUp { cursor: self.cursor, height })
    }
}

impl<R: Rollup, N: NodeSource<R::Block>, L: L1Source, F: FeedSource> Verifier<R, N, L, F> {
    /// Requests HotShot's height. Returns the last problem while that is not due.
    pub(super) async fn refresh_feed(&mut self) -> Result<(), Stall> {
        let Some(feed) = &mut self.feed else { return Ok(()) };
        feed.ahead.begin_round();
        if !self.pace.height_is_due() {
            return feed.problem.clone().map_or(Ok(()), Err);
        }
        let before = feed.height;
        match feed.ask_height().await {
            Ok(height) => {
                feed.problem = None;
                self.pace.height.looked(before.map_or(0, |before| height.saturating_sub(before)));
                if before != Some(height) {
                    self.pace.payload_came();
                }
                self.news.is_at(Target::Query, height, self.pace.height.cadence());
                self.metrics.hotshot_heights(feed.cursor, height);
                feed.reached(height);
                self.findings.hotshot.height = Some(height);
                self.report_progress();
                if let Some(stall) = self.skip_ahead().await {
                    if let Some(feed) = &mut self.feed {
                        feed.problem = Some(stall.clone());
                    }
                    return Err(stall);
                }
                Ok(())
            }
            Err(error) => {
                self.pace.height.failed();
                let stall = Stall::FeedUnavailable(error.to_string());
                feed.problem = Some(stall.clone());
                Err(stall)
            }
        }
    }

    /// Shows HotShot's newest block as a stream shows it: no request is sent for that.
    pub(super) fn show_newest_block(&mut self) {
        let Some(feed) = &self.feed else { return };
        let header = feed.source.newest_header();
        if let Some(header) = header.filter(|header| Some(header.height()) < feed.height) {
            self.findings.hotshot.newest_block = Some(NewestBlock {
                height: header.height(),
                timestamp: header.timestamp(),
                commitment: header.tagged_commitment().map(|commitment| commitment.to_string()),
            });
        }
    }

    /// Reports the progress of a long catch-up.
    pub(super) fn report_progress(&mut self) {
        let Some(feed) = &mut self.feed else { return };
        let Some(height) = feed.height else { return };
        let catch_up = match feed.is_unavailable() {
            true => None,
            false => feed.progress.observe(feed.cursor, height, tokio::time::Instant::now()),
        };
        self.metrics
            .catch_up(catch_up.map(|catch_up| (catch_up.percent / 100.0, catch_up.seconds_left)));
        self.findings.hotshot.catch_up = catch_up;
    }

    /// Finds the batches in HotShot blocks. Where keys have ranges, the header of a block is read
    /// only if a known batcher has signed something in it: strangers cause no request.
    pub(super) async fn find_batches(
        &self,
        from: u64,
        blocks: Vec<NamespaceBlock>,
    ) -> Result<Intake<R>, Stall> {
        let ended = |error: JoinError| Stall::FeedUnavailable(error.to_string());
        let blocks = intake::Blocks::new(from, blocks);
        let Some(feed) = self.feed.as_ref().filter(|_| self.rollup.measures_by_hotshot()) else {
            return blocks.admit(&self.rollup).await.map_err(ended);
        };
        let signed = blocks.signed(&self.rollup).await.map_err(ended)?;
        let mut l1_finalized = BTreeMap::new();
        for height in signed.heights() {
            let named = feed.source.l1_finalized(height).await;
            let named = named.map_err(|error| Stall::FeedUnavailable(error.to_string()))?;
            l1_finalized.extend(named.map(|number| (height, number)));
        }
        blocks.admit_signed(&self.rollup, signed, l1_finalized).await.map_err(ended)
    }

    /// Reads one range, if there is one. Returns whether the cursor moved.
    pub(super) async fn read_range(&mut self, confirmed: u64) -> Result<bool, Stall> {
        let Some(tip) = self.current() else { return Ok(false) };
        if !self.pace.payload_is_due() {
            return Ok(false);
        }
        loop {
            let Some(feed) = self.feed.as_mut().filter(|_| !self.audit.is_full()) else {
                return Ok(false);
            };
            let Some(read) = feed.read_next().await else { return Ok(false) };
            let Read { from, until, is_new, answer } = read;
            match answer {
                Ok(Blocks { payloads, headers }) => {
                    feed.ahead.succeeded(until - from, &payloads);
                    if let Err(stall) = self.take_headers(from, headers).await {
                        self.feed.iter_mut().for_each(Feed::pause);
                        return Err(stall);
                    }
                    let Intake { admitted, rejected } =
                        match self.find_batches(from, payloads).await {
                            Ok(intake) => intake,
                            Err(stall) => {
                                self.feed.iter_mut().for_each(Feed::pause);
                                return Err(stall);
                            }
                        };
                    for (reason, count) in rejected.counts() {
                        self.metrics.rejected(reason, count);
                    }
                    let rollup = Arc::clone(&self.rollup);
                    self.look_for_head(&admitted).await;
                    for (position, batch) in admitted {
                        let above = batch.facts.number().saturating_sub(confirmed);
                        if above > rollup.horizon() {
                            self.candidates.put_off(position, &batch);
                        } else if above > 0 && self.candidates.make_room(&*rollup, &batch) {
                            let can_follow = |batch: &_| rollup.can_follow(&tip, batch);
                            self.candidates.insert(position, batch, &tip, can_follow);
                        }
                    }
                    self.pace.payload_came();
                    let Some(feed) = &mut self.feed else { return Ok(false) };
                    (feed.cursor, feed.is_gone) = (until, false);
                    // Fetch the next range while this one is processed.
                    feed.fetch_ahead();
                    return Ok(true);
                }
                Err(_) if !is_new => feed.ahead.forget(),
                // Not there yet, too much at once, or a changed limit: try less, down to one block,
                // which also finds the block in which the services contradict each other.
                Err(
                    error @ (UpstreamError::Absent(_)
                    | UpstreamError::Status { status: 400 | 413, .. }
                    | UpstreamError::TooLarge { .. }
                    | UpstreamError::Timeout(_)
                    | UpstreamError::Disproven { .. }
                    | UpstreamError::NoMajority(_)),
                ) => {
                    if matches!(error, UpstreamError::Status { status: 400, .. }) {
                        feed.range_limit = None;
                    }
                    feed.ahead.failed(until - from);
                    if until - from == 1 {
                        return match error {
                            UpstreamError::Absent(_) => {
                                self.pace.payload_is_late();
                                feed.look_beyond().await;
                                Ok(false)
                            }
                            UpstreamError::Disproven { .. } => {
                                Err(Stall::AnswerDisproven(error.to_string()))
                            }
                            error => Err(Stall::FeedUnavailable(error.to_string())),
                        };
                    }
                }
                Err(error) => {
                    feed.ahead.failed(until - from);
                    return Err(Stall::FeedUnavailable(error.to_string()));
                }
            }
        }
    }
}
