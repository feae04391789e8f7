//! A block of a Nitro node.

use alloy_primitives::{Address, B64, B256, Bloom, Bytes, U64, U256, keccak256};
use alloy_rlp::{Encodable, Header as RlpHeader};
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::node::{NodeBlock, Transaction, transactions};

/// A block as the node reports it, with all fields of its header.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reported {
    hash: B256,
    parent_hash: B256,
    sha3_uncles: B256,
    miner: Address,
    state_root: B256,
    transactions_root: B256,
    receipts_root: B256,
    logs_bloom: Bloom,
    difficulty: U256,
    number: U64,
    gas_limit: U64,
    gas_used: U64,
    timestamp: U64,
    extra_data: Bytes,
    mix_hash: B256,
    nonce: B64,
    base_fee_per_gas: U256,
    #[serde(deserialize_with = "transactions")]
    transactions: Vec<Transaction>,
}

/// A block whose hash was recomputed from its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NitroBlock {
    /// Block number.
    pub number: u64,
    /// Keccak-256 of the RLP of the header.
    pub hash: B256,
    /// Hash of the parent.
    pub parent_hash: B256,
    /// Who posted the message.
    pub poster: Address,
    /// Seconds since the epoch.
    pub timestamp: u64,
    /// How many messages of the delayed inbox were read, with the block's own.
    pub delayed_messages_read: u64,
    /// The L1 block number that contracts see.
    pub l1_block_number: u64,
    /// The version of ArbOS after the block.
    pub arbos_version: u64,
    /// The transactions in order.
    pub transactions: Vec<Transaction>,
}

impl NodeBlock for NitroBlock {
    fn number(&self) -> u64 {
        self.number
    }

    fn hash(&self) -> B256 {
        self.hash
    }
}

impl<'de> Deserialize<'de> for NitroBlock {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let no_block = |problem: String| {
            D::Error::custom(format!(
                "no block of Nitro, as rollup = nitro expects (node_execution_rpc): {problem}"
            ))
        };
        let reported =
            Reported::deserialize(reader).map_err(|error| no_block(error.to_string()))?;
        let (hash, node) = (reported.header_hash(), reported.hash);
        if hash != node {
            return Err(no_block(format!("its header has the hash {hash}, the node says {node}")));
        }
        let [_, l1_block_number, arbos_version, _] = words(&reported.mix_hash);
        Ok(Self {
            number: reported.number.to(),
            hash,
            parent_hash: reported.parent_hash,
            poster: reported.miner,
            timestamp: reported.timestamp.to(),
            delayed_messages_read: u64::from_be_bytes(reported.nonce.0),
            l1_block_number,
            arbos_version,
            transactions: reported.transactions,
        })
    }
}

impl Reported {
    fn header_hash(&self) -> B256 {
        let fields: [&dyn Encodable; 16] = [
            &self.parent_hash,
            &self.sha3_uncles,
            &self.miner,
            &self.state_root,
            &self.transactions_root,
            &self.receipts_root,
            &self.logs_bloom,
            &self.difficulty,
            &self.number,
            &self.gas_limit,
            &self.gas_used,
            &self.timestamp,
            &self.extra_data,
            &self.mix_hash,
            &self.nonce,
            &self.base_fee_per_gas,
        ];
        let payload_length = fields.iter().map(|field| field.length()).sum();
        let mut header = Vec::new();
        RlpHeader { list: true, payload_length }.encode(&mut header);
        fields.iter().for_each(|field| field.encode(&mut header));
        keccak256(header)
    }
}

/// What the comparison of the next block uses of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Below {
    /// Block number.
    pub number: u64,
    /// Block hash.
    pub hash: B256,
    /// Seconds since the epoch.
    pub timestamp: u64,
    /// How many messages of the delayed inbox were read.
    pub delayed_messages_read: u64,
    /// The L1 block number that contracts see.
    pub l1_block_number: u64,
    /// The version of ArbOS after the block.
    pub arbos_version: u64,
}

impl From<&NitroBlock> for Below {
    fn from(block: &NitroBlock) -> Self {
        Self {
            number: block.number,
            hash: block.hash,
            timestamp: block.timestamp,
            delayed_messages_read: block.delayed_messages_read,
            l1_block_number: block.l1_block_number,
            arbos_version: block.arbos_version,
        }
    }
}

/// The four big-endian integers in a mix hash: send count, L1 block number, ArbOS version, flags.
pub(super) fn words(mix_hash: &B256) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(mix_hash.chunks_exact(8)) {
        *word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    words
}
