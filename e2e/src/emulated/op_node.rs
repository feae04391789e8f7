//! The two RPC ports of the full node: the execution RPC, which answers as op-geth does and where
//! `latest`, `finalized` and `safe` can be set, and the RPC of its op-node.

use std::sync::{Arc, Mutex};

use axum::{Router, extract::DefaultBodyLimit};

pub(crate) use super::state::fail;
pub use super::state::{Fault, Seen};
use super::{
    consensus, execution,
    node::L2Node,
    state::{Context, Settings},
};
use crate::{
    l1::{L1, L1Block},
    ports::Server,
};

/// The two RPC ports of the full node.
#[derive(Debug)]
pub struct OpNode {
    context: Context,
    execution: Server,
    consensus: Server,
}

impl OpNode {
    /// Starts both, with the genesis block finalized and safe.
    pub async fn start(node: Arc<L2Node>, l1: Arc<L1>, genesis_origin: L1Block) -> Self {
        let settings = Settings {
            finalized: Some(0),
            safe: Some(0),
            safe_head_database: true,
            ..Settings::default()
        };
        let settings = Arc::new(Mutex::new(settings));
        let context = Context { node, l1, genesis_origin, settings };
        let execution = Router::new()
            .fallback(execution::answer)
            .layer(DefaultBodyLimit::disable())
            .with_state(context.clone());
        let consensus = Router::new().fallback(consensus::answer).with_state(context.clone());
        let execution = Server::start(execution).await;
        let consensus = Server::start(consensus).await;
        Self { context, execution, consensus }
    }

    /// The execution RPC: what Envoy and the sidecar talk to.
    #[must_use]
    pub fn execution(&self) -> &Server {
        &self.execution
    }

    /// The op-node RPC.
    #[must_use]
    pub fn consensus(&self) -> &Server {
        &self.consensus
    }

    /// Makes that block `finalized` (and `safe`, if it was lower) for both RPCs.
    pub fn set_finalized(&self, number: u64) {
        let mut settings = self.context.lock();
        settings.finalized = Some(number);
        settings.safe = settings.safe.max(Some(number));
        settings.highest_finalized = settings.highest_finalized.max(number);
    }

    /// Makes the node know no `finalized` block.
    pub fn forget_finalized(&self) {
        self.context.lock().finalized = None;
    }

    /// What op-node reports as finalized, if it should differ from the execution RPC.
    pub fn set_consensus_finalized(&self, number: Option<u64>) {
        self.context.lock().consensus_finalized = number;
    }

    /// Makes the execution RPC serve `number` as `latest`, with the blocks above it still there by
    /// number but without state, as op-geth does after an unclean stop. None: its newest block.
    pub fn set_latest(&self, number: Option<u64>) {
        self.context.lock().latest = number;
    }

    /// Makes both RPCs call the newest block safe and finalized, as after execution-layer sync,
    /// whatever L1 has.
    pub fn set_el_synced(&self, synced: bool) {
        self.context.lock().el_synced = synced;
    }

    /// Whether op-node keeps a safe-head database.
    pub fn set_safe_head_database(&self, enabled: bool) {
        self.context.lock().safe_head_database = enabled;
    }

    /// The highest block that was ever set finalized.
    #[must_use]
    pub fn highest_finalized(&self) -> u64 {
        self.context.lock().highest_finalized
    }

    /// Sets or clears a fault of the execution RPC.
    pub fn set_execution_fault(&self, fault: Option<Fault>) {
        self.context.lock().execution_fault = fault;
    }

    /// Sets or clears a fault of the op-node RPC.
    pub fn set_consensus_fault(&self, fault: Option<Fault>) {
        self.context.lock().consensus_fault = fault;
    }

    /// How often the sync status was asked for.
    #[must_use]
    pub fn sync_status_requests(&self) -> u64 {
        self.context.lock().sync_status_requests
    }

    /// The remembered requests whose body contains `marker`.
    #[must_use]
    pub fn seen(&self, marker: &str) -> Vec<Seen> {
        let contains = |seen: &&Seen| String::from_utf8_lossy(&seen.body).contains(marker);
        self.context.lock().seen.iter().filter(contains).cloned().collect()
    }
}
