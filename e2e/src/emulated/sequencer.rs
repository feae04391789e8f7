//! The sequencer: decides L1 origins and transactions, and can fork.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use alloy_primitives::{Address, Bytes};
use serde_json::{Value, json};

use super::node::{Inputs, L2Node};
use crate::{
    accounts::{CALLER, RECEIVER, SENDER, counter, counter_deployment},
    block::{BLOCK_TIME, Block, Chain},
    client::{hex, quantity},
    l1::{L1, L1Block},
    l1_info::{
        self, DEPOSITOR, L1_BLOCK_CONTRACT, L1InfoFormat, info_source_hash, user_source_hash,
    },
    rollup::OriginPolicy,
};

const GAS: u64 = 200_000;
const GAS_PRICE: u64 = 2_000_000_000;

/// The sequencer.
#[derive(Debug)]
pub struct Sequencer {
    node: L2Node,
    l1: Arc<L1>,
    policy: OriginPolicy,
    format: L1InfoFormat,
    genesis_origin: L1Block,
    /// Goes into every transfer, so that forks differ.
    salt: AtomicU64,
}

impl Sequencer {
    /// Starts the sequencer on a chain without blocks.
    pub async fn start(
        l1: Arc<L1>,
        policy: OriginPolicy,
        format: L1InfoFormat,
        genesis_time: u64,
        folder: &Path,
    ) -> Self {
        let genesis_origin = policy.newest(&l1).await;
        let node = L2Node::start("sequencer", genesis_time, folder).await;
        Self { node, l1, policy, format, genesis_origin, salt: AtomicU64::new(0) }
    }

    /// Its node.
    #[must_use]
    pub fn node(&self) -> &L2Node {
        &self.node
    }

    /// The L1 block that the genesis block names in the rollup configuration.
    #[must_use]
    pub fn genesis_origin(&self) -> L1Block {
        self.genesis_origin
    }

    /// Its chain.
    pub async fn chain(&self) -> Chain {
        self.node.chain().await
    }

    /// Builds `count` blocks.
    pub async fn produce(&self, count: u64) -> Vec<Arc<Block>> {
        let mut blocks = Vec::new();
        for _ in 0..count {
            let inputs = self.next_inputs().await;
            blocks.push(self.node.build(inputs).await);
        }
        blocks
    }

    /// Drops the blocks above `number` and builds other ones from now on.
    ///
    /// # Panics
    /// When the chain is shorter than that.
    pub async fn fork_above(&self, number: u64) {
        let chain = self.chain().await;
        self.node.follow(&chain[..usize::try_from(number).unwrap()]).await;
        self.salt.fetch_add(1, Ordering::Relaxed);
    }

    /// Goes over to another chain.
    pub async fn follow(&self, chain: &[Arc<Block>]) {
        self.node.follow(chain).await;
    }

    async fn next_inputs(&self) -> Inputs {
        let chain = self.chain().await;
        let number = chain.len() as u64 + 1;
        let (previous, previous_sequence) = match chain.last() {
            Some(parent) => (
                self.l1.block(parent.l1_origin()).await,
                Some(l1_info::sequence_number(parent.l1_info())),
            ),
            None => (self.genesis_origin, None),
        };
        let newest = self.policy.newest(&self.l1).await;
        let (origin, sequence_number) = if previous.number < newest.number {
            (self.l1.block(previous.number + 1).await, 0)
        } else {
            (previous, previous_sequence.map_or(1, |sequence| sequence + 1))
        };
        let mut deposits = vec![self.info_deposit(&origin, sequence_number)];
        deposits.extend(user_deposit(number, &origin));
        let timestamp = self.node.genesis_time() + number * BLOCK_TIME;
        Inputs::new(timestamp, deposits, self.transactions(number).await)
    }

    fn info_deposit(&self, origin: &L1Block, sequence_number: u64) -> Value {
        json!({
            "type": "0x7e",
            "sourceHash": info_source_hash(origin, sequence_number),
            "from": DEPOSITOR,
            "to": L1_BLOCK_CONTRACT,
            "mint": "0x0",
            "value": "0x0",
            "gas": "0xf4240",
            "isSystemTx": false,
            "input": Bytes::from(self.format.calldata(origin, sequence_number)),
        })
    }

    /// Every kind of block: with a deployment, without transactions, and with transactions of each
    /// type.
    async fn transactions(&self, number: u64) -> Vec<Value> {
        if number == 1 {
            return vec![json!({
                "from": CALLER, "nonce": hex(0), "data": counter_deployment(), "value": "0x0",
                "gas": hex(GAS), "gasPrice": hex(GAS_PRICE),
            })];
        }
        if number.is_multiple_of(4) {
            return Vec::new();
        }
        let value = number + (self.salt.load(Ordering::Relaxed) << 32);
        let mut transfer = json!({
            "from": SENDER, "nonce": hex(self.nonce(SENDER).await), "to": RECEIVER,
            "value": hex(value), "gas": hex(GAS),
        });
        let fees = match number % 3 {
            0 => json!({"gasPrice": hex(GAS_PRICE)}),
            1 => json!({"gasPrice": hex(GAS_PRICE), "accessList": []}),
            _ => json!({"maxFeePerGas": hex(GAS_PRICE), "maxPriorityFeePerGas": hex(1)}),
        };
        transfer.as_object_mut().unwrap().extend(fees.as_object().unwrap().clone());
        let count = json!({
            "from": CALLER, "nonce": hex(self.nonce(CALLER).await), "to": counter(),
            "data": "0x01", "value": "0x0", "gas": hex(GAS),
            "maxFeePerGas": hex(GAS_PRICE), "maxPriorityFeePerGas": hex(1),
        });
        vec![transfer, count]
    }

    async fn nonce(&self, account: Address) -> u64 {
        let count = json!([account, "latest"]);
        quantity(&self.node.rpc().call("eth_getTransactionCount", count).await)
    }
}

/// A user deposit in every third block.
fn user_deposit(number: u64, origin: &L1Block) -> Option<Value> {
    number.is_multiple_of(3).then(|| {
        json!({
            "type": "0x7e", "sourceHash": user_source_hash(origin, number),
            "from": "0x00000000000000000000000000000000000a11ce", "to": RECEIVER,
            "mint": "0x10", "value": "0x7", "gas": "0x186a0", "isSystemTx": false, "input": "0x",
        })
    })
}
