//! Against messages of known hashes, and against blocks that Nitro's own ArbOS produced.

use alloy_primitives::hex;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::{super::*, *};
use crate::rollup::RECOVERIES;

fn hashes(message: &Message<'_>, chain_id: u64) -> Vec<B256> {
    match parse(message, chain_id) {
        Ok(Parsed::Transactions(hashes)) => hashes,
        Ok(Parsed::Report(report)) => panic!("{report:?}"),
        Err(_) => Vec::new(),
    }
}

/// A message with this content, by the sequencer.
fn l2_message(content: &[u8]) -> Message<'_> {
    Message {
        position: 1,
        delayed_messages_read: 1,
        header: MessageHeader {
            kind: MessageKind::L2,
            poster: SEQUENCER,
            block_number: 1,
            timestamp: 1_700_000_000,
            request_id: None,
            l1_base_fee: Default::default(),
        },
        content: content.into(),
        batch_gas: None,
        batch_data: None,
    }
}

#[test]
fn the_known_v0_payload_decodes_to_its_message() {
    let vectors = vectors();
    let v0 = &vectors["v0"];
    let signer: Address = parsed(&v0["recovered_signer"]);
    let payload = bytes(&v0["payload"]);
    let posted = Nitro::new(1, [signer]).admit(&payload).unwrap();
    let [Ok(posted)] = posted.as_slice() else { panic!("{posted:?}") };
    let expected = &v0["messages"][0];
    assert_eq!(posted.message.position, expected["position"].as_u64().unwrap());
    assert_eq!(
        posted.message.delayed_messages_read,
        expected["delayed_messages_read"].as_u64().unwrap()
    );
    assert_eq!(posted.message.content, bytes(&expected["l2_msg"]).as_ref());
    assert_eq!(posted.origin, Origin::Sequencer);
    let digest = parsed(&v0["signed_hash"]);
    assert_eq!(posted.signatures, [Signed { scheme: Scheme::V0, signer, digest }]);
    assert_eq!(hashes(&posted.message, 1), [parsed::<B256>(&expected["parsed"][0]["tx_hash"])]);

    let stranger = Address::repeat_byte(1);
    let refused = Nitro::new(1, [stranger]).admit(&payload).unwrap_err();
    assert_eq!(refused, Rejected::UnauthorizedSigner(signer));
}

#[test]
fn the_known_digests_of_the_feed_come_out() {
    for case in vectors()["feed_hashes"].as_array().unwrap() {
        let chain_id = case["chain_id"].as_u64().unwrap();
        let zeroed = serde_json::json!({
            "sequenceNumber": 0,
            "message": {
                "message": {
                    "header": {"kind": 0, "sender": Address::ZERO, "blockNumber": 0, "timestamp": 0,
                        "requestId": null, "baseFeeL1": null},
                    "l2Msg": ""
                },
                "delayedMessagesRead": 0
            }
        });
        let feed = feed(if case["message"].is_null() { &zeroed } else { &case["message"] });
        assert_eq!(feed.signed_digest(chain_id), parsed::<B256>(&case["hash_for_signature"]));
        assert_eq!(feed.signed_digest_v2(chain_id), parsed::<B256>(&case["hash_for_signatureV2"]));
    }
}

#[test]
fn of_v1_payloads_the_good_messages_are_kept() {
    let vectors = vectors();
    for case in vectors["v1"].as_array().unwrap() {
        let chain_id = case["chain_id"].as_u64().unwrap_or(412_346);
        let signer = case["signer"].as_str().map_or(Address::ZERO, |text| text.parse().unwrap());
        let payload = bytes(&case["payload"]);
        let nitro = Nitro::new(chain_id, [signer]);
        let accepted = nitro.admit(&payload).map_or(Vec::new(), |posted| {
            posted.into_iter().flatten().map(|posted| posted.message.position).collect()
        });
        let expected = case["accepted_positions"].as_array().cloned().unwrap_or_default();
        let expected: Vec<u64> = expected.iter().filter_map(Value::as_u64).collect();
        assert_eq!(accepted, expected, "{}", case["name"]);
        if !expected.is_empty() {
            // Of another chain: a stranger's.
            let refused = Nitro::new(chain_id + 1, [signer]).admit(&payload).unwrap_err();
            assert_eq!(refused.reason(), "signer");
        }
    }
}

