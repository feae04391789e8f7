//! The bytes that a batcher posts to HotShot: `signature(65) || rlp([header, batch, info
//! deposit])`.

use alloy_consensus::{Header, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_rlp::{Decodable, Encodable, RlpEncodable};
use serde_json::Value;

use crate::client::{hash, quantity};

const DEPOSIT: u8 = 0x7e;
/// The offset of the L1 origin in the info deposit's calldata, in every format.
const ORIGIN_NUMBER: std::ops::Range<usize> = 28..36;
const ORIGIN_HASH: std::ops::Range<usize> = 100..132;

/// How many fields the payload's list has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// Batchers before March 2026.
    ThreeFields,
    /// Batchers since then: a zero address at the end.
    #[default]
    FourFields,
}

/// What OP calls a singular batch, without its type byte.
#[derive(Debug, Clone, PartialEq, Eq, RlpEncodable)]
pub struct SingularBatch {
    /// Hash of the parent block.
    pub parent_hash: B256,
    /// Number of the L1 origin.
    pub epoch_number: u64,
    /// Hash of the L1 origin.
    pub epoch_hash: B256,
    /// Seconds.
    pub timestamp: u64,
    /// Transactions except deposits, in network form.
    pub transactions: Vec<Bytes>,
}

/// Everything that the batcher posts about one L2 block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The block's header.
    pub header: Header,
    /// The block's content.
    pub content: SingularBatch,
    /// The info deposit in network form.
    pub info_deposit: Bytes,
}

impl Batch {
    /// The batch of a block as the execution RPC shows it, with whole transactions.
    ///
    /// # Panics
    /// When it is no such block, or its hash is not that of its header.
    #[must_use]
    pub fn of(block: &Value) -> Self {
        let header: Header = serde_json::from_value(block.clone()).unwrap();
        assert_eq!(header.hash_slow(), hash(&block["hash"]), "{block}");
        let transactions = block["transactions"].as_array().unwrap();
        let (deposits, others): (Vec<&Value>, Vec<&Value>) = transactions
            .iter()
            .partition(|transaction| quantity(&transaction["type"]) == u64::from(DEPOSIT));
        let others = others.into_iter().map(network_form).collect();
        Self::new(header, deposit(deposits[0]), others)
    }

    /// The batch of a block in RLP, as `debug_getRawBlock` gives it.
    ///
    /// # Panics
    /// When it is no L2 block.
    #[must_use]
    pub fn from_rlp(mut block: &[u8]) -> Self {
        let mut fields = alloy_rlp::Header::decode_bytes(&mut block, true).unwrap();
        let header = Header::decode(&mut fields).unwrap();
        let mut items = alloy_rlp::Header::decode_bytes(&mut fields, true).unwrap();
        let mut transactions = Vec::new();
        while !items.is_empty() {
            let mut rest = items;
            let item = alloy_rlp::Header::decode(&mut rest).unwrap();
            let begin = if item.list { 0 } else { items.len() - rest.len() };
            let end = items.len() - rest.len() + item.payload_length;
            transactions.push(Bytes::copy_from_slice(&items[begin..end]));
            items = &items[end..];
        }
        let (deposits, others): (Vec<_>, Vec<_>) =
            transactions.into_iter().partition(|transaction| transaction[0] == DEPOSIT);
        Self::new(header, deposits[0].clone(), others)
    }

    fn new(header: Header, info_deposit: Bytes, transactions: Vec<Bytes>) -> Self {
        let calldata = calldata(&info_deposit);
        let content = SingularBatch {
            parent_hash: header.parent_hash,
            epoch_number: u64::from_be_bytes(calldata[ORIGIN_NUMBER].try_into().unwrap()),
            epoch_hash: B256::from_slice(&calldata[ORIGIN_HASH]),
            timestamp: header.timestamp,
            transactions,
        };
        Self { header, content, info_deposit }
    }

    /// The RLP that is signed.
    #[must_use]
    pub fn body(&self, shape: Shape) -> Vec<u8> {
        let mut fields = Vec::new();
        self.header.encode(&mut fields);
        self.content.encode(&mut fields);
        self.info_deposit.encode(&mut fields);
        if shape == Shape::FourFields {
            Address::ZERO.encode(&mut fields);
        }
        list(&fields)
    }
}

/// A transaction other than a deposit in network form.
fn network_form(transaction: &Value) -> Bytes {
    let envelope: TxEnvelope = serde_json::from_value(transaction.clone()).unwrap();
    let bytes: Bytes = envelope.encoded_2718().into();
    assert_eq!(keccak256(&bytes), hash(&transaction["hash"]), "{transaction}");
    bytes
}

/// The calldata of a deposit in network form: its last field.
fn calldata(deposit: &[u8]) -> Bytes {
    let mut fields = alloy_rlp::Header::decode_bytes(&mut &deposit[1..], true).unwrap();
    let mut last = fields;
    while !fields.is_empty() {
        last = alloy_rlp::Header::decode_bytes(&mut fields, false).unwrap();
    }
    Bytes::copy_from_slice(last)
}

