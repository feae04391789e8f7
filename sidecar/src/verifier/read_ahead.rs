//! Fetches ranges before they are needed, in order, within a budget of bytes.

use std::{collections::VecDeque, sync::Arc};

use espresso_proofs::NamespaceBlock;
use tokio::task::JoinHandle;

use super::FeedSource;
use crate::{
    espresso::Blocks,
    upstream::{MEDIUM, UpstreamError},
};

/// The largest range, whatever the service allows.
const MAX_RANGE: u64 = 500;
/// The size of the first range, since the size of the blocks is not known yet.
const FIRST_RANGE: u64 = 16;
/// The target size of a range, in bytes of payload. The answer is almost three times as long:
/// base64, twice. It must stay below [`MEDIUM`].
const RANGE_BYTES: usize = 256 * 1024;
/// A block with more bytes of payload than this is longer than a range may be.
const LONG_BLOCK: usize = MEDIUM * 3 / 8;
/// The bytes of payload that may be in flight, estimated from the last range.
const AHEAD_BYTES: usize = 2 * 1024 * 1024;
/// The most requests in flight.
pub(super) const MAX_UNDER_WAY: usize = 8;

/// A requested range.
#[derive(Debug)]
pub(super) struct Range {
    pub(super) from: u64,
    pub(super) until: u64,
    /// Whether it was requested in this round: an earlier failure says nothing about now.
    pub(super) is_new: bool,
    task: JoinHandle<Result<Blocks, UpstreamError>>,
}

impl Range {
    /// Its answer.
    pub(super) async fn answer(mut self) -> Result<Blocks, UpstreamError> {
        match (&mut self.task).await {
            Ok(answer) => answer,
            Err(error) => Err(UpstreamError::Connection(error.to_string())),
        }
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The ranges in flight, and how much to request: more after each success, less after a failure.
#[derive(Debug)]
pub(super) struct ReadAhead {
    under_way: VecDeque<Range>,
    /// The number of blocks per request.
    range: u64,
    /// The number of requests that may be in flight.
    depth: usize,
    /// Whether the last block was too long for a range: so is the next one, probably.
    is_long: bool,
}

impl Default for ReadAhead {
    fn default() -> Self {
        Self { under_way: VecDeque::new(), range: FIRST_RANGE, depth: 1, is_long: false }
    }
}

impl ReadAhead {
    /// Requests the blocks from `cursor` on, below `height`, in ranges of at most `limit` blocks.
    /// A range ends at `border`. None is requested if the next block is to be read alone.
    pub(super) fn fill<F: FeedSource>(
        &mut self,
        source: &Arc<F>,
        cursor: u64,
        height: u64,
        limit: u64,
        border: u64,
    ) {
        if self.is_long {
            return;
        }
        if self.under_way.front().is_some_and(|range| range.from != cursor) {
            self.under_way.clear();
        }
        let mut from = self.under_way.back().map_or(cursor, |range| range.until);
        while self.under_way.len() < self.depth && from < height {
            let end = if from < border { height.min(border) } else { height };
            let until = from.saturating_add(self.range.min(limit).max(1)).min(end);
            let source = Arc::clone(source);
            let task = tokio::spawn(async move { source.range(from, until).await });
            self.under_way.push_back(Range { from, until, is_new: true, task });
            from = until;
        }
    }

    /// A round begins.
    pub(super) fn begin_round(&mut self) {
        for range in &mut self.under_way {
            range.is_new = false;
        }
    }

    /// Drops what is in flight.
    pub(super) fn forget(&mut self) {
        self.under_way.clear();
    }

    /// Whether the range from `cursor` on has been answered.
    pub(super) fn has_arrived(&self, cursor: u64) -> bool {
        let next = self.under_way.front().filter(|range| range.from == cursor);
        next.is_some_and(|range| range.task.is_finished())
    }

    /// The range to be read next.
    pub(super) fn pop(&mut self) -> Option<Range> {
        self.under_way.pop_front()
    }

    /// Whether the next block is to be read alone.
    pub(super) const fn is_long(&self) -> bool {
        self.is_long
    }

    /// A range of `count` blocks was answered: more may be requested, as far as the bytes allow.
    pub(super) fn succeeded(&mut self, count: u64, blocks: &[NamespaceBlock]) {
        let bytes: usize = blocks.iter().map(NamespaceBlock::length).sum();
        let fitting = (RANGE_BYTES as u64).saturating_mul(count) / (bytes as u64).max(1);
        self.range = self.range.saturating_mul(2).min(fitting).clamp(1, MAX_RANGE);
        let fitting = AHEAD_BYTES / bytes.max(1);
        self.depth = (self.depth * 2).min(fitting).clamp(1, MAX_UNDER_WAY);
        self.is_long = count == 1 && bytes > LONG_BLOCK;
    }

    /// A range of `count` blocks failed: what follows it is of no use, and less is requested.
    pub(super) fn failed(&mut self, count: u64) {
        self.under_way.clear();
        self.depth = 1;
        self.is_long = false;
        self.range = (count / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(count: usize, bytes: usize) -> Vec<NamespaceBlock> {
        vec![[vec![0; bytes]].into_iter().collect(); count]
    }

    #[test]
    fn empty_blocks_are_read_in_ever_larger_ranges() {
        let mut ahead = ReadAhead::default();
        for _ in 0..10 {
            ahead.succeeded(ahead.range, &answer(0, 0));
        }
        assert_eq!((ahead.range, ahead.depth), (MAX_RANGE, MAX_UNDER_WAY));
    }

    #[test]
    fn what_is_under_way_stays_within_the_budget() {
        for bytes in [100, 2_000, 100_000, 10_000_000] {
            let mut ahead = ReadAhead::default();
            for _ in 0..10 {
                let count = ahead.range;
                ahead.succeeded(count, &answer(count as usize, bytes));
                let range = ahead.range as usize * bytes;
                assert!(range <= RANGE_BYTES || ahead.range == 1, "{bytes}: {range}");
                assert!(range * ahead.depth <= 2 * AHEAD_BYTES || ahead.depth == 1, "{bytes}");
            }
        }
    }

    #[test]
    fn after_a_long_block_the_next_is_read_alone() {
        let mut ahead = ReadAhead::default();
        for (bytes, is_long) in
            [(LONG_BLOCK, false), (LONG_BLOCK + 1, true), (9_000_000, true), (100, false)]
        {
            ahead.succeeded(1, &answer(1, bytes));
            assert_eq!(ahead.is_long(), is_long, "{bytes}");
        }
        ahead.succeeded(1, &answer(1, LONG_BLOCK + 1));
        ahead.failed(1);
        assert!(!ahead.is_long());
    }

    #[test]
    fn after_a_failure_less_is_asked_for() {
        let mut ahead = ReadAhead { range: 100, depth: 8, ..ReadAhead::default() };
        ahead.failed(100);
        assert_eq!((ahead.range, ahead.depth), (50, 1));
        ahead.failed(1);
        assert_eq!(ahead.range, 1);
    }
}
