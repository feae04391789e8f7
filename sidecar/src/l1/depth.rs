//! How far back an L1 endpoint has state.

use alloy_primitives::Address;

use super::{Endpoint, State};
use crate::{eth::BlockId, upstream::UpstreamError};

/// How far below the final block is looked, in blocks. A node without an archive keeps the state of
/// about 128 blocks.
const STEPS: [u64; 4] = [100, 1_000, 10_000, 100_000];

/// The most blocks below the final one, of some that are tried, whose state an endpoint has.
///
/// # Errors
/// [`UpstreamError`] if it lacks even the final block's.
pub async fn state_depth(
    endpoint: &impl Endpoint,
    finalized: BlockId,
) -> Result<u64, UpstreamError> {
    call_at(endpoint, finalized).await?;
    let mut depth = 0;
    for step in STEPS {
        let Some(number) = finalized.number.checked_sub(step) else { break };
        let Ok(Some(block)) = endpoint.block_at(number).await else { break };
        if call_at(endpoint, block).await.is_err() {
            break;
        }
        depth = step;
    }
    Ok(depth)
}

/// Calls an address that is no contract: only the block's state is needed.
async fn call_at(endpoint: &impl Endpoint, block: BlockId) -> Result<(), UpstreamError> {
    endpoint.views(Address::ZERO, &["0x".to_owned()], State::Of(block)).await.map(drop)
}
