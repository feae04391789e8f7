//! Fuzz targets: every decoder, and the rewriter. A target panics if an invariant is violated.
//!
//! `cargo xtask fuzz` runs them with libFuzzer; the sidecar's tests include this file and run the
//! corpus and mutations of it.

mod nitro_choice;

use std::{cell::RefCell, collections::BTreeMap, io::Write, sync::LazyLock};

use espresso_proofs::{
    Answer, BlockPath, Checkpoint, Evidence, Header, NamespaceBlock, NamespaceTable, TaggedBase64,
    listed,
};
use finality_core::rewrite::{Inspection, Rewriter, Rules, Scope};
use finality_sidecar::{
    config::{Config, Environment, Secrets, Values},
    l1::FinalizedState,
    node::Block,
    rollup::{
        nitro::{FeedMessage, Message, Parsed, Payload, parse},
        op::{Deposit, OpBatch, RollupConfig, SyncStatus, decode_l1_origin, recover_signer},
    },
    store::StateFile,
};

pub use nitro_choice::nitro_choice;

/// Name and function of a target.
pub type Target = (&'static str, fn(&[u8]));

/// All targets; the corpus has a folder for each.
pub const TARGETS: [Target; 15] = [
    ("op_payload", op_payload),
    ("op_batch", op_batch),
    ("info_deposit", info_deposit),
    ("nitro_payload", nitro_payload),
    ("nitro_message", nitro_message),
    ("nitro_choice", nitro_choice),
    ("namespace_range", namespace_range),
    ("namespace_answer", namespace_answer),
    ("namespace_payload", namespace_payload),
    ("block_path", block_path),
    ("hotshot_header", hotshot_header),
    ("node_json", node_json),
    ("state_file", state_file),
    ("config", config),
    ("rewriter", rewriter),
];

/// A payload of the namespace: signature and body.
pub fn op_payload(data: &[u8]) {
    if let Ok(signed) = recover_signer(data) {
        assert!(data.ends_with(signed.body));
        op_batch(signed.body);
    }
}

/// The RLP of a batch with its header. The decoded parts are slices of the input.
pub fn op_batch(data: &[u8]) {
    if let Ok(batch) = OpBatch::decode(data) {
        let length = batch.transactions.iter().map(<[u8]>::len).sum::<usize>();
        assert_eq!(batch.transactions.iter().count(), batch.transactions.len());
        assert!(length + batch.info_deposit.len() < data.len());
        assert!(batch.transactions.iter().all(|transaction| !transaction.is_empty()));
        let deposit = Deposit::decode(batch.info_deposit).unwrap();
        assert_eq!(decode_l1_origin(deposit.data).unwrap(), batch.l1_origin);
        assert_eq!(batch.facts().number, batch.number);
    }
}

/// An L1-info deposit or its call data.
pub fn info_deposit(data: &[u8]) {
    if let Ok(deposit) = Deposit::decode(data) {
        drop(decode_l1_origin(deposit.data));
    }
    drop(decode_l1_origin(data));
    drop(FinalizedState::decode(data));
}

/// A payload of a Nitro chain: what of it is signed, and each of its messages.
pub fn nitro_payload(data: &[u8]) {
    match Payload::read(data) {
        Ok(Payload::V0(entries)) => {
            for message in entries.messages().into_iter().flatten().flatten() {
                parsed(&message);
            }
        }
        Ok(Payload::V1(parts)) => {
            for feed in parts.messages().into_iter().flatten().flatten() {
                parsed(&feed.message);
                assert_ne!(feed.signed_digest(1), feed.signed_digest_v2(1));
            }
        }
        Err(_) => {}
    }
}

/// A message of a Nitro chain in RLP, or in JSON. There is one RLP of a message: what is signed is
/// what was read.
pub fn nitro_message(data: &[u8]) {
    if let Ok(feed) = FeedMessage::read(data) {
        parsed(&feed.message);
    }
    if let Ok(message) = Message::decode(7, data) {
        parsed(&message);
        let mut encoded = Vec::new();
        message.encode_incoming(&mut encoded);
        assert!(data.windows(encoded.len()).any(|part| part == encoded));
    }
}

fn parsed(message: &Message<'_>) {
    drop(message.origin());
    if let Ok(Parsed::Transactions(hashes)) = parse(message, 412_346) {
        assert!(hashes.len() <= message.content.len().max(2));
    }
}

/// The answer of a query service for a range; the first byte is the number of blocks.
pub fn namespace_range(data: &[u8]) {
    let Some((count, body)) = data.split_first() else { return };
    let count = u64::from(*count);
    if let Ok(blocks) = listed::read_range(body, 12_648_430, count) {
        assert_eq!(blocks.len() as u64, count);
        assert!(blocks.iter().map(NamespaceBlock::length).sum::<usize>() < body.len());
    }
}

/// The answer for one namespace in a block, checked against a header of the vectors: whatever the
/// bytes, either nothing is proven or what is true.
pub fn namespace_answer(data: &[u8]) {
    static TRUTH: LazyLock<(Header, u32, NamespaceBlock)> = LazyLock::new(|| {
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let cases = read(include_str!("../../proofs/testdata/proofs_namespace.json"));
        let case = &cases["cases"][1];
        let later = read(include_str!("../../proofs/testdata/proofs_v7.json"));
        let mut header = later["headers"]["base"].clone();
        header["fields"]["ns_table"]["bytes"] = case["ns_table"].clone();
        header["fields"]["payload_commitment"] = case["payload_commitment"].clone();
        let namespace = case["namespace"].as_u64().unwrap() as u32;
        let answer = serde_json::json!([case["answer"]]).to_string();
        let listed = listed::read_range(answer.as_bytes(), namespace, 1).unwrap();
        let header = Header::read(header.to_string().as_bytes()).unwrap();
        (header, namespace, listed.into_iter().next().unwrap())
    });
    let (header, namespace, listed) = &*TRUTH;
    for answer in [Answer::read(data), Answer::read_proof(data)].into_iter().flatten() {
        match answer.check(header, *namespace, 10, &[]) {
            Ok(evidence @ Evidence::Opened(_)) => {
                assert_eq!(answer.into_block(&evidence), *listed);
            }
            Ok(evidence) => panic!("{evidence:?}"),
            Err(error) => _ = error.reason().code(),
        }
    }
}

/// The bytes of a namespace, and a table.
pub fn namespace_payload(data: &[u8]) {
    let block = NamespaceBlock::of_payload(data.to_vec());
    assert!(block.payloads().len() <= data.len() / 4);
    assert!((0..block.payloads().len()).all(|index| block.payload(index).is_some()));
    if let Ok(table) = NamespaceTable::decode(data) {
        assert_eq!(table.entries().len(), data.len() / 8);
        assert!(table.entries().iter().all(|(id, _)| table.contains(*id)));
    }
}

/// A path in the block tree. Only one leads to the root.
pub fn block_path(data: &[u8]) {
    static TRUTH: LazyLock<(BlockPath, Checkpoint)> = LazyLock::new(|| {
        let vectors = include_str!("../../proofs/testdata/proofs_block_tree.json");
        let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
        let proof = &vectors["devnet_proof"];
        let path = BlockPath::read(proof["proof"].to_string().as_bytes()).unwrap();
        let root = path.root(44).light_client_root();
        (path, Checkpoint { height: 44, root })
    });
    let (truth, checkpoint) = &*TRUTH;
    if let Ok(path) = BlockPath::read(data) {
        assert_eq!(path.tree().headers(), path.height() + 1);
        if checkpoint.check_path(&path).is_ok() && path.height() == truth.height() {
            assert_eq!((path.commitment(), path.tree()), (truth.commitment(), truth.tree()));
        }
    }
}

/// The header of a HotShot block.
pub fn hotshot_header(data: &[u8]) {
    if let Ok(header) = Header::read(data) {
        assert!(header.commitment().is_some() || header.committed().is_err());
    }
    if let Ok(text) = std::str::from_utf8(data) {
        drop(TaggedBase64::parse(text));
    }
}

/// Answers of the node and of op-node.
pub fn node_json(data: &[u8]) {
    if let Ok(block) = serde_json::from_slice::<Block>(data) {
        for transaction in block.transactions.iter().take(1) {
            _ = transaction.is_type(0x7e);
            info_deposit(&transaction.input);
        }
    }
    if let Ok(config) = serde_json::from_slice::<RollupConfig>(data) {
        for number in [0, 1, config.genesis.l2.number, u64::MAX] {
            _ = config.timestamp(number);
        }
    }
    if let Ok(status) = serde_json::from_slice::<SyncStatus>(data) {
        _ = status.ready_finalized_l2();
    }
}

/// A state file.
pub fn state_file(data: &[u8]) {
    if let Ok(file) = StateFile::parse(data) {
        assert_ne!(file.record.fallback_height, Some(0));
    }
}

/// A configuration file.
pub fn config(data: &[u8]) {
    thread_local! {
        static FILE: RefCell<tempfile::NamedTempFile> =
            RefCell::new(tempfile::NamedTempFile::new().unwrap());
    }
    FILE.with_borrow_mut(|file| {
        file.as_file().set_len(0).unwrap();
        std::io::Seek::rewind(file).unwrap();
        file.write_all(data).unwrap();
        let values = Values::gather(&BTreeMap::new(), Some(file.path()), &Environment::default());
        if let Err(problems) = Config::from_values(&values) {
            assert!(problems.iter().all(|problem| !problem.to_string().is_empty()));
        }
        drop(finality_sidecar::config::describe(&values, Secrets::Masked));
    });
}

/// A body in both scopes, as a whole and in chunks: no tag is left, all other bytes are unchanged,
/// and the chunks make no difference.
pub fn rewriter(data: &[u8]) {
    const NUMBER: u64 = 0xfeed_face_cafe_beef;
    thread_local! {
        static REWRITERS: [Rewriter; 2] = [Scope::Params, Scope::BlockParameters].map(|scope| {
            let rules = Rules { scope, max_batch_length: 4, max_depth: 16, ..Rules::default() };
            Rewriter::new(rules).unwrap()
        });
    }
    REWRITERS.with(|rewriters| {
        for rewriter in rewriters {
            let inspection = rewriter.inspect(data);
            for size in [1, data.len() / 3 + 1, data.len() + 1] {
                match (stream(rewriter, data, size, NUMBER), &inspection) {
                    (Ok(forwarded), Inspection::Untouched) => assert_eq!(forwarded, data),
                    (Ok(forwarded), Inspection::Tagged(tagged)) => {
                        assert_eq!(forwarded, tagged.splice(data, NUMBER));
                    }
                    (Err(response), Inspection::Refused(_)) => assert!(is_json(&response)),
                    (outcome, inspection) => panic!("{outcome:?} instead of {inspection:?}"),
                }
            }
            match inspection {
                Inspection::Untouched => {}
                Inspection::Tagged(tagged) => {
                    let spliced = tagged.splice(data, NUMBER);
                    assert!(is_json(&spliced));
                    assert_eq!(rewriter.inspect(&spliced), Inspection::Untouched);
                    only_tags_differ(data, &spliced, tagged.tags(), NUMBER);
                }
                Inspection::Refused(denied) => {
                    let response = denied.refuse(data);
                    assert!(response.is_empty() || is_json(&response));
                }
            }
        }
    });
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

/// What is forwarded of a body in chunks, or the response that refuses it.
fn stream(rewriter: &Rewriter, body: &[u8], size: usize, number: u64) -> Result<Vec<u8>, Vec<u8>> {
    let mut stream = rewriter.stream();
    let mut forwarded = Vec::new();
    for chunk in body.chunks(size) {
        let rewrite = stream.push(chunk).map_err(|refusal| stream.refuse(&refusal))?;
        let number = || Ok::<_, Vec<u8>>(number);
        let replaced = rewrite.write(chunk, number, &mut forwarded)?;
        forwarded.extend(&chunk[replaced..]);
    }
    match stream.finish() {
        Ok(rest) => forwarded.extend(rest),
        Err(refusal) => return Err(stream.refuse(&refusal)),
    }
    Ok(forwarded)
}

/// Asserts that the number takes the place of tags, and that nothing else has changed.
fn only_tags_differ(mut before: &[u8], mut after: &[u8], tags: usize, number: u64) {
    let value = format!("\"{number:#x}\"").into_bytes();
    if before.windows(value.len()).any(|window| window == value) {
        return;
    }
    for _ in 0..tags {
        let at = after.windows(value.len()).position(|window| window == value).unwrap();
        assert_eq!(before[..at], after[..at]);
        let mut strings = serde_json::Deserializer::from_slice(&before[at..]).into_iter();
        let tag: String = strings.next().unwrap().unwrap();
        assert!(tag.eq_ignore_ascii_case("espresso"));
        before = &before[at + strings.byte_offset()..];
        after = &after[at + value.len()..];
    }
    assert_eq!(before, after);
}
