//! Copies of messages that anybody has twisted under the same `signatureV2`.

use std::sync::Arc;

use alloy_primitives::{Address, B256, U256};
use finality_e2e::{
    devnet::Devnet,
    l1::FINALITY_DEPTH,
    nitro::{
        Nitro,
        block::Block,
        content,
        feed::FeedMessage,
        message::{Header, Kind, Message},
        poster::Posting,
        twists,
    },
    rollup::Rollup,
    signer::Signer,
};

use super::{
    Way,
    delayed::{next_delayed, take_all},
    is_proven, mismatch_is_noticed, posted, turn,
};

/// Every kind of twisted copy of a block's message.
fn twisted(copy: &FeedMessage) -> Vec<FeedMessage> {
    let mut all: Vec<_> = [
        twists::into_base_fee(copy, 1),
        twists::into_base_fee(copy, 32),
        twists::into_request_id(copy),
        twists::into_both(copy, 1),
        twists::into_both(copy, 32),
        twists::hash_into_metadata(copy),
    ]
    .into_iter()
    .flatten()
    .collect();
    all.extend((-2..20).filter_map(|by| twists::shifted(copy, by)));
    let pinned = twists::hash_into_metadata(copy);
    all.extend(pinned.and_then(|pinned| twists::into_request_id(&pinned)));
    all.extend(twists::signed_into_hash(copy));
    all.retain(|twisted| twisted != copy);
    all
}

/// A message of the delayed inbox that a user has made up, after which so many are read.
fn made_up(delayed_read: u64, timestamp: u64) -> Message {
    let header = Header {
        kind: Kind::DEPOSIT,
        poster: Address::repeat_byte(0x66),
        block_number: 1,
        timestamp,
        request_id: Some(B256::from(U256::from(delayed_read - 1))),
        base_fee: Some(U256::from(7)),
    };
    let content = content::deposit(Address::repeat_byte(0x66), U256::from(5_000));
    Message { position: 0, delayed_read, header, content, batch_gas: None, batch_data: None }
}

/// The sequencer makes a block whose users have written these messages into their transactions.
async fn write(net: &Devnet<Nitro>, messages: &[Message]) -> Arc<Block> {
    let input: Vec<u8> = messages.iter().flat_map(Message::signed_tail).collect();
    let message = net.rollup.sequencer.user_message_with(input.into()).await;
    let block = net.rollup.sequencer.put(message);
    net.rollup.follow_sequencer();
    block
}

