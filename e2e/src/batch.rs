//! The bytes that a batcher posts to HotShot: `signature(65) || rlp([header, batch, info
//! deposit])`.

use alloy_consensus::{Header, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_rlp::{Encodable, RlpEncodable};
use secp256k1::{Message, SecretKey, ecdsa::RecoverableSignature};
use serde_json::Value;

use crate::client::{hash, quantity};

/// The well-known private keys of Anvil's first two development accounts.
const DEVELOPMENT_KEYS: [&str; 3] = [
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
];

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
        let (deposits, transactions): (Vec<&Value>, Vec<&Value>) = block["transactions"]
            .as_array()
            .unwrap()
            .iter()
            .partition(|transaction| quantity(&transaction["type"]) == u64::from(DEPOSIT));
        let calldata: Bytes = deposits[0]["input"].as_str().unwrap().parse().unwrap();
        let content = SingularBatch {
            parent_hash: header.parent_hash,
            epoch_number: u64::from_be_bytes(calldata[ORIGIN_NUMBER].try_into().unwrap()),
            epoch_hash: B256::from_slice(&calldata[ORIGIN_HASH]),
            timestamp: header.timestamp,
            transactions: transactions.into_iter().map(network_form).collect(),
        };
        Self { header, content, info_deposit: deposit(deposits[0]) }
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

/// A deposit in network form, rebuilt since no node offers its raw bytes reliably (Anvil aborts on
/// it).
fn deposit(transaction: &Value) -> Bytes {
    let text = |name: &str| transaction[name].as_str().unwrap_or_default();
    let number = |name: &str| match text(name) {
        "" => U256::ZERO,
        hex => hex.parse::<U256>().unwrap(),
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

/// A signer of payloads.
#[derive(Debug, Clone, Copy)]
pub struct Signer {
    key: SecretKey,
}

impl Signer {
    /// The authorized batcher.
    #[must_use]
    pub fn batcher() -> Self {
        Self::development(0)
    }

    /// An unauthorized signer.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::development(1)
    }

    /// The batcher's next key.
    #[must_use]
    pub fn successor() -> Self {
        Self::development(2)
    }

    fn development(index: usize) -> Self {
        let key: B256 = DEVELOPMENT_KEYS[index].parse().unwrap();
        Self { key: SecretKey::from_secret_bytes(key.0).unwrap() }
    }

    /// The signer's address.
    #[must_use]
    pub fn address(&self) -> Address {
        let public = self.key.public_key().serialize_uncompressed();
        Address::from_slice(&keccak256(&public[1..])[12..])
    }

    /// Signature and body.
    #[must_use]
    pub fn sign(&self, body: &[u8]) -> Vec<u8> {
        let message = Message::from_digest(keccak256(body).0);
        let signature = RecoverableSignature::sign_ecdsa_recoverable(message, &self.key);
        let (recovery, r_and_s) = signature.serialize_compact();
        [&r_and_s[..], &[recovery.to_u8()], body].concat()
    }
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
    use super::*;

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
