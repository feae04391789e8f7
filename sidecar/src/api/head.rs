//! `/v1/head`: the head, at once or as soon as it changes.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use finality_core::head::{HeadReport, NoHeadReport, Status};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{ApiState, Phase, error, query::HeadQuery, status::Reason};

/// How long the check of a stored head is waited for.
const CHECK_TIME: Duration = Duration::from_secs(1);

pub(super) async fn head(
    State(state): State<ApiState>,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Response {
    let query = match query {
        Ok(Query(pairs)) => HeadQuery::parse(&pairs),
        Err(rejected) => return error(StatusCode::BAD_REQUEST, "bad_query", &rejected.body_text()),
    };
    let query = match query {
        Ok(query) => query,
        Err(bad) => {
            let message = format!("query parameter {:?} {}", bad.parameter, bad.problem);
            return error(StatusCode::BAD_REQUEST, "bad_query", &message);
        }
    };
    match news(&state, &query).await {
        Some(head) if query.confirm => {
            let (head, is_confirmed) = match &state.confirmations {
                // No other replica publishes the head of a file.
                None => (head, true),
                Some(others) => others.confirm().await.map_or((head, false), |head| (head, true)),
            };
            let confirmed = Some(is_confirmed);
            Json(HeadReport { confirmed, ..HeadReport::clone(&head) }).into_response()
        }
        Some(head) => match state.encoded.of(&head) {
            Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
            Err(problem) => error(StatusCode::INTERNAL_SERVER_ERROR, "internal", &problem),
        },
        None => {
            let Reason { code, text } = state.status.reason();
            let report = NoHeadReport::new(code, text);
            (StatusCode::SERVICE_UNAVAILABLE, Json(report)).into_response()
        }
    }
}

/// The head's JSON, written once for all that wait for it.
#[derive(Debug, Clone, Default)]
pub struct Encoded(Arc<Mutex<Option<Written>>>);

#[derive(Debug)]
struct Written {
    head: Arc<HeadReport>,
    bytes: Bytes,
}

impl Encoded {
    fn of(&self, head: &Arc<HeadReport>) -> Result<Bytes, String> {
        let mut last = self.0.lock();
        if let Some(written) = last.as_ref().filter(|written| Arc::ptr_eq(&written.head, head)) {
            return Ok(written.bytes.clone());
        }
        let bytes: Bytes = serde_json::to_vec(&**head).map_err(|error| error.to_string())?.into();
        *last = Some(Written { head: Arc::clone(head), bytes: bytes.clone() });
        Ok(bytes)
    }
}

/// Gives a stored head the time of its check, which takes milliseconds where the node answers: an
/// Envoy that polled just then would refuse tags until its next poll.
async fn checked(mut head: watch::Receiver<Option<Arc<HeadReport>>>, query: &HeadQuery) {
    let is_known = query.status == Some(Some(Status::NodeUnchecked));
    let unchecked = |head: &HeadReport| head.status == Status::NodeUnchecked;
    let news = head.wait_for(|head| is_known || !head.as_deref().is_some_and(unchecked));
    // Without an answer of the node, it is told as it is.
    let _ = tokio::time::timeout(CHECK_TIME, news).await;
}

/// The head as soon as it is news for the client; otherwise the current one at the end of the
/// wait, when the sidecar closes, or when nothing can change the head any more. Having no head is
/// not news to a client that has one, so it waits for the next.
async fn news(state: &ApiState, query: &HeadQuery) -> Option<Arc<HeadReport>> {
    let mut receiver = state.head.clone();
    let mut phase = state.phase.clone();
    let changed = async {
        let news = receiver.wait_for(|head| match head {
            Some(head) => query.is_news(head.number, head.status),
            None => query.after.is_none() && query.status.is_none(),
        });
        news.await.map(drop)
    };
    let wait = query.wait.min(state.long_poll_limit);
    let _waiting = state.metrics.long_poll();
    tokio::select! {
        biased;
        () = checked(state.head.clone(), query) => {}
        _ = phase.wait_for(|phase| *phase == Phase::Closing) => {}
    }
    tokio::select! {
        biased;
        _ = changed => {}
        () = tokio::time::sleep(wait) => {}
        _ = phase.wait_for(|phase| *phase == Phase::Closing) => {}
    }
    state.head.borrow().clone()
}
