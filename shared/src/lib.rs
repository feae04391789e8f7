//! The pure core of Espresso finality for JSON-RPC: no I/O, no host calls, no clock.
//!
//! - [`rewrite`] finds finality tags in a JSON-RPC body and replaces them with a block number.
//! - [`methods`] knows where a block may appear in the parameters of each method, and which methods
//!   are never rewritten.
//! - [`head`] is the number that tags become, its status, and the `/v1/head` wire types shared by
//!   the filter and the sidecar.
//! - [`websocket`] splits what a WebSocket client sends into messages and frames them again.
//! - [`refusal`] lists every reason to refuse a request, with its JSON-RPC code, HTTP status and
//!   metric label; [`jsonrpc`] writes the answers.
//!
//! Nothing here panics, whatever bytes it is given.
//!
//! Wrong layer? The Envoy filter is `finality-filter`; verification and the store are in
//! `finality-sidecar`.

#![warn(missing_docs)]

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod build;
pub mod head;
pub mod headers;
pub mod jsonrpc;
pub mod methods;
pub mod refusal;
pub mod rewrite;
pub mod websocket;
