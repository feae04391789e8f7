//! The fixture against blocks that Nitro's own ArbOS has made.

use alloy_consensus::{SignableTransaction, TxEnvelope, TxLegacy};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use alloy_rlp::{Decodable, Encodable};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use finality_sidecar::rollup::nitro::{Nitro, Parsed, parse};
use serde_json::Value;

use super::{
    block::{Block, Rules},
    content,
    feed::FeedMessage,
    ledger::{Ledger, Outcome},
    message::{BatchData, Header, Kind, Message, SEQUENCER},
    payloads,
    transaction::{SubmitRetryable, Transaction, Unsigned},
    twists::{self, Cut},
};
use crate::{client::hash, signer::Signer};

const GOLDEN: [&str; 3] = [
    include_str!("../../../sidecar/testdata/nitro_golden_10.json"),
    include_str!("../../../sidecar/testdata/nitro_golden_20.json"),
    include_str!("../../../sidecar/testdata/nitro_golden_32.json"),
];

fn bytes(value: &Value) -> Bytes {
    value.as_str().unwrap().parse().unwrap()
}

fn base64(value: &Value) -> Bytes {
    STANDARD.decode(value.as_str().unwrap_or_default()).unwrap().into()
}

/// A message from its JSON in the feed.
fn feed(json: &Value) -> FeedMessage {
    let (outer, inner) = (&json["message"], &json["message"]["message"]);
    let header = &inner["header"];
    let number = |value: &Value| value.as_u64().unwrap();
    let message = Message {
        position: number(&json["sequenceNumber"]),
        delayed_read: number(&outer["delayedMessagesRead"]),
        header: Header {
            kind: Kind(number(&header["kind"]).try_into().unwrap()),
            poster: header["sender"].as_str().unwrap().parse().unwrap(),
            block_number: number(&header["blockNumber"]),
            timestamp: number(&header["timestamp"]),
            request_id: header["requestId"].as_str().map(|id| id.parse().unwrap()),
            base_fee: header["baseFeeL1"].as_u64().map(U256::from),
        },
        content: base64(&inner["l2Msg"]),
        batch_gas: None,
        batch_data: None,
    };
    FeedMessage {
        message,
        block_hash: Some(hash(&json["blockHash"])),
        metadata: base64(&json["blockMetadata"]),
        signature: None,
        signature_v2: None,
    }
}

/// Every golden case, with the rules of its chain.
fn each(mut check: impl FnMut(&Rules, &Value)) {
    for text in GOLDEN {
        let golden: Value = serde_json::from_str(text).unwrap();
        let number = |name: &str| golden[name].as_u64().unwrap();
        let (chain_id, arbos_version) = (number("chain_id"), number("arbos_version"));
        let rules = Rules { chain_id, genesis: 0, arbos_version, collects_tips: false };
        golden["cases"].as_array().unwrap().iter().for_each(|case| check(&rules, case));
    }
}

#[test]
fn golden_messages_are_written_and_signed_as_the_sequencer_does() {
    each(|rules, case| {
        let feed = feed(&case["feed_json"]);
        assert_eq!(Bytes::from(feed.message.rlp()), bytes(&case["message_rlp"]), "{case}");
        let digest = feed.digest_v2(rules.chain_id);
        assert_eq!(digest, hash(&case["signature_v2_hash"]), "{case}");
        let signed = feed.sign_v2(&Signer::batcher(), rules.chain_id);
        let json: Value = serde_json::from_str(&signed.json()).unwrap();
        assert_eq!(json, case["feed_json"]);
    });
}

/// The genesis block has another state than this one, but its hash is known.
fn genesis(rules: &Rules, case: &Value) -> Block {
    let header = bytes(&case["block"]["header_rlp"]);
    let header = alloy_consensus::Header::decode(&mut &header[..]).unwrap();
    let hash = header.parent_hash;
    Block { hash, ..rules.genesis(1_700_000_000, Ledger::default()) }
}

