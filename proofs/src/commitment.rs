//! Commitments as HotShot computes them: keccak-256 over named parts.

use alloy_primitives::{Address, B256, Keccak256, U256};
use serde::Deserialize;

use crate::{TaggedBase64, scheme::Scheme};

/// Ends every name, so that no name is a prefix of another.
const NAME_END: [u8; 2] = [0xC0, 0x7F];

/// The commitment of a transaction, by which every query service and explorer finds it (`TX~…`).
#[must_use]
pub fn transaction(namespace: u32, payload: &[u8]) -> TaggedBase64 {
    let parts = Parts::of("Transaction").number("namespace", u64::from(namespace)).bytes(payload);
    TaggedBase64 { tag: "TX".into(), value: parts.hash().to_vec() }
}

#[derive(Deserialize)]
pub(crate) struct L1Finalized {
    pub(crate) number: u64,
    hash: B256,
    timestamp: U256,
}

/// Everything that a header's commitment covers, in the known versions.
#[derive(Deserialize)]
pub(crate) struct HeaderParts {
    chain_config: ChainConfigOrCommitment,
    pub(crate) height: u64,
    pub(crate) timestamp: u64,
    timestamp_millis: Option<u64>,
    l1_head: u64,
    pub(crate) l1_finalized: Option<L1Finalized>,
    pub(crate) payload_commitment: TaggedBase64,
    builder_commitment: Option<TaggedBase64>,
    pub(crate) ns_table: EncodedTable,
    pub(crate) block_merkle_tree_root: TaggedBase64,
    fee_merkle_tree_root: TaggedBase64,
    fee_info: FeeInfo,
    reward_merkle_tree_root: TaggedBase64,
    total_reward_distributed: Option<Decimal>,
    leader_counts: Option<Vec<u16>>,
    next_stake_table_hash: Option<TaggedBase64>,
}

/// The bytes of a namespace table, in base64.
#[derive(Deserialize)]
pub(crate) struct EncodedTable {
    pub(crate) bytes: String,
}

#[derive(Deserialize)]
struct ChainConfigOrCommitment {
    chain_config: EitherChainConfig,
}

#[derive(Deserialize)]
enum EitherChainConfig {
    Left(ChainConfig),
    Right(TaggedBase64),
}

#[derive(Deserialize)]
struct ChainConfig {
    chain_id: Decimal,
    max_block_size: Decimal,
    base_fee: Decimal,
    fee_contract: Option<Address>,
    fee_recipient: Address,
    stake_table_contract: Option<Address>,
}

#[derive(Deserialize)]
struct FeeInfo {
    account: Address,
    amount: Decimal,
}

/// A number in a decimal string.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Decimal(U256);

impl TryFrom<String> for Decimal {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        U256::from_str_radix(&text, 10).map(Self).map_err(|error| format!("{text:?}: {error}"))
    }
}

impl HeaderParts {
    /// The block's commitment; none if a part is missing that the scheme has.
    pub(crate) fn commitment(&self, scheme: &Scheme, ns_table: &[u8]) -> Option<B256> {
        let mut parts = Parts::of("BLOCK")
            .part("chain_config", self.chain_config.commitment()?)
            .number("height", self.height)
            .number("timestamp", self.timestamp);
        if scheme.rewards {
            parts = parts.number("timestamp_millis", self.timestamp_millis?);
        }
        parts = parts.number("l1_head", self.l1_head);
        parts = match &self.l1_finalized {
            Some(block) => parts.part("l1_finalized", block.commitment()),
            None => parts.number("l1_finalized", 0),
        };
        parts = parts.part("payload_commitment", self.payload_commitment.hash()?);
        if scheme.builder_commitment {
            parts = parts.part("builder_commitment", self.builder_commitment.as_ref()?.hash()?);
        }
        parts = parts
            .part("ns_table", Parts::of("NSTABLE").bytes(ns_table).hash())
            .name("block_merkle_tree_root")
            .bytes(&self.block_merkle_tree_root.value)
            .name("fee_merkle_tree_root")
            .bytes(&self.fee_merkle_tree_root.value)
            .part("fee_info", self.fee_info.commitment())
            .name("reward_merkle_tree_root")
            .bytes(&self.reward_merkle_tree_root.value);
        if scheme.rewards {
            let Decimal(total) = self.total_reward_distributed.as_ref()?;
            parts = parts.name("total_reward_distributed").bytes(&total.to_le_bytes::<32>());
        }
        if scheme.leader_counts {
            let counts = self.leader_counts.as_ref()?.iter().flat_map(|count| count.to_le_bytes());
            parts = parts.name("leader_counts").bytes(&counts.collect::<Vec<_>>());
        }
        if let Some(hash) = &self.next_stake_table_hash {
            parts = parts.part("next_stake_table_hash", hash.hash()?);
        }
        let block = Parts::of("BLOCK")
            .number("version_major", scheme.version.major)
            .number("version_minor", scheme.version.minor)
            .part("fields", parts.hash());
        Some(block.hash())
    }
}

