//! What the verifier asks of the world, so that it can be tested without one.

use alloy_primitives::{Address, B256};

use crate::{
    espresso::{HotShotHeader, NamespaceBlock, QueryServices},
    eth::BlockId,
    l1::{BatchAuthenticatorError, BatcherHistory, FinalizedState, L1, LightClientError, State},
    node::{Block, Node, RollupConfig, SyncStatus},
    upstream::UpstreamError,
};

/// Defines a trait and implements it by the methods of the same names of a client.
macro_rules! source {
    ($(#[$doc:meta])* $name:ident for $client:ty {
        $(fn $method:ident($($argument:ident: $type:ty),*) -> $output:ty;)*
    }) => {
        $(#[$doc])*
        pub trait $name: Send + Sync + 'static {
            $(fn $method(&self, $($argument: $type),*) -> impl Future<Output = $output> + Send;)*
        }
        impl $name for $client {
            $(async fn $method(&self, $($argument: $type),*) -> $output {
                <$client>::$method(self, $($argument),*).await
            })*
        }
    };
}

source! {
    /// The full node; see [`Node`].
    NodeSource for Node {
        fn chain_id() -> Result<u64, UpstreamError>;
        fn latest() -> Result<u64, UpstreamError>;
        fn hash_at(number: u64) -> Result<Option<B256>, UpstreamError>;
        fn block(number: u64) -> Result<Option<Block>, UpstreamError>;
        fn finalized() -> Result<Option<BlockId>, UpstreamError>;
        fn rollup_config() -> Result<RollupConfig, UpstreamError>;
        fn sync_status() -> Result<SyncStatus, UpstreamError>;
    }
}

source! {
    /// The L1 node; see [`L1`].
    L1Source for L1 {
        fn chain_id() -> Result<u64, UpstreamError>;
        fn finalized() -> Result<Option<BlockId>, UpstreamError>;
        fn hash_at(number: u64) -> Result<Option<B256>, UpstreamError>;
        fn light_client(contract: Address, block: BlockId) -> Result<FinalizedState, LightClientError>;
        fn batchers(contract: Address, state: State) -> Result<BatcherHistory, BatchAuthenticatorError>;
    }
}

source! {
    /// The HotShot feed; see [`QueryServices`].
    FeedSource for QueryServices {
        fn height() -> Result<u64, UpstreamError>;
        fn range_limit() -> Result<u64, UpstreamError>;
        fn range(from: u64, until: u64) -> Result<Vec<NamespaceBlock>, UpstreamError>;
        fn header(height: u64) -> Result<HotShotHeader, UpstreamError>;
    }
}
