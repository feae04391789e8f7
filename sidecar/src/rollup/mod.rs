//! Rollup kinds: what a payload of the namespace holds, which of it decides, and when it equals a
//! block of the node.
//!
//! The verifier knows no rollup kind. It keeps candidates in HotShot's order and asks a [`Rollup`]
//! for every rule that differs between the kinds.

pub mod nitro;
pub mod op;
mod signature;
mod sources;
mod verdict;

use std::{borrow::Cow, collections::BTreeMap, fmt::Debug};

use alloy_primitives::{Address, B256};
use thiserror::Error;

use crate::{
    batchers::KnownBatchers, eth::BlockId, head::HeadBlock, l1::View, node::NodeBlock,
    store::SafeSample, upstream::UpstreamError,
};

#[cfg(test)]
pub(crate) use signature::RECOVERIES;
pub use signature::{SIGNATURE_LENGTH, recover};
pub use sources::{FeedSource, L1Source, NodeSource};
pub use verdict::{Judgment, OutOfPlay, Proven, Refused, Uncompared, Verified, Waiting};

/// What the rules use of a batch.
pub trait Facts: Copy + PartialEq + Debug + Send + Sync + 'static {
    /// L2 block number.
    fn number(&self) -> u64;

    /// Hash of the L2 block, if the batch says it.
    fn hash(&self) -> Option<B256>;

    /// The block, if the batch names it and, by it, every block below.
    fn names(&self) -> Option<HeadBlock>;

    /// The L1 block at which the signer must be authorized.
    fn l1_block(&self) -> u64;
}

/// A batch by a known batcher: what HotShot says of one L2 block. Whether the batcher is authorized
/// depends on the L1 block that the rollup kind measures by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch<F, C> {
    /// The signer.
    pub signer: Address,
    /// What the rules use.
    pub facts: F,
    /// What only the comparison with a block uses.
    pub content: C,
}

/// A batch of a rollup kind.
pub type BatchOf<R> = Batch<<R as Rollup>::Facts, <R as Rollup>::Content>;

/// The position of a batch in HotShot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// HotShot height.
    pub height: u64,
    /// Index among the namespace's transactions of that block.
    pub index: usize,
    /// Index in that transaction, which may hold several batches.
    pub part: usize,
}

impl Position {
    /// The first position of a HotShot block.
    #[must_use]
    pub const fn start_of(height: u64) -> Self {
        Self { height, index: 0, part: 0 }
    }
}

/// The payloads of copies that were read again for a comparison.
#[derive(Debug, Clone, Copy, Default)]
pub struct Payloads<'a>(Option<&'a ReadAgain>);

/// By the place of the copy: its payload, if it could be had, and its part in it.
pub type ReadAgain = BTreeMap<usize, (Option<Vec<u8>>, usize)>;

impl<'a> Payloads<'a> {
    /// What was read again.
    #[must_use]
    pub const fn new(read: &'a ReadAgain) -> Self {
        Self(Some(read))
    }

    /// The payload of a copy, and its part in it.
    #[must_use]
    pub fn get(self, copy: usize) -> Option<(&'a [u8], usize)> {
        let (payload, part) = self.0?.get(&copy)?;
        Some((payload.as_deref()?, *part))
    }

    /// Whether it was tried to read the payload of a copy.
    #[must_use]
    pub fn is_read(self, copy: usize) -> bool {
        self.0.is_some_and(|read| read.contains_key(&copy))
    }
}

/// The chain of a rollup, as far as all kinds have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// The first block.
    pub genesis: BlockId,
    /// The L1 block that it is built on, if that is known.
    pub genesis_l1: Option<BlockId>,
    /// The L1 chain id, if something beside L1 says it.
    pub l1_chain_id: Option<u64>,
    /// Seconds between two blocks, if they are regular.
    pub block_time: Option<u64>,
    /// The contract that authorizes batchers, if the configuration names one.
    pub authenticator: Option<Address>,
}

/// Why the chain is not known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChainError {
    /// Something gave no answer, or not yet.
    #[error("{0}")]
    Unknown(String),
    /// What was said does not fit together.
    #[error("{0}")]
    Mismatched(String),
}

impl From<UpstreamError> for ChainError {
    fn from(error: UpstreamError) -> Self {
        Self::Unknown(error.to_string())
    }
}

