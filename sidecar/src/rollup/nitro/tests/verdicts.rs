//! Cases of the vectors, each with its verdict at the stage where it belongs.

use alloy_primitives::{U256, keccak256};

use super::{
    super::{compare::start_block, *},
    fixture::*,
    *,
};
use crate::rollup::{Rejected, SIGNATURE_LENGTH};

/// Where the signature of a V0 payload ends, behind its length.
const SIGNED: usize = 8 + SIGNATURE_LENGTH;

/// Whoever has signed it: what is wrong is not the signer.
#[test]
fn hostile_payloads_are_refused_for_what_is_wrong_with_them() {
    let nitro = Nitro::new(1, [signer()]);
    let mut seen = Vec::new();
    for case in vectors()["adversarial"].as_array().unwrap() {
        let mut payload = bytes(&case["payload"]).to_vec();
        let is_v0 = payload.starts_with(&65_u64.to_be_bytes()) && payload.len() >= SIGNED;
        if is_v0 {
            let signature = sign(keccak256(&payload[SIGNED..]));
            payload[8..SIGNED].copy_from_slice(&signature);
        }
        let refused = nitro.admit(&payload).unwrap_err();
        assert_eq!(nitro.authenticate(&payload).is_ok(), is_v0, "{}", case["name"]);
        let text = match refused {
            Rejected::TooShort { length } => format!("{length} bytes"),
            Rejected::Structure(problem) => problem,
            other => panic!("{}: {other}", case["name"]),
        };
        seen.push((case["name"].as_str().unwrap().to_owned(), text));
    }
    let expected = [
        ("empty", "0 bytes"),
        ("seven bytes", "7 bytes"),
        ("V0 length prefix only", "0 bytes"),
        ("V0 signature cut", "64 bytes"),
        ("V0 no message", "no message"),
        ("V0 message size zero twice", "no message"),
        ("attestation-era payload", "length 4734"),
        ("V1 with a wrong version string", "length 4"),
        ("V1 JSON length past the end", "a message is cut"),
        ("V1 JSON not an object", "feed message"),
    ];
    assert_eq!(seen.len(), expected.len());
    for ((name, text), (case, problem)) in seen.iter().zip(expected) {
        assert!(name.starts_with(case) && text.contains(problem), "{name}: {text}");
    }
}

/// The sample leaves the message out, without which nothing is signed.
#[test]
fn the_sample_of_a_second_signature_is_read_once_it_has_a_message() {
    let vectors = vectors();
    let sample = &vectors["signature_v2_json_sample"];
    let text = sample["json"].as_str().unwrap();
    let refused = FeedMessage::read(text.as_bytes()).unwrap_err();
    assert_eq!(refused.reason(), "structure");
    let mut json: Value = serde_json::from_str(text).unwrap();
    json["message"]["message"] = golden()[0]["cases"][0]["feed_json"]["message"]["message"].clone();
    let read = feed(&json);
    assert_eq!(read.signature_v2.len() as u64, sample["signature_length"].as_u64().unwrap());
    assert_eq!(read.signature.is_empty(), sample["signature_field_absent"].as_bool().unwrap());
    assert_eq!(read.block_hash, Some(parsed(&json["blockHash"])));
    assert_eq!((read.message.position, read.message.delayed_messages_read), (72, 28));
}

#[test]
fn the_call_that_starts_a_block_is_what_arbitrum_one_had() {
    let vectors = vectors();
    let call = &vectors["start_block_call"];
    let number = |name: &str| call[name].as_u64().unwrap();
    let [_, golden] = delayed_and_not();
    let (mut kept, mut block, below) =
        (golden.copy(Scheme::Signature), golden.block.clone(), golden.below);
    let header = &mut kept.content.header;
    header.l1_base_fee = U256::from(number("l1_base_fee"));
    header.block_number = number("l1_block_number");
    block.number = number("l2_block_number");
    block.timestamp = below.timestamp + number("time_passed");
    assert_eq!(start_block(&kept.content, &block, &below), bytes(&call["data"]));
}
