//! What a sidecar asks, on one server.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex},
};

use alloy_primitives::{B256, U256};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use super::{CHAIN_ID, FINALIZED, L1_CHAIN_ID, TIME};

/// Everything that a sidecar asks, ready to be sent.
pub(crate) struct World {
    /// By number, whole and with hashes alone.
    pub(crate) blocks: Vec<[String; 2]>,
    pub(crate) namespaces: Vec<String>,
    pub(crate) headers: Vec<String>,
    pub(crate) calls: Mutex<BTreeMap<String, u64>>,
}

pub(crate) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/rpc/{name}", post(rpc))
        .route("/v1/status/block-height", get(height))
        .route("/v1/availability/limits", get(limits))
        .route("/v1/availability/block/{from}/{until}/namespace/{namespace}", get(range))
        .route("/v1/availability/header/{from}/{until}", get(headers))
        .fallback(async || StatusCode::NOT_FOUND)
        .with_state(world)
}

type Shared = State<Arc<World>>;

impl World {
    fn called(&self, name: &str) {
        *self.calls.lock().unwrap().entry(name.to_owned()).or_default() += 1;
    }

    fn texts(&self, texts: &[String], range: Range<usize>) -> Response {
        self.called("query");
        match texts.get(range) {
            Some(texts) => text(format!("[{}]", texts.join(","))),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }

    fn answer(&self, name: &str, call: &Value) -> String {
        let method = call["method"].as_str().unwrap();
        self.called(&format!("{name} {method}"));
        let (block, whole) = (call["params"][0].as_str(), call["params"][1] == true);
        let number = block
            .and_then(|block| block.strip_prefix("0x"))
            .and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let result = match (name.trim_end_matches("-second"), method) {
            ("node", "eth_chainId") => format!("\"{CHAIN_ID:#x}\""),
            ("node", "eth_blockNumber") => format!("\"{:#x}\"", self.blocks.len() - 1),
            // Ethereum has finalized the genesis block.
            ("node", "eth_getBlockByNumber") => {
                let block = self.blocks.get(number.unwrap_or(0));
                block.map_or("null", |texts| &texts[usize::from(!whole)]).to_owned()
            }
            ("node", "eth_call") => format!("\"0x{:064x}\"", 0),
            ("l1", "eth_chainId") => format!("\"{L1_CHAIN_ID:#x}\""),
            ("l1", "eth_blockNumber") => format!("\"{FINALIZED:#x}\""),
            ("l1", "eth_getBlockByNumber") => {
                let number = number.unwrap_or(FINALIZED as usize) as u64;
                let hash = |number: u64| B256::from(U256::from(number + 1));
                json!({"number": format!("{number:#x}"), "hash": hash(number),
                    "parentHash": hash(number - 1), "timestamp": format!("{TIME:#x}")})
                .to_string()
            }
            // One delayed message, and one batch.
            ("l1", "eth_call") => format!("\"0x{:064x}\"", 1),
            _ => "null".into(),
        };
        format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, call["id"])
    }
}

fn text(text: String) -> Response {
    ([("content-type", "application/json")], text).into_response()
}

async fn rpc(State(world): Shared, Path(name): Path<String>, Json(call): Json<Value>) -> Response {
    text(match call.as_array() {
        Some(calls) => {
            let answers: Vec<_> = calls.iter().map(|call| world.answer(&name, call)).collect();
            format!("[{}]", answers.join(","))
        }
        None => world.answer(&name, &call),
    })
}

async fn height(State(world): Shared) -> Json<Value> {
    Json(json!(world.namespaces.len()))
}

async fn limits() -> Json<Value> {
    Json(json!({"small_object_range_limit": 500, "large_object_range_limit": 100}))
}

async fn range(
    State(world): Shared,
    Path((from, until, _)): Path<(usize, usize, u64)>,
) -> Response {
    world.texts(&world.namespaces, from..until)
}

async fn headers(State(world): Shared, Path((from, until)): Path<(usize, usize)>) -> Response {
    world.texts(&world.headers, from..until)
}