/// A rollup kind.
pub trait Rollup: Send + Sync + 'static {
    /// What the rules use of a batch.
    type Facts: Facts;

    /// What is kept of a batch besides, until its number is confirmed: of one size, however long
    /// the batch is. Batches with equal signers, facts and contents are one batch: every verdict on
    /// one holds for the other.
    type Content: Copy + PartialEq + Debug + Send + Sync + 'static;

    /// A block of the node, as far as it is read.
    type Block: NodeBlock;

    /// What judgment and comparison use of the block below, which is verified.
    type Below: Clone + Send + Sync + 'static;

    /// What must be asked before a verdict.
    type Question: Clone + PartialEq + Debug + Send + Sync;

    /// What is known about Ethereum's finality.
    type Finality: Finality;

    /// The batchers whose signatures [`Self::admit`] accepts; the verifier adds to it.
    fn batchers(&self) -> &KnownBatchers;

    /// The chain, as the node and what belongs to it describe it.
    fn chain(
        &self,
        chain_id: u64,
        node: &impl NodeSource<Self::Block>,
    ) -> impl Future<Output = Result<Chain, ChainError>> + Send;

    /// Whether signers are authorized by the final L1 block that the header of a HotShot block
    /// names, and not all of them always.
    fn measures_by_hotshot(&self) -> bool {
        false
    }

    /// Whether a known batcher has signed something in a payload. Asked where it is measured by
    /// HotShot, before the header of its HotShot block is known: as little work as there can be.
    ///
    /// # Errors
    /// As [`Self::admit`] rejects it.
    fn authenticate(&self, _: &[u8]) -> Result<(), Rejected> {
        Ok(())
    }

    /// Authenticates and decodes a payload found in the namespace, in this order, in a HotShot
    /// block whose header names this final L1 block, if that is measured by.
    ///
    /// Anybody may post there: no I/O, and little work before a signer is known. A signer that is
    /// ruled out causes no memory and no work that grows with the number of transactions but
    /// reading them.
    ///
    /// The results are the parts of the payload in order: a batch, or the first check that failed.
    fn admit(
        &self,
        payload: &[u8],
        l1_finalized: Option<u64>,
    ) -> impl IntoIterator<Item = Result<BatchOf<Self>, Rejected>>;

    /// Whether a batch above `tip` can be confirmed as long as verification goes on from there, now
    /// or later.
    fn can_follow(&self, tip: &HeadBlock, batch: &BatchOf<Self>) -> bool;

    /// Judges a batch for the block after `tip`: the first in HotShot's order that decides is
    /// compared with the node's block.
    fn judge(
        &self,
        tip: &HeadBlock,
        below: &Self::Below,
        batch: &BatchOf<Self>,
        l1: &View,
    ) -> Judgment<Self::Question>;

    /// Whether two batches for one number stand or fall together: if one decides, the other may
    /// prove the block, too.
    fn are_copies(&self, one: &BatchOf<Self>, other: &BatchOf<Self>) -> bool;

    /// Whether a copy is kept rather than another one, where there are too many.
    fn prefers(&self, _: &BatchOf<Self>, _: &BatchOf<Self>) -> bool {
        false
    }

    /// Batches this far above the next block are not kept, but read again when their turn comes.
    fn horizon(&self) -> u64 {
        u64::MAX
    }

    /// Asks, and keeps the answer for the next judgment.
    fn ask(
        &self,
        question: Self::Question,
        l1: &impl L1Source,
        view: &mut View,
    ) -> impl Future<Output = ()> + Send;

    /// What is waited for if a question is open again as soon as it was asked.
    fn unanswered(&self, question: &Self::Question) -> Waiting;

    /// What judgment and comparison use of a block that is verified; none if the node does not
    /// have it.
    fn below(
        &self,
        tip: &HeadBlock,
        node: &impl NodeSource<Self::Block>,
    ) -> impl Future<Output = Result<Option<Self::Below>, UpstreamError>> + Send;

    /// Compares a batch and its copies with the node's block of their number; the first of them
    /// decides. Says which of them proves the block, and what it proves of it.
    ///
    /// # Errors
    /// The first difference, as far as they tell, or why nothing can be said yet.
    fn compare(
        &self,
        copies: &[&BatchOf<Self>],
        payloads: Payloads<'_>,
        below: &Self::Below,
        block: &Self::Block,
    ) -> Result<Verified<Self::Below>, Uncompared<Self::Question>>;

    /// Compares a part of a payload with the node's block, for the words of a difference that
    /// [`Self::compare`] found: the payload has what is not kept of a batch.
    ///
    /// # Errors
    /// The first difference.
    fn compare_payload(
        &self,
        payload: &[u8],
        part: usize,
        block: &Self::Block,
    ) -> Result<(), Difference>;

    /// The number of the L1 block that a block of the node is built on, and its hash if the block
    /// says it. Batches of later blocks are posted later.
    ///
    /// # Errors
    /// When the block is not one of this rollup kind.
    fn l1_origin(&self, block: &Self::Block) -> Result<(u64, Option<B256>), Difference>;

    /// What is known about Ethereum's finality, with what an earlier run has stored of it.
    fn finality(&self, stored: &[SafeSample]) -> Self::Finality;

    /// Asks whatever tells beside the node what Ethereum has finalized. `trusted` says whether the
    /// node's `finalized` needs no proof.
    fn ask_finality(
        &self,
        known: &mut Self::Finality,
        finalized: Option<BlockId>,
        trusted: bool,
        l1: &View,
    ) -> impl Future<Output = ()> + Send;

    /// Judges the node's `finalized`. Returns it if it is admitted, else the highest block below it
    /// that is, and why not the block itself. `admitted` was admitted before.
    fn judge_finalized(
        &self,
        known: &mut Self::Finality,
        finalized: BlockId,
        admitted: Option<HeadBlock>,
        trusted: bool,
        node: &impl NodeSource<Self::Block>,
        l1: (&impl L1Source, &mut View),
    ) -> impl Future<Output = (Option<HeadBlock>, Option<Refused>)> + Send;
}

