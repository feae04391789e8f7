//! Chooses the candidates for the next block, if any. Pure: L1's answers are inputs.

use super::{candidates::Candidates, stall::Stall};
use crate::{
    head::HeadBlock,
    l1::View,
    rollup::{BatchOf, Judgement, OutOfPlay, Position, Rollup},
};

/// A candidate for the next block, and where it is.
pub(super) type Candidate<'a, R> = (Position, &'a BatchOf<R>);

/// The next number's outcome.
pub enum Choice<'a, R: Rollup> {
    /// Compare this one with the node's block. If it does not prove the block, one of its copies
    /// may.
    Chosen(Position, &'a BatchOf<R>),
    /// This must be asked first.
    Ask(R::Question),
    /// Candidates were dropped because the budget was full: read again from this height first.
    Reread(u64),
    /// Nothing to decide on yet.
    Stalled(Stall),
}

impl<R: Rollup> std::fmt::Debug for Choice<'_, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Chosen(position, batch) => write!(f, "Chosen({position:?}, {batch:?})"),
            Self::Ask(question) => write!(f, "Ask({question:?})"),
            Self::Reread(height) => write!(f, "Reread({height})"),
            Self::Stalled(stall) => write!(f, "Stalled({stall:?})"),
        }
    }
}

/// Chooses among the candidates for the block after `tip`.
pub fn choose<'a, R: Rollup>(
    rollup: &R,
    candidates: &'a Candidates<R>,
    tip: &HeadBlock,
    l1: &View,
) -> Choice<'a, R> {
    let Some(number) = tip.number.checked_add(1) else {
        return Choice::Stalled(Stall::AwaitingBatch { number: tip.number });
    };
    let dropped = candidates.dropped_for(number);
    let (mut other_fork, mut orphaned_origin, mut unauthorized) = (0_usize, 0_usize, 0_usize);
    for (position, batch) in candidates.of(number) {
        if let Some(dropped) = dropped.filter(|dropped| *dropped <= position) {
            return Choice::Reread(dropped.height);
        }
        match rollup.judge(tip, batch, l1) {
            Judgement::Decides => return Choice::Chosen(position, batch),
            Judgement::Out(OutOfPlay::OtherFork) => other_fork += 1,
            Judgement::Out(OutOfPlay::Orphaned) => orphaned_origin += 1,
            Judgement::Out(OutOfPlay::Unauthorized) => unauthorized += 1,
            Judgement::Waits(waiting) => return Choice::Stalled(Stall::of(number, waiting)),
            Judgement::Ask(question) => return Choice::Ask(question),
        }
    }
    match dropped {
        Some(dropped) => Choice::Reread(dropped.height),
        None if other_fork + orphaned_origin + unauthorized > 0 => {
            Choice::Stalled(Stall::CompetingFork {
                number,
                other_fork,
                orphaned_origin,
                unauthorized,
            })
        }
        None => Choice::Stalled(Stall::AwaitingBatch { number }),
    }
}

/// The candidates that stand or fall with the chosen one, and with each other; the chosen one is
/// the first.
pub(super) fn copies_of<'a, R: Rollup>(
    rollup: &R,
    candidates: &'a Candidates<R>,
    chosen: Candidate<'a, R>,
) -> Vec<Candidate<'a, R>> {
    let number = crate::rollup::Facts::number(&chosen.1.facts);
    let mut rest: Vec<_> =
        candidates.of(number).filter(|(position, _)| *position != chosen.0).collect();
    let mut copies = vec![chosen];
    let mut seen = 0;
    while let Some((_, known)) = copies.get(seen).copied() {
        rest.retain(|(position, other)| {
            let is_copy = rollup.are_copies(known, other);
            if is_copy {
                copies.push((*position, other));
            }
            !is_copy
        });
        seen += 1;
    }
    copies
}
