//! Finds the batches in a range: signatures are recovered on all processors, preserving order.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    thread::available_parallelism,
};

use espresso_proofs::NamespaceBlock;
use tokio::task::JoinError;

use crate::rollup::{BatchOf, Position, Rejected, Rollup};

/// Fewer payloads than this are not worth another thread.
const WORTH_A_THREAD: usize = 8;

/// How often each byte of a block may be read, on average. Payloads overlap only where whoever made
/// the block wants them to, and could be as many times as long as the block as they are many.
const MOST_READINGS: usize = 16;

/// HotShot blocks in a row.
pub(super) struct Blocks {
    from: u64,
    blocks: Arc<Vec<NamespaceBlock>>,
}

/// The outcome for a range.
pub(super) struct Intake<R: Rollup> {
    /// The batches, in HotShot order.
    pub(super) admitted: Vec<(Position, BatchOf<R>)>,
    /// The number of payloads, or of their parts, that each check rejected.
    pub(super) rejected: Rejections,
}

/// How many were rejected, by the check that did it.
#[derive(Default)]
pub(super) struct Rejections(BTreeMap<&'static str, u64>);

/// Payloads in which a known batcher has signed something.
#[derive(Default)]
pub(super) struct Signed {
    at: BTreeSet<Position>,
    rejected: Rejections,
}

impl Signed {
    /// The HotShot blocks with such a payload.
    pub(super) fn heights(&self) -> BTreeSet<u64> {
        self.at.iter().map(|position| position.height).collect()
    }
}

impl Blocks {
    /// The HotShot blocks from `from` on.
    pub(super) fn new(from: u64, blocks: Vec<NamespaceBlock>) -> Self {
        Self { from, blocks: Arc::new(blocks) }
    }

    /// Admits the payloads.
    ///
    /// # Errors
    /// When the process goes down meanwhile.
    pub(super) async fn admit<R: Rollup>(&self, rollup: &Arc<R>) -> Result<Intake<R>, JoinError> {
        let rollup = Arc::clone(rollup);
        let shares = self.read(move |intake: &mut Intake<R>, position, payload| {
            intake.extend(&*rollup, None, position, payload);
        });
        Ok(Intake::of(shares.await?))
    }

    /// Finds the payloads in which a known batcher has signed something.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub(super) async fn signed<R: Rollup>(&self, rollup: &Arc<R>) -> Result<Signed, JoinError> {
        let rollup = Arc::clone(rollup);
        let shares = self.read(move |signed: &mut Signed, position, payload| {
            match rollup.authenticate(payload) {
                Ok(()) => _ = signed.at.insert(position),
                Err(rejected) => signed.rejected.note(position, &rejected),
            }
        });
        let mut all = Signed::default();
        for Signed { at, rejected } in shares.await? {
            all.at.extend(at);
            all.rejected.extend(rejected);
        }
        Ok(all)
    }

    /// Admits these payloads in HotShot blocks whose headers name these final L1 blocks.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub(super) async fn admit_signed<R: Rollup>(
        &self,
        rollup: &Arc<R>,
        Signed { at, rejected }: Signed,
        l1_finalized: BTreeMap<u64, u64>,
    ) -> Result<Intake<R>, JoinError> {
        let rollup = Arc::clone(rollup);
        let shares = self.read(move |intake: &mut Intake<R>, position, payload| {
            if at.contains(&position) {
                let l1_finalized = l1_finalized.get(&position.height).copied();
                intake.extend(&*rollup, l1_finalized, position, payload);
            }
        });
        let mut intake = Intake::of(shares.await?);
        intake.rejected.extend(rejected);
        Ok(intake)
    }

    /// Reads the payloads, some on each processor. What was found in each share is in order.
    async fn read<T: Default + Send + 'static>(
        &self,
        look: impl Fn(&mut T, Position, &[u8]) + Send + Sync + 'static,
    ) -> Result<Vec<T>, JoinError> {
        let Self { from, blocks } = self;
        let count: usize = blocks.iter().map(|block| block.payloads().len()).sum();
        if count < WORTH_A_THREAD {
            let mut found = T::default();
            payloads(*from, blocks).for_each(|(at, payload)| look(&mut found, at, payload));
            return Ok(vec![found]);
        }
        let threads = available_parallelism().map_or(1, usize::from);
        let share = count.div_ceil(threads);
        let look = Arc::new(look);
        let mut tasks = Vec::new();
        for first in (0..count).step_by(share) {
            let (from, blocks, look) = (*from, Arc::clone(blocks), Arc::clone(&look));
            tasks.push(tokio::task::spawn_blocking(move || {
                let mut found = T::default();
                let payloads = payloads(from, &blocks).skip(first).take(share);
                payloads.for_each(|(at, payload)| look(&mut found, at, payload));
                found
            }));
        }
        let mut shares = Vec::new();
        for task in tasks {
            shares.push(task.await?);
        }
        Ok(shares)
    }
}

