//! Liveness and readiness.
//!
//! Liveness checks only the process and its verifier: a probe that failed while the head stalls
//! would restart the sidecar in a loop while HotShot is down. Age affects readiness only if
//! configured, since an unready sidecar takes its whole pod out of service, untagged requests
//! included.

use axum::{
    Json,
    extract::{RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use finality_core::head::{HeadReport, Status};
use jiff::Timestamp;
use serde::Serialize;

use super::{ApiState, Phase};

/// The paths of probes.
pub(super) const PATHS: [&str; 3] = ["/livez", "/readyz", "/healthz"];

/// One condition of readiness.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    /// What is wrong, if something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Check {
    fn new(name: &'static str, ok: bool, reason: impl FnOnce() -> String) -> Self {
        Self { name, ok, reason: (!ok).then(reason) }
    }
}

#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    /// All checks with `?verbose`, else those that fail.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checks: Vec<Check>,
}

fn age_check(state: &ApiState, head: Option<&HeadReport>) -> Option<Check> {
    let limit = state.ready_max_age?;
    let updated = head.and_then(|head| head.updated_at.parse::<Timestamp>().ok());
    // A head from the future, after a clock went back, is not old.
    let age = updated.map(|updated| Timestamp::now().duration_since(updated).unsigned_abs());
    let future = updated.is_some_and(|updated| updated > Timestamp::now());
    let ok = future || age.is_some_and(|age| age <= limit);
    Some(Check::new("age", ok, || match age {
        Some(age) => format!(
            "the head is {}s old, ready_max_age is {}",
            age.as_secs(),
            humantime::format_duration(limit)
        ),
        None => "the age of the head is unknown".into(),
    }))
}

fn unchecked(head: &HeadReport) -> bool {
    head.status == Status::NodeUnchecked
}

fn checks(state: &ApiState) -> Vec<Check> {
    let head = state.head.borrow().clone();
    let mut checks = vec![
        Check::new("head", head.is_some(), || state.status.reason().text),
        Check::new("node", head.as_ref().is_none_or(|head| !unchecked(head)), || {
            "the node has not been asked about the stored head yet".into()
        }),
        Check::new(
            "cluster",
            head.as_ref().is_none_or(|head| head.status != Status::CutOff),
            || "what other replicas publish is not known".into(),
        ),
        Check::new("store", state.status.store_writable(), || {
            "the last write to the state file failed".into()
        }),
        Check::new("serving", *state.phase.borrow() == Phase::Serving, || {
            "the sidecar is shutting down".into()
        }),
    ];
    checks.extend(age_check(state, head.as_deref()));
    checks
}

pub(super) async fn readyz(State(state): State<ApiState>, RawQuery(query): RawQuery) -> Response {
    let verbose =
        query.unwrap_or_default().split('&').any(|pair| pair.split('=').next() == Some("verbose"));
    let mut checks = checks(&state);
    let ready = checks.iter().all(|check| check.ok);
    if !verbose {
        checks.retain(|check| !check.ok);
    }
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(Readiness { ready, checks })).into_response()
}

pub(super) async fn livez(State(state): State<ApiState>) -> Response {
    if state.status.verifier_alive() {
        Json(serde_json::json!({ "live": true })).into_response()
    } else {
        let body = serde_json::json!({ "live": false, "reason": "the verifier has stopped" });
        (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
    }
}
