//! What a Nitro full node knows: its chain, and what a scenario makes of it.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use alloy_primitives::B256;
use tokio::sync::watch;

use super::block::{Block, Chain, Rules};
use crate::emulated::op_node::{Fault, Seen};

/// How many request bodies are remembered.
const REMEMBERED: usize = 4096;

#[derive(Debug)]
pub(super) struct Context {
    pub(super) rules: Rules,
    pub(super) genesis: Arc<Block>,
    pub(super) state: Mutex<State>,
    /// Told of each new chain.
    pub(super) news: watch::Sender<()>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) chain: Chain,
    pub(super) had: HashSet<(u64, B256)>,
    /// What `latest` means, if not the newest block.
    pub(super) latest: Option<u64>,
    pub(super) safe: Option<u64>,
    pub(super) finalized: Option<u64>,
    /// The highest block that the parent chain has really finalized.
    pub(super) highest_finalized: u64,
    /// The last block of each batch.
    pub(super) batches: Vec<u64>,
    pub(super) has_node_interface: bool,
    pub(super) chain_id: u64,
    pub(super) fault: Option<Fault>,
    pub(super) seen: VecDeque<Seen>,
}

impl Context {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The block of that number.
    pub(super) fn block(&self, number: u64) -> Option<Arc<Block>> {
        match number.checked_sub(self.rules.genesis)? {
            0 => Some(Arc::clone(&self.genesis)),
            index => self.lock().chain.get(usize::try_from(index - 1).ok()?).cloned(),
        }
    }
}

impl State {
    pub(super) fn see(&mut self, seen: Seen) {
        if self.seen.len() == REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back(seen);
    }
}
