//! Authorized batchers: which signatures are read at all, and which signer is authorized at which
//! L1 origin.

use std::{collections::BTreeSet, fmt, sync::Arc};

use alloy_primitives::{Address, B256, Keccak256};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

/// A batcher, and the L1 origins for which it is authorized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct BatcherTenure {
    /// The batcher.
    pub batcher: Address,
    /// The first L1 block.
    pub from: u64,
    /// The first L1 block after its tenure; none if there is no end.
    pub until: Option<u64>,
}

impl BatcherTenure {
    /// A batcher that is always authorized.
    #[must_use]
    pub const fn always(batcher: Address) -> Self {
        Self { batcher, from: 0, until: None }
    }

    /// Whether it covers batches with this L1 origin.
    #[must_use]
    pub fn holds_at(&self, l1_origin: u64) -> bool {
        self.from <= l1_origin && self.until.is_none_or(|until| l1_origin < until)
    }
}

impl fmt::Display for BatcherTenure {
    /// As in the setting `batcher_addresses`: `0x…`, `0x…@100..`, `0x…@100..200`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batcher, from, until } = self;
        match until {
            None if *from == 0 => write!(f, "{batcher}"),
            None => write!(f, "{batcher}@{from}.."),
            Some(until) => write!(f, "{batcher}@{from}..{until}"),
        }
    }
}

/// Where the authorized batchers come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatcherSource {
    /// A fixed list.
    Fixed(Vec<BatcherTenure>),
    /// The BatchAuthenticator contract on L1; without an address, the one that the rollup's
    /// configuration names.
    Contract(Option<Address>),
}

/// The authorized batchers, as far as L1 is final.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authority {
    tenures: Vec<BatcherTenure>,
    /// The last L1 block for which the tenures are known; none if they are known for all blocks.
    known_up_to: Option<u64>,
}

/// Whether a signer is authorized at an L1 origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is authorized.
    Authorized,
    /// It is not.
    Unauthorized,
    /// Not known yet.
    Unknown,
}

impl Authority {
    /// Tenures that do not depend on L1.
    #[must_use]
    pub const fn fixed(tenures: Vec<BatcherTenure>) -> Self {
        Self { tenures, known_up_to: None }
    }

    /// Tenures as of a final L1 block.
    #[must_use]
    pub const fn as_of(tenures: Vec<BatcherTenure>, l1_block: u64) -> Self {
        Self { tenures, known_up_to: Some(l1_block) }
    }

    /// Whether a signer is authorized for a batch with this L1 origin.
    #[must_use]
    pub fn standing(&self, signer: Address, l1_origin: u64) -> Standing {
        if self.known_up_to.is_some_and(|last| l1_origin > last) {
            return Standing::Unknown;
        }
        let holds = |tenure: &BatcherTenure| tenure.batcher == signer && tenure.holds_at(l1_origin);
        if self.tenures.iter().any(holds) { Standing::Authorized } else { Standing::Unauthorized }
    }

    /// Whether a signer is not authorized at every L1 block.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.tenures.iter().any(|tenure| *tenure != BatcherTenure::always(tenure.batcher))
    }

    /// The mark of this history: by it, a later reading shows whether it says the same.
    #[must_use]
    pub fn mark(&self) -> HistoryMark {
        let up_to = self.known_up_to.unwrap_or(u64::MAX);
        HistoryMark { up_to, fingerprint: self.fingerprint(up_to) }
    }

    /// Whether this history says the same as a marked one, up to where that one ends. One that does
    /// not reach as far cannot say so.
    #[must_use]
    pub fn agrees_with(&self, mark: HistoryMark) -> bool {
        self.known_up_to.is_none_or(|last| mark.up_to <= last)
            && self.fingerprint(mark.up_to) == mark.fingerprint
    }

    /// Keccak-256 over the tenures, as far as they concern L1 blocks up to this one.
    fn fingerprint(&self, up_to: u64) -> B256 {
        let mut hasher = Keccak256::new();
        for BatcherTenure { batcher, from, until } in &self.tenures {
            if *from <= up_to {
                let until = until.filter(|until| *until <= up_to);
                hasher.update(batcher);
                hasher.update(from.to_be_bytes());
                hasher.update(until.unwrap_or(u64::MAX).to_be_bytes());
            }
        }
        hasher.finalize()
    }
}

/// Up to which L1 block a history of batchers was known, and its fingerprint there. Kept with the
/// head: batches were dropped by that history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryMark {
    /// The last L1 block for which it was known.
    pub up_to: u64,
    /// The fingerprint of what it says up to that block.
    pub fingerprint: B256,
}

/// The addresses whose signatures are read at all, and for which L1 origins those are not. The set
/// only grows: [`Authority`] judges each batch in any case. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct KnownBatchers(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    signers: BTreeSet<Address>,
    authority: Option<Arc<Authority>>,
}

