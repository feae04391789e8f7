//! Finds the batches in a range: signatures are recovered on all processors, preserving order.

use std::{collections::BTreeMap, sync::Arc, thread::available_parallelism};

use espresso_proofs::NamespaceBlock;
use tokio::task::JoinError;

use crate::rollup::{BatchOf, Position, Rejected, Rollup};

/// Fewer payloads than this are not worth another thread.
const WORTH_A_THREAD: usize = 8;

/// How often each byte of a block may be read, on average. Payloads overlap only where whoever made
/// the block wants them to, and could be as many times as long as the block as they are many.
const MOST_READINGS: usize = 16;

/// The outcome for a range.
pub(super) struct Intake<R: Rollup> {
    /// The batches, in HotShot order.
    pub(super) admitted: Vec<(Position, BatchOf<R>)>,
    /// The number of payloads, or of their parts, that each check rejected.
    pub(super) rejected: BTreeMap<&'static str, u64>,
}

/// Admits the payloads of the HotShot blocks from `from` on, whose headers name these final L1
/// blocks, if that matters.
///
/// # Errors
/// When the process goes down meanwhile.
pub(super) async fn admit<R: Rollup>(
    rollup: &Arc<R>,
    from: u64,
    blocks: Vec<NamespaceBlock>,
    l1_finalized: BTreeMap<u64, u64>,
) -> Result<Intake<R>, JoinError> {
    let count: usize = blocks.iter().map(|block| block.payloads().len()).sum();
    let mut intake = Intake { admitted: Vec::new(), rejected: BTreeMap::new() };
    if count < WORTH_A_THREAD {
        intake.extend(&**rollup, &l1_finalized, payloads(from, &blocks));
        return Ok(intake);
    }
    let threads = available_parallelism().map_or(1, usize::from);
    let share = count.div_ceil(threads);
    let (blocks, l1_finalized) = (Arc::new(blocks), Arc::new(l1_finalized));
    let mut tasks = Vec::new();
    for first in (0..count).step_by(share) {
        let (rollup, blocks) = (Arc::clone(rollup), Arc::clone(&blocks));
        let l1_finalized = Arc::clone(&l1_finalized);
        tasks.push(tokio::task::spawn_blocking(move || {
            let mut intake = Intake { admitted: Vec::new(), rejected: BTreeMap::new() };
            let payloads = payloads(from, &blocks).skip(first).take(share);
            intake.extend(&*rollup, &l1_finalized, payloads);
            intake
        }));
    }
    for task in tasks {
        let Intake { admitted, rejected } = task.await?;
        intake.admitted.extend(admitted);
        for (reason, count) in rejected {
            *intake.rejected.entry(reason).or_default() += count;
        }
    }
    Ok(intake)
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

impl<R: Rollup> Intake<R> {
    fn extend<'a>(
        &mut self,
        rollup: &R,
        l1_finalized: &BTreeMap<u64, u64>,
        payloads: impl Iterator<Item = (Position, &'a [u8])>,
    ) {
        for (position, payload) in payloads {
            let l1_finalized = l1_finalized.get(&position.height).copied();
            for (part, batch) in rollup.admit(payload, l1_finalized).into_iter().enumerate() {
                self.take(Position { part, ..position }, batch);
            }
        }
    }

    fn take(&mut self, position: Position, batch: Result<BatchOf<R>, Rejected>) {
        match batch {
            Ok(batch) => self.admitted.push((position, batch)),
            Err(rejected) => {
                tracing::debug!(?position, %rejected, "payload refused");
                *self.rejected.entry(rejected.reason()).or_default() += 1;
            }
        }
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
