//! The tree of all header commitments, of which each header names the root so far.
//!
//! Only what a further header needs is kept: the roots of complete subtrees, at most two a level.

use alloy_primitives::{B256, U256};
use sha3::{Digest, Sha3_256};

use crate::{TaggedBase64, rescue};

const ARITY: u64 = 3;
pub(crate) const HEIGHT: usize = 32;
/// The tag of a root's text.
const TAG: &str = "MERKLE_COMM";
/// A root's bytes: hash, height and number of leaves.
const ROOT_LENGTH: usize = 48;

/// The root of the tree with so many leaves: that of the headers below this height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockTreeRoot {
    /// The root's hash.
    pub hash: B256,
    /// How many headers it covers.
    pub headers: u64,
}

/// The tree as far as it was built, to which headers are appended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlockTree {
    headers: u64,
    /// On each level, the subtrees left of the next header; zero where there is none.
    left: [[B256; 2]; HEIGHT],
}

impl BlockTreeRoot {
    /// Reads a root's text. None for trees of another height.
    #[must_use]
    pub fn decode(text: &TaggedBase64) -> Option<Self> {
        let (hash, numbers) = text.value.split_first_chunk::<32>()?;
        let (height, headers) = numbers.split_first_chunk::<8>()?;
        let headers = u64::from_le_bytes(*headers.first_chunk()?);
        let is_one = text.tag == TAG
            && text.value.len() == ROOT_LENGTH
            && u64::from_le_bytes(*height) == HEIGHT as u64;
        is_one.then(|| Self { hash: B256::from(hash), headers })
    }

    /// What the light client keeps of it.
    #[must_use]
    pub fn light_client_root(&self) -> U256 {
        let Self { hash, headers } = self;
        let numbers = [(HEIGHT as u64).to_le_bytes(), headers.to_le_bytes()].concat();
        rescue::hash(&[hash.as_slice(), &numbers].concat())
    }
}

impl BlockTree {
    /// The tree without headers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree by the subtrees left of one header, and that header's commitment.
    pub(crate) fn from_left(height: u64, left: [[B256; 2]; HEIGHT], commitment: B256) -> Self {
        let mut tree = Self { headers: height, left };
        tree.append(commitment);
        tree
    }

    /// How many headers there are: the height of the next one.
    #[must_use]
    pub const fn headers(&self) -> u64 {
        self.headers
    }

    /// Appends the commitment of the next header.
    pub fn append(&mut self, commitment: B256) {
        let (mut subtree, mut rest) = (leaf(commitment), self.headers);
        for level in &mut self.left {
            let [first, second] = level;
            match rest % ARITY {
                0 => *first = subtree,
                1 => *second = subtree,
                _ => {
                    subtree = node([*first, *second, subtree]);
                    *level = [B256::ZERO; 2];
                    rest /= ARITY;
                    continue;
                }
            }
            break;
        }
        // No chain has as many headers as the tree has room for.
        self.headers = self.headers.saturating_add(1);
    }

    /// The root over all headers.
    #[must_use]
    pub fn root(&self) -> BlockTreeRoot {
        let (mut subtree, mut rest) = (B256::ZERO, self.headers);
        for [first, second] in &self.left {
            subtree = match rest % ARITY {
                0 if subtree.is_zero() => B256::ZERO,
                0 => node([subtree, B256::ZERO, B256::ZERO]),
                1 => node([*first, subtree, B256::ZERO]),
                _ => node([*first, *second, subtree]),
            };
            rest /= ARITY;
        }
        BlockTreeRoot { hash: subtree, headers: self.headers }
    }
}

/// The hash of a leaf.
pub(crate) fn leaf(commitment: B256) -> B256 {
    B256::from(<[u8; 32]>::from(Sha3_256::digest(commitment)))
}

/// The hash of a node, whose missing children are zero.
pub(crate) fn node(children: [B256; 3]) -> B256 {
    let [first, second, third] = children;
    let hasher = Sha3_256::new_with_prefix(first).chain_update(second).chain_update(third);
    B256::from(<[u8; 32]>::from(hasher.finalize()))
}
