//! HTTP header names that filter and sidecar exchange. All lower case, as HTTP/2 wants them.

/// Set by the filter on the answers to requests that bear [`SIDECAR`]: a sidecar that sees it is
/// reading its node through the filter.
pub const FILTER: &str = "x-finality-filter";

/// Set by the sidecar on every answer of its HTTP API, so that a client can tell the sidecar's own
/// 503 from one that a proxy made up; and on every request to its node (see [`FILTER`]).
pub const SIDECAR: &str = "x-finality-sidecar";

/// Response header with the block number, in decimal, that the tags of a request became.
pub const HEAD: &str = "x-finality-head";
