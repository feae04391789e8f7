//! The trees of a dispersal: over the shares of a namespace, and over the namespaces of a block.

use std::iter;

use alloy_primitives::{B256, Keccak256};
use thiserror::Error;

use crate::{TaggedBase64, TaggedBase64Error};

/// The tag of a path's text.
const TAG: &str = "MERKLE_PROOF";
/// What a leaf and a node start with.
const LEAF: &[u8] = b"1";
const NODE: &[u8] = b"0";
/// The most children of a node, and its prefix.
const MOST_PARTS: usize = 5;

/// A kind of tree: its arity and its hash.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tree {
    arity: usize,
    hash: fn(&[&[u8]]) -> B256,
}

/// Why a path is not one of this tree.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PathError {
    /// It cannot be read.
    #[error(transparent)]
    Text(#[from] TaggedBase64Error),
    /// Another kind of value.
    #[error("{0}~ instead of MERKLE_PROOF~")]
    Tag(String),
    /// Levels or siblings are missing, or there are more.
    #[error("{length} bytes, {expected} for {levels} levels")]
    Length {
        /// The bytes of the path.
        length: usize,
        /// What they should be.
        expected: usize,
        /// The levels of the tree.
        levels: usize,
    },
    /// A count inside it is not that of the tree.
    #[error("a count of levels or siblings is not that of the tree")]
    Shape,
    /// There is no such leaf.
    #[error("the tree has no leaf {0}")]
    Position(u64),
}

/// The bytes of a path, whose meaning depends on the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path(Vec<u8>);

impl Path {
    pub(crate) fn parse(text: &str) -> Result<Self, PathError> {
        let TaggedBase64 { tag, value } = TaggedBase64::parse(text)?;
        if tag == TAG { Ok(Self(value)) } else { Err(PathError::Tag(tag)) }
    }
}

impl Tree {
    pub(crate) const KECCAK_3: Self = Self { arity: 3, hash: keccak };
    pub(crate) const BLAKE3_4: Self = Self { arity: 4, hash: blake3 };

    /// The value of a leaf with these bytes.
    pub(crate) fn value(self, bytes: &[u8]) -> B256 {
        (self.hash)(&[bytes])
    }

    /// The number of levels above so many leaves.
    fn height(self, count: u64) -> usize {
        let powers = iter::successors(Some(1), |power: &u64| power.checked_mul(self.arity as u64));
        powers.take_while(|power| *power < count).count()
    }

    fn leaf(self, position: u64, value: B256) -> B256 {
        (self.hash)(&[LEAF, &position.to_le_bytes(), value.as_slice()])
    }

    /// A node whose children are these and as many zeros as are missing.
    fn node<'a>(self, children: impl Iterator<Item = &'a B256>) -> B256 {
        let mut parts = [B256::ZERO.as_slice(); MOST_PARTS];
        let known = iter::once(NODE).chain(children.map(B256::as_slice));
        parts.iter_mut().zip(known).for_each(|(part, known)| *part = known);
        (self.hash)(parts.get(..=self.arity).unwrap_or_default())
    }

    /// The root over values; zero without any.
    pub(crate) fn root(self, values: impl Iterator<Item = B256>) -> B256 {
        let mut level: Vec<B256> =
            (0..).zip(values).map(|(position, value)| self.leaf(position, value)).collect();
        while level.len() > 1 {
            level = level.chunks(self.arity).map(|children| self.node(children.iter())).collect();
        }
        level.first().copied().unwrap_or_default()
    }

    /// The root to which a path leads from a value, in a tree of so many leaves.
    pub(crate) fn root_by(
        self,
        path: &Path,
        value: B256,
        position: u64,
        count: u64,
    ) -> Result<B256, PathError> {
        if position >= count {
            return Err(PathError::Position(position));
        }
        let levels = self.height(count);
        let siblings = self.arity - 1;
        let level_length = 8 + 32 * siblings;
        let Path(bytes) = path;
        let expected = 8 + level_length * levels;
        if bytes.len() != expected {
            return Err(PathError::Length { length: bytes.len(), expected, levels });
        }
        let (given, rest) = bytes.split_first_chunk::<8>().ok_or(PathError::Shape)?;
        if u64::from_le_bytes(*given) != levels as u64 {
            return Err(PathError::Shape);
        }
        let (mut hash, mut position) = (self.leaf(position, value), position);
        for level in rest.chunks_exact(level_length) {
            let (given, others) = level.split_first_chunk::<8>().ok_or(PathError::Shape)?;
            if u64::from_le_bytes(*given) != siblings as u64 {
                return Err(PathError::Shape);
            }
            let mut children: Vec<B256> = others.chunks_exact(32).map(B256::from_slice).collect();
            let child = position % self.arity as u64;
            children.insert((child as usize).min(siblings), hash);
            hash = self.node(children.iter());
            position /= self.arity as u64;
        }
        Ok(hash)
    }
}

fn keccak(parts: &[&[u8]]) -> B256 {
    let mut hasher = Keccak256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

fn blake3(parts: &[&[u8]]) -> B256 {
    // One call for what is short: the hasher itself costs more than a block.
    let mut short = [0; 192];
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    if parts.len() > 1 && length <= short.len() {
        let mut room = short.iter_mut();
        parts.iter().flat_map(|part| part.iter()).zip(&mut room).for_each(|(from, to)| *to = *from);
        return B256::from(*blake3::hash(short.get(..length).unwrap_or_default()).as_bytes());
    }
    match parts {
        [bytes] => B256::from(*blake3::hash(bytes).as_bytes()),
        _ => {
            let mut hasher = blake3::Hasher::new();
            parts.iter().for_each(|part| _ = hasher.update(part));
            B256::from(*hasher.finalize().as_bytes())
        }
    }
}
