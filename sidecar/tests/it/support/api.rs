//! The API over real sockets, with a head that the test moves by hand.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use finality_core::head::{HeadReport, Mode, Source, Status, hex_number};
use finality_sidecar::{
    api::{
        self, ApiState, Phase,
        events::Streams,
        history::History,
        hosts::Hosts,
        server,
        status::{Reason, StatusSource},
    },
    telemetry::Metrics,
};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::Instant,
};

use super::http::{self, Answer};

/// Longer than any test takes: waiting for it means a hang.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(3600);
/// What a dependency may say to make events of its own.
pub(crate) const HOSTILE: &str = "\r\n\r\nevent: status\ndata: {}\n\n<script>alert(1)</script>";

/// What the API asks of the rest of the sidecar; counts how often.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) alive: AtomicBool,
    pub(crate) writable: AtomicBool,
    pub(crate) asked: AtomicUsize,
    pub(crate) asked_at: Mutex<Vec<Instant>>,
    head: watch::Receiver<Option<Arc<HeadReport>>>,
    ballast: String,
}

impl StatusSource for Facts {
    fn status(&self) -> Value {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        self.asked_at.lock().push(Instant::now());
        json!({ "asked": asked, "hostile": HOSTILE, "ballast": self.ballast })
    }

    fn reason(&self) -> Reason {
        Reason { code: "chain_unknown", text: "the node has not answered yet".into() }
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let mut head = self.head.clone();
        head.mark_unchanged();
        Box::pin(async move {
            if head.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }

    fn verifier_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    fn store_writable(&self) -> bool {
        self.writable.load(Ordering::Relaxed)
    }
}

/// How an API is served.
pub(crate) struct Options {
    pub(crate) max_connections: usize,
    pub(crate) long_poll_limit: Duration,
    pub(crate) ready_max_age: Option<Duration>,
    /// Bytes in each status beside the rest.
    pub(crate) ballast: usize,
}

impl Default for Options {
    fn default() -> Self {
        let (long_poll_limit, ready_max_age) = (FOR_EVER, None);
        Self { max_connections: 1000, long_poll_limit, ready_max_age, ballast: 0 }
    }
}

/// A served API and the strings that move it.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) head: watch::Sender<Option<Arc<HeadReport>>>,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) facts: Arc<Facts>,
    pub(crate) history: Arc<History>,
    pub(crate) metrics: Metrics,
    pub(crate) server: JoinHandle<()>,
}

pub(crate) fn report(number: u64, status: Status) -> Arc<HeadReport> {
    Arc::new(HeadReport {
        number,
        hex: hex_number(number),
        hash: None,
        source: Source::Espresso,
        mode: Mode::Espresso,
        status,
        espresso: None,
        ethereum: None,
        chain_id: 1,
        updated_at: "2026-01-01T00:00:00.123Z".into(),
        generation: 0,
        store: None,
        confirmed: None,
        proven: None,
        block: None,
    })
}

impl Served {
    pub(crate) async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// Serves with room for that many connections.
    pub(crate) async fn with_room(max_connections: usize) -> Self {
        Self::start_with(Options { max_connections, ..Options::default() }).await
    }

    pub(crate) async fn start_with(options: Options) -> Self {
        let Options { max_connections, long_poll_limit, ready_max_age, ballast } = options;
        let (head, heads) = watch::channel(None);
        let (phase, phases) = watch::channel(Phase::Serving);
        let facts = Arc::new(Facts {
            alive: AtomicBool::new(true),
            writable: AtomicBool::new(true),
            asked: AtomicUsize::new(0),
            asked_at: Mutex::default(),
            head: heads.clone(),
            ballast: "x".repeat(ballast),
        });
        let (history, metrics) = (Arc::new(History::default()), Metrics::new());
        let state = ApiState {
            confirmations: None,
            head: heads,
            encoded: Default::default(),
            status: facts.clone(),
            history: Arc::clone(&history),
            hosts: Hosts::new(IpAddr::V4(Ipv4Addr::LOCALHOST), None),
            streams: Streams::new(max_connections),
            metrics: metrics.clone(),
            phase: phases.clone(),
            long_poll_limit,
            ready_max_age,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = server::serve(listener, api::router(state), max_connections, phases, FOR_EVER);
        Self { address, head, phase, facts, history, metrics, server: tokio::spawn(serve) }
    }

    pub(crate) fn publish(&self, number: u64, status: Status) {
        self.head.send_replace(Some(report(number, status)));
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a request on a connection of its own; the answer comes later.
    pub(crate) async fn send(&self, request: &str) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(http::request(request).as_bytes()).await.unwrap();
        stream
    }

    pub(crate) async fn ask(&self, request: &str) -> Answer {
        receive(self.send(request).await).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}")).await
    }

    /// Waits until that many long polls are open.
    pub(crate) async fn polls_are_held(&self, count: usize) {
        let line = format!("espresso_http_long_polls {count}");
        while !self.metrics.render().lines().any(|found| found == line) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Asks for a path and reads the headers of the answer.
    pub(crate) async fn open(&self, path: &str) -> Opened {
        Opened::of(self.send(&format!("GET {path}")).await).await
    }
}

pub(crate) async fn receive(mut stream: TcpStream) -> Answer {
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await.unwrap();
    Answer::parse(&String::from_utf8_lossy(&text))
}

/// An answer whose body has not been read yet.
pub(crate) struct Opened {
    pub(crate) head: String,
    rest: BufReader<TcpStream>,
}

impl Opened {
    pub(crate) async fn of(stream: TcpStream) -> Self {
        let mut rest = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(rest.read_line(&mut head).await.unwrap(), 0, "{head:?}");
        }
        Self { head, rest }
    }

    pub(crate) fn code(&self) -> u16 {
        http::code(&self.head)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        http::header(&self.head, name)
    }

    /// The next event, by the rules of `text/event-stream`; none when the stream has ended.
    pub(crate) async fn event(&mut self) -> Option<Value> {
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
