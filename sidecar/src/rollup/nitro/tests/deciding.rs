//! Which messages decide.

use alloy_primitives::{U256, keccak256};

use super::{super::*, fixture::Parent, fixture::*, *};
use crate::{
    batchers::{Authority, BatcherTenure},
    config::NitroRequire as Require,
    head::HeadBlock,
    l1::DelayedMessage,
    rollup::{Judgment, OutOfPlay, Proven, Rollup, Uncompared, Waiting},
};

#[test]
fn a_delayed_message_is_what_the_parent_chain_has() {
    let [golden, _] = delayed_and_not();
    let known = || Parent::of([&golden.feed]);
    let index = *known().messages.lock().keys().next().unwrap();
    let view = view();
    for scheme in [Scheme::V0, Scheme::Signature, Scheme::SignatureV2] {
        let kept = golden.copy(scheme);
        let verdict = |change: &dyn Fn(&mut Parent)| {
            let mut parent = known();
            change(&mut parent);
            let chain = chain(parent, Require::Inputs, golden.chain_id);
            judged(&chain, &golden.below, &kept, &view)
        };
        let other = |change: &dyn Fn(&mut DelayedMessage)| {
            verdict(&|parent| change(parent.messages.lock().get_mut(&index).unwrap()))
        };
        assert_eq!(verdict(&|_| {}), Judgment::Decides);
        let out = Judgment::Out(OutOfPlay::Orphaned);
        assert_eq!(other(&|it| it.kind += 1), out);
        assert_eq!(other(&|it| it.sender = Address::ZERO), out);
        assert_eq!(other(&|it| it.block_number += 1), out);
        assert_eq!(other(&|it| it.base_fee += U256::from(1)), out);
        assert_eq!(
            other(&|it| {
                it.data = Some(vec![1].into());
                it.data_hash = keccak256([1]);
            }),
            out
        );
        let is_waiting = |verdict| match verdict {
            Judgment::Waits(waiting) => waiting,
            other => panic!("{other:?}"),
        };
        assert_eq!(other(&|it| it.data_hash = B256::ZERO), out);
        // The bridge has the hash of what was posted.
        assert_eq!(other(&|it| it.data = None), Judgment::Decides);
        assert_eq!(other(&|it| it.data = Some(vec![1].into())), Judgment::Decides);
        assert_eq!(other(&|it| it.timestamp += 1), out);
        let untold = is_waiting(verdict(&|parent| {
            parent.messages.lock().get_mut(&index).unwrap().timestamp += 1;
            *parent.lags.lock() = true;
        }));
        assert!(matches!(untold, Waiting::Parent { .. }), "what tells of logs may lag");
        let down = is_waiting(verdict(&|parent| parent.is_down = true));
        assert!(matches!(down, Waiting::Parent { .. }));
        let early = is_waiting(verdict(&|parent| parent.messages.lock().clear()));
        assert!(matches!(early, Waiting::ParentFinality { .. }));
        // The final block has not read it, and is of the same time or of a later one.
        let final_at = |made_at: u64| {
            verdict(&|parent| {
                parent.messages.lock().clear();
                *parent.made_at.lock() = made_at;
            })
        };
        let timestamp = kept.content.header.timestamp;
        assert!(matches!(final_at(timestamp), Judgment::Waits(Waiting::ParentFinality { .. })));
        assert_eq!(final_at(timestamp + 1), out);
    }
}

/// The hash is signed, but the parent chain must have what the block has read.
#[test]
fn no_hash_proves_a_block_that_has_read_what_is_not_final() {
    let [golden, _] = delayed_and_not();
    let kept = golden.copy(Scheme::SignatureV2);
    let chain = chain(Parent::default(), Require::Hash, golden.chain_id);
    let proof = compare(&chain, &[kept], &golden.below, &golden.block);
    assert!(matches!(proof, Err(Uncompared::Waits(Waiting::ParentFinality { .. }))), "{proof:?}");
}

/// A copy of a message that claims to be the next one of the delayed inbox.
fn claiming(golden: &Golden, timestamp: u64) -> Kept {
    let mut feed = golden.feed.clone();
    let count = golden.below.delayed_messages_read + 1;
    (feed.message.delayed_messages_read, feed.message.header) = claimed(count, timestamp);
    copy(&feed, Scheme::SignatureV2, golden.chain_id)
}

/// However many claims were looked for on the parent chain, what was found there is not forgotten.
#[test]
fn of_the_delayed_inbox_so_much_is_kept_and_first_what_was_found() {
    let [golden, _] = delayed_and_not();
    let chain = golden.chain(Require::Hash);
    let honest = golden.copy(Scheme::SignatureV2);
    let view = view();
    let asked = |chain: &NitroChain<Parent>| chain.parent.asked();
    assert_eq!(judged(&chain, &golden.below, &honest, &view), Judgment::Decides);
    assert_eq!(asked(&chain), 1);
    // Another message, of which nothing is known.
    let mut other = delayed_and_not()[0].below;
    other.delayed_messages_read -= 1;
    let tip = HeadBlock { number: golden.block.number - 1, hash: None, l1_origin: None };
    let claim = |timestamp| {
        let mut kept = claiming(&golden, timestamp);
        kept.content.delayed_messages_read -= 1;
        kept
    };
    for timestamp in 1..=200 {
        judged(&chain, &other, &claim(timestamp), &view);
    }
    assert_eq!(asked(&chain), 201);
    let is_known = |timestamp| {
        !matches!(chain.judge(&tip, &other, &claim(timestamp), &view), Judgment::Ask(_))
    };
    let known = (1..=200).filter(|timestamp| is_known(*timestamp)).count();
    assert_eq!(known, 127, "and what was found");
    assert!(is_known(200) && !is_known(1));
    assert_eq!(chain.judge(&tip, &golden.below, &honest, &view), Judgment::Decides);
}

