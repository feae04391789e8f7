//! Which candidate for a number is the next block, if any. Pure: what L1 says is given.
//!
//! Verdicts are recomputed each time, never stored: a wrong or late answer of L1 does no lasting
//! harm.

use std::{collections::BTreeMap, sync::Arc};

use alloy_primitives::B256;

use super::{
    candidates::{Candidates, Position},
    waiting::Waiting,
};
use crate::{
    batchers::{Authority, Standing},
    eth::BlockId,
    head::HeadBlock,
    rollup::{Batch, Facts, Rollup},
};

/// What L1 said in this round.
#[derive(Debug, Clone, Default)]
pub struct L1View {
    finalized: Option<BlockId>,
    /// Hashes by number; none where the node had no answer.
    hashes: BTreeMap<u64, Option<B256>>,
    /// Who may sign batches.
    authority: Arc<Authority>,
}

/// What L1 says of the origin of a batch, and of its signer there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginVerdict {
    /// It is final, with that hash.
    Valid,
    /// Another block of that number is final.
    Invalid,
    /// The signer may not sign batches with that origin.
    Unauthorized,
    /// It is final, but who may sign there is not known yet.
    Unknown,
    /// It is not final yet, or L1 has no answer.
    Undecided,
    /// The hash at this L1 height must be asked for.
    Ask(u64),
}

impl L1View {
    /// A view with this newest final block.
    #[must_use]
    pub fn new(finalized: Option<BlockId>) -> Self {
        let hashes = finalized.iter().map(|block| (block.number, Some(block.hash))).collect();
        Self { finalized, hashes, authority: Arc::default() }
    }

    /// The newest final block.
    #[must_use]
    pub const fn finalized(&self) -> Option<BlockId> {
        self.finalized
    }

    /// Remembers the hash at a height for this round; none if there was no answer.
    pub fn learn(&mut self, number: u64, hash: Option<B256>) {
        self.hashes.insert(number, hash);
    }

    /// Remembers who may sign batches.
    pub fn know_authority(&mut self, authority: Arc<Authority>) {
        self.authority = authority;
    }

    /// Judges the signer and the L1 origin of a batch.
    #[must_use]
    pub fn judge_batch<C>(&self, batch: &Batch<C>) -> OriginVerdict {
        let origin = batch.facts.l1_origin;
        if self.finalized.is_none_or(|finalized| origin.number > finalized.number) {
            return OriginVerdict::Undecided;
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
        if self.finalized.is_none_or(|finalized| origin.number > finalized.number) {
            return OriginVerdict::Undecided;
        }
        match self.hashes.get(&origin.number) {
            None => OriginVerdict::Ask(origin.number),
            Some(None) => OriginVerdict::Undecided,
            Some(Some(hash)) if *hash == origin.hash => OriginVerdict::Valid,
            Some(Some(_)) => OriginVerdict::Invalid,
        }
    }
}

/// The next number's outcome.
#[derive(Debug)]
pub enum Choice<'a, C> {
    /// This one is to be compared with the node's block.
    Chosen(Position, &'a Batch<C>),
    /// The hash at this L1 height must be asked for first.
    Ask(u64),
    /// Candidates were dropped for room: read again from this height first.
    Reread(u64),
    /// Nothing to decide on yet.
    Waits(Waiting),
}

/// Whether a batch can be the block after `tip`: what is known of the tip must agree.
#[must_use]
pub fn is_possible_child(tip: &HeadBlock, timestamp: Option<u64>, facts: &Facts) -> bool {
    let parent = tip.hash.is_none_or(|hash| facts.parent_hash == hash);
    let origin = tip.l1_origin.is_none_or(|origin| {
        facts.l1_origin == origin || Some(facts.l1_origin.number) == origin.number.checked_add(1)
    });
    tip.number.checked_add(1) == Some(facts.number)
        && timestamp == Some(facts.timestamp)
        && parent
        && origin
}

/// Chooses among the candidates for the block after `tip`, whose time must be `timestamp`.
pub fn choose<'a, R: Rollup>(
    candidates: &'a Candidates<R>,
    tip: &HeadBlock,
    timestamp: Option<u64>,
    l1: &L1View,
) -> Choice<'a, R::Content> {
    let Some(number) = tip.number.checked_add(1) else {
        return Choice::Waits(Waiting::Batch { number: tip.number });
    };
    let reread = candidates.reread_for(number);
    let (mut impossible, mut invalid, mut unauthorised) = (0_usize, 0_usize, 0_usize);
    for (position, batch) in candidates.of(number) {
        if let Some(height) = reread.filter(|height| *height <= position.height) {
            return Choice::Reread(height);
        }
        if !is_possible_child(tip, timestamp, &batch.facts) {
            impossible += 1;
            continue;
        }
        let origin = batch.facts.l1_origin;
        match l1.judge_batch(batch) {
            OriginVerdict::Valid => return Choice::Chosen(position, batch),
            OriginVerdict::Invalid => invalid += 1,
            OriginVerdict::Unauthorized => unauthorised += 1,
            OriginVerdict::Unknown => {
                return Choice::Waits(Waiting::Authority { number, origin });
            }
            OriginVerdict::Ask(number) => return Choice::Ask(number),
            OriginVerdict::Undecided => {
                return Choice::Waits(Waiting::Origin {
                    number,
                    origin,
                    finalized: l1.finalized(),
                });
            }
        }
    }
    match reread {
        Some(height) => Choice::Reread(height),
        None if impossible + invalid + unauthorised > 0 => {
            Choice::Waits(Waiting::OtherFork { number, impossible, invalid, unauthorised })
        }
        None => Choice::Waits(Waiting::Batch { number }),
    }
}
