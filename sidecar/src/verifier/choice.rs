//! Chooses the candidate for the next block, if any. Pure: L1's answers are inputs.
//!
//! Verdicts are recomputed each time, never stored. Of L1's answers only hashes that made an origin
//! valid are kept, for as long as L1's final block stands: a wrong or late answer does no lasting
//! harm.

use std::{collections::BTreeMap, sync::Arc};

use alloy_primitives::B256;

use super::{
    candidates::{Candidates, Position},
    descent::extends,
    stall::Stall,
};
use crate::{
    batchers::{Authority, Standing},
    eth::BlockId,
    head::HeadBlock,
    rollup::{Batch, Rollup},
    upstream::UpstreamError,
};

/// Hashes that are kept.
const KEPT: usize = 256;

/// L1's answers: the final block by the last reading, and hashes.
#[derive(Debug, Clone, Default)]
pub struct L1View {
    finalized: Option<BlockId>,
    /// Why the newest final block could not be read, if it could not.
    problem: Option<UpstreamError>,
    /// Hashes that made an origin valid, by number.
    valid: BTreeMap<u64, B256>,
    /// Other hashes by number, or why there was no answer, in this round.
    others: BTreeMap<u64, Result<B256, UpstreamError>>,
    /// The authorized batchers.
    authority: Arc<Authority>,
}

/// The verdict on the L1 origin of a batch, and on its signer there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginVerdict {
    /// It is final, with that hash.
    Valid,
    /// Another block of that number is final.
    Invalid,
    /// The signer is not authorized for batches with that origin.
    Unauthorized,
    /// It is final, but the authorized batcher there is not known yet.
    Unknown,
    /// It is not final yet.
    NotFinal,
    /// L1 gave no answer.
    Unanswered,
    /// The hash at the height of this L1 block must be requested.
    Ask(BlockId),
}

impl L1View {
    /// A view by the newest final block, if there is one.
    #[must_use]
    pub fn new(answer: Result<Option<BlockId>, UpstreamError>) -> Self {
        let (finalized, problem) = match answer {
            Ok(finalized) => (finalized, None),
            Err(error) => (None, Some(error)),
        };
        Self { finalized, problem, ..Self::default() }
    }

    /// Goes on with the next reading of L1.
    pub fn renew(&mut self, answer: Result<Option<BlockId>, UpstreamError>) {
        let valid = std::mem::take(&mut self.valid);
        let authority = std::mem::take(&mut self.authority);
        *self = Self { valid, authority, ..Self::new(answer) };
    }

    /// A round begins: what did not make an origin valid is asked again.
    pub fn begin_round(&mut self) {
        self.others.clear();
    }

    /// L1's final block turned out to be wrong, and with it everything that is kept.
    pub fn forget(&mut self) {
        self.valid.clear();
    }

