//! Node, op-node, L1 and query service over HTTP, with counters of every call.

use std::{
    collections::BTreeMap, convert::Infallible, net::SocketAddr, ops::Range, sync::Arc,
    time::Duration,
};

use alloy_primitives::Address;
use axum::{
    Json, Router,
    body::{Body, Bytes, HttpBody},
    extract::{Path, Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use finality_hotshot::{
    block::{Block, Circumstances, Namespace},
    chain::Chain as HotShot,
};
use futures::{SinkExt, StreamExt, stream};
use hyper_util::rt::TokioIo;
use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, handshake::derive_accept_key, protocol::Role},
};

use super::chain::{CHAIN_ID, Chain, L1_CHAIN_ID, Signer, l1_hash};

/// The light client's address.
pub(crate) const LIGHT_CLIENT: Address = Address::repeat_byte(0x11);

/// L1 blocks up to here are final.
const L1_FINALIZED: u64 = 1_000_000;

/// Called with the number of all calls so far.
type Watch = Box<dyn FnMut(u64) + Send>;

struct Content {
    /// The node's latest block.
    latest: u64,
    hotshot: HotShot,
}

#[derive(Default)]
struct Calls {
    by_name: BTreeMap<String, u64>,
    total: u64,
    /// The length of all answers of the query service.
    bytes: u64,
    watch: Option<Watch>,
}

/// An answer of any length in place of the real one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flood {
    /// What the path must contain; of JSON-RPC, the name of the endpoint and the method.
    pub(crate) at: &'static str,
    /// How it begins.
    pub(crate) start: &'static str,
    /// What is repeated.
    pub(crate) pattern: &'static str,
    /// The length of all repetitions, in bytes.
    pub(crate) length: usize,
    /// How it ends.
    pub(crate) end: &'static str,
}

/// How the services are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habits {
    /// What L1 takes for each answer.
    pub(crate) l1_delay: Duration,
    /// Whether HotShot and the node tell of new blocks.
    pub(crate) streams: bool,
    /// The weight of HotShot's committee.
    pub(crate) weight: usize,
}

impl Default for Habits {
    fn default() -> Self {
        Self { l1_delay: Duration::ZERO, streams: true, weight: 10 }
    }
}

struct Shared {
    /// How many blocks HotShot and the node have.
    grown: watch::Sender<()>,
    habits: Habits,
    flood: Mutex<Option<Flood>>,
    chain: Chain,
    batcher: Signer,
    content: RwLock<Content>,
    calls: Mutex<Calls>,
}

/// The services. They end with the runtime.
#[derive(Clone)]
pub(crate) struct Fakes {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

impl Fakes {
    /// Serves a node with the blocks up to `latest`, and a HotShot without anything.
    pub(crate) async fn start(chain: Chain, latest: u64, batcher: Signer) -> Self {
        Self::start_with(chain, latest, batcher, Habits::default()).await
    }

    /// The same, with these habits.
    pub(crate) async fn start_with(
        chain: Chain,
        latest: u64,
        batcher: Signer,
        habits: Habits,
    ) -> Self {
        let content = RwLock::new(Content { latest, hotshot: HotShot::default() });
        let none = Mutex::new(None);
        let shared = Arc::new(Shared {
            grown: watch::Sender::default(),
            habits,
            flood: none,
            chain,
            batcher,
            content,
            calls: Mutex::default(),
        });
        let router = Router::new()
            .route("/rpc/{name}", post(rpc).get(heads))
            .route("/v1/availability/stream/headers/{from}", get(header_stream))
            .route("/v1/status/block-height", get(height))
            .route("/v1/availability/limits", get(limits))
            .route("/v1/availability/block/{from}/{until}/namespace/{namespace}", get(range))
            .route("/v1/availability/header/{from}/{until}", get(headers))
            .route("/v1/availability/vid/common/{height}", get(vid_common))
            .route("/v1/block-state/{headers}/{height}", get(path))
            .fallback(async || StatusCode::NOT_FOUND)
            .layer(middleware::from_fn_with_state(Arc::clone(&shared), flood))
            .route("/advance", post(advance))
            .route("/calls", get(calls))
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, shared }
    }