/// Whoever has put many messages into one that the sequencer has signed, and posts them all, hides
/// no message that was lost by a reorg of the parent chain.
#[test]
fn of_what_contradicts_the_parent_chain_so_much_is_kept_and_of_each_signature_one() {
    let all = all_golden();
    let at = all.iter().position(|golden| {
        let delayed = golden.below.delayed_messages_read;
        golden.block.delayed_messages_read == delayed && golden.block.number > 1
    });
    let at = at.unwrap();
    let [golden, next, third] = [at, at + 1, at + 2].map(|at| &all[at]);
    let parent = Parent::of(all.iter().take(10).map(|golden| &golden.feed));
    let chain = chain(parent, Require::Hash, golden.chain_id);
    let view = view();
    let out = Judgment::Out(OutOfPlay::Orphaned);
    let time_above = |below: &Below| {
        chain.parent.messages().get(&below.delayed_messages_read).unwrap().timestamp
    };
    let time = time_above(&golden.below);
    let honest = golden.copy(Scheme::SignatureV2);
    let other_at = |golden: &Golden| {
        let mut other = golden.copy(Scheme::SignatureV2);
        other.facts.block_hash = Some(B256::repeat_byte(1));
        compare(&chain, &[other], &golden.below, &golden.block)
    };
    let behind = || other_at(next);
    let twist = |more: u8| {
        let mut twist = claiming(golden, time);
        twist.content.message = B256::repeat_byte(more);
        twist.content.digests = honest.content.digests;
        twist
    };
    let proof = |twists: &[Kept]| {
        let copies: Vec<_> = [honest].into_iter().chain(twists.iter().copied()).collect();
        compare(&chain, &copies, &golden.below, &golden.block)
    };
    // Twists of what proves the block supersede nothing, though not all are kept as candidates.
    let twists: Vec<_> = (0..200).map(twist).collect();
    for twist in &twists {
        assert_eq!(judged(&chain, &golden.below, twist, &view), out);
    }
    assert_eq!(proof(&twists[100..110]), Ok(Proven::Hash));
    assert!(matches!(behind(), Err(Uncompared::Differs(_))));

    assert_eq!(judged(&chain, &golden.below, &claiming(golden, time), &view), out);
    for twist in &twists {
        assert_eq!(judged(&chain, &golden.below, twist, &view), out);
    }
    assert_eq!(proof(&twists[..10]), Ok(Proven::Hash));
    assert_eq!(behind(), Err(Uncompared::Waits(Waiting::Superseded)));

    // As many signatures as there may be.
    for more in 0..200 {
        let mut lost = claiming(golden, time);
        lost.content.message = keccak256([more]);
        lost.content.digests = [None, Some(keccak256([more, more]))];
        assert_eq!(judged(&chain, &golden.below, &lost, &view), out);
    }
    assert_eq!(chain.contradicted(), 64);
    assert_eq!(proof(&twists[..10]), Ok(Proven::Hash));
    assert_eq!(behind(), Err(Uncompared::Waits(Waiting::Superseded)));

    // The next one finds room, and what is below it is behind once its block is proven.
    let lost = claiming(next, time_above(&next.below));
    assert_eq!(judged(&chain, &next.below, &lost, &view), out);
    assert_eq!(chain.contradicted(), 64);
    let kept = [next.copy(Scheme::SignatureV2)];
    assert_eq!(compare(&chain, &kept, &next.below, &next.block), Ok(Proven::Hash));
    assert_eq!(chain.contradicted(), 1);
    assert_eq!(other_at(third), Err(Uncompared::Waits(Waiting::Superseded)));
}

/// Nothing else says who may sign when.
#[test]
fn a_signer_counts_only_where_hotshot_names_an_l1_block_of_its_range() {
    let vectors = vectors();
    let v1 = &vectors["v1"][0];
    let signer: Address = parsed(&v1["signer"]);
    let payload = bytes(&v1["payload"]);
    let chain = chain(Parent::default(), Require::Hash, v1["chain_id"].as_u64().unwrap());
    chain.batchers().extend([signer]);
    let tenure = BatcherTenure { batcher: signer, from: 100, until: Some(200) };
    chain.batchers().judge_by(Some(Authority::fixed(vec![tenure]).into()));
    let admitted = |l1| chain.admit(&payload, l1).into_iter().filter(Result::is_ok).count();
    let counts = [None, Some(99), Some(100), Some(199), Some(200)].map(admitted);
    assert_eq!(counts, [0, 0, 2, 2, 0]);
}
