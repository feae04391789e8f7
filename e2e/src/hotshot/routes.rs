//! The routes of the query service, with and without a version in front.

use axum::{
    Router,
    extract::{Path, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};

use super::{Fault, HEADER_RANGE_LIMIT, Proven, RANGE_LIMIT, Shared, lies::Answers, stream};
use crate::excess::{huge, nested, page};

pub(super) fn router(state: Shared) -> Router {
    let api = Router::new()
        .route("/status/block-height", get(height))
        .route("/availability/limits", get(limits))
        .route("/availability/block/{from}/{until}/namespace/{namespace}", get(namespace_range))
        .route("/availability/block/{height}/namespace/{namespace}", get(namespace))
        .route("/availability/header/{height}", get(header_at))
        .route("/availability/header/{from}/{until}", get(header_range))
        .route("/availability/vid/common/{height}", get(vid_common))
        .route("/availability/incorrect-encoding-proof/{height}/{namespace}", get(wrong_encoding))
        .route(
            "/availability/incorrect-encoding/{namespace}/block/{height}",
            get(wrong_encoding_by_namespace),
        )
        .route("/block-state/{leaves}/{height}", get(path))
        .route("/availability/stream/headers/{from}", get(stream::headers))
        .route("/healthcheck", get(async || axum::Json(json!({"status": "Available"}))))
        .layer(middleware::from_fn_with_state(state.clone(), fault));
    Router::new().merge(api.clone()).nest("/v0", api.clone()).nest("/v1", api).with_state(state)
}

/// Counts requests, and answers in place of the service when it should fail altogether.
async fn fault(State(state): State<Shared>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let route = [
        ("block-height", "height"),
        ("/limits", "limits"),
        ("/incorrect-encoding", "wrong-encoding"),
        ("/vid/", "vid"),
        ("/block-state/", "path"),
        ("/namespace/", "namespace"),
        ("/header/", "header"),
        ("/stream/", "stream"),
    ]
    .into_iter()
    .find_map(|(part, name)| path.contains(part).then_some(name))
    .unwrap_or("other");
    let fault = {
        let service = &mut state.lock().services[state.service];
        *service.requests.entry(route).or_default() += 1;
        service.fault
    };
    match fault {
        Some(Fault::Status(code)) => {
            (StatusCode::from_u16(code).unwrap(), "injected fault").into_response()
        }
        Some(Fault::TooManyRequests(seconds)) => {
            let after = [(header::RETRY_AFTER, seconds.to_string())];
            (StatusCode::TOO_MANY_REQUESTS, after, "injected fault").into_response()
        }
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Page(code)) => page(code),
        Some(Fault::Huge) => huge(),
        Some(Fault::Nested) => nested(),
        _ => next.run(request).await,
    }
}

async fn height(State(shared): State<Shared>) -> Response {
    let height = match shared.fault() {
        Some(Fault::Height(height)) => height,
        _ => shared.lock().chain.height(),
    };
    axum::Json(height).into_response()
}

async fn limits() -> Response {
    let limits = json!({
        "small_object_range_limit": HEADER_RANGE_LIMIT, "large_object_range_limit": RANGE_LIMIT,
    });
    axum::Json(limits).into_response()
}

