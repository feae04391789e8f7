//! Blocks that Nitro's own ArbOS produced, their messages as they are posted, and their parent
//! chain.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use alloy_primitives::{U256, hex, keccak256};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures::executor::block_on;
use parking_lot::Mutex;
use secp256k1::{SecretKey, ecdsa::RecoverableSignature};
use serde_json::Value;

use super::{
    super::{copy::batch_of, *},
    *,
};
use crate::{
    batchers::{Authority, BatcherTenure},
    config::NitroRequire as Require,
    eth::BlockId,
    head::HeadBlock,
    l1::{DelayedMessage, Sought, View},
    rollup::{Batch, Judgment, Payloads, Proven, Rollup, Uncompared, recover},
    upstream::UpstreamError,
};

pub(super) type Kept = Batch<Facts, Copy>;

/// Who signs.
pub(super) fn key() -> SecretKey {
    SecretKey::from_secret_bytes([5; 32]).unwrap()
}

pub(super) fn sign(digest: B256) -> Vec<u8> {
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
    pub(super) messages: Arc<Mutex<BTreeMap<u64, DelayedMessage>>>,
    /// How many batches there are.
    pub(crate) batches: Arc<Mutex<u64>>,
    pub(super) is_down: bool,
    /// Whether no event tells of what is not at its time.
    pub(crate) lags: Arc<Mutex<bool>>,
    /// How long it looks for a message.
    pub(crate) delay: Arc<Mutex<Duration>>,
    /// When its final block was made.
    pub(crate) made_at: Arc<Mutex<u64>>,
    /// Whether what is final must be said once more.
    pub(crate) is_unread: Arc<Mutex<bool>>,
    /// How often it was asked.
    calls: Arc<Mutex<u64>>,
    /// How often it was asked for a message.
    asked: Arc<Mutex<u64>>,
}

impl ParentSource for Parent {
    async fn finalized(&self) -> Result<(Option<BlockId>, u64), UpstreamError> {
        *self.calls.lock() += 1;
        match self.is_down {
            true => Err(UpstreamError::Connection("it is down".into())),
            false if *self.is_unread.lock() => Ok((None, 0)),
            false => Ok((Some(BlockId { number: 9, hash: B256::ZERO }), 0)),
        }
    }

    async fn delayed_count(&self, _: BlockId) -> Result<u64, UpstreamError> {
        *self.calls.lock() += 1;
        Ok(self.messages.lock().keys().next_back().map_or(0, |last| last + 1))
    }

    async fn delayed_message(
        &self,
        place: DelayedPlace,
        _: BlockId,
    ) -> Result<Sought<DelayedMessage>, UpstreamError> {
        *self.calls.lock() += 1;
        *self.asked.lock() += 1;
        let delay = *self.delay.lock();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let message = self.messages.lock().get(&place.index).cloned();
        Ok(match message.filter(|message| message.timestamp == place.timestamp) {
            Some(message) => Sought::Found(message),
            None if *self.lags.lock() => Sought::Untold,
            None => Sought::Elsewhere,
        })
    }

    async fn made_at(&self, _: BlockId) -> Result<u64, UpstreamError> {
        *self.calls.lock() += 1;
        Ok(*self.made_at.lock())
    }

    async fn batch_count(&self, _: BlockId) -> Result<u64, UpstreamError> {
        *self.calls.lock() += 1;
        Ok(*self.batches.lock())
    }
}

