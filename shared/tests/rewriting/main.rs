//! The rewriter on generated bodies: against a reference, and with the bytes cut into chunks.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod generator;
mod properties;
mod reference;
mod streaming;
