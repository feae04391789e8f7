//! The parent chain by its RPC.

use std::time::Duration;

use alloy_primitives::Address;
use parking_lot::Mutex;
use tokio::{sync::OnceCell, time::Instant};

use super::delayed::{DelayedPlace, ParentSource};
use crate::{
    eth::BlockId,
    l1::{DelayedMessage, L1, ParentEndpoint, Sought},
    upstream::{Upstream, UpstreamError},
};

/// The final block is read again after so long.
const AGAIN: Duration = Duration::from_secs(1);

/// The parent chain, and the contracts of a rollup there.
#[derive(Debug)]
pub struct Parent<E = Upstream> {
    chain: L1<E>,
    bridge: Address,
    sequencer_inbox: Address,
    chain_id: OnceCell<u64>,
    finalized: Mutex<Option<(Instant, BlockId, u64)>>,
    /// The block with the delayed message that was found last: the next one is near.
    found: Mutex<Option<u64>>,
}

impl<E: ParentEndpoint> Parent<E> {
    /// The parent chain with a rollup's contracts.
    #[must_use]
    pub fn new(chain: L1<E>, bridge: Address, sequencer_inbox: Address) -> Self {
        let (chain_id, finalized, found) = (OnceCell::new(), Mutex::default(), Mutex::default());
        Self { chain, bridge, sequencer_inbox, chain_id, finalized, found }
    }
}

impl<E: ParentEndpoint> Parent<E> {
    /// The chain.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn chain_id(&self) -> Result<u64, UpstreamError> {
        Ok(*self.chain_id.get_or_try_init(|| self.chain.chain_id()).await?)
    }

    /// The bridge that the sequencer inbox names, after a block.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn named_bridge(&self, block: BlockId) -> Result<Address, UpstreamError> {
        self.chain.bridge_of(self.sequencer_inbox, block).await
    }
}

impl<E: ParentEndpoint> ParentSource for Parent<E> {
    async fn finalized(&self) -> Result<(Option<BlockId>, u64), UpstreamError> {
        let known = *self.finalized.lock();
        if let Some((_, block, epoch)) = known.filter(|(at, ..)| at.elapsed() < AGAIN) {
            return Ok((Some(block), epoch));
        }
        let chain_id = self.chain_id().await?;
        let reading = self.chain.read(chain_id).await?;
        let Some(block) = reading.finalized else {
            let missing = UpstreamError::Distrusted("it has no final block yet".into());
            return if reading.unconfirmed { Ok((None, reading.epoch)) } else { Err(missing) };
        };
        *self.finalized.lock() = Some((Instant::now(), block, reading.epoch));
        Ok((Some(block), reading.epoch))
    }

    async fn made_at(&self, block: BlockId) -> Result<u64, UpstreamError> {
        self.chain.timestamp(block).await
    }

    async fn delayed_count(&self, block: BlockId) -> Result<u64, UpstreamError> {
        self.chain.delayed_count(self.bridge, block).await
    }

    async fn delayed_message(
        &self,
        DelayedPlace { index, timestamp }: DelayedPlace,
        finalized: BlockId,
    ) -> Result<Sought<DelayedMessage>, UpstreamError> {
        let near = self.found.lock().unwrap_or(finalized.number);
        let sought = self.chain.delayed_message(self.bridge, index, timestamp, near, finalized);
        Ok(match sought.await? {
            Sought::Found((block, message)) => {
                *self.found.lock() = Some(block);
                Sought::Found(message)
            }
            Sought::Elsewhere => Sought::Elsewhere,
            Sought::Untold => Sought::Untold,
        })
    }

    async fn batch_count(&self, block: BlockId) -> Result<u64, UpstreamError> {
        self.chain.batch_count(self.sequencer_inbox, block).await
    }
}
