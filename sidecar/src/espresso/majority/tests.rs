//! Against real sockets: what a minority may do.

use std::{collections::BTreeSet, sync::atomic::AtomicUsize};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};

use super::*;
use crate::{redact::SecretUrl, telemetry::metrics::Target, upstream::UpstreamOptions};

const NAMESPACE: u32 = 7;

/// How a service behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nature {
    /// The number of its blocks.
    Honest(u64),
    /// It has forgotten the blocks below.
    Pruned(u64),
    /// Other transactions; the text distinguishes the liars.
    Lies(&'static str),
    /// No answer, ever.
    Hangs,
    /// Arrays that lack the last element.
    Short,
    /// This HTTP status to everything.
    Fails(u16),
}

#[derive(Debug, Clone)]
struct Script {
    nature: Arc<Mutex<Nature>>,
    asked: Arc<AtomicUsize>,
}

struct World {
    services: QueryServices,
    scripts: Vec<Script>,
    metrics: Metrics,
}

const HEIGHT: u64 = 100;
const HONEST: Nature = Nature::Honest(HEIGHT);

fn blocks(from: u64, until: u64, text: &str) -> Vec<Value> {
    (from..until)
        .map(|height| {
            let payload = base64::Engine::encode(
                &base64::engine::general_purpose::STANDARD,
                format!("{text} {height}"),
            );
            json!({"proof": {}, "transactions": [{"namespace": NAMESPACE, "payload": payload}]})
        })
        .collect()
}

async fn height(State(script): State<Script>) -> Response {
    let nature = *script.nature.lock();
    match nature {
        Nature::Honest(height) => height.to_string().into_response(),
        Nature::Lies(_) | Nature::Short | Nature::Pruned(_) => HEIGHT.to_string().into_response(),
        Nature::Hangs => std::future::pending().await,
        Nature::Fails(status) => StatusCode::from_u16(status).unwrap().into_response(),
    }
}

async fn range(State(script): State<Script>, Path((from, until)): Path<(u64, u64)>) -> Response {
    script.asked.fetch_add(1, Ordering::Relaxed);
    let nature = *script.nature.lock();
    let (until, text) = match nature {
        Nature::Honest(height) if until > height => {
            return StatusCode::NOT_FOUND.into_response();
        }
        Nature::Pruned(below) if from < below => return StatusCode::NOT_FOUND.into_response(),
        Nature::Honest(_) | Nature::Pruned(_) => (until, "honest"),
        Nature::Lies(text) => (until, text),
        Nature::Short => (until - 1, "honest"),
        Nature::Hangs => std::future::pending().await,
        Nature::Fails(status) => return StatusCode::from_u16(status).unwrap().into_response(),
    };
    axum::Json(blocks(from, until, text)).into_response()
}

impl World {
    async fn of(natures: &[Nature]) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let metrics = Metrics::new();
        let (mut scripts, mut upstreams) = (Vec::new(), Vec::new());
        for nature in natures {
            let script = Script { nature: Arc::new(Mutex::new(*nature)), asked: Arc::default() };
            scripts.push(script.clone());
            let router = Router::new()
                .route("/status/block-height", get(height))
                .route("/availability/block/{from}/{until}/namespace/7", get(range))
                .with_state(script);
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(async move { axum::serve(listener, router).await });
            let options = UpstreamOptions {
                request_timeout: Duration::from_secs(20),
                retry_interval: Duration::from_secs(20),
                metrics: metrics.clone(),
            };
            let url = SecretUrl::parse(&url).unwrap();
            upstreams
                .push(Upstream::new(Target::Query, "query_service_url", url, options).unwrap());
        }
        // Only a service that hangs is slow, however busy the machine is.
        let hangs = natures.contains(&Nature::Hangs);
        let patience = Duration::from_millis(if hangs { 50 } else { 60_000 });
        let services =
            QueryServices { patience, ..QueryServices::new(upstreams, NAMESPACE, metrics.clone()) };
        Self { services, scripts, metrics }
    }

    fn becomes(&self, index: usize, nature: Nature) {
        *self.scripts[index].nature.lock() = nature;
    }

    fn asked(&self, index: usize) -> usize {
        self.scripts[index].asked.load(Ordering::Relaxed)
    }

    /// Reads that many ranges; each must be the honest one.
    async fn reads_honestly(&self, ranges: u64) {
        for from in 0..ranges {
            let read = self.services.range(from, from + 3).await.unwrap();
            let honest: Vec<NamespaceBlock> = (from..from + 3)
                .map(|height| [format!("honest {height}")].into_iter().collect())
                .collect();
            assert_eq!(read.payloads, honest);
        }
    }

    fn faults(&self, index: usize) -> BTreeSet<&'static str> {
        let text = self.metrics.render();
        let counted = |fault: &&str| {
            let service = index + 1;
            let none = format!("faults_total{{service=\"{service}\",fault=\"{fault}\"}} 0\n");
            !text.contains(&none)
        };
        ["error", "outvoted", "late", "behind"].into_iter().filter(counted).collect()
    }

    fn note(&self, index: usize) -> String {
        self.services.reports()[index].note.clone().unwrap()
    }
}

