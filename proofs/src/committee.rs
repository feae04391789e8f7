//! The size of the committee that a payload was dispersed to: its total weight.

use alloy_primitives::B256;
use serde::Deserialize;
use thiserror::Error;

/// The largest committee. The bound limits the work of a check.
const LARGEST: u32 = 4096;
/// How far, in blocks, a committee is looked for before and after a block.
const NEARBY: u64 = 200;

/// A size that an ordinary proof fits. No commitment of a payload binds the size, but the tree over
/// its shares has as many leaves: with any other size the proof would have failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProvenSize {
    pub(crate) size: u32,
    pub(crate) namespace: u32,
    pub(crate) height: u64,
    pub(crate) block: B256,
}

/// Why a size does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CommitteeSizeError {
    /// No committee has it.
    #[error("a committee of {0}")]
    OutOfRange(u32),
    /// A proof of wrong encoding needs it, and would fit many others.
    #[error(
        "a committee of {size} that no ordinary proof near block {height} bears out, which a proof \
         of wrong encoding needs"
    )]
    NotBorneOut {
        /// The size.
        size: u32,
        /// The block.
        height: u64,
    },
}

impl ProvenSize {
    /// The size of the committee.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// The height of the block whose proof it fits.
    #[must_use]
    pub const fn height(&self) -> u64 {
        self.height
    }

    /// Whether ordinary proofs show the size: one of another namespace of the same block, or one in
    /// a block before and one in a block after, since a committee changes only once in a while.
    pub(crate) fn is_borne_out_by(&self, proofs: &[Self]) -> Result<(), CommitteeSizeError> {
        let &Self { size, height, .. } = self;
        let mut fitting = proofs.iter().filter(|proof| proof.size == size);
        let is_here = |proof: &Self| proof.block == self.block && proof.namespace != self.namespace;
        let is_near = |low: u64, high: u64| {
            high.checked_sub(low).is_some_and(|distance| (1..=NEARBY).contains(&distance))
        };
        let is_before = |proof: &Self| is_near(proof.height, height);
        let is_after = |proof: &Self| is_near(height, proof.height);
        let (before, after) = (fitting.clone().any(is_before), fitting.clone().any(is_after));
        if before && after || fitting.any(is_here) {
            return Ok(());
        }
        Err(CommitteeSizeError::NotBorneOut { size, height })
    }
}

/// Reads the size from a service's answer about what all shares of a block have in common.
///
/// # Errors
/// What is wrong with it, in words.
pub fn read_committee_size(body: &[u8]) -> Result<u32, String> {
    #[derive(Deserialize)]
    struct Wire {
        common: Common,
    }
    #[derive(Deserialize)]
    enum Common {
        V1(Parameters),
        V2 { param: Parameters },
    }
    #[derive(Deserialize)]
    struct Parameters {
        total_weights: u32,
    }
    let Wire { common } = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let (Common::V1(parameters) | Common::V2 { param: parameters }) = common;
    Ok(parameters.total_weights)
}

pub(crate) const fn check_size(size: u32) -> Result<(), CommitteeSizeError> {
    match size {
        1..=LARGEST => Ok(()),
        _ => Err(CommitteeSizeError::OutOfRange(size)),
    }
}
