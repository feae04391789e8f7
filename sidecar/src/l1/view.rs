//! L1 as it was last read: pure, its answers are inputs.
//!
//! Verdicts are recomputed each time, never stored. Of L1's answers only hashes that made an origin
//! valid are kept, for as long as L1's final block stands: a wrong or late answer does no lasting
//! harm.

use std::{collections::BTreeMap, sync::Arc};

use alloy_primitives::B256;

use crate::{batchers::Authority, eth::BlockId, upstream::UpstreamError};

/// Hashes that are kept: of more L1 blocks than batches are read ahead for.
pub const KEPT_HASHES: usize = 2048;

/// L1's answers: the final block by the last reading, and hashes.
#[derive(Debug, Clone, Default)]
pub struct View {
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

/// The verdict on an L1 block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginVerdict {
    /// It is final, with that hash.
    Valid,
    /// Another block of that number is final.
    Invalid,
    /// It is not final yet.
    NotFinal,
    /// L1 gave no answer.
    Unanswered,
    /// The hash at the height of this L1 block must be requested.
    Ask(BlockId),
}

impl View {
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
                if self.valid.len() > KEPT_HASHES {
                    self.forget_the_furthest(number);
                }
            }
            other => _ = self.others.insert(number, other),
        }
    }

    /// Of what is kept, the hash at the number that is furthest from that one goes: it is judged by
    /// its own next, wherever verification is.
    fn forget_the_furthest(&mut self, number: u64) {
        let above = self.valid.last_key_value().map(|(last, _)| last.saturating_sub(number));
        let below = self.valid.first_key_value().map(|(first, _)| number.saturating_sub(*first));
        if below > above {
            self.valid.pop_first()
        } else {
            self.valid.pop_last()
        };
    }

    /// Sets the authorized batchers.
    pub fn know_authority(&mut self, authority: Arc<Authority>) {
        self.authority = authority;
    }

    /// The authorized batchers.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
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

    /// Whether L1's final block is at or above that block.
    #[must_use]
    pub fn covers(&self, block: BlockId) -> bool {
        self.undecided(block).is_none()
    }

    /// The verdict on an L1 origin above the newest known final block.
    fn undecided(&self, origin: BlockId) -> Option<OriginVerdict> {
        match self.finalized {
            Some(finalized) if origin.number <= finalized.number => None,
            None if self.problem.is_some() => Some(OriginVerdict::Unanswered),
            _ => Some(OriginVerdict::NotFinal),
        }
    }

    /// Why there was no answer about an L1 block.
    #[must_use]
    pub fn problem_with(&self, origin: BlockId) -> Option<&UpstreamError> {
        let hash = self.others.get(&origin.number).and_then(|hash| hash.as_ref().err());
        self.problem.as_ref().or(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_l1_did_not_answer_is_asked_again_in_the_next_round() {
        let block = |number| BlockId { number, hash: B256::repeat_byte(1) };
        let mut view = View::new(Ok(Some(block(9))));
        assert!(!view.is_unanswered());
        view.learn(block(5), Ok(None));
        assert!(view.is_unanswered());
        view.begin_round();
        assert!(!view.is_unanswered());
        let silent = View::new(Err(UpstreamError::Distrusted("it is silent".into())));
        assert!(silent.is_unanswered());
    }

    /// Verification goes up, looks ahead, and goes on where it was.
    #[test]
    fn a_hash_that_was_just_learned_is_kept_wherever_the_others_are() {
        let block = |number| BlockId { number, hash: B256::repeat_byte(1) };
        let last = 2 * KEPT_HASHES as u64;
        let mut view = View::new(Ok(Some(block(last + 1))));
        for number in (1..=last).chain([1, 2, last, 3]) {
            view.learn(block(number), Ok(Some(block(number).hash)));
            assert_eq!(view.judge(block(number)), OriginVerdict::Valid, "{number}");
            assert!(view.valid.len() <= KEPT_HASHES);
        }
    }
}
