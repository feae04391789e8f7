//! L1: what is final there, hashes by number, and Espresso's contracts.
//!
//! There may be several endpoints. The newest final block is pinned by its hash, and an endpoint
//! is used for anything else only while it has that block: all answers belong to one chain.

mod batch_authenticator;
mod light_client;
mod pin;

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    eth::{BlockId, Quantity},
    upstream::{Failover, Upstream, UpstreamError},
};
use pin::{Distrust, Pin};

pub use batch_authenticator::{BatchAuthenticatorError, BatcherHistory};
pub use light_client::{FinalizedState, LightClientError};

/// L1 behind one or more endpoints; clones share state.
#[derive(Debug, Clone)]
pub struct L1 {
    endpoints: Failover,
    pin: Arc<Pin>,
}

/// The L1 state in which a contract is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// After this block.
    Of(BlockId),
    /// After the latest block.
    Latest,
}

impl L1 {
    /// L1 behind these endpoints.
    #[must_use]
    pub fn new(endpoints: impl Into<Failover>) -> Self {
        Self { endpoints: endpoints.into(), pin: Arc::default() }
    }

    /// The chain id.
    ///
    /// # Errors
    /// [`UpstreamError`], as for every call here.
    pub async fn chain_id(&self) -> Result<u64, UpstreamError> {
        let Quantity(id) = self.call("eth_chainId", json!([])).await?;
        Ok(id)
    }

    /// The newest final block; none if no endpoint has one. It never goes down: a reading below the
    /// pinned block comes from an endpoint that lags.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn finalized(&self) -> Result<Option<BlockId>, UpstreamError> {
        let pinned = self.pin.block();
        let (mut failed, mut lagging, mut contradictions) = (None, false, 0);
        for (index, endpoint) in self.endpoints.in_turn() {
            match finalized_of(endpoint, pinned).await {
                Ok(Some(block)) => {
                    self.pin.set(block, index);
                    self.endpoints.prefer(index);
                    return Ok(Some(block));
                }
                Ok(None) => lagging = true,
                Err(distrust) => {
                    lagging |= matches!(distrust, Distrust::Lags(_));
                    contradictions += usize::from(matches!(distrust, Distrust::Contradicts { .. }));
                    failed.get_or_insert(blame(endpoint, distrust));
                }
            }
        }
        if contradictions == self.endpoints.count() {
            // The pin was wrong; without this, one wrong answer would count forever.
            tracing::error!(
                "every L1 endpoint contradicts the pinned final block, which is dropped"
            );
            self.pin.clear();
        } else if lagging {
            return Ok(pinned);
        }
        failed.map_or(Ok(None), Err)
    }

    /// The hash of the block with a number, by the `hash` member: recomputing it would fail with
    /// every fork that adds a header field. None if no endpoint has the block.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn hash_at(&self, number: u64) -> Result<Option<B256>, UpstreamError> {
        let (mut missing, mut failed) = (false, None);
        for (index, endpoint) in self.endpoints.in_turn() {
            match self.checked(index, endpoint, endpoint.block_id_at(number)).await {
                Ok(Some(block)) => {
                    self.endpoints.prefer(index);
                    return Ok(Some(block.hash));
                }
                Ok(None) => missing = true,
                Err(error) => _ = failed.get_or_insert(error),
            }
        }
        failed.filter(|_| !missing).map_or(Ok(None), Err)
    }

    /// The return data of a contract's view function.
    async fn eth_call(
        &self,
        contract: Address,
        data: &str,
        state: State,
    ) -> Result<Bytes, UpstreamError> {
        let block = match state {
            State::Of(block) => json!({"blockHash": block.hash}),
            State::Latest => json!("latest"),
        };
        self.call("eth_call", json!([{"to": contract, "data": data}, block])).await
    }

    /// The answer of the first endpoint in order that has the pinned block and no error.
    async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: Value,
    ) -> Result<T, UpstreamError> {
        let mut failed = None;
        for (index, endpoint) in self.endpoints.in_turn() {
            match self.checked(index, endpoint, endpoint.call(method, &params)).await {
                Ok(answer) => {
                    self.endpoints.prefer(index);
                    return Ok(answer);
                }
                Err(error) => _ = failed.get_or_insert(error),
            }
        }
        Err(failed.unwrap_or_else(Failover::nobody))
    }

    /// The answer of an endpoint, requested only if that endpoint has the pinned block.
    async fn checked<T>(
        &self,
        index: usize,
        endpoint: &Upstream,
        answer: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        if let Some(pinned) = self.pin.unchecked(index) {
            let there = endpoint.block_id_at(pinned.number).await?;
            pin::compare(there, pinned).map_err(|distrust| blame(endpoint, distrust))?;
            self.pin.agrees(pinned, index);
        }
        answer.await
    }
}

/// The newest final block of an endpoint, if its chain has the pinned one.
async fn finalized_of(
    endpoint: &Upstream,
    pinned: Option<BlockId>,
) -> Result<Option<BlockId>, Distrust> {
    let block = endpoint.block_id(json!("finalized")).await?;
    let Some(pinned) = pinned else { return Ok(block) };
    let there = match block {
        Some(block) if block.number > pinned.number => endpoint.block_id_at(pinned.number).await?,
        block => block.filter(|block| block.number == pinned.number),
    };
    pin::compare(there, pinned)?;
    Ok(block)
}

/// Shows in the endpoint's status that it is not used, and why.
fn blame(endpoint: &Upstream, distrust: Distrust) -> UpstreamError {
    match distrust {
        Distrust::Upstream(error) => error,
        Distrust::Lags(_) | Distrust::Contradicts { .. } => {
            let error = UpstreamError::Distrusted(distrust.to_string());
            endpoint.blame(&error);
            error
        }
    }
}

/// A word as a number; none if it is above 64 bits.
fn number(word: &[u8; 32]) -> Option<u64> {
    let (high, low) = word.split_last_chunk::<8>()?;
    high.iter().all(|byte| *byte == 0).then(|| u64::from_be_bytes(*low))
}

#[cfg(test)]
mod tests;
