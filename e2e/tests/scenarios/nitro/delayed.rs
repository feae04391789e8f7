//! Messages of the delayed inbox.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256};
use finality_e2e::{
    devnet::Devnet,
    l1::FINALITY_DEPTH,
    link::{Links, Way},
    nitro::{
        Nitro, content,
        contracts::INBOX,
        message::{Kind, Message},
        parent::ParentChain,
        poster::Posting,
    },
    rollup::OriginPolicy,
    wait::{PATIENCE, until},
};

use super::{MODES, posted, turn};

/// A deposit on the parent chain, in its next block.
async fn deposit(net: &Devnet<Nitro>, wei: u64) {
    let user = Address::repeat_byte(0x22);
    let content = content::deposit(user, U256::from(wei));
    net.rollup.parent.deliver(Kind::DEPOSIT, user, &content).await;
}

/// The sequencer takes all messages that wait in the delayed inbox, and they are posted.
pub(super) async fn take_all(net: &Devnet<Nitro>) -> u64 {
    loop {
        let message = net.rollup.sequencer.next_message().await;
        let is_delayed = message.is_delayed();
        put(net, message).await;
        if !is_delayed {
            return net.head_reaches(net.height().await).await;
        }
    }
}

/// The sequencer makes a block of this message, the node has it, and it is posted.
async fn put(net: &Devnet<Nitro>, message: Message) {
    let block = net.rollup.sequencer.put(message);
    net.rollup.follow_sequencer();
    net.batcher.post(&[block]);
    net.mine_hotshot(1).await;
}

/// The next delayed message, which the sequencer may have read.
pub(super) async fn next_delayed(net: &Devnet<Nitro>) -> Message {
    for _ in 0..20 {
        let message = net.rollup.sequencer.next_message().await;
        if message.is_delayed() {
            return message;
        }
        net.mine_l1(1).await;
    }
    panic!("no delayed message came");
}

/// A block with a message that is not final yet waits, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_delayed_message_is_not_final_yet() {
    let net = Devnet::nitro().origins(OriginPolicy::Latest).start().await;
    for mode in MODES {
        turn(&net, mode).await;
        let watch = net.watch();
        net.mine_l1(FINALITY_DEPTH).await;
        let head = take_all(&net).await;
        deposit(&net, 5).await;
        net.mine_l1(1).await;
        let message = net.rollup.sequencer.next_message().await;
        assert!(message.is_delayed());
        put(&net, message).await;
        net.sidecar.reason("awaiting_parent_finality").await;
        net.head_stays_at(head).await;
        net.mine_l1(FINALITY_DEPTH).await;
        net.head_reaches(head + 1).await;
        watch.finish().await;
    }
}

/// While the parent chain does not answer, only a block with a new delayed message waits.
#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_parent_chain_is_away() {
    let links = Arc::new(Links::default());
    let net = Devnet::nitro().parent(ParentChain::Nitro).links(Arc::clone(&links));
    let net = net.start().await;
    for mode in MODES {
        turn(&net, mode).await;
        let watch = net.watch();
        net.rollup.parent.finalize().await;
        let head = take_all(&net).await;
        deposit(&net, 5).await;
        net.rollup.parent.finalize().await;
        links.parent.set(Way::Away);
        let delayed = net.rollup.sequencer.next_message().await;
        assert!(delayed.is_delayed());
        // The deposit can wait.
        let own = net.rollup.sequencer.user_message().await;
        put(&net, own).await;
        net.head_reaches(head + 1).await;
        let delayed = net.rollup.sequencer.next_message().await;
        put(&net, delayed).await;
        net.sidecar.reason("parent_unavailable").await;
        net.head_stays_at(head + 1).await;
        links.parent.set(Way::Open);
        net.head_reaches(head + 2).await;
        watch.finish().await;
    }
}

/// The bridge has a message, and what tells of logs does not know it yet: that contradicts nothing.
#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_logs_of_the_parent_chain_lag() {
    let net = Devnet::nitro().parent(ParentChain::Nitro).start().await;
    let orbit = net.rollup.parent.orbit().unwrap();
    for mode in MODES {
        turn(&net, mode).await;
        let watch = net.watch();
        net.rollup.parent.finalize().await;
        let head = take_all(&net).await;
        orbit.set_logs_lag(true);
        deposit(&net, 5).await;
        net.rollup.parent.finalize().await;
        let delayed = net.rollup.sequencer.next_message().await;
        assert!(delayed.is_delayed());
        put(&net, delayed).await;
        net.sidecar.reason("parent_unavailable").await;
        net.head_stays_at(head).await;
        orbit.set_logs_lag(false);
        net.head_reaches(head + 1).await;
        watch.finish().await;
    }
}

