//! Rollup kinds: how a payload of the namespace becomes a batch, and when a batch equals a block.
//!
//! The verifier knows no rollup kind; it works on the [`Facts`] of a batch and asks a [`Rollup`]
//! for the rest.

pub mod nitro;
pub mod op;
mod signature;

use alloy_primitives::{Address, B256};
use thiserror::Error;

use crate::{batchers::KnownBatchers, eth::BlockId, node::Block};

pub use signature::{SIGNATURE_LENGTH, recover};

/// What every batch says about its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// L2 block number.
    pub number: u64,
    /// Hash of the L2 block.
    pub hash: B256,
    /// Hash of its parent.
    pub parent_hash: B256,
    /// L2 block time, seconds since the epoch.
    pub timestamp: u64,
    /// The L1 block that the L2 block is built on.
    pub l1_origin: BlockId,
}

/// A batch by a known batcher. Whether the batcher is authorized depends on the L1 origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch<C> {
    /// The signer.
    pub signer: Address,
    /// What the verifier's rules use.
    pub facts: Facts,
    /// What only the comparison with a block uses.
    pub content: C,
}

/// A rollup kind.
pub trait Rollup: Send + Sync + 'static {
    /// What is kept of a batch, besides its facts, until its number is confirmed: of one size,
    /// however long the batch is. Batches with equal signers, facts and contents are one batch:
    /// every verdict on one holds for the other.
    type Content: Copy + PartialEq + Send + Sync + 'static;

    /// The batchers whose signatures [`Self::admit`] accepts; the verifier adds to it.
    fn batchers(&self) -> &KnownBatchers;

    /// Authenticates and decodes a payload found in the namespace, in this order. Anybody may post
    /// there: no I/O, and no work beyond a hash and a signature recovery before the signer is
    /// known. A signer that is ruled out at the batch's L1 origin causes no memory and no work that
    /// grows with the number of transactions but reading them.
    ///
    /// # Errors
    /// The first failed check.
    fn admit(&self, payload: &[u8]) -> Result<Batch<Self::Content>, Rejected>;

    /// Compares a batch with the node's block of the same number.
    ///
    /// # Errors
    /// The first difference, as far as the batch tells.
    fn compare(&self, batch: &Batch<Self::Content>, block: &Block) -> Result<(), Difference>;

    /// Compares the payload of a batch with the node's block, for the words of a difference that
    /// [`Self::compare`] found: the payload has what is not kept of a batch.
    ///
    /// # Errors
    /// The first difference.
    fn compare_payload(&self, payload: &[u8], block: &Block) -> Result<(), Difference>;

    /// The L1 origin of a block of the node.
    ///
    /// # Errors
    /// When the block is not one of this rollup kind.
    fn l1_origin(&self, block: &Block) -> Result<BlockId, Difference>;
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
    /// Signed by a batcher that is not authorized for batches with that L1 origin.
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
    Inconsistent(String),
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
