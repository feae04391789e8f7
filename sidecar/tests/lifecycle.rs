//! `run` as a process: its start with everything else down, its signals and its end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failing test may panic"
)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

const GO_FILE: &str =
    r#"{"l2_block_number":10,"fallback_hotshot_height":20,"updated_at":"2026-03-27T10:11:12Z"}"#;

/// A running sidecar whose dependencies are all down. It is killed with the test.
struct Sidecar {
    process: Child,
    log: BufReader<ChildStderr>,
    address: SocketAddr,
    lines: Vec<Value>,
}

impl Sidecar {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        // Nobody answers at the discard port.
        let down = "http://user:secret@127.0.0.1:9/secret?key=secret";
        let mut process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_finality-sidecar"), "run"])
            .args(["--node-execution-rpc", down, "--node-consensus-rpc", down])
            .args(["--l1-rpc", down, "--query-service-url", down])
            .args(["--batcher-addresses", "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"])
            .args(["--store-path", "store.json", "--listen-addr", "127.0.0.1:0"])
            .args(["--log-format", "json"])
            .args(arguments)
            .current_dir(folder)
            .env_clear()
            .env("FINALITY_LOG_LEVEL", "debug")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        let address = "127.0.0.1:0".parse().unwrap();
        let mut sidecar = Self { process, log, address, lines: Vec::new() };
        let serving = sidecar.wait_for("serving");
        sidecar.address = serving["address"].as_str().unwrap().parse().unwrap();
        sidecar
    }

    /// The next log line with that message.
    fn wait_for(&mut self, message: &str) -> Value {
        loop {
            let line = self.next_line();
            if line["message"] == message {
                return line;
            }
        }
    }

    fn next_line(&mut self) -> Value {
        let mut line = String::new();
        assert_ne!(self.log.read_line(&mut line).unwrap(), 0, "{:?}", self.lines);
        let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        self.lines.push(line.clone());
        line
    }

    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// The exit code, and everything that was logged.
    fn end(mut self) -> (Option<i32>, String) {
        let code = self.process.wait().unwrap().code();
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        let lines: Vec<_> = self.lines.iter().map(ToString::to_string).collect();
        (code, lines.join("\n") + &rest)
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("store.json"), GO_FILE).unwrap();
    folder
}

#[test]
fn with_every_dependency_down_it_starts_and_says_so() {
    let folder = folder();
    let sidecar = Sidecar::start(folder.path(), &[]);
    let first = &sidecar.lines[0];
    assert_eq!(first["message"], format!("finality-sidecar {}", finality_core::build::LINE));
    assert_eq!(sidecar.get("/livez").0, 200);
    let (code, body) = sidecar.get("/v1/head");
    assert_eq!(code, 503);
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["error"], "no_head");
    assert_eq!(sidecar.get("/readyz").0, 503);
    let (code, status) = sidecar.get("/v1/status");
    assert_eq!(code, 200);
    assert!(serde_json::from_str::<Value>(&status).unwrap()["reason"].is_string());
    let metrics = sidecar.get("/metrics").1;
    sidecar.signal("TERM");
    let (code, log) = sidecar.end();
    assert_eq!(code, Some(0));
    for shown in [body, status, metrics, log] {
        assert!(!shown.contains("secret"), "{shown}");
    }
}

#[test]
fn either_signal_ends_it_and_the_store_is_free_again() {
    let folder = folder();
    for signal in ["TERM", "INT"] {
        let sidecar = Sidecar::start(folder.path(), &[]);
        let held = finality_sidecar::store::FileStore::open(&folder.path().join("store.json"));
        assert!(held.unwrap_err().to_string().contains("in use by another sidecar"));
        sidecar.signal(signal);
        let (code, log) = sidecar.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains(&format!("SIG{signal}")) && log.contains("stopped"), "{log}");
    }
    let sidecar = Sidecar::start(folder.path(), &[]);
    sidecar.signal("KILL");
    assert_eq!(sidecar.end().0, None);
    drop(Sidecar::start(folder.path(), &[]));
}

#[test]
fn a_drain_serves_on_and_a_second_signal_ends_it_at_once() {
    let folder = folder();
    let mut sidecar = Sidecar::start(folder.path(), &["--shutdown-delay", "1h"]);
    sidecar.signal("TERM");
    sidecar.wait_for("shutting down");
    let (code, body) = sidecar.get("/readyz");
    assert!(code == 503 && body.contains("shutting down"), "{body}");
    assert_eq!(sidecar.get("/v1/head").0, 503);
    assert_eq!(sidecar.get("/livez").0, 200);
    sidecar.signal("INT");
    let (code, log) = sidecar.end();
    assert_eq!(code, Some(1));
    assert!(log.contains("ending at once"), "{log}");
}

#[test]
fn a_long_poll_is_answered_when_it_ends() {
    let folder = folder();
    // The delay gives the request the time to be read, on a machine that is busy.
    let delay = ["--shutdown-delay", "1s"];
    let sidecar =
        Sidecar::start(folder.path(), &[&["--long-poll-limit", "1h"], &delay[..]].concat());
    let mut waiting = TcpStream::connect(sidecar.address).unwrap();
    waiting.write_all(b"GET /v1/head?after=5&wait=1h HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    sidecar.signal("TERM");
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!(sidecar.end().0, Some(0));
}

#[test]
fn signals_raise_the_log_level_and_restore_it() {
    let folder = folder();
    let mut sidecar =
        Sidecar::start(folder.path(), &["--log-level", "info", "--verification-interval", "1ms"]);
    assert!(sidecar.lines.iter().all(|line| line["level"] != "DEBUG"), "{:?}", sidecar.lines);
    sidecar.signal("USR1");
    assert_eq!(sidecar.wait_for("log level changed")["log_level"], "debug");
    let before = sidecar.lines.len();
    while sidecar.lines[before..].iter().all(|line| line["level"] != "DEBUG") {
        sidecar.next_line();
    }
    sidecar.signal("USR2");
    assert_eq!(sidecar.wait_for("log level changed")["log_level"], "info");
    assert_eq!(sidecar.get("/v1/head").0, 503);
    let shown = sidecar.lines.len();
    sidecar.signal("TERM");
    sidecar.wait_for("shutting down");
    // One that was under way with the signal may still come.
    let late = sidecar.lines[shown..].iter().filter(|line| line["level"] == "DEBUG").count();
    assert!(late <= 10, "{:?}", sidecar.lines);
    assert_eq!(sidecar.end().0, Some(0));
}
