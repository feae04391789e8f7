//! Everything together.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use finality_core::head::HeadReport;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    batch::Signer,
    batcher::Batcher,
    client::{Answer, Client, hex},
    envoy::{self, Envoy, Framing},
    hotshot::Hotshot,
    invariants::{DevnetTruth, Watch},
    l1::L1,
    l1_info::L1InfoFormat,
    l2::{Block, L2Node},
    op_node::OpNode,
    process,
    sequencer::{OriginPolicy, Sequencer},
    sidecar::{self, Sidecar},
    tools::Tools,
    wait::{PATIENCE, until},
};

/// L1 blocks before L2 starts: enough for finality to advance.
const L1_BEFORE: u64 = 8;
/// L2 blocks before the sidecar starts, and how many of them the node calls finalized.
const L2_BEFORE: u64 = 6;
const FINALIZED_BEFORE: u64 = 2;
/// How long ago genesis was, so that time stamps stay in the past however fast a test makes blocks.
const AGE: u64 = 3600;

/// What kind of devnet to start.
#[derive(Debug, Clone)]
pub struct Builder {
    framing: Framing,
    origins: OriginPolicy,
    format: L1InfoFormat,
    tags: Vec<String>,
    age: u64,
}

/// A running devnet.
#[derive(Debug)]
pub struct Devnet {
    /// Envoy.
    pub envoy: Envoy,
    /// The sidecar.
    pub sidecar: Arc<Sidecar>,
    /// The ports of the full node.
    pub op_node: Arc<OpNode>,
    /// The full node itself.
    pub node: Arc<L2Node>,
    /// The sequencer.
    pub sequencer: Sequencer,
    /// The batcher.
    pub batcher: Batcher,
    /// HotShot.
    pub hotshot: Arc<Hotshot>,
    /// L1.
    pub l1: Arc<L1>,
    /// The first tag in the filter's configuration.
    pub tag: String,
    _folder: TempDir,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            framing: Framing::default(),
            origins: OriginPolicy::default(),
            format: L1InfoFormat::default(),
            tags: Vec::new(),
            age: AGE,
        }
    }
}

impl Builder {
    /// How the filter frames changed bodies.
    #[must_use]
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// Which L1 blocks the sequencer takes as origins.
    #[must_use]
    pub fn origins(mut self, origins: OriginPolicy) -> Self {
        self.origins = origins;
        self
    }

    /// Format of the info deposits.
    #[must_use]
    pub fn l1_info(mut self, format: L1InfoFormat) -> Self {
        self.format = format;
        self
    }

    /// The tags in the filter's configuration, instead of the shipped ones.
    #[must_use]
    pub fn tags(mut self, tags: &[&str]) -> Self {
        self.tags = tags.iter().map(ToString::to_string).collect();
        self
    }

    /// Starts the chain now, for a devnet that runs by the clock.
    #[must_use]
    pub fn genesis_now(mut self) -> Self {
        self.age = L1_BEFORE;
        self
    }

