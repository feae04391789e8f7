//! The execution RPC of the full node: Anvil's answers, but for what op-geth answers otherwise.

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::state::{Context, Seen, fail};
use crate::{client::hex, vhosts};

/// How many request bodies the execution port remembers.
const REMEMBERED: usize = 4096;
/// Methods that need the state of a block.
const STATE_METHODS: [&str; 6] = [
    "eth_call",
    "eth_estimateGas",
    "eth_getBalance",
    "eth_getCode",
    "eth_getStorageAt",
    "eth_getTransactionCount",
];

/// What the tags mean.
#[derive(Debug, Clone, Copy)]
struct Tags {
    latest: Option<u64>,
    safe: Option<u64>,
    finalized: Option<u64>,
}

pub(super) async fn answer(
    State(context): State<Context>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let newest = context.node.height().await;
    let (fault, tags) = {
        let mut settings = context.lock();
        if settings.seen.len() == REMEMBERED {
            settings.seen.pop_front();
        }
        settings.seen.push_back(Seen {
            body: body.to_vec(),
            content_length: text(&headers, header::CONTENT_LENGTH)
                .and_then(|text| text.parse().ok()),
            through_envoy: headers.contains_key("x-request-id"),
        });
        let tip = |own: Option<u64>| if settings.el_synced { Some(newest) } else { own };
        let tags = Tags {
            latest: settings.latest,
            safe: tip(settings.safe),
            finalized: tip(settings.finalized),
        };
        (settings.execution_fault, tags)
    };
    if let Some(fault) = fault {
        return fail(fault).await;
    }
    if let Some(refusal) = wrong_type(&headers).or_else(|| vhosts::refusal(&uri, &headers)) {
        return refusal;
    }
    let mut call: Value = serde_json::from_slice(&body).unwrap_or_default();
    if let Some(answer) = own_answer(&call, tags) {
        return axum::Json(answer).into_response();
    }
    if let Some(calls) = call.as_array()
        && calls.iter().any(|call| own_answer(call, tags).is_some())
    {
        return batch(&context, calls, tags).await;
    }
    let body = if replace_tags(&mut call, tags) { call.to_string().into() } else { body.to_vec() };
    match context.node.rpc().post(body).await {
        Ok(answer) => {
            let status = StatusCode::from_u16(answer.status).unwrap();
            let json = HeaderValue::from_static("application/json");
            let kind = answer.headers.get(header::CONTENT_TYPE).cloned().unwrap_or(json);
            (status, [(header::CONTENT_TYPE, kind)], answer.body).into_response()
        }
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

/// The answers to a batch, of which Anvil would answer some members otherwise.
async fn batch(context: &Context, calls: &[Value], tags: Tags) -> Response {
    let mut answers = Vec::new();
    for call in calls {
        let mut call = call.clone();
        let answer = match own_answer(&call, tags) {
            Some(answer) => answer,
            None => {
                replace_tags(&mut call, tags);
                let answer = context.node.rpc().post(call.to_string()).await;
                match answer.map(|answer| serde_json::from_slice(&answer.body)) {
                    Ok(Ok(answer)) => answer,
                    other => {
                        return (StatusCode::BAD_GATEWAY, format!("{other:?}")).into_response();
                    }
                }
            }
        };
        answers.push(answer);
    }
    axum::Json(answers).into_response()
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// What op-geth refuses before it reads the body: other content types than JSON.
fn wrong_type(headers: &HeaderMap) -> Option<Response> {
    let kind = text(headers, header::CONTENT_TYPE).unwrap_or_default();
    let text = "invalid content type, only application/json is supported\n";
    (!kind.starts_with("application/json"))
        .then(|| (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response())
}

/// The answer to a call that Anvil would answer otherwise.
fn own_answer(call: &Value, tags: Tags) -> Option<Value> {
    let method = call["method"].as_str()?;
    let error = |code: i64, message: &str| {
        let error = json!({"code": code, "message": message});
        Some(json!({"jsonrpc": "2.0", "id": call["id"], "error": error}))
    };
    // Anvil aborts when asked for the raw form of a deposit.
    if method.starts_with("eth_getRawTransaction") {
        return error(-32601, "the devnet does not offer raw transactions");
    }
    if method == "eth_getBlockByNumber" {
        match call["params"][0].as_str() {
            Some("finalized") if tags.finalized.is_none() => {
                return error(-32000, "finalized block not found");
            }
            Some("safe") if tags.safe.is_none() => return error(-32000, "safe block not found"),
            _ => {}
        }
    }
    // What op-geth serves above its latest block lacks everything but the blocks themselves.
    let latest = tags.latest?;
    let above = |value: &Value| number(value).is_some_and(|number| number > latest);
    let parameters = call["params"].as_array()?;
    if method == "eth_blockNumber" {
        return Some(json!({"jsonrpc": "2.0", "id": call["id"], "result": hex(latest)}));
    }
    if STATE_METHODS.contains(&method) && parameters.iter().any(above) {
        return error(-32000, "header not found");
    }
    if method == "eth_getLogs"
        && ["fromBlock", "toBlock"].iter().any(|name| above(&call["params"][0][name]))
    {
        return error(-32602, "block range extends beyond current head block");
    }
    None
}

/// A block number in hex.
fn number(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

/// Replaces the tags whose meaning is set. Answers whether there were any.
fn replace_tags(body: &mut Value, tags: Tags) -> bool {
    let calls = match body {
        Value::Array(calls) => calls.as_mut_slice(),
        call => std::slice::from_mut(call),
    };
    let mut found = false;
    // A block that is not known is one that does not exist yet.
    let number = |block: Option<u64>| json!(hex(block.unwrap_or(1 << 40)));
    for parameter in
        calls.iter_mut().filter_map(|call| call.get_mut("params")?.as_array_mut()).flatten()
    {
        *parameter = match parameter.as_str() {
            Some("finalized") => number(tags.finalized),
            Some("safe") => number(tags.safe),
            Some("latest") if tags.latest.is_some() => number(tags.latest),
            _ => continue,
        };
        found = true;
    }
    found
}