/// A deposit in network form, rebuilt from its JSON: Anvil aborts when asked for the raw bytes.
fn deposit(transaction: &Value) -> Bytes {
    let text = |name: &str| transaction[name].as_str().unwrap_or_default();
    let number = |name: &str| match &transaction[name] {
        // Absent, null or false: op-geth has a boolean for system transactions, which ended with
        // Regolith; Anvil has a number.
        Value::Null | Value::Bool(false) => U256::ZERO,
        Value::Bool(true) => U256::ONE,
        hex => hex.as_str().unwrap().parse::<U256>().unwrap(),
    };
    let mut fields = Vec::new();
    hash(&transaction["sourceHash"]).encode(&mut fields);
    text("from").parse::<Address>().unwrap().encode(&mut fields);
    match text("to") {
        "" => Bytes::new().encode(&mut fields),
        to => to.parse::<Address>().unwrap().encode(&mut fields),
    }
    for name in ["mint", "value", "gas", "isSystemTx"] {
        number(name).encode(&mut fields);
    }
    text("input").parse::<Bytes>().unwrap().encode(&mut fields);
    let bytes = Bytes::from([vec![DEPOSIT], list(&fields)].concat());
    assert_eq!(keccak256(&bytes), hash(&transaction["hash"]), "{transaction}");
    bytes
}

fn list(fields: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    alloy_rlp::Header { list: true, payload_length: fields.len() }.encode(&mut out);
    out.extend(fields);
    out
}

/// The same payload with the twin of its signature (`n - s`), which anybody can compute.
///
/// # Panics
/// When the payload is shorter than a signature.
#[must_use]
pub fn high_s_twin(payload: &[u8]) -> Vec<u8> {
    let order: U256 =
        "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141".parse().unwrap();
    let mut twin = payload.to_vec();
    let s = U256::from_be_slice(&twin[32..64]);
    twin[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
    twin[64] ^= 1;
    twin
}

#[cfg(test)]
mod tests {
    use secp256k1::{Message, ecdsa::RecoverableSignature};

    use super::*;
    use crate::signer::Signer;

    /// Every case of the vectors, rebuilt from its block alone, is the same bytes.
    #[test]
    fn batches_agree_with_the_vectors() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../sidecar/testdata/op_batches.json")).unwrap();
        let bytes = |value: &Value| value.as_str().unwrap().parse::<Bytes>().unwrap();
        for case in vectors["cases"].as_array().unwrap() {
            let name = &case["name"];
            let batch = Batch::of(&case["rpc_block"]);
            let mut header = Vec::new();
            batch.header.encode(&mut header);
            assert_eq!(Bytes::from(header), bytes(&case["header_rlp"]), "{name}");
            let mut content = Vec::new();
            batch.content.encode(&mut content);
            assert_eq!(Bytes::from(content), bytes(&case["singular_batch_rlp"]), "{name}");
            assert_eq!(batch.info_deposit, bytes(&case["l1_info_deposit_raw"]), "{name}");

            let signer = Signer::batcher();
            assert_eq!(
                signer.address(),
                case["batcher"].as_str().unwrap().parse::<Address>().unwrap()
            );
            for (shape, key) in
                [(Shape::ThreeFields, "three_field"), (Shape::FourFields, "four_field")]
            {
                let body = batch.body(shape);
                assert_eq!(keccak256(&body), hash(&case[key]["signed_hash"]), "{name} {key}");
                assert_eq!(Bytes::from(body.clone()), bytes(&case[key]["rlp"]), "{name} {key}");
                let payload = Bytes::from(signer.sign(&body));
                assert_eq!(payload, bytes(&case[key]["payload"]), "{name} {key}");
            }
        }
    }

    /// Blocks of a real op-geth from Bedrock to Jovian: their JSON and their RLP make the payload
    /// that an independent batcher made of the RLP.
    #[test]
    fn batches_of_real_blocks_agree_with_the_vectors() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../sidecar/testdata/op_real_blocks.json"))
                .unwrap();
        let bytes = |value: &Value| value.as_str().unwrap().parse::<Bytes>().unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 24);
        for case in cases {
            let name = &case["name"];
            let batch = Batch::of(&case["rpc_block"]);
            assert_eq!(batch, Batch::from_rlp(&bytes(&case["raw_block"])), "{name}");
            assert_eq!(batch.content.transactions.len() as u64, case["transactions"], "{name}");
            let shape = match batch.header.number % 2 {
                0 => Shape::ThreeFields,
                _ => Shape::FourFields,
            };
            let payload = Signer::batcher().sign(&batch.body(shape));
            assert_eq!(Bytes::from(payload), bytes(&case["payload"]), "{name}");
        }
    }

    #[test]
    fn twin_has_the_same_signer() {
        let body = b"any body";
        let payload = Signer::unauthorized().sign(body);
        let twin = high_s_twin(&payload);
        assert_ne!(payload, twin);
        for payload in [payload, twin] {
            let recovery = i32::from(payload[64]).try_into().unwrap();
            let signature = RecoverableSignature::from_compact(&payload[..64], recovery).unwrap();
            let public = signature.recover(Message::from_digest(keccak256(body).0)).unwrap();
            let address =
                Address::from_slice(&keccak256(&public.serialize_uncompressed()[1..])[12..]);
            assert_eq!(address, Signer::unauthorized().address());
        }
    }
}
