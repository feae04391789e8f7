//! Copies of one message, and twists of a signature.

use serde_json::Value;

use super::{super::*, fixture::Parent, fixture::*, *};
use crate::{
    config::NitroRequire as Require,
    head::HeadBlock,
    rollup::{Difference, Position, Proven, Rollup, Uncompared, Waiting},
    verifier::Candidates,
};

/// A sequencer's message whose `signatureV2` covers the hash of another block, in each of the forms
/// that the same signature covers.
#[test]
fn under_inputs_no_twist_frees_a_message_from_the_hash_that_it_names() {
    let [_, golden] = delayed_and_not();
    let honest = FeedMessage { block_hash: Some(B256::repeat_byte(1)), ..golden.feed.clone() };
    let mut twisted = FeedMessage { block_hash: None, ..honest.clone() };
    twisted.block_metadata = [&[1; 32][..], &honest.block_metadata].concat();
    let [honest, twisted] =
        [honest, twisted].map(|feed| copy(&feed, Scheme::SignatureV2, golden.chain_id));
    assert_eq!(honest.content.digests, twisted.content.digests);
    let plain = golden.copy(Scheme::Signature);
    let verdict = |copies: &[Kept]| {
        compare(&golden.chain(Require::Inputs), copies, &golden.below, &golden.block)
    };
    assert_eq!(verdict(&[plain]), Ok(Proven::Inputs));
    assert_eq!(verdict(&[twisted]), Err(Uncompared::Waits(Waiting::HashHidden)));
    for copies in [&[honest][..], &[honest, twisted], &[twisted, honest], &[plain, honest]] {
        let verdict = verdict(copies);
        let hash = Difference::Hash { batch: B256::repeat_byte(1), node: golden.block.hash };
        assert_eq!(verdict, Err(Uncompared::Differs(hash)));
    }
}

/// Another copy under the same signature says that the message was delivered at another time, or
/// that it is another one.
#[test]
fn a_twist_of_a_delayed_message_does_not_hide_it() {
    let [golden, _] = delayed_and_not();
    let honest = golden.copy(Scheme::Signature);
    let mut late = honest;
    late.content.message = B256::repeat_byte(1);
    late.content.header.timestamp += 5;
    let mut far = late;
    far.content.delayed_messages_read += 1 << 40;
    for twist in [late, far] {
        let chain = golden.chain(Require::Inputs);
        let proof = compare(&chain, &[twist, honest], &golden.below, &golden.block);
        assert_eq!(proof, Ok(Proven::Inputs));
        let proof = compare(&chain, &[twist], &golden.below, &golden.block);
        assert!(matches!(proof, Err(Uncompared::Differs(_))), "{proof:?}");
    }
}

/// A V0 poster leaves out the content that the posting service posts.
#[test]
fn a_delayed_message_is_one_with_and_without_its_content() {
    let [golden, _] = delayed_and_not();
    let chain = golden.chain(Require::Hash);
    let mut posted = golden.feed.clone();
    posted.message.content = Vec::new().into();
    let omitted = copy(&posted, Scheme::V0, golden.chain_id);
    let whole = golden.copy(Scheme::SignatureV2);
    assert!(chain.are_copies(&omitted, &whole) && chain.are_copies(&whole, &omitted));
    posted.message.header.timestamp += 1;
    let other = copy(&posted, Scheme::V0, golden.chain_id);
    assert!(!chain.are_copies(&other, &whole) && !chain.are_copies(&other, &omitted));
    // What names another block forbids what proves the inputs alone.
    let mut elsewhere = whole;
    elsewhere.facts.block_hash = Some(B256::repeat_byte(1));
    let chain = golden.chain(Require::Inputs);
    let proof = compare(&chain, &[omitted, elsewhere], &golden.below, &golden.block);
    assert!(matches!(proof, Err(Uncompared::Differs(Difference::Hash { .. }))), "{proof:?}");
}

/// Whatever stands in front, a twist has moved more there.
#[test]
fn of_too_many_copies_the_one_that_nothing_was_moved_in_is_kept() {
    let [_, golden] = delayed_and_not();
    let chain = golden.chain(Require::Hash);
    let twist = |change: &dyn Fn(&mut FeedMessage)| {
        let mut feed = golden.feed.clone();
        change(&mut feed);
        copy(&feed, Scheme::SignatureV2, golden.chain_id)
    };
    let named = golden.copy(Scheme::SignatureV2);
    let moved = |feed: &mut FeedMessage| feed.block_metadata.extend([0; 45]);
    assert!(chain.prefers(&named, &twist(&moved)));
    let hidden = twist(&|feed| {
        feed.block_hash = None;
        feed.block_metadata.extend([0; 32]);
    });
    assert!(chain.prefers(&named, &hidden));
    // The first bytes of a message without a hash are no hash.
    let unnamed = twist(&|feed| feed.block_hash = None);
    let moved_and_named = twist(&moved);
    assert!(chain.prefers(&unnamed, &moved_and_named));
    // Under another signature the metadata tell nothing.
    let plain = golden.copy(Scheme::Signature);
    let mut long = golden.feed.clone();
    long.block_metadata.extend([0; 99]);
    assert_eq!(plain, copy(&long, Scheme::Signature, golden.chain_id));
}

