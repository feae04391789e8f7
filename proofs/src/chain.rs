//! Headers that follow each other.

use alloy_primitives::B256;
use thiserror::Error;

use crate::{BlockPath, BlockTree, BlockTreeRoot, Header, HeaderError, Reason, Version};

/// What a header says of its place in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its height.
    pub height: u64,
    /// Its version.
    pub version: Version,
    /// Its commitment.
    pub commitment: B256,
    /// The root that it names, of the tree of all headers before it.
    pub root: Option<BlockTreeRoot>,
}

/// A chain of headers: the tree over them, and what the next one must fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    tree: BlockTree,
    /// The version of the last header; it never falls.
    version: Version,
    /// The commitment of the last header.
    last: Option<B256>,
}

/// Why a header does not follow.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChainError {
    /// The header proves nothing.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// It has another height.
    #[error("header {given} in the place of {expected}")]
    Height {
        /// Its height.
        given: u64,
        /// The height of the next header.
        expected: u64,
    },
    /// Its version is lower than that of one before.
    #[error("header {height}: version {version} after {before}")]
    Version {
        /// Its height.
        height: u64,
        /// Its version.
        version: Version,
        /// The version before.
        before: Version,
    },
    /// The root in it is not that of the headers before.
    #[error("header {0}: its root is not that of the headers before it")]
    Root(u64),
}

impl ChainError {
    /// The reason to count it by.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Header(error) => error.reason(),
            Self::Height { .. } | Self::Version { .. } => Reason::Header,
            Self::Root(_) => Reason::BlockTree,
        }
    }
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl Chain {
    /// The chain before its first header.
    #[must_use]
    pub const fn genesis(tree: BlockTree) -> Self {
        Self { tree, version: Version { major: 0, minor: 0 }, last: None }
    }

    /// The chain without headers.
    #[must_use]
    pub fn new() -> Self {
        Self::genesis(BlockTree::new())
    }

    /// The chain up to the header of a path. It is as true as the path's root.
    #[must_use]
    pub fn after(path: &BlockPath) -> Self {
        Self { last: Some(path.commitment()), ..Self::genesis(path.tree()) }
    }

    /// The height of the next header.
    #[must_use]
    pub const fn height(&self) -> u64 {
        self.tree.headers()
    }

    /// The tree over all headers.
    #[must_use]
    pub const fn tree(&self) -> &BlockTree {
        &self.tree
    }

    /// Appends a header by its commitment alone, which was checked before.
    pub fn append(&mut self, commitment: B256) {
        self.tree.append(commitment);
        self.last = Some(commitment);
    }

    /// Whether both have the same headers.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.tree == other.tree
    }

    /// The commitment of the last header.
    #[must_use]
    pub const fn last(&self) -> Option<B256> {
        self.last
    }

    /// Appends headers that follow each other; all of them, or none.
    ///
    /// The root in a header covers all headers before it, so that of the last one is enough.
    ///
    /// # Errors
    /// [`ChainError`] for the first header that does not follow.
    pub fn extend(&mut self, headers: &[Header]) -> Result<(), ChainError> {
        let links = headers.iter().map(Header::link).collect::<Result<Vec<_>, _>>()?;
        self.extend_by(&links)
    }

    /// The same by what is left of headers.
    ///
    /// # Errors
    /// [`ChainError`], as for whole headers.
    pub fn extend_by(&mut self, links: &[Link]) -> Result<(), ChainError> {
        let mut longer = self.clone();
        let last = links.len().saturating_sub(1);
        for (index, link) in links.iter().enumerate() {
            longer.push(link, index == last).or_else(|error| match error {
                // Which one is it?
                ChainError::Root(_) => self.clone().extend_one_by_one(links).and(Err(error)),
                error => Err(error),
            })?;
        }
        *self = longer;
        Ok(())
    }

    fn extend_one_by_one(&mut self, links: &[Link]) -> Result<(), ChainError> {
        links.iter().try_for_each(|link| self.push(link, true))
    }

    fn push(&mut self, link: &Link, check_root: bool) -> Result<(), ChainError> {
        let &Link { height, version, commitment, root } = link;
        let expected = self.height();
        if height != expected {
            return Err(ChainError::Height { given: height, expected });
        }
        if version < self.version {
            return Err(ChainError::Version { height, version, before: self.version });
        }
        if check_root && root != Some(self.tree.root()) {
            return Err(ChainError::Root(height));
        }
        self.tree.append(commitment);
        (self.version, self.last) = (version, Some(commitment));
        Ok(())
    }
}
