//! What the copies of a message prove, against blocks that Nitro's own ArbOS produced.

use std::{collections::BTreeMap, sync::Arc};

use alloy_primitives::{U256, hex, keccak256};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures::executor::block_on;
use parking_lot::Mutex;
use secp256k1::{SecretKey, ecdsa::RecoverableSignature};
use serde_json::Value;

use super::{
    copy::batch_of,
    tests::{bytes, feed, golden, parsed, vectors},
    *,
};
use crate::{
    batchers::{Authority, BatcherTenure},
    config::NitroRequire as Require,
    eth::BlockId,
    head::HeadBlock,
    l1::{DelayedMessage, View},
    node::Transaction,
    rollup::{
        Batch, Difference, Judgment, OutOfPlay, Payloads, Proven, Rollup, Uncompared, Waiting,
        recover,
    },
    upstream::UpstreamError,
};

type Kept = Batch<Facts, Copy>;

/// Who signs.
fn key() -> SecretKey {
    SecretKey::from_secret_bytes([5; 32]).unwrap()
}

fn sign(digest: B256) -> Vec<u8> {
    let message = secp256k1::Message::from_digest(digest.0);
    let (id, compact) =
        RecoverableSignature::sign_ecdsa_recoverable(message, &key()).serialize_compact();
    [&compact[..], &[id.to_u8()]].concat()
}

pub(crate) fn signer() -> Address {
    recover(&sign(B256::ZERO), B256::ZERO).unwrap()
}

/// The parent chain: the delayed inbox by index, up to where it is final.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parent {
    messages: Arc<Mutex<BTreeMap<u64, DelayedMessage>>>,
    /// How many batches there are.
    pub(crate) batches: Arc<Mutex<u64>>,
    is_down: bool,
}

impl ParentSource for Parent {
    async fn finalized(&self) -> Result<(BlockId, u64), UpstreamError> {
        match self.is_down {
            true => Err(UpstreamError::Connection("it is down".into())),
            false => Ok((BlockId { number: 9, hash: B256::ZERO }, 0)),
        }
    }

    async fn delayed_count(&self, _: BlockId) -> Result<u64, UpstreamError> {
        Ok(self.messages.lock().keys().next_back().map_or(0, |last| last + 1))
    }

    async fn delayed_message(
        &self,
        place: DelayedPlace,
        _: BlockId,
    ) -> Result<Option<DelayedMessage>, UpstreamError> {
        let message = self.messages.lock().get(&place.index).cloned();
        Ok(message.filter(|message| message.timestamp == place.timestamp))
    }

    async fn batch_count(&self, _: BlockId) -> Result<u64, UpstreamError> {
        Ok(*self.batches.lock())
    }
}

impl Parent {
    /// A parent chain that has these messages, as far as they are delayed.
    fn of<'a>(messages: impl IntoIterator<Item = &'a FeedMessage>) -> Self {
        let parent = Self::default();
        for FeedMessage { message, .. } in messages {
            let MessageHeader { kind, poster, block_number, timestamp, request_id, l1_base_fee } =
                message.header;
            let Some(id) = request_id else { continue };
            let delayed = DelayedMessage {
                kind: kind.0,
                sender: poster,
                block_number,
                timestamp,
                base_fee: l1_base_fee,
                data_hash: keccak256(&message.content),
                data: Some(message.content.to_vec().into()),
            };
            parent.messages.lock().insert(U256::from_be_bytes(id.0).to(), delayed);
        }
        parent
    }
}

fn chain(parent: Parent, require: Require, chain_id: u64) -> NitroChain<Parent> {
    let chain = NitroChain::new(parent, None, require).known_as(chain_id);
    chain.batchers().extend([signer()]);
    chain
}

