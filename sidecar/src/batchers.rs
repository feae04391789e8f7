//! Authorized batchers: which signatures are read at all, and which signer is authorized at which
//! L1 origin.

use std::{collections::BTreeSet, fmt, sync::Arc};

use alloy_primitives::Address;
use parking_lot::RwLock;
use serde::Serialize;

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
}

/// The addresses whose signatures are read at all. The set only grows: [`Authority`] judges each
/// batch in any case. Clones share the set.
#[derive(Debug, Clone, Default)]
pub struct KnownBatchers(Arc<RwLock<BTreeSet<Address>>>);

impl KnownBatchers {
    /// Whether signatures of this address are read.
    #[must_use]
    pub fn contains(&self, address: &Address) -> bool {
        self.0.read().contains(address)
    }

    /// Adds addresses. Returns whether one of them is new.
    pub fn extend(&self, addresses: impl IntoIterator<Item = Address>) -> bool {
        let mut known = self.0.write();
        let before = known.len();
        known.extend(addresses);
        known.len() > before
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
    fn what_is_known_grows_for_all_handles() {
        let known: KnownBatchers = [A].into_iter().collect();
        let other = known.clone();
        assert!(!other.contains(&B));
        assert!(known.extend([A, B]));
        assert!(!known.extend([B]));
        assert!(other.contains(&A) && other.contains(&B));
    }
}