    pub(crate) fn chain(&self) -> &Chain {
        &self.shared.chain
    }

    /// A HotShot block with these payloads.
    pub(crate) fn post(&self, payloads: Vec<Vec<u8>>) {
        self.shared.content.write().post(&payloads, self.shared.habits.weight);
        self.shared.grown.send_replace(());
    }

    /// The node has the blocks up to that one.
    pub(crate) fn reach(&self, number: u64) {
        self.shared.content.write().latest = number;
        self.shared.grown.send_replace(());
    }

    /// Answers with this from now on.
    pub(crate) fn set_flood(&self, flood: Option<Flood>) {
        *self.shared.flood.lock() = flood;
    }

    /// The batch for a block, as it is posted.
    pub(crate) fn signed(&self, number: u64) -> Vec<u8> {
        self.shared.signed(number)
    }

    /// How often each thing was asked.
    pub(crate) fn calls(&self) -> BTreeMap<String, u64> {
        self.shared.calls.lock().by_name.clone()
    }

    /// Calls `watch` at every call from now on.
    pub(crate) fn watch(&self, watch: impl FnMut(u64) + Send + 'static) {
        self.shared.calls.lock().watch = Some(Box::new(watch));
    }

    /// The arguments that lead a sidecar here.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let url = |path: &str| format!("http://{}/{path}", self.address);
        [
            ("node-execution-rpc", url("rpc/node")),
            ("node-consensus-rpc", url("rpc/consensus")),
            // A single endpoint would have to say what is final twice.
            ("l1-rpc", [url("rpc/l1"), url("rpc/l1-second")].join(",")),
            ("query-service-url", url("v1")),
            ("batcher-addresses", self.shared.batcher.address().to_string()),
            ("initial-hotshot-height", "0".into()),
        ]
        .map(|(name, value)| format!("--{name}={value}"))
        .to_vec()
    }
}

impl Content {
    /// A HotShot block with these payloads.
    fn post(&mut self, payloads: &[Vec<u8>], weight: usize) {
        let circumstances = Circumstances {
            minor: 6,
            weight,
            timestamp: 1_700_000_000,
            l1_head: 1,
            l1_finalized: None,
        };
        let namespace = || Namespace::new(u32::try_from(CHAIN_ID).unwrap(), payloads);
        let namespaces = (!payloads.is_empty()).then(namespace);
        self.hotshot.push(circumstances, namespaces.into_iter().collect());
        // Written out before anybody asks, so that whoever asks first does not wait longer.
        self.hotshot.blocks().last().inspect(|block| _ = block.header_text());
    }
}

impl Shared {
    fn called(&self, name: String) {
        let mut calls = self.calls.lock();
        *calls.by_name.entry(name).or_default() += 1;
        calls.total += 1;
        let total = calls.total;
        if let Some(watch) = &mut calls.watch {
            watch(total);
        }
    }

    /// The flood in place of an answer, if it is to be there.
    fn flood(&self, place: &str) -> Option<Response> {
        let flood = (*self.flood.lock()).filter(|flood| place.contains(flood.at))?;
        self.called("flood".into());
        let Flood { start, pattern, length, end, .. } = flood;
        let chunk = Bytes::from(pattern.repeat(64 * 1024 / pattern.len()));
        let chunks = std::iter::repeat_n(chunk.clone(), length / chunk.len());
        let chunks = std::iter::once(start.into()).chain(chunks).chain([end.into()]);
        let chunks = stream::iter(chunks.map(Ok::<Bytes, Infallible>));
        Some(Body::from_stream(chunks).into_response())
    }

    fn signed(&self, number: u64) -> Vec<u8> {
        let block = &self.chain.blocks[usize::try_from(number).unwrap()];
        self.batcher.sign(&self.chain.batch(block))
    }

