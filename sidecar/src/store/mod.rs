//! The durable head: one record that never falls.
//!
//! [`FileStore`] keeps it in a JSON file that the Go proxy's file can be taken over into, and handed back.
//! Wrong layer? What may become a head is decided in `head`; the store only refuses to go down.

mod file;
mod format;

use std::path::PathBuf;

use alloy_primitives::B256;
use finality_core::head::Source;
use jiff::Timestamp;
use thiserror::Error;

pub use file::FileStore;

use crate::block::BlockId;

/// Which chain a record belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The L2 chain id.
    pub chain_id: u64,
    /// Hash of the L2 genesis block.
    pub genesis_hash: B256,
    /// The Espresso namespace.
    pub namespace: u32,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { chain_id, genesis_hash, namespace } = self;
        write!(f, "chain {chain_id}, genesis {genesis_hash}, namespace {namespace}")
    }
}

/// The head as it is stored, and where reading HotShot resumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// L2 block number of the head.
    pub number: u64,
    /// Hash of that block; unknown in a record that was taken over or reset.
    pub hash: Option<B256>,
    /// The L1 origin of that block.
    pub l1_origin: Option<BlockId>,
    /// Who settled that block.
    pub source: Source,
    /// The HotShot height from which reading resumes, inclusive.
    pub restart_height: Option<u64>,
    /// The chain; unknown in a record that was taken over.
    pub identity: Option<Identity>,
    /// When the record was made.
    pub updated_at: Timestamp,
}

impl Record {
    /// Checks that the record is of the given chain. A record without identity is of any chain.
    ///
    /// # Errors
    /// [`StoreError::OtherChain`] names both.
    pub fn check_identity(&self, identity: &Identity) -> Result<(), StoreError> {
        match self.identity {
            Some(stored) if stored != *identity => {
                Err(StoreError::OtherChain { stored: Box::new(stored), given: Box::new(*identity) })
            }
            _ => Ok(()),
        }
    }
}

/// Keeps one record, which never falls.
pub trait Store: Send {
    /// The record as of the last successful save or of the start.
    fn record(&self) -> Option<&Record>;

    /// Saves a record; it is durable when this returns. A stored identity is kept when the new record has none.
    ///
    /// # Errors
    /// [`StoreError::Regression`] for a number below the stored one, [`StoreError::OtherChain`] for another
    /// identity, and what the file system says. After an error [`Store::record`] is what it was.
    fn save(&mut self, record: Record) -> Result<(), StoreError>;
}

/// Why a store could not be opened, read or written. Each message says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A number below the stored one.
    #[error(
        "refused to lower the stored head from {stored} to {given}; only `store reset` lowers it"
    )]
    Regression {
        /// The stored number, or a higher one that a failed write may have left on disk.
        stored: u64,
        /// The number that was to be saved.
        given: u64,
    },
    /// The record is of another chain.
    #[error(
        "the store is of another chain: it holds {stored}, the node is {given}; use another store_path for this chain, or correct the node's address"
    )]
    OtherChain {
        /// The identity in the file.
        stored: Box<Identity>,
        /// The identity of the node.
        given: Box<Identity>,
    },
    /// The path cannot name a state file.
    #[error("store_path {path}: {problem}", path = .path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
}