async fn namespace_range(
    State(state): State<Shared>,
    Path((from, until, namespace)): Path<(u64, u64, u32)>,
) -> Response {
    let fault = state.fault();
    let element = |answers: Answers<'_>, height| answers.namespace(height, namespace);
    let mut elements = match range(&state, from, until, RANGE_LIMIT, element) {
        Ok(elements) => elements,
        Err(refusal) => return *refusal,
    };
    let text = |elements: &[Value]| serde_json::to_string(elements).unwrap();
    let body = match fault {
        Some(Fault::ShortArray) => {
            elements.pop();
            text(&elements)
        }
        Some(Fault::LongArray) => {
            elements.push(json!({"proof": null, "transactions": []}));
            text(&elements)
        }
        Some(Fault::EmptyArray) => "[]".into(),
        Some(Fault::NotJson) => "<html>gateway</html>".into(),
        Some(Fault::CutOff) => {
            let mut text = text(&elements);
            text.truncate(text.len() / 2);
            text
        }
        Some(Fault::WrongNamespace | Fault::GarbageBase64) => {
            for transaction in elements
                .iter_mut()
                .flat_map(|element| element["transactions"].as_array_mut().into_iter().flatten())
            {
                if fault == Some(Fault::GarbageBase64) {
                    transaction["payload"] = json!("not base64!");
                } else {
                    transaction["namespace"] = json!(namespace ^ 1);
                }
            }
            text(&elements)
        }
        _ => text(&elements),
    };
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn namespace(
    State(state): State<Shared>,
    Path((height, namespace)): Path<(u64, u32)>,
) -> Response {
    let inline = state.proven() == Proven::Inline;
    one(&state, height, |answers, height| {
        let mut answer = answers.namespace(height, namespace);
        if inline && answer["proof"].is_null() {
            answer["proof"] = json!(answers.wrong_encoding(height, namespace));
        }
        Some(answer)
    })
}

async fn wrong_encoding(
    State(state): State<Shared>,
    Path((height, namespace)): Path<(u64, u32)>,
) -> Response {
    wrong_encoding_proof(&state, Proven::Apart, height, namespace)
}

async fn wrong_encoding_by_namespace(
    State(state): State<Shared>,
    Path((namespace, height)): Path<(u32, u64)>,
) -> Response {
    wrong_encoding_proof(&state, Proven::ApartByNamespace, height, namespace)
}

/// The proof, if this service has it at that route and the namespace is wrongly encoded.
fn wrong_encoding_proof(state: &Shared, route: Proven, height: u64, namespace: u32) -> Response {
    if state.proven() != route {
        return StatusCode::NOT_FOUND.into_response();
    }
    one(state, height, |answers, height| answers.wrong_encoding(height, namespace))
}

async fn header_at(State(state): State<Shared>, Path(height): Path<u64>) -> Response {
    one(&state, height, |answers, height| Some(answers.header(height)))
}

async fn header_range(
    State(state): State<Shared>,
    Path((from, until)): Path<(u64, u64)>,
) -> Response {
    let header = |answers: Answers<'_>, height| answers.header(height);
    match range(&state, from, until, HEADER_RANGE_LIMIT, header) {
        Ok(headers) => axum::Json(headers).into_response(),
        Err(refusal) => *refusal,
    }
}

async fn vid_common(State(state): State<Shared>, Path(height): Path<u64>) -> Response {
    one(&state, height, |answers, height| Some(answers.vid_common(height)))
}

async fn path(State(state): State<Shared>, Path((leaves, height)): Path<(u64, u64)>) -> Response {
    one(&state, leaves, |answers, leaves| (height < leaves).then(|| answers.path(leaves, height)))
}

/// The value at one height, or the refusal that the service gives.
fn one(state: &Shared, height: u64, value: impl Fn(Answers<'_>, u64) -> Option<Value>) -> Response {
    match range(state, height, height.saturating_add(1), 1, value).map(|mut values| values.pop()) {
        Ok(Some(Some(value))) => axum::Json(value).into_response(),
        Ok(_) => (StatusCode::NOT_FOUND, "there is none").into_response(),
        Err(refusal) => *refusal,
    }
}

/// One value per block of `[from, until)`, or the refusal that the service gives.
fn range<T>(
    shared: &Shared,
    from: u64,
    until: u64,
    limit: u64,
    value: impl Fn(Answers<'_>, u64) -> T,
) -> Result<Vec<T>, Box<Response>> {
    let refuse = |status: StatusCode, what: String| Box::new((status, what).into_response());
    if until.saturating_sub(from) > limit {
        let what = format!("range {from}..{until} exceeds the limit of {limit}");
        return Err(refuse(StatusCode::BAD_REQUEST, what));
    }
    let late = match shared.fault() {
        Some(Fault::PayloadsLate(blocks)) => blocks,
        _ => 0,
    };
    let state = shared.lock();
    let answers = state.answers(shared.service);
    let available = answers.chain.height().saturating_sub(late);
    let missing = if from < state.pruned_below { from } else { from.max(available) };
    if (until > available || from < state.pruned_below) && from < until {
        return Err(refuse(StatusCode::NOT_FOUND, format!("block {missing} is not available")));
    }
    let (from, until) = (from.min(available), until.min(available));
    Ok((from..until).map(|height| value(answers, height)).collect())
}
