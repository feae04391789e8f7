//! Scenario 3: the sequencer forks.

use std::sync::Arc;

use finality_e2e::{
    block::{Block, Chain},
    devnet::Devnet,
    wait::{PATIENCE, until},
};

/// Blocks by which the forks differ.
const FORKED: u64 = 3;

/// A devnet with a confirmed chain, and two unpublished continuations of it.
struct Fork {
    net: Devnet,
    common: u64,
    one: Chain,
    other: Chain,
}

impl Fork {
    async fn start() -> Self {
        let net = Devnet::emulated().start().await;
        net.produce(2).await;
        let common = net.height().await;
        net.head_reaches(common).await;
        net.mine_l1(FORKED).await;
        net.rollup.sequencer.produce(FORKED).await;
        let one = net.rollup.sequencer.chain().await;
        net.rollup.sequencer.fork_above(common).await;
        net.rollup.sequencer.produce(FORKED).await;
        let other = net.rollup.sequencer.chain().await;
        assert_ne!(one.last().unwrap().hash, other.last().unwrap().hash);
        Self { net, common, one, other }
    }

    fn new_blocks<'a>(&self, chain: &'a Chain) -> &'a [Arc<Block>] {
        &chain[usize::try_from(self.common).unwrap()..]
    }

    /// Waits until the verifier has seen that the node's block differs.
    async fn mismatch_is_noticed(&self) {
        until("a mismatch to be counted", PATIENCE, async || {
            (self.net.sidecar.batches("mismatch").await > 0.0).then_some(())
        })
        .await;
        self.net.head_stays_at(self.common).await;
    }

    /// The head is at the end of `chain`, and continues along it.
    async fn head_follows(&self, chain: &Chain) {
        let tip = chain.last().unwrap();
        self.net.head_reaches(tip.number).await;
        let report = self.net.sidecar.head().await.unwrap();
        assert_eq!((report.number, report.hash), (tip.number, Some(tip.hash.to_string())));
        self.net.assert_tagged_equals_direct().await;
        self.net.rollup.sequencer.follow(chain).await;
        self.net.produce(2).await;
        self.net.head_reaches(tip.number + 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s03_node_on_a_fork_that_hotshot_lacks() {
    let fork = Fork::start().await;
    let (net, watch) = (&fork.net, fork.net.watch());
    net.rollup.node.follow(&fork.other).await;
    net.batcher.post(fork.new_blocks(&fork.one));
    net.mine_hotshot(1).await;
    fork.mismatch_is_noticed().await;
    net.rollup.node.follow(&fork.one).await;
    fork.head_follows(&fork.one).await;
    watch.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s03_both_forks_on_hotshot_node_on_the_first() {
    let fork = Fork::start().await;
    let (net, watch) = (&fork.net, fork.net.watch());
    net.rollup.node.follow(&fork.one).await;
    net.batcher.post(fork.new_blocks(&fork.one));
    net.batcher.post(fork.new_blocks(&fork.other));
    net.mine_hotshot(1).await;
    fork.head_follows(&fork.one).await;
    watch.finish().await;
}

/// HotShot's order decides, not the node: the head waits until the node is on the first fork.
#[tokio::test(flavor = "multi_thread")]
async fn s03_both_forks_on_hotshot_node_on_the_second() {
    let fork = Fork::start().await;
    let (net, watch) = (&fork.net, fork.net.watch());
    net.rollup.node.follow(&fork.other).await;
    net.batcher.post(fork.new_blocks(&fork.one));
    net.mine_hotshot(1).await;
    net.batcher.post(fork.new_blocks(&fork.other));
    net.mine_hotshot(1).await;
    fork.mismatch_is_noticed().await;
    net.rollup.node.follow(&fork.one).await;
    fork.head_follows(&fork.one).await;
    watch.finish().await;
}
