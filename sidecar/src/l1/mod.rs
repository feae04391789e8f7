//! L1: what is final there, hashes by number, and Espresso's contracts.
//!
//! Several endpoints may be given, of which a majority decides. The newest final block is pinned by
//! its hash, and an endpoint votes only while it has that block: all answers belong to one chain.

mod batch_authenticator;
mod bridge;
mod depth;
mod endpoint;
mod light_client;
mod panel;
mod reading;
mod search;
mod view;

use std::{sync::Arc, time::Duration};

use alloy_primitives::{Address, B256, Bytes};
use parking_lot::Mutex;

use crate::{
    eth::BlockId,
    telemetry::{Metrics, metrics::Target},
    upstream::{DependencyReport, News, Upstream, UpstreamError, new_heads},
};
use panel::Panel;
use reading::Memory;

pub use batch_authenticator::{BatchAuthenticatorError, BatcherHistory};
pub use bridge::{DelayedMessage, Event, Made, ParentEndpoint, Sought};
pub use depth::state_depth;
pub use endpoint::{Endpoint, Log, Look};
pub use light_client::{FinalizedState, LightClientError};
pub use reading::Reading;
pub use view::{KEPT_HASHES, OriginVerdict, View};

/// L1 behind one or more endpoints; clones share state.
#[derive(Debug, Clone)]
pub struct L1<E = Upstream> {
    panel: Panel<E>,
    /// The time after which a second reading of a single endpoint bears out the first.
    interval: Duration,
    memory: Arc<Mutex<Memory>>,
}

/// The L1 state in which a contract is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// After this block.
    Of(BlockId),
    /// After the latest block.
    Latest,
}

impl<E: Endpoint> L1<E> {
    /// L1 behind these endpoints.
    #[must_use]
    pub fn new(endpoints: Vec<E>, interval: Duration) -> Self {
        Self { panel: Panel::new(endpoints), interval, memory: Arc::default() }
    }

    /// Whether several endpoints must agree; a single one must say it twice.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.panel.len() > 1
    }

    /// Pins a block that is known to be final, such as the L1 origin of the stored head.
    pub fn pin(&self, block: BlockId) {
        self.memory.lock().raise(block);
    }

    /// The chain id that a majority of the endpoints gives.
    ///
    /// # Errors
    /// [`UpstreamError`], as for every call here.
    pub async fn chain_id(&self) -> Result<u64, UpstreamError> {
        let everybody: Vec<_> = (0..self.panel.len()).collect();
        let ask = |endpoint: E| async move { endpoint.chain_id().await };
        self.panel.agree(&everybody, "the chain id", ask).await
    }

    /// The hash of the block with a number; none if a majority does not have it.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn hash_at(&self, number: u64) -> Result<Option<B256>, UpstreamError> {
        let voters = self.memory.lock().voters.clone();
        let ask = |endpoint: E| async move { endpoint.block_at(number).await };
        let block = self.panel.agree(&voters, "a block's hash", ask).await?;
        Ok(block.map(|block| block.hash))
    }

    /// The time of a block, seconds since the epoch.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn timestamp(&self, block: BlockId) -> Result<u64, UpstreamError> {
        let voters = self.memory.lock().voters.clone();
        let ask = |endpoint: E| async move { endpoint.timestamp(block.hash).await };
        self.panel.agree(&voters, "a block's time", ask).await
    }

    /// The return data of a contract's view function.
    async fn view(
        &self,
        contract: Address,
        data: &str,
        state: State,
    ) -> Result<Bytes, UpstreamError> {
        let data = self.views(contract, [data.to_owned()].into(), state).await?;
        data.into_iter().next().ok_or_else(|| UpstreamError::Malformed("no return data".into()))
    }

    /// The return data of a contract's view function, by call data, in one request.
    async fn views(
        &self,
        contract: Address,
        data: Arc<[String]>,
        state: State,
    ) -> Result<Vec<Bytes>, UpstreamError> {
        let voters = self.memory.lock().voters.clone();
        let ask = |endpoint: E| {
            let data = Arc::clone(&data);
            async move { endpoint.views(contract, &data, state).await }
        };
        self.panel.agree(&voters, "a contract's answer", ask).await
    }
}

impl L1 {
    /// Listens to what the endpoints tell of new blocks.
    pub fn listen(&self, news: &News, metrics: &Metrics) {
        for endpoint in self.panel.endpoints() {
            let listener = news.listener(Target::L1, self.panel.majority(), metrics.clone());
            endpoint.listen(new_heads(), listener);
        }
    }

    /// How each endpoint is.
    pub fn reports(&self) -> impl Iterator<Item = DependencyReport> {
        self.panel.endpoints().iter().map(Upstream::report)
    }
}

/// A word as a number; none if it is above 64 bits.
fn number(word: &[u8; 32]) -> Option<u64> {
    let (high, low) = word.split_last_chunk::<8>()?;
    high.iter().all(|byte| *byte == 0).then(|| u64::from_be_bytes(*low))
}

#[cfg(test)]
mod tests;