    /// Starts everything and waits until a tag is answered through Envoy.
    ///
    /// # Panics
    /// When a part does not start.
    pub async fn start(self) -> Devnet {
        let tools = Tools::from_env().unwrap_or_else(|error| panic!("{error}"));
        let folder = process::folder();
        let path = folder.path();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let l1_genesis = now - self.age;
        let l2_genesis = l1_genesis + L1_BEFORE * crate::l1::BLOCK_TIME;

        let l1 = Arc::new(L1::start(l1_genesis, Signer::batcher().address(), path).await);
        l1.mine(L1_BEFORE).await;
        let (sequencer, node) = tokio::join!(
            Sequencer::start(Arc::clone(&l1), self.origins, self.format, l2_genesis, path),
            L2Node::start("full-node", l2_genesis, path),
        );
        let (node, origin) = (Arc::new(node), sequencer.genesis_origin());
        let op_node = OpNode::start(Arc::clone(&node), Arc::clone(&l1), origin).await;
        let hotshot = Arc::new(Hotshot::start(origin).await);
        let batcher = Batcher::new(Arc::clone(&hotshot));

        let sidecar = Arc::new(Sidecar::new(
            sidecar::Settings {
                program: tools.sidecar,
                node_execution_rpc: op_node.execution().url(),
                node_consensus_rpc: op_node.consensus().url(),
                l1_rpc: l1.rpc().url().into(),
                query_service_url: hotshot.url(),
                light_client_address: l1.light_client(),
            },
            path,
        ));
        let envoy = Envoy::new(
            &envoy::Settings {
                program: tools.envoy,
                configuration: tools.envoy_yaml,
                filter: tools.filter,
                framing: self.framing,
                tags: self.tags.clone(),
                node_port: op_node.execution().port(),
                sidecar_port: sidecar.port(),
                edits: Vec::new(),
                arguments: Vec::new(),
                dynamic: false,
            },
            path,
        );
        let tag = self.tags.into_iter().next().unwrap_or_else(|| "espresso".into());
        let op_node = Arc::new(op_node);
        let devnet = Devnet {
            envoy,
            sidecar,
            op_node,
            node,
            sequencer,
            batcher,
            hotshot,
            l1,
            tag,
            _folder: folder,
        };
        devnet.produce(L2_BEFORE).await;
        devnet.op_node.set_finalized(FINALIZED_BEFORE);
        tokio::join!(devnet.sidecar.start(), devnet.envoy.start());
        devnet.head_reaches(FINALIZED_BEFORE).await;
        devnet
    }
}

impl Devnet {
    /// A devnet of the ordinary kind, to be changed before it starts.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts watching the invariants.
    #[must_use]
    pub fn watch(&self) -> Watch {
        let truth = DevnetTruth {
            node: Arc::clone(&self.node),
            op_node: Arc::clone(&self.op_node),
            hotshot: Arc::clone(&self.hotshot),
        };
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
        Client::new(self.op_node.execution().url())
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

    /// An L1 block that gives the batcher another key; answers its number. Batches built on it or
    /// later are signed with that key.
    pub async fn rotate_batcher(&self, signer: Signer) -> u64 {
        let from = self.l1.latest().await.number + 1;
        self.l1.set_batcher(signer.address()).await;
        self.batcher.rotate(from, signer);
        self.mine_l1(1).await;
        from
    }

    /// Mines L1 blocks; each updates the light client to HotShot's height.
    pub async fn mine_l1(&self, count: u64) {
        for _ in 0..count {
            let height = self.hotshot.height();
            self.l1.set_light_client(height, height - 1).await;
            self.l1.mine(1).await;
        }
    }

    /// The sequencer builds and the node follows; nothing is posted.
    pub async fn build(&self, count: u64) -> Vec<Arc<Block>> {
        let blocks = self.sequencer.produce(count).await;
        self.follow_sequencer().await;
        blocks
    }

    /// The node goes over to the sequencer's chain.
    pub async fn follow_sequencer(&self) {
        self.node.follow(&self.sequencer.chain().await).await;
    }

    /// HotShot blocks, the first with all that was posted.
    pub async fn mine_hotshot(&self, count: u64) {
        let (head, finalized) = (self.l1.latest().await, self.l1.finalized().await);
        for _ in 0..count {
            self.hotshot.mine(head, finalized);
        }
    }

    /// The sequencer's height.
    pub async fn height(&self) -> u64 {
        self.sequencer.node().height().await
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

    /// Asserts that nothing moves the head: the verifier looks at everything once more, and a
    /// client still sees the head at `number`.
    ///
    /// # Panics
    /// When it moved.
    pub async fn head_stays_at(&self, number: u64) {
        self.sidecar.full_round().await;
        let report = self.sidecar.head().await.expect("the sidecar has a head");
        assert_eq!(report.number, number, "{report:?}");
        if report.status.is_usable() {
            assert_eq!(self.head().await, Some(number));
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
