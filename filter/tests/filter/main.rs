//! Drives the whole filter natively: a fake host below, Envoy's callbacks above.

// Tests fail by panics, and the fake host is the other side of the ABI.
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, unreachable_pub)]

mod classify;
mod configuration;
mod envoy;
mod failures;
mod host;
mod memory;
mod observing;
mod polling;
mod requests;
mod seam;
mod streaming;
mod strict;
mod verdicts;
mod websocket;

// Its exports are called by name.
use finality_filter as _;
