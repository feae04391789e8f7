//! The pure core of Espresso finality for JSON-RPC.
//!
//! Three things live here, and nothing that does I/O, asks a host or reads a clock:
//!
//! - [`rewrite`]: finding finality tags in a JSON-RPC body and splicing a block number in their place;
//! - [`head`]: the number that the tags become, its order, and the `/v1/head` wire types on which
//!   filter and sidecar agree;
//! - [`refusal`]: every reason for which a request is refused, mapped in one place to JSON-RPC code,
//!   HTTP status and metric name.
//!
//! Wrong layer? The Envoy filter is `finality-filter`; verification and the store are `finality-sidecar`.

pub mod build;
pub mod head;
pub mod headers;
pub mod refusal;
