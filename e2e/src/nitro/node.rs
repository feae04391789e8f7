//! A Nitro full node: the chain that it has, and what its RPC says of it.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex},
};

use alloy_primitives::B256;
use axum::{Router, extract::DefaultBodyLimit};
use tokio::sync::watch;

use super::{
    block::{Block, Chain, Rules},
    rpc,
    state::{Context, State},
};
use crate::{
    emulated::op_node::{Fault, Seen},
    ports::Server,
};

/// The node.
#[derive(Debug)]
pub struct Node {
    context: Arc<Context>,
    server: Server,
}

impl Node {
    /// Starts a node with nothing but the genesis block, which is final.
    pub async fn start(rules: Rules, genesis: Arc<Block>) -> Self {
        let state = State {
            chain: Chain::new(),
            had: HashSet::from([(rules.genesis, genesis.hash)]),
            latest: None,
            safe: Some(rules.genesis),
            finalized: Some(rules.genesis),
            highest_finalized: rules.genesis,
            batches: vec![rules.genesis],
            has_node_interface: true,
            chain_id: rules.chain_id,
            fault: None,
            seen: VecDeque::new(),
        };
        let news = watch::Sender::default();
        let context = Arc::new(Context { rules, genesis, state: Mutex::new(state), news });
        let router = Router::new()
            .fallback(rpc::answer)
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&context));
        Self { context, server: Server::start(router).await }
    }

    /// Its RPC, also for WebSocket.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The hash of the genesis block.
    #[must_use]
    pub fn genesis_hash(&self) -> B256 {
        self.context.genesis.hash
    }

    /// The chain that it has.
    #[must_use]
    pub fn chain(&self) -> Chain {
        self.context.lock().chain.clone()
    }

    /// Goes over to another chain.
    pub fn follow(&self, chain: &[Arc<Block>]) {
        let mut state = self.context.lock();
        state.had.extend(chain.iter().map(|block| (block.header.number, block.hash)));
        state.chain = chain.to_vec();
        drop(state);
        self.context.news.send_replace(());
    }

    /// Whether it ever had that block.
    #[must_use]
    pub fn ever_had(&self, number: u64, hash: B256) -> bool {
        self.context.lock().had.contains(&(number, hash))
    }

    /// Makes that block `finalized`, and `safe` if that was lower.
    pub fn set_finalized(&self, number: u64) {
        let mut state = self.context.lock();
        state.finalized = Some(number);
        state.safe = state.safe.max(Some(number));
    }

    /// Makes it know no `finalized` block.
    pub fn forget_finalized(&self) {
        self.context.lock().finalized = None;
    }

    /// Makes it serve `number` as `latest`. None: its newest block.
    pub fn set_latest(&self, number: Option<u64>) {
        self.context.lock().latest = number;
    }

    /// Ends a batch with that block, as the node has read it from the parent chain.
    pub fn end_batch(&self, number: u64) {
        self.context.lock().batches.push(number);
    }

    /// How many batches it has read.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.context.lock().batches.len() as u64
    }

    /// The last block of a batch.
    ///
    /// # Panics
    /// When it has not read that batch.
    #[must_use]
    pub fn end_of_batch(&self, batch: u64) -> u64 {
        self.context.lock().batches[usize::try_from(batch).unwrap()]
    }

    /// Whether it has the NodeInterface.
    pub fn set_node_interface(&self, has: bool) {
        self.context.lock().has_node_interface = has;
    }

    /// What it says its chain id is.
    pub fn set_chain_id(&self, chain_id: u64) {
        self.context.lock().chain_id = chain_id;
    }

    /// Says that the parent chain has finalized a block.
    pub fn is_final(&self, number: u64) {
        let mut state = self.context.lock();
        state.highest_finalized = state.highest_finalized.max(number);
    }

    /// The highest block that the parent chain has finalized.
    #[must_use]
    pub fn highest_finalized(&self) -> u64 {
        self.context.lock().highest_finalized
    }

    /// Sets or clears a fault.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.context.lock().fault = fault;
    }

    /// The remembered requests whose body contains `marker`.
    #[must_use]
    pub fn seen(&self, marker: &str) -> Vec<Seen> {
        let contains = |seen: &&Seen| String::from_utf8_lossy(&seen.body).contains(marker);
        self.context.lock().seen.iter().filter(contains).cloned().collect()
    }
}
