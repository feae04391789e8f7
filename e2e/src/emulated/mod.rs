//! A rollup that is emulated: Anvil in OP mode as sequencer and as full node, which builds when
//! told, and a fixture in place of op-node.

mod consensus;
mod execution;
pub mod node;
pub mod op_node;
pub mod sequencer;
mod state;

use std::{path::Path, sync::Arc, time::Duration};

use alloy_primitives::B256;

use crate::{
    batcher::Batcher,
    block::{BLOCK_TIME, Block, Chain},
    hotshot::Hotshot,
    l1::{L1, L1Block},
    l1_info::L1InfoFormat,
    rollup::{OriginPolicy, Rollup},
};
use node::L2Node;
use op_node::OpNode;
use sequencer::Sequencer;

/// The block that the node calls finalized at first.
const FINALIZED_AT_FIRST: u64 = 2;
/// How far `finalized` is behind the latest block when the devnet runs by the clock.
const FINALIZED_LAG: u64 = 20;

/// The emulated rollup.
#[derive(Debug)]
pub struct Emulated {
    /// The ports of the full node.
    pub op_node: OpNode,
    /// The full node itself.
    pub node: Arc<L2Node>,
    /// The sequencer.
    pub sequencer: Sequencer,
}

/// What can be chosen.
#[derive(Debug, Default)]
pub struct Settings {
    /// Format of the info deposits.
    pub l1_info: L1InfoFormat,
}

impl Emulated {
    /// The full node goes over to the sequencer's chain.
    pub async fn follow_sequencer(&self) {
        self.node.follow(&self.sequencer.chain().await).await;
    }
}

impl Rollup for Emulated {
    type Settings = Settings;
    type Block = Block;
    type Poster = Batcher;

    // Time stamps stay in the past however fast a test makes blocks.
    const AGE: u64 = 3600;

    async fn start(settings: Settings, origins: OriginPolicy, l1: Arc<L1>, folder: &Path) -> Self {
        let genesis_time = l1.latest().await.timestamp;
        let (sequencer, node) = tokio::join!(
            Sequencer::start(Arc::clone(&l1), origins, settings.l1_info, genesis_time, folder),
            L2Node::start("full-node", genesis_time, folder),
        );
        let (node, origin) = (Arc::new(node), sequencer.genesis_origin());
        let op_node = OpNode::start(Arc::clone(&node), l1, origin).await;
        Self { op_node, node, sequencer }
    }

    fn execution_port(&self) -> u16 {
        self.op_node.execution().port()
    }

    fn consensus_port(&self) -> Option<u16> {
        Some(self.op_node.consensus().port())
    }

    fn sidecar(&self, _: &L1) -> Vec<(&'static str, String)> {
        // The rollup configuration names the BatchAuthenticator.
        Vec::new()
    }

    fn poster(&self, hotshot: Arc<Hotshot>) -> Batcher {
        Batcher::new(hotshot)
    }

    fn genesis_origin(&self) -> L1Block {
        self.sequencer.genesis_origin()
    }

    async fn build(&self, count: u64) -> Vec<Arc<Block>> {
        let blocks = self.sequencer.produce(count).await;
        self.follow_sequencer().await;
        blocks
    }

    async fn chain(&self) -> Chain {
        self.sequencer.chain().await
    }

    async fn tick(&self) -> Vec<Arc<Block>> {
        tokio::time::sleep(Duration::from_secs(BLOCK_TIME)).await;
        let blocks = self.build(1).await;
        let finalized = self.node.height().await.saturating_sub(FINALIZED_LAG);
        self.op_node.set_finalized(finalized.max(self.op_node.highest_finalized()));
        blocks
    }

    async fn waiting(&self) -> u64 {
        0
    }

    async fn first_finalized(&self) -> u64 {
        self.op_node.set_finalized(FINALIZED_AT_FIRST);
        FINALIZED_AT_FIRST
    }

    async fn finalize(&self, number: u64) -> bool {
        self.op_node.set_finalized(number);
        true
    }

    fn finalized(&self) {}

    fn ever_had(&self, number: u64, hash: B256) -> bool {
        self.node.ever_had(number, hash)
    }

    async fn is_finalized(&self, number: u64) -> bool {
        number <= self.op_node.highest_finalized()
    }
}
