//! The path from one header to the root of a later tree.

use alloy_primitives::B256;
use serde::Deserialize;
use thiserror::Error;

use crate::{
    BlockTree, BlockTreeRoot, Reason, TaggedBase64,
    block_tree::{self, HEIGHT},
};

/// The tag of numbers and hashes.
const TAG: &str = "FIELD";

/// A path from a header up, by the subtrees beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockPath {
    height: u64,
    commitment: B256,
    /// What is beside the path on each level, from the leaf up.
    siblings: Vec<[B256; 2]>,
}

/// Why a path cannot be read, or does not lead where it should.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BlockPathError {
    /// It is not the JSON of a path.
    #[error("path in the block tree: {0}")]
    Json(String),
    /// It does not have a leaf and as many nodes as the tree has levels.
    #[error("path in the block tree: not a leaf with {HEIGHT} nodes")]
    Levels,
    /// A number or hash is none.
    #[error("path in the block tree: a number or hash is malformed")]
    Value,
    /// It is the path of another header.
    #[error("path in the block tree: of header {given}, not {expected}")]
    Height {
        /// The header in the path.
        given: u64,
        /// The header that was asked for.
        expected: u64,
    },
    /// It is the path of another header with that height.
    #[error("path in the block tree: another header {0}")]
    Commitment(u64),
    /// It leads to another root.
    #[error("path in the block tree: from header {height} to another root of {headers} headers")]
    Root {
        /// The header.
        height: u64,
        /// The headers under the root.
        headers: u64,
    },
}

impl BlockPathError {
    /// The reason to count it by.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Root { .. } | Self::Commitment(_) => Reason::Root,
            _ => Reason::Path,
        }
    }
}

#[derive(Deserialize)]
struct Wire {
    pos: TaggedBase64,
    proof: Vec<Node>,
}

#[derive(Deserialize)]
enum Node {
    Leaf { pos: TaggedBase64, elem: TaggedBase64 },
    Branch { children: [Child; 3] },
}

/// A child's hash is all that counts; the service spells one kind in its own way.
#[derive(Deserialize)]
enum Child {
    Empty,
    #[serde(alias = "ForgettenSubtree")]
    ForgottenSubtree(Hashed),
    Leaf(Hashed),
    Branch(Hashed),
}

#[derive(Deserialize)]
struct Hashed {
    value: TaggedBase64,
}

impl BlockPath {
    /// Reads the answer of a query service.
    ///
    /// # Errors
    /// [`BlockPathError`].
    pub fn read(body: &[u8]) -> Result<Self, BlockPathError> {
        let Wire { pos, proof } = serde_json::from_slice(body)
            .map_err(|error| BlockPathError::Json(error.to_string()))?;
        let height = number(&pos)?;
        let Some((Node::Leaf { pos, elem }, branches)) = proof.split_first() else {
            return Err(BlockPathError::Levels);
        };
        let given = number(pos)?;
        if given != height {
            return Err(BlockPathError::Height { given, expected: height });
        }
        if branches.len() != HEIGHT {
            return Err(BlockPathError::Levels);
        }
        let commitment = hash(elem)?;
        let mut rest = height;
        let mut siblings = Vec::with_capacity(HEIGHT);
        for branch in branches {
            let Node::Branch { children: [first, second, third] } = branch else {
                return Err(BlockPathError::Levels);
            };
            let [one, other] = match rest % 3 {
                0 => [second, third],
                1 => [first, third],
                _ => [first, second],
            };
            siblings.push([one.hash()?, other.hash()?]);
            rest /= 3;
        }
        if rest != 0 {
            return Err(BlockPathError::Levels);
        }
        Ok(Self { height, commitment, siblings })
    }

    /// The header's height.
    #[must_use]
    pub const fn height(&self) -> u64 {
        self.height
    }

    /// The header's commitment.
    #[must_use]
    pub const fn commitment(&self) -> B256 {
        self.commitment
    }

    /// The root to which the path leads, if the tree has so many headers.
    #[must_use]
    pub fn root(&self, headers: u64) -> BlockTreeRoot {
        let mut rest = self.height;
        let leaf = block_tree::leaf(self.commitment);
        let hash = self.siblings.iter().fold(leaf, |hash, [one, other]| {
            let children = match rest % 3 {
                0 => [hash, *one, *other],
                1 => [*one, hash, *other],
                _ => [*one, *other, hash],
            };
            rest /= 3;
            block_tree::node(children)
        });
        BlockTreeRoot { hash, headers }
    }

    /// The tree up to this header: what is left of a header is final.
    #[must_use]
    pub fn tree(&self) -> BlockTree {
        let (mut left, mut rest) = ([[B256::ZERO; 2]; HEIGHT], self.height);
        for (left, [one, other]) in left.iter_mut().zip(&self.siblings) {
            *left = match rest % 3 {
                0 => [B256::ZERO; 2],
                1 => [*one, B256::ZERO],
                _ => [*one, *other],
            };
            rest /= 3;
        }
        BlockTree::from_left(self.height, left, self.commitment)
    }

    /// Checks that the path leads from a header to a root.
    ///
    /// # Errors
    /// [`BlockPathError`].
    pub fn check(
        &self,
        height: u64,
        commitment: B256,
        root: &BlockTreeRoot,
    ) -> Result<(), BlockPathError> {
        if self.height != height {
            return Err(BlockPathError::Height { given: self.height, expected: height });
        }
        if self.commitment != commitment {
            return Err(BlockPathError::Commitment(height));
        }
        let headers = root.headers;
        if height < headers && self.root(headers) == *root {
            return Ok(());
        }
        Err(BlockPathError::Root { height, headers })
    }
}

impl Child {
    fn hash(&self) -> Result<B256, BlockPathError> {
        match self {
            Self::Empty => Ok(B256::ZERO),
            Self::ForgottenSubtree(subtree) | Self::Leaf(subtree) | Self::Branch(subtree) => {
                hash(&subtree.value)
            }
        }
    }
}

fn hash(text: &TaggedBase64) -> Result<B256, BlockPathError> {
    text.hash().filter(|_| text.tag == TAG).ok_or(BlockPathError::Value)
}

fn number(text: &TaggedBase64) -> Result<u64, BlockPathError> {
    let bytes = <[u8; 8]>::try_from(text.value.as_slice()).ok().filter(|_| text.tag == TAG);
    bytes.map(u64::from_le_bytes).ok_or(BlockPathError::Value)
}
