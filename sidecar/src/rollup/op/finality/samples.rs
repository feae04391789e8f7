//! Whether L1 has finalized what the node calls finalized. After execution-layer sync, op-node
//! calls its unsafe tip safe and finalized, and tells the execution node so: that the two agree
//! says nothing then.
//!
//! A block is proven if op-node derived it, or a block above it, from L1 blocks that are final now.
//! What op-node says of safe blocks is kept until L1 has decided ([`Samples`]).

use std::cmp::Reverse;

use crate::{
    eth::BlockId,
    rollup::op::{SafeHead, SyncStatus},
    store::SafeSample,
};

/// How many samples are kept. When L1 does not finalize for long, they are further apart.
const CAPACITY: usize = 64;

impl SafeSample {
    /// The L1 block at which the safe block is final at the latest.
    fn l1(&self) -> BlockId {
        if self.head_l1.number >= self.current_l1.number { self.head_l1 } else { self.current_l1 }
    }

    /// What a sync status says, if that can prove something: op-node has derived a block above the
    /// one that it calls finalized, by a batch.
    pub(super) fn of(status: &SyncStatus, seq_window_size: u64) -> Option<Self> {
        let known = |block: &BlockId| !block.hash.is_zero();
        let current_l1 = status.current_l1.filter(known)?;
        let head_l1 = status.head_l1.filter(known)?;
        let safe = status.safe_l2.filter(|block| !block.hash.is_zero())?;
        let finalized = status.ready_finalized_l2()?;
        let origin = safe.l1_origin.number;
        let safe = BlockId { number: safe.number, hash: safe.hash };
        let sample = Self { current_l1, head_l1, safe };
        (safe.number > finalized.number && sample.is_by_batch(origin, seq_window_size))
            .then_some(sample)
    }

    /// What the safe-head database says of a block with that L1 origin.
    pub(super) fn at(entry: SafeHead, origin: BlockId, seq_window_size: u64) -> Option<Self> {
        let SafeHead { l1_block, safe_head } = entry;
        let sample = Self { current_l1: l1_block, head_l1: l1_block, safe: safe_head };
        sample.is_by_batch(origin.number, seq_window_size).then_some(sample)
    }

    /// Whether L1 must have had a batch for the safe block: beyond the sequencing window, op-node
    /// derives blocks without one, on whatever it took for safe.
    ///
    /// The window ends at the higher L1 block. `current_l1` alone would not do: after a start it is
    /// below the L1 blocks that the safe block was derived from.
    fn is_by_batch(&self, origin: u64, seq_window_size: u64) -> bool {
        let distance = self.l1().number.checked_sub(origin);
        distance.is_some_and(|distance| distance < seq_window_size)
    }
}

/// What op-node has said of safe blocks, by L1 block.
#[derive(Debug, Default)]
pub(super) struct Samples(Vec<SafeSample>);

impl Samples {
    /// The samples of an earlier run.
    pub(super) fn new(stored: &[SafeSample]) -> Self {
        let mut samples = Self::default();
        for sample in stored {
            samples.add(*sample);
        }
        samples
    }

    pub(super) fn as_slice(&self) -> &[SafeSample] {
        &self.0
    }

    /// Adds a sample. Of each safe block the first one is kept, for which L1 decides first, and the
    /// last one, in case that L1 drops the blocks of the first.
    pub(super) fn add(&mut self, sample: SafeSample) {
        let place = self.0.partition_point(|known| known.l1().number <= sample.l1().number);
        let mut same = self.0.iter_mut().take(place).rev();
        let mut same = same.by_ref().take_while(|known| known.safe == sample.safe);
        match (same.next(), same.next()) {
            (Some(last), _) if *last == sample => return,
            (Some(last), Some(_)) => {
                *last = sample;
                return;
            }
            _ => self.0.insert(place, sample),
        }
        if self.0.len() > CAPACITY {
            self.thin_out();
        }
    }

    /// Removes the one nearest to its predecessor. The first stays, for which L1 decides first, and
    /// the last, which covers most.
    fn thin_out(&mut self) {
        let inner = self.0.len().saturating_sub(2);
        let gaps = self.0.iter().zip(self.0.iter().skip(1)).take(inner).enumerate();
        let gap = |(_, (before, after)): &(usize, (&SafeSample, &SafeSample))| {
            after.l1().number.saturating_sub(before.l1().number)
        };
        if let Some((index, _)) = gaps.min_by_key(gap) {
            self.0.remove(index.saturating_add(1));
        }
    }

    /// The samples on which L1 has decided when it is final up to a block, the highest safe block
    /// first.
    pub(super) fn decided(&self, finalized: u64) -> Vec<SafeSample> {
        let decided = self.0.iter().filter(|sample| sample.l1().number <= finalized);
        let mut decided: Vec<_> = decided.copied().collect();
        decided.sort_by_key(|sample| Reverse(sample.safe.number));
        decided
    }

    /// Whether L1 may prove a block later.
    pub(super) fn may_prove(&self, block: BlockId) -> bool {
        self.0.iter().any(|sample| covers(sample.safe, block))
    }

    /// Forgets a sample whose L1 blocks are not L1's.
    pub(super) fn remove(&mut self, sample: &SafeSample) {
        self.0.retain(|known| known != sample);
    }

    /// Forgets what is below a proof.
    pub(super) fn keep_from(&mut self, proof: &SafeSample) {
        self.0.retain(|known| known == proof || known.l1().number > proof.l1().number);
    }
}

