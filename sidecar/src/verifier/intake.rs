//! Finds the batches in a range: signatures are recovered on all processors, preserving order.

use std::{collections::BTreeMap, sync::Arc, thread::available_parallelism};

use tokio::task::JoinError;

use super::Position;
use crate::{
    espresso::NamespaceBlock,
    rollup::{Batch, Rollup},
};

/// Fewer payloads than this are not worth another thread.
const WORTH_A_THREAD: usize = 8;

/// The outcome for a range.
pub(super) struct Intake<C> {
    /// The batches, in HotShot order.
    pub(super) admitted: Vec<(Position, Batch<C>)>,
    /// The number of payloads that each check rejected.
    pub(super) rejected: BTreeMap<&'static str, u64>,
}

type Payload = (Position, Vec<u8>);

/// Admits the payloads of the HotShot blocks from `from` on.
///
/// # Errors
/// When the process goes down meanwhile.
pub(super) async fn admit<R: Rollup>(
    rollup: &Arc<R>,
    from: u64,
    blocks: Vec<NamespaceBlock>,
) -> Result<Intake<R::Content>, JoinError> {
    let mut payloads: Vec<Payload> = Vec::new();
    for (height, block) in (from..).zip(blocks) {
        let indexed = block.payloads.into_iter().enumerate();
        payloads.extend(indexed.map(|(index, payload)| (Position { height, index }, payload)));
    }
    let mut intake = Intake { admitted: Vec::new(), rejected: BTreeMap::new() };
    if payloads.len() < WORTH_A_THREAD {
        intake.extend(&**rollup, payloads);
        return Ok(intake);
    }
    let threads = available_parallelism().map_or(1, usize::from);
    let share = payloads.len().div_ceil(threads);
    let mut tasks = Vec::new();
    while !payloads.is_empty() {
        let rest = payloads.split_off(share.min(payloads.len()));
        let part = std::mem::replace(&mut payloads, rest);
        let rollup = Arc::clone(rollup);
        tasks.push(tokio::task::spawn_blocking(move || {
            let mut intake = Intake { admitted: Vec::new(), rejected: BTreeMap::new() };
            intake.extend(&*rollup, part);
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

impl<C> Intake<C> {
    fn extend<R: Rollup<Content = C>>(&mut self, rollup: &R, payloads: Vec<Payload>) {
        for (position, payload) in payloads {
            match rollup.admit(&payload) {
                Ok(batch) => self.admitted.push((position, batch)),
                Err(rejected) => {
                    tracing::debug!(?position, %rejected, "payload refused");
                    *self.rejected.entry(rejected.reason()).or_default() += 1;
                }
            }
        }
    }
}
