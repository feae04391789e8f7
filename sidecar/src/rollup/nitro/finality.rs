//! What Ethereum has finalized of a Nitro chain: the node says so, and the parent chain has the
//! batch with the block, at its final block.

use thiserror::Error;

use super::{NitroBlock, ParentSource, interface};
use crate::{
    eth::BlockId,
    head::HeadBlock,
    rollup::{Finality, NodeSource, Refused},
    store::SafeSample,
    upstream::UpstreamError,
};

/// What is known of the parent chain.
#[derive(Debug, Default)]
pub struct Settled {
    /// The parent chain's final block, and how many batches it has there; nothing while that is not
    /// known.
    batches: Option<Result<(BlockId, u64), UpstreamError>>,
    is_asked: bool,
    /// The highest block that is in one of them.
    proven: Option<BlockId>,
    /// The first block that is in none of them yet, and the last one, and the batches that have
    /// them, as the node says. The first is kept when the node calls later ones final: else the
    /// parent chain might always be behind.
    ahead: Vec<(BlockId, u64)>,
}

/// Why the node's `finalized` is not admitted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
enum Unsettled {
    #[error("the parent chain cannot be read (parent_rpc): {0}")]
    Parent(UpstreamError),
    #[error("what the parent chain has finalized is not known yet, so {0} is not admitted")]
    Unread(BlockId),
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
            let Some(finalized) = parent.finalized().await?.0 else { return Ok(None) };
            Ok(Some((finalized, parent.batch_count(finalized).await?)))
        };
        self.batches = batches.await.transpose();
        self.is_asked = true;
    }

    async fn admit(
        &self,
        block: BlockId,
        chain_id: u64,
        trusted: bool,
        node: &impl NodeSource<NitroBlock>,
    ) -> Result<HeadBlock, Unsettled> {
        if let Some(not_posted) = self.is_ahead(block).filter(|_| !trusted) {
            return Err(not_posted);
        }
        let answered = node.chain_id().await?;
        if answered != chain_id {
            return Err(Unsettled::OtherChain(answered));
        }
        if !trusted {
            // The node's answer is of its present state: it is asked after the parent chain.
            let batches = self.batches.clone().ok_or(Unsettled::Unread(block))?;
            let (finalized, count) = batches.map_err(Unsettled::Parent)?;
            let batch = interface::batch_of(block.number, node).await;
            let batch = batch.map_err(|error| Unsettled::NoBatch(block, error))?;
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

    /// Whether a block is known to be in none of the batches that the parent chain has.
    fn is_ahead(&self, block: BlockId) -> Option<Unsettled> {
        let (_, batch) = *self.ahead.iter().find(|(ahead, _)| *ahead == block)?;
        let (finalized, count) = self.batches.clone()?.ok()?;
        (batch >= count).then_some(Unsettled::NotPosted { block, batch, count, finalized })
    }

    /// The highest block that was ahead when the node called it final, and whose batch is there by
    /// now, if the node calls a later block final.
    fn overtaken(&mut self, finalized: BlockId) -> Option<BlockId> {
        let blocks = self.ahead.iter().map(|(block, _)| *block);
        let overtaken = blocks.filter(|block| block.number < finalized.number);
        let overtaken = overtaken.filter(|block| self.is_ahead(*block).is_none());
        let highest = overtaken.max_by_key(|block| block.number)?;
        self.ahead.retain(|(block, _)| block.number > highest.number);
        Some(highest)
    }
}

/// The block that the node calls final, or the one that it called so before, if it is admitted, and
/// why the first one is not.
pub(super) async fn judge(
    known: &mut Settled,
    finalized: BlockId,
    chain_id: u64,
    trusted: bool,
    node: &impl NodeSource<NitroBlock>,
) -> (Option<HeadBlock>, Option<Refused>) {
    let proven = |block: BlockId| (!trusted).then_some(block);
    let unsettled = match known.admit(finalized, chain_id, trusted, node).await {
        Ok(block) => {
            (known.proven, known.ahead) = (proven(finalized).or(known.proven), Vec::new());
            return (Some(block), None);
        }
        Err(unsettled) => unsettled,
    };
    let mut admitted = None;
    if let Some(block) = known.overtaken(finalized) {
        admitted = known.admit(block, chain_id, trusted, node).await.ok();
        known.proven = admitted.and_then(|_| proven(block)).or(known.proven);
    }
    let problem = unsettled.to_string();
    let refused = match unsettled {
        Unsettled::NotPosted { block, batch, .. } => {
            known.ahead.truncate(1);
            known.ahead.push((block, batch));
            Refused::Unproven { block, problem }
        }
        Unsettled::Unread(block) => Refused::Unproven { block, problem },
        _ => Refused::Otherwise(problem),
    };
    (admitted, Some(refused))
}

impl Finality for Settled {
    fn forget(&mut self) {
        *self = Self::default();
    }

    fn is_unanswered(&self) -> bool {
        self.is_asked && !matches!(self.batches, Some(Ok(_)))
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
