//! The vectors of `testdata/`, each at the stage where its verdict belongs.

use std::sync::Arc;

use alloy_primitives::{Bytes, hex};
use alloy_rlp::Header;
use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::{batchers::Authority, node::Block, rollup::SIGNATURE_LENGTH};

#[derive(Deserialize)]
struct Batches {
    keys: Vec<Key>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Key {
    address: Address,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    batcher: Address,
    number: u64,
    timestamp: u64,
    header_hash: B256,
    l1_info_deposit_raw: Bytes,
    l1_info_deposit_hash: B256,
    l1_info_calldata: Bytes,
    epoch_number: u64,
    epoch_hash: B256,
    dropped_deposits: usize,
    batch_transactions: Vec<Bytes>,
    rpc_block: Value,
    three_field: Shape,
    four_field: Shape,
}

#[derive(Deserialize)]
struct Shape {
    rlp: Bytes,
    signed_hash: B256,
    payload: Bytes,
}

#[derive(Deserialize)]
struct Adversarial {
    batcher: Address,
    base_case: String,
    base_payload: Bytes,
    cases: Vec<AdversarialCase>,
}

#[derive(Deserialize)]
struct AdversarialCase {
    name: String,
    payload: Bytes,
    expect: String,
}

fn batches() -> Batches {
    serde_json::from_str(include_str!("../../../testdata/op_batches.json")).unwrap()
}

fn adversarial() -> Adversarial {
    serde_json::from_str(include_str!("../../../testdata/op_adversarial.json")).unwrap()
}

#[derive(Deserialize)]
struct Golden {
    name: String,
    batcher: Address,
    #[serde(with = "hex")]
    payload: Vec<u8>,
    expect: Value,
}

#[derive(Deserialize)]
struct GoldenBatch {
    number: String,
    hash: B256,
    parent_hash: B256,
    signer: Address,
    origin_number: u64,
    origin_hash: B256,
    timestamp: u64,
    transactions: usize,
}

fn same_bytes(left: Transactions<'_>, right: &[Bytes]) -> bool {
    left.iter().eq(right.iter().map(|bytes| &bytes[..]))
}

fn block(case: &Case) -> Block {
    serde_json::from_value(case.rpc_block.clone()).unwrap()
}

#[test]
fn both_shapes_of_every_batch_decode_to_the_same_and_equal_their_block() {
    let batches = batches();
    assert!(!batches.cases.is_empty());
    for case in &batches.cases {
        let op = Op::new([case.batcher]);
        let block = block(case);
        let mut admitted = Vec::new();
        for shape in [&case.three_field, &case.four_field] {
            let signed = op.authenticate(&shape.payload).unwrap();
            assert_eq!(signed.signer, case.batcher, "{}", case.name);
            assert_eq!(signed.body, &shape.rlp[..]);
            assert_eq!(keccak256(signed.body), shape.signed_hash);
            let batch = OpBatch::decode(signed.body).unwrap();
            assert_eq!(batch.number, case.number);
            assert_eq!(batch.hash, case.header_hash);
            assert_eq!(batch.timestamp, case.timestamp);
            let origin = BlockId { number: case.epoch_number, hash: case.epoch_hash };
            assert_eq!(batch.l1_origin, origin);
            assert_eq!(batch.info_deposit, &case.l1_info_deposit_raw[..]);
            assert_eq!(keccak256(batch.info_deposit), case.l1_info_deposit_hash);
            assert!(same_bytes(batch.transactions, &case.batch_transactions));
            assert_eq!(decode_l1_origin(&case.l1_info_calldata), Ok(origin));
            admitted.push(op.admit(&shape.payload).unwrap());
        }
        assert_eq!(admitted[0], admitted[1], "{}", case.name);
        assert_eq!(op.compare(&admitted[0], &block), Ok(()), "{}", case.name);
        assert_eq!(op.l1_origin(&block).unwrap(), admitted[0].facts.l1_origin);
        let listed = admitted[0].content.count;
        assert_eq!(block.transactions.len(), 1 + case.dropped_deposits + listed);
    }
}

/// Blocks of a real op-geth from Bedrock to Jovian, activation blocks included, each with the
/// payload that an independent batcher made of its RLP.
#[test]
fn batches_of_real_blocks_of_nine_forks_equal_their_block() {
    let real: Value =
        serde_json::from_str(include_str!("../../../testdata/op_real_blocks.json")).unwrap();
    let cases = real["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 24);
    for case in cases {
        let name = &case["name"];
        let bytes: Bytes = serde_json::from_value(case["payload"].clone()).unwrap();
        let op = Op::new([serde_json::from_value(case["batcher"].clone()).unwrap()]);
        let block: Block = serde_json::from_value(case["rpc_block"].clone()).unwrap();
        let batch = op.admit(&bytes).unwrap();
        assert_eq!((batch.facts.number, batch.facts.hash), (block.number, block.hash), "{name}");
        assert_eq!(op.compare(&batch, &block), Ok(()), "{name}");
        assert_eq!(op.l1_origin(&block).unwrap(), batch.facts.l1_origin, "{name}");
        let deposits = block.transactions.iter().filter(|it| it.is_type(0x7e)).count();
        assert_eq!(case["deposits"], deposits, "{name}");
        assert_eq!(case["transactions"], block.transactions.len() - deposits, "{name}");
    }
}

/// 187 payloads that Espresso's Go code judged too. Where the verdicts differ, ours refuses what
/// contradicts itself and accepts fields of a later fork.
#[test]
fn golden_payloads_have_their_verdicts() {
    let golden: Vec<Golden> =
        serde_json::from_str(include_str!("../../../testdata/op_golden.json")).unwrap();
    assert_eq!(golden.len(), 187);
    for Golden { name, batcher, payload, expect } in golden {
        let admitted = Op::new([batcher]).admit(&payload);
        if expect["accepted"] == false {
            assert!(admitted.is_err(), "{name}");
            continue;
        }
        let expected: GoldenBatch = serde_json::from_value(expect).unwrap();
        let batch = admitted.unwrap_or_else(|refused| panic!("{name}: {refused}"));
        let facts = Facts {
            number: expected.number.parse().unwrap(),
            hash: expected.hash,
            parent_hash: expected.parent_hash,
            timestamp: expected.timestamp,
            l1_origin: BlockId { number: expected.origin_number, hash: expected.origin_hash },
        };
        assert_eq!((batch.facts, batch.signer), (facts, expected.signer), "{name}");
        assert_eq!(batch.content.count, expected.transactions, "{name}");
    }
}

#[test]
fn a_batch_signed_by_another_known_key_is_unauthorized() {
    let batches = batches();
    for case in &batches.cases {
        let other = batches.keys.iter().find(|key| key.address != case.batcher).unwrap();
        let op = Op::new([other.address]);
        assert_eq!(
            op.admit(&case.three_field.payload),
            Err(Rejected::UnauthorizedSigner(case.batcher)),
            "{}",
            case.name
        );
    }
}

#[test]
fn every_other_block_differs() {
    let batches = batches();
    for case in &batches.cases {
        let op = Op::new([case.batcher]);
        let batch = op.admit(&case.four_field.payload).unwrap();
        for other in batches.cases.iter().filter(|other| other.number != case.number) {
            assert!(matches!(op.compare(&batch, &block(other)), Err(Difference::Hash { .. })));
        }
    }
}

#[test]
fn a_block_with_another_transaction_list_differs_even_under_the_same_hash() {
    let batches = batches();
    let case = batches.cases.iter().find(|case| case.dropped_deposits > 0).unwrap();
    let op = Op::new([case.batcher]);
    let batch = op.admit(&case.four_field.payload).unwrap();
    let good = block(case);
    let change = |edit: &dyn Fn(&mut Block)| {
        let mut block = good.clone();
        edit(&mut block);
        op.compare(&batch, &block)
    };
    assert!(change(&|_| {}).is_ok());
    for (what, edit) in [
        ("no transactions", &(|b: &mut Block| b.transactions.clear()) as &dyn Fn(&mut Block)),
        ("last one missing", &|b| _ = b.transactions.pop()),
        ("first one missing", &|b| _ = b.transactions.remove(0)),
        ("only the info deposit", &|b| b.transactions.truncate(1)),
        ("swapped", &|b| b.transactions.swap(1, 2)),
        ("a plain transaction between", &|b| b.transactions[1].kind = Some("0x2".into())),
        ("one of no type between", &|b| b.transactions[1].kind = None),
        ("one more at the end", &|b| {
            let last = b.transactions[0].clone();
            b.transactions.push(last);
        }),
    ] {
        assert!(matches!(change(edit), Err(Difference::Transactions(_))), "{what}");
    }
}

#[test]
fn a_difference_names_the_transaction_when_the_payload_is_at_hand() {
    let batches = batches();
    let case = batches.cases.iter().find(|case| case.batch_transactions.len() > 1).unwrap();
    let op = Op::new([case.batcher]);
    let payload = &case.four_field.payload;
    let batch = op.admit(payload).unwrap();
    let mut block = block(case);
    assert_eq!(op.compare_payload(payload, &block), Ok(()));
    let hash = std::mem::take(&mut block.transactions.last_mut().unwrap().hash);
    assert!(matches!(op.compare(&batch, &block), Err(Difference::Transactions(_))));
    let difference = op.compare_payload(payload, &block).unwrap_err();
    assert!(difference.to_string().contains(&hash.to_string()), "{difference}");
}

/// The batch of a case with other transactions: any signature is somebody's.
fn with_transactions(case: &Case, transactions: &[u8]) -> Vec<u8> {
    fn items(list: &[u8]) -> Vec<&[u8]> {
        let mut rest = Header::decode_bytes(&mut &*list, true).unwrap();
        let next = || {
            let start = rest;
            let header = (!rest.is_empty()).then(|| Header::decode(&mut rest).unwrap())?;
            rest = &rest[header.payload_length..];
            Some(&start[..start.len() - rest.len()])
        };
        std::iter::from_fn(next).collect()
    }
    let list = |content: Vec<u8>| {
        let mut list = Vec::new();
        Header { list: true, payload_length: content.len() }.encode(&mut list);
        [list, content].concat()
    };
    let fields = items(&case.three_field.rlp);
    let scalars = items(fields[1])[..4].concat();
    let singular = list([scalars, list(transactions.to_vec())].concat());
    let body = list([fields[0], &singular, fields[2]].concat());
    [&case.three_field.payload[..SIGNATURE_LENGTH], &body].concat()
}

#[test]
fn a_batch_of_very_many_transactions_takes_no_more_memory_than_another() {
    let payload = with_transactions(&batches().cases[0], &vec![1; 530_000]);
    let signer = recover_signer(&payload).unwrap().signer;
    let op = Op::new([signer]);
    let batch = op.admit(&payload).unwrap();
    assert_eq!(batch.content.count, 530_000);
    // Of one size: what can be copied owns no memory elsewhere.
    let Batch { facts, .. } = [batch; 2][1];
    let l1_origin = facts.l1_origin.number;
    op.batchers().judge_by(Some(Arc::new(Authority::as_of(Vec::new(), l1_origin))));
    assert_eq!(op.admit(&payload), Err(Rejected::UnauthorizedThere { signer, l1_origin }));
}

/// The refusal of a payload of the adversarial vectors.
fn refusal_of(name: &str) -> &'static str {
    let vectors = adversarial();
    let op = Op::new([vectors.batcher]);
    let case = vectors.cases.iter().find(|case| case.name == name).unwrap();
    op.admit(&case.payload).unwrap_err().reason()
}

#[test]
fn op_4_payloads_of_any_length_are_refused_and_none_panics() {
    let batches = batches();
    let case = &batches.cases[0];
    let op = Op::new([case.batcher]);
    let whole = &case.four_field.payload;
    for length in 0..whole.len() {
        assert!(op.admit(&whole[..length]).is_err(), "{length} bytes");
    }
    for length in [0, 1, 64] {
        assert_eq!(op.admit(&whole[..length]), Err(Rejected::TooShort { length }));
    }
    assert_eq!(refusal_of("empty"), "signature");
    assert_eq!(refusal_of("64 bytes"), "signature");
}

#[test]
fn header_number_2_64_is_rejected_and_not_truncated() {
    assert_eq!(refusal_of("header number is 2^64"), "structure");
}

#[test]
fn malformed_but_signed_batches_are_refused() {
    for (name, reason) in [
        ("two fields", "structure"),
        ("trailing byte after the list", "structure"),
        ("info deposit is a legacy transaction", "structure"),
        ("epoch number differs from the info deposit", "consistency"),
        ("batch parent hash differs from header parent hash", "consistency"),
    ] {
        assert_eq!(refusal_of(name), reason, "{name}");
    }
}

#[test]
fn open_3_without_known_batchers_nothing_is_admitted() {
    let op = Op::new([]);
    for case in &batches().cases {
        assert_eq!(
            op.admit(&case.four_field.payload),
            Err(Rejected::UnauthorizedSigner(case.batcher))
        );
    }
}

#[test]
fn adversarial_payloads_get_their_verdict_at_their_stage() {
    let vectors = adversarial();
    let op = Op::new([vectors.batcher]);
    let base = batches().cases.into_iter().find(|case| case.name == vectors.base_case).unwrap();
    let base_batch = op.admit(&vectors.base_payload).unwrap();
    assert_eq!(op.compare(&base_batch, &block(&base)), Ok(()));
    for case in &vectors.cases {
        let admitted = op.admit(&case.payload);
        let name = case.name.as_str();
        let refused = admitted.as_ref().err().map(Rejected::reason);
        let expected = match (name, case.expect.as_str()) {
            ("empty" | "64 bytes" | "v is 27 or 28", "reject") => Some("signature"),
            // Any signature may belong to some key, but not to an authorized one.
            ("signature only", "reject") => Some("signer"),
            ("wrong signer" | "flipped body bit" | "far future origin by a stranger", _) => {
                Some("signer")
            }
            ("trailing byte after the list" | "two fields" | "header number is 2^64", "reject")
            | ("info deposit is a legacy transaction", _) => Some("structure"),
            (
                "epoch number differs from the info deposit"
                | "batch parent hash differs from header parent hash",
                "semantic mismatch",
            ) => Some("consistency"),
            // Its L1-info deposit is that of the base case, so it is refused before it could be
            // undecided.
            ("far future origin by the batcher", "undecided") => Some("consistency"),
            // A good batch as far as it goes: the comparison judges it.
            ("extra transaction not in header transactionsRoot", "semantic mismatch") => None,
            (name, expect) => panic!("no stage is known for {name:?} ({expect})"),
        };
        assert_eq!(refused, expected, "{name}: {admitted:?}");
        if name == "extra transaction not in header transactionsRoot" {
            // The header, and so the hash, is the block's: the transaction lists tell them apart.
            let verdict = op.compare(&admitted.unwrap(), &block(&base));
            assert!(matches!(verdict, Err(Difference::Transactions(_))), "{verdict:?}");
        }
    }
}

#[derive(Deserialize)]
struct L1InfoVectors {
    cases: Vec<L1InfoCase>,
    rejects: Vec<L1InfoReject>,
}

#[derive(Deserialize)]
struct L1InfoCase {
    format: String,
    calldata: Bytes,
    number: u64,
    block_hash: B256,
}

#[derive(Deserialize)]
struct L1InfoReject {
    why: String,
    calldata: Bytes,
}

#[test]
fn l1_info_of_every_format_is_read_and_malformed_ones_are_refused() {
    let vectors: L1InfoVectors =
        serde_json::from_str(include_str!("../../../testdata/l1_info_calldata.json")).unwrap();
    assert_eq!(vectors.cases.len(), 4);
    for case in vectors.cases {
        let origin = BlockId { number: case.number, hash: case.block_hash };
        assert_eq!(decode_l1_origin(&case.calldata), Ok(origin), "{}", case.format);
    }
    assert!(!vectors.rejects.is_empty());
    for case in vectors.rejects {
        assert!(decode_l1_origin(&case.calldata).is_err(), "{}", case.why);
    }
}

#[test]
fn a_deposit_must_be_the_l1_info_deposit() {
    let case = &batches().cases[0];
    let good = case.l1_info_deposit_raw.to_vec();
    assert_eq!(Deposit::decode(&good).unwrap().data, &case.l1_info_calldata[..]);
    let changed = |from: &str, to: &str| {
        let text = hex::encode(&good).replacen(from, to, 1);
        hex::decode(text).unwrap()
    };
    for raw in [
        changed(
            "deaddeaddeaddeaddeaddeaddeaddeaddead0001",
            "deaddeaddeaddeaddeaddeaddeaddeaddead0002",
        ),
        changed(
            "4200000000000000000000000000000000000015",
            "4200000000000000000000000000000000000016",
        ),
        [&good[..], &[0]].concat(),
        vec![],
        vec![DEPOSIT_TYPE],
        vec![DEPOSIT_TYPE, 0xc0],
        vec![0x02, 0xc0],
    ] {
        assert!(Deposit::decode(&raw).is_err());
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_damaged_batch_is_never_taken_for_the_batch(
            case in 0..3_usize,
            at in any::<prop::sample::Index>(),
            bit in 0..8_u32,
        ) {
            let case = &batches().cases[case];
            let mut payload = case.four_field.payload.to_vec();
            let at = at.index(payload.len());
            payload[at] ^= 1 << bit;
            let admitted = Op::new([case.batcher]).admit(&payload);
            prop_assert!(admitted.is_err(), "{:?}", admitted);
            // Without the signature's protection too, only the unused fourth field may differ
            // unseen.
            if let Ok(batch) = OpBatch::decode(payload.get(SIGNATURE_LENGTH..).unwrap()) {
                let same = batch.hash == case.header_hash
                    && batch.info_deposit == &case.l1_info_deposit_raw[..]
                    && same_bytes(batch.transactions, &case.batch_transactions);
                prop_assert!(!same || at < SIGNATURE_LENGTH || at + 20 >= payload.len());
            }
        }
    }
}
