//! The proxy-wasm filter: replaces finality tags in JSON-RPC requests inside Envoy.
//!
//! Envoy loads this crate as a module, one VM per worker. [`classify`] decides by a request's
//! headers whether its body is inspected; [`request`] holds the body, or rewrites it while it
//! passes ([`streaming`]), and puts the head's number in place of the tags; with `mode: observe`
//! it only reads what passes ([`observing`]). [`memory`] limits what all requests hold together.
//! The head comes from [`head_cache`], an entry of shared data that all workers read. One worker
//! at a time, chosen by [`lease`], keeps it current with the long polls of [`poller`]. The poller
//! and, with `freshness: strict`, each tagged request ask through [`sidecar`].
//!
//! Envoy calls [`contexts`], and is called through [`host`]: only these two use the proxy-wasm
//! SDK. Nothing here may panic: a panic kills the VM of its worker.
//!
//! Wrong layer? What a tag is, the head's wire form and the refusals live in `finality-core`;
//! how a head is verified, in `finality-sidecar`.

pub mod classify;
pub mod config;
pub mod contexts;
pub mod fnv;
pub mod head_cache;
pub mod host;
pub mod lease;
pub mod memory;
pub mod metrics;
pub mod observing;
pub mod plugin;
pub mod poller;
pub mod request;
pub mod sidecar;
pub mod streaming;
pub mod websocket;
