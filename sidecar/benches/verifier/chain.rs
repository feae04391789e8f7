//! A chain of OP-stack blocks and the batches for them, made from one block of the test vectors.

use alloy_primitives::{Address, B256, Bytes, keccak256};
use alloy_rlp::{Encodable, Header};
use base64::{Engine, engine::general_purpose::STANDARD};
use secp256k1::{Message, SecretKey, ecdsa::RecoverableSignature};
use serde_json::{Value, json};

/// The L2 chain id, and with it the namespace.
pub(crate) const CHAIN_ID: u64 = 22_266_222;
/// The L1 chain id.
pub(crate) const L1_CHAIN_ID: u64 = 900;
const BLOCK_TIME: u64 = 2;
const GENESIS_TIME: u64 = 1_700_000_000;
/// The first well known development key.
const BATCHER_KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

/// Places in a block header.
const PARENT_HASH: usize = 0;
const NUMBER: usize = 8;
const TIMESTAMP: usize = 11;

/// One block and its batch.
pub(crate) struct Canned {
    pub(crate) hash: B256,
    /// Signature and body, as posted to HotShot.
    pub(crate) payload: Vec<u8>,
}

/// Blocks 1, 2, … after genesis, each with the same transactions.
pub(crate) struct Chain {
    pub(crate) blocks: Vec<Canned>,
    /// The transactions as the execution RPC shows them, a JSON array.
    transactions: String,
    /// The L1 block that all of them are built on.
    origin: (u64, B256),
}

fn bytes(value: &Value) -> Bytes {
    value.as_str().unwrap().parse().unwrap()
}

fn hash(value: &Value) -> B256 {
    value.as_str().unwrap().parse().unwrap()
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let payload_length = items.iter().map(Vec::len).sum();
    let mut out = Vec::new();
    Header { list: true, payload_length }.encode(&mut out);
    out.extend(items.iter().flatten());
    out
}

fn item(value: &dyn Encodable) -> Vec<u8> {
    let mut out = Vec::new();
    value.encode(&mut out);
    out
}

/// The items of an RLP list, each with its own header.
fn items(raw: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = Header::decode_bytes(&mut &*raw, true).unwrap();
    let mut items = Vec::new();
    while !rest.is_empty() {
        let start = rest;
        let header = Header::decode(&mut rest).unwrap();
        rest = &rest[header.payload_length..];
        items.push(start[..start.len() - rest.len()].to_vec());
    }
    items
}

fn key() -> SecretKey {
    SecretKey::from_secret_bytes(BATCHER_KEY.parse::<B256>().unwrap().0).unwrap()
}

/// Who signs the batches.
pub(crate) fn batcher() -> Address {
    Address::from_raw_public_key(&key().public_key().serialize_uncompressed()[1..])
}

fn sign(key: &SecretKey, body: &[u8]) -> Vec<u8> {
    let message = Message::from_digest(keccak256(body).0);
    let (id, compact) =
        RecoverableSignature::sign_ecdsa_recoverable(message, key).serialize_compact();
    [&compact[..], &[id.to_u8()], body].concat()
}

fn genesis_hash() -> B256 {
    keccak256("genesis")
}

impl Chain {
    /// `blocks` blocks with `transactions` transactions each, beside the L1-info deposit.
    pub(crate) fn new(blocks: u64, transactions: usize) -> Self {
        let vectors: Value =
            serde_json::from_str(include_str!("../../testdata/op_batches.json")).unwrap();
        let case = &vectors["cases"][0];
        let mut header = items(&bytes(&case["header_rlp"]));
        let shown = case["rpc_block"]["transactions"].as_array().unwrap();
        let listed = case["batch_transactions"].as_array().unwrap();
        let posted: Vec<_> =
            listed.iter().cycle().take(transactions).map(|raw| item(&bytes(raw))).collect();
        let posted = list(&posted);
        let shown: Vec<_> =
            shown[..1].iter().chain(shown[1..].iter().cycle().take(transactions)).collect();
        let origin = (case["epoch_number"].as_u64().unwrap(), hash(&case["epoch_hash"]));
        let deposit = item(&bytes(&case["l1_info_deposit_raw"]));
        let key = key();
        let mut parent = genesis_hash();
        let blocks = (1..=blocks).map(|number| {
            let timestamp = GENESIS_TIME + number * BLOCK_TIME;
            header[PARENT_HASH] = item(&parent);
            header[NUMBER] = item(&number);
            header[TIMESTAMP] = item(&timestamp);
            let raw_header = list(&header);
            let singular = list(&[
                item(&parent),
                item(&origin.0),
                item(&origin.1),
                item(&timestamp),
                posted.clone(),
            ]);
            let hash = keccak256(&raw_header);
            let body = list(&[raw_header, singular, deposit.clone(), item(&Address::ZERO)]);
            parent = hash;
            Canned { hash, payload: sign(&key, &body) }
        });
        let blocks = blocks.collect();
        Self { blocks, transactions: serde_json::to_string(&shown).unwrap(), origin }
    }

    fn hash_of(&self, number: u64) -> Option<B256> {
        match number.checked_sub(1) {
            None => Some(genesis_hash()),
            Some(index) => Some(self.blocks.get(index as usize)?.hash),
        }
    }

    /// A block as the execution RPC shows it.
    pub(crate) fn block(&self, number: u64, whole: bool) -> Option<String> {
        let (hash, parent) = (self.hash_of(number)?, self.hash_of(number.saturating_sub(1))?);
        let timestamp = GENESIS_TIME + number * BLOCK_TIME;
        let transactions = if whole { &self.transactions } else { "[]" };
        Some(format!(
            r#"{{"number":"{number:#x}","hash":"{hash}","parentHash":"{parent}","timestamp":"{timestamp:#x}","logsBloom":"0x{:0512}","transactions":{transactions}}}"#,
            0
        ))
    }

    /// The element of a namespace range that holds the batch for a block; none: an empty one.
    pub(crate) fn element(&self, number: Option<u64>) -> String {
        let Some(canned) = number.and_then(|number| self.blocks.get(number as usize - 1)) else {
            return r#"{"proof":null,"transactions":[]}"#.into();
        };
        let length = canned.payload.len() as u32;
        let table = [1_u32.to_le_bytes(), length.to_le_bytes()].concat();
        let proven = STANDARD.encode([&table[..], &canned.payload].concat());
        let payload = STANDARD.encode(&canned.payload);
        format!(
            r#"{{"proof":{{"V1":{{"ns_index":0,"ns_payload":"{proven}","ns_proof":"MERKLE_PROOF~"}}}},"transactions":[{{"namespace":{CHAIN_ID},"payload":"{payload}"}}]}}"#
        )
    }

    /// The final L1 block as the execution RPC shows it.
    pub(crate) fn l1_block(&self) -> Value {
        json!({"number": format!("{:#x}", self.origin.0), "hash": self.origin.1})
    }

    /// What op-node says of the rollup.
    pub(crate) fn rollup_config(&self) -> Value {
        json!({
            "genesis": {
                "l1": {"number": self.origin.0, "hash": self.origin.1},
                "l2": {"number": 0, "hash": genesis_hash()},
                "l2_time": GENESIS_TIME,
            },
            "block_time": BLOCK_TIME,
            "l1_chain_id": L1_CHAIN_ID,
            "l2_chain_id": CHAIN_ID,
        })
    }
}
