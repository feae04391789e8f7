//! What each protocol version commits to, and how: one table.

use std::fmt;

use alloy_primitives::B256;
use thiserror::Error;

use crate::{avidm_gf2, merkle::Tree};

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Zero so far.
    pub major: u64,
    /// What is counted up.
    pub minor: u64,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A version whose commitments are not known: nothing is proven, and nothing guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("protocol version {0} is not supported")]
pub struct UnsupportedVersion(pub Version);

/// The commitments of one version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scheme {
    pub(crate) version: Version,
    /// Whether headers have their time in milliseconds and the rewards paid so far.
    pub(crate) rewards: bool,
    /// Whether headers count the blocks of each leader.
    pub(crate) leader_counts: bool,
    /// Whether headers have a builder commitment.
    pub(crate) builder_commitment: bool,
    pub(crate) dispersal: Dispersal,
    /// The shares that recover a payload, of so many.
    pub(crate) threshold: fn(u32) -> u32,
    /// Whether one more leaf follows the namespaces, which commits to their lengths and the
    /// parameters of the dispersal.
    pub(crate) binding_leaf: bool,
}

/// How payloads are dispersed among the nodes, and so committed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dispersal {
    AvidM,
    AvidmGf2,
}

/// A share of each node can recover a third of them, rounded up.
const fn third(total_weight: u32) -> u32 {
    total_weight.div_ceil(3)
}

const fn version(minor: u64) -> Version {
    Version { major: 0, minor }
}

const V0_3: Scheme = Scheme {
    version: version(3),
    rewards: false,
    leader_counts: false,
    builder_commitment: true,
    dispersal: Dispersal::AvidM,
    threshold: third,
    binding_leaf: false,
};
const V0_4: Scheme = Scheme { version: version(4), rewards: true, ..V0_3 };
const V0_5: Scheme = Scheme { version: version(5), leader_counts: true, ..V0_4 };
const V0_6: Scheme = Scheme { version: version(6), dispersal: Dispersal::AvidmGf2, ..V0_5 };

/// Every version that is supported. Later ones are in no network yet, and three different forms of
/// them are published.
const SETTLED: [Scheme; 4] = [V0_3, V0_4, V0_5, V0_6];

impl Scheme {
    /// The commitments of a version, if they are known.
    pub(crate) fn of(version: Version) -> Option<Self> {
        SETTLED.into_iter().find(|scheme| scheme.version == version)
    }
}

impl Dispersal {
    /// The tag of its commitments.
    pub(crate) const fn tag(self) -> &'static str {
        match self {
            Self::AvidM => "AvidMCommit",
            Self::AvidmGf2 => "AvidmGf2Commit",
        }
    }

    /// The tree over namespaces, and that over the shares of one.
    pub(crate) const fn tree(self) -> Tree {
        match self {
            Self::AvidM => Tree::KECCAK_3,
            Self::AvidmGf2 => Tree::BLAKE3_4,
        }
    }

    /// The commitment to the payload of one namespace, dispersed alone into `shares`, of which
    /// `threshold` recover it. None without the feature that computes it.
    pub(crate) fn commit(self, payload: &[u8], shares: u32, threshold: u32) -> Option<B256> {
        match self {
            #[cfg(feature = "avidm")]
            Self::AvidM => crate::avidm::commit(payload, shares as usize, threshold as usize),
            #[cfg(not(feature = "avidm"))]
            Self::AvidM => None,
            Self::AvidmGf2 => avidm_gf2::commit(payload, shares as usize, threshold as usize),
        }
    }

    /// Whether this build computes its commitments.
    pub(crate) const fn is_built_in(self) -> bool {
        match self {
            Self::AvidM => cfg!(feature = "avidm"),
            Self::AvidmGf2 => true,
        }
    }
}

/// The published forms of versions that are not settled, which no release admits.
#[cfg(test)]
pub(crate) mod unsettled {
    use super::{Scheme, V0_6, version};

    pub(crate) const SAME_HEADER: Scheme = Scheme { version: version(7), ..V0_6 };
    pub(crate) const NO_BUILDER: Scheme = Scheme { builder_commitment: false, ..SAME_HEADER };
    pub(crate) const BINDING_LEAF: Scheme = Scheme { binding_leaf: true, ..SAME_HEADER };
    pub(crate) const NEXT: Scheme = Scheme { version: version(8), ..V0_6 };
}
