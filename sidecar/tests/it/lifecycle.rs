//! `run` as a process: its start with everything else down, its signals and its end.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::Instant,
};

use tempfile::TempDir;

use crate::support::{
    PATIENCE,
    canned::{Chain, Fakes, Signer},
    process::{STORE, Sidecar, all_at, fields},
};

const GO_FILE: &str =
    r#"{"l2_block_number":10,"fallback_hotshot_height":20,"updated_at":"2026-03-27T10:11:12Z"}"#;

/// A sidecar whose dependencies are all down: nothing answers on the discard port.
fn start(folder: &Path, arguments: &[&str]) -> Sidecar {
    let mut all = all_at("http://user:secret@127.0.0.1:9/secret?key=secret").to_vec();
    all.push("--batcher-addresses=0x70997970C51812dc3A010C7d01b50e0d17dc79C8".into());
    all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    Sidecar::start(folder, &all, &[("FINALITY_LOG_LEVEL", "debug")])
}

fn is_debug(line: &str) -> bool {
    fields(line)["level"] == "DEBUG"
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(STORE), GO_FILE).unwrap();
    folder
}

#[test]
fn with_every_dependency_down_it_starts_and_says_so() {
    let folder = folder();
    let sidecar = start(folder.path(), &[]);
    let first = fields(&sidecar.log[0]);
    assert_eq!(first["message"], format!("finality-sidecar {}", finality_core::build::LINE));
    assert_eq!(sidecar.get("/livez").code, 200);
    let head = sidecar.get("/v1/head");
    assert_eq!((head.code, &head.json()["error"]), (503, &"no_head".into()));
    assert_eq!(sidecar.get("/readyz").code, 503);
    let status = sidecar.get("/v1/status");
    assert_eq!(status.code, 200);
    assert!(status.json()["reason"].is_string());
    assert!(status.json()["reason_code"].is_string());
    let metrics = sidecar.get("/metrics");
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0));
    for shown in [head.body, status.body, metrics.body, log.concat()] {
        assert!(!shown.contains("secret"), "{shown}");
    }
}

#[test]
fn either_signal_ends_it_and_the_store_is_free_again() {
    let folder = folder();
    for signal in ["TERM", "INT"] {
        let sidecar = start(folder.path(), &[]);
        let held = finality_sidecar::store::FileStore::open(&folder.path().join(STORE));
        assert!(held.unwrap_err().to_string().contains("in use by another sidecar"));
        sidecar.signal(signal);
        let (code, log) = sidecar.end();
        assert_eq!(code, Some(0), "{log:#?}");
        let log = log.concat();
        assert!(log.contains(&format!("SIG{signal}")) && log.contains("stopped"), "{log}");
    }
    let sidecar = start(folder.path(), &[]);
    sidecar.signal("KILL");
    assert_eq!(sidecar.end().0, None);
    drop(start(folder.path(), &[]));
}

#[test]
fn a_drain_serves_on_and_a_second_signal_ends_it_at_once() {
    let folder = folder();
    let mut sidecar = start(folder.path(), &["--shutdown-delay", "1h"]);
    sidecar.signal("TERM");
    sidecar.wait_for("shutting down");
    let ready = sidecar.get("/readyz");
    assert_eq!((ready.code, &ready.json()["checks"][1]["name"]), (503, &"serving".into()));
    assert_eq!(sidecar.get("/v1/head").code, 503);
    assert_eq!(sidecar.get("/livez").code, 200);
    sidecar.signal("INT");
    let (code, log) = sidecar.end();
    assert_eq!(code, Some(1));
    assert!(log.concat().contains("exiting immediately"), "{log:#?}");
}

#[test]
fn a_long_poll_is_answered_when_it_ends() {
    let folder = folder();
    let sidecar = start(folder.path(), &["--long-poll-limit", "1h"]);
    let mut waiting = TcpStream::connect(&sidecar.address).unwrap();
    waiting.write_all(b"GET /v1/head?after=5&wait=1h HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let began = Instant::now();
    while !sidecar.get("/metrics").body.contains("\nespresso_http_long_polls 1\n") {
        assert!(began.elapsed() < PATIENCE, "it does not wait");
    }
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
        start(folder.path(), &["--log-level", "info", "--verification-interval", "1ms"]);
    assert!(!sidecar.log.iter().any(|line| is_debug(line)), "{:?}", sidecar.log);
    sidecar.signal("USR1");
    assert_eq!(sidecar.wait_for("log level changed")["log_level"], "debug");
    while sidecar.next_line()["level"] != "DEBUG" {}
    sidecar.signal("USR2");
    assert_eq!(sidecar.wait_for("log level changed")["log_level"], "info");
    assert_eq!(sidecar.get("/v1/head").code, 503);
    let shown = sidecar.log.len();
    sidecar.signal("TERM");
    sidecar.wait_for("shutting down");
    // One that was under way with the signal may still come.
    let late = sidecar.log[shown..].iter().filter(|line| is_debug(line)).count();
    assert!(late <= 10, "{:?}", sidecar.log);
    assert_eq!(sidecar.end().0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_a_file_is_read_again_and_a_file_without_one_keeps_it() {
    let fakes = Fakes::start(Chain::new(1, 0, |number| number), 1, Signer::new(7)).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node");
    let write = |path: &str| std::fs::write(&file, format!("http://{}/{path}\n", fakes.address));
    write("rpc/node").unwrap();
    let mut arguments = fakes.arguments();
    arguments.retain(|argument| !argument.starts_with("--node-execution-rpc"));
    arguments.push(format!("--node-execution-rpc=file:{}", file.display()));
    arguments.push("--verification-interval=1ms".into());
    let mut sidecar = Sidecar::start(folder.path(), &arguments, &[]);
    let asked = async |name: &str| {
        let is_asked = || fakes.calls().keys().any(|call| call.starts_with(name));
        let asked = async {
            while !is_asked() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{name}"));
    };
    asked("node ").await;
    write("rpc/node-second").unwrap();
    asked("node-second ").await;
    // What is left of a file that a full disk cut keeps the key.
    std::fs::write(&file, "").unwrap();
    let told = tokio::task::block_in_place(|| sidecar.wait_for("dependency failed"));
    assert_eq!(told["code"], "secret_file", "{told}");
    let status: serde_json::Value = serde_json::from_str(&sidecar.get("/v1/status").body).unwrap();
    assert_eq!(status["dependencies"][0]["last_error"]["code"], "secret_file", "{status}");
}
