//! Espresso's light client contract.

use alloy_primitives::Address;
use thiserror::Error;

use super::{Endpoint, L1, State};
use crate::{eth::BlockId, upstream::UpstreamError};

/// Call data of `finalizedState()`.
const FINALIZED_STATE: &str = "0x9fdb54a7";

/// What is used of the answer of `finalizedState()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinalizedState {
    /// HotShot height: every batch with an L1 origin at or after the queried block is posted above
    /// it.
    pub block_height: u64,
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
            ([view_number, block_height, _commitment], []) => {
                number(view_number)?;
                Ok(Self { block_height: number(block_height)? })
            }
            _ => Err(LightClientError::Malformed),
        }
    }
}

fn number(word: &[u8; 32]) -> Result<u64, LightClientError> {
    super::number(word).ok_or(LightClientError::Malformed)
}

impl<E: Endpoint> L1<E> {
    /// The state of the light client at `contract` after an L1 block.
    ///
    /// # Errors
    /// [`LightClientError`].
    pub async fn light_client(
        &self,
        contract: Address,
        block: BlockId,
    ) -> Result<FinalizedState, LightClientError> {
        let data = self.view(contract, FINALIZED_STATE, State::Of(block)).await?;
        FinalizedState::decode(&data)
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