impl Parent {
    /// A parent chain that has these messages, as far as they are delayed.
    pub(super) fn of<'a>(messages: impl IntoIterator<Item = &'a FeedMessage>) -> Self {
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

pub(super) fn chain(parent: Parent, require: Require, chain_id: u64) -> NitroChain<Parent> {
    let chain = NitroChain::new(parent, None, require).known_as(chain_id);
    chain.batchers().extend([signer()]);
    chain
}

/// A copy of a message of the feed, as one scheme signs it.
pub(super) fn copy(feed: &FeedMessage, scheme: Scheme, chain_id: u64) -> Kept {
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
pub(super) fn compare(
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

pub(super) fn ask(chain: &NitroChain<Parent>, place: DelayedPlace) {
    block_on(chain.ask_parent(place));
}

/// The names of a header's fields in JSON-RPC, in the order of its RLP.
pub(super) const FIELDS: [&str; 16] = [
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
pub(super) const QUANTITIES: [&str; 6] =
    ["difficulty", "number", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas"];

/// A golden block as a node answers it.
pub(super) fn block_json(block: &Value) -> Value {
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

pub(super) fn block(json: &Value) -> Result<NitroBlock, String> {
    serde_json::from_value(json.clone()).map_err(|error| error.to_string())
}

/// What the genesis block of the golden chains is to the next.
pub(super) fn genesis(golden: &Value) -> Below {
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
pub(super) struct Golden {
    pub(super) json: Value,
    pub(super) block: NitroBlock,
    /// Its transactions as the header's root has them.
    pub(super) raw: Vec<Vec<u8>>,
    pub(super) feed: FeedMessage,
    pub(super) feed_json: Value,
    pub(super) below: Below,
    pub(super) chain_id: u64,
}

impl Golden {
    pub(super) fn copy(&self, scheme: Scheme) -> Kept {
        copy(&self.feed, scheme, self.chain_id)
    }

    pub(super) fn chain(&self, require: Require) -> NitroChain<Parent> {
        chain(Parent::of([&self.feed]), require, self.chain_id)
    }

    /// The message as the posting service posts it, signed by one scheme of the feed, after a
    /// change that leaves the digest as it is.
    pub(super) fn payload(&self, scheme: Scheme, change: impl Fn(&mut Value)) -> Vec<u8> {
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
    pub(super) fn twisted(&self) -> Vec<u8> {
        self.payload(Scheme::SignatureV2, |json| {
            let hash = self.feed.block_hash.unwrap();
            let metadata = [hash.as_slice(), &self.feed.block_metadata].concat();
            json["blockMetadata"] = BASE64_STANDARD.encode(metadata).into();
            json.as_object_mut().unwrap().remove("blockHash");
        })
    }

    /// The message with the headers of others in its content, one after another: first copies
    /// under the same signature that read as one of those, last the message itself.
    pub(super) fn embedding(&self, inner: &[(u64, MessageHeader)]) -> Vec<Vec<u8>> {
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
    pub(super) fn inputs(&self, block: &NitroBlock) -> Result<Proven, Uncompared<DelayedPlace>> {
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
    pub(super) fn proofs(
        &self,
        block: &NitroBlock,
    ) -> [Result<Proven, Uncompared<DelayedPlace>>; 2] {
        let kept = self.copy(Scheme::SignatureV2);
        let hash = compare(&self.chain(Require::Hash), &[kept], &self.below, block);
        [hash, self.inputs(block)]
    }
}

pub(super) fn all_golden() -> Vec<Golden> {
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
            let transactions = case["block"]["transactions"].as_array().unwrap();
            let raw = transactions.iter().map(|it| bytes(&it["raw"]).to_vec()).collect();
            all.push(Golden { json, block, raw, feed, feed_json, below, chain_id });
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

/// What is posted for the same blocks if the parent chain has had a reorg: before each message the
/// one of before it, which has another block; a delayed one was delivered at another time.
pub(crate) fn chain_after_a_reorg() -> Vec<Vec<Vec<u8>>> {
    superseded_chain(|_, old| {
        let header = &mut old.message.header;
        header.timestamp -= u64::from(header.request_id.is_some());
    })
}

/// What is posted for the same blocks if the parent chain has lost a message that the sequencer had
/// read before each of them, delivered at this time.
pub(crate) fn chain_after_a_loss(timestamp: u64) -> Vec<Vec<Vec<u8>>> {
    superseded_chain(|below, old| {
        let count = below.delayed_messages_read + 1;
        let message = &mut old.message;
        (message.delayed_messages_read, message.header) = claimed(count, timestamp);
    })
}

/// What is posted for the same blocks, each after a message that the sequencer has signed for
/// another block before.
fn superseded_chain(change: impl Fn(&Below, &mut FeedMessage)) -> Vec<Vec<Vec<u8>>> {
    let all = all_golden().into_iter().take(10);
    let posted = all.map(|golden| {
        let mut old = golden.feed.clone();
        change(&golden.below, &mut old);
        old.block_hash = Some(B256::repeat_byte(1));
        let signature = BASE64_STANDARD.encode(sign(old.signed_digest_v2(golden.chain_id)));
        let old = golden.payload(Scheme::SignatureV2, |json| {
            let header = old.message.header;
            json["signatureV2"] = signature.clone().into();
            json["blockHash"] = B256::repeat_byte(1).to_string().into();
            json["message"]["delayedMessagesRead"] = old.message.delayed_messages_read.into();
            let fields = &mut json["message"]["message"]["header"];
            fields["kind"] = header.kind.0.into();
            fields["sender"] = header.poster.to_string().into();
            fields["blockNumber"] = header.block_number.into();
            fields["timestamp"] = header.timestamp.into();
            fields["requestId"] = header.request_id.map(|id| id.to_string()).into();
            if header.l1_base_fee.is_zero() {
                fields["baseFeeL1"] = 0.into();
            }
        });
        vec![old, golden.payload(Scheme::SignatureV2, |_| {})]
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
    /// How often it was asked.
    pub(crate) fn calls(&self) -> u64 {
        *self.calls.lock()
    }

    /// How often it was asked for a message.
    pub(crate) fn asked(&self) -> u64 {
        *self.asked.lock()
    }

    /// The messages that are final.
    pub(crate) fn messages(&self) -> BTreeMap<u64, DelayedMessage> {
        self.messages.lock().clone()
    }

    /// Takes what is not final away.
    pub(crate) fn take(&self) -> BTreeMap<u64, DelayedMessage> {
        std::mem::take(&mut self.messages.lock())
    }

    /// What the parent chain has finalized.
    pub(crate) fn put(&self, messages: BTreeMap<u64, DelayedMessage>) {
        self.messages.lock().extend(messages);
    }
}

/// A golden block that has read a message of the delayed inbox, and one that has not.
pub(super) fn delayed_and_not() -> [Golden; 2] {
    let (delayed, others): (Vec<_>, Vec<_>) = all_golden()
        .into_iter()
        .partition(|golden| golden.feed.message.header.request_id.is_some());
    [delayed, others].map(|all| all.into_iter().next().unwrap())
}

pub(super) fn view() -> View {
    let mut view = View::new(Ok(None));
    view.know_authority(Authority::fixed(vec![BatcherTenure::always(signer())]).into());
    view
}

pub(super) fn judged(
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