#[test]
fn optional_fields_of_the_rlp_are_read() {
    for case in vectors()["optional_rlp_fields"].as_array().unwrap() {
        let rlp = bytes(&case["rlp"]);
        let name = &case["name"];
        let message = Message::decode(7, &rlp).unwrap();
        if let Some(gas) = case["legacy_batch_gas_cost"].as_u64() {
            assert_eq!(message.batch_gas, Some(gas), "{name}");
        }
        let data = message.batch_data;
        assert_eq!(data.map(|it| it.length), case["batch_data_stats"]["length"].as_u64());
        assert_eq!(data.map(|it| it.nonzeros), case["batch_data_stats"]["nonzeros"].as_u64());
        // What is signed is the same RLP again.
        let mut encoded = Vec::new();
        message.encode_incoming(&mut encoded);
        assert!(hex::encode(&rlp).contains(&hex::encode(&encoded)), "{name}");
        for cut in 0..rlp.len() {
            assert!(Message::decode(7, &rlp[..cut]).is_err());
        }
        assert!(Message::decode(7, &[&rlp[..], &[0]].concat()).is_err());
    }
}

#[test]
fn each_kind_of_l2_message_parses_as_nitro_parses_it() {
    for case in vectors()["l2_message_kinds"].as_array().unwrap() {
        let content = bytes(&case["l2_msg"]);
        let mut message = l2_message(&content);
        if let Some(expected) = case["raw_txs"].as_array() {
            let expected: Vec<_> =
                expected.iter().map(|raw| alloy_primitives::keccak256(bytes(raw))).collect();
            assert_eq!(hashes(&message, 1), expected, "{}", case["name"]);
        } else if case["contract"].is_object() {
            assert_eq!(parse(&message, 1), Err(Unparsable::RequestId));
            message.header.request_id = Some(B256::ZERO);
            assert_eq!(hashes(&message, 1).len(), 1);
        } else {
            assert_eq!(hashes(&message, 1).len(), 1, "{}", case["name"]);
        }
    }
    let mut heartbeat = l2_message(&[6]);
    heartbeat.header.timestamp = 1_659_974_399;
    assert_eq!(parse(&heartbeat, 1), Ok(Parsed::Transactions(Vec::new())));
}

#[test]
fn what_arbos_made_of_ten_messages_comes_out_for_three_versions() {
    for golden in golden() {
        let chain_id = golden["chain_id"].as_u64().unwrap();
        let signer: Address = parsed(&golden["sequencer_key_address"]);
        let nitro = Nitro::new(chain_id, [signer]);
        for case in golden["cases"].as_array().unwrap() {
            let name = &case["name"];
            let feed = feed(&case["feed_json"]);
            let digest = feed.signed_digest_v2(chain_id);
            assert_eq!(digest, parsed::<B256>(&case["signature_v2_hash"]), "{name}");

            let rlp = bytes(&case["message_rlp"]);
            let entry = Message::decode(case["position"].as_u64().unwrap(), &rlp).unwrap();
            assert_eq!(entry, feed.message, "{name}");

            let (signatures, _) = nitro.signatures(&feed, &mut Budget::default());
            assert_eq!(signatures, [Signed { scheme: Scheme::SignatureV2, signer, digest }]);
            let delayed =
                case["feed_json"]["message"]["message"]["header"]["requestId"].is_string();
            let origin = if delayed { Origin::DelayedInbox } else { Origin::Sequencer };
            assert_eq!(feed.message.origin(), Ok(origin), "{name}");

            let expected: Vec<B256> =
                case["parsed"].as_array().unwrap().iter().map(parsed).collect();
            assert_eq!(hashes(&feed.message, chain_id), expected, "{name}");
            let unparsable = !case["parse_error"].as_str().unwrap().is_empty();
            assert_eq!(parse(&feed.message, chain_id).is_err(), unparsable, "{name}");
        }
    }
}

