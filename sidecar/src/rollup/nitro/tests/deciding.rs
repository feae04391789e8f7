//! Which messages decide.

use alloy_primitives::{U256, keccak256};

use super::{super::*, fixture::Parent, fixture::*, *};
use crate::{
    batchers::{Authority, BatcherTenure},
    config::NitroRequire as Require,
    l1::DelayedMessage,
    rollup::{Judgment, OutOfPlay, Rollup, Uncompared, Waiting},
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
        let absent = is_waiting(other(&|it| it.timestamp += 1));
        assert!(matches!(absent, Waiting::Parent { .. }), "not found is no contradiction");
        let down = is_waiting(verdict(&|parent| parent.is_down = true));
        assert!(matches!(down, Waiting::Parent { .. }));
        let early = is_waiting(verdict(&|parent| parent.messages.lock().clear()));
        assert!(matches!(early, Waiting::ParentFinality { .. }));
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
