//! What a rollup kind says of a batch, of the node's block, and of what the node calls finalized.

use std::fmt;

use strum::IntoStaticStr;

use super::Difference;
use crate::{eth::BlockId, head::HeadBlock, upstream::UpstreamError};

/// The verdict on a batch for the next block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgment<Q> {
    /// It decides: it is compared with the node's block.
    Decides,
    /// It does not: the next batch is considered.
    Out(OutOfPlay),
    /// It is not known yet; a later batch does not overtake it.
    Waits(Waiting),
    /// This must be asked first.
    Ask(Q),
}

/// Why a batch does not decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutOfPlay {
    /// It does not extend the head.
    OtherFork,
    /// It is built on something that Ethereum did not keep.
    Orphaned,
    /// Its signer is not authorized there.
    Unauthorized,
}

/// What the next block waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// The L1 block that the batch is built on is final, but the contract was not read up to there.
    BatcherHistory(BlockId),
    /// That L1 block is not final.
    L1Finality {
        /// The L1 block.
        origin: BlockId,
        /// L1's final block.
        finalized: Option<BlockId>,
    },
    /// L1 gave no answer about that L1 block.
    L1 {
        /// The L1 block.
        origin: BlockId,
        /// What is wrong.
        problem: Option<UpstreamError>,
    },
    /// The parent chain has the message with this index not at or below its final block.
    ParentFinality {
        /// The index.
        index: u64,
        /// The parent chain's final block, once it is known.
        finalized: Option<BlockId>,
    },
    /// The parent chain gave no answer about the message with this index.
    Parent {
        /// The index.
        index: u64,
        /// What is wrong.
        problem: String,
    },
    /// The block's hash is not signed, but must be.
    HashUnsigned,
    /// The signature may be over the hash of another block.
    HashHidden,
    /// The block is of before a reorg of the parent chain.
    Superseded,
}

/// What is proven of a block, from less to more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Proven {
    /// Its inputs; what came of them is the node's word.
    Inputs,
    /// Its hash.
    Hash,
}

/// A block of the node that equals a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified<B> {
    /// The place of the copy that proves it.
    pub copy: usize,
    /// The block.
    pub block: HeadBlock,
    /// What is proven of it.
    pub proven: Proven,
    /// What the comparison of the next block uses of it.
    pub below: B,
}

/// Why a batch does not confirm the node's block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uncompared<Q> {
    /// They differ.
    Differs(Difference),
    /// That is not known yet.
    Waits(Waiting),
    /// This must be asked first.
    Ask(Q),
    /// The payload of this copy must be read again first.
    Payload(usize),
}

impl<Q> From<Difference> for Uncompared<Q> {
    fn from(difference: Difference) -> Self {
        Self::Differs(difference)
    }
}

/// Why the node's `finalized` is not admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Nothing proves that Ethereum has finalized it.
    Unproven {
        /// The block.
        block: BlockId,
        /// What is missing.
        problem: String,
    },
    /// Something else.
    Otherwise(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unproven { problem, .. } | Self::Otherwise(problem)) = self;
        f.write_str(problem)
    }
}