/// Whether a proven block proves another one of the same chain.
pub(super) fn covers(proven: BlockId, block: BlockId) -> bool {
    block.number < proven.number || block == proven
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;

    use super::*;
    use crate::rollup::op::L2Ref;

    const WINDOW: u64 = 10;

    fn id(number: u64) -> BlockId {
        BlockId { number, hash: B256::repeat_byte(1) }
    }

    fn l2(number: u64, origin: u64) -> L2Ref {
        L2Ref { hash: B256::repeat_byte(1), number, l1_origin: id(origin) }
    }

    fn zero() -> BlockId {
        BlockId { number: 0, hash: B256::ZERO }
    }

    fn status() -> SyncStatus {
        SyncStatus {
            current_l1: Some(id(19)),
            head_l1: Some(id(20)),
            safe_l2: Some(l2(50, 15)),
            finalized_l2: Some(l2(49, 14)),
        }
    }

    fn sample(l1: u64, safe: u64) -> SafeSample {
        SafeSample { current_l1: id(l1), head_l1: id(l1), safe: id(safe) }
    }

    #[test]
    fn a_sync_status_proves_only_what_op_node_derived_by_a_batch() {
        let of = |status: SyncStatus| SafeSample::of(&status, WINDOW);
        let expected = SafeSample { current_l1: id(19), head_l1: id(20), safe: id(50) };
        assert_eq!(of(status()), Some(expected));
        assert_eq!(expected.l1().number, 20);
        let useless: [(&str, SyncStatus); 11] = [
            ("current_l1 is missing", SyncStatus { current_l1: None, ..status() }),
            ("current_l1 is zero", SyncStatus { current_l1: Some(zero()), ..status() }),
            ("head_l1 is missing", SyncStatus { head_l1: None, ..status() }),
            ("head_l1 is zero", SyncStatus { head_l1: Some(zero()), ..status() }),
            ("nothing is safe", SyncStatus { safe_l2: None, ..status() }),
            (
                "what is safe is finalized",
                SyncStatus { finalized_l2: Some(l2(50, 15)), ..status() },
            ),
            ("finalized is above", SyncStatus { finalized_l2: Some(l2(51, 15)), ..status() }),
            ("nothing is finalized", SyncStatus { finalized_l2: None, ..status() }),
            ("past the window", SyncStatus { safe_l2: Some(l2(50, 10)), ..status() }),
            (
                "past the window, after a start",
                SyncStatus { current_l1: Some(id(1)), safe_l2: Some(l2(50, 10)), ..status() },
            ),
            ("before its origin", SyncStatus { safe_l2: Some(l2(50, 21)), ..status() }),
        ];
        for (case, status) in useless {
            assert_eq!(of(status), None, "{case}");
        }
        assert!(of(SyncStatus { safe_l2: Some(l2(50, 11)), ..status() }).is_some());
    }

    #[test]
    fn an_entry_of_the_safe_head_database_proves_only_what_was_derived_by_a_batch() {
        let entry = SafeHead { l1_block: id(20), safe_head: id(50) };
        let at = |origin| SafeSample::at(entry, id(origin), WINDOW);
        assert_eq!(at(11), Some(sample(20, 50)));
        assert_eq!(at(20), Some(sample(20, 50)));
        assert_eq!((at(10), at(21)), (None, None));
    }

    #[test]
    fn of_each_safe_block_the_first_and_the_last_sample_are_kept() {
        let mut samples = Samples::default();
        for (l1, safe) in [(10, 50), (10, 50), (11, 50), (12, 50), (15, 52), (14, 51), (15, 52)] {
            samples.add(sample(l1, safe));
        }
        let expected = [(10, 50), (12, 50), (14, 51), (15, 52)].map(|(l1, safe)| sample(l1, safe));
        assert_eq!(samples.as_slice(), expected);
    }

    /// However long L1 does not finalize, there is a sample for it to decide soon.
    #[test]
    fn samples_thin_out_evenly_and_keep_both_ends() {
        let mut samples = Samples::default();
        for l1 in 0..10_000 {
            samples.add(sample(l1, 2 * l1));
            assert_eq!(samples.as_slice().len(), CAPACITY.min(l1 as usize + 1));
            assert_eq!(samples.as_slice()[0], sample(0, 0));
            assert_eq!(samples.as_slice().last(), Some(&sample(l1, 2 * l1)));
        }
        let numbers: Vec<_> = samples.as_slice().iter().map(|sample| sample.l1().number).collect();
        let widest = numbers.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(widest <= 4 * 10_000 / CAPACITY as u64, "{widest}");
    }

    #[test]
    fn a_proof_covers_what_is_below_it_and_itself() {
        assert!(covers(id(5), id(5)) && covers(id(5), id(4)));
        assert!(!covers(id(5), id(6)));
        assert!(!covers(id(5), BlockId { hash: B256::ZERO, ..id(5) }));
    }

    #[test]
    fn decided_samples_come_highest_first_and_a_proof_ends_those_below() {
        let mut samples = Samples::new(&[sample(10, 50), sample(11, 60), sample(12, 55)]);
        assert_eq!(samples.decided(9), []);
        assert_eq!(samples.decided(11), [sample(11, 60), sample(10, 50)]);
        assert_eq!(samples.decided(12)[0], sample(11, 60));
        assert!(samples.may_prove(id(60)) && !samples.may_prove(id(61)));
        samples.add(sample(11, 58));
        samples.keep_from(&sample(11, 60));
        assert_eq!(samples.as_slice(), [sample(11, 60), sample(12, 55)]);
        samples.remove(&sample(12, 55));
        assert_eq!(samples.as_slice(), [sample(11, 60)]);
    }
}
