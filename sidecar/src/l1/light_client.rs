//! Espresso's light client contract.

use alloy_primitives::{Address, B256, U256, b256};
use espresso_proofs::Checkpoint;
use thiserror::Error;

use super::{Endpoint, L1, Log, State};
use crate::{eth::BlockId, upstream::UpstreamError};

/// Call data of `finalizedState()`.
const FINALIZED_STATE: &str = "0x9fdb54a7";
/// The signature of `NewState(uint64,uint64,uint256)`, whose arguments are the members of the new
/// state.
const NEW_STATE: B256 = b256!("0xa04a773924505a418564363725f56832f5772e6b8d0dbd6efce724dfe803dae6");

/// L1 blocks for whose events is asked at once; most providers allow that many.
const BLOCKS_OF_LOGS: u64 = 1_000;
/// How often that is done: far enough back for a light client that is updated once a week.
const REQUESTS_FOR_LOGS: usize = 60;

/// What is used of the answer of `finalizedState()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinalizedState {
    /// HotShot height: every batch with an L1 origin at or after the queried block is posted above
    /// it.
    pub block_height: u64,
    /// The hash of the root over all headers below that height.
    pub root: U256,
}

/// Why the light client gave no height.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LightClientError {
    /// The L1 node gave no answer, or an error.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// There was no contract at that block.
    #[error("no light client contract at that L1 block (light_client_address)")]
    NoContract,
    /// Not three words with two 64-bit numbers.
    #[error("the contract's answer is not that of a light client (light_client_address)")]
    Malformed,
}

impl FinalizedState {
    /// Reads the return data: view number, block height, commitment, a 32-byte word each.
    ///
    /// # Errors
    /// [`LightClientError`] for anything else.
    pub fn decode(data: &[u8]) -> Result<Self, LightClientError> {
        if data.is_empty() {
            return Err(LightClientError::NoContract);
        }
        let (words, rest) = data.as_chunks::<32>();
        match (words, rest) {
            ([view_number, block_height, root], []) => {
                number(view_number)?;
                Ok(Self { block_height: number(block_height)?, root: U256::from_be_bytes(*root) })
            }
            _ => Err(LightClientError::Malformed),
        }
    }

    /// Reads a `NewState` event, of which any arguments may be indexed.
    fn of_event(log: &Log) -> Result<Self, LightClientError> {
        let indexed = log.topics.iter().skip(1).flat_map(|topic| topic.0);
        let words: Vec<u8> = indexed.chain(log.data.iter().copied()).collect();
        Self::decode(&words)
    }
}

fn number(word: &[u8; 32]) -> Result<u64, LightClientError> {
    super::number(word).ok_or(LightClientError::Malformed)
}

impl<E: Endpoint> L1<E> {
    /// The state of the light client at `contract` after an L1 block; where L1 lacks the state of
    /// that block, by the contract's newest event at or before it.
    ///
    /// # Errors
    /// [`LightClientError`].
    pub async fn light_client(
        &self,
        contract: Address,
        block: BlockId,
    ) -> Result<FinalizedState, LightClientError> {
        match self.view(contract, FINALIZED_STATE, State::Of(block)).await {
            Ok(data) => FinalizedState::decode(&data),
            // An endpoint that is no archive lacks the state of old blocks.
            Err(error @ UpstreamError::Rpc { .. }) => {
                self.newest_event(contract, block.number).await?.ok_or(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The state of the light client at `contract` after an L1 block, whose state L1 has.
    ///
    /// # Errors
    /// [`LightClientError`].
    pub async fn checkpoint(
        &self,
        contract: Address,
        block: BlockId,
    ) -> Result<Checkpoint, LightClientError> {
        let data = self.view(contract, FINALIZED_STATE, State::Of(block)).await?;
        let FinalizedState { block_height: height, root } = FinalizedState::decode(&data)?;
        Ok(Checkpoint { height, root })
    }

    /// The state of the light client after an L1 block by its newest event; none if it has had none
    /// for long.
    async fn newest_event(
        &self,
        contract: Address,
        block: u64,
    ) -> Result<Option<FinalizedState>, LightClientError> {
        let mut until = Some(block);
        for _ in 0..REQUESTS_FOR_LOGS {
            let Some(last) = until else { break };
            let first = (last + 1).saturating_sub(BLOCKS_OF_LOGS);
            let voters = self.memory.lock().voters.clone();
            let ask = |endpoint: E| async move {
                let logs = endpoint.logs(contract, NEW_STATE, first, last).await?;
                let newest = logs.iter().filter(|log| (first..=last).contains(&log.block_number));
                Ok(newest.max_by_key(|log| (log.block_number, log.log_index)).cloned())
            };
            match self.panel.agree(&voters, "the light client's events", ask).await {
                Ok(Some(log)) => return FinalizedState::of_event(&log).map(Some),
                Ok(None) => until = first.checked_sub(1),
                Err(UpstreamError::Rpc { .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, Bytes, hex, keccak256};
    use serde_json::Value;

    use super::*;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../testdata/contracts.json")).unwrap()
    }

    fn data(value: &Value) -> Bytes {
        value["data"].as_str().unwrap().parse().unwrap()
    }

    #[test]
    fn the_sample_is_read_and_bad_returns_are_errors() {
        let vectors = &vectors()["light_client"];
        let sample = &vectors["sample_finalized_state_return"];
        let state = FinalizedState::decode(&data(sample)).unwrap();
        assert_eq!(state.block_height, sample["block_height"]);
        let bad = vectors["bad_returns"].as_array().unwrap();
        assert!(!bad.is_empty());
        for case in bad {
            assert!(FinalizedState::decode(&data(case)).is_err(), "{}", case["why"]);
        }
    }

    #[test]
    fn selectors_and_topics_are_the_hashes_of_their_signatures() {
        let vectors = vectors();
        assert_eq!(vectors["light_client"]["functions"]["finalizedState()"], FINALIZED_STATE);
        let event = &vectors["light_client"]["events"]["NewState(uint64,uint64,uint256)"];
        assert_eq!(*event, NEW_STATE.to_string());
        let mut seen = 0;
        for contract in ["light_client", "batch_authenticator"] {
            for (signature, selector) in vectors[contract]["functions"].as_object().unwrap() {
                let hash = keccak256(signature);
                assert_eq!(format!("0x{}", hex::encode(&hash[..4])), *selector, "{signature}");
                seen += 1;
            }
            for (signature, topic) in vectors[contract]["events"].as_object().unwrap() {
                let signature = signature.split_whitespace().next().unwrap();
                assert_eq!(keccak256(signature).to_string(), *topic, "{signature}");
                seen += 1;
            }
        }
        assert!(seen > 10);
        for (network, address) in vectors["light_client"]["addresses"].as_object().unwrap() {
            assert!(address.as_str().unwrap().parse::<Address>().is_ok(), "{network}");
        }
    }
}
