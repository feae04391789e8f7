//! A real rollup: op-geth and op-node as sequencer and as full node, which follows by their own
//! network, and op-batcher. It runs by the clock.
//!
//! A scenario decides how far the batcher is: [`Rollup::build`] gives the blocks one after the
//! other, however many the sequencer has.

pub mod genesis;
pub mod op_batcher;
pub mod op_geth;
pub mod op_node;
pub mod users;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex as StdMutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy_primitives::{B256, Bytes};
use serde_json::{Value, json};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use crate::{
    batcher::Batcher,
    block::{Block, Chain},
    client::{hash, hex, quantity},
    hotshot::Hotshot,
    l1::{L1, L1Block},
    rollup::{OriginPolicy, Rollup},
    signer::Signer,
    tools::OpStack,
    wait::until,
};
use genesis::{Forks, Genesis};
use op_batcher::OpBatcher;
use op_geth::{OpGeth, Role};
use op_node::{OpNode, Peer, SEQUENCER_KEY};
use users::Users;

/// How long a block may take from final on L1 to finalized at the sequencer's op-node.
const FINALITY_DELAY: Duration = Duration::from_secs(10);
/// How long the full node may be without a block of the sequencer's: a scenario may stop it, delete
/// its data and start it anew, and waits for each of these by itself.
const RESYNC: Duration = Duration::from_secs(300);

/// The real rollup.
#[derive(Debug)]
pub struct Real {
    /// The sequencer.
    pub sequencer: Pair,
    /// The full node, which Envoy and the sidecar use.
    pub node: Pair,
    /// op-batcher.
    pub op_batcher: OpBatcher,
    /// Who sends transactions.
    pub users: Users,
    genesis: Genesis,
    runs_op_batcher: bool,
    /// What [`Rollup::build`] has given.
    chain: Mutex<Chain>,
    had: StdMutex<HashSet<(u64, B256)>>,
    highest_finalized: AtomicU64,
}

/// An execution client and its consensus client.
#[derive(Debug)]
pub struct Pair {
    /// The execution client.
    pub op_geth: OpGeth,
    /// The consensus client.
    pub op_node: OpNode,
}

/// What can be chosen.
#[derive(Debug, Default)]
pub struct Settings {
    /// When the forks are activated.
    pub forks: Forks,
    /// Whether op-batcher runs all the time, or only where a scenario wants a block finalized.
    pub op_batcher: bool,
}

/// The files that the programs read.
#[derive(Debug, Clone)]
struct Files {
    genesis: PathBuf,
    rollup: PathBuf,
    l1: PathBuf,
    jwt: PathBuf,
}

/// What every program is started with.
struct Site<'a> {
    stack: &'a OpStack,
    files: &'a Files,
    l1: &'a L1,
    folder: &'a Path,
}

impl Real {
    /// The genesis of L2.
    #[must_use]
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The sequencer's block of that number if it is also the node's.
    async fn common_block(&self, number: u64) -> Option<Value> {
        let params = json!([hex(number), true]);
        let ask = async |pair: &Pair| {
            let rpc = pair.op_geth.rpc();
            rpc.try_call("eth_getBlockByNumber", params.clone()).await.ok()
        };
        let (ours, theirs) = (ask(&self.sequencer).await?, ask(&self.node).await?);
        (!ours.is_null() && ours["hash"] == theirs["hash"]).then_some(ours)
    }

    /// Adds the next block to the chain that was given; removes the last one instead if the
    /// sequencer has left it.
    async fn extend(&self, chain: &mut Chain) {
        let number = chain.len() as u64 + 1;
        let what = format!("block {number} of the sequencer at the full node");
        let json = until(&what, RESYNC, async || self.common_block(number).await).await;
        if chain.last().is_some_and(|last| last.hash != hash(&json["parentHash"])) {
            chain.pop();
            return;
        }
        let rpc = self.sequencer.op_geth.rpc();
        // By its hash, since the sequencer may leave it meanwhile.
        let Ok(rlp) = rpc.try_call("debug_getRawBlock", json!([json["hash"]])).await else {
            return;
        };
        let rlp: Bytes = rlp.as_str().unwrap().parse().unwrap();
        let block = Block::from_rlp(json, &rlp);
        self.had.lock().unwrap().insert((block.number, block.hash));
        chain.push(Arc::new(block));
    }
}

impl Rollup for Real {
    type Settings = Settings;
    type Block = Block;
    type Poster = Batcher;

    // L1 has ten blocks before L2 begins; the sequencer catches up with the clock by itself.
    const AGE: u64 = 12;