impl KnownBatchers {
    /// Whether signatures of this address are read.
    #[must_use]
    pub fn contains(&self, address: &Address) -> bool {
        self.0.read().signers.contains(address)
    }

    /// Whether a signer is known not to be authorized for batches with this L1 origin.
    #[must_use]
    pub fn rules_out(&self, signer: Address, l1_origin: u64) -> bool {
        let known = self.0.read();
        let standing = known.authority.as_ref().map(|it| it.standing(signer, l1_origin));
        standing == Some(Standing::Unauthorized)
    }

    /// Whether a signer is known not to be authorized at every L1 block.
    #[must_use]
    pub fn are_limited(&self) -> bool {
        self.0.read().authority.as_ref().is_some_and(|authority| authority.is_limited())
    }

    /// From now on this decides who is ruled out; without it nobody is.
    pub fn judge_by(&self, authority: Option<Arc<Authority>>) {
        self.0.write().authority = authority;
    }

    /// Adds addresses. Returns whether one of them is new.
    pub fn extend(&self, addresses: impl IntoIterator<Item = Address>) -> bool {
        let signers = &mut self.0.write().signers;
        let before = signers.len();
        signers.extend(addresses);
        signers.len() > before
    }
}

impl FromIterator<Address> for KnownBatchers {
    fn from_iter<I: IntoIterator<Item = Address>>(addresses: I) -> Self {
        let known = Self::default();
        known.extend(addresses);
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Address = Address::repeat_byte(1);
    const B: Address = Address::repeat_byte(2);

    #[test]
    fn a_tenure_ends_before_the_block_that_ends_it() {
        let tenures = vec![
            BatcherTenure { batcher: A, from: 0, until: Some(100) },
            BatcherTenure { batcher: B, from: 100, until: None },
        ];
        let authority = Authority::as_of(tenures, 150);
        let table = [
            (A, 0, Standing::Authorized),
            (A, 99, Standing::Authorized),
            (A, 100, Standing::Unauthorized),
            (B, 99, Standing::Unauthorized),
            (B, 100, Standing::Authorized),
            (B, 150, Standing::Authorized),
            (B, 151, Standing::Unknown),
            (A, u64::MAX, Standing::Unknown),
            (Address::ZERO, 100, Standing::Unauthorized),
        ];
        for (signer, origin, standing) in table {
            assert_eq!(authority.standing(signer, origin), standing, "{signer} at {origin}");
        }
    }

    #[test]
    fn a_fixed_list_holds_for_every_block() {
        let authority = Authority::fixed(vec![BatcherTenure::always(A)]);
        assert_eq!(authority.standing(A, u64::MAX), Standing::Authorized);
        assert_eq!(authority.standing(B, 0), Standing::Unauthorized);
        assert_eq!(Authority::default().standing(A, 0), Standing::Unauthorized);
    }

    #[test]
    fn a_history_agrees_with_its_mark_as_far_as_that_reaches() {
        let rotated = |from| {
            let until = Some(from);
            vec![
                BatcherTenure { batcher: A, from: 0, until },
                BatcherTenure { batcher: B, from, until: None },
            ]
        };
        let mark = Authority::as_of(vec![BatcherTenure::always(A)], 99).mark();
        assert!(Authority::as_of(rotated(100), 150).agrees_with(mark), "it rotated later");
        assert!(!Authority::as_of(rotated(99), 150).agrees_with(mark), "at that very block");
        assert!(!Authority::as_of(vec![BatcherTenure::always(A)], 98).agrees_with(mark));
        assert!(!Authority::as_of(vec![BatcherTenure::always(B)], 99).agrees_with(mark));
        let mark = Authority::as_of(rotated(50), 99).mark();
        assert!(Authority::as_of(rotated(50), 99).agrees_with(mark));
        assert!(!Authority::as_of(rotated(51), 99).agrees_with(mark));
        let mark = Authority::fixed(rotated(50)).mark();
        assert!(Authority::fixed(rotated(50)).agrees_with(mark));
        assert!(!Authority::as_of(rotated(50), 1000).agrees_with(mark), "it knew all blocks");
    }

    #[test]
    fn only_a_known_history_rules_a_signer_out() {
        let known: KnownBatchers = [A, B].into_iter().collect();
        assert!(!known.rules_out(B, 5));
        let authority = Authority::as_of(vec![BatcherTenure::always(A)], 10);
        known.judge_by(Some(Arc::new(authority)));
        assert!(known.rules_out(B, 10) && !known.rules_out(A, 10));
        assert!(!known.rules_out(B, 11), "not known yet");
        known.judge_by(None);
        assert!(!known.rules_out(B, 10));
    }

    #[test]
    fn what_is_known_grows_for_all_handles() {
        let known: KnownBatchers = [A].into_iter().collect();
        let other = known.clone();
        assert!(!other.contains(&B));
        assert!(known.extend([A, B]));
        assert!(!known.extend([B]));
        assert!(other.contains(&A) && other.contains(&B));
    }
}