/// All of a block that follows from messages and the parent is the same, byte for byte; what
/// follows from execution is given.
#[test]
fn golden_messages_make_the_golden_blocks() {
    let (mut count, mut parent) = (0, None);
    each(|rules, case| {
        let message = feed(&case["feed_json"]).message;
        let golden = &case["block"];
        let rlp = bytes(&golden["header_rlp"]);
        let header = alloy_consensus::Header::decode(&mut &rlp[..]).unwrap();
        if message.position == 1 {
            parent = Some(genesis(rules, case));
        }
        let below = parent.take().unwrap();
        let listed = golden["transactions"].as_array().unwrap();
        let mut transactions = rules.inputs(&below, &message);
        let parsed: Vec<B256> = transactions.iter().map(|one| one.hash()).collect();
        let expected: Vec<B256> = case["parsed"].as_array().unwrap().iter().map(hash).collect();
        assert_eq!(parsed, expected, "{case}");
        // ArbOS leaves out what cannot be executed.
        transactions.retain(|one| listed.iter().any(|listed| hash(&listed["hash"]) == one.hash()));
        let outcome = Outcome {
            transactions,
            state_root: header.state_root,
            receipts_root: header.receipts_root,
            logs_bloom: header.logs_bloom,
            gas_used: header.gas_used,
            sends: (B256::ZERO, 0),
        };
        let block = rules.with_outcome(&below, message, outcome, Ledger::default());
        let mut own = Vec::new();
        block.header.encode(&mut own);
        assert_eq!(Bytes::from(own), rlp, "{case}");
        assert_eq!(block.hash, hash(&golden["hash"]));
        let own: Vec<Bytes> = block.transactions.iter().map(|one| one.network_form()).collect();
        let raw: Vec<Bytes> = listed.iter().map(|listed| bytes(&listed["raw"])).collect();
        assert_eq!(own, raw, "{case}");
        let json = block.json(true);
        for (own, listed) in json["transactions"].as_array().unwrap().iter().zip(listed) {
            assert_eq!(own["hash"], listed["hash"]);
            assert_eq!(crate::client::quantity(&own["type"]), listed["type"].as_u64().unwrap());
        }
        let read: alloy_consensus::Header = serde_json::from_value(json).unwrap();
        assert_eq!(read, header);
        count += 1;
        parent = Some(block);
    });
    assert_eq!(count, 30);
}

#[test]
fn a_twisted_message_has_the_same_signature() {
    let mut kinds = [0; 6];
    each(|rules, case| {
        let copy = feed(&case["feed_json"]);
        assert_eq!(Cut::of(&copy).apply(&copy).as_ref(), Some(&copy), "{case}");
        let twisted = [
            twists::into_base_fee(&copy, 5),
            twists::into_request_id(&copy),
            twists::into_both(&copy, 32),
            twists::hash_into_metadata(&copy),
            twists::shifted(&copy, 1),
            twists::shifted(&copy, -1),
        ];
        for (twisted, count) in twisted.iter().zip(&mut kinds) {
            let Some(twisted) = twisted else { continue };
            assert_ne!(twisted, &copy);
            assert_eq!(twisted.digest_v2(rules.chain_id), copy.digest_v2(rules.chain_id));
            *count += 1;
        }
        let pinned = twisted[3].as_ref().unwrap();
        assert_eq!(pinned.block_hash, None);
        assert_eq!(twists::metadata_into_hash(pinned).as_ref(), Some(&copy));

        let mut carrier = copy.clone();
        let content = [&copy.message.content[..], &copy.message.signed_tail(), b"end"].concat();
        carrier.message.content = content.into();
        let written = twists::written(&carrier, &copy.message).unwrap();
        assert_eq!(written.digest_v2(rules.chain_id), carrier.digest_v2(rules.chain_id));
        assert_eq!(written.message.header, copy.message.header);
        assert_eq!(written.message.content, [&copy.message.content[..], b"end"].concat());
    });
    assert!(kinds.iter().all(|count| *count >= 3), "{kinds:?}");
}

/// A chain with a message of every kind.
fn every_kind(arbos_version: u64) -> (Rules, Vec<Block>) {
    let rules = Rules { chain_id: 412_346, genesis: 0, arbos_version, collects_tips: true };
    let user = Address::repeat_byte(0x22);
    let to = TxKind::Call(Address::repeat_byte(0x33));
    let (value, gas, fee_cap) = (U256::from(7), 100_000, U256::from(1_000_000_000));
    let unsigned = |nonce| Unsigned {
        chain_id: 0,
        from: user,
        nonce,
        fee_cap,
        gas,
        to,
        value,
        data: Bytes::from_static(b"call"),
    };
    let submit = SubmitRetryable {
        chain_id: 0,
        request_id: B256::ZERO,
        from: user,
        l1_base_fee: U256::ZERO,
        deposit: U256::from(1_000),
        fee_cap,
        gas,
        retry_to: to,
        retry_value: value,
        beneficiary: user,
        max_submission_fee: U256::from(500),
        fee_refund: user,
        data: Bytes::from_static(b"again"),
    };
    let signed = |nonce, value| {
        let transaction = TxLegacy {
            chain_id: Some(rules.chain_id),
            nonce,
            gas_price: 1,
            gas_limit: gas,
            to,
            value: U256::from(value),
            input: Bytes::new(),
        };
        let signature = Signer::caller().sign_hash(transaction.signature_hash());
        content::signed(&TxEnvelope::from(transaction.into_signed(signature)).encoded_2718())
    };
    let batch = content::batch(&[signed(0, 1), content::batch(&[signed(1, 2)]), signed(9, 3)]);
    let report = content::report(1, user, B256::repeat_byte(9), 5, U256::from(31));
    let contents = [
        (Kind::DEPOSIT, content::deposit(user, U256::from(1_000_000))),
        (Kind::L2, content::unsigned(&unsigned(0))),
        (Kind::RETRYABLE, content::retryable(&submit)),
        (Kind::BATCH_REPORT, report),
        (Kind::FUNDED, content::unsigned(&unsigned(1))),
        (Kind::END_OF_BLOCK, Bytes::new()),
    ];
    let sequenced = std::iter::once((Kind::L2, batch, None));
    let delayed = (1_u64..)
        .zip(contents)
        .map(|(index, (kind, content))| (kind, content, Some(B256::from(U256::from(index)))));
    let ledger = Ledger::with(&[Signer::caller().address()], U256::from(100));
    let mut blocks = vec![rules.genesis(1_700_000_000, ledger)];
    for (position, (kind, content, request_id)) in (1..).zip(sequenced.chain(delayed)) {
        let parent = blocks.last().unwrap();
        let is_report = kind == Kind::BATCH_REPORT;
        let message = Message {
            position,
            delayed_read: parent.delayed_read() + u64::from(request_id.is_some()),
            header: Header {
                kind,
                poster: if request_id.is_some() { user } else { SEQUENCER },
                block_number: 100,
                timestamp: 1_700_000_000 + position,
                request_id,
                base_fee: request_id.map(|_| U256::from(1_u128 << 70)),
            },
            content,
            batch_gas: is_report.then_some(1_234),
            batch_data: is_report.then_some(BatchData { length: 900, nonzeros: 800 }),
        };
        blocks.push(rules.block(parent, message));
    }
    (rules, blocks)
}

