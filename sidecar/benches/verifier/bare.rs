//! A bare program beside the sidecar: for each block it asks the same services the same questions
//! with the same client, and writes a file as durably, without looking at anything. What that costs
//! on a machine is what no sidecar there can go below.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write, stdin},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::json;

use super::{canned::chain::CHAIN_ID, services::Services};

/// The program's process. It ends with this.
pub(crate) struct Bare {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Bare {
    pub(crate) fn start(services: &Services) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["bare", &services.url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, answers }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Has it read a block that the services have.
    pub(crate) fn read(&mut self, number: u64) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{number}").unwrap();
        self.answers.read_line(&mut String::new()).unwrap();
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

/// The program: reads each block that standard input names.
pub(crate) fn run(runtime: &tokio::runtime::Runtime, url: &str) {
    let folder = tempfile::tempdir().unwrap();
    let client = reqwest::Client::builder().build().unwrap();
    for line in stdin().lock().lines().map_while(Result::ok) {
        let number = line.parse().unwrap();
        runtime.block_on(read(&client, url, number));
        write(folder.path(), &line);
        println!("{number}");
    }
}

/// What the sidecar asks for a block when it comes.
async fn read(client: &reqwest::Client, url: &str, number: u64) {
    let (from, until) = (number - 1, number);
    for path in [
        "status/block-height".to_owned(),
        format!("availability/header/{from}/{until}"),
        format!("availability/block/{from}/{until}/namespace/{CHAIN_ID}"),
    ] {
        let answer = client.get(format!("{url}/v1/{path}")).send().await.unwrap();
        assert!(answer.status().is_success());
        answer.bytes().await.unwrap();
    }
    for whole in [true, false] {
        let calls = json!([
            {"jsonrpc": "2.0", "id": 1, "method": "eth_getBlockByNumber",
                "params": [format!("{number:#x}"), whole]},
            {"jsonrpc": "2.0", "id": 2, "method": "eth_blockNumber", "params": []},
        ]);
        let answer = client.post(format!("{url}/rpc/node")).json(&calls).send().await.unwrap();
        answer.bytes().await.unwrap();
    }
}

fn write(folder: &Path, text: &str) {
    let (temporary, path) = (folder.join("new"), folder.join("file"));
    let mut file = File::create(&temporary).unwrap();
    file.write_all(text.repeat(100).as_bytes()).unwrap();
    file.sync_all().unwrap();
    std::fs::rename(&temporary, &path).unwrap();
    File::open(folder).unwrap().sync_all().unwrap();
}