    /// The light client: it knows all of HotShot as of L1's final block, and nothing before. No
    /// other contract is there.
    fn light_client(&self, call: &Value) -> String {
        let question = call["params"][0].to_string().to_lowercase();
        let is_asked = question.contains(&format!("{LIGHT_CLIENT:#x}"));
        if !(is_asked && question.contains("9fdb54a7")) {
            return "\"0x\"".into();
        }
        let is_final = call["params"][1].to_string().contains(&l1_hash(L1_FINALIZED).to_string());
        let content = self.content.read();
        let height = if is_final { content.hotshot.height() } else { 0 };
        let root = content.hotshot.tree().light_client_root(height);
        format!("\"0x{height:064x}{height:064x}{}\"", alloy_primitives::hex::encode(root))
    }

    /// A block that the node has.
    fn node_block(&self, number: u64, whole: bool) -> Option<String> {
        let latest = self.content.read().latest;
        let block = self.chain.blocks.get(usize::try_from(number).ok()?)?;
        (number <= latest).then(|| self.chain.show(block, whole))
    }
}

type Fake = State<Arc<Shared>>;

fn json_text(text: String) -> Response {
    ([("content-type", "application/json")], text).into_response()
}

/// Answers in place of a service that should send too much.
async fn flood(State(shared): Fake, request: Request, next: Next) -> Response {
    let is_query = request.uri().path().starts_with("/v1/");
    let answer = match shared.flood(request.uri().path()) {
        Some(answer) => answer,
        None => next.run(request).await,
    };
    if is_query {
        shared.calls.lock().bytes += answer.body().size_hint().exact().unwrap_or(0);
    }
    answer
}

async fn rpc(State(shared): Fake, Path(name): Path<String>, Json(call): Json<Value>) -> Response {
    if name.starts_with("l1") {
        tokio::time::sleep(shared.habits.l1_delay).await;
    }
    let calls = call.as_array().map_or(std::slice::from_ref(&call), Vec::as_slice);
    let mut answers = Vec::new();
    for call in calls {
        let method = call["method"].as_str().unwrap();
        shared.called(format!("{name} {method}"));
        if let Some(answer) = shared.flood(&format!("{name} {method}")) {
            return answer;
        }
        answers.push(answer(&shared, &name, call));
    }
    let answers = answers.join(",");
    json_text(if call.is_array() { format!("[{answers}]") } else { answers })
}

fn answer(shared: &Shared, name: &str, call: &Value) -> String {
    let method = call["method"].as_str().unwrap();
    let (block, whole) = (call["params"][0].as_str(), call["params"][1] == true);
    let number = block
        .and_then(|block| block.strip_prefix("0x"))
        .and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let result = match (name.trim_end_matches("-second"), method) {
        ("node", "eth_chainId") => format!("\"{CHAIN_ID:#x}\""),
        ("node", "eth_blockNumber") => {
            format!("\"{:#x}\"", shared.content.read().latest)
        }
        ("node", "eth_getBlockByNumber") => number
            .and_then(|number| shared.node_block(number, whole))
            .unwrap_or_else(|| "null".into()),
        ("l1", "eth_chainId") => format!("\"{L1_CHAIN_ID:#x}\""),
        ("l1", "eth_blockNumber") => format!("\"{L1_FINALIZED:#x}\""),
        ("l1", "eth_getBlockByNumber") => {
            let number = number.unwrap_or(L1_FINALIZED);
            json!({"number": format!("{number:#x}"), "hash": l1_hash(number),
                "parentHash": l1_hash(number.saturating_sub(1))})
            .to_string()
        }
        ("l1", "eth_call") => shared.light_client(call),
        (name @ ("node" | "l1"), "web3_clientVersion") => format!("\"{name}/v1\""),
        ("consensus", "optimism_rollupConfig") => shared.chain.rollup_config().to_string(),
        // As while op-node starts.
        ("consensus", "optimism_syncStatus") => "{}".into(),
        _ => "null".into(),
    };
    format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, call["id"])
}