/// All payloads with their positions. Those that overlap too much are empty.
fn payloads(from: u64, blocks: &[NamespaceBlock]) -> impl Iterator<Item = (Position, &[u8])> {
    (from..).zip(blocks).flat_map(|(height, block)| {
        let mut room = block.length().saturating_mul(MOST_READINGS);
        let payloads = block.payloads().enumerate();
        payloads.map(move |(index, payload)| {
            let rest = room.checked_sub(payload.len());
            room = rest.unwrap_or(room);
            let payload = rest.map_or(&[][..], |_| payload);
            (Position { index, ..Position::start_of(height) }, payload)
        })
    })
}

impl<R: Rollup> Default for Intake<R> {
    fn default() -> Self {
        Self { admitted: Vec::new(), rejected: Rejections::default() }
    }
}

impl<R: Rollup> Intake<R> {
    fn of(shares: Vec<Self>) -> Self {
        let mut all = Self::default();
        for Self { admitted, rejected } in shares {
            all.admitted.extend(admitted);
            all.rejected.extend(rejected);
        }
        all
    }

    fn extend(
        &mut self,
        rollup: &R,
        l1_finalized: Option<u64>,
        position: Position,
        payload: &[u8],
    ) {
        for (part, batch) in rollup.admit(payload, l1_finalized).into_iter().enumerate() {
            let position = Position { part, ..position };
            match batch {
                Ok(batch) => self.admitted.push((position, batch)),
                Err(rejected) => self.rejected.note(position, &rejected),
            }
        }
    }
}

impl Rejections {
    fn note(&mut self, position: Position, rejected: &Rejected) {
        tracing::debug!(?position, %rejected, "payload refused");
        *self.0.entry(rejected.reason()).or_default() += 1;
    }

    fn extend(&mut self, Self(others): Self) {
        for (reason, count) in others {
            *self.0.entry(reason).or_default() += count;
        }
    }

    /// Each check and how many it rejected.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(reason, count)| (*reason, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(ends: impl Iterator<Item = u32>, bodies: &[u8]) -> NamespaceBlock {
        let ends: Vec<_> = ends.collect();
        let mut bytes = (ends.len() as u32).to_le_bytes().to_vec();
        bytes.extend(ends.iter().flat_map(|end| end.to_le_bytes()));
        bytes.extend(bodies);
        NamespaceBlock::of_payload(bytes)
    }

    fn lengths(blocks: &[NamespaceBlock]) -> Vec<usize> {
        payloads(3, blocks).map(|(_, payload)| payload.len()).collect()
    }

    #[test]
    fn payloads_one_after_another_are_all_read() {
        let blocks = [block((1..=100).map(|end| end * 3), &[7; 300]), NamespaceBlock::default()];
        assert_eq!(lengths(&blocks), [3; 100]);
    }

    #[test]
    fn payloads_that_overlap_are_read_so_often() {
        let ends = || (0..5_000).map(|index| if index % 2 == 0 { 1_000 } else { 0 });
        let overlapping = block(ends(), &[7; 1_000]);
        let length = overlapping.length();
        let honest = block([3].into_iter(), &[7; 3]);
        let lengths = lengths(&[overlapping, honest]);
        let (read, last) = lengths.split_at(5_000);
        assert_eq!(read.iter().sum::<usize>(), length * MOST_READINGS / 1_000 * 1_000);
        assert_eq!(last, [3]);
        let positions: Vec<_> = payloads(3, &[block(ends(), &[7; 1_000])])
            .map(|(position, _)| (position.height, position.index))
            .collect();
        assert!(positions.into_iter().eq((0..5_000).map(|index| (3, index))));
    }
}
