//! Contracts, over real sockets.

use std::{collections::BTreeMap, time::Duration};

use alloy_primitives::{B256, hex, keccak256};
use axum::{Json, Router, http::StatusCode, routing::post};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};

use super::super::*;
use crate::{
    batchers::BatcherTenure,
    redact::SecretUrl,
    telemetry::{Metrics, metrics::Target},
    upstream::UpstreamOptions,
};

const OLD: Address = Address::repeat_byte(0xb1);
const NEW: Address = Address::repeat_byte(0xb2);
const CONTRACT: Address = Address::repeat_byte(0xcc);

/// What an endpoint has and says.
#[derive(Debug, Clone)]
struct Chain {
    /// Blocks above `fork_at` are others, by this name.
    fork: &'static str,
    fork_at: u64,
    latest: u64,
    finalized: Option<u64>,
    down: bool,
    /// Return data by call data; an empty answer when there is none.
    contract: BTreeMap<String, String>,
    reverts: bool,
    /// The blocks in which a bridge got its messages; it was made in the first.
    delivered: Vec<u64>,
    /// The first block whose state it has.
    oldest: u64,
    /// What `eth_getLogs` returns, if it returns something.
    logs: Option<Vec<Value>>,
    asked: Vec<Value>,
}

fn hash(fork: &str, fork_at: u64, number: u64) -> B256 {
    let name = if number > fork_at { fork } else { "" };
    keccak256(format!("{name} {number}"))
}

fn main(number: u64) -> BlockId {
    BlockId { number, hash: hash("", 0, number) }
}

impl Chain {
    fn answer(&mut self, request: &Value) -> Value {
        self.asked.push(request.clone());
        let (method, params) = (request["method"].as_str().unwrap(), &request["params"]);
        match method {
            "eth_chainId" => json!({"result": "0x5"}),
            "eth_blockNumber" => json!({"result": format!("{:#x}", self.latest)}),
            "eth_getBlockByNumber" => {
                let number = match params[0].as_str().unwrap() {
                    "finalized" => self.finalized,
                    digits => Some(u64::from_str_radix(&digits[2..], 16).unwrap()),
                };
                let number = number.filter(|number| *number <= self.latest);
                json!({"result": number.map(|number| json!({
                    "number": format!("{number:#x}"), "hash": hash(self.fork, self.fork_at, number),
                    "timestamp": format!("{:#x}", 10 * number),
                }))})
            }
            "eth_call" if params[0]["data"] == "0xeca067ad" => {
                let block: B256 = params[1]["blockHash"].as_str().unwrap().parse().unwrap();
                let is_it = |number: &u64| hash(self.fork, self.fork_at, *number) == block;
                let number = (0..=self.latest).find(is_it).unwrap();
                match self.delivered.iter().filter(|at| **at <= number).count() {
                    _ if number < self.oldest => {
                        json!({"error": {"code": -32000, "message": "missing trie node"}})
                    }
                    0 => json!({"result": "0x"}),
                    count => json!({"result": format!("0x{count:064x}")}),
                }
            }
            "eth_call" => match self.contract.get(params[0]["data"].as_str().unwrap()) {
                Some(data) => json!({"result": data}),
                None if self.reverts => {
                    json!({"error": {"code": 3, "message": "execution reverted"}})
                }
                None => json!({"result": "0x"}),
            },
            "eth_getLogs" => match &self.logs {
                Some(logs) => {
                    let bound = |name: &str| quantity(&params[0][name]);
                    let (from, until) = (bound("fromBlock"), bound("toBlock"));
                    let inside =
                        |log: &&Value| (from..=until).contains(&quantity(&log["blockNumber"]));
                    json!({"result": logs.iter().filter(inside).collect::<Vec<_>>()})
                }
                None => json!({"error": {"code": -32005, "message": "too many blocks"}}),
            },
            "eth_getBlockByHash" => json!({"result": {"timestamp": "0x4d2"}}),
            other => panic!("{other}"),
        }
    }

    /// A BatchAuthenticator with this history.
    fn batchers(&mut self, entries: &[(Address, u64)]) {
        self.reverts = true;
        self.contract.insert("0x4268ecaa".into(), format!("0x{:064x}", entries.len()));
        self.contract.insert("0xeca919df".into(), format!("0x{:064x}", 1));
        for (index, (batcher, from)) in entries.iter().enumerate() {
            let words = format!("0x{}{from:064x}", hex::encode(batcher.into_word()));
            self.contract.insert(format!("0xfd402af7{index:064x}"), words);
        }
    }
}

