//! The RPC of a Nitro full node, over HTTP and WebSocket.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256, address};
use axum::{
    body::to_bytes,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{block::Block, contracts::selector, state::Context};
use crate::{
    client::hex,
    emulated::op_node::{Seen, fail},
    vhosts,
    websocket::{self, Accepted},
};

/// A contract that is not in the state: the node answers for it.
pub const NODE_INTERFACE: Address = address!("00000000000000000000000000000000000000c8");

/// An error object.
type Refusal = (i64, String);

pub(super) async fn answer(State(context): State<Arc<Context>>, request: Request) -> Response {
    let fault = context.lock().fault;
    if websocket::is_upgrade(&request) {
        return match fault {
            Some(_) => StatusCode::BAD_GATEWAY.into_response(),
            None => websocket::accept(request, move |connection| subscribe(connection, context)),
        };
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let length = parts.headers.get(header::CONTENT_LENGTH);
    context.lock().see(Seen {
        body: body.to_vec(),
        content_length: length.and_then(|value| value.to_str().ok()?.parse().ok()),
        through_envoy: parts.headers.contains_key("x-request-id"),
    });
    if let Some(fault) = fault {
        return fail(fault).await;
    }
    if let Some(refusal) = vhosts::refusal(&parts.uri, &parts.headers) {
        return refusal;
    }
    let call: Value = serde_json::from_slice(&body).unwrap_or_default();
    axum::Json(match call.as_array() {
        Some(calls) => calls.iter().map(|call| one(&context, call)).collect(),
        None => one(&context, &call),
    })
    .into_response()
}

fn one(context: &Context, call: &Value) -> Value {
    let method = call["method"].as_str().unwrap_or_default();
    match result(context, method, &call["params"]) {
        Ok(result) => json!({"jsonrpc": "2.0", "id": call["id"], "result": result}),
        Err((code, message)) => {
            let error = json!({"code": code, "message": message});
            json!({"jsonrpc": "2.0", "id": call["id"], "error": error})
        }
    }
}

fn result(context: &Context, method: &str, params: &Value) -> Result<Value, Refusal> {
    let account = |block: &Block| block.ledger.account(address_of(&params[0]));
    Ok(match method {
        "eth_chainId" => json!(hex(context.lock().chain_id)),
        "net_version" => json!(context.lock().chain_id.to_string()),
        "web3_clientVersion" => json!("nitro/v3.9.0-devnet/linux-amd64/go1.25.0"),
        "eth_syncing" => json!(false),
        "eth_gasPrice" => json!(hex(100_000_000)),
        "eth_blockNumber" => json!(hex(latest(context))),
        "eth_getBlockByNumber" => match block(context, &params[0])? {
            Some(block) => block.json(params[1] == true),
            None => Value::Null,
        },
        "eth_getBlockByHash" => {
            let hash = params[0].as_str().and_then(|hash| hash.parse().ok());
            let block = hash.and_then(|hash| by_hash(context, hash));
            block.map_or(Value::Null, |block| block.json(params[1] == true))
        }
        "eth_getBalance" => json!(account(&*state(context, &params[1])?).balance),
        "eth_getTransactionCount" => json!(hex(account(&*state(context, &params[1])?).nonce)),
        "eth_getCode" => state(context, &params[1]).map(|_| json!("0x"))?,
        "eth_getStorageAt" => state(context, &params[2]).map(|_| json!(B256::ZERO))?,
        "eth_getLogs" => json!([]),
        "eth_call" if address_of(&params[0]["to"]) == NODE_INTERFACE => {
            node_interface(context, &params[0])?
        }
        "eth_call" => state(context, &params[1]).map(|_| json!("0x"))?,
        _ => {
            return Err((-32601, format!("the method {method} does not exist/is not available")));
        }
    })
}

fn address_of(value: &Value) -> Address {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn latest(context: &Context) -> u64 {
    let state = context.lock();
    state.latest.unwrap_or(context.rules.genesis + state.chain.len() as u64)
}

fn by_hash(context: &Context, hash: B256) -> Option<Arc<Block>> {
    let chain = context.lock().chain.clone();
    std::iter::once(&context.genesis).chain(&chain).find(|block| block.hash == hash).cloned()
}

/// The block of a number or tag, or of an object with a hash or a number.
fn block(context: &Context, which: &Value) -> Result<Option<Arc<Block>>, Refusal> {
    if let Some(hash) = which["blockHash"].as_str() {
        return Ok(hash.parse().ok().and_then(|hash| by_hash(context, hash)));
    }
    let tag = which["blockNumber"].as_str().or(which.as_str()).unwrap_or("latest");
    let set = |name: &str, number: Option<u64>| {
        number.ok_or_else(|| (-32000, format!("{name} block not found")))
    };
    let (safe, finalized) = {
        let state = context.lock();
        (state.safe, state.finalized)
    };
    let number = match tag {
        "earliest" => context.rules.genesis,
        "latest" | "pending" => latest(context),
        "safe" => set("safe", safe)?,
        "finalized" => set("finalized", finalized)?,
        number => u64::from_str_radix(number.trim_start_matches("0x"), 16)
            .map_err(|error| (-32602, format!("invalid argument: {error}")))?,
    };
    Ok(context.block(number))
}

/// The block whose state is asked for.
fn state(context: &Context, which: &Value) -> Result<Arc<Block>, Refusal> {
    let found = block(context, which)?.filter(|block| block.header.number <= latest(context));
    found.ok_or_else(|| (-32000, "header not found".into()))
}

fn node_interface(context: &Context, call: &Value) -> Result<Value, Refusal> {
    if !context.lock().has_node_interface {
        return Ok(json!("0x"));
    }
    let data = call["data"].as_str().or(call["input"].as_str()).unwrap_or_default();
    let data: Bytes = data.parse().unwrap_or_default();
    let word = |number: u64| json!(B256::from(U256::from(number)));
    let is = |signature: &str| data.starts_with(&selector(signature));
    if is("nitroGenesisBlock()") {
        return Ok(word(context.rules.genesis));
    }
    let argument = data.get(4..36).map(U256::from_be_slice).and_then(|word| word.try_into().ok());
    let Some(number) = argument.filter(|_| is("findBatchContainingBlock(uint64)")) else {
        return Err((-32000, "execution reverted".into()));
    };
    let number: u64 = number;
    let state = context.lock();
    match state.batches.iter().position(|last| number <= *last) {
        Some(batch) => Ok(word(batch as u64)),
        None => {
            let (last, batch) = (state.batches.last().unwrap_or(&0), state.batches.len());
            Err((
                -32000,
                format!(
                    "requested block {number} is after latest on-chain block {last} published in \
                     batch {}",
                    batch.saturating_sub(1)
                ),
            ))
        }
    }
}

/// Answers calls, and tells of new blocks to those who want to know.
async fn subscribe(mut connection: Accepted, context: Arc<Context>) {
    let mut news = context.news.subscribe();
    let mut is_subscribed = false;
    loop {
        let message = tokio::select! {
            changed = news.changed() => {
                if changed.is_err() || context.lock().fault.is_some() {
                    return;
                }
                let Some(newest) = context.lock().chain.last().cloned().filter(|_| is_subscribed)
                else { continue };
                let params = json!({"subscription": "0x1", "result": newest.json(false)});
                json!({"jsonrpc": "2.0", "method": "eth_subscription", "params": params})
            }
            message = connection.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let call: Value = serde_json::from_str(&text).unwrap_or_default();
                    if call["method"] == "eth_subscribe" && call["params"][0] == "newHeads" {
                        is_subscribed = true;
                        json!({"jsonrpc": "2.0", "id": call["id"], "result": "0x1"})
                    } else {
                        one(&context, &call)
                    }
                }
                Some(Ok(_)) => continue,
                _ => return,
            },
        };
        if connection.send(Message::text(message.to_string())).await.is_err() {
            return;
        }
    }
}
