//! Answers that no service gives: pages, and JSON that is too long or too deep.

use std::convert::Infallible;

use axum::{
    body::{Body, Bytes},
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};
use futures::stream;

/// A page with that HTTP status.
pub(crate) fn page(status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, Html("<html><title>gateway</title></html>")).into_response()
}

/// 60 MiB of an array of arrays.
pub(crate) fn huge() -> Response {
    let chunk = Bytes::from("[],".repeat(20 * 1024));
    let chunks = std::iter::once("[".into()).chain(std::iter::repeat_n(chunk, 1024));
    let chunks = stream::iter(chunks.map(Ok::<Bytes, Infallible>));
    Body::from_stream(chunks).into_response()
}

/// A million levels of arrays.
pub(crate) fn nested() -> Response {
    "[".repeat(1_000_000).into_response()
}
