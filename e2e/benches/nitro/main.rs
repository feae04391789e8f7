//! How fast a sidecar verifies a Nitro chain that it has all of: messages of the sequencer's feed,
//! twenty in a payload, beside the same with twisted copies before each of them, and after payloads
//! of strangers; and how soon a message that appears is the head.
//!
//! `cargo xtask bench nitro`, which measures the OP Stack first; with `--quick` a tenth of the
//! blocks, with `steady` or `twisted` that part alone. The sidecar is a process of its own on the
//! same machine as the services, so that they share its processors.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark ends at the first thing that is not as expected"
)]

mod steady;
mod world;

use std::{
    process::{Child, Command, ExitCode, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use alloy_consensus::{SignableTransaction as _, TxEnvelope, TxLegacy};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use finality_e2e::{
    client::http,
    nitro::{
        block::{Block, Rules},
        content,
        feed::FeedMessage,
        ledger::Ledger,
        message::{Header, Kind, Message, SEQUENCER},
        payloads, twists,
    },
    ports::free_port,
    signer::Signer,
    wait::until,
};
use finality_hotshot::{
    block::{Circumstances, Namespace},
    chain::Chain as HotShot,
};
use futures::{StreamExt as _, stream};
use serde::Serialize;
use serde_json::{Value, json};

use world::World;

const CHAIN_ID: u64 = 412_346;
const L1_CHAIN_ID: u64 = 31_337;
const FINALIZED: u64 = 1_000_000;
const TIME: u64 = 1_700_000_000;
const TRANSACTIONS: u64 = 3;
const MESSAGES: usize = 20;
const COPIES: usize = 64;
/// How long a head may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|first| first == "run") {
        return finality_sidecar::cli::main();
    }
    let is_given = |wanted: &str| std::env::args().any(|word| word == wanted);
    let scale = if is_given("--quick") { 10 } else { 1 };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if is_given("steady") {
        let steady = runtime.block_on(steady::all(scale));
        println!("{}", serde_json::to_string_pretty(&steady).unwrap());
        return ExitCode::SUCCESS;
    }
    if is_given("twisted") {
        let twisted = runtime.block_on(Twisted::measure(scale));
        println!("{}", serde_json::to_string_pretty(&twisted).unwrap());
        return ExitCode::SUCCESS;
    }
    let report = runtime.block_on(report(scale));
    let text = serde_json::to_string_pretty(&report).unwrap();
    println!("{text}");
    std::fs::create_dir_all(FOLDER).unwrap();
    std::fs::write(format!("{FOLDER}/nitro.json"), text).unwrap();
    ExitCode::SUCCESS
}

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench");

/// What the benchmark of the verifier has written of the OP Stack last, with as many transactions.
fn op() -> Option<Value> {
    let text = std::fs::read_to_string(format!("{FOLDER}/catch-up.json")).ok()?;
    let sizes: Vec<Value> = serde_json::from_str(&text).ok()?;
    let mut same = sizes.into_iter().find(|size| size["transactions"] == TRANSACTIONS)?;
    same.as_object_mut()?.remove("stages_us");
    Some(same)
}

#[derive(Debug, Serialize)]
struct Report {
    plain: Followed,
    bare_reader_blocks_per_second: f64,
    /// The OP Stack beside it.
    op: Option<Value>,
    #[serde(flatten)]
    twisted: Twisted,
    hostile: Hostile,
    steady: Vec<steady::Steady>,
}

#[derive(Debug, Serialize)]
struct Twisted {
    twisted: Followed,
    /// The same blocks without the copies.
    untwisted: Followed,
    twisted_cpu_ratio: f64,
}

