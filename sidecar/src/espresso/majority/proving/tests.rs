//! Against real sockets: what a service can do where its answers are proven.

use std::collections::BTreeMap;

use alloy_primitives::U256;
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use espresso_proofs::Checkpoint;
use finality_hotshot::{
    block::{Block, Circumstances, Namespace},
    chain::Chain,
    dispersal::Encoding,
    payload,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::{
    config::HotshotProofs,
    redact::SecretUrl,
    telemetry::{Metrics, metrics::Target},
    upstream::{Upstream, UpstreamOptions},
};

const NAMESPACE: u32 = 7;
const OTHER: u32 = 9;
/// The block that most services lie about.
const HEIGHT: u64 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Route {
    Headers,
    Blocks,
    Block,
    Common,
    Path,
}

/// What a service makes of the true answer about one block; none is a 404.
type Lie = fn(Route, u64, &Chain, Value) -> Option<Value>;

fn truth(_: Route, _: u64, _: &Chain, answer: Value) -> Option<Value> {
    Some(answer)
}

#[derive(Clone)]
struct Service {
    chain: Arc<Chain>,
    lie: Lie,
    asked: Arc<Mutex<BTreeMap<Route, u64>>>,
}

impl Service {
    fn block(&self, height: u64) -> Option<Arc<Block>> {
        self.chain.blocks().get(usize::try_from(height).unwrap()).cloned()
    }

    /// The answers about some blocks; a 404 if one is not there.
    fn answers(
        &self,
        route: Route,
        heights: impl Iterator<Item = u64>,
        of: impl Fn(&Block) -> Value,
    ) -> Option<Vec<Value>> {
        *self.asked.lock().entry(route).or_default() += 1;
        heights
            .map(|height| {
                let answer = of(&*self.block(height)?);
                (self.lie)(route, height, &self.chain, answer)
            })
            .collect()
    }
}

fn found(answer: Option<impl Into<Value>>) -> Response {
    match answer {
        Some(answer) => Json(answer.into()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn in_namespace(block: &Block, id: u32) -> Value {
    json!({"proof": block.proof(id), "transactions": block.transactions(id)})
}

async fn headers(
    State(service): State<Service>,
    Path((from, until)): Path<(u64, u64)>,
) -> Response {
    found(service.answers(Route::Headers, from..until, Block::header))
}

async fn blocks(
    State(service): State<Service>,
    Path((from, until, id)): Path<(u64, u64, u32)>,
) -> Response {
    found(service.answers(Route::Blocks, from..until, |block| in_namespace(block, id)))
}

async fn single(State(service): State<Service>, Path((from, id)): Path<(u64, u32)>) -> Response {
    let answers = service.answers(Route::Block, from..from + 1, |block| {
        let is_wrong = block.proof(id).is_none();
        let proof = is_wrong.then(|| block.wrong_encoding_proof(id)).flatten();
        json!({"proof": proof.or_else(|| block.proof(id)), "transactions": []})
    });
    found(answers.and_then(|answers| answers.into_iter().next()))
}

async fn common(State(service): State<Service>, Path(height): Path<u64>) -> Response {
    let answers = service.answers(Route::Common, height..height + 1, Block::vid_common);
    found(answers.and_then(|answers| answers.into_iter().next()))
}

async fn path(
    State(service): State<Service>,
    Path((headers, height)): Path<(u64, u64)>,
) -> Response {
    *service.asked.lock().entry(Route::Path).or_default() += 1;
    let path = service.chain.tree().path(headers, height);
    found((service.lie)(Route::Path, height, &service.chain, path))
}

async fn height(State(service): State<Service>) -> Json<u64> {
    Json(service.chain.height())
}

struct World {
    services: QueryServices,
    asked: Vec<Arc<Mutex<BTreeMap<Route, u64>>>>,
    metrics: Metrics,
}

impl World {
    async fn of(chain: &Arc<Chain>, lies: &[Lie]) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let metrics = Metrics::new();
        let (mut upstreams, mut asked) = (Vec::new(), Vec::new());
        for lie in lies {
            let service = Service { chain: Arc::clone(chain), lie: *lie, asked: Arc::default() };
            asked.push(Arc::clone(&service.asked));
            let router = Router::new()
                .route("/status/block-height", get(height))
                .route("/availability/header/{from}/{until}", get(headers))
                .route("/availability/block/{from}/{until}/namespace/{id}", get(blocks))
                .route("/availability/block/{from}/namespace/{id}", get(single))
                .route("/availability/vid/common/{height}", get(common))
                .route("/block-state/{headers}/{height}", get(path))
                .with_state(service);
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(async move { axum::serve(listener, router).await });
            let options = UpstreamOptions {
                request_timeout: Duration::from_secs(20),
                retry_interval: Duration::ZERO,
                metrics: metrics.clone(),
            };
            let url = SecretUrl::parse(&url).unwrap();
            upstreams
                .push(Upstream::new(Target::Query, "query_service_url", url, options).unwrap());
        }
        let services = QueryServices::new(upstreams, NAMESPACE, metrics.clone());
        // None is slow, however busy the machine is.
        let services = QueryServices { patience: Duration::from_secs(60), ..services };
        Self { services: services.with_proofs(HotshotProofs::Payload), asked, metrics }
    }

    fn asked(&self, route: Route) -> u64 {
        let count = |asked: &Arc<Mutex<BTreeMap<Route, u64>>>| asked.lock().get(&route).copied();
        self.asked.iter().filter_map(count).sum()
    }

    fn bad_answers(&self, index: usize, reason: &str) -> u64 {
        let name = "espresso_query_service_bad_answers_total";
        let series = format!("{name}{{service=\"{}\",reason=\"{reason}\"}} ", index + 1);
        let text = self.metrics.render();
        let count = text.lines().find_map(|line| line.strip_prefix(&series));
        count.unwrap().parse().unwrap()
    }

    async fn reads(&self, chain: &Chain, from: u64, until: u64) {
        let read = self.services.range(from, until).await.map(|blocks| blocks.payloads);
        assert_eq!(read, Ok(expected(chain, from, until)));
    }

    /// The light client is at a height; of what is below, this much is proven.
    fn under_root(mut self, chain: &Chain, height: u64, proofs: HotshotProofs) -> Self {
        let root = U256::from_be_bytes(chain.tree().light_client_root(height).0);
        self.services = self.services.with_proofs(proofs);
        self.services.prove_under(Checkpoint { height, root });
        self
    }

    async fn reason(&self) -> &'static str {
        match self.services.range(HEIGHT, HEIGHT + 1).await {
            Err(UpstreamError::Disproven { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }
}

fn expected(chain: &Chain, from: u64, until: u64) -> Vec<NamespaceBlock> {
    let of = |block: &Arc<Block>| {
        let ours = block.namespaces().iter().find(|namespace| namespace.id == NAMESPACE);
        let ours = ours.filter(|namespace| namespace.encoding == Encoding::Correct);
        ours.map_or_else(NamespaceBlock::default, |ours| {
            payload::decode(&ours.payload).iter().collect()
        })
    };
    chain.blocks()[from as usize..until as usize].iter().map(of).collect()
}

fn circumstances(weight: usize) -> Circumstances {
    Circumstances { minor: 6, weight, timestamp: 1, l1_head: 1, l1_finalized: None }
}

fn ours(height: u64) -> Namespace {
    Namespace::new(NAMESPACE, &[format!("one of {height}"), format!("two of {height}")])
}

/// Every third block is empty; `HEIGHT` has two namespaces.
fn chain() -> Arc<Chain> {
    let mut chain = Chain::default();
    for height in 0..12 {
        let namespaces = match height {
            HEIGHT => vec![Namespace::new(OTHER, &["another's"]), ours(height)],
            _ if height % 3 == 0 => Vec::new(),
            _ => vec![ours(height)],
        };
        chain.push(circumstances(10), namespaces);
    }
    Arc::new(chain)
}

/// A chain in which `HEIGHT` is wrongly encoded, beside `others`.
fn wrongly_encoded(encoding: Encoding, others: Vec<Namespace>, blocks: u64) -> Arc<Chain> {
    let mut chain = Chain::default();
    for height in 0..blocks {
        let mut namespaces = vec![ours(height)];
        if height == HEIGHT {
            namespaces[0].encoding = encoding;
            namespaces.extend(others.clone());
        }
        chain.push(circumstances(10), namespaces);
    }
    Arc::new(chain)
}

/// Another payload in the place of the true one.
fn with_transactions(mut answer: Value, transactions: &[&str]) -> Option<Value> {
    use base64::Engine as _;
    let payload = payload::encode(transactions);
    let engine = base64::engine::general_purpose::STANDARD;
    answer["proof"]["V2"]["ns_payload"] = json!(engine.encode(payload));
    Some(answer)
}

/// A lie about the namespace in one block.
macro_rules! about_block {
    ($chain:ident, $answer:ident => $lie:expr) => {
        |route, height, $chain: &Chain, $answer: Value| match (route, height) {
            (Route::Blocks | Route::Block, HEIGHT) => $lie,
            _ => Some($answer),
        }
    };
}

/// Each lie, and the reason that it is counted by.
fn lies() -> Vec<(Lie, &'static str)> {
    vec![
        (about_block!(_chain, answer => with_transactions(answer, &["one of 5"])), "length"),
        (
            about_block!(_chain, answer => with_transactions(answer, &["one of 5", "two of 5", ""])),
            "length",
        ),
        (
            about_block!(_chain, answer => with_transactions(answer, &["two of 5", "one of 5"])),
            "commitment",
        ),
        (
            about_block!(_chain, answer => with_transactions(answer, &["one of 5", "two of 6"])),
            "commitment",
        ),
        (
            about_block!(_chain, _answer => Some(json!({"proof": null, "transactions": []}))),
            "presence",
        ),
        (about_block!(chain, _answer => Some(in_namespace(&chain.blocks()[5], OTHER))), "path"),
        (about_block!(chain, _answer => Some(in_namespace(&chain.blocks()[4], NAMESPACE))), "path"),
        (
            about_block!(chain, _answer => {
                Some(json!({"proof": chain.blocks()[5].wrong_encoding_proof(NAMESPACE)}))
            }),
            "wrong_encoding",
        ),
        (
            about_block!(_chain, answer => Some(json!({"proof": {"V1": answer["proof"]["V2"]}}))),
            "path",
        ),
        (
            |route, _, _, mut answer| {
                if route == Route::Common {
                    answer["common"]["V2"]["param"]["total_weights"] = json!(11);
                }
                Some(answer)
            },
            "commitment",
        ),
        (
            |route, _, _, mut answer| {
                if route == Route::Common {
                    answer["common"]["V2"]["param"]["total_weights"] = json!(1_000_000);
                }
                Some(answer)
            },
            "committee_size",
        ),
        (
            |route, _, _, mut answer| {
                if route == Route::Headers {
                    answer["version"]["Version"]["minor"] = json!(7);
                }
                Some(answer)
            },
            "unsupported_version",
        ),
        (
            |route, height, chain, answer| {
                let other = usize::try_from(height + 1).unwrap();
                Some(if route == Route::Headers { chain.blocks()[other].header() } else { answer })
            },
            "header",
        ),
    ]
}

#[tokio::test]
async fn proven_payloads_are_those_of_the_blocks() {
    let chain = chain();
    let world = World::of(&chain, &[truth]).await;
    world.reads(&chain, 0, 12).await;
    assert_eq!((world.asked(Route::Headers), world.asked(Route::Blocks)), (1, 1));
    // An empty block costs its header alone, and the size of the committee is known.
    world.reads(&chain, 6, 7).await;
    world.reads(&chain, 10, 12).await;
    assert_eq!((world.asked(Route::Headers), world.asked(Route::Blocks)), (3, 2));
    assert_eq!(world.asked(Route::Common), 1);
    let absent = world.services.range(11, 13).await;
    assert!(matches!(absent, Err(UpstreamError::Absent(_))), "{absent:?}");
    let alone = world.services.block_alone(HEIGHT).await;
    assert_eq!(alone.unwrap().payloads, expected(&chain, HEIGHT, HEIGHT + 1));
}

#[tokio::test]
async fn of_three_services_two_are_asked_for_headers_and_one_for_payloads() {
    let chain = chain();
    let world = World::of(&chain, &[truth, truth, truth]).await;
    world.reads(&chain, 0, 12).await;
    assert_eq!((world.asked(Route::Headers), world.asked(Route::Blocks)), (2, 1));
}

#[tokio::test]
async fn a_lie_alone_is_refused_by_its_reason() {
    let chain = chain();
    for (place, (lie, reason)) in lies().into_iter().enumerate() {
        let world = World::of(&chain, &[lie]).await;
        assert_eq!(world.reason().await, reason, "{place}");
        assert!(world.bad_answers(0, reason) > 0, "{place}");
        assert_eq!(world.services.reports()[0].last_error.as_ref().unwrap().code, "disproven");
    }
}

#[tokio::test]
async fn beside_honest_services_a_lie_is_counted_and_does_no_harm() {
    let chain = chain();
    for (place, (lie, reason)) in lies().into_iter().enumerate() {
        let world = World::of(&chain, &[lie, truth, truth]).await;
        // Whose turn it is changes from one question to the next.
        for _ in 0..6 {
            world.reads(&chain, HEIGHT, HEIGHT + 1).await;
        }
        let honest = world.bad_answers(1, reason) + world.bad_answers(2, reason);
        assert_eq!(honest, 0, "{place}");
        // A size that is known is not asked for again.
        assert!(world.bad_answers(0, reason) > 0 || world.asked(Route::Common) > 0, "{place}");
    }
}

#[tokio::test]
async fn a_header_that_a_minority_forges_is_outvoted() {
    let forged: Lie = |route, _, _, mut answer| {
        if route == Route::Headers {
            answer["fields"]["timestamp"] = json!(2);
        }
        Some(answer)
    };
    let chain = chain();
    let world = World::of(&chain, &[forged, truth, truth]).await;
    for _ in 0..6 {
        world.reads(&chain, HEIGHT, HEIGHT + 1).await;
    }
    assert!(world.bad_answers(0, "header") > 0);
    let split = World::of(&chain, &[forged, truth]).await;
    let contradiction = split.services.range(HEIGHT, HEIGHT + 1).await;
    assert!(matches!(contradiction, Err(UpstreamError::NoMajority(_))), "{contradiction:?}");
}

#[tokio::test]
async fn another_committee_is_asked_for_once() {
    let mut chain = Chain::default();
    for height in 0..12 {
        chain.push(circumstances(if height < 6 { 10 } else { 13 }), vec![ours(height)]);
    }
    let chain = Arc::new(chain);
    let world = World::of(&chain, &[truth]).await;
    world.reads(&chain, 0, 12).await;
    world.reads(&chain, 6, 12).await;
    assert_eq!(world.asked(Route::Common), 2);
}

#[tokio::test]
async fn a_wrongly_encoded_block_is_empty_where_that_is_proven() {
    let another = || vec![Namespace::new(OTHER, &["another's"])];
    let missing: Lie = |route, height, _, answer| match (route, height) {
        (Route::Blocks, HEIGHT) if answer["proof"].is_null() => None,
        _ => Some(answer),
    };
    for encoding in [Encoding::AlteredParity, Encoding::WrongPadding, Encoding::UnevenShards] {
        // Borne out by another namespace of the block, or by the blocks around it.
        for chain in
            [wrongly_encoded(encoding, another(), 6), wrongly_encoded(encoding, Vec::new(), 8)]
        {
            let world = World::of(&chain, &[truth]).await;
            world.reads(&chain, 0, chain.height()).await;
            // Some services answer such a block like one that is not there yet.
            let world = World::of(&chain, &[missing]).await;
            world.reads(&chain, HEIGHT, HEIGHT + 1).await;
        }
    }
}

#[tokio::test]
async fn a_claim_without_a_proven_committee_waits() {
    let chain = wrongly_encoded(Encoding::AlteredParity, Vec::new(), HEIGHT + 1);
    let world = World::of(&chain, &[truth]).await;
    world.reads(&chain, 0, HEIGHT).await;
    assert_eq!(world.reason().await, "committee_size");
}

#[tokio::test]
async fn a_wrong_size_makes_no_honest_block_empty() {
    let lie: Lie = |route, height, chain, mut answer| match (route, height) {
        (Route::Blocks, HEIGHT) => {
            Some(json!({"proof": chain.blocks()[5].wrong_encoding_proof(NAMESPACE)}))
        }
        (Route::Common, _) => {
            answer["common"]["V2"]["param"]["total_weights"] = json!(11);
            Some(answer)
        }
        _ => Some(answer),
    };
    // The first that is asked, and after an honest answer.
    let chain = chain();
    let world = World::of(&chain, &[lie]).await;
    let reason = world.reason().await;
    assert!(["wrong_encoding", "committee_size"].contains(&reason), "{reason}");
    let world = World::of(&chain, &[lie]).await;
    world.services.committee_size.store(10, Ordering::Relaxed);
    assert_eq!(world.reason().await, "wrong_encoding");
}

/// Another time in a header.
const FORGED: Lie = |route, height, _, mut answer| {
    if route == Route::Headers && height == HEIGHT {
        answer["fields"]["timestamp"] = json!(2);
    }
    Some(answer)
};

#[tokio::test]
async fn under_the_root_one_service_is_enough_whatever_the_others_say() {
    for lies in [vec![FORGED, FORGED, truth], vec![FORGED, truth], vec![truth]] {
        let chain = chain();
        let world = World::of(&chain, &lies).await.under_root(&chain, 10, HotshotProofs::Root);
        for (from, until) in [(0, 4), (4, 8), (8, 10)] {
            world.reads(&chain, from, until).await;
            let blocks = world.services.range(from, until).await.unwrap();
            assert!(matches!(blocks.headers, Headers::Proven { .. }));
        }
        // One path a range, however often it is read.
        assert_eq!(world.asked(Route::Path), 3);
        if lies.len() == 1 {
            assert_eq!(world.asked(Route::Headers), 6, "one more request a range");
        }
        assert_eq!(world.bad_answers(lies.len() - 1, "block_tree"), 0);
    }
}

#[tokio::test]
async fn above_the_root_a_majority_is_believed() {
    let chain = chain();
    let world = World::of(&chain, &[FORGED, FORGED, truth]).await;
    let world = world.under_root(&chain, 4, HotshotProofs::Root);
    let blocks = world.services.range(4, 8).await.unwrap();
    assert!(matches!(blocks.headers, Headers::Agreed(links) if links.len() == 4));
    assert_eq!(world.asked(Route::Path), 0);
}

#[tokio::test]
async fn where_all_forge_nothing_is_under_the_root() {
    let chain = chain();
    for proofs in [HotshotProofs::Payload, HotshotProofs::Root] {
        let world = World::of(&chain, &[FORGED, FORGED]).await.under_root(&chain, 10, proofs);
        assert_eq!(world.reason().await, "block_tree");
    }
}

#[tokio::test]
async fn a_path_to_another_root_is_counted() {
    let other: Lie = |route, height, chain, answer| match route {
        Route::Path => Some(chain.tree().path(9, height.min(8))),
        _ => Some(answer),
    };
    let chain = chain();
    for proofs in [HotshotProofs::Payload, HotshotProofs::Root] {
        let world = World::of(&chain, &[other]).await.under_root(&chain, 10, proofs);
        assert_eq!(world.reason().await, "root");
        assert!(world.bad_answers(0, "root") > 0);
        let world = World::of(&chain, &[other, truth, truth]).await;
        let world = world.under_root(&chain, 10, proofs);
        for _ in 0..3 {
            world.reads(&chain, 0, 10).await;
        }
        assert_eq!(world.bad_answers(1, "root") + world.bad_answers(2, "root"), 0);
    }
}

#[tokio::test]
async fn without_paths_a_majority_is_believed_or_reading_waits() {
    let unserved: Lie = |route, _, _, answer| (route != Route::Path).then_some(answer);
    let chain = chain();
    let world = World::of(&chain, &[unserved, unserved, unserved]).await;
    let world = world.under_root(&chain, 10, HotshotProofs::Payload);
    world.reads(&chain, 0, 10).await;
    let asked = world.asked(Route::Path);
    world.reads(&chain, 0, 10).await;
    assert_eq!(world.asked(Route::Path), asked, "they are not asked again for this root");
    let world = world.under_root(&chain, 9, HotshotProofs::Root);
    let waits = world.services.range(0, 9).await.unwrap_err();
    assert!(is_unserved(&waits), "{waits:?}");
}
