//! An L2 block as the devnet passes it around, and chains of them.

use std::sync::Arc;

use alloy_primitives::B256;
use serde_json::Value;

use crate::{
    batch::Batch,
    client::{hash, quantity},
    rollup::Numbered,
};

/// The chain id of L2, which is also its HotShot namespace.
pub const CHAIN_ID: u64 = 22_266_222;
/// Seconds between two L2 blocks.
pub const BLOCK_TIME: u64 = 1;

/// An L2 block.
#[derive(Debug)]
pub struct Block {
    /// Number.
    pub number: u64,
    /// Hash.
    pub hash: B256,
    /// Parent's hash.
    pub parent_hash: B256,
    /// As the execution RPC shows it, with whole transactions.
    pub json: Value,
    /// What the batcher posts of it.
    pub batch: Batch,
}

impl Numbered for Block {
    fn number(&self) -> u64 {
        self.number
    }

    fn hash(&self) -> B256 {
        self.hash
    }
}

/// A chain from block 1 on. Chains share their blocks.
pub type Chain = Vec<Arc<Block>>;

impl Block {
    /// A block from its JSON alone.
    ///
    /// # Panics
    /// When it is not the JSON of an L2 block with whole transactions.
    #[must_use]
    pub fn from_json(json: Value) -> Self {
        let batch = Batch::of(&json);
        Self::new(json, batch)
    }

    /// A block from its JSON and its RLP.
    ///
    /// # Panics
    /// When they are not of the same L2 block.
    #[must_use]
    pub fn from_rlp(json: Value, rlp: &[u8]) -> Self {
        let batch = Batch::from_rlp(rlp);
        assert_eq!(batch.header.hash_slow(), hash(&json["hash"]), "{json}");
        Self::new(json, batch)
    }

    fn new(json: Value, batch: Batch) -> Self {
        Self {
            number: quantity(&json["number"]),
            hash: hash(&json["hash"]),
            parent_hash: hash(&json["parentHash"]),
            json,
            batch,
        }
    }

    /// The number of its L1 origin.
    #[must_use]
    pub fn l1_origin(&self) -> u64 {
        self.batch.content.epoch_number
    }

    /// The calldata of its info deposit.
    #[must_use]
    pub fn l1_info(&self) -> &str {
        self.json["transactions"][0]["input"].as_str().unwrap_or_default()
    }
}

/// The block of that number in a chain.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn block(chain: &[Arc<Block>], number: u64) -> &Arc<Block> {
    let index = usize::try_from(number).unwrap().checked_sub(1);
    index.and_then(|index| chain.get(index)).unwrap_or_else(|| panic!("no block {number} in chain"))
}
