//! The durable head: one record whose number never goes down.
//!
//! [`FileStore`] keeps it in a JSON file; it imports the Go proxy's file, and the Go proxy can read
//! its file. Wrong layer? `head` decides what becomes the head; the store only refuses to go down.

#[cfg(test)]
pub(crate) mod conformance;
mod dry;
pub mod engine;
pub mod etcd;
mod file;
mod files;
mod format;
#[cfg(test)]
pub(crate) mod memory;
mod place;
#[cfg(test)]
mod testing;

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    io,
    path::{Path, PathBuf},
};

use alloy_primitives::B256;
use finality_core::head::{BlockProof, Source};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::engine::Moment;
use crate::{batchers::HistoryMark, eth::BlockId};

pub use self::{
    dry::DryStore,
    file::FileStore,
    format::{FORMAT_VERSION, FormatError, StateFile},
};

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

impl Identity {
    /// Checks that a chain is the one that is stored.
    ///
    /// # Errors
    /// [`StoreError::OtherChain`] names both.
    pub fn check(self, given: Self) -> Result<(), StoreError> {
        if self == given {
            return Ok(());
        }
        Err(StoreError::OtherChain { stored: Box::new(self), given: Box::new(given) })
    }

    /// Where another identity differs first, and what to change.
    fn difference(&self, given: &Self) -> String {
        const ADVICE: &str = "use another store_path for this chain, or correct";
        if self.chain_id != given.chain_id {
            let (stored, given) = (self.chain_id, given.chain_id);
            return format!(
                "it holds a head of chain {stored}, the node is of chain {given}; {ADVICE} node_execution_rpc"
            );
        }
        if self.genesis_hash != given.genesis_hash {
            let (stored, given) = (self.genesis_hash, given.genesis_hash);
            return format!(
                "its chain begins with {stored}, the node's with {given}; {ADVICE} node_execution_rpc, or node_consensus_rpc (rollup = op), or genesis_block (rollup = nitro)"
            );
        }
        let (stored, given) = (self.namespace, given.namespace);
        format!(
            "its head was verified in namespace {stored}, the namespace is now {given}; {ADVICE} namespace"
        )
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { chain_id, genesis_hash, namespace } = self;
        write!(f, "chain {chain_id}, genesis {genesis_hash}, namespace {namespace}")
    }
}

/// What one answer of op-node says: by the time that it had read L1 up to these blocks, it had
/// derived an L2 block from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SafeSample {
    /// The L1 block that L2 blocks were being derived from.
    pub current_l1: BlockId,
    /// The newest L1 block that op-node had seen.
    pub head_l1: BlockId,
    /// The newest L2 block that was derived.
    pub safe: BlockId,
}

/// All headers of HotShot below a height, by the root of their tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderMark {
    /// The height below which they are.
    pub height: u64,
    /// The root's hash.
    pub root: B256,
}

/// How far what moved the head was compared with Espresso's light client on L1.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audit {
    /// The HotShot height below which everything was compared that moved the head.
    pub audited: Option<u64>,
    /// The HotShot height of the head's batch; none if Ethereum made it the head.
    pub head_height: Option<u64>,
    /// The headers that moved the head without having been compared.
    pub owed: Vec<HeaderMark>,
    /// Whether the head was seen not to be in HotShot as the light client has it.
    pub unproven: bool,
    /// What is proven of the head's block by what HotShot has of it; none if Ethereum made it the
    /// head.
    pub block: Option<BlockProof>,
}

/// What a store is known by, wherever it moves: a number drawn when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct StoreId(u64);

impl From<StoreId> for String {
    fn from(id: StoreId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for StoreId {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u64::from_str_radix(&text, 16).map(Self)
    }
}

impl StoreId {
    /// One that no other store has.
    fn draw() -> Self {
        // The standard library seeds its hash maps with the system's random numbers.
        Self(RandomState::new().hash_one(std::process::id()))
    }
}

impl std::fmt::Display for StoreId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The head as it is stored, and where reading HotShot resumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// How often the head was lowered on purpose. Heads are ordered by generation, then number.
    pub generation: u64,
    /// When the engine that all replicas share had this head; none of a head that was verified.
    pub moment: Option<Moment>,
    /// L2 block number of the head.
    pub number: u64,
    /// Hash of that block; unknown in a record that was imported or reset.
    pub hash: Option<B256>,
    /// The L1 origin of that block.
    pub l1_origin: Option<BlockId>,
    /// Which chain confirmed that block.
    pub source: Source,
    /// The HotShot height from which reading resumes, inclusive.
    pub restart_height: Option<u64>,
    /// A HotShot height above which are all batches above Ethereum's finality, from which the Go
    /// proxy goes on.
    pub fallback_height: Option<u64>,
    /// The history of batchers by which batches were dropped as unauthorized.
    pub batchers: Option<HistoryMark>,
    /// The chain; unknown in an imported record.
    pub identity: Option<Identity>,
    /// When the record was made.
    pub updated_at: Timestamp,
    /// What may prove later that blocks are final.
    pub samples: Vec<SafeSample>,
    /// How far it was compared with the light client.
    pub audit: Audit,
}

impl Record {
    /// What heads are ordered by.
    #[must_use]
    pub const fn order(&self) -> (u64, u64) {
        (self.generation, self.number)
    }
}

/// Keeps one record, whose number never goes down within its generation.
pub trait Store: Send {
    /// What the store is known by.
    fn id(&self) -> StoreId;

    /// The record as of the last successful save or of the start.
    fn record(&self) -> Option<&Record>;

    /// Why saving will fail, if that was seen when the store was opened.
    fn problem(&self) -> Option<&StoreError> {
        None
    }