/// Endpoints, and L1 behind them.
struct World {
    chains: Vec<Arc<Mutex<Chain>>>,
    l1: L1,
}

impl World {
    async fn new(count: usize) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let (mut chains, mut upstreams) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let chain = Arc::new(Mutex::new(Chain {
                fork: "",
                fork_at: 0,
                latest: 100,
                finalized: Some(90),
                down: false,
                contract: BTreeMap::new(),
                reverts: false,
                delivered: Vec::new(),
                oldest: 0,
                logs: None,
                asked: Vec::new(),
            }));
            let served = Arc::clone(&chain);
            let router = Router::new().route(
                "/",
                post(async move |Json(request): Json<Value>| {
                    let mut chain = served.lock();
                    match chain.down {
                        true => Err(StatusCode::BAD_REQUEST),
                        false => Ok(Json(match request.as_array() {
                            None => chain.answer(&request),
                            Some(calls) => calls
                                .iter()
                                .map(|call| {
                                    let mut answer = chain.answer(call);
                                    answer["id"] = call["id"].clone();
                                    answer
                                })
                                .collect(),
                        })),
                    }
                }),
            );
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/", listener.local_addr().unwrap());
            tokio::spawn(async move { axum::serve(listener, router).await });
            let options = UpstreamOptions {
                request_timeout: Duration::from_secs(20),
                retry_interval: Duration::ZERO,
                metrics: Metrics::new(),
            };
            let url = SecretUrl::parse(&url).unwrap();
            upstreams.push(Upstream::new(Target::L1, "l1_rpc", url, options).unwrap());
            chains.push(chain);
        }
        let l1 = L1::new(upstreams, Duration::ZERO);
        l1.read(5).await.unwrap();
        Self { chains, l1 }
    }

    fn chain(&self, index: usize) -> MutexGuard<'_, Chain> {
        self.chains[index].lock()
    }
}

#[tokio::test]
async fn contracts_are_asked_by_the_hash_of_the_block() {
    let world = World::new(1).await;
    let words = format!("0x{:064x}{:064x}{:064x}", 7, 991, 1);
    world.chain(0).contract.insert("0x9fdb54a7".into(), words);
    let state = world.l1.light_client(CONTRACT, main(80)).await.unwrap();
    assert_eq!(state.block_height, 991);
    let call = world.chain(0).asked.last().unwrap()["params"].clone();
    assert_eq!(call[0]["to"], json!(CONTRACT));
    assert_eq!(call[1], json!({"blockHash": main(80).hash}));
}

fn quantity(value: &Value) -> u64 {
    u64::from_str_radix(&value.as_str().unwrap()[2..], 16).unwrap()
}

/// A `NewState` event, with its first arguments indexed as the contract has them or with none.
fn new_state(block: u64, height: u64, indexed: bool) -> Value {
    let signature = "0xa04a773924505a418564363725f56832f5772e6b8d0dbd6efce724dfe803dae6";
    let (view, height, root) =
        (format!("{:064x}", height + 7), format!("{height:064x}"), format!("{:064x}", 1));
    let (topics, data) = if indexed {
        (json!([signature, format!("0x{view}"), format!("0x{height}")]), format!("0x{root}"))
    } else {
        (json!([signature]), format!("0x{view}{height}{root}"))
    };
    json!({"blockNumber": format!("{block:#x}"), "logIndex": "0x0", "topics": topics, "data": data})
}

#[tokio::test]
async fn where_l1_lacks_the_state_the_light_client_s_newest_event_has_the_height() {
    let world = World::new(1).await;
    {
        let mut chain = world.chain(0);
        (chain.latest, chain.reverts) = (5_000, true);
        let logs = [(400, 40, true), (900, 90, false), (4_500, 450, true)];
        chain.logs =
            Some(logs.map(|(block, height, indexed)| new_state(block, height, indexed)).into());
    }
    for (block, height) in [(400, 40), (899, 40), (900, 90), (4_499, 90), (4_500, 450)] {
        let state = world.l1.light_client(CONTRACT, main(block)).await.unwrap();
        assert_eq!(state.block_height, height, "at {block}");
    }
    let error = world.l1.light_client(CONTRACT, main(399)).await.unwrap_err();
    assert!(matches!(error, LightClientError::Upstream(UpstreamError::Rpc { .. })), "{error}");
    world.chain(0).logs = None;
    assert!(world.l1.light_client(CONTRACT, main(900)).await.is_err());
    assert_eq!(world.l1.timestamp(main(900)).await, Ok(1234));
}

