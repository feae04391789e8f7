//! Proofs that a namespace was dispersed wrongly.

use std::sync::LazyLock;

use proptest::{prelude::*, test_runner::Config};
use serde_json::{Value, json};

use super::encoder::{
    Block, Dispersed, answer, header, header_json, honest, payload, shards, tagged,
};
use crate::{
    Answer, CommitteeSizeError, Evidence, Header, NamespaceError, ProvenSize, Reason,
    WrongEncodingError,
};

const ID: u32 = 7;
const OTHER: u32 = 9;

fn content() -> Vec<u8> {
    payload(&[b"a transaction", b"and another one, which is a little longer"])
}

/// A block with an honest namespace before one with these shards.
fn block(shards: Vec<Vec<u8>>, committee: usize) -> Block {
    let honest = Dispersed::honest(OTHER, payload(&[b"honest"]), committee);
    Block { namespaces: vec![honest, Dispersed { id: ID, payload: content(), shards }] }
}

/// A block whose parity shards no payload has.
fn altered_parity(committee: usize) -> Block {
    let mut shards = shards(&content(), committee, honest);
    shards.last_mut().unwrap()[0] ^= 1;
    block(shards, committee)
}

/// The size by the ordinary proof of the other namespace.
fn witness(block: &Block, size: u32) -> ProvenSize {
    witness_at(block, &block.header(), size)
}

fn witness_at(block: &Block, header: &Header, size: u32) -> ProvenSize {
    match answer(&block.opening(0)).check(header, OTHER, size, &[]) {
        Ok(Evidence::Opened(size)) => size,
        other => panic!("{other:?}"),
    }
}

fn check(block: &Block, claim: &Value, size: u32) -> Result<Evidence, NamespaceError> {
    answer(claim).check(&block.header(), ID, size, &[witness(block, size)])
}

/// The last positions, which the altered one is of.
fn last(committee: usize) -> Vec<std::ops::Range<usize>> {
    std::iter::once(committee - committee.div_ceil(3)..committee).collect()
}

