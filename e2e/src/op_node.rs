//! The RPCs in front of the full node: its execution RPC, where `finalized` and `safe` can be set,
//! and the RPC of its op-node.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};

use alloy_primitives::B256;
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{
    client::hex,
    l1::{self, L1, L1Block},
    l2::{self, L2Node},
    ports::Server,
};

/// How many request bodies the execution port remembers.
const REMEMBERED: usize = 4096;

/// What can be wrong with the execution RPC or with the op-node RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Every answer is an error of that HTTP status.
    Status(u16),
    /// Every answer is HTTP 200 and no JSON.
    Garbage,
    /// No request is ever answered.
    Hang,
    /// op-node only: it is still starting and reports zero everywhere.
    NotReady,
}

/// A request as it reached the execution port.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The body.
    pub body: Vec<u8>,
    /// The content-length header, if there was one.
    pub content_length: Option<usize>,
    /// Whether it came by way of Envoy, which gives every request an id.
    pub through_envoy: bool,
}

#[derive(Debug, Default)]
struct Settings {
    finalized: Option<u64>,
    safe: Option<u64>,
    /// What op-node reports instead of `finalized`.
    consensus_finalized: Option<u64>,
    highest_finalized: u64,
    execution_fault: Option<Fault>,
    consensus_fault: Option<Fault>,
    seen: VecDeque<Seen>,
    sync_status_requests: u64,
}

#[derive(Debug, Clone)]
struct Context {
    node: Arc<L2Node>,
    l1: Arc<L1>,
    genesis_origin: L1Block,
    settings: Arc<Mutex<Settings>>,
}

impl Context {
    fn lock(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap()
    }
}

/// The two RPC ports of the full node.
#[derive(Debug)]
pub struct OpNode {
    context: Context,
    execution: Server,
    consensus: Server,
}

impl OpNode {
    /// Starts both, with the genesis block finalized and safe.
    pub async fn start(node: Arc<L2Node>, l1: Arc<L1>, genesis_origin: L1Block) -> Self {
        let settings = Settings { finalized: Some(0), safe: Some(0), ..Settings::default() };
        let settings = Arc::new(Mutex::new(settings));
        let context = Context { node, l1, genesis_origin, settings };
        let execution = Router::new()
            .fallback(execution)
            .layer(DefaultBodyLimit::disable())
            .with_state(context.clone());
        let consensus = Router::new().fallback(consensus).with_state(context.clone());
        let execution = Server::start(execution).await;
        let consensus = Server::start(consensus).await;
        Self { context, execution, consensus }
    }

    /// The execution RPC: what Envoy and the sidecar talk to.
    #[must_use]
    pub fn execution(&self) -> &Server {
        &self.execution
    }

    /// The op-node RPC.
    #[must_use]
    pub fn consensus(&self) -> &Server {
        &self.consensus
    }

    /// Makes that block `finalized` (and `safe`, if it was lower) for both RPCs.
    pub fn set_finalized(&self, number: u64) {
        let mut settings = self.context.lock();
        settings.finalized = Some(number);
        settings.safe = settings.safe.max(Some(number));
        settings.highest_finalized = settings.highest_finalized.max(number);
    }

    /// Makes the node know no `finalized` block.
    pub fn forget_finalized(&self) {
        self.context.lock().finalized = None;
    }

    /// What op-node reports as finalized, if it should differ from the execution RPC.
    pub fn set_consensus_finalized(&self, number: Option<u64>) {
        self.context.lock().consensus_finalized = number;
    }

    /// The highest block that was ever set finalized.
    #[must_use]
    pub fn highest_finalized(&self) -> u64 {
        self.context.lock().highest_finalized
    }

    /// Sets or clears a fault of the execution RPC.
    pub fn set_execution_fault(&self, fault: Option<Fault>) {
        self.context.lock().execution_fault = fault;
    }

    /// Sets or clears a fault of the op-node RPC.
    pub fn set_consensus_fault(&self, fault: Option<Fault>) {
        self.context.lock().consensus_fault = fault;
    }

