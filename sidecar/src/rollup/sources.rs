//! The dependencies of the verifier and of rollup kinds as traits, so that they can be tested
//! without them.
//!
//! The methods are those of the clients, which document them.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes};
use espresso_proofs::{BlockTreeRoot, Chain, Checkpoint, Header};

use crate::{
    espresso::{Blocks, QueryServices},
    eth::BlockId,
    head::HeadBlock,
    l1::{
        BatchAuthenticatorError, BatcherHistory, Endpoint, FinalizedState, L1, LightClientError,
        Reading, State,
    },
    node::{Node, NodeBlock, Survey},
    upstream::UpstreamError,
};

/// The full node, whose blocks are read as `B`; see [`Node`].
pub trait NodeSource<B>: Send + Sync + 'static {
    fn survey(
        &self,
        chain_id: Option<u64>,
        head: Option<HeadBlock>,
    ) -> impl Future<Output = Result<Survey, UpstreamError>> + Send;
    fn chain_id(&self) -> impl Future<Output = Result<u64, UpstreamError>> + Send;
    fn latest(&self) -> impl Future<Output = Result<u64, UpstreamError>> + Send;
    fn hash_at(
        &self,
        number: u64,
    ) -> impl Future<Output = Result<Option<B256>, UpstreamError>> + Send;
    fn block(&self, number: u64) -> impl Future<Output = Result<Option<B>, UpstreamError>> + Send;
    fn short_block(
        &self,
        number: u64,
    ) -> impl Future<Output = Result<Option<B>, UpstreamError>> + Send;
    fn block_and_latest(
        &self,
        number: u64,
    ) -> impl Future<Output = Result<(Option<B>, u64), UpstreamError>> + Send;
    fn finalized(&self) -> impl Future<Output = Result<Option<BlockId>, UpstreamError>> + Send;
    fn view(
        &self,
        contract: Address,
        data: Bytes,
    ) -> impl Future<Output = Result<Bytes, UpstreamError>> + Send;
}

/// L1; see [`L1`].
pub trait L1Source: Send + Sync + 'static {
    fn pin(&self, block: BlockId);
    fn chain_id(&self) -> impl Future<Output = Result<u64, UpstreamError>> + Send;
    fn read(&self, chain_id: u64) -> impl Future<Output = Result<Reading, UpstreamError>> + Send;
    fn hash_at(
        &self,
        number: u64,
    ) -> impl Future<Output = Result<Option<B256>, UpstreamError>> + Send;
    fn timestamp(&self, block: BlockId) -> impl Future<Output = Result<u64, UpstreamError>> + Send;
    fn light_client(
        &self,
        contract: Address,
        block: BlockId,
    ) -> impl Future<Output = Result<FinalizedState, LightClientError>> + Send;
    fn checkpoint(
        &self,
        contract: Address,
        block: BlockId,
    ) -> impl Future<Output = Result<Checkpoint, LightClientError>> + Send;
    fn is_shared(&self) -> bool;
    fn batchers(
        &self,
        contract: Address,
        state: State,
    ) -> impl Future<Output = Result<BatcherHistory, BatchAuthenticatorError>> + Send;
}

/// HotShot as the query services show it; see [`QueryServices`].
pub trait FeedSource: Send + Sync + 'static {
    fn height(&self) -> impl Future<Output = Result<u64, UpstreamError>> + Send;
    fn range_limit(&self) -> impl Future<Output = Result<u64, UpstreamError>> + Send;
    fn range(
        &self,
        from: u64,
        until: u64,
    ) -> impl Future<Output = Result<Blocks, UpstreamError>> + Send;
    fn block_alone(
        &self,
        height: u64,
    ) -> impl Future<Output = Result<Blocks, UpstreamError>> + Send;
    fn prove_under(&self, checkpoint: Checkpoint);
    fn chain_under(
        &self,
        checkpoint: Checkpoint,
        height: u64,
    ) -> impl Future<Output = Result<Chain, UpstreamError>> + Send;
    fn chain_before(
        &self,
        height: u64,
        root: BlockTreeRoot,
    ) -> impl Future<Output = Result<Chain, UpstreamError>> + Send;
    fn is_gone(&self, height: u64, newer: u64) -> impl Future<Output = bool> + Send;
    fn header(&self, height: u64) -> impl Future<Output = Result<Header, UpstreamError>> + Send;
    fn newest_header(&self) -> Option<Arc<Header>>;
    fn l1_finalized(
        &self,
        height: u64,
    ) -> impl Future<Output = Result<Option<u64>, UpstreamError>> + Send;
}

