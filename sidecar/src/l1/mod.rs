//! The L1 node: what is final there, hashes by number, and Espresso's light client contract.

mod light_client;

use alloy_primitives::{Address, B256, Bytes};
use serde_json::json;

pub use light_client::{FinalizedState, LightClientError};

use crate::{
    block::BlockId,
    node::{block_id_call, quantity_call},
    upstream::{Upstream, UpstreamError},
};

/// The L1 node.
#[derive(Debug, Clone)]
pub struct L1 {
    rpc: Upstream,
}

impl L1 {
    /// An L1 node with this RPC endpoint.
    #[must_use]
    pub const fn new(rpc: Upstream) -> Self {
        Self { rpc }
    }

    /// The chain id.
    ///
    /// # Errors
    /// [`UpstreamError`], as for every call here.
    pub async fn chain_id(&self) -> Result<u64, UpstreamError> {
        quantity_call(&self.rpc, "eth_chainId").await
    }

    /// The newest final block; none when the node knows of none.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn finalized(&self) -> Result<Option<BlockId>, UpstreamError> {
        block_id_call(&self.rpc, json!("finalized")).await
    }

    /// The hash of the block with a number, by the `hash` member: recomputing it would fail with every
    /// fork that adds a header field. None if the node does not have the block.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn hash_at(&self, number: u64) -> Result<Option<B256>, UpstreamError> {
        match block_id_call(&self.rpc, json!(format!("{number:#x}"))).await? {
            Some(block) if block.number != number => Err(UpstreamError::Malformed(format!(
                "asked for block {number}, the answer is block {}",
                block.number
            ))),
            block => Ok(block.map(|block| block.hash)),
        }
    }

    /// What the light client contract at `address` said at an L1 block.
    ///
    /// # Errors
    /// [`LightClientError`].
    pub async fn light_client(
        &self,
        address: Address,
        block: u64,
    ) -> Result<FinalizedState, LightClientError> {
        let call = json!([
            {"to": address, "data": light_client::FINALIZED_STATE},
            format!("{block:#x}"),
        ]);
        let data: Bytes = self.rpc.call("eth_call", call).await?;
        FinalizedState::decode(&data)
    }
}