/// A block is made every ten seconds.
#[tokio::test]
async fn a_delayed_message_is_elsewhere_if_the_bridge_s_count_says_so() {
    let world = World::new(1).await;
    {
        let mut chain = world.chain(0);
        (chain.delivered, chain.logs) = (vec![20, 30, 30, 50], Some(Vec::new()));
    }
    let sought = async |index, timestamp| {
        let found = world.l1.delayed_message(CONTRACT, index, timestamp, 90, main(90)).await;
        found.unwrap()
    };
    for (index, delivered) in [(0, 20), (1, 30), (2, 30), (3, 50)] {
        // Logs that say nothing are no proof.
        assert_eq!(sought(index, 10 * delivered).await, Sought::Untold, "{index}");
        // Before and behind, between two blocks, and before the first and after the last one.
        for timestamp in [10 * (delivered - 1), 10 * (delivered + 1), 10 * delivered + 1, 901] {
            assert_eq!(sought(index, timestamp).await, Sought::Elsewhere, "{index} {timestamp}");
        }
    }
    for timestamp in [0, 100, u64::MAX] {
        assert_eq!(sought(3, timestamp).await, Sought::Elsewhere);
    }
    // Where there is no state any more, nothing says so.
    world.chain(0).oldest = 45;
    for (timestamp, expected) in [
        (200, Sought::Untold),
        (440, Sought::Untold),
        (450, Sought::Elsewhere),
        (501, Sought::Elsewhere),
    ] {
        assert_eq!(sought(3, timestamp).await, expected, "{timestamp}");
    }
    world.chain(0).down = true;
    assert!(world.l1.delayed_message(CONTRACT, 3, 450, 90, main(90)).await.is_err());
}

#[tokio::test]
async fn the_history_of_the_batchers_is_read() {
    let world = World::new(1).await;
    world.chain(0).batchers(&[(OLD, 10), (NEW, 50)]);
    let history = world.l1.batchers(CONTRACT, State::Of(main(90))).await.unwrap();
    let tenures = [
        BatcherTenure { batcher: OLD, from: 10, until: Some(50) },
        BatcherTenure { batcher: NEW, from: 50, until: None },
    ];
    assert_eq!((&*history.tenures, history.active_is_espresso), (&tenures[..], Some(true)));
    let asked = world.chain(0).asked.clone();
    let calls = asked.iter().filter(|call| call["method"] == "eth_call");
    let calls: Vec<_> = calls.map(|call| call["params"][1].clone()).collect();
    assert_eq!(calls, vec![json!({"blockHash": main(90).hash}); 4]);
    // Nothing is kept: another answer is believed as a whole.
    world.chain(0).batchers(&[(NEW, 40)]);
    world.chain(0).contract.remove("0xeca919df");
    let history = world.l1.batchers(CONTRACT, State::Latest).await.unwrap();
    let tenures = [BatcherTenure { batcher: NEW, from: 40, until: None }];
    assert_eq!((&*history.tenures, history.active_is_espresso), (&tenures[..], None));
    assert_eq!(world.chain(0).asked.last().unwrap()["params"][1], "latest");
    // Nor does any answer to what is only shown keep them unknown.
    for answer in ["0x", "0x01", "nonsense"] {
        world.chain(0).contract.insert("0xeca919df".into(), answer.into());
        let history = world.l1.batchers(CONTRACT, State::Latest).await.unwrap();
        assert_eq!((&*history.tenures, history.active_is_espresso), (&tenures[..], None));
    }
}

/// Reads the history, and counts the calls for that.
async fn read_at(world: &World, state: State) -> (Vec<(Address, u64)>, usize) {
    world.chain(0).asked.clear();
    let history = world.l1.batchers(CONTRACT, state).await.unwrap();
    let entries = history.tenures.iter().map(|tenure| (tenure.batcher, tenure.from)).collect();
    let calls = world.chain(0).asked.iter().filter(|call| call["method"] == "eth_call").count();
    (entries, calls)
}

