//! Copies of messages that anybody has twisted under the same `signatureV2`.

use std::sync::Arc;

use alloy_primitives::B256;
use finality_e2e::{
    devnet::Devnet,
    nitro::{Nitro, block::Block, feed::FeedMessage, poster::Posting, twists},
};

use super::{mismatch_is_noticed, posted, turn};

/// Every kind of twisted copy of a block's message.
fn twisted(net: &Devnet<Nitro>, block: &Block) -> Vec<FeedMessage> {
    let copy = net.batcher.feed(block);
    let mut all: Vec<_> = [
        twists::into_base_fee(&copy, 1),
        twists::into_base_fee(&copy, 32),
        twists::into_request_id(&copy),
        twists::into_both(&copy, 1),
        twists::into_both(&copy, 32),
        twists::hash_into_metadata(&copy),
    ]
    .into_iter()
    .flatten()
    .collect();
    all.extend((-2..20).filter_map(|by| twists::shifted(&copy, by)));
    let pinned = twists::hash_into_metadata(&copy);
    all.extend(pinned.and_then(|pinned| twists::into_request_id(&pinned)));
    all.retain(|twisted| twisted != &copy);
    all
}

/// Sixty-four of them: bytes of the content as base fee, also where the hash is hidden.
fn sixty_four(net: &Devnet<Nitro>, block: &Block) -> Vec<FeedMessage> {
    let copy = net.batcher.feed(block);
    let hidden = twists::hash_into_metadata(&copy).unwrap();
    [copy, hidden]
        .iter()
        .flat_map(|copy| (1..=32).filter_map(|length| twists::into_base_fee(copy, length)))
        .collect()
}

/// Whether the twisted copies come before the honest one or behind it, in the same payload or in
/// another one.
#[derive(Debug, Clone, Copy)]
enum Order {
    Before,
    Behind,
    InOnePayload,
}

/// What may be required of blocks whose hashes are signed.
const REQUIRED: [&str; 2] = ["hash", "inputs"];

async fn the_head_follows(order: Order) {
    let net = Devnet::nitro().start().await;
    for require in REQUIRED {
        turn(&net, (Posting::SignatureV2, require)).await;
        the_head_goes_on(&net, order).await;
    }
}

async fn the_head_goes_on(net: &Devnet<Nitro>, order: Order) {
    let watch = net.watch();
    net.head_reaches(net.height().await).await;
    for _ in 0..14 {
        net.mine_l1(1).await;
        let blocks = net.build(1).await;
        let mut copies = twisted(net, &blocks[0]);
        let least = if blocks[0].message().is_delayed() { 5 } else { 20 };
        assert!(copies.len() >= least, "{}", copies.len());
        match order {
            Order::Before => {
                copies.iter().for_each(|copy| net.batcher.post_feed(std::slice::from_ref(copy)));
                net.mine_hotshot(1).await;
                net.batcher.post(&blocks);
            }
            Order::Behind => {
                net.batcher.post(&blocks);
                net.mine_hotshot(1).await;
                net.batcher.post_feed(&copies);
            }
            Order::InOnePayload => {
                copies.push(net.batcher.feed(&blocks[0]));
                net.batcher.post_confirmed(&copies, &blocks);
            }
        }
        net.mine_hotshot(1).await;
        net.head_reaches(net.height().await).await;
    }
    net.assert_tagged_equals_direct().await;
    watch.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_twisted_before() {
    the_head_follows(Order::Before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_twisted_behind() {
    the_head_follows(Order::Behind).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_twisted_in_one_payload() {
    the_head_follows(Order::InOnePayload).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_sixty_four_twisted_copies() {
    let net = Devnet::nitro().start().await;
    for require in REQUIRED {
        turn(&net, (Posting::SignatureV2, require)).await;
        let watch = net.watch();
        for _ in 0..10 {
            net.mine_l1(1).await;
            let blocks = net.build(1).await;
            let copies = sixty_four(&net, &blocks[0]);
            if !blocks[0].message().is_delayed() {
                assert_eq!(copies.len(), 64);
            }
            net.batcher.post_feed(&copies);
            net.mine_hotshot(1).await;
            net.batcher.post(&blocks);
            net.mine_hotshot(1).await;
        }
        net.head_reaches(net.height().await).await;
        watch.finish().await;
    }
}

/// The same block with another state, which the node has instead.
fn serve_another_state(net: &Devnet<Nitro>, block: &Block) {
    let other = block.with_header(|header| header.state_root = B256::repeat_byte(7));
    let chain = net.rollup.sequencer.chain();
    net.rollup.node.follow(&[&chain[..chain.len() - 1], &[Arc::new(other)]].concat());
}

/// The inputs do not overrule a hash that was signed, whether it is read or hidden.
#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_signed_hash_is_not_overruled() {
    let net = Devnet::nitro().start().await;
    for require in REQUIRED {
        turn(&net, (Posting::SignatureV2, require)).await;
        let watch = net.watch();
        let head = net.head_reaches(net.height().await).await;
        net.mine_l1(1).await;
        let blocks = net.build(1).await;
        serve_another_state(&net, &blocks[0]);
        let hidden = twists::hash_into_metadata(&net.batcher.feed(&blocks[0])).unwrap();
        net.batcher.post_feed(&[hidden]);
        net.mine_hotshot(1).await;
        let code = if require == "hash" { "hash_unsigned" } else { "hash_hidden" };
        net.sidecar.reason(code).await;
        net.head_stays_at(head).await;
        net.batcher.post(&blocks);
        net.mine_hotshot(1).await;
        mismatch_is_noticed(&net, head).await;
        net.rollup.follow_sequencer();
        net.head_reaches(head + 1).await;
        watch.finish().await;
    }
}

/// What inputs do not prove: the state. Only the sequencer's hash does.
#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_inputs_do_not_prove_the_state() {
    let net = posted(Posting::Signature, "inputs").start().await;
    let head = net.head_reaches(net.height().await).await;
    net.mine_l1(1).await;
    let blocks = net.build(1).await;
    serve_another_state(&net, &blocks[0]);
    net.batcher.post(&blocks);
    net.mine_hotshot(1).await;
    net.head_reaches(head + 1).await;
}

/// Twisted copies alone prove nothing: the head waits for the honest one, whatever the node has.
#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_twisted_alone() {
    let net = Devnet::nitro().start().await;
    for require in REQUIRED {
        turn(&net, (Posting::SignatureV2, require)).await;
        let watch = net.watch();
        let head = net.head_reaches(net.height().await).await;
        net.mine_l1(1).await;
        let blocks = net.build(1).await;
        let block = &blocks[0];
        // The node has the block that a twisted copy describes.
        for copy in twisted(&net, block).into_iter().filter(|copy| {
            let (twisted, honest) = (&copy.message, block.message());
            twisted.header.kind == honest.header.kind && twisted != honest
        }) {
            net.rollup.sequencer.fork_above(head);
            net.rollup.sequencer.put(copy.message.clone());
            net.rollup.follow_sequencer();
            net.batcher.post_feed(&[copy]);
            net.mine_hotshot(1).await;
            net.head_stays_at(head).await;
        }
        net.rollup.sequencer.follow(
            &[&net.rollup.sequencer.chain()[..usize::try_from(head).unwrap()], &blocks[..]]
                .concat(),
        );
        net.rollup.follow_sequencer();
        net.batcher.post(&blocks);
        net.mine_hotshot(1).await;
        net.head_reaches(head + 1).await;
        watch.finish().await;
    }
}