#[test]
fn twisted_copies_have_the_same_digest_and_break_the_form() {
    let vectors = vectors();
    let case = &vectors["malleability_v2"];
    let chain_id = case["chain_id"].as_u64().unwrap();
    let signer: Address = parsed(&case["signer"]);
    let nitro = Nitro::new(chain_id, [signer]);
    let original = feed(&case["original"]);
    let (signatures, _) = nitro.signatures(&original, &mut Budget::default());
    assert_eq!(signatures.len(), 1);
    assert_eq!(original.message.origin(), Ok(Origin::Sequencer));
    for variant in case["variants"].as_array().unwrap() {
        let twisted = feed(&variant["message"]);
        assert_ne!(twisted.message, original.message);
        assert_eq!(nitro.signatures(&twisted, &mut Budget::default()).0, signatures);
        let rejected = twisted.message.origin().unwrap_err();
        assert_eq!(rejected.reason(), "consistency", "{}", variant["name"]);
    }
    // A hash that became metadata breaks no form: the copy merely names no block.
    let pair = &case["block_hash_variant"];
    let (original, variant) = (feed(&pair["original"]), feed(&pair["variant"]));
    assert!(original.block_hash.is_some() && variant.block_hash.is_none());
    assert_eq!(
        nitro.signatures(&original, &mut Budget::default()).0,
        nitro.signatures(&variant, &mut Budget::default()).0
    );
    assert_eq!(variant.message.origin(), Ok(Origin::Sequencer));
}

#[test]
fn hostile_payloads_are_refused() {
    for case in vectors()["adversarial"].as_array().unwrap() {
        let payload = bytes(&case["payload"]);
        let known = [Address::repeat_byte(1)];
        assert!(Nitro::new(1, known).admit(&payload).is_err(), "{}", case["name"]);
    }
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_be_bytes(), bytes].concat()
}

fn v1(texts: &[String]) -> Vec<u8> {
    let texts = texts.iter().map(|text| sized(text.as_bytes()));
    [sized(b"\"V1\"")].into_iter().chain(texts).collect::<Vec<_>>().concat()
}

#[test]
fn a_stranger_ends_a_v1_payload_after_sixteen_signatures() {
    let golden = &golden()[0];
    let chain_id = golden["chain_id"].as_u64().unwrap();
    let nitro = Nitro::new(chain_id, [parsed(&golden["sequencer_key_address"])]);
    let good = golden["cases"][0]["feed_json"].to_string();
    // The same signature over another message: somebody else's, or nobody's.
    let bad = good.replace("1700000001", "1700000002");
    let payload = |strangers: usize| {
        let texts = vec![bad.clone(); strangers].into_iter().chain([good.clone()]);
        v1(&texts.collect::<Vec<_>>())
    };
    let mixed = payload(15);
    let posted = nitro.admit(&mixed).unwrap();
    assert_eq!(posted.iter().filter(|message| message.is_ok()).count(), 1);
    let refused = nitro.admit(&payload(16)).unwrap_err();
    for strangers in [17, 100] {
        let many = payload(strangers);
        assert_eq!(recoveries(|| nitro.admit(&many).is_err()), (true, 16));
        assert_eq!(recoveries(|| nitro.authenticate(&many).is_err()), (true, 16));
    }
    // Each has one signature: what it lacks is not what is wrong with it.
    assert_eq!(refused.reason(), "signer", "{refused}");
    // The seventeenth is the second of a message.
    let mut both = golden["cases"][0]["feed_json"].clone();
    both["signature"] = both["signatureV2"].clone();
    let with_both = |strangers: usize| {
        let texts = vec![bad.clone(); strangers].into_iter().chain([both.to_string()]);
        v1(&texts.collect::<Vec<_>>())
    };
    assert_eq!([14, 15].map(|count| nitro.admit(&with_both(count)).is_ok()), [true, false]);
}

