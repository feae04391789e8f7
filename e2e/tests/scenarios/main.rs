//! The whole path on real programs, with the two guarantees as clients see them through Envoy. Run
//! by `cargo xtask e2e`, which sets up what is needed; `cargo xtask e2e s03` runs one scenario.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic with its place"
)]

mod advance;
mod chaos;
mod compatibility;
mod divergence;
mod drills;
mod edge_bodies;
mod edge_configuration;
mod edge_jsonrpsee;
mod edge_limits;
mod edge_local_replies;
mod edge_memory;
mod edge_mtls;
mod edge_node;
mod edge_observing;
mod edge_sidecar;
mod edge_streaming;
mod edge_trap;
mod edge_watching;
mod edge_websocket;
mod envoy_restart;
mod fixtures;
mod freshness;
mod kill;
mod l1_reorg;
mod malicious_feed;
mod mixed_up;
mod nitro;
mod nitro_fixtures;
mod page;
mod proofs;
mod proofs_kills;
mod real;
mod replicas;
mod rotation;
mod sequencer_reorg;
mod stall;
mod tags;
