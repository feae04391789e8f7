//! What both RPC ports of the full node share: what was set, and what was seen.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::node::L2Node;
use crate::{
    excess::{huge, nested, page},
    l1::{L1, L1Block},
};

/// What can be wrong with the execution RPC or with the op-node RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Every answer is an error of that HTTP status.
    Status(u16),
    /// Every answer is HTTP 200 and no JSON.
    Garbage,
    /// No request is ever answered.
    Hang,
    /// Every answer is a page with that HTTP status.
    Page(u16),
    /// Every answer is 60 MiB long.
    Huge,
    /// Every answer is nested a million levels deep.
    Nested,
    /// op-node only: it is starting, and every block is zero.
    NotReady,
    /// op-node only: it is starting, and knows the engine's L2 blocks but no L1 block.
    NoL1,
}

/// A request as it reached the execution port.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The body.
    pub body: Vec<u8>,
    /// The content-length header, if there was one.
    pub content_length: Option<usize>,
    /// Whether it came by way of Envoy, which gives every request an id.
    pub through_envoy: bool,
}

#[derive(Debug, Default)]
pub(super) struct Settings {
    /// What `latest` means, if not the node's newest block.
    pub(super) latest: Option<u64>,
    pub(super) finalized: Option<u64>,
    pub(super) safe: Option<u64>,
    /// What op-node reports instead of `finalized`.
    pub(super) consensus_finalized: Option<u64>,
    /// The highest block that L1 has really finalized.
    pub(super) highest_finalized: u64,
    /// op-node calls its unsafe tip safe and finalized, as after execution-layer sync.
    pub(super) el_synced: bool,
    pub(super) safe_head_database: bool,
    pub(super) execution_fault: Option<Fault>,
    pub(super) consensus_fault: Option<Fault>,
    pub(super) seen: VecDeque<Seen>,
    pub(super) sync_status_requests: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) node: Arc<L2Node>,
    pub(super) l1: Arc<L1>,
    pub(super) genesis_origin: L1Block,
    pub(super) settings: Arc<Mutex<Settings>>,
}

impl Context {
    pub(super) fn lock(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap()
    }
}

/// The answer under a fault of the whole port.
pub(crate) async fn fail(fault: Fault) -> Response {
    match fault {
        Fault::Status(code) => {
            (StatusCode::from_u16(code).unwrap(), "injected fault").into_response()
        }
        Fault::Garbage | Fault::NotReady | Fault::NoL1 => "<html>gateway</html>".into_response(),
        Fault::Hang => std::future::pending().await,
        Fault::Page(code) => page(code),
        Fault::Huge => huge(),
        Fault::Nested => nested(),
    }
}
