//! The proxy-wasm filter: replaces finality tags in JSON-RPC requests inside Envoy.
//!
//! Envoy loads this crate as a module, one VM per worker. For each request, [`request`] decides
//! whether its body is inspected, holds it or lets it pass by [`streaming`], and splices the head's
//! number in place of the tags. The head comes from [`head_cache`], an entry of shared data that
//! all workers read; one worker at a time, chosen by [`lease`], keeps it current with the long
//! polls of [`poller`]. Both the poller and, where `freshness` is `strict`, each tagged request ask
//! by [`sidecar`].
//!
//! The way in is [`callbacks`], the way out is [`host`]: the ABI itself, without the public SDK,
//! which panics where a host answers in an unexpected way. Nothing here may panic: a panic kills
//! the VM of its worker.
//!
//! Wrong layer? What a tag is, the head's wire form and the refusals live in `finality-core`;
//! how a head is earned, in `finality-sidecar`.

pub mod callbacks;
pub mod config;
pub mod head_cache;
pub mod host;
pub mod lease;
pub mod metrics;
pub mod plugin;
pub mod poller;
pub mod request;
pub mod sidecar;
pub mod streaming;
pub mod websocket;
