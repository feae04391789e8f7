//! The sequencer forks.

use std::sync::Arc;

use finality_e2e::{
    devnet::Devnet,
    nitro::{
        Nitro,
        block::{Block, Chain},
    },
};

use super::{MODES, mismatch_is_noticed, turn};

/// Blocks by which the forks differ.
const FORKED: u64 = 3;

/// A confirmed chain, and two unpublished continuations of it.
struct Fork<'a> {
    net: &'a Devnet<Nitro>,
    common: u64,
    one: Chain,
    other: Chain,
}

impl<'a> Fork<'a> {
    async fn of(net: &'a Devnet<Nitro>) -> Self {
        net.produce(2).await;
        let common = net.height().await;
        net.head_reaches(common).await;
        net.mine_l1(FORKED).await;
        let sequencer = &net.rollup.sequencer;
        // Delayed messages are the same on both.
        let produce = async || {
            sequencer.put(sequencer.user_message().await);
            sequencer.produce(FORKED - 1).await;
            sequencer.chain()
        };
        let one = produce().await;
        sequencer.fork_above(common);
        let other = produce().await;
        assert_ne!(one.last().unwrap().hash, other.last().unwrap().hash);
        Self { net, common, one, other }
    }

    fn new_blocks<'b>(&self, chain: &'b Chain) -> &'b [Arc<Block>] {
        &chain[usize::try_from(self.common).unwrap()..]
    }

    /// The head is at the end of `chain`, and continues along it.
    async fn head_follows(&self, chain: &Chain) {
        let tip = chain.last().unwrap();
        let number = tip.header.number;
        self.net.head_reaches(number).await;
        let report = self.net.sidecar.head().await.unwrap();
        assert_eq!((report.number, report.hash), (number, Some(tip.hash.to_string())));
        self.net.assert_tagged_equals_direct().await;
        self.net.rollup.sequencer.follow(chain);
        self.net.produce(2).await;
        self.net.head_reaches(number + 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_node_on_a_fork_that_hotshot_lacks() {
    let net = &Devnet::nitro().start().await;
    for mode in MODES {
        turn(net, mode).await;
        let (fork, watch) = (Fork::of(net).await, net.watch());
        net.rollup.node.follow(&fork.other);
        net.batcher.post(fork.new_blocks(&fork.one));
        net.mine_hotshot(1).await;
        mismatch_is_noticed(net, fork.common).await;
        net.rollup.node.follow(&fork.one);
        fork.head_follows(&fork.one).await;
        watch.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_both_forks_on_hotshot_node_on_the_first() {
    let net = &Devnet::nitro().start().await;
    for mode in MODES {
        turn(net, mode).await;
        let (fork, watch) = (Fork::of(net).await, net.watch());
        net.rollup.node.follow(&fork.one);
        net.batcher.post(fork.new_blocks(&fork.one));
        net.batcher.post(fork.new_blocks(&fork.other));
        net.mine_hotshot(1).await;
        fork.head_follows(&fork.one).await;
        watch.finish().await;
    }
}

/// HotShot's order decides, not the node: the head waits until the node is on the first fork.
#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_both_forks_on_hotshot_node_on_the_second() {
    let net = &Devnet::nitro().start().await;
    for mode in MODES {
        turn(net, mode).await;
        let (fork, watch) = (Fork::of(net).await, net.watch());
        net.rollup.node.follow(&fork.other);
        net.batcher.post(fork.new_blocks(&fork.one));
        net.mine_hotshot(1).await;
        net.batcher.post(fork.new_blocks(&fork.other));
        net.mine_hotshot(1).await;
        mismatch_is_noticed(net, fork.common).await;
        net.rollup.node.follow(&fork.one);
        fork.head_follows(&fork.one).await;
        watch.finish().await;
    }
}
