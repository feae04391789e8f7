//! Finds the batches in a range: signatures are recovered on all processors, preserving order.

use std::{collections::BTreeMap, sync::Arc, thread::available_parallelism};

use espresso_proofs::NamespaceBlock;
use tokio::task::JoinError;

use crate::rollup::{BatchOf, Position, Rejected, Rollup};

/// Fewer payloads than this are not worth another thread.
const WORTH_A_THREAD: usize = 8;

/// The outcome for a range.
pub(super) struct Intake<R: Rollup> {
    /// The batches, in HotShot order.
    pub(super) admitted: Vec<(Position, BatchOf<R>)>,
    /// The number of payloads, or of their parts, that each check rejected.
    pub(super) rejected: BTreeMap<&'static str, u64>,
}

/// Admits the payloads of the HotShot blocks from `from` on.
///
/// # Errors
/// When the process goes down meanwhile.
pub(super) async fn admit<R: Rollup>(
    rollup: &Arc<R>,
    from: u64,
    blocks: Vec<NamespaceBlock>,
) -> Result<Intake<R>, JoinError> {
    let count: usize = blocks.iter().map(|block| block.payloads().len()).sum();
    let mut intake = Intake { admitted: Vec::new(), rejected: BTreeMap::new() };
    if count < WORTH_A_THREAD {
        intake.extend(&**rollup, payloads(from, &blocks));
        return Ok(intake);
    }
    let threads = available_parallelism().map_or(1, usize::from);
    let share = count.div_ceil(threads);
    let blocks = Arc::new(blocks);
    let mut tasks = Vec::new();
    for first in (0..count).step_by(share) {
        let (rollup, blocks) = (Arc::clone(rollup), Arc::clone(&blocks));
        tasks.push(tokio::task::spawn_blocking(move || {
            let mut intake = Intake { admitted: Vec::new(), rejected: BTreeMap::new() };
            intake.extend(&*rollup, payloads(from, &blocks).skip(first).take(share));
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

/// All payloads with their positions.
fn payloads(from: u64, blocks: &[NamespaceBlock]) -> impl Iterator<Item = (Position, &[u8])> {
    (from..).zip(blocks).flat_map(|(height, block)| {
        let payloads = block.payloads().enumerate();
        payloads.map(move |(index, payload)| {
            (Position { index, ..Position::start_of(height) }, payload)
        })
    })
}

impl<R: Rollup> Intake<R> {
    fn extend<'a>(&mut self, rollup: &R, payloads: impl Iterator<Item = (Position, &'a [u8])>) {
        for (position, payload) in payloads {
            for (part, batch) in rollup.admit(payload, None).into_iter().enumerate() {
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