    async fn start(settings: Settings, origins: OriginPolicy, l1: Arc<L1>, folder: &Path) -> Self {
        let stack = OpStack::from_env().unwrap_or_else(|error| panic!("{error}"));
        l1.install_rollup(Signer::new(SEQUENCER_KEY).address()).await;
        let origin = origins.newest(&l1).await;
        let time = l1.latest().await.timestamp;
        let genesis = Genesis { origin, time, forks: settings.forks };
        let file = |name: &str| folder.join(name);
        let files = Files {
            genesis: file("genesis.json"),
            rollup: file("rollup.json"),
            l1: file("l1.json"),
            jwt: file("jwt"),
        };
        std::fs::write(&files.jwt, "11".repeat(32)).unwrap();
        genesis.write_state(&stack.predeploys, &files.genesis);
        genesis::write_l1(&files.l1);

        let site = Site { stack: &stack, files: &files, l1: &l1, folder };
        let sequencer = OpGeth::new("op-geth-sequencer", Role::Sequencer, &site);
        let role = Role::FullNode { sequencer: sequencer.rpc().clone() };
        let node = OpGeth::new("op-geth", role, &site);
        tokio::join!(sequencer.init(), node.init());
        sequencer.start(&[]).await;
        node.start(&[]).await;
        let genesis_hash = sequencer.genesis_hash().await;
        genesis.write_rollup(genesis_hash, &files.rollup);

        let (one, other) = (Peer::sequencer(), Peer::full_node());
        let consensus =
            OpNode::new("op-node-sequencer", Some(origins), (one, other), &sequencer, &site);
        let sequencer = Pair { op_geth: sequencer, op_node: consensus };
        let consensus = OpNode::new("op-node", None, (other, one), &node, &site);
        let node = Pair { op_geth: node, op_node: consensus };
        let database = node.op_node.with_safe_head_database();
        // The full node must not miss the first blocks.
        let options = [database.as_str()];
        let stopped = ["--sequencer.stopped"];
        tokio::join!(sequencer.op_node.start(&stopped), node.op_node.start(&options));
        sequencer.op_node.begin(genesis_hash).await;
        let op_batcher = OpBatcher::new(&sequencer.op_geth, &sequencer.op_node, &site);
        if settings.op_batcher {
            op_batcher.start().await;
        }
        let users = Users::new(sequencer.op_geth.rpc().clone(), l1);
        users.deploy_counter().await;
        Self {
            sequencer,
            node,
            op_batcher,
            users,
            genesis,
            runs_op_batcher: settings.op_batcher,
            chain: Mutex::default(),
            had: StdMutex::default(),
            highest_finalized: AtomicU64::new(0),
        }
    }

    fn execution_port(&self) -> u16 {
        self.node.op_geth.http_port()
    }

    fn consensus_port(&self) -> Option<u16> {
        Some(self.node.op_node.port())
    }

    fn sidecar(&self, l1: &L1) -> Vec<(&'static str, String)> {
        vec![("--batch-authenticator-address", l1.batch_authenticator().to_string())]
    }

    fn poster(&self, hotshot: Arc<Hotshot>) -> Batcher {
        Batcher::new(hotshot)
    }

    fn genesis_origin(&self) -> L1Block {
        self.genesis.origin
    }

    async fn build(&self, count: u64) -> Vec<Arc<Block>> {
        let mut chain = self.chain.lock().await;
        let (mut first, count) = (chain.len(), usize::try_from(count).unwrap());
        while chain.len() < first + count {
            self.extend(&mut chain).await;
            first = first.min(chain.len());
        }
        chain[first..].to_vec()
    }

    async fn chain(&self) -> Chain {
        self.chain.lock().await.clone()
    }

    async fn tick(&self) -> Vec<Arc<Block>> {
        self.build(1).await
    }

    async fn waiting(&self) -> u64 {
        let latest = self.sequencer.op_geth.rpc().call("eth_blockNumber", json!([])).await;
        quantity(&latest).saturating_sub(self.chain.lock().await.len() as u64)
    }

    async fn first_finalized(&self) -> u64 {
        0
    }

    async fn finalize(&self, number: u64) -> bool {
        self.op_batcher.ensure_started().await;
        let finalized = json!(["finalized", false]);
        let rpc = self.node.op_geth.rpc();
        let block = rpc.try_call("eth_getBlockByNumber", finalized).await;
        block.is_ok_and(|block| quantity(&block["number"]) >= number)
    }

    fn finalized(&self) {
        if !self.runs_op_batcher {
            self.op_batcher.stop();
        }
    }

    fn ever_had(&self, number: u64, hash: B256) -> bool {
        self.had.lock().unwrap().contains(&(number, hash))
    }

    /// The sequencer's op-node has derived everything from L1 itself.
    async fn is_finalized(&self, number: u64) -> bool {
        let deadline = Instant::now() + FINALITY_DELAY;
        loop {
            if number <= self.highest_finalized.load(Ordering::Relaxed) {
                return true;
            }
            if let Some(finalized) = self.sequencer.op_node.reading("finalized_l2").await {
                self.highest_finalized.fetch_max(finalized, Ordering::Relaxed);
            }
            if Instant::now() > deadline {
                return false;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}