impl Twisted {
    async fn measure(scale: usize) -> Self {
        eprintln!("{} blocks with {COPIES} copies each", 3_000 / scale);
        let untwisted = Services::start(3_000 / scale, Vec::new(), None).await.follow().await;
        let twisted = Services::start(3_000 / scale, Vec::new(), Some(COPIES)).await.follow().await;
        let twisted_cpu_ratio = twisted.cpu_us_per_block / untwisted.cpu_us_per_block;
        Self { twisted, untwisted, twisted_cpu_ratio }
    }
}

#[derive(Debug, Serialize)]
struct Followed {
    blocks: u64,
    blocks_per_second: f64,
    cpu_us_per_block: f64,
    rss_mib: f64,
    peak_rss_mib: f64,
}

#[derive(Debug, Serialize)]
struct Hostile {
    payloads: u64,
    payloads_per_second: f64,
    /// Resident memory after a tenth of them, and after all.
    rss_mib: [f64; 2],
    /// What was asked of node and L1 for each thousand of them, after a tenth.
    calls_per_thousand: f64,
}

async fn report(scale: usize) -> Report {
    eprintln!("{} blocks", 30_000 / scale);
    let plain = Services::start(30_000 / scale, Vec::new(), None).await;
    let bare = plain.read().await;
    let followed = plain.follow().await;
    let twisted = Twisted::measure(scale).await;
    let count = 100_000 / scale;
    eprintln!("{count} payloads of strangers");
    let hostile = Services::start(20, strangers(count), None).await.endure(count).await;
    Report {
        bare_reader_blocks_per_second: followed.blocks as f64 / bare.as_secs_f64(),
        plain: followed,
        op: op(),
        twisted,
        hostile,
        steady: steady::all(scale).await,
    }
}

fn rules() -> Rules {
    Rules { chain_id: CHAIN_ID, genesis: 0, arbos_version: 32, collects_tips: false }
}

fn genesis() -> Block {
    let wealth = U256::from(10).pow(U256::from(24));
    rules().genesis(TIME, Ledger::with(&[Signer::caller().address()], wealth))
}

struct Services {
    world: Arc<World>,
    url: String,
}

fn transaction(nonce: u64) -> Bytes {
    let transaction = TxLegacy {
        chain_id: Some(CHAIN_ID),
        nonce,
        gas_price: 1_000_000_000,
        gas_limit: 21_000,
        to: TxKind::Call(Address::repeat_byte(0x22)),
        value: U256::from(1),
        input: Bytes::new(),
    };
    let signature = Signer::caller().sign_hash(transaction.signature_hash());
    content::signed(&TxEnvelope::from(transaction.into_signed(signature)).encoded_2718())
}

fn message(position: u64) -> Message {
    let nonces = (position - 1) * TRANSACTIONS..position * TRANSACTIONS;
    Message {
        position,
        delayed_read: 1,
        header: Header {
            kind: Kind::L2,
            poster: SEQUENCER,
            block_number: 100,
            timestamp: TIME + position,
            request_id: None,
            base_fee: Some(U256::ZERO),
        },
        content: content::batch(&nonces.map(transaction).collect::<Vec<_>>()),
        batch_gas: None,
        batch_data: None,
    }
}

/// Payloads that nobody known has signed, of every form.
fn strangers(count: usize) -> Vec<Vec<u8>> {
    let stranger = Signer::unauthorized();
    (0..count)
        .map(|index| {
            let message = message(1 + index as u64 % 1_000);
            match index % 4 {
                0 => vec![index as u8; 200],
                1 => payloads::v0(&stranger, &[message]),
                2 => payloads::v0(&stranger, &[])[..70].to_vec(),
                _ => {
                    let copy = FeedMessage {
                        message,
                        block_hash: Some(B256::ZERO),
                        metadata: Bytes::new(),
                        signature: None,
                        signature_v2: None,
                    };
                    payloads::v1(&[copy.sign_v2(&stranger, CHAIN_ID)])
                }
            }
        })
        .collect()
}

