//! Authenticated batches that wait for their number to be confirmed.
//!
//! Batches are kept per number in HotShot order, within a budget. If it is full, the highest
//! numbers are dropped first, and the height to read again from is remembered: nothing is lost,
//! only delayed. Anybody may repost what a batcher signed, so of identical batches only the first
//! is kept. Reading a HotShot block again puts its batches at their old positions.

use std::collections::BTreeMap;

use crate::rollup::{Batch, Rollup};

/// The position of a batch in HotShot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// HotShot height.
    pub height: u64,
    /// Index among the namespace's transactions of that block.
    pub index: usize,
}

/// The limit on what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Number of batches.
    pub count: usize,
    /// Their memory, in bytes.
    pub bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { count: 16 * 1024, bytes: 16 * 1024 * 1024 }
    }
}

/// What was dropped because the budget was full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// The lowest number among the dropped: lower ones are complete.
    pub lowest_number: u64,
    /// The lowest HotShot height among the dropped: reading again from here finds all of them.
    pub reread_from: u64,
}

/// The candidates.
pub struct Candidates<R: Rollup> {
    by_number: BTreeMap<u64, BTreeMap<Position, Batch<R::Content>>>,
    numbers: BTreeMap<Position, u64>,
    bytes: usize,
    budget: Budget,
    dropped: Option<Dropped>,
}

impl<R: Rollup> std::fmt::Debug for Candidates<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Candidates")
            .field("count", &self.numbers.len())
            .field("bytes", &self.bytes)
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

impl<R: Rollup> Candidates<R> {
    /// No candidates yet, within a budget.
    #[must_use]
    pub const fn new(budget: Budget) -> Self {
        Self {
            by_number: BTreeMap::new(),
            numbers: BTreeMap::new(),
            bytes: 0,
            budget,
            dropped: None,
        }
    }

    /// Adds a batch unless an earlier one is identical, and drops others if the budget is full.
    pub fn insert(&mut self, position: Position, batch: Batch<R::Content>) {
        let number = batch.facts.number;
        let twin = self.of(number).find(|(_, kept)| **kept == batch).map(|(position, _)| position);
        match twin {
            Some(first) if first <= position => return,
            Some(later) => self.remove(number, later),
            None => {}
        }
        self.bytes += R::size(&batch);
        self.numbers.insert(position, number);
        if let Some(known) = self.by_number.entry(number).or_default().insert(position, batch) {
            self.bytes -= R::size(&known);
        }
        while self.numbers.len() > self.budget.count || self.bytes > self.budget.bytes {
            self.drop_last();
        }
    }

    fn remove(&mut self, number: u64, position: Position) {
        let batches = self.by_number.get_mut(&number);
        if let Some(batch) = batches.and_then(|batches| batches.remove(&position)) {
            self.bytes -= R::size(&batch);
            self.numbers.remove(&position);
        }
    }

    /// Drops the last batch of the highest number.
    fn drop_last(&mut self) {
        let Some(mut highest) = self.by_number.last_entry() else { return };
        let number = *highest.key();
        if let Some((position, batch)) = highest.get_mut().pop_last() {
            self.bytes -= R::size(&batch);
            self.numbers.remove(&position);
            let dropped = self
                .dropped
                .get_or_insert(Dropped { lowest_number: number, reread_from: position.height });
            dropped.lowest_number = dropped.lowest_number.min(number);
            dropped.reread_from = dropped.reread_from.min(position.height);
        }
        if highest.get().is_empty() {
            highest.remove();
        }
    }

    /// Forgets every batch up to a number, and returns how many those were.
    pub fn discard_up_to(&mut self, number: u64) -> usize {
        let kept = number
            .checked_add(1)
            .map_or_else(BTreeMap::new, |next| self.by_number.split_off(&next));
        let discarded = std::mem::replace(&mut self.by_number, kept);
        let mut count = 0;
        for (position, batch) in discarded.into_values().flatten() {
            self.bytes -= R::size(&batch);
            self.numbers.remove(&position);
            count += 1;
        }
        count
    }

    /// The candidates for a number, in HotShot order.
    pub fn of(&self, number: u64) -> impl Iterator<Item = (Position, &Batch<R::Content>)> {
        self.by_number
            .get(&number)
            .into_iter()
            .flatten()
            .map(|(position, batch)| (*position, batch))
    }

    /// The number of consecutive numbers from `first` on that have a candidate, at most `limit`.
    #[must_use]
    pub fn run_length(&self, first: u64, limit: u64) -> u64 {
        let run = self
            .by_number
            .range(first..)
            .zip(first..)
            .take_while(|((have, _), want)| *have == want);
        run.take(usize::try_from(limit).unwrap_or(usize::MAX)).count() as u64
    }

    /// The height from which reading must resume so that no batch above `number` is missed, if
    /// everything below `cursor` was read.
    #[must_use]
    pub fn restart_height(&self, number: u64, cursor: u64) -> u64 {
        let kept = self.numbers.iter().find(|(_, candidate)| **candidate > number);
        let kept = kept.map_or(cursor, |(position, _)| position.height);
        let dropped = self.dropped.map_or(cursor, |dropped| dropped.reread_from);
        cursor.min(kept).min(dropped)
    }

    /// The height at or below which candidates for `number` may have been dropped.
    #[must_use]
    pub fn reread_for(&self, number: u64) -> Option<u64> {
        let dropped = self.dropped.filter(|dropped| dropped.lowest_number <= number)?;
        Some(dropped.reread_from)
    }

    /// What was dropped, if anything.
    #[must_use]
    pub const fn dropped(&self) -> Option<Dropped> {
        self.dropped
    }

    /// Reading starts again from where something was dropped. Candidates after that are forgotten
    /// until they are read again: they must not be decided before the dropped ones.
    pub fn reread(&mut self) {
        let Some(Dropped { reread_from: height, .. }) = self.dropped.take() else { return };
        let later: Vec<_> = self
            .numbers
            .range(Position { height, index: 0 }..)
            .map(|(position, number)| (*number, *position))
            .collect();
        for (number, position) in later {
            self.remove(number, position);
            if self.by_number.get(&number).is_some_and(BTreeMap::is_empty) {
                self.by_number.remove(&number);
            }
        }
    }

    /// Whether at most half the budget is used: beyond that, reading ahead is of no use.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.bytes <= self.budget.bytes / 2 && self.numbers.len() <= self.budget.count / 2
    }

    /// The number of candidates.
    #[must_use]
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether there is no candidate.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The memory that they use, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}
