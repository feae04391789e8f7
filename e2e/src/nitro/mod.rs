//! A Nitro chain: a sequencer and a full node that make blocks from messages by Nitro's rules, and
//! the contracts on its parent chain. Nothing here is shared with the sidecar's reader.

pub mod block;
pub mod broadcast;
pub mod content;
pub mod contracts;
pub mod feed;
pub mod ledger;
pub mod message;
pub mod node;
pub mod orbit;
pub mod parent;
mod parse;
pub mod payloads;
pub mod poster;
pub mod relay;
pub mod rpc;
pub mod sequencer;
mod state;
pub mod transaction;
pub mod twists;

#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc, time::Duration};

use alloy_primitives::{B256, U256};

use crate::{
    accounts::{CALLER, SENDER},
    hotshot::Hotshot,
    l1::{L1, L1Block},
    rollup::{OriginPolicy, Rollup},
    signer::Signer,
};
use block::{Block, Chain, Rules};
use broadcast::Broadcast;
use feed::FeedMessage;
use ledger::Ledger;
use node::Node;
use parent::{Parent, ParentChain};
use poster::{NitroPoster, Posting};
use sequencer::Sequencer;

/// The chain id, which is also its HotShot namespace.
pub const CHAIN_ID: u64 = 412_346;
/// The block that the node calls finalized at first.
const FINALIZED_AT_FIRST: u64 = 2;
/// How many blocks a batch has when the devnet runs by the clock.
const BATCH: u64 = 5;

/// A Nitro chain.
#[derive(Debug)]
pub struct Nitro {
    /// The full node.
    pub node: Node,
    /// The sequencer.
    pub sequencer: Sequencer,
    /// The parent chain.
    pub parent: Arc<Parent>,
    /// The sequencer's feed.
    pub feed: Broadcast,
    rules: Rules,
    genesis_l1: L1Block,
    posting: Posting,
}

/// What can be chosen.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Which chain is the parent.
    pub parent: ParentChain,
    /// How messages are posted at first.
    pub posting: Posting,
    /// ArbOS' version.
    pub arbos_version: u64,
    /// The number of the genesis block.
    pub genesis: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            parent: ParentChain::default(),
            posting: Posting::default(),
            arbos_version: 40,
            genesis: 0,
        }
    }
}

impl Nitro {
    /// The rules of the chain.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// The full node goes over to the sequencer's chain.
    pub fn follow_sequencer(&self) {
        self.node.follow(&self.sequencer.chain());
    }

    /// A parent chain that is not L1 goes on.
    async fn mine_orbit(&self) {
        if self.parent.orbit().is_some() {
            self.parent.mine(1).await;
        }
    }

    /// Posts a batch that ends with that block to the parent chain, in its next block.
    pub async fn post_batch(&self, number: u64) {
        self.node.end_batch(number);
        self.parent.set_batch_count(self.node.batches()).await;
    }

    /// Lets the node call finalized what is in a batch of the parent's final block.
    async fn follow_parent(&self) {
        let batch = self.parent.final_batch_count().await.saturating_sub(1);
        let number = self.node.end_of_batch(batch);
        if number > self.node.highest_finalized() {
            self.node.is_final(number);
            self.node.set_finalized(number);
        }
    }
}

impl Rollup for Nitro {
    type Settings = Settings;
    type Block = Block;
    type Poster = NitroPoster;

    // Time stamps stay in the past however fast a test makes blocks.
    const AGE: u64 = 3600;

    async fn start(settings: Settings, origins: OriginPolicy, l1: Arc<L1>, folder: &Path) -> Self {
        let Settings { parent, posting, arbos_version, genesis } = settings;
        let collects_tips = arbos_version > 9;
        let rules = Rules { chain_id: CHAIN_ID, genesis, arbos_version, collects_tips };
        let parent = Arc::new(Parent::start(parent, Arc::clone(&l1), folder).await);
        let genesis_l1 = l1.latest().await;
        let ether = U256::from(10).pow(U256::from(22));
        let ledger = Ledger::with(&[SENDER, CALLER], ether);
        let genesis = Arc::new(rules.genesis(genesis_l1.timestamp, ledger));
        let node = Node::start(rules, Arc::clone(&genesis)).await;
        let sequencer = Sequencer::new(rules, genesis, l1, Arc::clone(&parent), origins);
        let feed = Broadcast::start().await;
        Self { node, sequencer, parent, feed, rules, genesis_l1, posting }
    }

    fn poster(&self, hotshot: Arc<Hotshot>) -> NitroPoster {
        NitroPoster::new(hotshot, self.rules.chain_id, self.posting)
    }

    fn execution_port(&self) -> u16 {
        self.node.server().port()
    }

    fn consensus_port(&self) -> Option<u16> {
        None
    }

    fn sidecar(&self, _: &L1) -> Vec<(&'static str, String)> {
        vec![
            ("--rollup", "nitro".into()),
            ("--parent-rpc", self.parent.url()),
            ("--bridge-address", contracts::BRIDGE.to_string()),
            ("--sequencer-inbox-address", contracts::SEQUENCER_INBOX.to_string()),
            ("--batcher-addresses", Signer::batcher().address().to_string()),
            ("--genesis-block", self.rules.genesis.to_string()),
        ]
    }

    fn genesis_origin(&self) -> L1Block {
        self.genesis_l1
    }

    async fn build(&self, count: u64) -> Vec<Arc<Block>> {
        self.mine_orbit().await;
        let blocks = self.sequencer.produce(count).await;
        self.follow_sequencer();
        let (signer, chain_id) = (Signer::batcher(), self.rules.chain_id);
        for block in &blocks {
            self.feed.add(&FeedMessage::of(block).sign_v2(&signer, chain_id));
        }
        blocks
    }

    async fn chain(&self) -> Chain {
        self.sequencer.chain()
    }

    async fn tick(&self) -> Vec<Arc<Block>> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let blocks = self.build(1).await;
        let newest = self.rules.genesis + self.node.chain().len() as u64;
        if newest.is_multiple_of(BATCH) {
            self.post_batch(newest).await;
        }
        self.follow_parent().await;
        blocks
    }

    async fn waiting(&self) -> u64 {
        0
    }

    async fn first_finalized(&self) -> u64 {
        let number = self.rules.genesis + FINALIZED_AT_FIRST;
        while !self.finalize(number).await {
            self.parent.mine(1).await;
        }
        number
    }

    async fn finalize(&self, number: u64) -> bool {
        if self.node.end_of_batch(self.node.batches() - 1) < number {
            self.post_batch(number).await;
            self.parent.finalize().await;
        }
        self.mine_orbit().await;
        self.follow_parent().await;
        self.node.highest_finalized() >= number
    }

    fn finalized(&self) {}

    fn ever_had(&self, number: u64, hash: B256) -> bool {
        self.node.ever_had(number, hash)
    }

    async fn is_finalized(&self, number: u64) -> bool {
        number <= self.node.highest_finalized()
    }
}
