//! Nitro's blocks, made from messages.

use std::{collections::HashSet, sync::Arc};

use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, Header, proofs::ordered_trie_root_with_encoder};
use alloy_primitives::{B64, B256, Bytes, U256};
use alloy_rlp::Encodable;
use serde_json::{Value, json};

use super::{
    content::{START_BLOCK, call},
    ledger::{Ledger, Outcome},
    message::Message,
    parse::parse,
    transaction::{Internal, Transaction},
};
use crate::{client::hex, rollup::Numbered};

/// The gas limit of every block.
const GAS_LIMIT: u64 = 1 << 50;
/// The base fee, as long as little happens.
const BASE_FEE: u64 = 100_000_000;

/// What is the same in all blocks of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The chain id.
    pub chain_id: u64,
    /// The number of the block that no message made.
    pub genesis: u64,
    /// ArbOS' version.
    pub arbos_version: u64,
    /// Whether the sequencer's account gets the tips.
    pub collects_tips: bool,
}

/// A block.
#[derive(Debug, Clone)]
pub struct Block {
    /// Its hash.
    pub hash: B256,
    /// Its header.
    pub header: Header,
    /// Its transactions.
    pub transactions: Vec<Transaction>,
    /// The message that it was made from; the genesis block has none.
    pub message: Option<Message>,
    /// The accounts after it.
    pub ledger: Arc<Ledger>,
}

/// A chain after its genesis block. Chains share their blocks.
pub type Chain = Vec<Arc<Block>>;

impl Numbered for Block {
    fn number(&self) -> u64 {
        self.header.number
    }

    fn hash(&self) -> B256 {
        self.hash
    }
}

impl Rules {
    /// The genesis block.
    #[must_use]
    pub fn genesis(&self, timestamp: u64, ledger: Ledger) -> Block {
        let header = Header {
            number: self.genesis,
            timestamp,
            // The first message is in it.
            nonce: B64::from(1_u64.to_be_bytes()),
            state_root: ledger.root(),
            mix_hash: self.mix_hash(0, 0),
            ..header_base()
        };
        Block::new(header, Vec::new(), None, Arc::new(ledger))
    }

    /// The block of a message on top of another block.
    #[must_use]
    pub fn block(&self, parent: &Block, message: Message) -> Block {
        self.filtered_block(parent, message, &HashSet::new())
    }

    /// The same, of a chain that filters these transactions, as ArbOS may since version 60.
    #[must_use]
    pub fn filtered_block(
        &self,
        parent: &Block,
        message: Message,
        filtered: &HashSet<B256>,
    ) -> Block {
        let mut ledger = Ledger::clone(&parent.ledger);
        let inputs = self.inputs(parent, &message);
        let outcome = ledger.execute(inputs, parent.sends(), &message, filtered);
        self.with_outcome(parent, message, outcome, ledger)
    }

    /// What a message parses to.
    #[must_use]
    pub fn inputs(&self, parent: &Block, message: &Message) -> Vec<Transaction> {
        parse(message, self.chain_id, parent.arbos_version()).unwrap_or_default()
    }

    /// The block of a message on top of another block, if executing it gives this.
    #[must_use]
    pub fn with_outcome(
        &self,
        parent: &Block,
        message: Message,
        outcome: Outcome,
        ledger: Ledger,
    ) -> Block {
        let l1_number = parent.l1_number().max(message.header.block_number);
        let number = parent.header.number + 1;
        assert_eq!(number, message.position + self.genesis);
        let timestamp = parent.header.timestamp.max(message.header.timestamp);
        let start = [
            message.header.base_fee.unwrap_or_default(),
            U256::from(message.header.block_number),
            U256::from(number),
            U256::from(timestamp - parent.header.timestamp),
        ];
        let start = Internal { chain_id: self.chain_id, data: call(START_BLOCK, &start) };
        let mut transactions = vec![Transaction::Internal(start)];
        transactions.extend(outcome.transactions);
        let header = Header {
            parent_hash: parent.hash,
            beneficiary: message.header.poster,
            state_root: outcome.state_root,
            transactions_root: ordered_trie_root_with_encoder(&transactions, |transaction, out| {
                out.extend_from_slice(&transaction.network_form());
            }),
            receipts_root: outcome.receipts_root,
            logs_bloom: outcome.logs_bloom,
            number,
            gas_used: outcome.gas_used,
            timestamp,
            extra_data: Bytes::copy_from_slice(&outcome.sends.0[..]),
            mix_hash: self.mix_hash(outcome.sends.1, l1_number),
            nonce: B64::from(message.delayed_read.to_be_bytes()),
            ..header_base()
        };
        Block::new(header, transactions, Some(message), Arc::new(ledger))
    }

