//! What versions of ArbOS change.

use std::sync::Arc;

use alloy_primitives::{B256, U256};
use finality_e2e::{
    devnet::Devnet,
    l1::FINALITY_DEPTH,
    nitro::{
        Nitro,
        block::Block,
        content,
        message::{Kind, Message},
        poster::Posting,
        transaction::Transaction,
    },
    signer::Signer,
};

use super::{MODES, posted, turn};
use crate::advance::head_follows;

/// The sequencer makes a block of this message, and the head reaches it.
async fn put(net: &Devnet<Nitro>, message: Message) -> Arc<Block> {
    let block = net.rollup.sequencer.put(message);
    net.rollup.follow_sequencer();
    net.batcher.post(&[Arc::clone(&block)]);
    net.mine_hotshot(1).await;
    net.head_reaches(block.header.number).await;
    block
}

/// The sequencer takes what waits in the delayed inbox, up to a message of this kind.
async fn next_of(net: &Devnet<Nitro>, kind: Kind) -> Message {
    loop {
        let message = net.rollup.sequencer.next_message().await;
        if message.header.kind == kind {
            return message;
        }
        assert!(message.is_delayed(), "there is no message of {kind:?}");
        put(net, message).await;
    }
}

/// A batch posting report has another form on a block that ArbOS 50 has made; the first such block
/// still has the old one.
#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_inputs_over_the_upgrade_to_arbos_50() {
    let net = posted(Posting::Signature, "inputs").start().await;
    let watch = net.watch();
    let poster = Signer::batcher().address();
    for batch in 1..=3 {
        let base_fee = U256::from(1_000_000_000_u64);
        let report = content::report(1_700_000_000, poster, B256::ZERO, batch, base_fee);
        net.rollup.parent.deliver(Kind::BATCH_REPORT, poster, &report).await;
    }
    net.mine_l1(1 + FINALITY_DEPTH).await;
    let mut reports = Vec::new();
    for version in [40, 50, 50] {
        let report = next_of(&net, Kind::BATCH_REPORT).await;
        net.rollup.sequencer.upgrade(version);
        let block = put(&net, report).await;
        assert_eq!((block.arbos_version(), block.transactions.len()), (version, 2));
        let Transaction::Internal(report) = &block.transactions[1] else {
            panic!("no report: {block:?}")
        };
        reports.push(report.selector());
    }
    assert_eq!(reports[0], reports[1]);
    assert_ne!(reports[1], reports[2]);
    watch.finish().await;
    head_follows(&net).await;
}

/// What ArbOS 60 filters is left out of a block, and a ticket of it is not redeemed.
#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_filtered_transactions() {
    let net = Devnet::nitro().arbos(60).start().await;
    let sequencer = &net.rollup.sequencer;
    for mode in MODES {
        turn(&net, mode).await;
        let watch = net.watch();
        let message = sequencer.user_message().await;
        let inputs = sequencer.inputs(&message);
        sequencer.filter(&inputs[2]);
        let block = put(&net, message).await;
        assert!(!block.transactions.contains(&inputs[2]));
        assert_eq!(block.transactions[1..], inputs[..2]);

        sequencer.buy_ticket().await;
        net.mine_l1(1 + FINALITY_DEPTH).await;
        let ticket = next_of(&net, Kind::RETRYABLE).await;
        let inputs = sequencer.inputs(&ticket);
        sequencer.filter(&inputs[0]);
        let block = put(&net, ticket).await;
        assert_eq!(block.transactions[1..], inputs);
        net.produce(2).await;
        net.head_reaches(net.height().await).await;
        net.assert_tagged_equals_direct().await;
        watch.finish().await;
    }
}
