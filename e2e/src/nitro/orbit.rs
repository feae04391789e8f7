//! A parent chain that is Nitro itself: another Anvil, whose RPC shows headers as a node of Nitro
//! does.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use alloy_primitives::B256;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{
    anvil::Anvil,
    client::{Client, hex, quantity},
    l1::{L1, SLOTS_IN_AN_EPOCH},
    ports::{Server, free_port},
};

/// The chain id.
pub const CHAIN_ID: u64 = 901;
/// Its ArbOS.
const ARBOS_VERSION: u64 = 40;

/// The chain.
#[derive(Debug)]
pub struct Orbit {
    anvil: Anvil,
    server: Server,
    l1: Arc<L1>,
    numbers: Numbers,
    logs_lag: Arc<AtomicBool>,
}

/// The block numbers of L1 that contracts see, by block number. Reorgs keep them.
type Numbers = Arc<Mutex<Vec<u64>>>;

impl Orbit {
    /// Starts the chain with one block.
    pub(super) async fn start(l1: Arc<L1>, folder: &Path) -> Self {
        let slots = SLOTS_IN_AN_EPOCH.to_string();
        let more = ["--slots-in-an-epoch", &slots];
        let time = l1.latest().await.timestamp;
        let anvil = Anvil::start("parent", free_port(), CHAIN_ID, time, &more, folder).await;
        let numbers = Numbers::default();
        numbers.lock().unwrap().push(0);
        let logs_lag = Arc::<AtomicBool>::default();
        let state = (anvil.rpc().clone(), Arc::clone(&numbers), Arc::clone(&logs_lag));
        let server = Server::start(Router::new().fallback(answer).with_state(state)).await;
        let this = Self { anvil, server, l1, numbers, logs_lag };
        // Its numbers are far from those of L1.
        this.mine(20).await;
        this
    }

    pub(super) fn rpc(&self) -> &Client {
        self.anvil.rpc()
    }

    /// Where it is asked.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Makes its RPC know no logs, or know them again: what tells of logs may lag behind blocks.
    pub fn set_logs_lag(&self, lag: bool) {
        self.logs_lag.store(lag, Ordering::Relaxed);
    }

    /// The number of L1 that contracts see in a block.
    ///
    /// # Panics
    /// When there is no such block.
    #[must_use]
    pub fn l1_number(&self, number: u64) -> u64 {
        l1_number(&self.numbers, number)
    }

    /// Mines blocks. Several have the time and the number of the same L1 block.
    pub(super) async fn mine(&self, count: u64) {
        let l1 = self.l1.latest().await;
        for _ in 0..count {
            let block = self.rpc().call("eth_getBlockByNumber", json!(["latest", false])).await;
            let time = l1.timestamp.max(quantity(&block["timestamp"]) + 1);
            let known = usize::try_from(quantity(&block["number"])).unwrap() + 1;
            {
                let mut numbers = self.numbers.lock().unwrap();
                numbers.truncate(known);
                numbers.push(l1.number);
            }
            self.rpc().call("evm_setNextBlockTimestamp", json!([time])).await;
            self.rpc().call("evm_mine", json!([])).await;
        }
    }
}

fn l1_number(numbers: &Numbers, number: u64) -> u64 {
    numbers.lock().unwrap()[usize::try_from(number).unwrap()]
}

type Shown = (Client, Numbers, Arc<AtomicBool>);

async fn answer(State((rpc, numbers, logs_lag)): State<Shown>, body: Bytes) -> Response {
    let call: Value = serde_json::from_slice(&body).unwrap_or_default();
    if call["method"] == "eth_getLogs" && logs_lag.load(Ordering::Relaxed) {
        return axum::Json(json!({"jsonrpc": "2.0", "id": call["id"], "result": []}))
            .into_response();
    }
    let Ok(answer) = rpc.post(body).await else { return StatusCode::BAD_GATEWAY.into_response() };
    let mut json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match &mut json {
        Value::Array(answers) => answers.iter_mut().for_each(|answer| show(answer, &numbers)),
        answer => show(answer, &numbers),
    }
    axum::Json(json).into_response()
}

/// Makes a block look like one of Nitro's node.
fn show(answer: &mut Value, numbers: &Numbers) {
    let block = &mut answer["result"];
    if block.get("mixHash").is_none() {
        return;
    }
    let l1_number = l1_number(numbers, quantity(&block["number"]));
    let words = [0, l1_number, ARBOS_VERSION, 0].map(u64::to_be_bytes);
    block["mixHash"] = json!(B256::from_slice(words.as_flattened()));
    block["l1BlockNumber"] = json!(hex(l1_number));
    block["sendCount"] = json!("0x0");
    block["sendRoot"] = json!(B256::ZERO);
    block["extraData"] = json!(B256::ZERO);
    block["difficulty"] = json!("0x1");
}
