//! The rewriter over generated bodies: against a reference, and under any cut of the bytes.
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