    /// How often the sync status was asked for.
    #[must_use]
    pub fn sync_status_requests(&self) -> u64 {
        self.context.lock().sync_status_requests
    }

    /// The remembered requests whose body contains `marker`.
    #[must_use]
    pub fn seen(&self, marker: &str) -> Vec<Seen> {
        let contains = |seen: &&Seen| String::from_utf8_lossy(&seen.body).contains(marker);
        self.context.lock().seen.iter().filter(contains).cloned().collect()
    }
}

/// The execution RPC: forwards bytes, except that two tags mean what was set.
async fn execution(State(context): State<Context>, headers: HeaderMap, body: Bytes) -> Response {
    let (fault, finalized, safe) = {
        let mut settings = context.lock();
        if settings.seen.len() == REMEMBERED {
            settings.seen.pop_front();
        }
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        settings.seen.push_back(Seen {
            body: body.to_vec(),
            content_length: length.and_then(|text| text.parse().ok()),
            through_envoy: headers.contains_key("x-request-id"),
        });
        (settings.execution_fault, settings.finalized, settings.safe)
    };
    if let Some(fault) = fault {
        return fail(fault).await;
    }
    // Anvil aborts when asked for the raw form of a deposit.
    if String::from_utf8_lossy(&body).contains("eth_getRawTransaction") {
        return axum::Json(json!({
            "jsonrpc": "2.0", "id": null,
            "error": {"code": -32601, "message": "the devnet does not offer raw transactions"},
        }))
        .into_response();
    }
    let body = with_tags(&body, finalized, safe).unwrap_or_else(|| body.to_vec());
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

/// The body with `finalized` and `safe` replaced, or None when it has neither.
fn with_tags(body: &[u8], finalized: Option<u64>, safe: Option<u64>) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(body).ok()?;
    let calls = match &mut value {
        Value::Array(calls) => calls.as_mut_slice(),
        call => std::slice::from_mut(call),
    };
    let mut found = false;
    // An unknown block is one that does not exist yet.
    let number = |block: Option<u64>| json!(hex(block.unwrap_or(1 << 40)));
    for parameter in
        calls.iter_mut().filter_map(|call| call.get_mut("params")?.as_array_mut()).flatten()
    {
        let replacement = match parameter.as_str() {
            Some("finalized") => number(finalized),
            Some("safe") => number(safe),
            _ => continue,
        };
        *parameter = replacement;
        found = true;
    }
    found.then(|| value.to_string().into_bytes())
}

