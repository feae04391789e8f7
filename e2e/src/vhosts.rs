//! The host names under which op-geth serves, by its default `--http.vhosts=localhost`.

use std::net::IpAddr;

use axum::{
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};

/// The refusal of a request for another host.
#[must_use]
pub fn refusal(uri: &Uri, headers: &HeaderMap) -> Option<Response> {
    // Over HTTP/2, the host is part of the URI.
    let header = || headers.get(header::HOST)?.to_str().ok();
    let host = uri.authority().map(|authority| authority.as_str()).or_else(header);
    let host = host.unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let known = name.is_empty() || name == "localhost" || name.parse::<IpAddr>().is_ok();
    (!known).then(|| (StatusCode::FORBIDDEN, "invalid host specified\n").into_response())
}