impl ChainConfigOrCommitment {
    fn commitment(&self) -> Option<B256> {
        match &self.chain_config {
            EitherChainConfig::Left(config) => config.commitment(),
            EitherChainConfig::Right(commitment) => commitment.hash(),
        }
    }
}

impl ChainConfig {
    fn commitment(&self) -> Option<B256> {
        let mut parts = Parts::of("CHAIN_CONFIG")
            .number_256("chain_id", self.chain_id.0)
            .number("max_block_size", u64::try_from(self.max_block_size.0).ok()?)
            .number_256("base_fee", self.base_fee.0)
            .name("fee_recipient")
            .raw(self.fee_recipient.as_slice());
        parts = match &self.fee_contract {
            Some(contract) => parts.number("fee_contract", 1).raw(contract.as_slice()),
            None => parts.number("fee_contract", 0),
        };
        if let Some(contract) = &self.stake_table_contract {
            parts = parts.number("stake_table_contract", 1).raw(contract.as_slice());
        }
        Some(parts.hash())
    }
}

impl FeeInfo {
    fn commitment(&self) -> B256 {
        let parts = Parts::of("FEE_INFO").name("account").raw(self.account.as_slice());
        parts.number_256("amount", self.amount.0).hash()
    }
}

impl L1Finalized {
    fn commitment(&self) -> B256 {
        let parts = Parts::of("L1BLOCK").number("number", self.number);
        parts.number_256("timestamp", self.timestamp).part("hash", self.hash).hash()
    }
}

/// Builds a commitment, part by part.
struct Parts(Keccak256);

impl Parts {
    fn of(tag: &str) -> Self {
        Self(Keccak256::new()).name(tag)
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.update(bytes);
        self
    }

    fn name(self, name: &str) -> Self {
        self.raw(name.as_bytes()).raw(&NAME_END)
    }

    fn number(self, name: &str, number: u64) -> Self {
        self.name(name).raw(&number.to_le_bytes())
    }

    fn number_256(self, name: &str, number: U256) -> Self {
        self.name(name).raw(&number.to_le_bytes::<32>())
    }

    fn part(self, name: &str, hash: B256) -> Self {
        self.name(name).raw(hash.as_slice())
    }

    /// Bytes of any length, after their length.
    fn bytes(self, bytes: &[u8]) -> Self {
        self.raw(&(bytes.len() as u64).to_le_bytes()).raw(bytes)
    }

    fn hash(self) -> B256 {
        self.0.finalize()
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde_json::Value;

    use super::*;

    #[test]
    fn transactions_have_the_commitments_of_the_vectors() {
        let vectors: Value =
            serde_json::from_str(include_str!("../testdata/tagged_base64.json")).unwrap();
        let cases = vectors["transaction_commitments"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let payload = STANDARD.decode(case["payload_base64"].as_str().unwrap()).unwrap();
            let namespace = case["namespace"].as_u64().unwrap() as u32;
            let expected = case["commitment"].as_str().unwrap();
            assert_eq!(transaction(namespace, &payload).to_string(), expected);
            assert_ne!(transaction(namespace + 1, &payload).to_string(), expected);
        }
    }

    #[test]
    fn the_transactions_of_a_range_have_the_commitments_of_the_vectors() {
        let vectors: Value =
            serde_json::from_str(include_str!("../testdata/namespace_range.json")).unwrap();
        let namespace = vectors["namespace"].as_u64().unwrap() as u32;
        let listed = vectors["response_v1_proof"][0]["transactions"].as_array().unwrap();
        let expected = vectors["tx_commitments"].as_array().unwrap();
        assert_eq!(listed.len(), expected.len());
        for (transaction_json, expected) in listed.iter().zip(expected) {
            let payload = STANDARD.decode(transaction_json["payload"].as_str().unwrap()).unwrap();
            assert_eq!(transaction(namespace, &payload).to_string(), expected.as_str().unwrap());
        }
    }
}