/// A copy of a message of the feed, as one scheme signs it.
fn copy(feed: &FeedMessage, scheme: Scheme, chain_id: u64) -> Kept {
    let digest = match scheme {
        Scheme::V0 => B256::ZERO,
        Scheme::Signature => feed.signed_digest(chain_id),
        Scheme::SignatureV2 => feed.signed_digest_v2(chain_id),
    };
    let posted = Posted {
        origin: feed.message.origin().unwrap(),
        message: feed.message.clone(),
        block_hash: feed.block_hash,
        metadata: feed.block_metadata.len(),
        signatures: vec![Signed { scheme, signer: signer(), digest }],
    };
    batch_of(&posted, feed.message.position, 0, chain_id, |_| true).unwrap()
}

/// Compares, and asks the parent chain what must be known for that.
fn compare(
    chain: &NitroChain<Parent>,
    copies: &[Kept],
    below: &Below,
    block: &NitroBlock,
) -> Result<Proven, Uncompared<DelayedPlace>> {
    let copies: Vec<_> = copies.iter().collect();
    loop {
        match chain.compare(&copies, Payloads::default(), below, block) {
            Ok(verified) => {
                assert_eq!(verified.block.hash, Some(block.hash));
                assert_eq!(verified.below, Below::from(block));
                return Ok(verified.proven);
            }
            Err(Uncompared::Ask(place)) => ask(chain, place),
            Err(other) => return Err(other),
        }
    }
}

fn ask(chain: &NitroChain<Parent>, place: DelayedPlace) {
    block_on(chain.ask_parent(place));
}

