//! Everything that the sidecar asks, on one port: a chain of empty blocks, its batches in a HotShot
//! feed, and counters of every call.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use alloy_primitives::{Address, B256, U256, address, keccak256};
use alloy_rlp::{Encodable, Header};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::IntoResponse,
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use secp256k1::{Message, SecretKey};
use serde_json::{Value, json};

pub(crate) const CHAIN_ID: u64 = 77;
const L1_CHAIN_ID: u64 = 5;
const GENESIS_TIME: u64 = 1_700_000_000;
const BLOCK_TIME: u64 = 2;
/// L1 blocks up to here are final.
const L1_FINALIZED: u64 = 1_000_000;

/// Who signs batches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signer(SecretKey);

impl Signer {
    pub(crate) fn new(seed: u8) -> Self {
        Self(SecretKey::from_secret_bytes([seed; 32]).unwrap())
    }

    pub(crate) fn address(self) -> Address {
        let key = secp256k1::PublicKey::from_secret_key(&self.0);
        Address::from_raw_public_key(&key.serialize_uncompressed()[1..])
    }

    pub(crate) fn sign(self, body: &[u8]) -> Vec<u8> {
        let message = Message::from_digest(keccak256(body).0);
        let signature =
            secp256k1::ecdsa::RecoverableSignature::sign_ecdsa_recoverable(message, &self.0);
        let (id, compact) = signature.serialize_compact();
        [&compact[..], &[id.to_u8()], body].concat()
    }
}

/// An L2 block without transactions of users, and the batch that says the same.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) number: u64,
    pub(crate) hash: B256,
    parent_hash: B256,
    timestamp: u64,
    /// The RLP of the batch.
    pub(crate) body: Vec<u8>,
    deposit_hash: B256,
    call_data: Vec<u8>,
}

fn list(fields: &[&dyn Encodable]) -> Vec<u8> {
    let payload = fields.iter().fold(Vec::new(), |mut payload, field| {
        field.encode(&mut payload);
        payload
    });
    raw_list(&payload)
}

fn raw_list(payload: &[u8]) -> Vec<u8> {
    let mut list = Vec::new();
    Header { list: true, payload_length: payload.len() }.encode(&mut list);
    list.extend(payload);
    list
}

fn l1_hash(number: u64) -> B256 {
    keccak256(format!("l1 {number}"))
}

impl Block {
    fn new(number: u64, parent_hash: B256) -> Self {
        Self::on(number, parent_hash, number / 4)
    }

    /// A block on an L1 block.
    pub(crate) fn on(number: u64, parent_hash: B256, origin: u64) -> Self {
        let timestamp = GENESIS_TIME + number * BLOCK_TIME;
        let zero = B256::ZERO;
        let header = list(&[
            &parent_hash,
            &zero,
            &Address::ZERO,
            &zero,
            &zero,
            &zero,
            &&[0_u8; 256][..],
            &0_u64,
            &number,
            &30_000_000_u64,
            &0_u64,
            &timestamp,
            &&b""[..],
            &zero,
            &&[0_u8; 8][..],
        ]);
        let mut call_data = vec![0; 164];
        call_data[..4].copy_from_slice(&[0x44, 0x0a, 0x5e, 0x20]);
        call_data[28..36].copy_from_slice(&origin.to_be_bytes());
        call_data[100..132].copy_from_slice(l1_hash(origin).as_slice());
        let depositor = address!("0xdeaddeaddeaddeaddeaddeaddeaddeaddead0001");
        let l1_block = address!("0x4200000000000000000000000000000000000015");
        let deposit = list(&[
            &keccak256(number.to_be_bytes()),
            &depositor,
            &l1_block,
            &U256::ZERO,
            &U256::ZERO,
            &1_000_000_u64,
            &false,
            &&call_data[..],
        ]);
        let deposit = [&[0x7e], &deposit[..]].concat();
        let mut batch = Vec::new();
        parent_hash.encode(&mut batch);
        origin.encode(&mut batch);
        l1_hash(origin).encode(&mut batch);
        timestamp.encode(&mut batch);
        batch.extend(raw_list(&[]));
        let mut encoded_deposit = Vec::new();
        deposit.as_slice().encode(&mut encoded_deposit);
        let body = raw_list(&[&header[..], &raw_list(&batch), &encoded_deposit].concat());
        Self {
            number,
            hash: keccak256(&header),
            parent_hash,
            timestamp,
            body,
            deposit_hash: keccak256(&deposit),
            call_data,
        }
    }

    fn json(&self) -> Value {
        json!({
            "number": format!("{:#x}", self.number), "hash": self.hash,
            "parentHash": self.parent_hash, "timestamp": format!("{:#x}", self.timestamp),
            "transactions": [{"hash": self.deposit_hash, "type": "0x7e",
                "input": format!("0x{}", hex::encode(&self.call_data))}],
        })
    }
}

/// Called with the number of all calls so far.
type Watch = Box<dyn FnMut(u64) + Send>;

#[derive(Default)]
struct Shared {
    blocks: Vec<Block>,
    hotshot: Vec<Vec<Vec<u8>>>,
    calls: BTreeMap<String, u64>,
    total: u64,
    watch: Option<Watch>,
}