/// Copies of a message under the same signature.
fn twisted(copy: &FeedMessage, count: usize) -> Vec<FeedMessage> {
    let lengths = (1..).filter_map(|length| twists::into_base_fee(copy, length));
    let both = (1..).filter_map(|length| twists::into_both(copy, length));
    lengths.take(count / 2).chain(both.take(count - count / 2)).collect()
}

impl Services {
    /// A chain, what is posted before it, and how many twisted copies stand before each message.
    async fn start(blocks: usize, before: Vec<Vec<u8>>, copies: Option<usize>) -> Self {
        let (rules, mut tip) = (rules(), genesis());
        let texts = |block: &Block| [true, false].map(|whole| block.json(whole).to_string());
        let (mut served, mut posted) = (vec![texts(&tip)], Vec::new());
        for position in 1..=blocks as u64 {
            tip = rules.block(&tip, message(position));
            assert_eq!(tip.transactions.len() as u64, 1 + TRANSACTIONS);
            served.push(texts(&tip));
            posted.push(FeedMessage::of(&tip).sign_v2(&Signer::batcher(), CHAIN_ID));
        }
        let mut payloads: Vec<Vec<Vec<u8>>> = before.chunks(100).map(<[_]>::to_vec).collect();
        for messages in posted.chunks(MESSAGES) {
            let copies = messages.iter().flat_map(|copy| twisted(copy, copies.unwrap_or(0)));
            let copies: Vec<_> = copies.collect();
            let mut block: Vec<_> = copies.chunks(MESSAGES).map(payloads::v1).collect();
            block.push(payloads::v1(messages));
            payloads.push(block);
        }
        let id = u32::try_from(CHAIN_ID).unwrap();
        let mut hotshot = HotShot::default();
        for payloads in payloads {
            let circumstances = Circumstances {
                minor: 6,
                weight: 10,
                timestamp: TIME,
                l1_head: FINALIZED,
                l1_finalized: None,
            };
            hotshot.push(circumstances, vec![Namespace::new(id, &payloads)]);
        }
        let world = Arc::new(World {
            blocks: served,
            namespaces: hotshot.blocks().iter().map(|block| block.answer(id)).collect(),
            headers: hotshot.blocks().iter().map(|block| block.header_text().to_owned()).collect(),
            calls: Mutex::default(),
        });
        let router = world::router(Arc::clone(&world));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { world, url }
    }

    fn last(&self) -> u64 {
        self.world.blocks.len() as u64 - 1
    }