/// Anybody may post the signature of one scheme as that of the other: the digest is the same.
#[test]
fn copies_with_one_digest_under_two_schemes_are_one() {
    let [_, golden] = delayed_and_not();
    let chain = golden.chain(Require::Hash);
    let named = golden.copy(Scheme::SignatureV2);
    let mut other = golden.copy(Scheme::Signature);
    other.content.message = B256::repeat_byte(1);
    other.content.header.timestamp += 1;
    assert!(!chain.are_copies(&named, &other));
    other.content.digests = [named.content.digests[1], None];
    assert!(chain.are_copies(&named, &other) && chain.are_copies(&other, &named));
    let proof = compare(&chain, &[other, named], &golden.below, &golden.block);
    assert_eq!(proof, Ok(Proven::Hash));
}

#[test]
fn of_a_message_at_most_64_copies_are_kept_and_the_best() {
    let [_, golden] = delayed_and_not();
    let chain = golden.chain(Require::Hash);
    let copy_with = |metadata: usize| {
        let mut feed = golden.feed.clone();
        feed.block_metadata.extend(vec![0; metadata]);
        let mut kept = copy(&feed, Scheme::SignatureV2, golden.chain_id);
        kept.content.digests = golden.copy(Scheme::SignatureV2).content.digests;
        kept
    };
    let number = golden.block.number;
    let tip = HeadBlock { number: number - 1, hash: None, l1_origin: None };
    let mut candidates = Candidates::<NitroChain<Parent>>::new(1_000);
    // The first has its place, however bad it is; worse ones come before better ones.
    let lengths: Vec<_> = [900].into_iter().chain(100..170).chain([99, 0, 500]).collect();
    for (at, metadata) in lengths.iter().enumerate() {
        let batch = copy_with(*metadata);
        if candidates.make_room(&chain, &batch) {
            candidates.insert(Position::start_of(at as u64), batch, &tip, |_| true);
        }
    }
    let of = |metadata: usize| {
        Position::start_of(lengths.iter().position(|length| *length == metadata).unwrap() as u64)
    };
    let kept = |candidates: &Candidates<_>| -> Vec<_> {
        candidates.of(number).map(|(position, _)| position).collect()
    };
    let expected: Vec<_> = [900].into_iter().chain(100..161).chain([99, 0]).map(of).collect();
    assert_eq!(kept(&candidates), expected);
    // What is there already takes nobody's room.
    for (at, metadata) in [(1_000, 0), (1_001, 99), (1_002, 0)] {
        let batch = copy_with(metadata);
        if candidates.make_room(&chain, &batch) {
            candidates.insert(Position::start_of(at), batch, &tip, |_| true);
        }
    }
    assert_eq!(kept(&candidates), expected);
}

#[test]
fn any_copy_of_a_group_may_prove_the_hash() {
    let [_, golden] = delayed_and_not();
    let mut twisted = FeedMessage { block_hash: None, ..golden.feed.clone() };
    let hash = golden.feed.block_hash.unwrap();
    twisted.block_metadata = [hash.as_slice(), &golden.feed.block_metadata].concat();
    let twisted = copy(&twisted, Scheme::SignatureV2, golden.chain_id);
    let honest = golden.copy(Scheme::SignatureV2);
    let chain = golden.chain(Require::Hash);
    assert!(chain.are_copies(&twisted, &honest) && chain.prefers(&honest, &twisted));
    let proof = compare(&chain, &[twisted, honest], &golden.below, &golden.block);
    assert_eq!(proof, Ok(Proven::Hash));
}

#[test]
fn twists_that_break_the_form_are_not_kept() {
    let vectors = vectors();
    let malleability = &vectors["malleability_v2"];
    let signer: Address = parsed(&malleability["signer"]);
    let chain_id = malleability["chain_id"].as_u64().unwrap();
    let admitted = |message: &Value| {
        let text = message.to_string();
        let sized = |text: &str| [&(text.len() as u64).to_be_bytes()[..], text.as_bytes()].concat();
        let payload = [sized("\"V1\""), sized(&text)].concat();
        let chain = chain(Parent::default(), Require::Inputs, chain_id);
        chain.batchers().extend([signer]);
        chain.admit(&payload, None).into_iter().filter(Result::is_ok).count()
    };
    assert_eq!(admitted(&malleability["original"]), 1);
    for variant in malleability["variants"].as_array().unwrap() {
        assert_eq!(admitted(&variant["message"]), 0, "{}", variant["name"]);
    }
    let hash = &malleability["block_hash_variant"];
    assert_eq!([&hash["original"], &hash["variant"]].map(admitted), [1, 1]);
}