#[tokio::test]
async fn a_single_service_is_trusted_and_status_says_so() {
    let world = World::of(&[HONEST]).await;
    world.reads_honestly(2).await;
    assert_eq!(world.services.height().await, Ok(HEIGHT));
    assert_eq!(world.note(0), "trusted: the only query service; at height 100");
    assert!(matches!(world.services.range(98, 101).await, Err(UpstreamError::Absent(_))));
}

#[tokio::test]
async fn a_block_is_gone_if_a_majority_lacks_it_and_serves_a_newer_one() {
    let pruned = Nature::Pruned(50);
    let world = World::of(&[HONEST, pruned, pruned]).await;
    assert!(world.services.is_gone(49, 90).await);
    assert!(!world.services.is_gone(50, 90).await, "it is there");
    assert!(!world.services.is_gone(40, 45).await, "nor are newer ones");
    for other in [HONEST, Nature::Fails(500), Nature::Pruned(95)] {
        let world = World::of(&[HONEST, pruned, other]).await;
        assert!(!world.services.is_gone(49, 90).await, "{other:?}");
    }
}

#[tokio::test]
async fn a_liar_is_outvoted_named_and_then_avoided() {
    for liar in 0..3 {
        let world = World::of(&[HONEST; 3]).await;
        world.becomes(liar, Nature::Lies("another"));
        world.reads_honestly(10).await;
        assert_eq!(world.faults(liar), BTreeSet::from(["outvoted"]));
        assert_eq!(world.asked(liar), 1, "its word was heard once, and not again for a while");
        let report = world.services.reports().swap_remove(liar);
        assert!(report.note.unwrap().contains("one of 3, of which 2 must agree; outvoted in"));
        assert!(report.last_error.unwrap().message.contains("differ from those of the majority"));
        for honest in (0..3).filter(|index| *index != liar) {
            assert!(world.faults(honest).is_empty());
        }
    }
}

#[tokio::test]
async fn a_block_that_is_read_alone_needs_a_majority_too() {
    for liar in 0..3 {
        let world = World::of(&[HONEST; 3]).await;
        world.becomes(liar, Nature::Lies("another"));
        for height in 0..4 {
            let honest = [format!("honest {height}")].into_iter().collect();
            let read = world.services.block_alone(height).await.unwrap();
            assert_eq!(read.payloads, [honest]);
        }
        assert_eq!(world.faults(liar), BTreeSet::from(["outvoted"]));
    }
    let world = World::of(&[HONEST, Nature::Lies("another")]).await;
    assert!(matches!(world.services.block_alone(5).await, Err(UpstreamError::NoMajority(_))));
    let world = World::of(&[HONEST, Nature::Fails(500), HONEST]).await;
    assert!(world.services.block_alone(5).await.is_ok());
    assert!(matches!(world.services.block_alone(200).await, Err(UpstreamError::Absent(_))));
}

#[tokio::test]
async fn every_word_is_heard_in_its_turn() {
    let world = World::of(&[HONEST; 3]).await;
    world.reads_honestly(30).await;
    let asked = [0, 1, 2].map(|index| world.asked(index));
    assert_eq!(asked.iter().sum::<usize>(), 60, "two of three are asked for each range");
    assert!(asked.iter().all(|asked| (18..=22).contains(asked)), "{asked:?}");
}

#[tokio::test]
async fn a_minority_that_sends_short_arrays_or_errors_is_replaced() {
    for nature in [Nature::Short, Nature::Fails(500), Nature::Fails(429), Nature::Fails(400)] {
        let world = World::of(&[HONEST, nature, HONEST]).await;
        world.reads_honestly(6).await;
        assert_eq!(world.faults(1), BTreeSet::from(["error"]), "{nature:?}");
        let report = world.services.reports().swap_remove(1);
        assert_eq!(report.ok, Some(false));
        assert!(report.last_error.is_some());
    }
}

