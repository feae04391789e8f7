//! Reading the namespace. The cursor moves only after a full, well-formed answer.

use super::{FeedSource, L1Source, NodeSource, Position, Verifier, Waiting};
use crate::{rollup::Rollup, upstream::UpstreamError};

/// The feed and how far it was read.
#[derive(Debug)]
pub(super) struct Feed<F> {
    source: F,
    /// The next height to read.
    cursor: u64,
    /// The number of HotShot blocks, as of this round.
    height: Option<u64>,
    /// The most blocks that the service answers at once.
    range_limit: Option<u64>,
    /// How many to ask for next: less after an answer that was too large or too slow.
    range: u64,
}

/// More is never asked for at once, whatever the service allows: answers repeat every byte twice.
const MAX_RANGE: u64 = 500;

impl<F> Feed<F> {
    pub(super) const fn new(source: F, cursor: u64) -> Self {
        Self { source, cursor, height: None, range_limit: None, range: MAX_RANGE }
    }

    /// The next height to read.
    pub(super) const fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Goes back to an earlier height.
    pub(super) fn go_back(&mut self, height: u64) {
        self.cursor = self.cursor.min(height);
    }

    /// What is left to read, as of this round.
    pub(super) fn unread(&self) -> Option<Waiting> {
        let height = self.height?;
        (self.cursor < height).then_some(Waiting::Reading { cursor: self.cursor, height })
    }
}

impl<R: Rollup, N: NodeSource, L: L1Source, F: FeedSource> Verifier<R, N, L, F> {
    /// Asks how far HotShot is.
    pub(super) async fn look_at_feed(&mut self) -> Result<(), Waiting> {
        let Some(feed) = &mut self.feed else { return Ok(()) };
        let broken = |error: UpstreamError| Waiting::Feed(error.to_string());
        let height = feed.source.height().await.map_err(broken)?;
        if feed.range_limit.is_none() {
            feed.range_limit = Some(feed.source.range_limit().await.map_err(broken)?);
        }
        self.metrics.hotshot_heights(feed.cursor, height);
        if feed.height != Some(height) {
            // For the operator only; a service that lacks it is no trouble.
            let newest = feed.source.header(height.saturating_sub(1)).await.ok();
            let timestamp = newest.map(|header| header.timestamp);
            self.board.update(|findings| {
                findings.hotshot.height = Some(height);
                findings.hotshot.newest_block_timestamp =
                    timestamp.or(findings.hotshot.newest_block_timestamp);
            });
        }
        feed.height = Some(height);
        Ok(())
    }

    /// Reads one range, if there is one to read. Answers whether the cursor moved.
    pub(super) async fn read_range(&mut self, settled: u64) -> Result<bool, Waiting> {
        let Some(feed) = &mut self.feed else { return Ok(false) };
        let height = feed.height.unwrap_or(0);
        loop {
            let limit = feed.range.min(feed.range_limit.unwrap_or(MAX_RANGE)).max(1);
            let until = feed.cursor.saturating_add(limit).min(height);
            let Some(count) = until.checked_sub(feed.cursor).filter(|count| *count > 0) else {
                return Ok(false);
            };
            match feed.source.range(feed.cursor, until).await {
                Ok(blocks) => {
                    for (height, block) in (feed.cursor..).zip(&blocks) {
                        for (index, payload) in block.payloads.iter().enumerate() {
                            match self.rollup.admit(payload) {
                                Ok(batch) if batch.facts.number <= settled => {}
                                Ok(batch) => {
                                    self.candidates.insert(Position { height, index }, batch);
                                }
                                Err(rejected) => {
                                    self.metrics.rejected(rejected.reason());
                                    tracing::debug!(height, index, %rejected, "payload refused");
                                }
                            }
                        }
                    }
                    feed.cursor = until;
                    feed.range = feed.range.saturating_mul(2).min(MAX_RANGE);
                    return Ok(true);
                }
                // Not there yet, too much at once, or a changed limit: try less, down to one block.
                Err(
                    error @ (UpstreamError::Status(400 | 404 | 413)
                    | UpstreamError::TooLarge { .. }
                    | UpstreamError::Timeout(_)
                    | UpstreamError::NoMajority(_)),
                ) => {
                    if error == UpstreamError::Status(400) {
                        feed.range_limit = None;
                    }
                    if count == 1 {
                        return match error {
                            UpstreamError::Status(404) => Ok(false),
                            error => Err(Waiting::Feed(error.to_string())),
                        };
                    }
                    feed.range = count / 2;
                }
                Err(error) => return Err(Waiting::Feed(error.to_string())),
            }
        }
    }
}
