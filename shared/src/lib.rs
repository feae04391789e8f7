//! The pure core of Espresso finality for JSON-RPC.
//!
//! These live here, and nothing that does I/O, asks a host or reads a clock:
//!
//! - [`rewrite`]: finding finality tags in a JSON-RPC body and splicing a block number in their
//!   place;
//! - [`methods`]: where a block may stand in the parameters of each method, and which methods are
//!   never rewritten;
//! - [`head`]: the number that the tags become, its order, and the `/v1/head` wire types on which
//!   filter and sidecar agree;
//! - [`websocket`]: what a client sends over a WebSocket connection, taken apart and put together
//!   again;
//! - [`refusal`]: every reason for which a request is refused, mapped in one place to JSON-RPC
//!   code, HTTP status and metric name; [`jsonrpc`] writes it as an answer.
//!
//! Wrong layer? The Envoy filter is `finality-filter`; verification and the store are
//! `finality-sidecar`.

/// The examples of the README run as those of the documentation do.
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
