//! The canned services, in a process of their own: node, op-node, L1 and query service over HTTP.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use super::chain::{CHAIN_ID, Chain, L1_CHAIN_ID};

/// What the services have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content {
    pub(crate) blocks: u64,
    pub(crate) transactions: usize,
    /// HotShot blocks without our namespace before the first batch.
    pub(crate) empty: u64,
    /// Blocks that are there from the start; `POST /advance` shows the next one.
    pub(crate) visible: u64,
}

/// The services' process. It ends with this, or with the process that started it.
pub(crate) struct Services {
    child: Child,
    pub(crate) url: String,
}

impl Services {
    pub(crate) fn start(content: Content) -> Self {
        let Content { blocks, transactions, empty, visible } = content;
        let numbers =
            [blocks, transactions as u64, empty, visible].map(|number| number.to_string());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("serve")
            .args(numbers)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut url).unwrap();
        Self { child, url: url.trim().to_owned() }
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

struct Shared {
    chain: Chain,
    empty: u64,
    visible: AtomicU64,
}

/// Serves until standard input ends.
pub(crate) async fn serve(content: Content) {
    let shared = Arc::new(Shared {
        chain: Chain::new(content.blocks, content.transactions),
        empty: content.empty,
        visible: AtomicU64::new(content.visible),
    });
    let router = Router::new()
        .route("/node", post(node))
        .route("/op-node", post(op_node))
        .route("/l1", post(l1))
        .route("/hotshot/status/block-height", get(height))
        .route(
            "/hotshot/availability/limits",
            get(async || Json(json!({"large_object_range_limit": 100}))),
        )
        .route("/hotshot/availability/block/{from}/{until}/namespace/{namespace}", get(range))
        .route("/advance", post(advance))
        .with_state(shared);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    std::io::stdout().flush().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()))
        .await
        .unwrap()
        .unwrap();
}

fn result(text: &str) -> Response {
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{text}}}"#);
    ([("content-type", "application/json")], body).into_response()
}

async fn node(State(shared): State<Arc<Shared>>, Json(request): Json<Value>) -> Response {
    let visible = shared.visible.load(Ordering::SeqCst);
    match request["method"].as_str().unwrap() {
        "eth_chainId" => result(&format!("\"{CHAIN_ID:#x}\"")),
        "eth_blockNumber" => result(&format!("\"{visible:#x}\"")),
        _ => {
            let number = request["params"][0].as_str().unwrap().strip_prefix("0x");
            let number = number.map(|digits| u64::from_str_radix(digits, 16).unwrap());
            let whole = request["params"][1] == json!(true);
            let block = number.filter(|number| *number <= visible);
            result(
                &block
                    .and_then(|number| shared.chain.block(number, whole))
                    .unwrap_or("null".into()),
            )
        }
    }
}

async fn op_node(State(shared): State<Arc<Shared>>) -> Response {
    result(&shared.chain.rollup_config().to_string())
}

async fn l1(State(shared): State<Arc<Shared>>, Json(request): Json<Value>) -> Response {
    match request["method"].as_str().unwrap() {
        "eth_chainId" => result(&format!("\"{L1_CHAIN_ID:#x}\"")),
        _ => result(&shared.chain.l1_block().to_string()),
    }
}

async fn height(State(shared): State<Arc<Shared>>) -> String {
    (shared.empty + shared.visible.load(Ordering::SeqCst)).to_string()
}

async fn range(
    State(shared): State<Arc<Shared>>,
    Path((from, until, _)): Path<(u64, u64, u64)>,
) -> Response {
    if until > shared.empty + shared.visible.load(Ordering::SeqCst) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let number = |height: u64| Some(height.checked_sub(shared.empty)? + 1);
    let elements: Vec<_> =
        (from..until).map(|height| shared.chain.element(number(height))).collect();
    let body = format!("[{}]", elements.join(","));
    ([("content-type", "application/json")], body).into_response()
}

async fn advance(State(shared): State<Arc<Shared>>) {
    shared.visible.fetch_add(1, Ordering::SeqCst);
}
