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

use super::{Fault, HotshotBlock, RANGE_LIMIT, Shared, stream};
use crate::excess::{huge, nested, page};

pub(super) fn router(state: Shared) -> Router {
    let api = Router::new()
        .route("/status/block-height", get(height))
        .route("/availability/limits", get(limits))
        .route("/availability/block/{from}/{until}/namespace/{namespace}", get(namespace_range))
        .route("/availability/block/{height}/namespace/{namespace}", get(namespace))
        .route("/availability/header/{height}", get(header_at))
        .route("/availability/header/{from}/{until}", get(header_range))
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
        ("/namespace/", "namespace"),
        ("/header/", "header"),
    ]
    .into_iter()
    .find_map(|(part, name)| path.contains(part).then_some(name))
    .unwrap_or("other");
    let fault = {
        let mut state = state.lock();
        *state.requests.entry(route).or_default() += 1;
        state.fault
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

async fn height(State(state): State<Shared>) -> Response {
    let state = state.lock();
    let height = match state.fault {
        Some(Fault::Height(height)) => height,
        _ => state.blocks.len() as u64,
    };
    axum::Json(height).into_response()
}

async fn limits() -> Response {
    let limits = json!({
        "small_object_range_limit": 500, "large_object_range_limit": RANGE_LIMIT,
    });
    axum::Json(limits).into_response()
}

async fn namespace_range(
    State(state): State<Shared>,
    Path((from, until, namespace)): Path<(u64, u64, u32)>,
) -> Response {
    let fault = state.lock().fault;
    let mut elements = match range(&state, from, until, |_, block| block.namespace(namespace)) {
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
    let until = height.saturating_add(1);
    match range(&state, height, until, |_, block| block.namespace(namespace)) {
        Ok(mut elements) => axum::Json(elements.pop()).into_response(),
        Err(refusal) => *refusal,
    }
}

async fn header_at(State(state): State<Shared>, Path(height): Path<u64>) -> Response {
    match range(&state, height, height.saturating_add(1), |height, block| block.header(height)) {
        Ok(mut headers) => axum::Json(headers.pop()).into_response(),
        Err(refusal) => *refusal,
    }
}

async fn header_range(
    State(state): State<Shared>,
    Path((from, until)): Path<(u64, u64)>,
) -> Response {
    match range(&state, from, until, |height, block| block.header(height)) {
        Ok(headers) => axum::Json(headers).into_response(),
        Err(refusal) => *refusal,
    }
}

/// One value per block of `[from, until)`, or the refusal that the service gives.
fn range(
    state: &Shared,
    from: u64,
    until: u64,
    value: impl Fn(usize, &HotshotBlock) -> Value,
) -> Result<Vec<Value>, Box<Response>> {
    let refuse = |status: StatusCode, what: String| Box::new((status, what).into_response());
    if until.saturating_sub(from) > RANGE_LIMIT {
        let what = format!("range {from}..{until} exceeds the limit of {RANGE_LIMIT}");
        return Err(refuse(StatusCode::BAD_REQUEST, what));
    }
    let state = state.lock();
    let late = match state.fault {
        Some(Fault::PayloadsLate(blocks)) => blocks,
        _ => 0,
    };
    let available = (state.blocks.len() as u64).saturating_sub(late);
    let missing = if from < state.pruned_below { from } else { from.max(available) };
    if (until > available || from < state.pruned_below) && from < until {
        return Err(refuse(StatusCode::NOT_FOUND, format!("block {missing} is not available")));
    }
    let start = usize::try_from(from.min(available)).unwrap();
    let end = usize::try_from(until.min(available)).unwrap().max(start);
    let blocks = state.blocks[start..end].iter().enumerate();
    Ok(blocks.map(|(offset, block)| value(start + offset, block)).collect())
}
