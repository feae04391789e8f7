//! Espresso's BatchAuthenticator contract: the authorized batchers, each since an L1 block.

use alloy_primitives::Address;
use thiserror::Error;

use super::{Endpoint, L1, State};
use crate::{batchers::BatcherTenure, upstream::UpstreamError};

/// Call data of `espressoBatcherHistoryLength()`.
const HISTORY_LENGTH: &str = "0x4268ecaa";
/// The selector of `espressoBatcherAt(uint32)`.
const BATCHER_AT: &str = "0xfd402af7";
/// Call data of `activeIsEspresso()`.
const ACTIVE_IS_ESPRESSO: &str = "0xeca919df";
/// Call data of `espressoBatcher()`, which older contracts also have.
const BATCHER: &str = "0x88da3bb7";

/// A longer history is rejected: there is one entry per change of the batcher.
const MAX_ENTRIES: u64 = 1000;

/// The contract's state at an L1 block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatcherHistory {
    /// The authorized batchers, in L1 order; times without one are left out.
    pub tenures: Vec<BatcherTenure>,
    /// Whether the Espresso batcher is active; none if the contract does not say.
    pub active_is_espresso: Option<bool>,
}

/// Why the authorized batchers cannot be read from the contract.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BatchAuthenticatorError {
    /// The L1 node gave no answer, or an error.
    #[error("the BatchAuthenticator cannot be read: {0}")]
    Upstream(#[from] UpstreamError),
    /// There was no contract at that block.
    #[error("no BatchAuthenticator contract at that L1 block (batch_authenticator_address)")]
    NoContract,
    /// An old contract, which has only the current batcher.
    #[error("the BatchAuthenticator keeps no history of its batchers: set batcher_addresses")]
    NoHistory,
    /// Not the answer of such a contract.
    #[error(
        "the contract's answer is not that of a BatchAuthenticator (batch_authenticator_address): {0}"
    )]
    Malformed(&'static str),
}

impl<E: Endpoint> L1<E> {
    /// Reads the full history of the BatchAuthenticator at `contract`. Nothing is kept from an
    /// earlier reading, so that a wrong answer lasts for one reading at most.
    ///
    /// # Errors
    /// [`BatchAuthenticatorError`].
    pub async fn batchers(
        &self,
        contract: Address,
        state: State,
    ) -> Result<BatcherHistory, BatchAuthenticatorError> {
        let length = match self.view(contract, HISTORY_LENGTH, state).await {
            Ok(data) => number(&words::<1>(&data)?[0])?,
            // A contract without that function reverts; an old one has the other function.
            Err(error @ UpstreamError::Rpc { .. }) => {
                let older = self.view(contract, BATCHER, state).await?;
                return Err(match words::<1>(&older) {
                    Ok(_) => BatchAuthenticatorError::NoHistory,
                    Err(_) => error.into(),
                });
            }
            Err(error) => return Err(error.into()),
        };
        if length > MAX_ENTRIES {
            return Err(BatchAuthenticatorError::Malformed("its history is too long"));
        }
        let mut entries = Vec::new();
        for index in 0..length {
            let data = format!("{BATCHER_AT}{index:064x}");
            let [batcher, from] = words::<2>(&self.view(contract, &data, state).await?)?;
            entries.push((Address::from_word(batcher.into()), number(&from)?));
        }
        // Only shown to the operator: whatever comes of it, the batchers are known.
        let answer = self.view(contract, ACTIVE_IS_ESPRESSO, state).await.ok();
        let active = answer.and_then(|data| number(&words::<1>(&data).ok()?[0]).ok());
        let active_is_espresso = active.map(|active| active != 0);
        Ok(BatcherHistory { tenures: tenures(&entries)?, active_is_espresso })
    }
}

/// Each entry is valid until the next one starts; the zero address means no batcher.
fn tenures(entries: &[(Address, u64)]) -> Result<Vec<BatcherTenure>, BatchAuthenticatorError> {
    if !entries.is_sorted_by(|(_, earlier), (_, later)| earlier < later) {
        return Err(BatchAuthenticatorError::Malformed("its history is not in order"));
    }
    let ends = entries.iter().skip(1).map(|(_, from)| Some(*from)).chain([None]);
    let tenures = entries.iter().zip(ends);
    let tenures = tenures.map(|((batcher, from), until)| BatcherTenure {
        batcher: *batcher,
        from: *from,
        until,
    });
    Ok(tenures.filter(|tenure| !tenure.batcher.is_zero()).collect())
}

/// The answer as exactly `N` words.
fn words<const N: usize>(data: &[u8]) -> Result<[[u8; 32]; N], BatchAuthenticatorError> {
    if data.is_empty() {
        return Err(BatchAuthenticatorError::NoContract);
    }
    match data.as_chunks::<32>() {
        (words, []) => words.try_into().ok(),
        _ => None,
    }
    .ok_or(BatchAuthenticatorError::Malformed("the number of words is wrong"))
}

fn number(word: &[u8; 32]) -> Result<u64, BatchAuthenticatorError> {
    super::number(word).ok_or(BatchAuthenticatorError::Malformed("a number is above 64 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Address = Address::repeat_byte(1);
    const B: Address = Address::repeat_byte(2);

    #[test]
    fn selectors_are_those_of_the_vectors() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../testdata/contracts.json")).unwrap();
        let functions = &vectors["batch_authenticator"]["functions"];
        for (signature, selector) in [
            ("espressoBatcherHistoryLength()", HISTORY_LENGTH),
            ("espressoBatcherAt(uint32)", BATCHER_AT),
            ("activeIsEspresso()", ACTIVE_IS_ESPRESSO),
            ("espressoBatcher()", BATCHER),
        ] {
            assert_eq!(functions[signature], selector);
        }
    }

    #[test]
    fn each_entry_holds_until_the_next() {
        let tenures = tenures(&[(A, 5), (Address::ZERO, 10), (B, 20)]).unwrap();
        let expected = [
            BatcherTenure { batcher: A, from: 5, until: Some(10) },
            BatcherTenure { batcher: B, from: 20, until: None },
        ];
        assert_eq!(tenures, expected);
        assert_eq!(super::tenures(&[]).unwrap(), []);
        for bad in [[(A, 5), (B, 5)], [(A, 6), (B, 5)]] {
            assert!(super::tenures(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_answer_of_another_length_is_an_error() {
        assert_eq!(words::<1>(&[]), Err(BatchAuthenticatorError::NoContract));
        for length in [1, 31, 33, 64] {
            assert!(
                matches!(words::<1>(&vec![0; length]), Err(BatchAuthenticatorError::Malformed(_))),
                "{length}"
            );
        }
        assert!(number(&[1; 32]).is_err());
    }
}