/// What a rollup kind knows about Ethereum's finality.
pub trait Finality: Send + Sync + 'static {
    /// Drops what was concluded from a final block of L1 that turned out to be wrong.
    fn forget(&mut self);

    /// Whether what was asked has given no answer.
    fn is_unanswered(&self) -> bool;

    /// Whether it is known that nothing but genesis is finalized, though the node does not say so.
    fn is_only_genesis(&self, genesis: BlockId) -> bool;

    /// Whether a node is right that says that it has no finalized block: one that is starting may
    /// not know it yet.
    fn bears_out_none(&self, genesis: BlockId) -> bool;

    /// Whether a block that is not proven may be later, by what is known.
    fn may_prove(&self, block: BlockId) -> bool;

    /// The highest block that is proven to be final.
    fn proven(&self) -> Option<BlockId>;

    /// The newest block that is derived from L1.
    fn safe(&self) -> Option<u64>;

    /// What may prove something later, to be stored.
    fn samples(&self) -> &[SafeSample];
}

/// The check that rejected a payload of the namespace.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Rejected {
    /// Shorter than a signature.
    #[error("signature: {length} bytes are too few for a 65-byte signature")]
    TooShort {
        /// Length of the payload.
        length: usize,
    },
    /// The recovery id is not 0 to 3.
    #[error("signature: recovery id {0} is not one of 0 to 3")]
    RecoveryId(u8),
    /// No public key belongs to the signature.
    #[error("signature: no key can be recovered from it")]
    Unrecoverable,
    /// Signed by an unauthorized signer.
    #[error("signer: {0} is not an authorized batcher")]
    UnauthorizedSigner(Address),
    /// Signed by a batcher that is not authorized at the L1 block of the batch.
    #[error("signer: {signer} is not the authorized batcher at L1 block {l1_origin}")]
    UnauthorizedThere {
        /// The signer.
        signer: Address,
        /// The number of the batch's L1 origin.
        l1_origin: u64,
    },
    /// Not the structure of a batch.
    #[error("structure: {0}")]
    Structure(String),
    /// Parts of the batch contradict each other.
    #[error("consistency: {0}")]
    Inconsistent(Cow<'static, str>),
}

impl Rejected {
    /// A short name from a closed set, for metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooShort { .. } | Self::RecoveryId(_) | Self::Unrecoverable => "signature",
            Self::UnauthorizedSigner(_) | Self::UnauthorizedThere { .. } => "signer",
            Self::Structure(_) => "structure",
            Self::Inconsistent(_) => "consistency",
        }
    }
}

/// How a batch and the node's block differ.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Difference {
    /// The block differs.
    #[error("block hash: batch {batch}, node {node}")]
    Hash {
        /// Hash of the batch's header.
        batch: B256,
        /// Hash of the node's block.
        node: B256,
    },
    /// The hashes agree, but the transactions that the batch lists are not those of the block.
    #[error("transactions: {0}")]
    Transactions(String),
    /// The block is not one of this rollup kind.
    #[error("block {number}: {problem}")]
    Malformed {
        /// Number of the block.
        number: u64,
        /// What is wrong with it.
        problem: String,
    },
}
