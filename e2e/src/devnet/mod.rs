//! Everything together.

mod parts;

use std::{sync::Arc, time::Duration};

use finality_core::head::HeadReport;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use crate::{
    batcher::OpRollup,
    builder::Builder,
    client::{Answer, Client, hex, quantity},
    emulated::Emulated,
    envoy::Envoy,
    hotshot::{Hotshot, MINOR},
    invariants::{DevnetTruth, Watch},
    l1::{self, L1},
    nitro::Nitro,
    process,
    real::Real,
    rollup::{Numbered, OriginPolicy, Poster, Rollup},
    sidecar::Sidecar,
    signer::Signer,
    wait::{PATIENCE, until},
};
use parts::local;

pub use parts::Parts;

/// A running devnet, with an emulated rollup or a real one.
#[derive(Debug)]
pub struct Devnet<R: Rollup = Emulated> {
    /// Envoy.
    pub envoy: Envoy,
    /// The sidecar.
    pub sidecar: Arc<Sidecar>,
    /// L2.
    pub rollup: Arc<R>,
    /// Who posts its blocks.
    pub batcher: R::Poster,
    /// HotShot, and its first query service.
    pub hotshot: Arc<Hotshot>,
    /// Its other query services.
    pub services: Vec<Hotshot>,
    /// L1.
    pub l1: Arc<L1>,
    /// The first tag in the filter's configuration.
    pub tag: String,
    folder: TempDir,
}

fn clock(seconds: u64) -> Interval {
    let mut clock = interval(Duration::from_secs(seconds));
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    clock
}

impl<R: Rollup> Drop for Devnet<R> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            process::keep_logs(self.folder.path());
        }
    }
}

impl Devnet<Emulated> {
    /// A devnet with an emulated rollup, to be changed before it starts.
    #[must_use]
    pub fn emulated() -> Builder<Parts<Emulated>> {
        Self::of_that_rollup()
    }
}

impl Devnet<Real> {
    /// A devnet with a real rollup, to be changed before it starts.
    #[must_use]
    pub fn real() -> Builder<Parts<Real>> {
        Self::of_that_rollup()
    }
}

impl Devnet<Nitro> {
    /// A devnet with a Nitro chain, to be changed before it starts.
    #[must_use]
    pub fn nitro() -> Builder<Parts<Nitro>> {
        Self::of_that_rollup()
    }
}

impl<R: OpRollup> Devnet<R> {
    /// An L1 block that gives the batcher another key; answers its number. Batches built on it or
    /// later are signed with that key.
    pub async fn rotate_batcher(&self, signer: Signer) -> u64 {
        let from = self.l1.latest().await.number + 1;
        self.l1.set_batcher(signer.address()).await;
        self.batcher.rotate(from, signer);
        self.mine_l1(1).await;
        from
    }
}

impl<R: Rollup> Devnet<R> {
    fn of_that_rollup() -> Builder<Parts<R>> {
        let (rollup, origins) = (R::Settings::default(), OriginPolicy::default());
        Builder::new(Parts {
            rollup,
            origins,
            age: R::AGE,
            services: 1,
            minor: MINOR,
            sidecar: Vec::new(),
            links: None,
        })
    }

    /// Starts watching the invariants.
    #[must_use]
    pub fn watch(&self) -> Watch {
        let truth =
            DevnetTruth { rollup: Arc::clone(&self.rollup), hotshot: Arc::clone(&self.hotshot) };
        Watch::start(self.client(), &self.tag, Arc::clone(&self.sidecar), truth)
    }