/// The op-node RPC.
async fn consensus(State(context): State<Context>, body: Bytes) -> Response {
    let call: Value = serde_json::from_slice(&body).unwrap_or_default();
    let method = call["method"].as_str().unwrap_or_default();
    let fault = {
        let mut settings = context.lock();
        settings.sync_status_requests += u64::from(method == "optimism_syncStatus");
        settings.consensus_fault
    };
    let answer = match (fault, method) {
        (Some(Fault::NotReady), "optimism_syncStatus") => Some(not_ready()),
        (Some(fault), _) if fault != Fault::NotReady => return fail(fault).await,
        (_, "optimism_rollupConfig") => Some(rollup_config(&context)),
        (_, "optimism_syncStatus") => Some(sync_status(&context).await),
        _ => None,
    };
    let id = &call["id"];
    axum::Json(match answer {
        Some(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        None => json!({
            "jsonrpc": "2.0", "id": id,
            "error": {"code": -32601, "message": format!("the method {method} does not exist")},
        }),
    })
    .into_response()
}

async fn fail(fault: Fault) -> Response {
    match fault {
        Fault::Status(code) => {
            (StatusCode::from_u16(code).unwrap(), "injected fault").into_response()
        }
        Fault::Garbage | Fault::NotReady => "<html>gateway</html>".into_response(),
        Fault::Hang => std::future::pending().await,
    }
}

fn rollup_config(context: &Context) -> Value {
    let origin = context.genesis_origin;
    json!({
        "genesis": {
            "l1": {"hash": origin.hash, "number": origin.number},
            "l2": {"hash": context.node.genesis_hash(), "number": 0},
            "l2_time": context.node.genesis_time(),
            "system_config": {
                "batcherAddr": crate::batch::Signer::batcher().address(),
                "overhead": B256::ZERO, "scalar": B256::ZERO, "gasLimit": 30_000_000,
            },
        },
        "block_time": l2::BLOCK_TIME,
        "max_sequencer_drift": 600, "seq_window_size": 3600, "channel_timeout": 300,
        "l1_chain_id": l1::CHAIN_ID, "l2_chain_id": l2::CHAIN_ID,
        "regolith_time": 0, "canyon_time": 0, "delta_time": 0, "ecotone_time": 0, "fjord_time": 0,
        "granite_time": 0, "holocene_time": 0, "isthmus_time": 0, "jovian_time": 0,
        "batch_inbox_address": "0x00289c189bee4e70334629f04cd5ed602b6600eb",
        "deposit_contract_address": "0x1313131313131313131313131313131313131313",
        "l1_system_config_address": "0x1414141414141414141414141414141414141414",
        "espresso_enforcement_time": 0,
        "batch_authenticator_address": context.l1.batch_authenticator(),
    })
}

async fn sync_status(context: &Context) -> Value {
    let (finalized, safe) = {
        let settings = context.lock();
        (settings.consensus_finalized.or(settings.finalized), settings.safe)
    };
    let chain = context.node.chain().await;
    let reference = |number: Option<u64>| match number {
        None => zero_l2(),
        Some(0) => json!({
            "hash": context.node.genesis_hash(), "number": 0, "parentHash": B256::ZERO,
            "timestamp": context.node.genesis_time(),
            "l1origin": {"hash": context.genesis_origin.hash, "number": context.genesis_origin.number},
            "sequenceNumber": 0,
        }),
        Some(number) => match chain.get(usize::try_from(number - 1).unwrap()) {
            None => zero_l2(),
            Some(block) => json!({
                "hash": block.hash, "number": number, "parentHash": block.parent_hash,
                "timestamp": block.inputs.timestamp,
                "l1origin": {"hash": block.inputs.origin.hash, "number": block.inputs.origin.number},
                "sequenceNumber": block.inputs.sequence_number,
            }),
        },
    };
    let (head, final_block) = (context.l1.latest().await, context.l1.finalized().await);
    let (head, final_block) = (l1_reference(&head), l1_reference(&final_block));
    let latest = reference(Some(chain.len() as u64));
    json!({
        "current_l1": head, "current_l1_finalized": final_block, "head_l1": head, "safe_l1": head,
        "finalized_l1": final_block,
        "unsafe_l2": latest, "cross_unsafe_l2": latest,
        "safe_l2": reference(safe), "local_safe_l2": reference(safe), "pending_safe_l2": reference(safe),
        "finalized_l2": reference(finalized),
    })
}

fn l1_reference(block: &L1Block) -> Value {
    json!({
        "hash": block.hash, "number": block.number, "parentHash": block.parent_hash,
        "timestamp": block.timestamp,
    })
}

fn zero_l2() -> Value {
    json!({
        "hash": B256::ZERO, "number": 0, "parentHash": B256::ZERO, "timestamp": 0,
        "l1origin": {"hash": B256::ZERO, "number": 0}, "sequenceNumber": 0,
    })
}

fn not_ready() -> Value {
    let l1 = json!({"hash": B256::ZERO, "number": 0, "parentHash": B256::ZERO, "timestamp": 0});
    let mut status = serde_json::Map::new();
    for name in ["current_l1", "current_l1_finalized", "head_l1", "safe_l1", "finalized_l1"] {
        status.insert(name.into(), l1.clone());
    }
    for name in ["unsafe_l2", "safe_l2", "finalized_l2", "pending_safe_l2"] {
        status.insert(name.into(), zero_l2());
    }
    status.into()
}