#[tokio::test]
async fn a_service_that_hangs_is_overtaken_and_then_avoided() {
    let world = World::of(&[HONEST, HONEST, Nature::Hangs]).await;
    world.reads_honestly(10).await;
    assert_eq!(world.faults(2), BTreeSet::from(["late"]));
    assert!(world.note(2).contains("slower than the others"));
    assert_eq!(world.services.height().await, Ok(HEIGHT));

    let world = World::of(&[Nature::Hangs, HONEST, HONEST]).await;
    assert_eq!(world.services.height().await, Ok(HEIGHT), "a majority is enough");
    assert_eq!(world.faults(0), BTreeSet::from(["late"]));
}

#[tokio::test]
async fn height_is_what_a_majority_has_reached() {
    for (heights, majority) in [
        (&[50][..], 50),
        (&[50, 60], 50),
        (&[0, 60, 61], 60),
        (&[u64::MAX, 60, 61], 61),
        (&[1, 2, 60, 61, 62], 60),
        (&[u64::MAX, u64::MAX, 3, 2], 3),
    ] {
        let natures: Vec<_> = heights.iter().map(|height| Nature::Honest(*height)).collect();
        let world = World::of(&natures).await;
        assert_eq!(world.services.height().await, Ok(majority), "{heights:?}");
        for (index, height) in heights.iter().enumerate() {
            let behind = height.saturating_add(BEHIND) < majority;
            assert_eq!(world.faults(index).contains("behind"), behind, "{heights:?}");
            assert_eq!(world.note(index).contains("behind the majority"), behind, "{heights:?}");
        }
    }
}

#[tokio::test]
async fn a_laggard_is_not_asked_for_what_it_does_not_have() {
    let world = World::of(&[HONEST, Nature::Honest(1), HONEST]).await;
    assert_eq!(world.services.height().await, Ok(HEIGHT));
    world.reads_honestly(6).await;
    assert_eq!(world.asked(1), 0);
    world.becomes(1, HONEST);
    world.services.height().await.unwrap();
    assert!(!world.note(1).contains("behind"), "{}", world.note(1));
    world.reads_honestly(6).await;
    assert!(world.asked(1) > 0);
}

#[tokio::test]
async fn without_a_majority_nothing_is_accepted() {
    let world = World::of(&[HONEST, Nature::Lies("another")]).await;
    let error = world.services.range(5, 8).await.unwrap_err();
    let UpstreamError::NoMajority(words) = &error else { panic!("{error}") };
    assert!(words.contains("blocks 5..8: http://127.0.0.1"), "{words}");
    assert!(words.contains("2 of 2 must agree (query_service_url)"), "{words}");
    assert!(
        world.faults(0).is_empty() && world.faults(1).is_empty(),
        "it is unknown which one lies"
    );

    let world = World::of(&[HONEST, Nature::Lies("one"), Nature::Lies("two")]).await;
    assert!(matches!(world.services.range(5, 8).await, Err(UpstreamError::NoMajority(_))));

    let world = World::of(&[HONEST, Nature::Fails(500), Nature::Fails(500)]).await;
    assert!(matches!(
        world.services.range(5, 8).await,
        Err(UpstreamError::Status { status: 500, .. })
    ));
    assert!(world.services.height().await.is_err(), "one of three is no majority");
    assert_eq!(world.asked(0), 1);
}

#[tokio::test]
async fn not_there_yet_is_said_when_a_majority_lacks_a_block() {
    let world = World::of(&[HONEST, Nature::Honest(5), Nature::Honest(5)]).await;
    assert!(matches!(world.services.range(4, 7).await, Err(UpstreamError::Absent(_))));
    assert!((0..3).all(|index| world.faults(index).is_empty()), "which is no service's fault");
    assert!(world.services.range(4, 5).await.is_ok());
}

#[test]
fn no_pattern_of_questions_leaves_a_service_out() {
    for (count, every) in (2..=5).flat_map(|count| (1..=8).map(move |every| (count, every))) {
        let mut asked = vec![0_u32; count];
        let mut turn = 0_u64;
        for _ in 0..100 * count {
            asked[place(turn, count)] += 1;
            turn = turn.wrapping_add(TURN.wrapping_mul(every));
        }
        assert!(asked.iter().all(|asked| (80..=120).contains(asked)), "{every}: {asked:?}");
    }
}
