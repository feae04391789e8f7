//! What the light client on L1 says of the chain, and whether a chain is that one.

use alloy_primitives::{B256, U256};
use thiserror::Error;

use crate::{BlockPath, BlockPathError, BlockTree, Chain, Reason};

/// A state of the light client: the root over all headers below a height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// The first height that it does not cover.
    pub height: u64,
    /// The hash that the contract keeps of the root.
    pub root: U256,
}

/// Why a chain is not the one of a checkpoint, or was not shown to be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// The chain has another number of headers.
    #[error("{headers} headers, the light client's root is of {height}")]
    Headers {
        /// The headers of the chain.
        headers: u64,
        /// The headers of the checkpoint.
        height: u64,
    },
    /// The root is another.
    #[error("not the light client's root of {0} headers")]
    Root(u64),
    /// The path shows nothing.
    #[error(transparent)]
    Path(#[from] BlockPathError),
    /// The path is of this root, but the chain is another.
    #[error("the headers before {0} are not those under the light client's root")]
    Chain(u64),
}

impl CheckpointError {
    /// The reason to count it by.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Path(error) => error.reason(),
            Self::Headers { .. } | Self::Root(_) | Self::Chain(_) => Reason::Root,
        }
    }
}

impl Checkpoint {
    /// Checks that a chain with as many headers is the one of the checkpoint.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn check(&self, tree: &BlockTree) -> Result<(), CheckpointError> {
        let &Self { height, root } = self;
        if tree.headers() != height {
            return Err(CheckpointError::Headers { headers: tree.headers(), height });
        }
        if tree.root().light_client_root() == root {
            return Ok(());
        }
        Err(CheckpointError::Root(height))
    }

    /// Checks that a path is one of the checkpoint's tree, whoever's header it leads from.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn check_path(&self, path: &BlockPath) -> Result<(), CheckpointError> {
        let &Self { height, root } = self;
        if path.height() < height && path.root(height).light_client_root() == root {
            return Ok(());
        }
        Err(BlockPathError::Root { height: path.height(), headers: height }.into())
    }

    /// The chain up to the header of a path that leads to this root.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn chain_of(&self, path: &BlockPath, height: u64) -> Result<Chain, CheckpointError> {
        if path.height() != height {
            let given = path.height();
            return Err(BlockPathError::Height { given, expected: height }.into());
        }
        self.check_path(path)?;
        Ok(Chain::after(path))
    }

    /// Checks that a chain with fewer headers is the begin of the checkpoint's one, by the path of
    /// its last header, whose commitment is given.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn check_begin(
        &self,
        tree: &BlockTree,
        last: B256,
        path: &BlockPath,
    ) -> Result<(), CheckpointError> {
        let Some(height) = tree.headers().checked_sub(1) else { return Ok(()) };
        if path.height() != height {
            let given = path.height();
            return Err(BlockPathError::Height { given, expected: height }.into());
        }
        self.check_path(path)?;
        if path.commitment() != last {
            return Err(BlockPathError::Commitment(height).into());
        }
        if path.tree() == *tree { Ok(()) } else { Err(CheckpointError::Chain(height)) }
    }
}
