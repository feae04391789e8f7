//! op-node. Its numbers are plain JSON integers; unknown members of its answers are accepted.

use alloy_primitives::{Address, B256};
use serde::Deserialize;
use serde_json::json;

use crate::{
    eth::BlockId,
    upstream::{Failover, UpstreamError},
};

/// op-node; see [`Consensus`].
pub trait ConsensusSource: Send + Sync + 'static {
    fn rollup_config(&self) -> impl Future<Output = Result<RollupConfig, UpstreamError>> + Send;
    fn sync_status(&self) -> impl Future<Output = Result<SyncStatus, UpstreamError>> + Send;
    fn safe_head_at(
        &self,
        l1_number: u64,
    ) -> impl Future<Output = Result<Option<SafeHead>, UpstreamError>> + Send;
}

/// The consensus RPC of an op-node. There may be several endpoints.
#[derive(Debug, Clone)]
pub struct Consensus(Failover);

impl Consensus {
    /// An op-node with these RPC endpoints.
    #[must_use]
    pub fn new(endpoints: impl Into<Failover>) -> Self {
        Self(endpoints.into())
    }
}

impl ConsensusSource for Consensus {
    /// The rollup's configuration.
    async fn rollup_config(&self) -> Result<RollupConfig, UpstreamError> {
        self.0.call("optimism_rollupConfig", json!([])).await
    }

    /// What op-node has derived.
    async fn sync_status(&self) -> Result<SyncStatus, UpstreamError> {
        self.0.call("optimism_syncStatus", json!([])).await
    }

    /// The newest L2 block that was safe at an L1 block, by op-node's safe-head database. None when
    /// it does not have it: most op-nodes keep no such database.
    async fn safe_head_at(&self, l1_number: u64) -> Result<Option<SafeHead>, UpstreamError> {
        let params = json!([format!("{l1_number:#x}")]);
        self.0.call_optional("optimism_safeHeadAtL1Block", params, |_, _| true).await
    }
}

/// The part of `optimism_rollupConfig` that is used.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RollupConfig {
    /// The rollup's genesis.
    pub genesis: Genesis,
    /// Seconds between two L2 blocks.
    pub block_time: u64,
    /// L1 blocks after which op-node derives blocks without a batch.
    pub seq_window_size: u64,
    /// The L1 chain id.
    pub l1_chain_id: u64,
    /// The L2 chain id.
    pub l2_chain_id: u64,
    /// The contract that authorizes batchers, on Espresso builds.
    pub batch_authenticator_address: Option<Address>,
}

/// The genesis of a rollup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Genesis {
    /// The L1 block before the rollup's first one.
    pub l1: BlockId,
    /// The rollup's first block.
    pub l2: BlockId,
    /// Time of that block, seconds since the epoch.
    pub l2_time: u64,
}

impl RollupConfig {
    /// The contract that authorizes batchers; zero means none.
    #[must_use]
    pub fn authenticator(&self) -> Option<Address> {
        self.batch_authenticator_address.filter(|address| !address.is_zero())
    }

    /// The time of the block with a number; none for numbers before genesis or times beyond 64
    /// bits.
    #[must_use]
    pub fn timestamp(&self, number: u64) -> Option<u64> {
        let blocks = number.checked_sub(self.genesis.l2.number)?;
        self.genesis.l2_time.checked_add(blocks.checked_mul(self.block_time)?)
    }
}

/// The part of `optimism_syncStatus` that is used. While op-node starts, everything may be zero or
/// missing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SyncStatus {
    /// The L1 block that L2 blocks are being derived from.
    pub current_l1: Option<BlockId>,
    /// The newest L1 block that op-node has seen.
    pub head_l1: Option<BlockId>,
    /// The newest L2 block derived from final L1 data.
    pub finalized_l2: Option<L2Ref>,
    /// The newest L2 block derived from L1 data.
    pub safe_l2: Option<L2Ref>,
}