    /// Whether L1 owes an answer.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        self.problem.is_some() || self.others.values().any(Result::is_err)
    }

    /// The newest final block.
    #[must_use]
    pub const fn finalized(&self) -> Option<BlockId> {
        self.finalized
    }

    /// Records the hash at the height of an origin: until L1's final block turns out to be wrong if
    /// it is the origin's, otherwise for this round.
    pub fn learn(&mut self, origin: BlockId, answer: Result<Option<B256>, UpstreamError>) {
        let BlockId { number, hash } = origin;
        let missing = || UpstreamError::Distrusted(format!("it does not have its block {number}"));
        match answer.and_then(|hash| hash.ok_or_else(missing)) {
            Ok(answer) if answer == hash => {
                self.valid.insert(number, hash);
                if self.valid.len() > KEPT {
                    self.valid.pop_first();
                }
            }
            other => _ = self.others.insert(number, other),
        }
    }

    /// Sets the authorized batchers.
    pub fn know_authority(&mut self, authority: Arc<Authority>) {
        self.authority = authority;
    }

    /// Judges the signer and the L1 origin of a batch.
    #[must_use]
    pub fn judge_batch<C>(&self, batch: &Batch<C>) -> OriginVerdict {
        let origin = batch.facts.l1_origin;
        if let Some(verdict) = self.undecided(origin) {
            return verdict;
        }
        match self.authority.standing(batch.signer, origin.number) {
            Standing::Authorized => self.judge(origin),
            Standing::Unauthorized => OriginVerdict::Unauthorized,
            Standing::Unknown => OriginVerdict::Unknown,
        }
    }

    /// Judges an L1 origin.
    #[must_use]
    pub fn judge(&self, origin: BlockId) -> OriginVerdict {
        if let Some(verdict) = self.undecided(origin) {
            return verdict;
        }
        let BlockId { number, hash } = origin;
        if let Some(finalized) = self.finalized.filter(|block| block.number == number) {
            let is_final = finalized.hash == hash;
            return if is_final { OriginVerdict::Valid } else { OriginVerdict::Invalid };
        }
        if self.valid.get(&number) == Some(&hash) {
            return OriginVerdict::Valid;
        }
        match self.others.get(&number) {
            None => OriginVerdict::Ask(origin),
            Some(Err(_)) => OriginVerdict::Unanswered,
            Some(Ok(other)) if *other == hash => OriginVerdict::Valid,
            Some(Ok(_)) => OriginVerdict::Invalid,
        }
    }

    /// The verdict on an L1 origin above the newest known final block.
    fn undecided(&self, origin: BlockId) -> Option<OriginVerdict> {
        match self.finalized {
            Some(finalized) if origin.number <= finalized.number => None,
            None if self.problem.is_some() => Some(OriginVerdict::Unanswered),
            _ => Some(OriginVerdict::NotFinal),
        }
    }

    /// What is waited for when there was no answer about the L1 origin of a block.
    fn stall(&self, number: u64, origin: BlockId) -> Stall {
        let hash = self.others.get(&origin.number).and_then(|hash| hash.as_ref().err());
        let problem = self.problem.as_ref().or(hash);
        let text = problem.map(ToString::to_string).unwrap_or_default();
        match problem {
            Some(UpstreamError::NoMajority(_)) => {
                Stall::L1NoMajority { number, origin, problem: text }
            }
            _ => Stall::L1Unavailable { number, origin, problem: text },
        }
    }
}

/// The next number's outcome.
#[derive(Debug)]
pub enum Choice<'a, C> {
    /// Compare this one with the node's block.
    Chosen(Position, &'a Batch<C>),
    /// The hash at the height of this L1 block must be requested first.
    Ask(BlockId),
    /// Candidates were dropped because the budget was full: read again from this height first.
    Reread(u64),
    /// Nothing to decide on yet.
    Stalled(Stall),
}

/// Chooses among the candidates for the block after `tip`, whose timestamp must be `timestamp`.
pub fn choose<'a, R: Rollup>(
    candidates: &'a Candidates<R>,
    tip: &HeadBlock,
    timestamp: Option<u64>,
    l1: &L1View,
) -> Choice<'a, R::Content> {
    let Some(number) = tip.number.checked_add(1) else {
        return Choice::Stalled(Stall::AwaitingBatch { number: tip.number });
    };
    let dropped = candidates.dropped_for(number);
    let (mut other_fork, mut orphaned_origin, mut unauthorized) = (0_usize, 0_usize, 0_usize);
    for (position, batch) in candidates.of(number) {
        if let Some(dropped) = dropped.filter(|dropped| *dropped <= position) {
            return Choice::Reread(dropped.height);
        }
        if !extends(tip, timestamp, &batch.facts) {
            other_fork += 1;
            continue;
        }
        let origin = batch.facts.l1_origin;
        match l1.judge_batch(batch) {
            OriginVerdict::Valid => return Choice::Chosen(position, batch),
            OriginVerdict::Invalid => orphaned_origin += 1,
            OriginVerdict::Unauthorized => unauthorized += 1,
            OriginVerdict::Unknown => {
                return Choice::Stalled(Stall::AwaitingBatcherHistory { number, origin });
            }
            OriginVerdict::Ask(origin) => return Choice::Ask(origin),
            OriginVerdict::NotFinal => {
                let finalized = l1.finalized();
                return Choice::Stalled(Stall::AwaitingL1Finality { number, origin, finalized });
            }
            OriginVerdict::Unanswered => {
                return Choice::Stalled(l1.stall(number, origin));
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_l1_did_not_answer_is_asked_again_in_the_next_round() {
        let block = |number| BlockId { number, hash: B256::repeat_byte(1) };
        let mut view = L1View::new(Ok(Some(block(9))));
        assert!(!view.is_unanswered());
        view.learn(block(5), Ok(None));
        assert!(view.is_unanswered());
        view.begin_round();
        assert!(!view.is_unanswered());
        let silent = L1View::new(Err(UpstreamError::Distrusted("it is silent".into())));
        assert!(silent.is_unanswered());
    }
}