/// HotShot's headers from a height on, as far as anybody needs them.
async fn header_stream(State(shared): Fake, Path(from): Path<usize>, request: Request) -> Response {
    shared.called("stream".into());
    let height = |shared: &Shared| shared.content.read().hotshot.height() as usize;
    tell(shared, request, from, height, |height| format!(r#"{{"fields":{{"height":{height}}}}}"#))
}

/// The node's new blocks; L1 stands still.
async fn heads(State(shared): Fake, Path(name): Path<String>, request: Request) -> Response {
    if name != "node" {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    shared.called("heads".into());
    let next = |shared: &Shared| shared.content.read().latest as usize + 1;
    let from = next(&shared);
    tell(shared, request, from, next, |number| {
        format!(r#"{{"params":{{"subscription":"0x1","result":{{"number":"{number:#x}"}}}}}}"#)
    })
}

/// Sends a message for each block over a WebSocket.
fn tell(
    shared: Arc<Shared>,
    mut request: Request,
    mut next: usize,
    until: impl Fn(&Shared) -> usize + Send + 'static,
    message: impl Fn(usize) -> String + Send + 'static,
) -> Response {
    let key = request.headers().get("sec-websocket-key");
    let Some(key) = key.filter(|_| shared.habits.streams) else {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    };
    let accept = derive_accept_key(key.as_bytes());
    let mut grown = shared.grown.subscribe();
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let stream = TokioIo::new(upgrade.await.unwrap());
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        loop {
            while next < until(&shared) {
                if socket.send(Message::text(message(next))).await.is_err() {
                    return;
                }
                next += 1;
            }
            tokio::select! {
                changed = grown.changed() => if changed.is_err() { return },
                message = socket.next() => if !matches!(message, Some(Ok(_))) { return },
            }
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-accept", accept)
        .body(Body::empty())
        .unwrap()
}

async fn height(State(shared): Fake) -> Json<Value> {
    shared.called("height".into());
    Json(json!(shared.content.read().hotshot.height()))
}

async fn limits(State(shared): Fake) -> Json<Value> {
    shared.called("limits".into());
    Json(json!({"small_object_range_limit": 500, "large_object_range_limit": 100}))
}

async fn range(
    shared: Fake,
    Path((from, until, namespace)): Path<(usize, usize, u32)>,
) -> Response {
    blocks(&shared, "range", from..until, |block| block.answer(namespace))
}

async fn headers(shared: Fake, Path((from, until)): Path<(usize, usize)>) -> Response {
    blocks(&shared, "headers", from..until, |block| block.header_text().to_owned())
}

async fn vid_common(State(shared): Fake, Path(height): Path<usize>) -> Response {
    shared.called("vid".into());
    match shared.content.read().hotshot.blocks().get(height) {
        Some(block) => Json(block.vid_common()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn path(State(shared): Fake, Path((headers, height)): Path<(u64, u64)>) -> Response {
    shared.called("path".into());
    let content = shared.content.read();
    match height < headers && headers <= content.hotshot.height() {
        true => Json(content.hotshot.tree().path(headers, height)).into_response(),
        false => StatusCode::NOT_FOUND.into_response(),
    }
}

/// What was asked so far, and the length of the query service's answers.
async fn calls(State(shared): Fake) -> Json<(BTreeMap<String, u64>, u64)> {
    let calls = shared.calls.lock();
    Json((calls.by_name.clone(), calls.bytes))
}

/// One JSON text for each HotShot block of a range.
fn blocks(
    State(shared): &Fake,
    name: &str,
    range: Range<usize>,
    text: impl Fn(&Block) -> String,
) -> Response {
    shared.called(name.into());
    let content = shared.content.read();
    match content.hotshot.blocks().get(range) {
        Some(blocks) => {
            let texts: Vec<_> = blocks.iter().map(|block| text(block)).collect();
            json_text(format!("[{}]", texts.join(",")))
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Shows the node's next block, and posts its batch.
async fn advance(State(shared): Fake) {
    let next = shared.content.read().latest + 1;
    let payload = shared.signed(next);
    let mut content = shared.content.write();
    content.latest = next;
    content.post(&[payload], shared.habits.weight);
    drop(content);
    shared.grown.send_replace(());
}