/// With the inputs alone proven, the message must be the parent chain's; the hash is the
/// sequencer's word.
#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_delayed_message_has_other_content() {
    let net = posted(Posting::Signature, "inputs").start().await;
    let watch = net.watch();
    net.mine_l1(FINALITY_DEPTH).await;
    let head = take_all(&net).await;
    deposit(&net, 5).await;
    let honest = next_delayed(&net).await;
    let content = content::deposit(Address::repeat_byte(0x66), U256::from(5_000));
    put(&net, Message { content, ..honest.clone() }).await;
    net.mine_l1(FINALITY_DEPTH).await;
    net.sidecar.reason("competing_fork").await;
    net.head_stays_at(head).await;
    net.rollup.sequencer.fork_above(head);
    put(&net, honest).await;
    net.head_reaches(head + 1).await;
    watch.finish().await;
}

/// Neither way of posting brings a message whose content the bridge does not have.
#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_delayed_message_has_another_hash() {
    let net = posted(Posting::V0, "inputs").start().await;
    for posting in [Posting::V0, Posting::Signature] {
        net.batcher.set_posting(posting);
        let watch = net.watch();
        net.mine_l1(FINALITY_DEPTH).await;
        let head = take_all(&net).await;
        let user = Address::repeat_byte(0x22);
        let content: Bytes = content::deposit(user, U256::from(5));
        let false_hash = B256::repeat_byte(0x66);
        net.rollup.parent.deliver_as(INBOX, Kind::DEPOSIT, user, false_hash, &content).await;
        let message = next_delayed(&net).await;
        put(&net, message).await;
        net.mine_l1(FINALITY_DEPTH).await;
        // V0 leaves the content out: it is nowhere. The other posts what the bridge contradicts.
        let code = match posting {
            Posting::V0 => "parent_unavailable",
            _ => "competing_fork",
        };
        net.sidecar.reason(code).await;
        net.head_stays_at(head).await;
        net.finalize(head + 1).await;
        net.head_reaches(head + 1).await;
        watch.finish().await;
    }
}

/// A message is lost by a reorg of the parent chain: what was built on it waits for Ethereum.
#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_delayed_message_is_lost() {
    let net = Devnet::nitro().origins(OriginPolicy::Latest).start().await;
    for mode in MODES {
        turn(&net, mode).await;
        let watch = net.watch();
        net.mine_l1(FINALITY_DEPTH).await;
        let head = take_all(&net).await;
        net.mine_l1(FINALITY_DEPTH).await;
        deposit(&net, 5).await;
        net.mine_l1(1).await;
        let message = net.rollup.sequencer.next_message().await;
        assert!(message.is_delayed());
        put(&net, message).await;
        let behind = net.rollup.sequencer.user_message().await;
        put(&net, behind).await;
        net.rollup.parent.reorg(1).await;
        // Another one takes its place.
        deposit(&net, 6).await;
        net.mine_l1(1 + FINALITY_DEPTH).await;
        // The other one contradicts it if it was delivered at the same time; else nothing is found.
        until("the lost message to be passed over or waited for", PATIENCE, async || {
            let code = net.sidecar.status().await["reason_code"].clone();
            (code == "competing_fork" || code == "parent_unavailable").then_some(())
        })
        .await;
        net.head_stays_at(head).await;

        // What was posted behind the lost message decides nothing.
        net.rollup.sequencer.fork_above(head);
        let message = net.rollup.sequencer.next_message().await;
        assert!(message.is_delayed());
        put(&net, message).await;
        net.head_reaches(head + 1).await;
        let behind = net.rollup.sequencer.user_message().await;
        put(&net, behind).await;
        net.sidecar.reason("superseded").await;
        net.head_stays_at(head + 1).await;
        net.finalize(head + 2).await;
        net.head_reaches(head + 2).await;
        net.produce(2).await;
        net.mine_l1(FINALITY_DEPTH).await;
        net.head_reaches(head + 4).await;
        watch.finish().await;
    }
}