    /// How much was sent, the block number of L1, ArbOS' version, and flags.
    fn mix_hash(&self, sends: u64, l1_number: u64) -> B256 {
        let flags = u64::from(self.collects_tips) << 48;
        let words = [sends, l1_number, self.arbos_version, flags].map(u64::to_be_bytes);
        B256::from_slice(words.as_flattened())
    }
}

fn header_base() -> Header {
    Header {
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        difficulty: U256::ONE,
        gas_limit: GAS_LIMIT,
        base_fee_per_gas: Some(BASE_FEE),
        extra_data: Bytes::copy_from_slice(&B256::ZERO[..]),
        ..Header::default()
    }
}

impl Block {
    fn new(
        header: Header,
        transactions: Vec<Transaction>,
        message: Option<Message>,
        ledger: Arc<Ledger>,
    ) -> Self {
        Self { hash: header.hash_slow(), header, transactions, message, ledger }
    }

    /// The same block with another header, whose hash is right.
    #[must_use]
    pub fn with_header(&self, change: impl FnOnce(&mut Header)) -> Self {
        let mut header = self.header.clone();
        change(&mut header);
        Self { hash: header.hash_slow(), header, ..self.clone() }
    }

    /// The message that it was made from.
    ///
    /// # Panics
    /// When it is the genesis block.
    #[must_use]
    pub fn message(&self) -> &Message {
        self.message.as_ref().expect("the genesis block has no message")
    }

    /// How many delayed messages have been read.
    #[must_use]
    pub fn delayed_read(&self) -> u64 {
        u64::from_be_bytes(self.header.nonce.0)
    }

    /// The block number of L1.
    #[must_use]
    pub fn l1_number(&self) -> u64 {
        self.mix(1)
    }

    /// ArbOS' version.
    #[must_use]
    pub fn arbos_version(&self) -> u64 {
        self.mix(2)
    }

    /// How much was sent to the parent chain.
    pub(super) fn sends(&self) -> u64 {
        self.mix(0)
    }

    fn mix(&self, index: usize) -> u64 {
        let words = self.header.mix_hash.as_chunks::<8>().0;
        u64::from_be_bytes(words[index])
    }

    /// As a node's RPC shows it, with whole transactions or their hashes.
    #[must_use]
    pub fn json(&self, whole: bool) -> Value {
        let mut json = serde_json::to_value(&self.header).unwrap();
        let transactions = self.transactions.iter().zip(0_u64..).map(|(transaction, index)| {
            if !whole {
                return json!(transaction.hash());
            }
            let mut json = transaction.json();
            json["blockHash"] = json!(self.hash);
            json["blockNumber"] = json!(hex(self.header.number));
            json["transactionIndex"] = json!(hex(index));
            json
        });
        json["transactions"] = transactions.collect();
        json["hash"] = json!(self.hash);
        json["size"] = json!(hex(self.header.length() as u64));
        json["uncles"] = json!([]);
        json["l1BlockNumber"] = json!(hex(self.l1_number()));
        json["sendCount"] = json!(hex(self.sends()));
        json["sendRoot"] = json!(self.header.extra_data);
        json
    }
}
