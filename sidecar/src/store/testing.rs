//! Records for tests.

use alloy_primitives::B256;
use finality_core::head::{BlockProof, Source};
use jiff::Timestamp;
use proptest::prelude::*;

use super::{Audit, HeaderMark, Identity, Record, SafeSample, Store, StoreError, engine::Moment};
use crate::{batchers::HistoryMark, eth::BlockId};

pub(super) const IDENTITY: Identity =
    Identity { chain_id: 22_266_222, genesis_hash: B256::repeat_byte(7), namespace: 22_266_222 };

pub(super) fn record(number: u64) -> Record {
    Record {
        generation: 0,
        moment: None,
        number,
        hash: Some(B256::repeat_byte(1)),
        l1_origin: Some(BlockId { number: 3, hash: B256::repeat_byte(2) }),
        source: Source::Espresso,
        restart_height: Some(100),
        fallback_height: Some(60),
        batchers: None,
        identity: Some(IDENTITY),
        updated_at: "2026-03-27T10:11:12.123456789Z".parse().unwrap(),
        samples: Vec::new(),
        audit: Audit::default(),
    }
}

/// What every store promises; `open` is what a new process does.
pub(super) fn one_record_that_never_goes_down<S: Store>(mut open: impl FnMut() -> S) {
    let with = |generation, number| Record { generation, ..record(number) };
    let mut store = open();
    let id = store.id();
    assert_eq!(store.record(), None);
    let mut kept = None;
    for (next, is_kept) in [
        (with(0, 5), true),
        (Record { restart_height: Some(101), ..with(0, 5) }, true),
        (with(0, 4), false),
        (with(0, 9), true),
        (Record { identity: Some(Identity { namespace: 1, ..IDENTITY }), ..with(0, 10) }, false),
        (with(1, 3), true),
        (with(0, 99), false),
        // Of a start that does not know its chain yet.
        (Record { identity: None, ..with(1, 4) }, true),
    ] {
        let saved = store.save(next.clone());
        match saved {
            Ok(()) => kept = Some(Record { identity: Some(IDENTITY), ..next.clone() }),
            Err(StoreError::Regression { .. } | StoreError::OtherChain { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        assert_eq!(store.record(), kept.as_ref());
        drop(store);
        store = open();
        assert_eq!((store.id(), store.record()), (id, kept.as_ref()));
        assert_eq!(kept.as_ref().map(Record::order) == Some(next.order()), is_kept, "{next:?}");
    }
}

fn hashes() -> impl Strategy<Value = B256> {
    any::<[u8; 32]>().prop_map(B256::from)
}

pub(super) fn records() -> impl Strategy<Value = Record> {
    let identity =
        (any::<u64>(), hashes(), any::<u32>()).prop_map(|(chain_id, genesis_hash, namespace)| {
            Identity { chain_id, genesis_hash, namespace }
        });
    let block = || (any::<u64>(), hashes()).prop_map(|(number, hash)| BlockId { number, hash });
    let sample = (block(), block(), block()).prop_map(|(current_l1, head_l1, safe)| SafeSample {
        current_l1,
        head_l1,
        safe,
    });
    let mark = (any::<u64>(), hashes()).prop_map(|(height, root)| HeaderMark { height, root });
    let height = || prop::option::of(any::<u64>());
    let proof = (any::<bool>(), height()).prop_map(|(is_hash, hash_since)| BlockProof {
        proven: if is_hash { "hash" } else { "inputs" }.into(),
        hash_since,
    });
    let marks = prop::collection::vec(mark, 0..3);
    let audit = (height(), height(), marks, any::<bool>(), prop::option::of(proof)).prop_map(
        |(audited, head_height, owed, unproven, block)| Audit {
            audited,
            head_height,
            owed,
            unproven,
            block,
        },
    );
    (
        any::<u64>(),
        prop::option::of(hashes()),
        prop::option::of(block()),
        any::<bool>(),
        prop::option::of(prop_oneof![0..3_u64, any::<u64>()]),
        prop::option::of(identity),
        prop::option::of((any::<u64>(), hashes())),
        (0..253_402_207_199_i64, 0..1_000_000_000_i32),
        prop::collection::vec(sample, 0..3),
        prop_oneof![Just(0), any::<u64>()],
        audit,
    )
        .prop_map(
            |(
                number,
                hash,
                l1_origin,
                espresso,
                restart_height,
                identity,
                batchers,
                (seconds, nanoseconds),
                samples,
                generation,
                audit,
            )| {
                Record {
                    generation,
                    moment: (generation != 0)
                        .then_some(Moment { engine: u64::MAX, revision: number }),
                    number,
                    hash,
                    l1_origin,
                    source: if espresso { Source::Espresso } else { Source::Ethereum },
                    restart_height,
                    fallback_height: restart_height.filter(|height| *height > 0),
                    batchers: batchers
                        .map(|(up_to, fingerprint)| HistoryMark { up_to, fingerprint }),
                    identity,
                    updated_at: Timestamp::new(seconds, nanoseconds).unwrap(),
                    samples,
                    audit,
                }
            },
        )
}