#[test]
fn blocks_have_what_messages_of_every_kind_give() {
    for (arbos_version, report) in [(40, content::REPORT), (50, content::REPORT_V2)] {
        let (_, blocks) = every_kind(arbos_version);
        let types = |block: &Block| block.transactions.iter().map(Transaction::kind).collect();
        let types: Vec<Vec<u8>> = blocks[1..].iter().map(types).collect();
        let expected: [&[u8]; 7] = [
            &[0x6a, 0, 0],
            &[0x6a, 0x64],
            &[0x6a, 0x65],
            &[0x6a, 0x69, 0x68],
            &[0x6a, 0x6a],
            &[0x6a, 0x64, 0x65],
            &[0x6a],
        ];
        assert_eq!(types, expected);
        let json = blocks[5].json(true);
        let input = json["transactions"][1]["input"].as_str().unwrap();
        assert!(input.starts_with(&alloy_primitives::hex::encode_prefixed(report)), "{json}");
        assert_eq!(blocks.last().unwrap().delayed_read(), 7);
    }
}

/// The shipped reader, which is written apart from this, reads all that is posted.
#[test]
fn what_is_posted_is_read() {
    let (rules, blocks) = every_kind(40);
    let signer = Signer::batcher();
    let reader = Nitro::new(rules.chain_id, [signer.address()]);
    let messages: Vec<Message> = blocks[1..].iter().map(|block| block.message().clone()).collect();
    let payload = payloads::v0(&signer, &messages);
    let posted = reader.admit(&payload).unwrap();
    for (posted, message) in posted.iter().zip(&messages) {
        let posted = posted.as_ref().unwrap();
        assert_eq!(posted.message.position, message.position);
        assert_eq!(
            posted.message.content.is_empty(),
            message.is_delayed() || message.content.is_empty()
        );
    }
    assert_eq!(posted.len(), messages.len());

    let feed = |block: &Block| {
        FeedMessage::of(block).sign(&signer, rules.chain_id).sign_v2(&signer, rules.chain_id)
    };
    let feed: Vec<FeedMessage> = blocks[1..].iter().map(feed).collect();
    let payload = payloads::v1(&feed);
    let posted = reader.admit(&payload).unwrap();
    assert_eq!(posted.len(), messages.len());
    for (posted, block) in posted.iter().zip(&blocks[1..]) {
        let posted = posted.as_ref().unwrap();
        let digests: Vec<B256> = posted.signatures.iter().map(|signed| signed.digest).collect();
        let copy = FeedMessage::of(block);
        let both = [copy.message.digest(rules.chain_id), copy.digest_v2(rules.chain_id)];
        assert_eq!((digests, posted.block_hash), (both.to_vec(), Some(block.hash)));
        // All is executed but the last one of the batch, whose nonce is wrong.
        let own: Vec<B256> = block.transactions[1..]
            .iter()
            .filter(|transaction| transaction.kind() != 0x68)
            .map(Transaction::hash)
            .collect();
        match parse(&posted.message, rules.chain_id).unwrap() {
            Parsed::Transactions(hashes) => {
                assert_eq!(own, hashes[..hashes.len().min(own.len())]);
                assert_eq!(hashes.len() - own.len(), usize::from(block.header.number == 1));
            }
            Parsed::Report(report) => assert_eq!((report.batch, own.len()), (5, 1)),
        }
    }
}

/// The posting address of the sequencer is a constant of Nitro.
#[test]
fn the_sequencer_has_its_address() {
    assert_eq!(SEQUENCER, Address::from(*b"\xa4\xb0\0\0\0\0\0\0\0\0\0\x73equencer"));
}