#[tokio::test]
async fn what_two_final_blocks_said_is_read_again_only_if_its_end_has_changed() {
    const OTHER: Address = Address::repeat_byte(0xb3);
    let (first, second, third) = ((OLD, 10), (NEW, 20), (OTHER, 30));
    let world = World::new(1).await;
    // How the history goes on, at which block it is read, and how many entries are read.
    for (entries, block, read) in [
        (&[first, second, third][..], 90, 3),
        // The same block again says nothing new.
        (&[first, second, third], 90, 3),
        (&[first, second, third], 91, 3),
        (&[first, second, third], 92, 1),
        (&[first, second, third, (OLD, 40)], 93, 2),
        (&[first, second, third, (OLD, 40), (NEW, 50)], 94, 3),
        (&[first, second, third, (OLD, 40), (NEW, 50)], 95, 2),
        // The last of those that are kept is another one: all are read again.
        (&[first, second, third, (OLD, 40), (NEW, 51)], 96, 6),
        (&[(OTHER, 11), second, third, (OLD, 41)], 97, 5),
        (&[(OTHER, 11), second, third, (OLD, 41)], 98, 4),
        (&[(OTHER, 11), second, third, (OLD, 41)], 99, 1),
        // It has become shorter.
        (&[(OTHER, 11), second], 100, 2),
    ] {
        world.chain(0).batchers(entries);
        let (known, calls) = read_at(&world, State::Of(main(block))).await;
        assert_eq!(known, entries, "at {block}");
        // And the length, and whether the batcher is active.
        assert_eq!(calls, read + 2, "at {block}");
        let (known, calls) = read_at(&world, State::Latest).await;
        assert_eq!((&*known, calls), (entries, 1), "nothing but the length of the latest block");
    }
}

#[tokio::test]
async fn what_is_kept_of_a_contract_goes_with_the_final_block() {
    let world = World::new(1).await;
    world.chain(0).batchers(&[(OLD, 10), (NEW, 50)]);
    for (block, calls) in [(88, 4), (89, 4), (90, 3)] {
        assert_eq!(read_at(&world, State::Of(main(block))).await.1, calls);
    }
    // A wrong entry before the last would not show.
    world.chain(0).batchers(&[(NEW, 10), (NEW, 50)]);
    assert_eq!(read_at(&world, State::Of(main(91))).await.0, [(OLD, 10), (NEW, 50)]);
    let epoch = world.l1.read(5).await.unwrap().epoch;
    world.chain(0).fork = "other";
    for _ in 0..2 {
        drop(world.l1.read(5).await);
    }
    assert!(world.l1.read(5).await.unwrap().epoch > epoch, "L1 contradicts itself");
    assert_eq!(read_at(&world, State::Latest).await.0, [(NEW, 10), (NEW, 50)]);
    assert_eq!(read_at(&world, State::Of(main(92))).await, (vec![(NEW, 10), (NEW, 50)], 4));
}

#[tokio::test]
async fn a_contract_without_history_asks_for_the_fixed_list() {
    let world = World::new(1).await;
    world.chain(0).reverts = true;
    let read = || world.l1.batchers(CONTRACT, State::Of(main(90)));
    assert!(matches!(read().await, Err(BatchAuthenticatorError::Upstream(_))), "no such contract");
    let batcher = format!("0x{}", hex::encode(OLD.into_word()));
    world.chain(0).contract.insert("0x88da3bb7".into(), batcher);
    let error = read().await.unwrap_err();
    assert_eq!(error, BatchAuthenticatorError::NoHistory);
    assert!(error.to_string().contains("batcher_addresses"));
}

#[tokio::test]
async fn what_is_no_batch_authenticator_is_refused() {
    let world = World::new(1).await;
    let read = || world.l1.batchers(CONTRACT, State::Of(main(90)));
    let error = read().await.unwrap_err();
    assert_eq!(error, BatchAuthenticatorError::NoContract, "no code: an empty answer");
    assert!(error.to_string().contains("batch_authenticator_address"));
    for length in ["0x01".to_owned(), format!("0x{:064x}", 1001), format!("0x{}", "ff".repeat(32))]
    {
        world.chain(0).contract.insert("0x4268ecaa".into(), length.clone());
        let error = read().await.unwrap_err();
        assert!(matches!(error, BatchAuthenticatorError::Malformed(_)), "{length}: {error}");
    }
    world.chain(0).batchers(&[(OLD, 10), (NEW, 10)]);
    let error = read().await.unwrap_err();
    assert!(error.to_string().contains("not in order"), "{error}");
}