/// The names of a header's fields in JSON-RPC, in the order of its RLP.
const FIELDS: [&str; 16] = [
    "parentHash",
    "sha3Uncles",
    "miner",
    "stateRoot",
    "transactionsRoot",
    "receiptsRoot",
    "logsBloom",
    "difficulty",
    "number",
    "gasLimit",
    "gasUsed",
    "timestamp",
    "extraData",
    "mixHash",
    "nonce",
    "baseFeePerGas",
];
const QUANTITIES: [&str; 6] =
    ["difficulty", "number", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas"];

/// A golden block as a node answers it.
fn block_json(block: &Value) -> Value {
    let rlp = bytes(&block["header_rlp"]);
    let mut fields = alloy_rlp::Header::decode_bytes(&mut &rlp[..], true).unwrap();
    let mut json = serde_json::json!({"hash": block["hash"]});
    for name in FIELDS {
        let value = alloy_rlp::Header::decode_bytes(&mut fields, false).unwrap();
        let digits = hex::encode(value);
        let quantity = digits.trim_start_matches('0');
        let quantity = if quantity.is_empty() { "0" } else { quantity };
        let digits = if QUANTITIES.contains(&name) { quantity } else { &digits };
        json[name] = format!("0x{digits}").into();
    }
    assert!(fields.is_empty());
    let transactions = block["transactions"].as_array().unwrap().iter().map(|transaction| {
        let raw = bytes(&transaction["raw"]);
        let kind = transaction["type"].as_u64().unwrap();
        // Only the call data of internal transactions matters: their last field.
        let input = if kind == 0x6a { &raw[raw.len() - 132..] } else { &[] };
        serde_json::json!({
            "hash": transaction["hash"],
            "type": format!("{kind:#x}"),
            "input": format!("0x{}", hex::encode(input)),
        })
    });
    json["transactions"] = transactions.collect();
    json
}

fn block(json: &Value) -> Result<NitroBlock, String> {
    serde_json::from_value(json.clone()).map_err(|error| error.to_string())
}

/// What the genesis block of the golden chains is to the next.
fn genesis(golden: &Value) -> Below {
    Below {
        number: 0,
        hash: parsed(&golden["genesis"]["hash"]),
        timestamp: 1_700_000_000,
        delayed_messages_read: golden["genesis"]["nonce"].as_u64().unwrap(),
        l1_block_number: 0,
        arbos_version: golden["arbos_version"].as_u64().unwrap(),
    }
}

/// A golden block, its message, and what is below it.
struct Golden {
    json: Value,
    block: NitroBlock,
    feed: FeedMessage,
    feed_json: Value,
    below: Below,
    chain_id: u64,
}

impl Golden {
    fn copy(&self, scheme: Scheme) -> Kept {
        copy(&self.feed, scheme, self.chain_id)
    }

    fn chain(&self, require: Require) -> NitroChain<Parent> {
        chain(Parent::of([&self.feed]), require, self.chain_id)
    }

    /// The message as the posting service posts it, signed by one scheme of the feed, after a
    /// change that leaves the digest as it is.
    fn payload(&self, scheme: Scheme, change: impl Fn(&mut Value)) -> Vec<u8> {
        let mut json = self.feed_json.clone();
        let (member, digest) = match scheme {
            Scheme::SignatureV2 => ("signatureV2", self.feed.signed_digest_v2(self.chain_id)),
            _ => ("signature", self.feed.signed_digest(self.chain_id)),
        };
        json.as_object_mut().unwrap().remove("signatureV2");
        json[member] = BASE64_STANDARD.encode(sign(digest)).into();
        change(&mut json);
        let sized = |text: &str| [&(text.len() as u64).to_be_bytes()[..], text.as_bytes()].concat();
        [sized("\"V1\""), sized(&json.to_string())].concat()
    }

    /// A copy under the same signature that hides the hash of the block in the metadata.
    fn twisted(&self) -> Vec<u8> {
        self.payload(Scheme::SignatureV2, |json| {
            let hash = self.feed.block_hash.unwrap();
            let metadata = [hash.as_slice(), &self.feed.block_metadata].concat();
            json["blockMetadata"] = BASE64_STANDARD.encode(metadata).into();
            json.as_object_mut().unwrap().remove("blockHash");
        })
    }

    /// The message with the headers of others in its content, one after another: first copies
    /// under the same signature that read as one of those, last the message itself.
    fn embedding(&self, inner: &[(u64, MessageHeader)]) -> Vec<Vec<u8>> {
        let signed = |count: u64, header: &MessageHeader| {
            let mut bytes = count.to_be_bytes().to_vec();
            bytes.push(header.kind.0);
            bytes.extend(header.poster);
            bytes.extend(header.block_number.to_be_bytes());
            bytes.extend(header.timestamp.to_be_bytes());
            bytes.extend(header.request_id.into_iter().flatten());
            bytes
        };
        let parts: Vec<_> = inner.iter().map(|(count, header)| signed(*count, header)).collect();
        let mut honest = self.feed.clone();
        honest.message.content = parts.concat().into();
        let signature = BASE64_STANDARD.encode(sign(honest.signed_digest_v2(self.chain_id)));
        let message = &honest.message;
        let (mut before, mut posted) = (honest.block_metadata.clone(), Vec::new());
        before.extend(signed(message.delayed_messages_read, &message.header));
        let payload = |metadata: &[u8], count: u64, header: &MessageHeader, content: &[u8]| {
            self.payload(Scheme::SignatureV2, |json| {
                json["signatureV2"] = signature.clone().into();
                json["blockMetadata"] = BASE64_STANDARD.encode(metadata).into();
                let message = &mut json["message"];
                message["delayedMessagesRead"] = count.into();
                message["message"]["l2Msg"] = BASE64_STANDARD.encode(content).into();
                let fields = &mut message["message"]["header"];
                fields["kind"] = header.kind.0.into();
                fields["sender"] = header.poster.to_string().into();
                fields["blockNumber"] = header.block_number.into();
                fields["timestamp"] = header.timestamp.into();
                fields["requestId"] = header.request_id.map(|id| id.to_string()).into();
            })
        };
        for (at, (count, header)) in inner.iter().enumerate() {
            posted.push(payload(&before, *count, header, &parts[at + 1..].concat()));
            before.extend(&parts[at]);
        }
        posted.push(payload(
            &honest.block_metadata,
            message.delayed_messages_read,
            &message.header,
            &message.content,
        ));
        posted
    }

    /// What the message under the first scheme of the feed proves, with its payload if that is
    /// asked for.
    fn inputs(&self, block: &NitroBlock) -> Result<Proven, Uncompared<DelayedPlace>> {
        let (chain, kept) = (self.chain(Require::Inputs), self.copy(Scheme::Signature));
        match compare(&chain, &[kept], &self.below, block) {
            Err(Uncompared::Payload(0)) => {
                let read =
                    BTreeMap::from([(0, (Some(self.payload(Scheme::Signature, |_| {})), 0))]);
                let compared = chain.compare(&[&kept], Payloads::new(&read), &self.below, block);
                compared.map(|verified| verified.proven)
            }
            other => other,
        }
    }

    /// What the message proves of a block under each requirement.
    fn proofs(&self, block: &NitroBlock) -> [Result<Proven, Uncompared<DelayedPlace>>; 2] {
        let kept = self.copy(Scheme::SignatureV2);
        let hash = compare(&self.chain(Require::Hash), &[kept], &self.below, block);
        [hash, self.inputs(block)]
    }
}

fn all_golden() -> Vec<Golden> {
    let mut all = Vec::new();
    for golden in golden() {
        let chain_id = golden["chain_id"].as_u64().unwrap();
        let mut below = genesis(&golden);
        for case in golden["cases"].as_array().unwrap() {
            let feed = feed(&case["feed_json"]);
            let json = block_json(&case["block"]);
            let block = block(&json).unwrap();
            let next = Below::from(&block);
            let feed_json = case["feed_json"].clone();
            all.push(Golden { json, block, feed, feed_json, below, chain_id });
            below = next;
        }
    }
    assert_eq!(all.len(), 30);
    all
}

/// A golden chain for the verifier: its blocks from genesis on, what is posted for each after that
/// under one scheme, each with its twist before it, and its parent chain.
pub(crate) fn golden_chain(scheme: Scheme) -> (u64, Vec<NitroBlock>, Vec<[Vec<u8>; 2]>, Parent) {
    let all: Vec<_> = all_golden().into_iter().take(10).collect();
    let first = &all[0];
    let genesis = NitroBlock {
        number: first.below.number,
        hash: first.below.hash,
        parent_hash: B256::ZERO,
        poster: Address::ZERO,
        timestamp: first.below.timestamp,
        delayed_messages_read: first.below.delayed_messages_read,
        l1_block_number: first.below.l1_block_number,
        arbos_version: first.below.arbos_version,
        transactions: Vec::new(),
    };
    let blocks = all.iter().map(|golden| golden.block.clone());
    let blocks = std::iter::once(genesis).chain(blocks).collect();
    let posted = all.iter().map(|golden| [golden.twisted(), golden.payload(scheme, |_| {})]);
    let parent = Parent::of(all.iter().map(|golden| &golden.feed));
    (first.chain_id, blocks, posted.collect(), parent)
}

/// What is posted for the same blocks where others have put headers of messages into what the
/// sequencer has signed: as `inner` says by what is below.
pub(crate) fn embedded_chain(
    inner: impl Fn(&Below) -> Vec<(u64, MessageHeader)>,
) -> Vec<Vec<Vec<u8>>> {
    let all = all_golden().into_iter().take(10);
    let posted = all.map(|golden| match golden.feed.message.header.request_id {
        Some(_) => vec![golden.payload(Scheme::SignatureV2, |_| {})],
        None => golden.embedding(&inner(&golden.below)),
    });
    posted.collect()
}

/// What is posted for the same blocks if the parent chain has had a reorg: before each delayed
/// message the one of before it, which was delivered at another time and has another block.
pub(crate) fn chain_after_a_reorg() -> Vec<Vec<Vec<u8>>> {
    let all = all_golden().into_iter().take(10);
    let posted = all.map(|golden| {
        let honest = golden.payload(Scheme::SignatureV2, |_| {});
        let mut old = golden.feed.clone();
        if old.message.header.request_id.is_none() {
            return vec![honest];
        }
        old.message.header.timestamp -= 1;
        old.block_hash = Some(B256::repeat_byte(1));
        let signature = BASE64_STANDARD.encode(sign(old.signed_digest_v2(golden.chain_id)));
        let old = golden.payload(Scheme::SignatureV2, |json| {
            json["signatureV2"] = signature.clone().into();
            json["blockHash"] = B256::repeat_byte(1).to_string().into();
            json["message"]["message"]["header"]["timestamp"] = old.message.header.timestamp.into();
        });
        vec![old, honest]
    });
    posted.collect()
}

/// A message that claims to be of the delayed inbox.
pub(crate) fn claimed(count: u64, timestamp: u64) -> (u64, MessageHeader) {
    let header = MessageHeader {
        kind: MessageKind::L2,
        poster: Address::repeat_byte(1),
        block_number: 1,
        timestamp,
        request_id: Some(B256::from(U256::from(count - 1))),
        l1_base_fee: U256::ZERO,
    };
    (count, header)
}

impl Parent {
    /// Takes what is not final away.
    pub(crate) fn take(&self) -> BTreeMap<u64, DelayedMessage> {
        std::mem::take(&mut self.messages.lock())
    }

    /// What the parent chain has finalized.
    pub(crate) fn put(&self, messages: BTreeMap<u64, DelayedMessage>) {
        self.messages.lock().extend(messages);
    }
}

#[test]
fn every_golden_block_is_proven_by_its_message() {
    for golden in all_golden() {
        assert_eq!(golden.proofs(&golden.block), [Ok(Proven::Hash), Ok(Proven::Inputs)]);
        let unsigned = compare(
            &golden.chain(Require::Hash),
            &[golden.copy(Scheme::Signature)],
            &golden.below,
            &golden.block,
        );
        assert_eq!(unsigned, Err(Uncompared::Waits(Waiting::HashUnsigned)));
    }
}

/// As a V0 poster posts it: without what the parent chain has.
#[test]
fn what_a_v0_poster_leaves_out_comes_from_the_parent_chain() {
    let mut delayed = 0;
    for golden in all_golden() {
        let mut posted = golden.feed.clone();
        if posted.message.header.request_id.is_none() {
            continue;
        }
        posted.message.content = Vec::new().into();
        (posted.message.batch_gas, posted.message.batch_data) = (None, None);
        delayed += 1;
        let kept = copy(&posted, Scheme::V0, golden.chain_id);
        let chain = golden.chain(Require::Inputs);
        let proof = compare(&chain, &[kept], &golden.below, &golden.block);
        assert_eq!(proof, Ok(Proven::Inputs));
        let chain = golden.chain(Require::Inputs);
        for message in chain.parent.messages.lock().values_mut() {
            message.data = Some(vec![1].into());
        }
        let proof = compare(&chain, &[kept], &golden.below, &golden.block);
        assert!(matches!(proof, Err(Uncompared::Waits(Waiting::Parent { .. }))), "{proof:?}");
    }
    assert!(delayed > 3);
}

/// The hash of a block in JSON, from the words of its refusal.
fn rehashed(json: &Value) -> Value {
    let problem = block(json).unwrap_err();
    let at = problem.find("0x").unwrap();
    problem[at..at + 66].into()
}

/// A header with another value of a field.
fn turned(json: &Value, name: &str) -> Value {
    let text = json[name].as_str().unwrap();
    let (head, last) = text.split_at(text.len() - 1);
    let mut json = json.clone();
    json[name] = format!("{head}{}", if last == "1" { "2" } else { "1" }).into();
    json
}

/// What passes under `inputs` is what `docs/nitro.md` says.
#[test]
fn a_golden_block_with_another_field_is_refused() {
    for golden in all_golden() {
        let json = &golden.json;
        for name in FIELDS.into_iter().filter(|name| *name != "extraData" || json[name] != "0x") {
            let mut other = turned(json, name);
            assert!(block(&other).is_err(), "{name}: the hash is another");
            // A node that hashes what it answers.
            other["hash"] = rehashed(&other);
            let [hash, inputs] = golden.proofs(&block(&other).unwrap());
            assert!(hash.is_err(), "{name}");
            // The inputs tell nothing of the others.
            let told = ["parentHash", "miner", "number", "timestamp", "nonce"].contains(&name);
            assert_eq!(inputs.is_err(), told, "{name}");
        }
    }
}

#[test]
fn a_golden_block_with_other_transactions_is_refused() {
    for golden in all_golden() {
        let transactions = &golden.block.transactions;
        let refused = |change: &dyn Fn(&mut Vec<Transaction>)| {
            let mut block = golden.block.clone();
            change(&mut block.transactions);
            golden.proofs(&block).map(|proof| proof.is_err())
        };
        // The hash of the header covers them; the node's list is not hashed again.
        let by_inputs = |change: &dyn Fn(&mut Vec<Transaction>)| refused(change)[1];
        let listed = |transaction: &Transaction| !transaction.is_type(0x68);
        for at in 0..transactions.len() {
            if !listed(&transactions[at]) {
                continue;
            }
            let other = B256::repeat_byte(7);
            assert!(at == 0 || by_inputs(&|all| all[at].hash = other));
            assert!(by_inputs(&|all| all.push(all[at].clone())), "{at} twice");
            if at > 0 && transactions.get(at + 1).is_some_and(listed) {
                assert!(by_inputs(&|all| all.swap(at, at + 1)), "{at} swapped");
            }
        }
        assert!(by_inputs(&|all| drop(all.remove(0))));
        assert!(by_inputs(&|all| all[0].input = vec![0; 132].into()));
        let more = transactions.iter().skip(1).any(listed);
        assert!(!more || by_inputs(&|all| all.rotate_left(1)));
    }
}

/// ArbOS drops what cannot be executed: it passes under `inputs`, as `docs/nitro.md` says.
#[test]
fn a_block_that_lacks_a_transaction_is_compared_with_the_payload() {
    let mut tried = 0;
    for golden in all_golden() {
        let kept = golden.copy(Scheme::Signature);
        let Transactions::Listed { count, .. } = kept.content.transactions else { continue };
        let last = golden.block.transactions.iter().rposition(|it| !it.is_type(0x68));
        let Some(last) = last.filter(|last| *last > 0 && count > 0) else { continue };
        let mut block = golden.block.clone();
        block.transactions.remove(last);
        let chain = golden.chain(Require::Inputs);
        let proof = compare(&chain, &[kept], &golden.below, &block);
        assert_eq!(proof, Err(Uncompared::Payload(0)));
        assert_eq!(golden.inputs(&block), Ok(Proven::Inputs));
        for useless in [None, Some(Vec::new())] {
            let read = BTreeMap::from([(0, (useless, 0))]);
            let compared = chain.compare(&[&kept], Payloads::new(&read), &golden.below, &block);
            assert!(matches!(compared, Err(Uncompared::Differs(_))));
        }
        tried += 1;
    }
    assert!(tried > 3);
}

/// A golden block that has read a message of the delayed inbox, and one that has not.
fn delayed_and_not() -> [Golden; 2] {
    let (delayed, others): (Vec<_>, Vec<_>) = all_golden()
        .into_iter()
        .partition(|golden| golden.feed.message.header.request_id.is_some());
    [delayed, others].map(|all| all.into_iter().next().unwrap())
}

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

fn view() -> View {
    let mut view = View::new(Ok(None));
    view.know_authority(Authority::fixed(vec![BatcherTenure::always(signer())]).into());
    view
}

fn judged(
    chain: &NitroChain<Parent>,
    below: &Below,
    kept: &Kept,
    view: &View,
) -> Judgment<DelayedPlace> {
    let tip = HeadBlock { number: kept.facts.number - 1, hash: None, l1_origin: None };
    loop {
        match chain.judge(&tip, below, kept, view) {
            Judgment::Ask(place) => ask(chain, place),
            verdict => return verdict,
        }
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
