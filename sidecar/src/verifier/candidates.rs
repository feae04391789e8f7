//! Authenticated batches that wait for their number to be confirmed.
//!
//! Batches are kept per number in HotShot order, within a budget. If it is full, the signer that
//! has the most gives way, with its highest number first, and the position to read again from is
//! remembered: nothing is lost, only delayed, and no signer crowds out another. Anybody may repost
//! what a batcher signed, so of identical batches only the first is kept. Reading a HotShot block
//! again puts its batches at their old positions.

use std::collections::{BTreeMap, BTreeSet, btree_map};

use alloy_primitives::Address;

use crate::{
    head::HeadBlock,
    rollup::{BatchOf, Facts as _, Position, Rollup},
};

/// The number of batches that are kept, if nothing else is set. Each takes the same memory.
pub const BUDGET: usize = 16 * 1024;

/// The most copies of one batch that are kept.
const MOST_COPIES: usize = 64;

/// What was dropped of one signer because the budget was full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dropped {
    /// The lowest number among the dropped: lower ones are complete.
    lowest_number: u64,
    /// The first position among the dropped: reading again from its height finds all of them.
    first: Position,
}

/// The candidates.
pub struct Candidates<R: Rollup> {
    /// By number, and in HotShot order.
    batches: BTreeMap<(u64, Position), Box<BatchOf<R>>>,
    numbers: BTreeMap<Position, u64>,
    /// What each signer has; its last one is the next that it loses.
    by_signer: BTreeMap<Address, BTreeSet<(u64, Position)>>,
    /// Those that the node's block was found equal to.
    compared: BTreeSet<Position>,
    budget: usize,
    dropped: BTreeMap<Address, Dropped>,
    /// The head above which only batches that can follow it are kept, since the budget was full.
    strict_above: Option<HeadBlock>,
}

impl<R: Rollup> std::fmt::Debug for Candidates<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Candidates")
            .field("count", &self.numbers.len())
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

impl<R: Rollup> Candidates<R> {
    /// No candidates yet, and room for so many.
    #[must_use]
    pub const fn new(budget: usize) -> Self {
        Self {
            batches: BTreeMap::new(),
            numbers: BTreeMap::new(),
            by_signer: BTreeMap::new(),
            compared: BTreeSet::new(),
            budget,
            dropped: BTreeMap::new(),
            strict_above: None,
        }
    }

    /// Adds a batch unless an earlier one is identical, and drops others if the budget is full:
    /// first, without remembering them, those that can never follow `tip`.
    pub fn insert(
        &mut self,
        position: Position,
        batch: BatchOf<R>,
        tip: &HeadBlock,
        can_follow: impl Fn(&BatchOf<R>) -> bool,
    ) {
        if self.strict_above == Some(*tip) && !can_follow(&batch) {
            return;
        }
        let number = batch.facts.number();
        let twin = self.of(number).find(|(_, kept)| **kept == batch).map(|(position, _)| position);
        match twin {
            Some(first) if first <= position => return,
            Some(later) => self.remove(number, later),
            None => {}
        }
        self.remove(number, position);
        self.numbers.insert(position, number);
        self.by_signer.entry(batch.signer).or_default().insert((number, position));
        self.batches.insert((number, position), Box::new(batch));
        if self.len() > self.budget && self.strict_above.replace(*tip) != Some(*tip) {
            self.retain(can_follow);
        }
        while self.len() > self.budget {
            self.drop_one();
        }
    }

    /// A batch that is not kept, but may be needed when its number comes.
    pub fn put_off(&mut self, position: Position, batch: &BatchOf<R>) {
        self.note_dropped(batch.signer, batch.facts.number(), position);
    }

    /// Whether one more copy of a batch is kept. Where there are too many, one that is worse gives
    /// way, but never the first, which has its place in HotShot's order.
    pub fn make_room(&mut self, rollup: &R, batch: &BatchOf<R>) -> bool {
        let number = batch.facts.number();
        if self.of(number).any(|(_, kept)| kept == batch) {
            return true;
        }
        let copies = self.of(number).filter(|(_, kept)| rollup.are_copies(kept, batch));
        let (mut count, mut worst) = (0, None::<(Position, &BatchOf<R>)>);
        for (position, kept) in copies {
            count += 1;
            let is_worse = |(_, worst): (_, &BatchOf<R>)| rollup.prefers(worst, kept);
            if count > 1 && worst.is_none_or(is_worse) {
                worst = Some((position, kept));
            }
        }
        if count < MOST_COPIES {
            return true;
        }
        let worst = worst.filter(|(_, worst)| rollup.prefers(batch, worst));
        match worst.map(|(position, _)| position) {
            Some(position) => {
                self.remove(number, position);
                true
            }
            None => false,
        }
    }

    /// Forgets the batches that do not pass.
    pub fn retain(&mut self, pass: impl Fn(&BatchOf<R>) -> bool) {
        let failed = self.batches.iter().filter(|(_, batch)| !pass(batch));
        let failed: Vec<_> = failed.map(|(place, _)| *place).collect();
        for (number, position) in failed {
            self.remove(number, position);
        }
    }

    fn remove(&mut self, number: u64, position: Position) {
        if let Some(batch) = self.batches.remove(&(number, position)) {
            self.unlist(number, position, &batch);
        }
    }