/// How many signatures are recovered meanwhile.
fn recoveries<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = RECOVERIES.get();
    let result = work();
    (result, RECOVERIES.get() - before)
}

/// What is signed stays the same if bytes go from the beginning of the content to the end of what
/// stands before it.
fn twisted(feed: &Value, length: usize) -> Value {
    let (mut twisted, message) = (feed.clone(), super::feed(feed).message);
    let fee = alloy_primitives::U256::try_from_be_slice(&message.content[..length]).unwrap();
    let message_json = &mut twisted["message"]["message"];
    message_json["l2Msg"] = BASE64_STANDARD.encode(&message.content[length..]).into();
    message_json["header"]["baseFeeL1"] = Value::Number(fee.to_string().parse().unwrap());
    twisted
}

#[test]
fn a_signature_is_recovered_once_for_all_that_it_covers() {
    let golden = &golden()[0];
    let chain_id = golden["chain_id"].as_u64().unwrap();
    let nitro = Nitro::new(chain_id, [parsed(&golden["sequencer_key_address"])]);
    let honest = &golden["cases"][0]["feed_json"];
    let digest = |json: &Value| feed(json).signed_digest_v2(chain_id);
    // Those that break the form: their signature is not even looked at.
    let broken: Vec<_> = (1..=8).map(|length| twisted(honest, length)).collect();
    assert!(broken.iter().all(|copy| digest(copy) == digest(honest)));
    let texts: Vec<_> = broken.iter().map(Value::to_string).collect();
    let refused = || nitro.admit(&v1(&texts)).unwrap_err().reason();
    assert_eq!(recoveries(refused), ("consistency", 0));
    // Those that keep it.
    let mut hidden = honest.clone();
    let (hash, metadata) = (bytes(&honest["blockHash"]), feed(honest).block_metadata);
    hidden["blockMetadata"] = BASE64_STANDARD.encode([&hash[..], &metadata].concat()).into();
    hidden["blockHash"] = Value::Null;
    assert_eq!(digest(&hidden), digest(honest));
    let texts = [texts, vec![hidden.to_string(), honest.to_string()]].concat();
    let payloads: Vec<_> = texts.chunks(3).map(v1).collect();
    let admitted = || -> usize {
        let posted = payloads.iter().filter_map(|payload| nitro.admit(payload).ok());
        posted.flatten().filter(Result::is_ok).count()
    };
    assert_eq!(recoveries(admitted), (2, 1));
    assert_eq!(recoveries(admitted), (2, 0), "read again");
    // The same signature over something else is a stranger's, of which nothing is kept.
    let bad = v1(&[honest.to_string().replace("1700000001", "1700000002")]);
    for _ in 0..3 {
        assert_eq!(recoveries(|| nitro.admit(&bad).is_err()), (true, 1));
    }
}

#[test]
fn what_strangers_sign_beside_a_known_signer_is_not_recovered_for_ever() {
    let golden = &golden()[0];
    let chain_id = golden["chain_id"].as_u64().unwrap();
    let nitro = Nitro::new(chain_id, [parsed(&golden["sequencer_key_address"])]);
    let honest = &golden["cases"][0]["feed_json"];
    let beside: Vec<_> = (1..=100)
        .map(|last: u8| {
            let mut signature = feed(honest).signature_v2;
            signature[40] ^= last;
            let mut copy = honest.clone();
            copy["signature"] = BASE64_STANDARD.encode(signature).into();
            copy.to_string()
        })
        .collect();
    let payload = v1(&beside);
    let admitted = || nitro.admit(&payload).unwrap().iter().filter(|it| it.is_ok()).count();
    assert_eq!(recoveries(admitted), (100, 17), "all by the second signature");
    assert_eq!(recoveries(admitted), (100, 16), "which is known then");
}