/// A block whose users have written messages into its transactions, and copies that read as those:
/// one of the sequencer's form, and of the delayed form from any time. What they name as the hash
/// of the block is never that of one: where the honest copy names it, it is in their metadata.
async fn written(net: &Devnet<Nitro>) -> (Arc<Block>, Vec<FeedMessage>) {
    let own = net.rollup.sequencer.user_message().await;
    let next = own.delayed_read + 1;
    let messages = [own, made_up(next, 1), made_up(next, u64::MAX), made_up(next - 1, 1)];
    let block = write(net, &messages).await;
    let copy = net.batcher.feed(&block);
    let copies = messages.iter().flat_map(|message| {
        let copy = twists::written(&copy, message).unwrap();
        match copy.block_hash {
            Some(_) => vec![twists::hash_into_metadata(&copy).unwrap()],
            None => vec![twists::metadata_into_hash(&copy).unwrap(), copy],
        }
    });
    let copies = copies.collect();
    (block, copies)
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
/// The honest copies under `signatureV2`, with what is proven by them: the hash wherever it is
/// there, whatever is required.
const HONEST: [(Way, &str); 3] = [
    ((Posting::SignatureV2, "hash"), "hash"),
    ((Posting::SignatureV2, "inputs"), "hash"),
    ((Posting::Refilled, "inputs"), "inputs"),
];

async fn the_head_follows(order: Order) {
    let net = Devnet::nitro().start().await;
    for (way, proven) in HONEST {
        turn(&net, way).await;
        the_head_goes_on(&net, order, proven).await;
    }
}

async fn the_head_goes_on(net: &Devnet<Nitro>, order: Order, proven: &str) {
    let watch = net.watch();
    net.head_reaches(net.height().await).await;
    for _ in 0..14 {
        net.mine_l1(1).await;
        let blocks = net.build(1).await;
        let copies = twisted(&net.batcher.feed(&blocks[0]));
        let least = if blocks[0].message().is_delayed() { 4 } else { 20 };
        assert!(copies.len() >= least, "{}", copies.len());
        post_beside(net, order, copies, &blocks).await;
        is_proven(net, blocks[0].header.number, proven).await;
    }
    for _ in 0..2 {
        let (block, copies) = written(net).await;
        let number = block.header.number;
        post_beside(net, order, copies, &[block]).await;
        is_proven(net, number, proven).await;
    }
    net.assert_tagged_equals_direct().await;
    watch.finish().await;
}

/// Posts the twisted copies beside the honest ones of these blocks, until the head is there.
async fn post_beside(
    net: &Devnet<Nitro>,
    order: Order,
    mut copies: Vec<FeedMessage>,
    blocks: &[Arc<Block>],
) {
    match order {
        Order::Before => {
            copies.iter().for_each(|copy| net.batcher.post_feed(std::slice::from_ref(copy)));
            net.mine_hotshot(1).await;
            net.batcher.post(blocks);
        }
        Order::Behind => {
            net.batcher.post(blocks);
            net.mine_hotshot(1).await;
            net.batcher.post_feed(&copies);
        }
        Order::InOnePayload => {
            copies.extend(blocks.iter().map(|block| net.batcher.feed(block)));
            net.batcher.post_confirmed(&copies, blocks);
        }
    }
    net.mine_hotshot(1).await;
    net.head_reaches(net.height().await).await;
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

/// Twists of what the feed has come first and alone, for this block; then the honest copy, which is
/// of another kind, so that no signature covers both. It decides, and nothing waits for Ethereum.
async fn the_other_kind_decides(
    net: &Devnet<Nitro>,
    block: &Arc<Block>,
    twisted: &[FeedMessage],
    code: &str,
) {
    let head = block.header.number - 1;
    assert!(!twisted.is_empty());
    twisted.iter().for_each(|copy| net.batcher.post_feed(std::slice::from_ref(copy)));
    net.mine_hotshot(1).await;
    net.all_is_read().await;
    net.sidecar.reason(code).await;
    net.head_stays_at(head).await;
    net.batcher.post(std::slice::from_ref(block));
    net.mine_hotshot(1).await;
    net.head_reaches(head + 1).await;
    is_proven(net, head + 1, "inputs").await;
    assert!(net.rollup.node.highest_finalized() <= head);
}

/// The feed goes on, and is not what is posted: by the batch poster, or under `signature` alone.
#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_twisted_alone_before_another_kind() {
    let (poster, sequencer) = (Signer::batcher(), Signer::successor());
    let keys = format!("{},{}", poster.address(), sequencer.address());
    let net = posted(Posting::V0, "inputs").sidecar("--batcher-addresses", &keys).start().await;
    let chain_id = net.rollup.rules().chain_id;
    let feed = |block: &Block| FeedMessage::of(block).sign_v2(&sequencer, chain_id);
    let read_as = |block: &Block, messages: &[Message]| -> Vec<_> {
        messages.iter().map(|message| twists::written(&feed(block), message).unwrap()).collect()
    };
    for (posting, signer) in [(Posting::V0, poster), (Posting::Signature, sequencer)] {
        net.batcher.set_posting(posting);
        net.batcher.set_signer(signer);
        let watch = net.watch();
        net.mine_l1(FINALITY_DEPTH).await;
        take_all(&net).await;

        // Those that break the form, and the message itself with its hash hidden.
        let block = write(&net, &[]).await;
        let mut broken = twisted(&feed(&block));
        broken.retain(|copy| copy.message != *block.message());
        the_other_kind_decides(&net, &block, &broken, "awaiting_batch").await;
        let block = write(&net, &[]).await;
        let hidden = twists::hash_into_metadata(&feed(&block)).unwrap();
        the_other_kind_decides(&net, &block, &[hidden], "hash_hidden").await;

        // Those that keep the delayed form, and name the last index again or the next one. The
        // bridge does not have that one yet.
        let next = block.delayed_read() + 1;
        let finalized = net.l1.finalized().await.timestamp;
        let times = [1, net.rollup.genesis_origin().timestamp, finalized - 1];
        let of_old = times.map(|time| made_up(next, time));
        let made = [&of_old[..], &[made_up(next - 1, 1)]].concat();
        let block = write(&net, &made).await;
        the_other_kind_decides(&net, &block, &read_as(&block, &made), "competing_fork").await;

        // It has it, at another time or with other content.
        let user = Address::repeat_byte(0x22);
        let inner = made_up(next, 3);
        net.rollup.parent.deliver(Kind::L2, user, &inner.signed_tail()).await;
        net.mine_l1(FINALITY_DEPTH + 1).await;
        let honest = next_delayed(&net).await;
        assert_eq!(honest.delayed_read, next);
        let content = content::deposit(user, U256::from(5_000));
        // What was told of the times before is still known.
        let of_old = [2, finalized, finalized - 2].map(|time| made_up(next, time));
        for made in [&of_old[..], &[Message { content, ..honest }]] {
            let block = write(&net, made).await;
            the_other_kind_decides(&net, &block, &read_as(&block, made), "competing_fork").await;
        }

        // The block is that of a delayed message, which has another one as its content.
        let block = net.rollup.sequencer.put(next_delayed(&net).await);
        net.rollup.follow_sequencer();
        let made = read_as(&block, &[inner]);
        the_other_kind_decides(&net, &block, &made, "competing_fork").await;
        watch.finish().await;
    }
}

/// Twisted copies alone prove nothing: the head waits for the honest one, whatever the node has.
#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_twisted_alone() {
    let net = Devnet::nitro().start().await;
    for (way, proven) in HONEST {
        turn(&net, way).await;
        let watch = net.watch();
        let head = net.head_reaches(net.height().await).await;
        net.mine_l1(1).await;
        let (block, written) = written(&net).await;
        let mut copies = twisted(&net.batcher.feed(&block));
        copies.retain(|copy| {
            let (twisted, honest) = (&copy.message, block.message());
            twisted.header.kind == honest.header.kind && twisted != honest
        });
        // The node has the block that a twisted copy describes.
        for copy in copies.into_iter().chain(written) {
            net.rollup.sequencer.fork_above(head);
            net.rollup.sequencer.put(copy.message.clone());
            net.rollup.follow_sequencer();
            net.batcher.post_feed(&[copy]);
            net.mine_hotshot(1).await;
            net.all_is_read().await;
            net.head_stays_at(head).await;
        }
        let blocks = [block];
        net.rollup.sequencer.follow(
            &[&net.rollup.sequencer.chain()[..usize::try_from(head).unwrap()], &blocks[..]]
                .concat(),
        );
        net.rollup.follow_sequencer();
        net.batcher.post(&blocks);
        net.mine_hotshot(1).await;
        net.head_reaches(head + 1).await;
        is_proven(&net, head + 1, proven).await;
        watch.finish().await;
    }
}