    /// A client through Envoy.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.envoy.url())
    }

    /// A client of the node without Envoy.
    #[must_use]
    pub fn direct(&self) -> Client {
        Client::new(local(self.rollup.execution_port()))
    }

    /// The whole life of `count` L2 blocks: L1 moves on, the sequencer builds, the node follows,
    /// the batcher posts, HotShot includes.
    pub async fn produce(&self, count: u64) {
        for _ in 0..count {
            self.mine_l1(1).await;
            let blocks = self.build(1).await;
            self.batcher.post(&blocks);
            self.mine_hotshot(1).await;
        }
    }

    /// Posts all that the sequencer has, and lets HotShot include it.
    pub async fn catch_up(&self) {
        // More may wait than at first if the sequencer has left some of its blocks.
        loop {
            match self.rollup.waiting().await {
                0 => break,
                waiting => self.batcher.post(&self.build(waiting).await),
            }
        }
        self.mine_hotshot(1).await;
    }

    /// Mines L1 until the full node calls a block of at least that number finalized.
    pub async fn finalize(&self, number: u64) {
        until(&format!("block {number} to be finalized"), PATIENCE, async || {
            let done = self.rollup.finalize(number).await;
            if !done {
                self.mine_l1(1).await;
                sleep(Duration::from_millis(200)).await;
            }
            done.then_some(())
        })
        .await;
        self.rollup.finalized();
    }

    /// Asserts that a request without a tag gets the node's own answer, and answers it. The node's
    /// answer may change between two looks.
    ///
    /// # Panics
    /// When it gets another answer.
    pub async fn assert_passes(&self, body: &str) -> Answer {
        let (envoy, node) = (self.client(), self.direct());
        let answer = async |client: &Client| client.post(body).await.unwrap();
        let facts = |answer: &Answer| {
            (answer.text(), answer.status, answer.headers.get("content-type").cloned())
        };
        until(&format!("the same answer from Envoy and node to {body}"), PATIENCE, async || {
            let (before, through, after) =
                (answer(&node).await, answer(&envoy).await, answer(&node).await);
            assert_eq!(through.head(), None, "{body}");
            let own = [facts(&before), facts(&after)];
            own.contains(&facts(&through)).then_some(through)
        })
        .await
    }

    /// Mines L1 blocks; each updates the light client to HotShot's height.
    pub async fn mine_l1(&self, count: u64) {
        for _ in 0..count {
            let height = self.hotshot.height() - 1;
            let root = self.hotshot.light_client_root(height);
            self.l1.set_light_client(height + 1, height, root).await;
            self.l1.mine(1).await;
        }
    }

    /// An L1 block that has a light client state with another root than HotShot's.
    pub async fn mine_l1_with_a_false_root(&self) {
        let height = self.hotshot.height() - 1;
        let root = !self.hotshot.light_client_root(height);
        self.l1.set_light_client(height + 1, height, root).await;
        self.l1.mine(1).await;
    }

    /// The sequencer's next blocks, which the node has too; nothing is posted.
    pub async fn build(&self, count: u64) -> Vec<Arc<R::Block>> {
        self.rollup.build(count).await
    }

    /// HotShot blocks, the first with all that was posted.
    pub async fn mine_hotshot(&self, count: u64) {
        let (head, finalized) = (self.l1.latest().await, self.l1.finalized().await);
        for _ in 0..count {
            self.hotshot.mine(head, finalized);
        }
    }

    /// Lets L1, L2 and HotShot run by the clock, independent of one another, until `body` ends.
    pub async fn by_the_clock<T>(&self, body: impl Future<Output = T>) -> T {
        let batches = async {
            loop {
                self.batcher.post(&self.rollup.tick().await);
            }
        };
        tokio::select! {
            answer = body => answer,
            () = self.run_l1() => unreachable!("a clock never ends"),
            () = self.run_hotshot() => unreachable!("a clock never ends"),
            () = batches => unreachable!("a clock never ends"),
        }
    }

    /// Lets L1 alone run by the clock, until `body` ends.
    pub async fn while_l1_runs<T>(&self, body: impl Future<Output = T>) -> T {
        tokio::select! {
            answer = body => answer,
            () = self.run_l1() => unreachable!("a clock never ends"),
        }
    }

    /// Mines L1 by the clock, for ever.
    async fn run_l1(&self) {
        let mut clock = clock(l1::BLOCK_TIME);
        loop {
            clock.tick().await;
            self.mine_l1(1).await;
        }
    }

    /// Mines HotShot by the clock, for ever.
    async fn run_hotshot(&self) {
        let mut clock = clock(1);
        loop {
            clock.tick().await;
            self.mine_hotshot(1).await;
        }
    }

    /// The number of the newest block that was built.
    pub async fn height(&self) -> u64 {
        self.rollup.chain().await.last().map_or(0, |block| block.number())
    }

    /// The number of the node's latest block.
    pub async fn node_height(&self) -> u64 {
        quantity(&self.direct().call("eth_blockNumber", json!([])).await)
    }

    /// A tagged request through Envoy, for the block at the head.
    ///
    /// # Panics
    /// When Envoy does not answer.
    pub async fn ask_tagged(&self) -> Answer {
        self.client().ask("eth_getBlockByNumber", json!([self.tag, false])).await.unwrap()
    }

    /// The head as a client sees it, or None while tagged requests are refused.
    pub async fn head(&self) -> Option<u64> {
        let answer = self.client().ask("eth_getBlockByNumber", json!([self.tag, false])).await;
        answer.ok()?.head()
    }

    /// Waits until a client sees a head of at least `number`; returns it.
    pub async fn head_reaches(&self, number: u64) -> u64 {
        until(&format!("the head to reach {number}"), PATIENCE, async || {
            self.head().await.filter(|head| *head >= number)
        })
        .await
    }

    /// Waits until the sidecar's report is as wanted; returns it.
    pub async fn report(&self, what: &str, wanted: impl Fn(&HeadReport) -> bool) -> HeadReport {
        until(&format!("a head report with {what}"), PATIENCE, async || {
            self.sidecar.head().await.filter(&wanted)
        })
        .await
    }

    /// Waits until clients are refused for that reason; requests without a tag still work.
    pub async fn tagged_is_refused(&self, reason: &str) {
        until(&format!("tagged requests to be refused as {reason}"), PATIENCE, async || {
            let answer = self.ask_tagged().await;
            let error = answer.result().err()?;
            (error.reason() == Some(reason)).then(|| {
                assert_eq!((answer.status, error.code()), (503, Some(-32055)), "{error}");
                assert_eq!(answer.head(), None);
            })
        })
        .await;
        let call = json!({
            "jsonrpc": "2.0", "id": 1, "method": "eth_getBlockByNumber", "params": ["latest", false],
        });
        let answer = self.assert_passes(&call.to_string()).await;
        assert_eq!(answer.status, 200);
    }

    /// Waits until the verifier has read all that HotShot has.
    pub async fn all_is_read(&self) {
        until("HotShot to be read", PATIENCE, async || {
            let cursor = self.sidecar.status().await["hotshot"]["cursor"].as_u64()?;
            (cursor >= self.hotshot.height()).then_some(())
        })
        .await;
    }

    /// Asserts that nothing moves the head: the verifier has a whole round, and a client still sees
    /// the head at `number`. A round reads only what is due: wait for [`Self::all_is_read`] first
    /// if payloads must have been read.
    ///
    /// # Panics
    /// When it moved.
    pub async fn head_stays_at(&self, number: u64) {
        self.sidecar.full_round().await;
        let report = self.sidecar.head().await.expect("the sidecar has a head");
        assert_eq!(report.number, number, "{report:?}");
        if report.status.is_usable() {
            // Envoy may not have heard yet that it is.
            assert_eq!(self.head_reaches(number).await, number);
        }
    }

    /// Asserts that the block by tag through Envoy is the block by number from the node.
    ///
    /// # Panics
    /// When they differ.
    pub async fn assert_tagged_equals_direct(&self) {
        let answer = self.ask_tagged().await;
        let head = answer.head().unwrap_or_else(|| panic!("no head: {}", answer.text()));
        let direct = self.direct().ask("eth_getBlockByNumber", json!([hex(head), false])).await;
        assert_eq!(answer.text(), direct.unwrap().text());
        assert_ne!(answer.json()["result"], Value::Null);
    }
}