/// The fakes. They end with the runtime.
#[derive(Clone)]
pub(crate) struct Fakes {
    pub(crate) address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

impl Fakes {
    /// A node with so many blocks above genesis, and a HotShot without anything.
    pub(crate) async fn start(blocks: u64) -> Self {
        let mut chain = vec![Block::new(0, B256::ZERO)];
        for number in 1..=blocks {
            let parent = chain.last().unwrap().hash;
            chain.push(Block::new(number, parent));
        }
        let shared = Shared { blocks: chain, ..Shared::default() };
        let shared = Arc::new(Mutex::new(shared));
        let router = Router::new()
            .route("/rpc/{name}", post(rpc))
            .route("/v1/status/block-height", get(height))
            .route("/v1/availability/limits", get(limits))
            .route("/v1/availability/block/{from}/{until}/namespace/{namespace}", get(range))
            .with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, shared }
    }

    pub(crate) fn blocks(&self) -> Vec<Block> {
        self.shared.lock().unwrap().blocks.clone()
    }

    /// A HotShot block with these payloads.
    pub(crate) fn post(&self, payloads: Vec<Vec<u8>>) {
        self.shared.lock().unwrap().hotshot.push(payloads);
    }

    /// How often each thing was asked.
    pub(crate) fn calls(&self) -> BTreeMap<String, u64> {
        self.shared.lock().unwrap().calls.clone()
    }

    /// Calls `watch` at every call from now on.
    pub(crate) fn watch(&self, watch: impl FnMut(u64) + Send + 'static) {
        self.shared.lock().unwrap().watch = Some(Box::new(watch));
    }

    /// The arguments that lead a sidecar here.
    pub(crate) fn arguments(&self, batcher: Signer) -> Vec<String> {
        let url = |path: &str| format!("http://{}/{path}", self.address);
        [
            ("--node-execution-rpc", url("rpc/node")),
            ("--node-consensus-rpc", url("rpc/consensus")),
            ("--l1-rpc", url("rpc/l1")),
            ("--query-service-url", url("v1")),
            ("--batcher-addresses", batcher.address().to_string()),
            ("--initial-hotshot-height", "0".into()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
    }
}

impl Shared {
    fn called(&mut self, name: String) {
        *self.calls.entry(name).or_default() += 1;
        self.total += 1;
        if let Some(watch) = &mut self.watch {
            watch(self.total);
        }
    }
}

type Fake = State<Arc<Mutex<Shared>>>;

async fn rpc(
    State(shared): Fake,
    Path(name): Path<String>,
    Json(call): Json<Value>,
) -> Json<Value> {
    let mut shared = shared.lock().unwrap();
    let method = call["method"].as_str().unwrap();
    shared.called(format!("{name} {method}"));
    let block = call["params"][0].as_str();
    let number = block
        .and_then(|block| block.strip_prefix("0x"))
        .and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let result = match (name.as_str(), method) {
        ("node", "eth_chainId") => json!(format!("{CHAIN_ID:#x}")),
        ("node", "eth_blockNumber") => json!(format!("{:#x}", shared.blocks.len() - 1)),
        ("node", "eth_getBlockByNumber") => number
            .and_then(|number| shared.blocks.get(usize::try_from(number).unwrap()))
            .map_or(Value::Null, Block::json),
        ("l1", "eth_chainId") => json!(format!("{L1_CHAIN_ID:#x}")),
        ("l1", "eth_getBlockByNumber") => {
            let number = number.unwrap_or(L1_FINALIZED);
            json!({"number": format!("{number:#x}"), "hash": l1_hash(number),
                "parentHash": l1_hash(number.saturating_sub(1))})
        }
        ("consensus", "optimism_rollupConfig") => json!({
            "genesis": {"l1": {"number": 0, "hash": l1_hash(0)},
                "l2": {"number": 0, "hash": shared.blocks[0].hash}, "l2_time": GENESIS_TIME},
            "block_time": BLOCK_TIME, "l1_chain_id": L1_CHAIN_ID, "l2_chain_id": CHAIN_ID,
        }),
        _ => Value::Null,
    };
    Json(json!({"jsonrpc": "2.0", "id": call["id"], "result": result}))
}

async fn height(State(shared): Fake) -> Json<Value> {
    let mut shared = shared.lock().unwrap();
    shared.called("height".into());
    Json(json!(shared.hotshot.len()))
}

async fn limits(State(shared): Fake) -> Json<Value> {
    shared.lock().unwrap().called("limits".into());
    Json(json!({"small_object_range_limit": 500, "large_object_range_limit": 100}))
}

async fn range(
    State(shared): Fake,
    Path((from, until, namespace)): Path<(usize, usize, u64)>,
) -> impl IntoResponse {
    let mut shared = shared.lock().unwrap();
    shared.called("range".into());
    let blocks = shared.hotshot.get(from..until).ok_or(StatusCode::NOT_FOUND)?;
    let element = |payloads: &Vec<Vec<u8>>| {
        if payloads.is_empty() {
            return json!({"proof": null, "transactions": []});
        }
        let transactions: Vec<_> = payloads
            .iter()
            .map(|payload| json!({"namespace": namespace, "payload": STANDARD.encode(payload)}))
            .collect();
        let mut table = (payloads.len() as u32).to_le_bytes().to_vec();
        let mut end = 0_u32;
        for payload in payloads {
            end += payload.len() as u32;
            table.extend(end.to_le_bytes());
        }
        table.extend(payloads.concat());
        json!({"proof": {"V1": {"ns_payload": STANDARD.encode(table)}}, "transactions": transactions})
    };
    Ok::<_, StatusCode>(Json(Value::Array(blocks.iter().map(element).collect())))
}
