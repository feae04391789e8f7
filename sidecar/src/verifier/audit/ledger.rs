//! The headers that were read, as far as they were not yet compared with the light client.

use std::collections::VecDeque;

use alloy_primitives::B256;
use espresso_proofs::{BlockTreeRoot, Chain, ChainError, Checkpoint, Link};

use crate::store::HeaderMark;

/// The most headers of which each commitment is kept, 1 MiB of them: HotShot makes as many in most
/// of a day.
pub(in crate::verifier) const MOST_HEADERS: usize = 32 * 1024;
/// The most ends of earlier stretches that are remembered.
const MOST_OWED: usize = 16;

/// What was read and not yet compared.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The headers in a row up to where reading is.
    stretch: Option<Stretch>,
    /// The ends of earlier stretches whose batches moved the head.
    owed: Vec<HeaderMark>,
    /// The height below which everything that moved the head is under the light client's root.
    audited: Option<u64>,
    /// The height below which everything that is kept of what was read is under it.
    settled: u64,
    /// The height from which on headers were read that are in no chain.
    lost: Option<u64>,
    /// The height of the head's batch.
    used: Option<u64>,
    /// Whether the head's batch was seen in the headers in a row.
    is_seen: bool,
}

/// Headers in a row.
#[derive(Debug)]
struct Stretch {
    /// Where they begin.
    begin: u64,
    /// The chain before those whose commitments are kept.
    base: Chain,
    commitments: VecDeque<B256>,
    /// The chain up to the last.
    tip: Chain,
}

/// What a state of the light client says of the headers that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    /// Those below its height are under its root.
    Agrees(HeaderMark),
    /// They are others.
    Contradicts(HeaderMark),
    /// All are below its height: a path decides whether they are under its root.
    Beyond(HeaderMark),
    /// Nothing was read that could be compared.
    Nothing,
}

fn mark(root: BlockTreeRoot) -> HeaderMark {
    HeaderMark { height: root.headers, root: root.hash }
}

impl Stretch {
    fn after(chain: Chain) -> Self {
        let begin = chain.height();
        Self { begin, base: chain.clone(), commitments: VecDeque::new(), tip: chain }
    }

    fn extend(&mut self, links: &[Link]) -> Result<(), ChainError> {
        self.tip.extend_by(links)?;
        self.commitments.extend(links.iter().map(|link| link.commitment));
        self.forget_oldest(self.commitments.len().saturating_sub(MOST_HEADERS));
        Ok(())
    }

    fn forget_oldest(&mut self, count: usize) {
        let count = count.min(self.commitments.len());
        self.commitments.drain(..count).for_each(|commitment| self.base.append(commitment));
    }

    /// How many headers follow the base below a height; none if it is not within the stretch.
    fn count_below(&self, height: u64) -> Option<usize> {
        let count = usize::try_from(height.checked_sub(self.base.height())?).ok()?;
        (count <= self.commitments.len()).then_some(count)
    }

    /// The chain below a height.
    fn below(&self, height: u64) -> Option<Chain> {
        let mut chain = self.base.clone();
        let commitments = self.commitments.iter().take(self.count_below(height)?);
        commitments.for_each(|commitment| chain.append(*commitment));
        Some(chain)
    }
}

impl Ledger {
    /// What an earlier run has left.
    pub(super) fn new(audited: Option<u64>, owed: Vec<HeaderMark>) -> Self {
        Self { owed, audited, ..Self::default() }
    }

    /// Reading starts at a height.
    pub(super) fn start(&mut self, height: u64) {
        (self.stretch, self.lost, self.settled) = (None, None, height);
    }

    /// The height below which everything that moved the head was compared.
    pub(super) const fn audited(&self) -> Option<u64> {
        self.audited
    }

    /// The height below which everything that is kept of what was read is proven.
    pub(super) const fn settled(&self) -> u64 {
        self.settled
    }

