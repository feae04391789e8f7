//! The parent chain of a Nitro chain, and its contracts there.

use std::{fmt, time::Duration};

use alloy_primitives::Address;
use serde::Serialize;
use tokio::time::sleep;

use crate::{
    eth::BlockId,
    rollup::nitro::{Parent, ParentSource as _},
    upstream::UpstreamError,
};

/// How often its final block is asked for: a single endpoint must say it twice.
const LOOKS: usize = 5;

/// What the parent chain says.
#[derive(Debug, Default, Serialize)]
pub(super) struct ParentChain {
    pub(super) chain_id: Option<u64>,
    pub(super) finalized: Option<BlockId>,
    /// How many messages the bridge has at the final block.
    pub(super) delayed_messages: Option<u64>,
    /// How many batches the sequencer inbox has there.
    pub(super) batches: Option<u64>,
    /// The bridge that the sequencer inbox names.
    pub(super) bridge: Option<Address>,
    /// Why nothing is known.
    #[serde(skip)]
    pub(super) unread: Option<UpstreamError>,
    /// Why the bridge is not.
    #[serde(skip)]
    pub(super) without_bridge: Option<UpstreamError>,
    /// Why the sequencer inbox is not.
    #[serde(skip)]
    pub(super) without_inbox: Option<UpstreamError>,
}

/// Asks the parent chain.
pub(super) async fn ask(parent: &Parent, interval: Duration) -> ParentChain {
    let mut found = ParentChain::default();
    let block = match read(parent, interval, &mut found).await {
        Ok(block) => block,
        Err(error) => return ParentChain { unread: Some(error), ..found },
    };
    match parent.delayed_count(block).await {
        Ok(count) => found.delayed_messages = Some(count),
        Err(error) => found.without_bridge = Some(error),
    }
    let inbox = async { Ok((parent.batch_count(block).await?, parent.named_bridge(block).await?)) };
    match inbox.await {
        Ok((batches, bridge)) => (found.batches, found.bridge) = (Some(batches), Some(bridge)),
        Err(error) => found.without_inbox = Some(error),
    }
    found
}

async fn read(
    parent: &Parent,
    interval: Duration,
    found: &mut ParentChain,
) -> Result<BlockId, UpstreamError> {
    found.chain_id = Some(parent.chain_id().await?);
    for _ in 0..LOOKS {
        if let (Some(block), _) = parent.finalized().await? {
            found.finalized = Some(block);
            return Ok(block);
        }
        sleep(interval).await;
    }
    Err(UpstreamError::Distrusted("it has no final block yet".into()))
}

impl fmt::Display for ParentChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u64>| number.map_or("?".into(), |it| it.to_string());
        let finalized = self.finalized.map_or("?".into(), |block| block.to_string());
        write!(
            f,
            "{}, final at {finalized}, with {} delayed messages and {} batches",
            number(self.chain_id),
            number(self.delayed_messages),
            number(self.batches)
        )
    }
}