/// Each message is judged alone: what strangers have signed between them is lost, and nothing else.
#[test]
fn however_many_strangers_stand_between_them_known_messages_are_read() {
    let golden = &golden()[0];
    let chain_id = golden["chain_id"].as_u64().unwrap();
    let nitro = Nitro::new(chain_id, [parsed(&golden["sequencer_key_address"])]);
    let [honest, last] = [0, 1].map(|case| golden["cases"][case]["feed_json"].clone());
    let bad = honest.to_string().replace("1700000001", "1700000002");
    let both = |mut json: Value, member: &str| {
        let other = feed(&json).signature_v2;
        json[member] = BASE64_STANDARD.encode([other[1..].to_vec(), vec![0]].concat()).into();
        json.to_string()
    };
    let strangers = vec![bad; 40];
    for last in [last.to_string(), both(last.clone(), "signature")] {
        let texts = [vec![honest.to_string()], strangers.clone(), vec![last]].concat();
        let payload = v1(&texts);
        let posted = nitro.admit(&payload).unwrap();
        let known: Vec<_> =
            (0..).zip(&posted).filter(|(_, it)| it.is_ok()).map(|it| it.0).collect();
        assert_eq!(known, [0, 41]);
    }
}

#[test]
fn payloads_and_messages_have_bounds() {
    let nitro = Nitro::new(1, [Address::repeat_byte(1)]);
    let structure = |payload: &[u8]| {
        assert_eq!(nitro.admit(payload).unwrap_err().reason(), "structure");
    };
    structure(&vec![0; MAX_PAYLOAD + 1]);
    structure(&v1(&vec!["0".to_owned(); MAX_MESSAGES + 1]));
    structure(&v1(&[]));
    let entries = |entry: &[u8], count: usize| {
        let signed = [&[0; 8][..], &sized(entry)].concat().repeat(count);
        let messages = Entries { signature: &[], signed: &signed }.messages();
        messages.map(|messages| (messages.len(), messages.iter().filter(|it| it.is_ok()).count()))
    };
    assert_eq!(entries(&[0xc0], MAX_MESSAGES), Ok((MAX_MESSAGES, 0)));
    assert!(entries(&[0xc0], MAX_MESSAGES + 1).is_err());
    assert!(entries(&[], 3).is_err());
    // A message that is too long, or none, does no harm to its neighbors.
    assert_eq!(entries(&vec![0; MAX_RLP + 1], 2), Ok((2, 0)));
    let content = vec![4; 256 * 1024 + 1];
    assert_eq!(parse(&l2_message(&content), 1), Err(Unparsable::TooLong));
}

#[test]
fn a_signed_transaction_is_decoded_as_strictly_as_in_go_ethereum() {
    let golden = &golden()[1];
    let raw: Vec<Vec<u8>> = golden["cases"][1]["block"]["transactions"]
        .as_array()
        .unwrap()
        .iter()
        .skip(1)
        .map(|transaction| bytes(&transaction["raw"]).to_vec())
        .collect();
    for raw in &raw {
        assert_eq!(signed::check(raw), Ok(()));
        for cut in 0..raw.len() {
            assert!(signed::check(&raw[..cut]).is_err());
        }
        assert!(signed::check(&[raw, &[0x80][..]].concat()).is_err());
    }
    for (kind, raw) in [(0, &raw[1]), (3, &raw[2]), (0x64, &raw[2]), (0x6a, &raw[2])] {
        let raw = [&[kind], &raw[1..]].concat();
        assert_eq!(signed::check(&raw), Err(Undecodable::Type(kind)));
    }
    // The nonce of the second, 2, as 0, which go-ethereum refuses in one byte.
    let zero: Vec<u8> =
        raw[1].iter().enumerate().map(|(at, byte)| if at == 7 { 0 } else { *byte }).collect();
    assert_eq!(raw[1][7], 2);
    assert_eq!(signed::check(&zero), Err(Undecodable::Rlp(alloy_rlp::Error::LeadingZero)));
}

/// A batch of one.
fn batch(inner: &[u8]) -> Vec<u8> {
    [&[3][..], &sized(inner)].concat()
}