    /// Completes the removal of a batch that is no longer listed by its number.
    fn unlist(&mut self, number: u64, position: Position, batch: &BatchOf<R>) {
        self.numbers.remove(&position);
        self.compared.remove(&position);
        if let Some(kept) = self.by_signer.get_mut(&batch.signer) {
            kept.remove(&(number, position));
            if kept.is_empty() {
                self.by_signer.remove(&batch.signer);
            }
        }
    }

    /// Drops the last batch of the highest number of the signer that has the most.
    fn drop_one(&mut self) {
        let most = self.by_signer.iter().max_by_key(|(_, kept)| (kept.len(), kept.last()));
        let last = most.and_then(|(signer, kept)| Some((*signer, *kept.last()?)));
        let Some((signer, (number, position))) = last else { return };
        self.remove(number, position);
        self.note_dropped(signer, number, position);
    }

    fn note_dropped(&mut self, signer: Address, number: u64, position: Position) {
        let dropped = self
            .dropped
            .entry(signer)
            .or_insert(Dropped { lowest_number: number, first: position });
        dropped.lowest_number = dropped.lowest_number.min(number);
        dropped.first = dropped.first.min(position);
    }

    /// Forgets every batch up to a number, and returns how many those were.
    pub fn discard_up_to(&mut self, number: u64) -> usize {
        let next = number.checked_add(1).map(|next| (next, Position::start_of(0)));
        let kept = next.map_or_else(BTreeMap::new, |next| self.batches.split_off(&next));
        let discarded = std::mem::replace(&mut self.batches, kept);
        let count = discarded.len();
        for ((number, position), batch) in discarded {
            self.unlist(number, position, &batch);
        }
        count
    }

    /// What is kept from a number on.
    fn from(&self, number: u64) -> btree_map::Range<'_, (u64, Position), Box<BatchOf<R>>> {
        self.batches.range((number, Position::start_of(0))..)
    }

    /// The candidates for a number, in HotShot order.
    pub fn of(&self, number: u64) -> impl Iterator<Item = (Position, &BatchOf<R>)> {
        self.from(number)
            .take_while(move |((of, _), _)| *of == number)
            .map(|((_, position), batch)| (*position, &**batch))
    }

    /// Whether the node's block was found equal to the batch at a position.
    #[must_use]
    pub fn is_compared(&self, position: Position) -> bool {
        self.compared.contains(&position)
    }

    /// The node's block equals the batch at a position.
    pub fn note_compared(&mut self, position: Position) {
        if self.numbers.contains_key(&position) {
            self.compared.insert(position);
        }
    }

    /// The node may have other blocks now.
    pub fn forget_compared(&mut self) {
        self.compared.clear();
    }

    /// The number of consecutive numbers from `first` on that have a candidate, at most `limit`.
    #[must_use]
    pub fn run_length(&self, first: u64, limit: u64) -> u64 {
        let mut length = 0;
        for ((number, _), _) in self.from(first) {
            match number.checked_sub(first) {
                Some(above) if above == length && length < limit => length += 1,
                Some(above) if above < length => {}
                _ => break,
            }
        }
        length
    }

    /// The height from which reading must resume so that no batch above `number` is missed, if
    /// everything below `cursor` was read.
    #[must_use]
    pub fn restart_height(&self, number: u64, cursor: u64) -> u64 {
        let kept = self.numbers.iter().find(|(_, candidate)| **candidate > number);
        let kept = kept.map_or(cursor, |(position, _)| position.height);
        cursor.min(kept).min(self.reread_from().unwrap_or(cursor))
    }

    /// The first position at which a candidate for `number` may have been dropped.
    #[must_use]
    pub fn dropped_for(&self, number: u64) -> Option<Position> {
        let dropped = self.dropped.values().filter(|dropped| dropped.lowest_number <= number);
        dropped.map(|dropped| dropped.first).min()
    }

    /// The lowest height from which something was dropped, if anything was.
    #[must_use]
    pub fn reread_from(&self) -> Option<u64> {
        self.dropped.values().map(|dropped| dropped.first.height).min()
    }

    /// Reading starts again from a height. Candidates after that are forgotten until they are read
    /// again: they must not be decided before the dropped ones.
    pub fn reread(&mut self, height: u64) {
        self.dropped.retain(|_, dropped| dropped.first.height < height);
        let later = self.numbers.range(Position::start_of(height)..);
        let later: Vec<_> = later.map(|(position, number)| (*number, *position)).collect();
        for (number, position) in later {
            self.remove(number, position);
        }
    }

    /// Reading goes on at a height below which no batch counts.
    pub fn skip_to(&mut self, height: u64) {
        let start = Position::start_of(height);
        let earlier = self.numbers.range(..start);
        let earlier: Vec<_> = earlier.map(|(position, number)| (*number, *position)).collect();
        for (number, position) in earlier {
            self.remove(number, position);
        }
        for dropped in self.dropped.values_mut() {
            dropped.first = dropped.first.max(start);
        }
    }

    /// Whether at most half the budget is used: beyond that, reading ahead is of no use.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.len() <= self.budget / 2
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

    /// The memory that the batches use, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.len() * size_of::<BatchOf<R>>()
    }
}
