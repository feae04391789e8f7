//! Checks what a HotShot query service says, so that it need not be trusted: no I/O, no clock.
//!
//! - [`Header`] reads a header and computes its commitment; [`NamespaceTable`] is what it says of
//!   the block's payload.
//! - [`Answer`] is what a service says of a namespace in a block, with its proof;
//!   [`NamespaceBlock`] the payloads in it.
//! - [`Chain`] holds headers that follow each other, and [`BlockTree`] the tree over them;
//!   [`BlockPath`] leads from a header to the root of a later tree.
//! - [`Checkpoint`] is the light client's state on L1, under which all of it must be.
//! - [`commitment`] computes the commitments by which services find things; [`listed`] reads
//!   answers that are believed.
//!
//! Every step of a check has its own error, and every error a [`Reason`].
//!
//! Nothing here panics, whatever bytes it is given, nor allocates more than a few times as many.

#![warn(missing_docs)]

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod commitment;
pub mod listed;

mod answer;
#[cfg(feature = "avidm")]
mod avidm;
mod avidm_gf2;
mod base64;
mod block_path;
mod block_tree;
mod bounded;
mod chain;
mod checkpoint;
mod committee;
mod erasure;
mod header;
mod merkle;
mod namespace;
mod reason;
mod rescue;
mod scheme;
mod table;
mod tagged_base64;
#[cfg(test)]
mod tests;
mod wrong_encoding;

pub use self::base64::decode_base64;
pub use answer::{Answer, Evidence, NamespaceError};
pub use block_path::{BlockPath, BlockPathError};
pub use block_tree::{BlockTree, BlockTreeRoot};
pub use chain::{Chain, ChainError, Link};
pub use checkpoint::{Checkpoint, CheckpointError};
pub use committee::{CommitteeSizeError, ProvenSize, read_committee_size};
pub use header::{Header, HeaderError};
pub use merkle::PathError;
pub use namespace::NamespaceBlock;
pub use reason::Reason;
pub use scheme::{UnsupportedVersion, Version};
pub use table::{NamespaceTable, TableError};
pub use tagged_base64::{TaggedBase64, TaggedBase64Error};
pub use wrong_encoding::WrongEncodingError;
