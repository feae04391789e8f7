//! The canned services in a process of their own.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::canned::{Chain, Fakes, Signer};

/// What the services have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content {
    pub(crate) blocks: u64,
    pub(crate) transactions: usize,
    /// HotShot blocks without our namespace before the first batch.
    pub(crate) empty: u64,
    /// Blocks that are there from the start; `POST /advance` shows the next one.
    pub(crate) visible: u64,
    /// What L1 takes for each answer, in milliseconds.
    pub(crate) l1_delay: u64,
}

/// The services' process. It ends with this, or with the process that started it.
pub(crate) struct Services {
    child: Child,
    pub(crate) url: String,
}

impl Services {
    pub(crate) fn start(content: Content) -> Self {
        let Content { blocks, transactions, empty, visible, l1_delay } = content;
        let numbers = [blocks, transactions as u64, empty, visible, l1_delay];
        let numbers = numbers.map(|number| number.to_string());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("serve")
            .args(numbers)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut url).unwrap();
        Self { child, url: url.trim().to_owned() }
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
    let Content { blocks, transactions, empty, visible, l1_delay } = content;
    let chain = Chain::new(blocks, transactions, |_| 1);
    let l1_delay = Duration::from_millis(l1_delay);
    let fakes = Fakes::start_with(chain, visible, batcher(), l1_delay).await;
    (0..empty).for_each(|_| fakes.post(Vec::new()));
    (1..=visible).for_each(|number| fakes.post(vec![fakes.signed(number)]));
    println!("http://{}", fakes.address);
    std::io::stdout().flush().unwrap();
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()))
        .await
        .unwrap()
        .unwrap();
}
