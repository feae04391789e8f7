//! The sidecar from outside: the program, its API over real sockets, and its clients.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failing test may panic"
)]

mod audit;
mod check;
mod cli;
mod corpus;
mod decode;
mod hostile_feed;
mod http_api;
mod kills;
mod lifecycle;
mod memory;
mod migration;
mod page;
mod prove;
mod published;
mod scarcity;
mod secrets;
mod streams;
mod support;
mod traces;
