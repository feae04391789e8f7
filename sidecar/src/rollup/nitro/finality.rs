//! What Ethereum has finalized of a Nitro chain: the node says so, and the parent chain has the
//! batch with the block, at its final block.

use alloy_primitives::{Address, U256, address};
use thiserror::Error;

use super::{NitroBlock, ParentSource};
use crate::{
    eth::BlockId,
    head::HeadBlock,
    rollup::{Finality, NodeSource, Refused},
    store::SafeSample,
    upstream::UpstreamError,
};

/// NodeInterface, which only nodes have.
const NODE_INTERFACE: Address = address!("00000000000000000000000000000000000000c8");
/// `findBatchContainingBlock(uint64)`.
const FIND_BATCH: [u8; 4] = [0x81, 0xf1, 0xad, 0xaf];

/// What is known of the parent chain.
#[derive(Debug, Default)]
pub struct Settled {
    /// The parent chain's final block, and how many batches it has there.
    batches: Option<Result<(BlockId, u64), UpstreamError>>,
    /// The highest block that is in one of them.
    proven: Option<BlockId>,
}

/// Why the node's `finalized` is not admitted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
enum Unsettled {
    #[error("the parent chain cannot be read (parent_rpc): {0}")]
    Parent(UpstreamError),
    #[error("{0}")]
    Node(#[from] UpstreamError),
    #[error("the node is of chain {0} now (node_execution_rpc)")]
    OtherChain(u64),
    #[error("the node no longer has its finalized block {0}")]
    Vanished(BlockId),
    #[error("the node does not say which batch has its finalized block {0} (NodeInterface): {1}")]
    NoBatch(BlockId, UpstreamError),
    #[error(
        "the node says that its finalized block {block} is in batch {batch}, the sequencer inbox has {count} batches at the parent chain's final block {finalized} (sequencer_inbox_address)"
    )]
    NotPosted { block: BlockId, batch: u64, count: u64, finalized: BlockId },
}

impl Settled {
    pub(super) async fn ask(&mut self, parent: &impl ParentSource) {
        let batches = async {
            let (finalized, _) = parent.finalized().await?;
            Ok((finalized, parent.batch_count(finalized).await?))
        };
        self.batches = Some(batches.await);
    }

    async fn admit(
        &self,
        block: BlockId,
        chain_id: u64,
        trusted: bool,
        node: &impl NodeSource<NitroBlock>,
    ) -> Result<HeadBlock, Unsettled> {
        let answered = node.chain_id().await?;
        if answered != chain_id {
            return Err(Unsettled::OtherChain(answered));
        }
        if !trusted {
            let batches = self.batches.clone().unwrap_or_else(|| Err(unasked()));
            // The node's answer is of its present state: it is asked after the parent chain.
            let (finalized, count) = batches.map_err(Unsettled::Parent)?;
            let batch = batch_of(block, node).await?;
            if batch >= count {
                return Err(Unsettled::NotPosted { block, batch, count, finalized });
            }
        }
        // What it says of a number is of the block that it has there.
        if node.hash_at(block.number).await? != Some(block.hash) {
            return Err(Unsettled::Vanished(block));
        }
        Ok(HeadBlock { number: block.number, hash: Some(block.hash), l1_origin: None })
    }
}

fn unasked() -> UpstreamError {
    UpstreamError::Distrusted("it was not asked yet".into())
}

/// The batch that has a block, as the node says.
async fn batch_of(block: BlockId, node: &impl NodeSource<NitroBlock>) -> Result<u64, Unsettled> {
    let number = U256::from(block.number).to_be_bytes::<32>();
    let data = FIND_BATCH.into_iter().chain(number).collect();
    let unsaid = |error| Unsettled::NoBatch(block, error);
    let answer = node.view(NODE_INTERFACE, data).await.map_err(unsaid)?;
    let batch = U256::try_from_be_slice(&answer).filter(|_| answer.len() == 32);
    let batch = batch.and_then(|batch| batch.try_into().ok());
    batch.ok_or_else(|| {
        unsaid(UpstreamError::Malformed(format!("{answer} is no number of a batch")))
    })
}

pub(super) async fn judge(
    known: &mut Settled,
    finalized: BlockId,
    chain_id: u64,
    trusted: bool,
    node: &impl NodeSource<NitroBlock>,
) -> Result<HeadBlock, Refused> {
    let admitted = known.admit(finalized, chain_id, trusted, node).await;
    if admitted.is_ok() && !trusted {
        known.proven = Some(finalized);
    }
    admitted.map_err(|unsettled| {
        let problem = unsettled.to_string();
        match unsettled {
            Unsettled::NotPosted { block, .. } => Refused::Unproven { block, problem },
            _ => Refused::Otherwise(problem),
        }
    })
}

impl Finality for Settled {
    fn forget(&mut self) {
        *self = Self::default();
    }

    fn is_unanswered(&self) -> bool {
        matches!(self.batches, Some(Err(_)))
    }

    fn is_only_genesis(&self, _: BlockId) -> bool {
        false
    }

    /// The node is the only one that can say so.
    fn bears_out_none(&self, _: BlockId) -> bool {
        false
    }

    /// The parent chain finalizes the batch sooner or later.
    fn may_prove(&self, _: BlockId) -> bool {
        true
    }

    fn proven(&self) -> Option<BlockId> {
        self.proven
    }

    fn safe(&self) -> Option<u64> {
        None
    }

    fn samples(&self) -> &[SafeSample] {
        &[]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selector_is_that_of_node_interface() {
        let hash = alloy_primitives::keccak256("findBatchContainingBlock(uint64)");
        assert_eq!(hash[..4], FIND_BATCH);
    }
}
