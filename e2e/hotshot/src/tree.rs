//! The hash tree of both dispersal schemes: over the shards of a namespace, and over the namespaces
//! of a block.

use alloy_primitives::{B256, keccak256};

/// How payloads are dispersed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Until 0.5: polynomials over the scalar field of BN254, Keccak-256.
    AvidM,
    /// From 0.6 on: Reed-Solomon over GF(2^16), BLAKE3.
    AvidmGf2,
}

impl Scheme {
    /// The scheme of a protocol version 0.x.
    #[must_use]
    pub const fn of_version(minor: u64) -> Self {
        if minor >= 6 { Self::AvidmGf2 } else { Self::AvidM }
    }

    /// The tag of its commitments.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::AvidM => "AvidMCommit",
            Self::AvidmGf2 => "AvidmGf2Commit",
        }
    }

    /// The name of its proofs.
    #[must_use]
    pub const fn variant(self) -> &'static str {
        match self {
            Self::AvidM => "V1",
            Self::AvidmGf2 => "V2",
        }
    }

    const fn arity(self) -> usize {
        match self {
            Self::AvidM => 3,
            Self::AvidmGf2 => 4,
        }
    }

    pub(crate) fn hash(self, bytes: &[u8]) -> B256 {
        match self {
            Self::AvidM => keccak256(bytes),
            Self::AvidmGf2 => blake3::hash(bytes).as_bytes().into(),
        }
    }

    /// The nodes of every level, the leaves first; levels are filled up to whole groups.
    fn levels(self, values: &[B256]) -> Vec<Vec<B256>> {
        let leaf = |(position, value): (usize, &B256)| {
            self.hash(&[b"1", &(position as u64).to_le_bytes()[..], value.as_slice()].concat())
        };
        let mut levels: Vec<Vec<B256>> = vec![values.iter().enumerate().map(leaf).collect()];
        while let Some(last) = levels.last_mut().filter(|last| last.len() > 1) {
            last.resize(last.len().next_multiple_of(self.arity()), B256::ZERO);
            let parent = |children: &[B256]| {
                let bytes = children.iter().flat_map(|child| child.0);
                self.hash(&[b'0'].into_iter().chain(bytes).collect::<Vec<_>>())
            };
            let parents = last.chunks(self.arity()).map(parent).collect();
            levels.push(parents);
        }
        levels
    }

    /// The root over values.
    #[must_use]
    pub fn root(self, values: &[B256]) -> B256 {
        self.levels(values).last().and_then(|top| top.first().copied()).unwrap_or_default()
    }

    /// The path of the value at a position to the root, as its tagged base64 encodes it: the number
    /// of levels, then the number of siblings and the siblings of each.
    ///
    /// # Panics
    /// When there is no such value.
    #[must_use]
    pub fn path(self, values: &[B256], position: usize) -> Vec<u8> {
        assert!(position < values.len(), "no value at {position}");
        let levels = self.levels(values);
        let below_root = &levels[..levels.len() - 1];
        let mut out = (below_root.len() as u64).to_le_bytes().to_vec();
        let mut position = position;
        for level in below_root {
            let group = position - position % self.arity();
            out.extend((self.arity() as u64 - 1).to_le_bytes());
            let siblings = (group..group + self.arity()).filter(|sibling| *sibling != position);
            out.extend(siblings.flat_map(|sibling| level[sibling].0));
            position /= self.arity();
        }
        out
    }
}
