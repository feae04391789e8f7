//! What each stage costs by itself, and a bare reader to compare with.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use finality_core::head::Source;
use finality_sidecar::{
    espresso::QueryServices,
    node::{Block, Node},
    rollup::op::{Form as _, Op, OpBatch, recover_signer},
    store::{Audit, FileStore, Identity, Record, Store},
    telemetry::{Metrics, metrics::Target},
};
use futures::{StreamExt, stream};
use serde::Serialize;

use super::{
    canned::chain::CHAIN_ID,
    follow::upstream,
    services::{self, Services},
};

/// Blocks in one request, and requests at once, of the bare reader: as the verifier does it.
const RANGE: u64 = 100;
const AT_ONCE: usize = 8;

/// Microseconds for each block, one after the other on one thread. `save` is for each write.
#[derive(Debug, Serialize)]
pub(crate) struct Stages {
    pub(crate) fetch: f64,
    pub(crate) recover: f64,
    pub(crate) decode: f64,
    pub(crate) node: f64,
    pub(crate) compare: f64,
    pub(crate) save: f64,
}

struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn micros_each(&self, count: u64) -> f64 {
        self.0.elapsed().as_secs_f64() * 1e6 / count as f64
    }
}

/// Measures the stages over the first `count` blocks.
pub(crate) async fn measure(services: &Services, count: u64, range: u64) -> Stages {
    let metrics = Metrics::new();
    let open = |target, path| upstream(&services.url, target, path, &metrics);
    let query =
        QueryServices::new(vec![open(Target::Query, "v1")], CHAIN_ID as u32, metrics.clone());
    let node = Node::new(open(Target::Node, "rpc/node"));
    let op = Op::new([services::batcher().address()]);

    let clock = Clock::start();
    let mut payloads: Vec<Vec<u8>> = Vec::new();
    for from in (0..count).step_by(range as usize) {
        let blocks = query.range(from, (from + range).min(count)).await.unwrap();
        payloads
            .extend(blocks.payloads.iter().flat_map(|block| block.payloads().map(<[u8]>::to_vec)));
    }
    let fetch = clock.micros_each(count);

    let clock = Clock::start();
    for payload in &payloads {
        black_box(recover_signer(payload).unwrap());
    }
    let recover = clock.micros_each(count);

    let clock = Clock::start();
    for payload in &payloads {
        black_box(OpBatch::decode(&payload[65..]).unwrap());
    }
    let decode = clock.micros_each(count);

    let clock = Clock::start();
    let mut blocks = Vec::new();
    for number in 1..=count {
        blocks.push(node.block::<Block>(number).await.unwrap().unwrap());
    }
    let node = clock.micros_each(count);

    let batches: Vec<_> = payloads.iter().map(|payload| op.admit(payload).unwrap()).collect();
    let clock = Clock::start();
    for (batch, block) in batches.iter().zip(&blocks) {
        black_box(op.compare(batch, block)).unwrap();
    }
    let compare = clock.micros_each(count);

    Stages { fetch, recover, decode, node, compare, save: save() }
}

/// Microseconds for each durable write of the state file.
fn save() -> f64 {
    const WRITES: u64 = 200;
    let folder = tempfile::tempdir().unwrap();
    let mut store = FileStore::open(&folder.path().join("store.json")).unwrap();
    let clock = Clock::start();
    for number in 1..=WRITES {
        let hash = alloy_primitives::keccak256(number.to_le_bytes());
        let record = Record {
            audit: Audit::default(),
            generation: 0,
            moment: None,
            number,
            hash: Some(hash),
            l1_origin: None,
            source: Source::Espresso,
            restart_height: Some(number),
            fallback_height: None,
            batchers: None,
            identity: Some(Identity { chain_id: CHAIN_ID, genesis_hash: hash, namespace: 1 }),
            updated_at: jiff::Timestamp::now(),
            samples: Vec::new(),
        };
        let identity = store.record().and_then(|record| record.identity);
        store.save(Record { identity: identity.or(record.identity), ..record }).unwrap();
    }
    clock.micros_each(WRITES)
}

/// Reads the same ranges and the same blocks, as many at once, without looking at them.
pub(crate) async fn bare_reader(services: &Services, count: u64, range: u64) -> Duration {
    let client = reqwest::Client::new();
    let range = range.min(RANGE);
    let started = Instant::now();
    let ranges = stream::iter((0..count).step_by(range as usize)).map(|from| {
        let until = (from + range).min(count);
        let url =
            format!("{}/v1/availability/block/{from}/{until}/namespace/{CHAIN_ID}", services.url);
        let request = client.get(url);
        async move { request.send().await.unwrap().bytes().await.unwrap().len() }
    });
    let blocks = stream::iter(1..=count).map(|number| {
        let call = serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "eth_getBlockByNumber",
            "params": [format!("{number:#x}"), true]});
        let request = client.post(format!("{}/rpc/node", services.url)).json(&call);
        async move { request.send().await.unwrap().bytes().await.unwrap().len() }
    });
    let read_ranges = ranges.buffered(AT_ONCE).for_each(async |length| _ = black_box(length));
    let read_blocks = blocks.buffered(AT_ONCE).for_each(async |length| _ = black_box(length));
    tokio::join!(read_ranges, read_blocks);
    started.elapsed()
}
