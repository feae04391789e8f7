//! The ways of posting, and the change from one to another.

use finality_e2e::{
    devnet::Devnet,
    nitro::{parent::ParentChain, poster::Posting, relay::relay},
    wait::{PATIENCE, until},
};

use super::{MODES, posted, turn};
use crate::advance::head_follows;

/// V0 and V1 with each signature, and with both.
#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_each_way_of_posting() {
    let net = Devnet::nitro().start().await;
    let others = [(Posting::V0, "inputs"), (Posting::Both, "hash")];
    for way in MODES.into_iter().chain(others) {
        turn(&net, way).await;
        head_follows(&net).await;
    }
}

/// Where the chain settles on another one, as on Arbitrum One; its first block is not zero.
#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_parent_chain_apart_from_l1() {
    let net = Devnet::nitro().parent(ParentChain::Nitro).genesis(1_000).start().await;
    for way in [(Posting::V0, "inputs"), (Posting::SignatureV2, "hash")] {
        turn(&net, way).await;
        head_follows(&net).await;
    }
}

/// The chain goes over to the posting service, several messages a payload, and falls back.
#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_change_from_the_batch_poster() {
    let net = posted(Posting::V0, "inputs").start().await;
    let watch = net.watch();
    for posting in [Posting::V0, Posting::SignatureV2, Posting::V0, Posting::Signature] {
        net.batcher.set_posting(posting);
        for _ in 0..2 {
            net.mine_l1(2).await;
            net.batcher.post(&net.build(6).await);
            net.mine_hotshot(1).await;
            net.head_reaches(net.height().await).await;
        }
        net.assert_tagged_equals_direct().await;
    }
    watch.finish().await;
}

/// What a node's feed tells is posted as it is, as with a real node.
#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_feed_of_the_node() {
    let net = Devnet::nitro().start().await;
    let url = net.rollup.feed.url();
    let post = |payload| net.batcher.post_bytes(payload);
    let follows = async {
        for _ in 0..10 {
            net.mine_l1(1).await;
            net.build(1).await;
        }
        until("the head to follow the feed", PATIENCE, async || {
            net.mine_hotshot(1).await;
            net.head().await.filter(|head| *head == net.rollup.sequencer.chain().len() as u64)
        })
        .await;
    };
    tokio::select! {
        () = follows => {}
        () = relay(&url, post) => unreachable!("a relay never ends"),
    }
    net.assert_tagged_equals_direct().await;
}

/// A chain without hashes says so, and goes on once it has them.
#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_hash_is_required_of_a_chain_without() {
    let net = posted(Posting::SignatureV2, "hash").start().await;
    let watch = net.watch();
    let head = net.head_reaches(net.height().await).await;
    net.batcher.set_posting(Posting::Signature);
    net.produce(2).await;
    net.sidecar.reason("hash_unsigned").await;
    net.head_stays_at(head).await;
    net.batcher.set_posting(Posting::SignatureV2);
    let chain = net.rollup.sequencer.chain();
    net.batcher.post(&chain[chain.len() - 2..]);
    net.mine_hotshot(1).await;
    net.head_reaches(head + 2).await;
    watch.finish().await;
}
