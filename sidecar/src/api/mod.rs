//! The HTTP API: the head for the filter, and status for operators and probes.
//!
//! | path | content |
//! | --- | --- |
//! | `/v1/head` | the head, with long poll |
//! | `/v1/status` | everything an operator needs when the head stalls |
//! | `/v1/events` | the same as server-sent events |
//! | `/v1/history` | positions of the head and the node over the last hour |
//! | `/` | the status page, which shows these |
//! | `/livez` | whether the verifier is running |
//! | `/readyz`, `/healthz` | there is a head, the store is writable, not shutting down; `?verbose` lists each check |
//! | `/metrics` | metrics in OpenMetrics text |
//!
//! Every response carries the marker header [`headers::SIDECAR`]; every error is a JSON object with
//! `error`.

pub mod events;
mod head;
mod health;
pub mod history;
pub mod hosts;
mod page;
mod places;
mod query;
pub mod server;
pub mod status;

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use finality_core::{
    build,
    head::{HEAD_PATH, HeadReport},
    headers,
};
use serde_json::json;
use tokio::sync::watch;
use tracing::{Instrument, field};

use crate::{
    head::Confirmations,
    telemetry::{Metrics, traces},
};
use events::Streams;
use history::History;
use hosts::Hosts;
use status::StatusSource;

pub use head::Encoded;

/// The phase of a shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// No shutdown.
    Serving,
    /// No longer ready, but every request is still answered, long polls too.
    Draining,
    /// No new connections; long polls are answered at once.
    Closing,
}

/// What the handlers share.
#[derive(Clone)]
pub struct ApiState {
    pub head: watch::Receiver<Option<Arc<HeadReport>>>,
    /// Its JSON.
    pub encoded: Encoded,
    /// Confirms that no other replica has published a higher head; none if there are no others.
    pub confirmations: Option<Confirmations>,
    /// Everything else that the API shows.
    pub status: Arc<dyn StatusSource>,
    /// Positions over the last hour.
    pub history: Arc<History>,
    /// Limits `/v1/events`.
    pub streams: Streams,
    /// The names under which it answers.
    pub hosts: Hosts,
    /// Counts requests.
    pub metrics: Metrics,
    /// The phase of the shutdown.
    pub phase: watch::Receiver<Phase>,
    /// Longest `wait` of `/v1/head`.
    pub long_poll_limit: Duration,
    /// Age of the head above which `/readyz` fails, if any.
    pub ready_max_age: Option<Duration>,
}

impl fmt::Debug for ApiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiState").finish_non_exhaustive()
    }
}

/// The known paths; they are labels of a metric.
const PATHS: [&str; 9] = [
    HEAD_PATH,
    "/v1/status",
    "/v1/events",
    "/v1/history",
    "/livez",
    "/readyz",
    "/healthz",
    "/metrics",
    page::PATH,
];

/// The routes of the API.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .route(HEAD_PATH, get(head::head))
        .route("/v1/status", get(report_status))
        .route("/v1/events", get(events::events))
        .route("/v1/history", get(report_history))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/healthz", get(health::readyz))
        .route("/metrics", get(metrics))
        .merge(page::routes())
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn(refuse_excess))
        .layer(middleware::from_fn_with_state(state.hosts.clone(), refuse_other_hosts))
        .layer(middleware::from_fn_with_state(state.metrics.clone(), mark_and_count))
        .with_state(state)
}

/// An error as JSON.
fn error(code: StatusCode, error: &str, reason: &str) -> Response {
    (code, Json(json!({ "error": error, "reason": reason }))).into_response()
}

async fn report_status(State(state): State<ApiState>) -> Response {
    Json(state.status.status()).into_response()
}

async fn report_history(State(state): State<ApiState>) -> Response {
    let interval = history::INTERVAL.as_secs();
    Json(json!({ "interval_seconds": interval, "samples": state.history.snapshot() }))
        .into_response()
}

async fn metrics(State(state): State<ApiState>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, OPEN_METRICS)], state.metrics.render()).into_response()
}

async fn no_such_path() -> Response {
    let reason = format!("unknown path; the paths are {}", PATHS.join(", "));
    error(StatusCode::NOT_FOUND, "not_found", &reason)
}

async fn no_such_method() -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "use GET or HEAD")
}

async fn refuse_other_hosts(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    if hosts.allow(request.uri(), request.headers()) {
        return next.run(request).await;
    }
    let reason = "the host of the request is neither an IP address, localhost nor in allowed_hosts";
    error(StatusCode::MISDIRECTED_REQUEST, "host_not_allowed", reason)
}

/// Answers only probes on a connection beyond the limit.
async fn refuse_excess(request: Request, next: Next) -> Response {
    let is_excess = request.extensions().get::<server::Excess>().is_some();
    if is_excess && !health::PATHS.contains(&request.uri().path()) {
        let reason = "max_connections connections are open, and all are busy";
        let answer = error(StatusCode::SERVICE_UNAVAILABLE, "too_many_connections", reason);
        return ([(header::RETRY_AFTER, HeaderValue::from_static("1"))], answer).into_response();
    }
    next.run(request).await
}

/// Marks and counts every response.
async fn mark_and_count(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let path = match PATHS.iter().find(|known| **known == path) {
        Some(known) => known,
        None if path.starts_with(page::PARTS) => page::PATH,
        None => "other",
    };
    // Probes, scrapes and the page would make up most traces.
    let mut answer = match path {
        path if !path.starts_with("/v1/") => next.run(request).await,
        path => {
            // A client may make up a method, so only known ones become span names.
            let method = match *request.method() {
                Method::GET => "GET",
                Method::HEAD => "HEAD",
                _ => "HTTP",
            };
            let span = tracing::debug_span!(
                "request",
                otel.name = format!("{method} {path}"),
                otel.kind = "server",
                http.response.status_code = field::Empty,
            );
            traces::continue_trace(&span, request.headers());
            let answer = next.run(request).instrument(span.clone()).await;
            span.record("http.response.status_code", answer.status().as_u16());
            answer
        }
    };
    let marker = HeaderName::from_static(headers::SIDECAR);
    answer.headers_mut().insert(marker, HeaderValue::from_static(build::VERSION));
    // A cached head could be stale.
    let no_store = HeaderValue::from_static("no-store");
    answer.headers_mut().insert(header::CACHE_CONTROL, no_store);
    metrics.http_request(path, answer.status().as_u16());
    answer
}