impl<B: NodeBlock> NodeSource<B> for Node {
    async fn survey(
        &self,
        chain_id: Option<u64>,
        head: Option<HeadBlock>,
    ) -> Result<Survey, UpstreamError> {
        Self::survey(self, chain_id, head).await
    }

    async fn chain_id(&self) -> Result<u64, UpstreamError> {
        Self::chain_id(self).await
    }

    async fn latest(&self) -> Result<u64, UpstreamError> {
        Self::latest(self).await
    }

    async fn hash_at(&self, number: u64) -> Result<Option<B256>, UpstreamError> {
        Self::hash_at(self, number).await
    }

    async fn block(&self, number: u64) -> Result<Option<B>, UpstreamError> {
        Self::block(self, number).await
    }

    async fn short_block(&self, number: u64) -> Result<Option<B>, UpstreamError> {
        Self::short_block(self, number).await
    }

    async fn block_and_latest(&self, number: u64) -> Result<(Option<B>, u64), UpstreamError> {
        Self::block_and_latest(self, number).await
    }

    async fn finalized(&self) -> Result<Option<BlockId>, UpstreamError> {
        Self::finalized(self).await
    }

    async fn view(&self, contract: Address, data: Bytes) -> Result<Bytes, UpstreamError> {
        Self::view(self, contract, data).await
    }
}

impl<E: Endpoint> L1Source for L1<E> {
    fn pin(&self, block: BlockId) {
        Self::pin(self, block);
    }

    async fn chain_id(&self) -> Result<u64, UpstreamError> {
        Self::chain_id(self).await
    }

    async fn read(&self, chain_id: u64) -> Result<Reading, UpstreamError> {
        Self::read(self, chain_id).await
    }

    async fn hash_at(&self, number: u64) -> Result<Option<B256>, UpstreamError> {
        Self::hash_at(self, number).await
    }

    async fn timestamp(&self, block: BlockId) -> Result<u64, UpstreamError> {
        Self::timestamp(self, block).await
    }

    async fn light_client(
        &self,
        contract: Address,
        block: BlockId,
    ) -> Result<FinalizedState, LightClientError> {
        Self::light_client(self, contract, block).await
    }

    async fn checkpoint(
        &self,
        contract: Address,
        block: BlockId,
    ) -> Result<Checkpoint, LightClientError> {
        Self::checkpoint(self, contract, block).await
    }

    fn is_shared(&self) -> bool {
        Self::is_shared(self)
    }

    async fn batchers(
        &self,
        contract: Address,
        state: State,
    ) -> Result<BatcherHistory, BatchAuthenticatorError> {
        Self::batchers(self, contract, state).await
    }
}

impl FeedSource for QueryServices {
    async fn height(&self) -> Result<u64, UpstreamError> {
        Self::height(self).await
    }

    async fn range_limit(&self) -> Result<u64, UpstreamError> {
        Self::range_limit(self).await
    }

    async fn range(&self, from: u64, until: u64) -> Result<Blocks, UpstreamError> {
        Self::range(self, from, until).await
    }

    async fn block_alone(&self, height: u64) -> Result<Blocks, UpstreamError> {
        Self::block_alone(self, height).await
    }

    fn prove_under(&self, checkpoint: Checkpoint) {
        Self::prove_under(self, checkpoint);
    }

    async fn chain_under(
        &self,
        checkpoint: Checkpoint,
        height: u64,
    ) -> Result<Chain, UpstreamError> {
        Self::chain_under(self, checkpoint, height).await
    }

    async fn chain_before(&self, height: u64, root: BlockTreeRoot) -> Result<Chain, UpstreamError> {
        Self::chain_before(self, height, root).await
    }

    async fn is_gone(&self, height: u64, newer: u64) -> bool {
        Self::is_gone(self, height, newer).await
    }

    async fn header(&self, height: u64) -> Result<Header, UpstreamError> {
        Self::header(self, height).await
    }

    fn newest_header(&self) -> Option<Arc<Header>> {
        Self::newest_header(self)
    }

    async fn l1_finalized(&self, height: u64) -> Result<Option<u64>, UpstreamError> {
        Self::l1_finalized(self, height).await
    }
}