    /// The height from which on headers were read that can never be compared.
    pub(super) const fn lost(&self) -> Option<u64> {
        self.lost
    }

    /// Headers from a height on are in no chain.
    pub(super) fn lose(&mut self, height: u64) {
        self.lost = Some(self.lost.map_or(height, |lost| lost.min(height)));
    }

    /// The head's batch is at a height, as is stored. That another was seen says nothing of it.
    pub(super) fn head_is_at(&mut self, used: Option<u64>) {
        self.is_seen &= self.used == used;
        self.used = used;
    }

    /// A batch at a height that was read makes a block the head.
    pub(super) fn head_moves_to(&mut self, height: u64) {
        (self.used, self.is_seen) = (Some(height), self.covers(height));
        if height >= self.settled {
            // That another block at the height was compared says nothing of this one.
            self.audited = self.audited.map(|audited| audited.min(height));
        }
    }

    /// Whether comparing the headers in a row is enough for the head's batch.
    pub(super) fn has_seen_head(&self) -> bool {
        self.is_seen && self.used.is_some_and(|height| self.covers(height))
    }

    /// Whether the head's batch is at a height or above, and was not compared.
    fn is_used(&self, height: u64) -> bool {
        self.used.is_some() && self.used >= self.audited.max(Some(height))
    }

    /// The headers in a row are proven below a height.
    fn raise(&mut self, height: u64) {
        let begin = self.stretch.as_ref().map_or(height, |stretch| stretch.begin);
        let is_elsewhere = self.is_used(0) && (self.used < Some(begin) || !self.is_seen);
        if !is_elsewhere && self.owed.is_empty() {
            self.audited = self.audited.max(Some(height));
        }
        self.settled = self.settled.max(height.min(self.lost.unwrap_or(height)));
    }

    /// Whether a height is among the headers in a row.
    fn covers(&self, height: u64) -> bool {
        let stretch = self.stretch.as_ref();
        stretch.is_some_and(|it| it.begin <= height && height < it.tip.height())
    }

    /// The ends of what is still to be compared, apart from the headers in a row.
    pub(super) fn owed(&self) -> &[HeaderMark] {
        &self.owed
    }

    /// The same with the end of the headers in a row, if the head's batch is among them and was not
    /// compared yet.
    pub(super) fn all_owed(&self) -> Vec<HeaderMark> {
        let mut all = self.owed.clone();
        let begin = self.stretch.as_ref().map_or(0, |stretch| stretch.begin);
        all.extend(self.tip().filter(|_| self.is_used(begin)));
        all
    }

    /// Whether the end of one more stretch cannot be remembered.
    pub(super) const fn owes_too_much(&self) -> bool {
        self.owed.len() >= MOST_OWED
    }

    /// Whether the commitments of no more headers can be kept.
    pub(super) fn is_full(&self) -> bool {
        self.stretch.as_ref().is_some_and(|stretch| stretch.commitments.len() >= MOST_HEADERS)
    }

    /// The end of the headers in a row.
    fn tip(&self) -> Option<HeaderMark> {
        Some(mark(self.stretch.as_ref()?.tip.tree().root()))
    }

    /// Whether headers from a height on follow those that were read.
    pub(super) fn goes_on_at(&self, height: u64) -> bool {
        self.stretch.as_ref().is_some_and(|stretch| stretch.tip.height() == height)
    }

    /// A chain of headers begins.
    pub(super) fn begin(&mut self, chain: Chain) {
        self.stretch = Some(Stretch::after(chain));
    }

    /// Takes headers that follow.
    pub(super) fn extend(&mut self, links: &[Link]) -> Result<(), ChainError> {
        let Some(stretch) = &mut self.stretch else { return Ok(()) };
        let from = stretch.tip.height();
        stretch.extend(links)?;
        // What was read a second time, the same again, is owed once.
        let stretch = &*stretch;
        let until = stretch.tip.height();
        self.owed.retain(|owed| {
            let is_passed = (from..=until).contains(&owed.height);
            let chain = is_passed.then(|| stretch.below(owed.height)).flatten();
            chain.is_none_or(|chain| mark(chain.tree().root()) != *owed)
        });
        Ok(())
    }

