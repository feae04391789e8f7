//! The parent chain, with the contracts through which delayed messages and batches go: L1, or
//! another chain on it.

use std::{path::Path, sync::Arc};

use alloy_primitives::{Address, B256, Bytes, U256, hex, keccak256};
use serde_json::{Value, json};

use super::{
    contracts::{self, BRIDGE, INBOX, SEQUENCER_INBOX, selector},
    message::{Header, Kind},
    orbit::Orbit,
};
use crate::{
    client::{self, Client, quantity},
    contracts::code,
    l1::{DEPLOYER, L1, L1Block},
    rollup::OriginPolicy,
};

/// Which chain the parent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ParentChain {
    /// L1.
    #[default]
    L1,
    /// A Nitro chain on L1, such as Arbitrum One, as its RPC shows it.
    Nitro,
}

/// The parent chain.
#[derive(Debug)]
pub struct Parent {
    l1: Arc<L1>,
    /// If it is not L1.
    orbit: Option<Orbit>,
}

/// A message of the delayed inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delayed {
    /// What stands before its content.
    pub header: Header,
    /// Its content, as the inbox has it.
    pub content: Bytes,
    /// The hash of its content, as the bridge has it.
    pub data_hash: B256,
}

impl Parent {
    /// Starts the chain if it is another one than L1, and puts the contracts there. The bridge has
    /// the chain's first message.
    pub async fn start(chain: ParentChain, l1: Arc<L1>, folder: &Path) -> Self {
        let orbit = match chain {
            ParentChain::L1 => None,
            ParentChain::Nitro => Some(Orbit::start(Arc::clone(&l1), folder).await),
        };
        let this = Self { l1, orbit };
        let (bridge, inbox) = (contracts::bridge(), contracts::inbox());
        for (address, runtime) in [(BRIDGE, &bridge), (INBOX, &inbox), (SEQUENCER_INBOX, &inbox)] {
            let code = json!([address, code(runtime)]);
            this.rpc().call("anvil_setCode", code).await;
        }
        this.deliver(Kind::INIT, Address::ZERO, &[0; 32]).await;
        this.set_batch_count(1).await;
        this.mine(1).await;
        this
    }

    /// Its RPC, past what makes it look like Nitro.
    fn rpc(&self) -> &Client {
        self.orbit.as_ref().map_or_else(|| self.l1.rpc(), Orbit::rpc)
    }

    /// The URL where it is asked.
    #[must_use]
    pub fn url(&self) -> String {
        self.orbit.as_ref().map_or_else(|| self.l1.rpc().url().into(), Orbit::url)
    }

    /// The chain, if it is not L1.
    #[must_use]
    pub fn orbit(&self) -> Option<&Orbit> {
        self.orbit.as_ref()
    }

    /// Mines blocks of it.
    pub async fn mine(&self, count: u64) {
        match &self.orbit {
            Some(orbit) => orbit.mine(count).await,
            None => self.l1.mine(count).await,
        }
    }

    /// Mines as many blocks as there are between the latest and the final one.
    pub async fn finalize(&self) {
        self.mine(crate::l1::FINALITY_DEPTH + 1).await;
    }

    /// Replaces its last blocks by empty ones.
    pub async fn reorg(&self, depth: u64) {
        self.rpc().call("anvil_reorg", json!([depth, []])).await;
    }

    /// The newest block that the sequencer may have read.
    pub async fn newest(&self, policy: OriginPolicy) -> L1Block {
        let tag = match policy {
            OriginPolicy::Finalized => "finalized",
            OriginPolicy::Latest => "latest",
        };
        let block = self.rpc().call("eth_getBlockByNumber", json!([tag, false])).await;
        L1Block::from_json(&block)
    }

    async fn send(&self, to: Address, data: &[u8]) {
        let data = hex::encode_prefixed(data);
        let call = json!({"from": DEPLOYER, "to": to, "data": data, "gas": "0x200000"});
        self.rpc().call("eth_sendTransaction", json!([call])).await;
    }

    /// Delivers a message in the next block.
    pub async fn deliver(&self, kind: Kind, sender: Address, content: &[u8]) {
        let inbox = if kind == Kind::BATCH_REPORT { SEQUENCER_INBOX } else { INBOX };
        self.deliver_as(inbox, kind, sender, keccak256(content), content).await;
    }