    /// Saves a record; it is durable when this returns. A stored identity is kept when the new
    /// record has none.
    ///
    /// # Errors
    /// [`StoreError::Regression`] for a number below the stored one, [`StoreError::OtherChain`] for
    /// another identity, and those of the file system. After an error [`Store::record`] is
    /// unchanged.
    fn save(&mut self, record: Record) -> Result<(), StoreError>;
}

/// The record to write when one is saved over another.
fn following(
    mut record: Record,
    stored: Option<&Record>,
    floor: Option<(u64, u64)>,
) -> Result<Record, StoreError> {
    if let Some((_, stored)) = floor.filter(|floor| record.order() < *floor) {
        return Err(StoreError::Regression { stored, given: record.number });
    }
    if let Some(stored) = stored {
        if let (Some(stored), Some(given)) = (stored.identity, record.identity) {
            stored.check(given)?;
        }
        record.identity = record.identity.or(stored.identity);
    }
    Ok(record)
}

/// Why a store could not be opened, read or written. Each message says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The write did not finish.
    #[error("the write was interrupted: {0}")]
    Interrupted(String),
    /// A number below the stored one.
    #[error(
        "refused to lower the stored head from {stored} to {given}, or to an earlier generation"
    )]
    Regression {
        /// The stored number, or a higher one that a failed write may have left on disk.
        stored: u64,
        /// The number that was to be saved.
        given: u64,
    },
    /// The record is of another chain.
    #[error("the state file is of another chain: {}", .stored.difference(.given))]
    OtherChain {
        /// The identity in the file.
        stored: Box<Identity>,
        /// The identity by the node and the settings.
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
    /// Another process has the file open for writing.
    #[error(
        "the state file {path} is in use by another sidecar{holder}; stop that one or use another store_path",
        path = .path.display(),
        holder = .holder.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    Locked {
        /// The state file.
        path: PathBuf,
        /// The process that has it, if its lock file says.
        holder: Option<u32>,
    },
    /// The file cannot be read.
    #[error("the state file {path} cannot be read: {source}; grant read permission, or use another store_path", path = .path.display())]
    Unreadable {
        /// The state file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// There is no file to show or to reset.
    #[error("there is no state file {path} (store_path)", path = .path.display())]
    Absent {
        /// The state file.
        path: PathBuf,
    },
    /// The file can be read, but is not a state file.
    #[error(
        "the state file {path} cannot be used: {source}; {advice}",
        path = .path.display(),
        advice = .source.advice()
    )]
    Corrupt {
        /// The state file.
        path: PathBuf,
        /// What is wrong with it.
        source: FormatError,
    },
    /// The disk has no room left, or the user's quota is used up.
    #[error("there is no room on the disk for the state file in {folder}: {source}; free some, or use another store_path", folder = .folder.display())]
    Full {
        /// The folder.
        folder: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The directory cannot be written.
    #[error("the directory {folder} of the state file cannot be written: {source}; make it writable for this user, or use another store_path", folder = .folder.display())]
    Unwritable {
        /// The folder.
        folder: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A write failed; the stored head is unchanged.
    #[error(
        "the state file {path} could not be saved, {step}: {source}{advice}",
        path = .path.display(),
        advice = if is_full(source) { "; free room on the disk" } else { "" }
    )]
    Write {
        /// The state file.
        path: PathBuf,
        /// The call that failed.
        step: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// Another program wrote the file while it was open here.
    #[error("the state file {path} was changed by another program; stop that program and restart the sidecar", path = .path.display())]
    Changed {
        /// The state file.
        path: PathBuf,
    },
    /// A reset to a number above the stored one.
    #[error("a reset cannot raise the stored head from {stored} to {given}")]
    Raise {
        /// The stored number, or what is left of it in a damaged file.
        stored: u64,
        /// The number that was asked for.
        given: u64,
    },
}

impl StoreError {
    /// A directory in which nothing can be created or written.
    fn of_folder(folder: &Path, source: io::Error) -> Self {
        let folder = folder.to_owned();
        match is_full(&source) {
            true => Self::Full { folder, source },
            false => Self::Unwritable { folder, source },
        }
    }
}

/// Whether room on the disk is all that is missing.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The contents of the file at `path`, without opening it for writing; none if there is no file.
///
/// # Errors
/// [`StoreError`]; its message says what to do.
pub fn read(path: &Path) -> Result<Option<StateFile>, StoreError> {
    place::Place::of(path)?.read()
}

/// Why a file at `path` could not be written, as far as that can be told without writing.
///
/// # Errors
/// [`StoreError`]; its message says what to do.
pub fn check_writable(path: &Path) -> Result<(), StoreError> {
    place::Place::of(path)?.check_writable()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The chain id alone may be known of the node: nothing else is said of it then.
    #[test]
    fn a_file_of_another_chain_names_the_side_that_differs() {
        let stored = Identity { chain_id: 7, genesis_hash: B256::repeat_byte(1), namespace: 7 };
        assert!(stored.check(stored).is_ok());
        for (given, differs) in [
            (Identity { chain_id: 8, ..stored }, "node_execution_rpc"),
            (Identity { chain_id: 8, namespace: 9, ..stored }, "node_execution_rpc"),
            (
                Identity { genesis_hash: B256::repeat_byte(2), ..stored },
                "node_execution_rpc, or node_consensus_rpc (rollup = op), or genesis_block (rollup = nitro)",
            ),
            (Identity { namespace: 9, ..stored }, "namespace"),
        ] {
            let error = stored.check(given).unwrap_err();
            assert!(matches!(error, StoreError::OtherChain { .. }));
            assert!(error.to_string().ends_with(&format!("or correct {differs}")), "{error}");
        }
    }
}
