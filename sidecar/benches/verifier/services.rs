//! The canned services in a process of their own.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::canned::{Chain, Fakes, Signer, services::Habits};

/// What the services have.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
pub(crate) struct Content {
    pub(crate) blocks: u64,
    pub(crate) transactions: usize,
    /// HotShot blocks without our namespace before the first batch.
    pub(crate) empty: u64,
    /// Blocks that are there from the start; `POST /advance` shows the next one.
    pub(crate) visible: u64,
    /// What L1 takes for each answer, in milliseconds.
    pub(crate) l1_delay: u64,
    /// Whether they tell of new blocks.
    pub(crate) streams: bool,
    /// The weight of HotShot's committee.
    pub(crate) weight: usize,
    /// The length of what nobody signed beside each batch.
    pub(crate) junk: usize,
}

impl Content {
    /// So many blocks of three transactions, all there from the start.
    pub(crate) const fn of(blocks: u64) -> Self {
        Self {
            blocks,
            transactions: 3,
            empty: 0,
            visible: blocks,
            l1_delay: 0,
            streams: true,
            weight: 10,
            junk: 0,
        }
    }
}

/// The services' process. It ends with this, or with the process that started it.
pub(crate) struct Services {
    child: Child,
    pub(crate) url: String,
    /// Leads a sidecar here; whatever has a default keeps it.
    pub(crate) arguments: Vec<String>,
}

/// What they say at their start.
#[derive(Deserialize, Serialize)]
struct Served {
    url: String,
    arguments: Vec<String>,
}

impl Services {
    pub(crate) fn start(content: Content) -> Self {
        let content = serde_json::to_string(&content).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("serve")
            .arg(content)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let Served { url, arguments } = serde_json::from_str(&line).unwrap();
        Self { child, url, arguments }
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

/// Who signs the batches.
pub(crate) fn batcher() -> Signer {
    Signer::new(7)
}

/// Serves until standard input ends.
pub(crate) async fn serve(content: Content) {
    let Content { blocks, transactions, empty, visible, l1_delay, streams, weight, junk } = content;
    let chain = Chain::new(blocks, transactions, |_| 1);
    let habits = Habits { l1_delay: Duration::from_millis(l1_delay), streams, weight };
    let fakes = Fakes::start_with(chain, visible, batcher(), habits).await;
    (0..empty).for_each(|_| fakes.post(Vec::new()));
    let junk = (junk > 0).then(|| vec![0; junk]);
    for number in 1..=visible {
        fakes.post(std::iter::once(fakes.signed(number)).chain(junk.clone()).collect());
    }
    let served = Served { url: format!("http://{}", fakes.address), arguments: fakes.arguments() };
    println!("{}", serde_json::to_string(&served).unwrap());
    std::io::stdout().flush().unwrap();
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()))
        .await
        .unwrap()
        .unwrap();
}
