//! The status page and its events over real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failing test may panic"
)]

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use finality_core::head::{HeadReport, Mode, Source, Status, hex_number};
use finality_sidecar::{
    api::{
        self, ApiState, Phase,
        events::Streams,
        history::{History, Positions, Sample},
        server,
        status::StatusSource,
    },
    telemetry::Metrics,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::Instant,
};

/// Longer than any test takes.
const FOR_EVER: Duration = Duration::from_secs(3600);
/// What a dependency may say to make events of its own.
const HOSTILE: &str = "\r\n\r\nevent: status\ndata: {}\n\n<script>alert(1)</script>";

/// Counts how often it is asked.
struct Facts {
    asked: AtomicUsize,
    asked_at: Mutex<Vec<Instant>>,
    ballast: String,
}

impl StatusSource for Facts {
    fn status(&self) -> Value {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        self.asked_at.lock().unwrap().push(Instant::now());
        json!({ "asked": asked, "hostile": HOSTILE, "ballast": self.ballast })
    }

    fn reason(&self) -> String {
        String::new()
    }

    fn verifier_alive(&self) -> bool {
        true
    }

    fn store_writable(&self) -> bool {
        true
    }
}

struct Sidecar {
    address: SocketAddr,
    head: watch::Sender<Option<Arc<HeadReport>>>,
    phase: watch::Sender<Phase>,
    facts: Arc<Facts>,
    history: Arc<History>,
    server: JoinHandle<()>,
}

impl Sidecar {
    async fn start(max_connections: usize, ballast: usize) -> Self {
        let (head, heads) = watch::channel(None);
        let (phase, phases) = watch::channel(Phase::Serving);
        let facts = Arc::new(Facts {
            asked: AtomicUsize::new(0),
            asked_at: Mutex::default(),
            ballast: "x".repeat(ballast),
        });
        let history = Arc::new(History::default());
        let state = ApiState {
            head: heads,
            status: facts.clone(),
            history: Arc::clone(&history),
            streams: Streams::new(max_connections),
            metrics: Metrics::new(),
            phase: phases.clone(),
            long_poll_limit: FOR_EVER,
            ready_max_age: None,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = server::serve(listener, api::router(state), max_connections, phases, FOR_EVER);
        Self { address, head, phase, facts, history, server: tokio::spawn(serve) }
    }

    /// Asks for a path, and reads as far as the head of the answer goes.
    async fn get(&self, path: &str) -> Answer {
        self.ask(path, "close").await
    }

    async fn ask(&self, path: &str, connection: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let text = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: {connection}\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut rest = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(rest.read_line(&mut head).await.unwrap(), 0, "{head:?}");
        }
        Answer { head, rest }
    }

    fn publish(&self, number: u64) {
        self.head.send_replace(Some(Arc::new(HeadReport {
            number,
            hex: hex_number(number),
            hash: None,
            source: Source::Espresso,
            mode: Mode::Espresso,
            status: Status::Ok,
            espresso: None,
            ethereum: None,
            chain_id: 1,
            updated_at: "2026-01-01T00:00:00Z".into(),
        })));
    }
}

struct Answer {
    head: String,
    rest: BufReader<TcpStream>,
}

impl Answer {
    fn code(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    async fn body(mut self) -> Vec<u8> {
        let mut body = Vec::new();
        self.rest.read_to_end(&mut body).await.unwrap();
        body
    }

    async fn json(self) -> Value {
        serde_json::from_slice(&self.body().await).unwrap()
    }

    /// The next event, by the rules of `text/event-stream`; none when the stream has ended.
    async fn event(&mut self) -> Option<Value> {
        let (mut name, mut data) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            if self.rest.read_line(&mut line).await.unwrap() == 0 {
                return None;
            }
            if let Some(text) = line.strip_prefix("event: ") {
                name = text.trim_end().to_owned();
            } else if let Some(text) = line.strip_prefix("data: ") {
                data += text.trim_end();
            } else if line == "\n" && !data.is_empty() {
                assert_eq!(name, "status");
                return Some(serde_json::from_str(&data).unwrap());
            }
        }
    }
}

const PARTS: [(&str, &str); 9] = [
    ("/", "text/html; charset=utf-8"),
    ("/page/page.css", "text/css; charset=utf-8"),
    ("/page/page.js", "text/javascript; charset=utf-8"),
    ("/page/connection.js", "text/javascript; charset=utf-8"),
    ("/page/view.js", "text/javascript; charset=utf-8"),
    ("/page/chart.js", "text/javascript; charset=utf-8"),
    ("/page/icon.svg", "image/svg+xml"),
    ("/page/finality_page.js", "text/javascript; charset=utf-8"),
    ("/page/finality_page_bg.wasm", "application/wasm"),
];

#[tokio::test]
async fn every_part_bears_its_type_and_the_policy() {
    let sidecar = Sidecar::start(100, 0).await;
    for (path, kind) in PARTS {
        let answer = sidecar.get(path).await;
        assert_eq!((answer.code(), answer.header("content-type")), (200, Some(kind)), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self' "), "{policy}");
        for danger in ["unsafe-inline", "unsafe-eval';", " 'unsafe-eval'", "http", "*", "data:"] {
            let allowed = policy.replace("'wasm-unsafe-eval'", "");
            assert!(!allowed.contains(danger), "{policy}");
        }
        for needed in ["frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"] {
            assert!(policy.contains(needed), "{policy}");
        }
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.header("x-finality-sidecar").is_some());
    }
    assert_eq!(sidecar.get("/page/other.js").await.code(), 404);
    let metrics = String::from_utf8(sidecar.get("/metrics").await.body().await).unwrap();
    let counted = "espresso_http_requests_total{path=\"/\",code=\"200\"} 9";
    assert!(metrics.contains(counted), "{metrics}");
}

