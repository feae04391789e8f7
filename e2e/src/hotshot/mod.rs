//! HotShot as its query service shows it: blocks with transactions by namespace, made on request.

mod encoding;
mod faults;
mod routes;
mod stream;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
};

use alloy_primitives::B256;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{l1::L1Block, ports::Server};
use encoding::{base64, namespace_payload, namespace_table, tagged_base64};

pub use faults::Fault;

/// How many blocks one range request may ask for; the real service's default.
pub const RANGE_LIMIT: u64 = 100;

/// A payload on its way to HotShot.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// The namespace it is posted to.
    pub namespace: u32,
    /// The bytes.
    pub payload: Vec<u8>,
    /// The block (number and hash) that it confirms, if the authorized batcher signed it.
    pub confirms: Option<(u64, B256)>,
}

#[derive(Debug, Clone)]
struct HotshotBlock {
    transactions: Vec<Transaction>,
    timestamp: u64,
    l1_head: L1Block,
    l1_finalized: L1Block,
}

#[derive(Debug, Default)]
struct State {
    blocks: Vec<HotshotBlock>,
    pending: Vec<Transaction>,
    /// The blocks below are forgotten.
    pruned_below: u64,
    confirmed: HashMap<u64, HashSet<B256>>,
    fault: Option<Fault>,
    requests: BTreeMap<&'static str, u64>,
    /// Told of each new block.
    mined: watch::Sender<()>,
}

#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<State>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

/// The query service.
#[derive(Debug)]
pub struct Hotshot {
    state: Shared,
    server: Server,
}

impl Hotshot {
    /// Starts the service with an empty genesis block.
    pub async fn start(l1_genesis: L1Block) -> Self {
        let state = Shared::default();
        let server = Server::start(routes::router(state.clone())).await;
        let this = Self { state, server };
        this.mine(l1_genesis, l1_genesis);
        this
    }

    /// Base URL, without a version.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/", self.server.url())
    }

    /// How many blocks there are.
    #[must_use]
    pub fn height(&self) -> u64 {
        self.state.lock().blocks.len() as u64
    }

    /// Takes a payload; it is in the next block.
    pub fn submit(&self, transaction: Transaction) {
        self.state.lock().pending.push(transaction);
    }

    /// Makes a block of all that was submitted.
    pub fn mine(&self, l1_head: L1Block, l1_finalized: L1Block) {
        let mut state = self.state.lock();
        let transactions = std::mem::take(&mut state.pending);
        for (number, hash) in transactions.iter().filter_map(|transaction| transaction.confirms) {
            state.confirmed.entry(number).or_default().insert(hash);
        }
        let timestamp = l1_head.timestamp;
        state.blocks.push(HotshotBlock { transactions, timestamp, l1_head, l1_finalized });
        state.mined.send_replace(());
    }

    /// Forgets all blocks but the newest, this many.
    pub fn prune(&self, kept: u64) {
        let mut state = self.state.lock();
        state.pruned_below = (state.blocks.len() as u64).saturating_sub(kept);
    }

    /// Begins again with the first block, as a service whose storage was lost.
    pub fn reset(&self) {
        self.state.lock().blocks.truncate(1);
    }

    /// The hashes under which the authorized batcher had that L2 block confirmed.
    #[must_use]
    pub fn confirmed(&self, number: u64) -> HashSet<B256> {
        self.state.lock().confirmed.get(&number).cloned().unwrap_or_default()
    }

    /// Sets or clears a fault.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.state.lock().fault = fault;
    }

    /// How many requests came for `height`, `limits`, `namespace`, `header` or `other`.
    #[must_use]
    pub fn requests(&self, route: &str) -> u64 {
        self.state.lock().requests.get(route).copied().unwrap_or_default()
    }
}

impl HotshotBlock {
    /// The answer to "this namespace in this block".
    fn namespace(&self, namespace: u32) -> Value {
        let payloads = self.payloads(namespace);
        if payloads.is_empty() {
            return json!({"proof": null, "transactions": []});
        }
        let transactions: Vec<Value> = payloads
            .iter()
            .map(|payload| json!({"namespace": namespace, "payload": base64(payload)}))
            .collect();
        let index = self.namespaces().iter().position(|other| *other == namespace);
        json!({
            "proof": {"V1": {
                "ns_index": index,
                "ns_payload": base64(&namespace_payload(&payloads)),
                "ns_proof": tagged_base64("MERKLE_PROOF", &[0; 24]),
            }},
            "transactions": transactions,
        })
    }

    /// The header, as version 0.6 has it.
    fn header(&self, height: usize) -> Value {
        let table: Vec<(u32, usize)> = self
            .namespaces()
            .into_iter()
            .map(|namespace| (namespace, namespace_payload(&self.payloads(namespace)).len()))
            .collect();
        let mut root = [0; 48];
        root[..8].copy_from_slice(&(height as u64).to_be_bytes());
        json!({
            "version": {"Version": {"major": 0, "minor": 6}},
            "fields": {
                "chain_config": {"chain_config": {"Right": tagged_base64("CHAIN_CONFIG", &[0; 32])}},
                "height": height,
                "timestamp": self.timestamp,
                "timestamp_millis": self.timestamp * 1000,
                "l1_head": self.l1_head.number,
                "l1_finalized": {
                    "number": self.l1_finalized.number,
                    "timestamp": format!("{:#x}", self.l1_finalized.timestamp),
                    "hash": self.l1_finalized.hash,
                },
                "payload_commitment": tagged_base64("AvidmGf2Commit", &root[..32]),
                "builder_commitment": tagged_base64("BUILDER_COMMITMENT", &root[..32]),
                "ns_table": {"bytes": base64(&namespace_table(&table))},
                "block_merkle_tree_root": tagged_base64("MERKLE_COMM", &root),
                "fee_merkle_tree_root": tagged_base64("MERKLE_COMM", &root),
                "fee_info": {"account": alloy_primitives::Address::ZERO, "amount": "0"},
                "builder_signature": null,
                "reward_merkle_tree_root": tagged_base64("MERKLE_COMM", &root),
                "total_reward_distributed": "0",
                "next_stake_table_hash": null,
                "leader_counts": vec![0; 100],
            },
        })
    }

    fn namespaces(&self) -> Vec<u32> {
        let mut namespaces: Vec<u32> =
            self.transactions.iter().map(|transaction| transaction.namespace).collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        namespaces
    }

    fn payloads(&self, namespace: u32) -> Vec<&[u8]> {
        self.transactions
            .iter()
            .filter(|transaction| transaction.namespace == namespace)
            .map(|transaction| transaction.payload.as_slice())
            .collect()
    }
}
