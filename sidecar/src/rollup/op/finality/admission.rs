//! Whether to trust the node's `finalized` block. A wrong one would stay forever, since the head
//! never goes down.

use thiserror::Error;

use crate::{
    eth::BlockId,
    head::HeadBlock,
    l1::{OriginVerdict, View},
    node::Block,
    rollup::{
        Difference, L1Source, NodeSource,
        op::{Form, SyncStatus},
    },
    upstream::UpstreamError,
};

/// Why the node's `finalized` is not admitted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Unadmitted {
    /// A dependency that is needed to judge it did not answer.
    #[error("{0}")]
    Upstream(#[from] UpstreamError),
    /// op-node is not ready.
    #[error("op-node has no finalized block yet")]
    ConsensusNotReady,
    /// Nothing proves that L1 has finalized the block.
    #[error(
        "it is not proven that L1 has finalized the node's finalized block {block} ({}): op-node must derive a block above it, and L1 finalize that; a safe-head database (op-node's --safedb.path) proves it at once", below(*.proven)
    )]
    Unproven {
        /// The node's finalized block.
        block: BlockId,
        /// The highest block below it that is proven.
        proven: Option<BlockId>,
    },
    /// op-node has not finalized that block.
    #[error("the node reports {node} as finalized, op-node only {consensus}")]
    AboveConsensus {
        /// The node's reading.
        node: BlockId,
        /// op-node's reading.
        consensus: BlockId,
    },
    /// The block disappeared between two requests.
    #[error("the node no longer has its finalized block {0}")]
    Vanished(BlockId),
    /// The block is not of this rollup.
    #[error("the node's finalized block is not of this rollup: {0}")]
    Malformed(#[from] Difference),
    /// Its L1 origin is not final.
    #[error(
        "the L1 origin {origin} of the node's finalized block {number} is not known to be final on L1"
    )]
    OriginNotFinal {
        /// The block's number.
        number: u64,
        /// Its L1 origin.
        origin: BlockId,
    },
    /// Another L1 block is final at that height.
    #[error(
        "the node's finalized block {number} is built on L1 block {origin}, which Ethereum did not keep (node_execution_rpc and l1_rpc must be of the same chains)"
    )]
    OriginInvalid {
        /// The block's number.
        number: u64,
        /// Its L1 origin.
        origin: BlockId,
    },
    /// The node answers for another chain.
    #[error("the node is of chain {0} now (node_execution_rpc)")]
    OtherChain(u64),
}

fn below(proven: Option<BlockId>) -> String {
    match proven {
        Some(block) => format!("block {} is", block.number),
        None => "nor is any block below it".into(),
    }
}

/// Judges the node's `finalized` by op-node, by L1 and by the chain id.
pub(super) async fn admit(
    form: &impl Form,
    finalized: BlockId,
    chain_id: Option<u64>,
    status: &SyncStatus,
    node: &impl NodeSource<Block>,
    l1: &impl L1Source,
    view: &mut View,
) -> Result<HeadBlock, Unadmitted> {
    let consensus = status.ready_finalized_l2().ok_or(Unadmitted::ConsensusNotReady)?;
    let same_number = finalized.number == consensus.number;
    if finalized.number > consensus.number || (same_number && finalized.hash != consensus.hash) {
        return Err(Unadmitted::AboveConsensus { node: finalized, consensus });
    }
    let answered = node.chain_id().await?;
    if Some(answered) != chain_id {
        return Err(Unadmitted::OtherChain(answered));
    }
    let block = node.block(finalized.number).await?;
    let block = block
        .filter(|block| block.hash == finalized.hash)
        .ok_or(Unadmitted::Vanished(finalized))?;
    let origin = form.l1_origin(&block)?;
    let number = finalized.number;
    if let OriginVerdict::Ask(origin) = view.judge(origin) {
        view.learn(origin, Ok(l1.hash_at(origin.number).await?));
    }
    match view.judge(origin) {
        OriginVerdict::Valid => {
            Ok(HeadBlock { number, hash: Some(finalized.hash), l1_origin: Some(origin) })
        }
        OriginVerdict::Invalid => Err(Unadmitted::OriginInvalid { number, origin }),
        _ => Err(Unadmitted::OriginNotFinal { number, origin }),
    }
}
