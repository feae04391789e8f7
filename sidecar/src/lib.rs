//! The finality sidecar: it earns the head by checking a rollup's full node, block by block,
//! against what Espresso's HotShot confirmed, and serves it to the filter.
//!
//! One folder per concern:
//!
//! - [`config`]: every setting, its default and its sources;
//! - [`store`]: the durable head, which never falls;
//! - [`api`]: the HTTP API, `/v1/head` first;
//! - [`telemetry`]: log and metrics;
//! - [`cli`]: the commands.

// Suites that other packages run too name this one as they do.
#[cfg(test)]
extern crate self as finality_sidecar;

pub mod api;
pub mod batchers;
pub mod cli;
pub mod config;
pub mod espresso;
pub mod eth;
pub mod head;
pub mod l1;
pub mod node;
pub mod redact;
pub mod rollup;
pub mod store;
pub mod telemetry;
pub mod upstream;
pub mod verifier;
