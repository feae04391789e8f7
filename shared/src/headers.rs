//! Names of the HTTP headers that the filter and the sidecar use, in lower case as HTTP/2 requires
//! (RFC 9113, section 8.2).

/// The filter sets it, with its version as the value, on responses to requests that carry
/// [`SIDECAR`]. A sidecar that sees it is reading its own node through the filter.
pub const FILTER: &str = "x-finality-filter";

/// The sidecar sets it, with its version as the value, on every response of its HTTP API, so that
/// clients can tell its own 503 from a proxy's, and on every request to its node (see [`FILTER`]).
pub const SIDECAR: &str = "x-finality-sidecar";

/// Default name of the response header that holds the block number, in decimal, that replaced the
/// tags of a request.
pub const HEAD: &str = "x-finality-head";
