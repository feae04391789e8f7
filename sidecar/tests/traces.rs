//! Traces by the real binary to a collector of the test's own, and without one that works.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failing test may panic"
)]

mod request;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStderr, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use serde_json::Value;

/// Nothing takes nearly as long; whoever waits longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A request: its head, and its body, which need not be text.
type Got = (String, Vec<u8>);

/// A server that tells each request and answers it with that status, once per connection.
fn serve(status: &'static str) -> (String, mpsc::Receiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, requests) = mpsc::channel();
    // The thread ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if let Ok(got) = request::read(&mut stream, PATIENCE) {
                let answer =
                    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                drop(stream.write_all(answer.as_bytes()));
                drop(sender.send(got));
            }
        }
    });
    (url, requests)
}

struct Sidecar {
    process: Child,
    log: BufReader<ChildStderr>,
    logged: String,
    _folder: tempfile::TempDir,
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Sidecar {
    /// A sidecar all of whose dependencies are at `node`.
    fn start(node: &str, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_finality-sidecar"), "run"])
            .args(["--node-execution-rpc", node, "--node-consensus-rpc", node])
            .args(["--l1-rpc", node, "--query-service-url", node])
            .args(["--initial-hotshot-height", "1", "--listen-addr", "127.0.0.1:0"])
            .args(["--verification-interval", "10ms", "--log-format", "json"])
            .current_dir(folder.path())
            .env_clear()
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        Self { process, log, logged: String::new(), _folder: folder }
    }

    fn wait_for(&mut self, message: &str) -> Value {
        loop {
            let mut line = String::new();
            assert_ne!(self.log.read_line(&mut line).unwrap(), 0, "{message} was not logged");
            self.logged += &line;
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["message"].as_str().unwrap().starts_with(message) {
                return line;
            }
        }
    }

    /// The end after SIGTERM: the exit code and the whole log.
    fn stop(mut self) -> (Option<i32>, String) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
        self.log.read_to_string(&mut self.logged).unwrap();
        (self.process.wait().unwrap().code(), std::mem::take(&mut self.logged))
    }
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn spans_reach_the_collector_before_the_end_and_contexts_go_in_and_out() {
    let (collector, exports) = serve("200 OK");
    let (node, requests) = serve("500 Internal Server Error");
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=seven"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test-bed"),
        // Nothing is sent before the end.
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100000"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100000"),
    ];
    let mut sidecar = Sidecar::start(&node, &variables);
    let address = sidecar.wait_for("serving")["address"].as_str().unwrap().to_owned();
    let (request, _) = requests.recv_timeout(PATIENCE).expect("the node is asked");
    let traceparent = request.lines().find_map(|line| line.strip_prefix("traceparent: 00-"));
    let (round, _) = traceparent.expect("a dependency gets the context").split_once('-').unwrap();

    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    for method in ["GET", "STRANGERS"] {
        let mut stream = TcpStream::connect(&address).unwrap();
        let text = format!(
            "{method} /v1/head HTTP/1.1\r\ntraceparent: {parent}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(text.as_bytes()).unwrap();
        stream.read_to_string(&mut String::new()).unwrap();
    }
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{log}");

    let exports: Vec<Got> = exports.try_iter().collect();
    let (head, _) = exports.first().expect("spans were sent at the end");
    assert!(
        head.starts_with("POST /v1/traces HTTP/1.1") && head.contains("x-tenant: seven"),
        "{head}"
    );
    assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    let all: Vec<u8> = exports.into_iter().flat_map(|(_, body)| body).collect();
    let trace_id = |text: &str| hex::decode(text).unwrap();
    for part in ["finality-sidecar", "test-bed", "GET /v1/head", "round", "node", "outcome"] {
        assert!(has(&all, part.as_bytes()), "{part}");
    }
    assert!(!has(&all, b"STRANGERS"), "a method is a name that anybody may make up");
    assert!(has(&all, &trace_id(TRACE)), "the client's trace goes on");
    assert!(has(&all, &trace_id(round)), "the round that the node was told of");
}

#[test]
fn a_collector_that_fails_is_said_once_and_disturbs_nothing() {
    let (collector, exports) = serve("503 Service Unavailable");
    let secret = collector.replace("http://", "http://user:hush@") + "/hush";
    let variables = [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", secret.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("FINALITY_LOG_LEVEL", "trace"),
    ];
    let mut sidecar = Sidecar::start("http://127.0.0.1:9", &variables);
    sidecar.wait_for("serving");
    for _ in 0..5 {
        let (head, _) = exports.recv_timeout(PATIENCE).expect("it goes on trying");
        // `user:hush`.
        assert!(head.contains("authorization: Basic dXNlcjpodXNo\r\n"), "{head}");
    }
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(log.matches("traces cannot be sent").count(), 1, "{log}");
    assert!(log.contains("HTTP status 503") && !log.contains("hush"), "{log}");
    assert!(!log.contains("dXNlcjpodXNo"), "{log}");
}

#[test]
fn without_an_endpoint_nothing_is_sent_and_a_bad_variable_is_named() {
    let (node, requests) = serve("500 Internal Server Error");
    for variables in [
        &[][..],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"), ("OTEL_SDK_DISABLED", "true")],
    ] {
        let mut sidecar = Sidecar::start(&node, variables);
        sidecar.wait_for("serving");
        let (head, _) = requests.recv_timeout(PATIENCE).expect("the node is asked");
        assert!(!head.contains("traceparent"), "{head}");
        let (code, log) = sidecar.stop();
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("traces"), "{log}");
    }
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ];
    let mut sidecar = Sidecar::start(&node, &variables);
    let error = sidecar.wait_for("no traces")["error"].as_str().unwrap().to_owned();
    assert_eq!(error, "OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf, or not set");
    sidecar.wait_for("serving");
    assert_eq!(sidecar.stop().0, Some(0));
}
