//! A running sidecar. It is killed with the test.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    PATIENCE,
    http::{self, Answer},
};

/// The state file, in the folder of the process.
pub(crate) const STORE: &str = "store.json";

pub(crate) struct Sidecar {
    process: Child,
    /// Where it serves.
    pub(crate) address: String,
    /// Lines of the log as they are written; the process never waits for a reader.
    lines: mpsc::Receiver<String>,
    /// Lets a log be read that nothing has read.
    read_on: mpsc::Sender<()>,
    /// The lines that were taken from there so far.
    pub(crate) log: Vec<String>,
}

/// What a process is started under.
#[derive(Default)]
pub(crate) struct Conditions {
    /// Limit of open files.
    pub(crate) open_files: Option<u64>,
    /// Limit of its address space, in bytes.
    pub(crate) address_space: Option<u64>,
    /// Whether nothing reads its log after the start.
    pub(crate) unread: bool,
}

/// The arguments for dependencies that are all at one URL.
pub(crate) fn all_at(url: &str) -> [String; 4] {
    ["node-execution-rpc", "node-consensus-rpc", "l1-rpc", "query-service-url"]
        .map(|name| format!("--{name}={url}"))
}

/// A line of the log.
pub(crate) fn fields(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))
}

impl Sidecar {
    /// Starts it in `folder`, with no environment but `variables`, and waits until it serves.
    pub(crate) fn start(folder: &Path, arguments: &[String], variables: &[(&str, &str)]) -> Self {
        Self::start_under(&Conditions::default(), folder, arguments, variables)
    }

    pub(crate) fn start_under(
        conditions: &Conditions,
        folder: &Path,
        arguments: &[String],
        variables: &[(&str, &str)],
    ) -> Self {
        let files = conditions.open_files.map(|most| format!("--nofile={most}:{most}"));
        let space = conditions.address_space.map(|most| format!("--as={most}:{most}"));
        let mut process = Command::new("prlimit")
            .args(files)
            .args(space)
            .args(["setpriv", "--pdeathsig", "KILL", "--"])
            .args([env!("CARGO_BIN_EXE_finality-sidecar"), "run"])
            .args(arguments)
            .args(["--store-path", STORE, "--listen-addr", "127.0.0.1:0", "--log-format", "json"])
            .current_dir(folder)
            .env_clear()
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let (line, lines) = mpsc::channel();
        let (read_on, may_read) = mpsc::channel();
        let mut is_read = !conditions.unread;
        std::thread::spawn(move || {
            log.try_for_each(|text| {
                if !is_read && text.contains("\"message\":\"serving\"") {
                    is_read = true;
                    drop(line.send(text));
                    // Until the process has ended.
                    return may_read.recv().map_err(drop);
                }
                line.send(text).map_err(drop)
            })
        });
        let mut sidecar = Self { process, address: String::new(), lines, read_on, log: Vec::new() };
        sidecar.address = sidecar.wait_for("serving")["address"].as_str().unwrap().to_owned();
        sidecar
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// A value in KiB from what the kernel says of it, such as `VmHWM`, the most that was resident.
    pub(crate) fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap().split_whitespace().next().unwrap().parse().unwrap()
    }

    /// The next line of the log.
    pub(crate) fn next_line(&mut self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE);
        let line = line.unwrap_or_else(|error| panic!("{error}: {:#?}", self.log));
        let fields = fields(&line);
        self.log.push(line);
        fields
    }

    /// The next line whose message begins with these words.
    pub(crate) fn wait_for(&mut self, message: &str) -> Value {
        loop {
            let line = self.next_line();
            if line["message"].as_str().unwrap().starts_with(message) {
                return line;
            }
        }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        http::get(&self.address, path)
    }

    /// The number of the head as soon as it is above `after`; none when there is no answer.
    pub(crate) async fn head_above(&self, after: u64) -> Option<u64> {
        let path = format!("/v1/head?after={after}&status=ok&wait=30s");
        let mut stream = TcpStream::connect(&self.address).await.ok()?;
        stream.write_all(http::request(&format!("GET {path}")).as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        if http::code(head) != 200 {
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

    pub(crate) fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Waits for the end: the exit code, and the whole log.
    pub(crate) fn end(mut self) -> (Option<i32>, Vec<String>) {
        let code = self.process.wait().unwrap().code();
        _ = self.read_on.send(());
        let mut log = std::mem::take(&mut self.log);
        log.extend(self.lines.iter());
        (code, log)
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn stop(self) -> (Option<i32>, Vec<String>) {
        self.signal("TERM");
        self.end()
    }

    /// Kills it and gives its log.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        self.end().1
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
