//! The full node: its execution RPC, and the consensus RPC of its op-node.
//!
//! The node is the operator's own and is trusted for its blocks, but not for what is final (see
//! `verifier::admission`).

mod consensus;

use std::{
    cmp::Reverse,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use alloy_primitives::{B256, Bytes};
use serde::Deserialize;
use serde_json::json;

use crate::{
    eth::{BlockId, Header, Quantity, quantity},
    upstream::{Failover, UpstreamError, expect_number},
};

pub use consensus::{Genesis, L1Ref, L2Ref, RollupConfig, SyncStatus};

/// A block with its transactions, as far as the comparison with a batch needs them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Block {
    /// Block number.
    #[serde(deserialize_with = "quantity")]
    pub number: u64,
    /// Block hash, as the node reports it.
    pub hash: B256,
    /// Hash of the parent.
    pub parent_hash: B256,
    /// Block time, seconds since the epoch.
    #[serde(deserialize_with = "quantity")]
    pub timestamp: u64,
    /// The transactions in order.
    pub transactions: Vec<Transaction>,
}

/// A transaction of a [`Block`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Transaction {
    /// Transaction hash.
    pub hash: B256,
    /// The type as the node writes it, a hex quantity; some nodes omit it for legacy transactions.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Call data.
    #[serde(default)]
    pub input: Bytes,
}

impl Transaction {
    /// Whether the node reports this type.
    #[must_use]
    pub fn is_type(&self, number: u8) -> bool {
        let digits = self.kind.as_deref().and_then(|kind| kind.strip_prefix("0x"));
        digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) == Some(number)
    }
}

/// The full node. There may be several endpoints of each kind; one is used until it fails.
#[derive(Debug, Clone)]
pub struct Node {
    execution: Failover,
    consensus: Failover,
    /// The last reading of the latest block.
    latest: Arc<AtomicU64>,
}

impl Node {
    /// A node with these RPC endpoints.
    #[must_use]
    pub fn new(execution: impl Into<Failover>, consensus: impl Into<Failover>) -> Self {
        Self { execution: execution.into(), consensus: consensus.into(), latest: Arc::default() }
    }

    /// The chain id.
    ///
    /// # Errors
    /// [`UpstreamError`], as for every call here.
    pub async fn chain_id(&self) -> Result<u64, UpstreamError> {
        let Quantity(id) = self.execution.call("eth_chainId", json!([])).await?;
        Ok(id)
    }

    /// The number of the latest block. A reading below the last one is accepted only if no endpoint
    /// has a higher one; the endpoint with the highest is used from then on.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn latest(&self) -> Result<u64, UpstreamError> {
        let last = self.latest.load(Ordering::Relaxed);
        let (mut highest, mut failed) = (None, None);
        for (index, endpoint) in self.execution.in_turn() {
            match endpoint.call("eth_blockNumber", json!([])).await {
                Ok(Quantity(number)) => {
                    highest = highest.max(Some((number, Reverse(index))));
                    if number >= last {
                        break;
                    }
                }
                Err(error) => _ = failed.get_or_insert(error),
            }
        }
        let Some((number, Reverse(index))) = highest else {
            return Err(failed.unwrap_or_else(Failover::nobody));
        };
        self.execution.prefer(index);
        self.latest.store(number, Ordering::Relaxed);
        Ok(number)
    }

    /// The hash of the block with a number; none if the node does not have it.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn hash_at(&self, number: u64) -> Result<Option<B256>, UpstreamError> {
        let block = self.header(json!(format!("{number:#x}"))).await?;
        expect_number(number, block.map(|block| block.number))?;
        Ok(block.map(|block| block.hash))
    }

    /// The block with a number; none if the node does not have it.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn block(&self, number: u64) -> Result<Option<Block>, UpstreamError> {
        let params = json!([format!("{number:#x}"), true]);
        let block: Option<Block> = self.execution.call("eth_getBlockByNumber", params).await?;
        expect_number(number, block.as_ref().map(|block| block.number))?;
        Ok(block)
    }

    /// The block that the node calls `finalized`; none when it says that it has none, by null or by
    /// an error object that says so. Another error object says nothing.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn finalized(&self) -> Result<Option<BlockId>, UpstreamError> {
        // geth: -32000 "finalized block not found"; Nethermind and Erigon name it likewise.
        let absent = |_: i64, message: &str| message.to_ascii_lowercase().contains("not found");
        let params = json!(["finalized", false]);
        let block: Option<Option<Header>> =
            self.execution.call_optional("eth_getBlockByNumber", params, absent).await?;
        Ok(block.flatten().map(BlockId::from))
    }

    /// The rollup's configuration.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn rollup_config(&self) -> Result<RollupConfig, UpstreamError> {
        self.consensus.call("optimism_rollupConfig", json!([])).await
    }

    /// What op-node has derived.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn sync_status(&self) -> Result<SyncStatus, UpstreamError> {
        self.consensus.call("optimism_syncStatus", json!([])).await
    }

    async fn header(&self, block: serde_json::Value) -> Result<Option<Header>, UpstreamError> {
        self.execution.call("eth_getBlockByNumber", json!([block, false])).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::testing::Endpoint;

    #[tokio::test]
    async fn a_latest_block_that_falls_is_believed_only_if_no_endpoint_has_more() {
        let (first, second) = (Endpoint::new().await, Endpoint::new().await);
        let execution = Failover::new(first.upstream.clone(), vec![second.upstream.clone()]);
        let node = Node::new(execution, first.upstream.clone());
        first.answers(200, r#"{"result":"0x64"}"#);
        second.answers(200, r#"{"result":"0x5f"}"#);
        assert_eq!(node.latest().await, Ok(100));
        assert_eq!(second.asked(), 0);
        // The first one fails and the second one lags: it is accepted for lack of a better one.
        first.answers(404, "");
        assert_eq!(node.latest().await, Ok(95));
        first.answers(200, r#"{"result":"0x65"}"#);
        assert_eq!(node.latest().await, Ok(95), "it stays");
        // It is wiped: the other one is used.
        second.answers(200, r#"{"result":"0x0"}"#);
        assert_eq!(node.latest().await, Ok(101));
        assert_eq!(node.chain_id().await, Ok(101), "for everything");
        first.answers(200, r#"{"result":"0x1"}"#);
        assert_eq!(node.latest().await, Ok(1), "both are wiped");
    }

    #[test]
    fn types_are_compared_as_numbers() {
        let of = |kind: Option<&str>| Transaction {
            hash: B256::ZERO,
            kind: kind.map(str::to_owned),
            input: Bytes::new(),
        };
        assert!(of(Some("0x7e")).is_type(0x7e));
        assert!(of(Some("0x7E")).is_type(0x7e));
        for kind in [None, Some("0x2"), Some("7e"), Some("0x17e"), Some("")] {
            assert!(!of(kind).is_type(0x7e), "{kind:?}");
        }
    }

    #[test]
    fn a_block_without_what_the_comparison_needs_is_an_error() {
        let good = json!({"number": "0x1", "hash": B256::ZERO, "parentHash": B256::ZERO,
            "timestamp": "0x5", "transactions": [], "unknown": 1});
        assert!(serde_json::from_value::<Block>(good.clone()).is_ok());
        for member in ["number", "hash", "parentHash", "timestamp", "transactions"] {
            let mut block = good.clone();
            block.as_object_mut().unwrap().remove(member);
            assert!(serde_json::from_value::<Block>(block).is_err(), "{member}");
        }
    }
}
