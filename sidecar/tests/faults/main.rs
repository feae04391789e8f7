//! The sidecar as a process, under attack and killed again and again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failing test may panic"
)]

mod fakes;
mod hostile_feed;
mod kills;
mod process;
