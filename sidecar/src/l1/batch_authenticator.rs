//! Espresso's BatchAuthenticator contract: the authorized batchers, each since an L1 block.

use alloy_primitives::Address;
use thiserror::Error;

use super::{Endpoint, L1, State};
use crate::{batchers::BatcherTenure, eth::BlockId, upstream::UpstreamError};

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
/// Entries that are read in one request.
const ENTRIES_AT_ONCE: usize = 16;

/// The contract's state at an L1 block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatcherHistory {
    /// The authorized batchers, in L1 order; times without one are left out.
    pub tenures: Vec<BatcherTenure>,
    /// Whether the Espresso batcher is active; none if the contract does not say, or was read at
    /// the latest block.
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

/// Entries of the history, each with the L1 block since which it is in force.
type Entry = (Address, u64);

/// What is kept of the history. It only grows, so that an entry of a final block is never another
/// one at a later final block.
#[derive(Debug, Default)]
pub(super) struct Entries {
    contract: Address,
    /// Read alike at two final blocks.
    kept: Vec<Entry>,
    /// Read at the last one, after those.
    once: Vec<Entry>,
    /// The last one.
    at: Option<BlockId>,
}

impl Entries {
    /// What need not be read again, at a final block or at the latest one.
    fn of(&self, contract: Address, is_final: bool) -> Vec<Entry> {
        match (self.contract == contract, is_final) {
            (false, _) => Vec::new(),
            (true, true) => self.kept.clone(),
            (true, false) => self.kept.iter().chain(&self.once).copied().collect(),
        }
    }

    /// Takes in the history at a final block. Another answer about the same block proves nothing.
    fn learn(&mut self, contract: Address, entries: &[Entry], block: BlockId) {
        let before = self.of(contract, self.at == Some(block));
        let twice = entries.iter().zip(before).take_while(|(now, before)| *now == before).count();
        let (kept, once) = entries.split_at(twice.min(entries.len()));
        *self = Self { contract, kept: kept.to_vec(), once: once.to_vec(), at: Some(block) };
    }
}

impl<E: Endpoint> L1<E> {
    /// Reads the full history of the BatchAuthenticator at `contract`, at the final block of this
    /// reading or at L1's latest one. Entries that it had at two earlier final blocks are not read
    /// again, unless it is shorter now or the last of them has changed.
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
        let entries = self.entries(contract, state, length).await?;
        let tenures = tenures(&entries)?;
        let mut active_is_espresso = None;
        if let State::Of(block) = state {
            self.memory.lock().entries.learn(contract, &entries, block);
            // Whatever comes of it, the batchers are known.
            let answer = self.view(contract, ACTIVE_IS_ESPRESSO, state).await.ok();
            let active = answer.and_then(|data| number(&words::<1>(&data).ok()?[0]).ok());
            active_is_espresso = active.map(|active| active != 0);
        }
        Ok(BatcherHistory { tenures, active_is_espresso })
    }

    /// The entries of the history, which has that many.
    async fn entries(
        &self,
        contract: Address,
        state: State,
        length: u64,
    ) -> Result<Vec<Entry>, BatchAuthenticatorError> {
        let is_final = matches!(state, State::Of(_));
        let mut entries = self.memory.lock().entries.of(contract, is_final);
        if entries.len() as u64 > length {
            entries.clear();
        }
        // By the latest block nobody is authorized: its history need not be the same.
        let last = if is_final { entries.pop() } else { None };
        let place = entries.len();
        self.read_entries(contract, state, length, &mut entries).await?;
        if last.is_some() && entries.get(place) != last.as_ref() {
            entries.clear();
            self.read_entries(contract, state, length, &mut entries).await?;
        }
        Ok(entries)
    }

    /// Reads the entries after those that are there.
    async fn read_entries(
        &self,
        contract: Address,
        state: State,
        length: u64,
        entries: &mut Vec<Entry>,
    ) -> Result<(), BatchAuthenticatorError> {
        let first = entries.len() as u64;
        for from in (first..length).step_by(ENTRIES_AT_ONCE) {
            let until = length.min(from.saturating_add(ENTRIES_AT_ONCE as u64));
            let data = (from..until).map(|index| format!("{BATCHER_AT}{index:064x}")).collect();
            for data in self.views(contract, data, state).await? {
                let [batcher, from] = words::<2>(&data)?;
                entries.push((Address::from_word(batcher.into()), number(&from)?));
            }
        }
        Ok(())
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