#[test]
fn batches_lie_sixteen_deep() {
    let transaction = bytes(&golden()[0]["cases"][0]["block"]["transactions"][1]["raw"]);
    let mut content = [&[4][..], &transaction].concat();
    for _ in 0..16 {
        content = batch(&content);
    }
    assert_eq!(hashes(&l2_message(&content), 1).len(), 1);
    assert_eq!(parse(&l2_message(&batch(&content)), 1), Err(Unparsable::Depth));
    // An empty element is an error, a cut one the end.
    assert_eq!(parse(&l2_message(&batch(&[])), 1), Err(Unparsable::Cut));
    assert_eq!(parse(&l2_message(&[3, 0, 0]), 1), Ok(Parsed::Transactions(Vec::new())));
    assert_eq!(parse(&l2_message(&[]), 1), Err(Unparsable::Cut));
}

#[test]
fn the_data_of_a_retryable_is_filled_up_with_zeros() {
    let case = &golden()[2]["cases"][4]["feed_json"];
    let mut message = feed(case).message;
    let with_data = |length: u8, data: &[u8]| {
        let mut content = message.content.to_vec();
        *content.last_mut().unwrap() = length;
        content.extend(data);
        content
    };
    let (short, full, none) = (with_data(3, &[7]), with_data(3, &[7, 0, 0]), with_data(3, &[]));
    let mut hashes_of = |content: Vec<u8>| {
        message.content = content.into();
        parse(&message, 412_346)
    };
    assert_eq!(hashes_of(short), hashes_of(full));
    assert_eq!(hashes_of(none), Err(Unparsable::Cut));
}

#[test]
fn a_batch_posting_report_is_read_with_and_without_its_last_field() {
    let word = |last: u8| B256::with_last_byte(last);
    let poster = Address::repeat_byte(9);
    let content = [&word(1)[..], &poster[..], &word(2)[..], &word(3)[..], &word(4)[..]].concat();
    let read = |content: &[u8]| {
        let mut message = l2_message(content);
        message.header.kind = MessageKind::BATCH_POSTING_REPORT;
        parse(&message, 1)
    };
    let Ok(Parsed::Report(report)) = read(&content) else { panic!() };
    assert_eq!((report.poster, report.data_hash, report.batch), (poster, word(2), 3));
    assert_eq!(report.extra_gas, 0);
    let Ok(Parsed::Report(report)) = read(&[&content[..], &5_u64.to_be_bytes()].concat()) else {
        panic!()
    };
    assert_eq!(report.extra_gas, 5);
    assert_eq!(read(&[&content[..], &[5]].concat()), Err(Unparsable::Cut));
}

#[test]
fn base_fees_of_any_size_are_read_and_nothing_else() {
    let json = golden()[0]["cases"][0]["feed_json"].to_string();
    let with = |fee: &str| {
        let json = json.replace("\"baseFeeL1\":0", &format!("\"baseFeeL1\":{fee}"));
        FeedMessage::read(json.as_bytes()).map(|feed| feed.message.header.l1_base_fee)
    };
    assert_eq!(with("18446744073709551616"), Ok(alloy_primitives::U256::from(1_u128 << 64)));
    assert_eq!(with("null"), Ok(alloy_primitives::U256::ZERO));
    let above = format!("1{}", "0".repeat(78));
    for fee in ["-1", "1.5", "1e3", "\"1\"", "true", above.as_str()] {
        assert!(with(fee).is_err(), "{fee}");
    }
    let twice = json.replacen(
        "\"delayedMessagesRead\":1",
        "\"delayedMessagesRead\":1,\"delayedMessagesRead\":1",
        1,
    );
    assert!(FeedMessage::read(twice.as_bytes()).is_err());
    let unknown = json.replacen(
        "\"delayedMessagesRead\":1",
        "\"delayedMessagesRead\":1,\"arbOSVersion\":[{}]",
        1,
    );
    assert!(FeedMessage::read(unknown.as_bytes()).is_ok());
}
