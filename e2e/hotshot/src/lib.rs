//! HotShot's blocks as its nodes make them: payloads, dispersal, headers, proofs and the block
//! tree, for fixtures.
//!
//! It is written from the format, apart from what reads it in the product, so that one checks the
//! other. No I/O: [`chain::Chain`] makes blocks, a fixture serves them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic with its place"
)]

pub mod block;
pub mod block_tree;
pub mod chain;
pub mod dispersal;
mod field;
pub mod header;
pub mod payload;
pub mod rescue;
pub mod text;
pub mod tree;

#[cfg(test)]
mod vectors;