    /// Fetches what a sidecar fetches, as it does, and looks at nothing.
    async fn read(&self) -> Duration {
        let client = http();
        let started = Instant::now();
        let ranges = stream::iter((0..self.world.namespaces.len()).step_by(100)).map(|from| {
            let until = (from + 100).min(self.world.namespaces.len());
            let path = format!("v1/availability/block/{from}/{until}/namespace/{CHAIN_ID}");
            let asked = client.get(format!("{}/{path}", self.url)).send();
            async move { asked.await.unwrap().bytes().await.unwrap().len() }
        });
        let blocks = stream::iter(1..=self.last()).map(|number| {
            let question = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_getBlockByNumber",
                "params": [format!("{number:#x}"), true]});
            let asked = client.post(format!("{}/rpc/node", self.url)).json(&question).send();
            async move { asked.await.unwrap().bytes().await.unwrap().len() }
        });
        let (ranges, blocks) = tokio::join!(
            ranges.buffered(2).collect::<Vec<_>>(),
            blocks.buffered(8).collect::<Vec<_>>()
        );
        assert!(ranges.iter().chain(&blocks).all(|length| *length > 0));
        started.elapsed()
    }

    fn run(&self, folder: &std::path::Path) -> Sidecar {
        let url = |path: &str| format!("{}/{path}", self.url);
        self.run_with(folder, &url("rpc/node"), &url("v1"), &[])
    }

    fn run_with(
        &self,
        folder: &std::path::Path,
        node: &str,
        query_service: &str,
        more: &[&str],
    ) -> Sidecar {
        let port = free_port();
        let url = |path: &str| format!("{}/{path}", self.url);
        let child = Command::new(std::env::current_exe().unwrap())
            .arg("run")
            .arg("--rollup=nitro")
            .arg(format!("--node-execution-rpc={node}"))
            .arg(format!("--l1-rpc={},{}", url("rpc/l1"), url("rpc/l1-second")))
            .arg(format!("--query-service-url={query_service}"))
            .arg(format!("--bridge-address={}", Address::repeat_byte(1)))
            .arg(format!("--sequencer-inbox-address={}", Address::repeat_byte(2)))
            .arg(format!("--batcher-addresses={}", Signer::batcher().address()))
            .args(["--hotshot-proofs=off", "--initial-hotshot-height=0", "--log-level=error"])
            .arg(format!("--listen-addr=127.0.0.1:{port}"))
            .args(more)
            .current_dir(folder)
            // Settings of whoever runs this are not the benchmark's.
            .env_clear()
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Sidecar { child, url: format!("http://127.0.0.1:{port}") }
    }

    async fn follow(&self) -> Followed {
        let folder = tempfile::tempdir().unwrap();
        let started = Instant::now();
        let sidecar = self.run(folder.path());
        sidecar.reaches(self.last()).await;
        let blocks = self.last();
        Followed {
            blocks,
            blocks_per_second: blocks as f64 / started.elapsed().as_secs_f64(),
            cpu_us_per_block: sidecar.cpu_seconds() * 1e6 / blocks as f64,
            rss_mib: sidecar.memory("VmRSS:"),
            peak_rss_mib: sidecar.memory("VmHWM:"),
        }
    }

    /// Passes `count` payloads of strangers on its way to the last block.
    async fn endure(&self, count: usize) -> Hostile {
        let folder = tempfile::tempdir().unwrap();
        let started = Instant::now();
        let sidecar = self.run(folder.path());
        let calls = || -> u64 {
            let calls = self.world.calls.lock().unwrap();
            calls.iter().filter(|(name, _)| *name != "query").map(|(_, count)| count).sum()
        };
        let tenth = self.world.namespaces.len() as u64 / 10;
        sidecar.reads(tenth).await;
        let (early, before) = (sidecar.memory("VmRSS:"), calls());
        sidecar.reads(self.world.namespaces.len() as u64 - 1).await;
        let (time, calls) = (started.elapsed(), calls() - before);
        let rss_mib = [early, sidecar.memory("VmRSS:")];
        sidecar.reaches(self.last()).await;
        Hostile {
            payloads: count as u64,
            payloads_per_second: count as f64 / time.as_secs_f64(),
            rss_mib,
            calls_per_thousand: calls as f64 * 1_000.0 / count as f64,
        }
    }
}

/// It ends with this.
struct Sidecar {
    child: Child,
    url: String,
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Sidecar {
    async fn get(&self, path: &str) -> Option<Value> {
        let answer = http().get(format!("{}{path}", self.url)).send().await.ok()?;
        answer.json().await.ok()
    }

    /// When the head is there, as a poller hears it.
    async fn reaches(&self, number: u64) -> Instant {
        let path = format!("/v1/head?after={}&wait=15s", number - 1);
        until(&format!("block {number}"), PATIENCE, async || {
            let head = self.get(&path).await?;
            (head["number"].as_u64()? >= number).then(Instant::now)
        })
        .await
    }

    async fn reads(&self, height: u64) {
        until(&format!("HotShot's block {height}"), PATIENCE, async || {
            let status = self.get("/v1/status").await?;
            (status["hotshot"]["cursor"].as_u64()? >= height).then_some(())
        })
        .await;
    }

    fn memory(&self, name: &str) -> f64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
    }

    /// Processor time so far; the kernel counts in hundredths of a second.
    fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }
}
