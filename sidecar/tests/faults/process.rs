//! A running sidecar. It is killed with the test.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    thread::JoinHandle,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub(crate) struct Sidecar {
    process: Child,
    address: String,
    /// Gathers the log, so that the process never waits for a reader.
    log: Option<JoinHandle<Vec<String>>>,
}

impl Sidecar {
    /// Starts it with its state file in `folder`.
    pub(crate) fn start(folder: &Path, arguments: &[String]) -> Self {
        let mut process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_finality-sidecar"), "run"])
            .args(arguments)
            .args(["--store-path", "store.json", "--listen-addr", "127.0.0.1:0"])
            .args(["--log-format", "json"])
            .current_dir(folder)
            .env_clear()
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut lines = Vec::new();
        let mut address = String::new();
        while address.is_empty() {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended: {lines:?}");
            let fields: Value = serde_json::from_str(&line).unwrap();
            if fields["message"] == "serving" {
                address = fields["address"].as_str().unwrap().to_owned();
            }
            lines.push(line);
        }
        let log = std::thread::spawn(move || {
            let mut rest = String::new();
            log.read_to_string(&mut rest).unwrap();
            lines.extend(rest.lines().map(str::to_owned));
            lines
        });
        Self { process, address, log: Some(log) }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The number of the head as soon as it is above `after`; none when there is no answer.
    pub(crate) async fn head_above(&self, after: u64) -> Option<u64> {
        let path = format!("/v1/head?after={after}&status=ok&wait=30s");
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        let mut stream = TcpStream::connect(&self.address).await.ok()?;
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        if !head.starts_with("HTTP/1.1 200") {
            return None;
        }
        let report: Value = serde_json::from_str(body).ok()?;
        report["number"].as_u64()
    }

    /// Waits for the head to be at a block.
    pub(crate) async fn head_reaches(&self, number: u64) {
        let mut head = 0;
        while head < number {
            // Without a head yet it answers at once.
            head = self.head_above(number - 1).await.unwrap_or(head);
            tokio::task::yield_now().await;
        }
        assert_eq!(head, number);
    }

    /// Kills it and gives its log.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.log.take().unwrap().join().unwrap()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
