//! A devnet as a library: a real Envoy with the filter, the real sidecar, Anvil as L1, as sequencer
//! and as full node, and fixtures for op-node, HotShot's query service and the batcher.
//!
//! ```text
//! client ─▶ Envoy ─▶ op_node (execution port) ─▶ full node (Anvil)
//!             │             ▲                        ▲ follows
//!             ▼             │                        │
//!          sidecar ─────────┴─▶ hotshot ◀─ batcher ◀─ sequencer (Anvil) ─▶ L1 (Anvil)
//! ```
//!
//! Where only the filter matters, [`edge::Edge`] has the same Envoy between a node that records
//! what it gets and a sidecar that answers what the test wants.
//!
//! Nothing happens by itself: a test produces blocks and waits for what must follow. Only the demo
//! has tickers. Everything listens on 127.0.0.1 and stops with the [`devnet::Devnet`], also when
//! the process is killed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic with its place"
)]

pub mod accounts;
pub mod anvil;
pub mod batch;
pub mod batcher;
pub mod block;
pub mod browser;
pub mod builder;
pub mod client;
pub mod contracts;
pub mod demo;
pub mod devnet;
pub mod echo;
pub mod edge;
pub mod emulated;
pub mod envoy;
pub mod etcd;
mod excess;
pub mod fake_sidecar;
pub mod history;
pub mod hotshot;
pub mod invariants;
pub mod l1;
pub mod l1_info;
pub mod link;
pub mod new_heads;
pub mod nitro;
pub mod ports;
pub mod process;
pub mod real;
pub mod recording;
pub mod rollup;
pub mod sidecar;
pub mod signer;
pub mod tools;
pub mod vhosts;
pub mod wait;
pub mod websocket;