    /// Delivers a message under any hash in the next block.
    pub async fn deliver_as(
        &self,
        inbox: Address,
        kind: Kind,
        sender: Address,
        data_hash: B256,
        content: &[u8],
    ) {
        let kind = U256::from(kind.0).to_be_bytes::<32>();
        let words = [&kind[..], &sender.into_word()[..], &data_hash[..]].concat();
        self.send(inbox, &[words, abi_bytes(content)].concat()).await;
    }

    /// Delivers an L2 message of the deployer in the next block; its content is in the transaction
    /// alone.
    pub async fn deliver_from_origin(&self, content: &[u8]) {
        self.send(INBOX, &[&contracts::send_from_origin()[..], &abi_bytes(content)].concat()).await;
    }

    /// Makes the sequencer inbox have that many batches as of the next block.
    pub async fn set_batch_count(&self, count: u64) {
        self.send(SEQUENCER_INBOX, &U256::from(count).to_be_bytes::<32>()).await;
    }

    /// How many batches the sequencer inbox has at the final block.
    pub async fn final_batch_count(&self) -> u64 {
        self.count(SEQUENCER_INBOX, "batchCount()", json!("finalized")).await
    }

    /// How many messages have been delivered up to a block.
    pub async fn delayed_count(&self, at: &L1Block) -> u64 {
        self.count(BRIDGE, "delayedMessageCount()", json!(client::hex(at.number))).await
    }

    async fn count(&self, contract: Address, function: &str, at: Value) -> u64 {
        let data = hex::encode_prefixed(selector(function));
        let answer = self.rpc().call("eth_call", json!([{"to": contract, "data": data}, at])).await;
        // Before there was a contract, the answer is empty.
        U256::from_be_slice(&bytes(&answer)).to()
    }

    /// A delivered message.
    pub async fn message(&self, index: u64) -> Delayed {
        let id = B256::from(U256::from(index));
        let delivered = self.log(json!([contracts::message_delivered(), id])).await;
        let data = bytes(&delivered["data"]);
        let word = |index: usize| &data[32 * index..32 * index + 32];
        let number = |index: usize| U256::from_be_slice(word(index));
        let header = Header {
            kind: Kind(number(1).to()),
            poster: Address::from_slice(&word(2)[12..]),
            block_number: self.l1_number(&delivered).await,
            timestamp: number(5).to(),
            request_id: Some(id),
            base_fee: Some(number(4)),
        };
        let events = [
            contracts::inbox_message_delivered(),
            contracts::inbox_message_delivered_from_origin(),
        ];
        let inbox = self.log(json!([events, id])).await;
        let content = if inbox["topics"][0] == json!(events[0]) {
            from_abi(&bytes(&inbox["data"]))
        } else {
            let transaction = json!([inbox["transactionHash"]]);
            let transaction = self.rpc().call("eth_getTransactionByHash", transaction).await;
            from_abi(&bytes(&transaction["input"])[4..])
        };
        Delayed { header, content, data_hash: B256::from_slice(word(3)) }
    }

    async fn log(&self, topics: Value) -> Value {
        let filter = json!([{"fromBlock": "0x0", "toBlock": "latest", "topics": topics}]);
        let logs = self.rpc().call("eth_getLogs", filter).await;
        assert_eq!(logs.as_array().unwrap().len(), 1, "{logs}");
        logs[0].clone()
    }

    /// The number of L1 that contracts saw in a log's block.
    async fn l1_number(&self, log: &Value) -> u64 {
        let number = quantity(&log["blockNumber"]);
        self.orbit.as_ref().map_or(number, |orbit| orbit.l1_number(number))
    }
}

/// The arguments of a function or an event that has nothing but bytes.
fn abi_bytes(content: &[u8]) -> Vec<u8> {
    let word = |number: usize| U256::from(number).to_be_bytes::<32>();
    let padding = vec![0; content.len().next_multiple_of(32) - content.len()];
    [&word(32)[..], &word(content.len()), content, &padding].concat()
}

fn from_abi(data: &[u8]) -> Bytes {
    let length: usize = U256::from_be_slice(&data[32..64]).to();
    Bytes::copy_from_slice(&data[64..64 + length])
}

fn bytes(value: &Value) -> Bytes {
    value.as_str().unwrap().parse().unwrap()
}
