//! The commitment of a header.

use alloy_primitives::{Address, B256, U256, keccak256};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::text::untagged;

/// The commitment of a header in JSON, of version 0.3 or later.
///
/// # Panics
/// When it is no such header.
#[must_use]
pub fn commitment(header: &Value) -> B256 {
    let version = &header["version"]["Version"];
    let minor = integer(&version["minor"]);
    let fields = fields(&header["fields"], minor);
    Parts::of("BLOCK")
        .number("version_major", integer(&version["major"]))
        .number("version_minor", minor)
        .part("fields", &fields.0)
        .hash()
}

fn fields(fields: &Value, minor: u64) -> B256 {
    let mut parts = Parts::of("BLOCK")
        .part("chain_config", &chain_config(&fields["chain_config"]["chain_config"]).0)
        .number("height", integer(&fields["height"]))
        .number("timestamp", integer(&fields["timestamp"]));
    if minor >= 4 {
        parts = parts.number("timestamp_millis", integer(&fields["timestamp_millis"]));
    }
    parts = parts.number("l1_head", integer(&fields["l1_head"]));
    parts = match &fields["l1_finalized"] {
        Value::Null => parts.number("l1_finalized", 0),
        block => parts.part("l1_finalized", &l1_block(block).0),
    };
    let table = STANDARD.decode(text(&fields["ns_table"]["bytes"])).unwrap();
    parts = parts
        .part("payload_commitment", &untagged(text(&fields["payload_commitment"])))
        .part("builder_commitment", &untagged(text(&fields["builder_commitment"])))
        .part("ns_table", &Parts::of("NSTABLE").bytes(&table).hash().0)
        .named_bytes("block_merkle_tree_root", &untagged(text(&fields["block_merkle_tree_root"])))
        .named_bytes("fee_merkle_tree_root", &untagged(text(&fields["fee_merkle_tree_root"])))
        .part("fee_info", &fee_info(&fields["fee_info"]).0)
        .named_bytes(
            "reward_merkle_tree_root",
            &untagged(text(&fields["reward_merkle_tree_root"])),
        );
    if minor >= 4 {
        let total = decimal(&fields["total_reward_distributed"]).to_le_bytes::<32>();
        parts = parts.named_bytes("total_reward_distributed", &total);
    }
    if minor >= 5 {
        let counts = fields["leader_counts"].as_array().unwrap().iter();
        let counts = counts.flat_map(|count| u16::try_from(integer(count)).unwrap().to_le_bytes());
        parts = parts.named_bytes("leader_counts", &counts.collect::<Vec<_>>());
    }
    if let Some(hash) = fields["next_stake_table_hash"].as_str() {
        parts = parts.part("next_stake_table_hash", &untagged(hash));
    }
    parts.hash()
}

fn chain_config(config: &Value) -> B256 {
    if let Some(commitment) = config["Right"].as_str() {
        return B256::from_slice(&untagged(commitment));
    }
    let config = &config["Left"];
    let parts = Parts::of("CHAIN_CONFIG")
        .part("chain_id", &decimal(&config["chain_id"]).to_le_bytes::<32>())
        .number("max_block_size", decimal(&config["max_block_size"]).to())
        .part("base_fee", &decimal(&config["base_fee"]).to_le_bytes::<32>())
        .part("fee_recipient", address(&config["fee_recipient"]).as_slice());
    let parts = match &config["fee_contract"] {
        Value::Null => parts.number("fee_contract", 0),
        contract => parts.number("fee_contract", 1).raw(address(contract).as_slice()),
    };
    match &config["stake_table_contract"] {
        Value::Null => parts.hash(),
        contract => {
            parts.number("stake_table_contract", 1).raw(address(contract).as_slice()).hash()
        }
    }
}

fn l1_block(block: &Value) -> B256 {
    let timestamp: U256 = text(&block["timestamp"]).parse().unwrap();
    let hash: B256 = text(&block["hash"]).parse().unwrap();
    Parts::of("L1BLOCK")
        .number("number", integer(&block["number"]))
        .part("timestamp", &timestamp.to_le_bytes::<32>())
        .part("hash", hash.as_slice())
        .hash()
}

fn fee_info(info: &Value) -> B256 {
    Parts::of("FEE_INFO")
        .part("account", address(&info["account"]).as_slice())
        .part("amount", &decimal(&info["amount"]).to_le_bytes::<32>())
        .hash()
}

fn integer(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no integer: {value}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn decimal(value: &Value) -> U256 {
    text(value).parse().unwrap()
}

fn address(value: &Value) -> Address {
    text(value).parse().unwrap()
}

/// What is hashed: constants with an end mark, and values.
struct Parts(Vec<u8>);

impl Parts {
    fn of(tag: &str) -> Self {
        Self(Vec::new()).constant(tag)
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn constant(self, constant: &str) -> Self {
        self.raw(constant.as_bytes()).raw(&[0xc0, 0x7f])
    }

    fn number(self, name: &str, number: u64) -> Self {
        self.part(name, &number.to_le_bytes())
    }

    /// A value of a fixed length.
    fn part(self, name: &str, value: &[u8]) -> Self {
        self.constant(name).raw(value)
    }

    /// A value of any length.
    fn named_bytes(self, name: &str, value: &[u8]) -> Self {
        self.constant(name).bytes(value)
    }

    fn bytes(self, value: &[u8]) -> Self {
        self.raw(&(value.len() as u64).to_le_bytes()).raw(value)
    }

    fn hash(self) -> B256 {
        keccak256(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{text::tagged_base64, vectors};

    #[test]
    fn commitments_agree_with_the_vectors() {
        let (headers, chain) = (vectors::headers(), vectors::block_tree());
        let published = headers["cases"].as_array().unwrap().iter();
        let published = published
            .filter(|case| case["recomputed_here"] == true)
            .map(|case| (&case["header"], &case["block_commitment"]));
        let recorded = chain["recorded_0_5_chain"].as_array().unwrap().iter();
        let recorded = recorded.map(|block| (&block["header"], &block["header_commitment"]));
        let mut seen = 0;
        for (header, expected) in published.chain(recorded) {
            assert_eq!(tagged_base64("BLOCK", commitment(header).as_slice()), *expected);
            seen += 1;
        }
        assert_eq!(seen, 11);
    }
}
