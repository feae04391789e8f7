//! The L2 of a devnet, emulated or real: what a scenario needs of it in either case.

use std::{fmt::Debug, path::Path, sync::Arc};

use alloy_primitives::B256;

use crate::{
    hotshot::Hotshot,
    l1::{L1, L1Block},
};

/// Which L1 blocks the sequencer may build on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OriginPolicy {
    /// Only finalized ones, as in Espresso's own stack.
    #[default]
    Finalized,
    /// Up to the latest: fresher deposits, but finality has to wait for L1.
    Latest,
}

impl OriginPolicy {
    /// The newest L1 block that may be an origin now.
    pub async fn newest(self, l1: &L1) -> L1Block {
        match self {
            Self::Finalized => l1.finalized().await,
            Self::Latest => l1.latest().await,
        }
    }
}

/// A block of L2.
pub trait Numbered: Debug + Send + Sync + 'static {
    /// Its number.
    fn number(&self) -> u64;
    /// Its hash.
    fn hash(&self) -> B256;
}

/// Who posts a rollup's blocks to HotShot.
pub trait Poster<B>: Debug + Send + Sync + 'static {
    /// Posts blocks as they are, in this order.
    fn post(&self, blocks: &[Arc<B>]);
}

/// A sequencer, and the full node that Envoy and the sidecar talk to.
pub trait Rollup: Debug + Send + Sync + Sized + 'static {
    /// What can be chosen before it starts.
    type Settings: Debug + Default + Send;
    /// Its blocks.
    type Block: Numbered;
    /// Who posts them.
    type Poster: Poster<Self::Block>;

    /// How long ago L1 begins, in seconds.
    const AGE: u64;

    /// Starts everything on an L1 that has some blocks already.
    fn start(
        settings: Self::Settings,
        origins: OriginPolicy,
        l1: Arc<L1>,
        folder: &Path,
    ) -> impl Future<Output = Self>;

    /// The port of the full node's execution RPC.
    fn execution_port(&self) -> u16;

    /// The port of the full node's op-node RPC, if it has an op-node.
    fn consensus_port(&self) -> Option<u16>;

    /// What else the sidecar is told of it: flags and their values.
    fn sidecar(&self, l1: &L1) -> Vec<(&'static str, String)>;

    /// Who posts its blocks.
    fn poster(&self, hotshot: Arc<Hotshot>) -> Self::Poster;

    /// The L1 block on which L2 begins.
    fn genesis_origin(&self) -> L1Block;

    /// The sequencer's next `count` blocks, once the full node has them. After a reorg they begin
    /// where the chains part.
    fn build(&self, count: u64) -> impl Future<Output = Vec<Arc<Self::Block>>>;

    /// The sequencer's chain, up to the newest block that [`Rollup::build`] gave.
    fn chain(&self) -> impl Future<Output = Vec<Arc<Self::Block>>>;

    /// Builds one block in its time, and lets finality follow: for a devnet that runs by the clock.
    fn tick(&self) -> impl Future<Output = Vec<Arc<Self::Block>>>;

    /// How many blocks the sequencer has beyond those that [`Rollup::build`] gave.
    fn waiting(&self) -> impl Future<Output = u64>;

    /// Makes a first block finalized at the full node, and answers its number.
    fn first_finalized(&self) -> impl Future<Output = u64>;

    /// Does what is due to make that block finalized at the full node, apart from mining L1.
    /// Answers whether it is.
    fn finalize(&self, number: u64) -> impl Future<Output = bool>;

    /// Called when a block that was to be finalized is.
    fn finalized(&self);

    /// Whether the full node has, or had, that block.
    fn ever_had(&self, number: u64, hash: B256) -> bool;

    /// Whether that block is final on L1, whatever the full node says. Waits a little for a rollup
    /// that is about to learn it.
    fn is_finalized(&self, number: u64) -> impl Future<Output = bool> + Send;
}
