//! Why the head stands still, in words for an operator.

use alloy_primitives::B256;
use thiserror::Error;

use crate::eth::BlockId;

/// What the verifier waits for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Waiting {
    /// The first round has not ended.
    #[error("starting")]
    Starting,
    /// The node or op-node could not be asked which chain it is.
    #[error("the chain is not known yet: {0}")]
    Chain(String),
    /// The node's settings or chains do not fit together.
    #[error("wrong configuration: {0}")]
    Mismatched(String),
    /// It is not known who may sign batches.
    #[error("who may sign batches is not known: {0}")]
    Batchers(String),
    /// There is no block to start from.
    #[error("there is no block to start from yet: {0}")]
    Anchor(String),
    /// It is not known where to read HotShot from.
    #[error("where to begin reading HotShot is not known: {0}")]
    Start(String),
    /// The feed could not be read.
    #[error("the query service cannot be read: {0}")]
    Feed(String),
    /// Batches are still being read.
    #[error("reading HotShot: at {cursor} of {height}")]
    Reading {
        /// The next height to read.
        cursor: u64,
        /// HotShot's height.
        height: u64,
    },
    /// HotShot has no batch for the next block.
    #[error("HotShot has no batch for block {number} yet")]
    Batch {
        /// The next block.
        number: u64,
    },
    /// HotShot has no batch for the next block, and is not meant to.
    #[error(
        "HotShot has no batch for block {number}: the chain runs on the fallback batcher, so HotShot carries nothing"
    )]
    FallbackBatcher {
        /// The next block.
        number: u64,
    },
    /// HotShot has batches for the next block, but none that can follow the head.
    #[error(
        "HotShot's batches for block {number} do not follow the head: {impossible} of another fork, {invalid} on L1 blocks that Ethereum did not keep, {unauthorised} by a batcher that may not sign there"
    )]
    OtherFork {
        /// The next block.
        number: u64,
        /// How many do not fit the head.
        impossible: usize,
        /// How many are built on L1 blocks that are not final ones.
        invalid: usize,
        /// How many are signed by somebody who may not sign batches with their L1 origin.
        unauthorised: usize,
    },
    /// The L1 origin of the next batch is final, but the contract was not read up to there.
    #[error("block {number} waits for the batchers at its L1 origin {origin} to be read")]
    Authority {
        /// The next block.
        number: u64,
        /// Its L1 origin.
        origin: BlockId,
    },
    /// The L1 origin of the next batch is not final, or L1 gave no answer.
    #[error("block {number} waits for its L1 origin {origin} to be final; L1 is final up to {}", finalized_number(.finalized))]
    Origin {
        /// The next block.
        number: u64,
        /// Its L1 origin.
        origin: BlockId,
        /// L1's newest final block.
        finalized: Option<BlockId>,
    },
    /// The node does not have the next block.
    #[error("the node does not have block {number} yet")]
    NodeBlock {
        /// The next block.
        number: u64,
    },
    /// The node could not be asked.
    #[error("the node cannot be read: {0}")]
    Node(String),
    /// The node's block is not what HotShot confirmed.
    #[error("the node's block {number} is not the one that HotShot confirmed: {difference}")]
    Mismatch {
        /// The block.
        number: u64,
        /// What differs.
        difference: String,
    },
    /// The node's block at the head is another one.
    #[error("the node's block {number} is {node} instead of the verified {verified}")]
    Diverged {
        /// The head's number.
        number: u64,
        /// The verified hash.
        verified: B256,
        /// The node's hash.
        node: B256,
    },
    /// The node is behind the head.
    #[error("the node is at block {latest}, behind the head {number}")]
    NodeBehind {
        /// The head's number.
        number: u64,
        /// The node's latest block.
        latest: u64,
    },
    /// The hash of the head, which was taken over, is not known.
    #[error(
        "the hash of block {number}, taken over, is not known yet: neither a batch for it nor a finalized block at or above it was found"
    )]
    HashUnknown {
        /// The head's number.
        number: u64,
    },
    /// The head could not be saved.
    #[error("the head cannot be saved: {0}")]
    Store(String),
}

fn finalized_number(finalized: &Option<BlockId>) -> String {
    finalized.map_or_else(|| "no known block".into(), |block| block.number.to_string())
}