/// What the policy would refuse, and what would fail behind a proxy that serves the page in a
/// folder.
#[tokio::test]
async fn the_page_holds_no_script_and_names_its_parts_relatively() {
    let sidecar = Sidecar::start(100, 0).await;
    let page = String::from_utf8(sidecar.get("/").await.body().await).unwrap();
    assert!(page.contains("<script type=\"module\" src=\"page/page.js\"></script>"));
    assert_eq!(page.matches("<script").count(), 1);
    for refused in ["<style", " style=", " onclick", " onload", " onerror", "javascript:"] {
        assert!(!page.contains(refused), "{refused}");
    }
    let mut parts = 0;
    for attribute in ["src=\"", "href=\""] {
        for place in page.split(attribute).skip(1) {
            let place = place.split('"').next().unwrap();
            assert!(!place.starts_with('/') && !place.contains("//"), "{place}");
            if !place.starts_with('#') {
                assert_eq!(
                    sidecar.get(&format!("/{place}")).await.code() / 100,
                    if place == "v1/head" { 5 } else { 2 }
                );
                parts += 1;
            }
        }
    }
    assert!(parts >= 5, "{parts}");
}

#[tokio::test]
async fn the_history_is_short_arrays() {
    let sidecar = Sidecar::start(100, 0).await;
    let empty = json!({ "interval_seconds": 5, "samples": [] });
    assert_eq!(sidecar.get("/v1/history").await.json().await, empty);
    let positions = Positions { head: Some(5), latest: Some(7), finalized: None };
    sidecar.history.push(Sample { at: Timestamp::from_second(1_700_000_000).unwrap(), positions });
    let answer = sidecar.get("/v1/history").await;
    assert_eq!(answer.json().await["samples"], json!([[1_700_000_000, 5, 7, null]]));
}

#[tokio::test(start_paused = true)]
async fn events_come_at_once_by_the_clock_and_with_the_head() {
    let sidecar = Sidecar::start(100, 0).await;
    let mut stream = sidecar.get("/v1/events").await;
    assert_eq!((stream.code(), stream.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(stream.header("x-accel-buffering"), Some("no"));
    assert_eq!(stream.header("cache-control"), Some("no-store"));
    for asked in 0..3 {
        let event = stream.event().await.unwrap();
        assert_eq!((&event["asked"], &event["hostile"]), (&json!(asked), &json!(HOSTILE)));
    }
    // The head moves a thousand times before the next event: one event tells it.
    let asked = sidecar.facts.asked.load(Ordering::Relaxed);
    for number in 0..1000 {
        sidecar.publish(number);
    }
    stream.event().await.unwrap();
    assert!(sidecar.facts.asked.load(Ordering::Relaxed) <= asked + 2);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_moves_is_told_before_the_second_is_over() {
    let sidecar = Sidecar::start(100, 0).await;
    let mut stream = sidecar.get("/v1/events").await;
    // The clock of this test jumps from timer to timer, and may have jumped before the head moves.
    for number in 0..20 {
        stream.event().await.unwrap();
        sidecar.publish(number);
    }
    let asked = sidecar.facts.asked_at.lock().unwrap().clone();
    let pauses = asked.windows(2).map(|pair| pair[1] - pair[0]);
    let shortest = pauses.min().unwrap();
    assert!(shortest < Duration::from_secs(1), "{shortest:?}");
    assert!(shortest >= Duration::from_millis(250), "{shortest:?}");
}

#[tokio::test(start_paused = true)]
async fn streams_are_a_part_of_the_connections_and_give_their_place_back() {
    let sidecar = Sidecar::start(8, 0).await;
    let mut first = sidecar.get("/v1/events").await;
    let second = sidecar.get("/v1/events").await;
    let refused = sidecar.get("/v1/events").await;
    assert_eq!((refused.code(), refused.header("retry-after")), (503, Some("5")));
    assert_eq!(refused.json().await["error"], "too_many_streams");
    // Everything else is answered.
    assert_eq!(sidecar.get("/v1/status").await.code(), 200);
    drop(second);
    loop {
        // An event that cannot be written is how the sidecar learns that the client has gone.
        first.event().await.unwrap();
        if sidecar.get("/v1/events").await.code() == 200 {
            break;
        }
    }
}

/// The limits for a request's head, for idle time and for writing are all much shorter.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_read_lives_for_hours() {
    let sidecar = Sidecar::start(100, 0).await;
    let began = tokio::time::Instant::now();
    let mut stream = sidecar.ask("/v1/events", "keep-alive").await;
    while began.elapsed() < Duration::from_secs(2 * 3600) {
        stream.event().await.expect("the stream goes on");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_told_no_more_than_the_sockets_hold() {
    const BALLAST: usize = 100_000;
    const SECONDS: u64 = 3000;
    let sidecar = Sidecar::start(100, BALLAST).await;
    let _stream = sidecar.get("/v1/events").await;
    tokio::time::sleep(Duration::from_secs(SECONDS)).await;
    let asked = sidecar.facts.asked.load(Ordering::Relaxed);
    assert!(asked < 1000, "{asked} events of {BALLAST} bytes in {SECONDS} seconds");
}

#[tokio::test]
async fn the_close_ends_every_stream() {
    let sidecar = Sidecar::start(100, 0).await;
    let mut stream = sidecar.get("/v1/events").await;
    stream.event().await.unwrap();
    sidecar.phase.send_replace(Phase::Draining);
    stream.event().await.unwrap();
    sidecar.phase.send_replace(Phase::Closing);
    while stream.event().await.is_some() {}
    sidecar.server.await.unwrap();
}