    /// Takes headers under the light client's root. Returns the end of those before if they are not
    /// under it.
    pub(super) fn take_proven(&mut self, before: &Chain, after: &Chain) -> Result<(), HeaderMark> {
        if self.goes_on_at(before.height())
            && let Some(tip) = self.tip()
            && tip.root != before.tree().root().hash
        {
            return Err(tip);
        }
        let goes_on = self.goes_on_at(before.height());
        if !goes_on {
            self.break_off();
        }
        let begin = self.stretch.as_ref().map_or(before.height(), |stretch| stretch.begin);
        self.stretch = Some(Stretch { begin, ..Stretch::after(after.clone()) });
        self.raise(after.height());
        Ok(())
    }

    /// What a state of the light client says of the headers in a row.
    pub(super) fn compare(&self, checkpoint: &Checkpoint) -> Comparison {
        let Some(stretch) = &self.stretch else { return Comparison::Nothing };
        let tip = stretch.tip.tree().root();
        if tip.headers < checkpoint.height {
            return Comparison::Beyond(mark(tip));
        }
        let Some(chain) = stretch.below(checkpoint.height) else { return Comparison::Nothing };
        if checkpoint.check(chain.tree()).is_err() {
            return Comparison::Contradicts(mark(chain.tree().root()));
        }
        Comparison::Agrees(mark(chain.tree().root()))
    }

    /// The headers below a mark are under the light client's root.
    pub(super) fn is_proven(&mut self, proven: HeaderMark) {
        if self.owed.contains(&proven) {
            self.owed.retain(|owed| *owed != proven);
            if self.used < Some(proven.height) {
                self.audited = self.audited.max(Some(proven.height));
            }
        }
        let Some(stretch) = &mut self.stretch else { return };
        if let Some(count) = stretch.count_below(proven.height)
            && stretch.below(proven.height).is_some_and(|chain| mark(chain.tree().root()) == proven)
        {
            stretch.forget_oldest(count);
            self.raise(proven.height);
        }
    }

    /// The head's batch is in a block under the light client's root.
    pub(super) fn head_is_proven(&mut self, height: u64) {
        self.audited = self.audited.max(height.checked_add(1));
    }

    /// The headers below a mark are not under the light client's root, and moved nothing.
    pub(super) fn is_refuted(&mut self, refuted: HeaderMark) {
        self.owed.retain(|owed| *owed != refuted);
    }

    /// Remembers the end of headers that moved the head.
    pub(super) fn owe(&mut self, end: HeaderMark) {
        if Some(end.height) > self.audited && !self.owed.contains(&end) {
            self.owed.truncate(MOST_OWED - 1);
            self.owed.push(end);
        }
    }

    /// Reading goes back to a height.
    pub(super) fn go_back(&mut self, height: u64) {
        self.settled = self.settled.min(height);
        self.lost = self.lost.filter(|lost| *lost < height);
        let Some(stretch) = self.stretch.as_mut().filter(|it| it.tip.height() > height) else {
            return;
        };
        let end = mark(stretch.tip.tree().root());
        match stretch.below(height) {
            Some(chain) => {
                stretch.commitments.truncate(stretch.count_below(height).unwrap_or(0));
                stretch.tip = chain;
            }
            None => self.stretch = None,
        }
        if self.is_used(height) {
            self.owe(end);
        }
    }

    /// Reading goes on elsewhere.
    pub(super) fn break_off(&mut self) {
        let Some(stretch) = &self.stretch else { return };
        if let Some(end) = self.tip().filter(|_| self.is_used(stretch.begin)) {
            self.owe(end);
        }
        self.stretch = None;
    }

    /// Nothing is owed any more.
    pub(super) fn forgive(&mut self) {
        self.owed.clear();
    }
}
