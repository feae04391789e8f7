//! The newest final L1 block, by number and hash, and the endpoints known to have it.

use std::collections::BTreeSet;

use alloy_primitives::B256;
use parking_lot::{Mutex, MutexGuard};
use thiserror::Error;

use crate::{eth::BlockId, upstream::UpstreamError};

/// The pinned block.
#[derive(Debug, Default)]
pub(super) struct Pin(Mutex<Pinned>);

#[derive(Debug, Default)]
struct Pinned {
    block: Option<BlockId>,
    /// The endpoints that have it, by index.
    agreeing: BTreeSet<usize>,
}

/// Why an endpoint is not used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Distrust {
    /// It gave no answer.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// It does not have the pinned block.
    #[error("it lags: it does not have the final L1 block {0}")]
    Lags(BlockId),
    /// It has another block there.
    #[error("it contradicts the final L1 block {pinned}: it has {theirs} there (l1_rpc)")]
    Contradicts {
        /// The pinned block.
        pinned: BlockId,
        /// The endpoint's hash of that number.
        theirs: B256,
    },
}

/// Compares an endpoint's block at the pinned number with the pinned block.
pub(super) fn compare(theirs: Option<BlockId>, pinned: BlockId) -> Result<(), Distrust> {
    match theirs {
        None => Err(Distrust::Lags(pinned)),
        Some(block) if block == pinned => Ok(()),
        Some(block) => Err(Distrust::Contradicts { pinned, theirs: block.hash }),
    }
}

impl Pin {
    /// The pinned block, if there is one.
    pub(super) fn block(&self) -> Option<BlockId> {
        self.pinned().block
    }

    /// The pinned block, unless this endpoint is known to have it.
    pub(super) fn unchecked(&self, endpoint: usize) -> Option<BlockId> {
        let pinned = self.pinned();
        pinned.block.filter(|_| !pinned.agreeing.contains(&endpoint))
    }

    /// Records that an endpoint has the block, if it is still the pinned one.
    pub(super) fn agrees(&self, block: BlockId, endpoint: usize) {
        let mut pinned = self.pinned();
        if pinned.block == Some(block) {
            pinned.agreeing.insert(endpoint);
        }
    }

    /// Pins a block that an endpoint has.
    pub(super) fn set(&self, block: BlockId, endpoint: usize) {
        let mut pinned = self.pinned();
        if pinned.block != Some(block) {
            *pinned = Pinned { block: Some(block), agreeing: BTreeSet::new() };
        }
        pinned.agreeing.insert(endpoint);
    }

    /// Drops the pin.
    pub(super) fn clear(&self) {
        *self.pinned() = Pinned::default();
    }

    fn pinned(&self) -> MutexGuard<'_, Pinned> {
        self.0.lock()
    }
}