fn refused(block: &Block, claim: &Value, size: u32) -> WrongEncodingError {
    match check(block, claim, size) {
        Err(NamespaceError::WrongEncoding(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_namespace_with_an_altered_parity_shard_is_proven_empty() {
    for committee in [10, 1000] {
        let block = altered_parity(committee);
        let claim = block.claim(1, &last(committee));
        let evidence = check(&block, &claim, committee as u32).unwrap();
        assert_eq!(evidence, Evidence::WronglyEncoded);
        assert!(answer(&claim).into_block(&evidence).is_empty());
        // Whichever shards are taken: even if they are all data.
        let data = std::iter::once(0..committee.div_ceil(3)).collect::<Vec<_>>();
        assert_eq!(
            check(&block, &block.claim(1, &data), committee as u32),
            Ok(Evidence::WronglyEncoded)
        );
    }
}

#[test]
fn a_namespace_with_wrong_padding_is_proven_empty() {
    let two = |data: &mut Vec<u8>, threshold: usize| {
        data.push(2);
        let length = data.len().div_ceil(threshold).next_multiple_of(2);
        data.resize(length * threshold, 0);
    };
    let nothing_but_zeros = |data: &mut Vec<u8>, threshold: usize| {
        honest(data, threshold);
        data.fill(0);
    };
    let excess = |data: &mut Vec<u8>, threshold: usize| {
        honest(data, threshold);
        data.resize(data.len() + 2 * threshold, 0);
    };
    for committee in [1, 10, 1000] {
        let blocks = [
            block(shards(&content(), committee, two), committee),
            block(shards(&content(), committee, nothing_but_zeros), committee),
            block(shards(&content(), committee, excess), committee),
        ];
        for block in blocks {
            let claim = block.claim(1, &last(committee));
            assert_eq!(check(&block, &claim, committee as u32), Ok(Evidence::WronglyEncoded));
        }
    }
}

#[test]
fn a_namespace_with_shards_of_impossible_lengths_is_proven_empty() {
    let committee = 10;
    let good = || shards(&content(), committee, honest);
    let mut uneven = good();
    uneven[9].extend([0, 0]);
    let odd = good().into_iter().map(|mut shard| {
        shard.push(0);
        shard
    });
    let empty = vec![Vec::new(); committee];
    for shards in [uneven, odd.collect(), empty] {
        let block = block(shards, committee);
        let claim = block.claim(1, &last(committee));
        assert_eq!(check(&block, &claim, 10), Ok(Evidence::WronglyEncoded));
    }
}

#[test]
fn ranges_may_be_in_any_order_and_number() {
    let block = altered_parity(10);
    let claim = block.claim(1, &[9..10, 2..4, 6..6, 0..1]);
    assert_eq!(check(&block, &claim, 10), Ok(Evidence::WronglyEncoded));
}

#[test]
fn an_honest_namespace_is_not_wrongly_encoded() {
    for committee in [1, 2, 10, 1000] {
        let block = block(shards(&content(), committee, honest), committee);
        let claim = block.claim(1, &last(committee));
        assert_eq!(refused(&block, &claim, committee as u32), WrongEncodingError::WellEncoded);
        let reason = check(&block, &claim, committee as u32).unwrap_err().reason();
        assert_eq!(reason, Reason::WrongEncoding);
    }
}

#[test]
fn a_well_encoded_payload_of_another_length_is_neither_empty_nor_accepted() {
    let mut block = block(shards(&content(), 10, honest), 10);
    block.namespaces[1].payload.push(0);
    let claim = block.claim(1, &last(10));
    let given = content().len();
    let expected = WrongEncodingError::Length { given, expected: given as u32 + 1 };
    assert_eq!(refused(&block, &claim, 10), expected);
    assert_eq!(check(&block, &claim, 10).unwrap_err().reason(), Reason::Length);
}

#[test]
fn shards_that_do_not_recover_a_payload_prove_nothing() {
    let block = altered_parity(10);
    let count = |given| WrongEncodingError::Count { given, expected: 4 };
    let of = |ranges: &[std::ops::Range<usize>]| block.claim(1, ranges);
    let few = 7..10;
    assert_eq!(refused(&block, &of(std::slice::from_ref(&few)), 10), count(3));
    let many = 5..10;
    assert_eq!(refused(&block, &of(std::slice::from_ref(&many)), 10), count(5));
    assert_eq!(refused(&block, &of(&[]), 10), count(0));
    assert_eq!(refused(&block, &of(&[7..10, 9..10]), 10), WrongEncodingError::Repeated(9));
}

/// The member of the first share.
fn share<'a>(claim: &'a mut Value, member: &str) -> &'a mut Value {
    &mut claim["proof"]["V2IncorrectEncoding"]["ns_proof"]["shares"][0][member]
}

#[test]
fn shares_that_are_not_of_the_commitment_prove_nothing() {
    let block = altered_parity(10);
    let claim = || block.claim(1, &last(10));

    let mut beyond = claim();
    *share(&mut beyond, "range") = json!({"start": 7, "end": 11});
    let position = WrongEncodingError::Position { position: 10, count: 10 };
    assert_eq!(refused(&block, &beyond, 10), position);

    for range in [json!({"start": 6, "end": 9}), json!({"start": 9, "end": 6})] {
        let mut other = claim();
        *share(&mut other, "range") = range;
        assert!(matches!(refused(&block, &other, 10), WrongEncodingError::Range { .. }));
    }
    let mut shifted = claim();
    *share(&mut shifted, "range") = json!({"start": 5, "end": 9});
    assert_eq!(refused(&block, &shifted, 10), WrongEncodingError::Shard(5));

    let mut altered = claim();
    let byte = &mut share(&mut altered, "payload")[2][0];
    *byte = json!(byte.as_u64().unwrap() ^ 1);
    assert_eq!(refused(&block, &altered, 10), WrongEncodingError::Shard(8));

    let mut other_path = claim();
    let paths = share(&mut other_path, "mt_proofs");
    paths[1] = paths[2].clone();
    assert_eq!(refused(&block, &other_path, 10), WrongEncodingError::Shard(7));
    let mut short_path = claim();
    share(&mut short_path, "mt_proofs")[1] = tagged("MERKLE_PROOF", &[0; 8]);
    let path = refused(&block, &short_path, 10);
    assert!(matches!(path, WrongEncodingError::Path { position: 7, .. }), "{path:?}");

    let proof = |claim: &mut Value, member: &str, value: Value| {
        claim["proof"]["V2IncorrectEncoding"][member] = value;
    };
    let mut elsewhere = claim();
    proof(&mut elsewhere, "ns_index", json!(0));
    let refused = check(&block, &elsewhere, 10).unwrap_err();
    assert_eq!(refused, NamespaceError::Index { given: 0, expected: 1 });
    let mut other_commitment = claim();
    let first = block.namespaces[0].commitment();
    proof(&mut other_commitment, "ns_commit", tagged("AvidmGf2Commit", first.as_slice()));
    assert_eq!(check(&block, &other_commitment, 10), Err(NamespaceError::Commitment));
    let mut other_tag = claim();
    let commitment = block.namespaces[1].commitment();
    proof(&mut other_tag, "ns_commit", tagged("AvidMCommit", commitment.as_slice()));
    assert!(check(&block, &other_tag, 10).is_err());
}

/// A size one higher keeps threshold and height of the tree, and makes any honest payload differ.
#[test]
fn a_size_that_no_ordinary_proof_bears_out_proves_nothing() {
    let committee = 1000;
    let block = block(shards(&content(), committee, honest), committee);
    let claim = answer(&block.claim(1, &last(committee)));
    let header = block.header();
    let size = committee as u32;
    let check = |size, witnesses: &[ProvenSize]| claim.check(&header, ID, size, witnesses);
    let not_borne_out = |size| {
        Err(NamespaceError::CommitteeSize(CommitteeSizeError::NotBorneOut { size, height: 42 }))
    };
    let here = witness(&block, size);
    assert_eq!(check(size + 1, &[here]), not_borne_out(size + 1));
    assert_eq!(check(size + 1, &[]), not_borne_out(size + 1));
    // That it would prove the honest namespace empty:
    let forged = ProvenSize { size: size + 1, ..here };
    assert_eq!(check(size + 1, &[forged]), Ok(Evidence::WronglyEncoded));
    assert_eq!(
        check(size, &[here]),
        Err(NamespaceError::WrongEncoding(WrongEncodingError::WellEncoded))
    );
}

#[test]
fn a_size_is_borne_out_in_the_block_itself_or_before_and_after_it() {
    let block = altered_parity(10);
    let claim = answer(&block.claim(1, &last(10)));
    let header = block.header_at(1_000);
    let at = |height| witness_at(&block, &block.header_at(height), 10);
    let is_proven = |witnesses: &[ProvenSize]| claim.check(&header, ID, 10, witnesses).is_ok();
    assert!(is_proven(&[at(1_000)]));
    assert!(is_proven(&[at(800), at(1_200)]));
    assert!(is_proven(&[at(999), at(1_001)]));
    for (before, after) in [(799, 1_200), (800, 1_201), (990, 991), (1_001, 1_002)] {
        assert!(!is_proven(&[at(before), at(after)]), "{before} {after}");
    }
    assert!(!is_proven(&[]));
    // Another block of that height, and the same namespace.
    let mut other = block.header_json(1_000);
    other["fields"]["l1_head"] = json!(5);
    let other = Header::read(other.to_string().as_bytes()).unwrap();
    assert!(!is_proven(&[witness_at(&block, &other, 10)]));
    let own = answer(&block.opening(0));
    let Ok(Evidence::Opened(own)) = own.check(&header, OTHER, 10, &[]) else { panic!() };
    assert!(!is_proven(&[ProvenSize { namespace: ID, ..own }]));
}

#[test]
fn a_proof_of_wrong_encoding_of_an_older_version_is_refused_by_its_own_reason() {
    let block = altered_parity(10);
    let table = block.header_json(42)["fields"]["ns_table"]["bytes"].clone();
    let old = header(&header_json(5, &table, &tagged("AvidMCommit", &[1; 32])));
    let claim = answer(&json!({"proof": {"V1IncorrectEncoding": {"shares": []}}}));
    let refused = claim.check(&old, ID, 10, &[]).unwrap_err();
    assert_eq!(refused.reason(), Reason::WrongEncodingForm);
    // And of the other version it is another form.
    assert_eq!(claim.check(&block.header(), ID, 10, &[]).unwrap_err().reason(), Reason::Path);
    let newer = answer(&block.claim(1, &last(10)));
    assert_eq!(newer.check(&old, ID, 10, &[]).unwrap_err().reason(), Reason::Path);
}

#[test]
fn a_proof_alone_is_read_like_one_in_an_answer() {
    let block = altered_parity(10);
    let claim = block.claim(1, &last(10));
    let alone = Answer::read_proof(claim["proof"].to_string().as_bytes()).unwrap();
    let evidence = alone.check(&block.header(), ID, 10, &[witness(&block, 10)]);
    assert_eq!(evidence, Ok(Evidence::WronglyEncoded));
    let bare = claim["proof"]["V2IncorrectEncoding"].to_string();
    assert!(Answer::read_proof(bare.as_bytes()).unwrap().claims_wrong_encoding());
    assert!(Answer::read_proof(claim.to_string().as_bytes()).unwrap().claims_wrong_encoding());
    assert!(Answer::read_proof(br#"{"proof": null}"#).is_err());
}

proptest! {
    #![proptest_config(Config { cases: 1_000, ..Config::default() })]

    #[test]
    fn no_single_bit_makes_an_honest_namespace_empty(at in any::<usize>(), bit in 0..8_u8) {
        static BLOCK: LazyLock<(Header, ProvenSize, Vec<u8>)> = LazyLock::new(|| {
            let block = block(shards(&content(), 10, honest), 10);
            let claim = block.claim(1, &last(10)).to_string().into_bytes();
            (block.header(), witness(&block, 10), claim)
        });
        let (header, witness, claim) = &*BLOCK;
        let mut claim = claim.clone();
        let at = at % claim.len();
        claim[at] ^= 1 << bit;
        if let Ok(claim) = Answer::read(&claim) {
            prop_assert!(claim.check(header, ID, 10, &[*witness]).is_err());
        }
    }
}
