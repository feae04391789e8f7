//! What all replicas publish: one head in an engine that they share.
//!
//! An engine compares and swaps one record, and its reads are linearizable. What becomes the head,
//! and what a replica does with it, is decided in `head`.

use alloy_primitives::B256;
use async_trait::async_trait;
use finality_core::head::Source;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Identity, StoreId};
use crate::eth::BlockId;

/// The format of [`SharedHead`] that this version writes.
const FORMAT: u64 = 1;

/// The head that all replicas publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedHead {
    format_version: u64,
    /// How often the head was lowered on purpose. Heads are ordered by generation, then number.
    pub generation: u64,
    /// L2 block number of the head.
    pub number: u64,
    /// Hash of that block; unknown after a reset.
    pub hash: Option<B256>,
    /// The L1 origin of that block.
    pub l1_origin: Option<BlockId>,
    /// Which chain confirmed that block.
    pub source: Source,
    /// The publication that this one follows.
    pub previous: Option<Previous>,
    chain_id: u64,
    genesis_hash: B256,
    namespace: u32,
}

/// A publication, named by its successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Previous {
    /// The revision that the engine gave it.
    pub revision: u64,
    /// The hash of its block.
    pub hash: Option<B256>,
}

impl SharedHead {
    /// A head of a chain, the first of its generation.
    #[must_use]
    pub const fn new(identity: Identity, generation: u64, number: u64, source: Source) -> Self {
        let Identity { chain_id, genesis_hash, namespace } = identity;
        Self {
            format_version: FORMAT,
            generation,
            number,
            hash: None,
            l1_origin: None,
            source,
            previous: None,
            chain_id,
            genesis_hash,
            namespace,
        }
    }

    /// What heads are ordered by.
    #[must_use]
    pub const fn order(&self) -> (u64, u64) {
        (self.generation, self.number)
    }

    /// The chain that it belongs to.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        let Self { chain_id, genesis_hash, namespace, .. } = *self;
        Identity { chain_id, genesis_hash, namespace }
    }

    /// Reads a record of that chain.
    ///
    /// # Errors
    /// [`EngineError::Foreign`].
    pub fn parse(text: &[u8], identity: Identity) -> Result<Self, EngineError> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u64,
        }
        let foreign = |problem: String| EngineError::Foreign(problem);
        let malformed = |error: serde_json::Error| foreign(format!("no head: {error}"));
        let Version { format_version } = serde_json::from_slice(text).map_err(malformed)?;
        if format_version != FORMAT {
            return Err(foreign(format!(
                "a head of format_version {format_version}; run the version that wrote it"
            )));
        }
        let head: Self = serde_json::from_slice(text).map_err(malformed)?;
        if head.identity() == identity {
            Ok(head)
        } else {
            Err(foreign(format!("the head of {}, not of {identity}", head.identity())))
        }
    }
}

/// A head in the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The revision at which it was written.
    pub revision: u64,
    /// What was written.
    pub head: SharedHead,
}

/// One moment of an engine. Within one engine, a moment has a higher revision than every earlier
/// one in which anything was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moment {
    /// Which engine; another one has lost what was written.
    pub engine: u64,
    /// How much was written.
    pub revision: u64,
}

impl Moment {
    /// Whether an engine that was at this moment may have written up to `earlier` before.
    #[must_use]
    pub const fn follows(self, earlier: Self) -> bool {
        self.engine == earlier.engine && self.revision >= earlier.revision
    }

    /// What the engine is known by.
    #[must_use]
    pub fn store(self) -> String {
        format!("{:016x}", self.engine)
    }
}

/// What an engine answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// When.
    pub at: Moment,
    /// The head then.
    pub published: Option<Published>,
}

/// The outcome of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advance {
    /// It is what the engine has now.
    Done(Reading),
    /// Another head was published meanwhile.
    Lost(Reading),
}

/// What one replica has verified, for as long as it lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Which replica: the id of its state file.
    pub replica: StoreId,
    /// The newest block that it has verified.
    pub number: u64,
    /// Hash of that block.
    pub hash: B256,
    /// The L1 origin of that block.
    pub l1_origin: Option<BlockId>,
    /// Which chain confirmed it.
    pub source: Source,
}

/// How many replicas must have verified a block before it is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quorum {
    /// The first one that has verified it publishes it.
    One,
    /// As many.
    Of(usize),
    /// All that live.
    All,
}

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A head was published.
    Head(Box<Reading>),
    /// A replica has reported, or lives no more.
    Reports,
}

/// Why an engine gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EngineError {
    /// No member answered in time. A write may have happened or may still happen.
    #[error("no member answers: {0}")]
    Silent(String),
    /// A member refuses: credentials, permissions, or a certificate.
    #[error("{0}")]
    Refused(String),
    /// What is stored is not ours to touch.
    #[error("the key {0} (store)")]
    Foreign(String),
}

/// Readings as they happen, from a revision on.
#[async_trait]
pub trait Watch: Send {
    /// What happens next.
    ///
    /// # Errors
    /// The watch is over: what follows is known from [`Engine::load`].
    async fn next(&mut self) -> Result<News, EngineError>;
}

/// Keeps one head for all replicas.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// The head as of a moment after the call: every write that was acknowledged before is in it.
    ///
    /// # Errors
    /// [`EngineError`].
    async fn load(&self) -> Result<Reading, EngineError>;

    /// Publishes a head, if the one that was written at revision `seen` is still there, or none.
    ///
    /// # Errors
    /// [`EngineError`]; whether it was written is then unknown.
    async fn advance(&self, seen: Option<u64>, head: &SharedHead) -> Result<Advance, EngineError>;

    /// Follows what is published after a revision, and what is reported.
    ///
    /// # Errors
    /// [`EngineError`].
    async fn watch(&self, after: u64) -> Result<Box<dyn Watch>, EngineError>;

    /// Tells the other replicas what this one has verified. It is to be told again every second or
    /// so: they forget it ten seconds after the last time.
    ///
    /// # Errors
    /// [`EngineError`].
    async fn report(&self, report: &Report) -> Result<(), EngineError>;

    /// What the replicas that live have verified, as of a moment after the call.
    ///
    /// # Errors
    /// [`EngineError`].
    async fn reports(&self) -> Result<Vec<Report>, EngineError>;

    /// Takes back what a replica has reported here, at once.
    ///
    /// # Errors
    /// [`EngineError`].
    async fn withdraw(&self, replica: StoreId) -> Result<(), EngineError>;
}