/// An L2 block in a sync status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct L2Ref {
    /// Block hash.
    pub hash: B256,
    /// Block number.
    pub number: u64,
    /// The L1 block that it is built on.
    #[serde(rename = "l1origin")]
    pub l1_origin: BlockId,
}

/// An entry of op-node's safe-head database (`optimism_safeHeadAtL1Block`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SafeHead {
    /// The L1 block from which on the L2 block was safe.
    pub l1_block: BlockId,
    /// The newest L2 block that L1 data up to there gives.
    pub safe_head: BlockId,
}

impl SyncStatus {
    /// The newest final L2 block; none while op-node is not ready, which it reports as zeros.
    #[must_use]
    pub fn ready_finalized_l2(&self) -> Option<BlockId> {
        let finalized = self.finalized_l2.filter(|block| !block.hash.is_zero())?;
        Some(BlockId { number: finalized.number, hash: finalized.hash })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn vector(name: &str) -> Value {
        let vectors: Value =
            serde_json::from_str(include_str!("../../../testdata/op_node_rpc.json")).unwrap();
        vectors[name].clone()
    }

    #[test]
    fn a_ready_sync_status_is_read() {
        let status: SyncStatus = serde_json::from_value(vector("sync_status")).unwrap();
        assert_eq!(status.ready_finalized_l2().unwrap().number, 600);
        assert_eq!(status.current_l1.unwrap().number, 120);
        assert_eq!(status.head_l1, status.current_l1);
        let safe = status.safe_l2.unwrap();
        assert_eq!((safe.number, safe.l1_origin.number), (650, 95));
    }

    #[test]
    fn what_a_real_op_node_says_is_read() {
        let real: Value =
            serde_json::from_str(include_str!("../../../testdata/op_real_blocks.json")).unwrap();
        let status: SyncStatus = serde_json::from_value(real["sync_status"].clone()).unwrap();
        assert_eq!(status.ready_finalized_l2().unwrap().number, 1238);
        let config: RollupConfig = serde_json::from_value(real["rollup_config"].clone()).unwrap();
        assert_eq!((config.l1_chain_id, config.l2_chain_id), (900, 22_266_222));
        assert_eq!(config.seq_window_size, 3600);
        for case in real["cases"].as_array().unwrap() {
            let time = case["rpc_block"]["timestamp"].as_str().unwrap().trim_start_matches("0x");
            let time = u64::from_str_radix(time, 16).unwrap();
            assert_eq!(config.timestamp(case["number"].as_u64().unwrap()), Some(time));
        }
    }

    #[test]
    fn a_zeroed_sync_status_is_not_ready_rather_than_at_zero() {
        let status: SyncStatus = serde_json::from_value(vector("sync_status_not_ready")).unwrap();
        assert_eq!(status.ready_finalized_l2(), None);
        let mut zeroed = vector("sync_status_not_ready");
        zeroed["finalized_l2"] = zeroed["safe_l2"].clone();
        let status: SyncStatus = serde_json::from_value(zeroed).unwrap();
        assert_eq!(status.ready_finalized_l2(), None);
    }

    #[test]
    fn the_rollup_config_gives_every_block_its_time() {
        let config: RollupConfig = serde_json::from_value(vector("rollup_config")).unwrap();
        assert_eq!((config.l1_chain_id, config.l2_chain_id), (11_155_111, 22_266_222));
        assert_eq!(config.timestamp(0), Some(1_700_000_200));
        assert_eq!(config.timestamp(101), Some(1_700_000_402));
        assert_eq!(config.timestamp(u64::MAX), None);
        let later = RollupConfig {
            genesis: Genesis { l2: BlockId { number: 5, ..config.genesis.l2 }, ..config.genesis },
            ..config
        };
        assert_eq!(later.timestamp(4), None);
        assert_eq!(later.timestamp(5), Some(1_700_000_200));
    }
}
