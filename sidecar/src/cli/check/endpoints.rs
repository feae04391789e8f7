//! Each endpoint alone: what it is, how fast it answers, and what it lacks.

use std::{collections::BTreeMap, time::Instant};

use futures::{FutureExt as _, future::join_all};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    cli::dependencies::Clients,
    config::RollupKind,
    espresso::{QueryService, is_unserved},
    eth::BlockId,
    l1::{self, Endpoint as _},
    node::{Block, Execution, Node},
    rollup::{
        nitro::{NitroBlock, genesis_block},
        op::{RollupConfig, SyncStatus},
    },
    upstream::{Upstream, UpstreamError},
};

/// JSON-RPC's code for an unknown method.
const METHOD_NOT_FOUND: i64 = -32601;

/// One URL of a setting, and what it answered.
#[derive(Debug, Serialize)]
pub(super) struct Endpoint {
    pub(super) setting: &'static str,
    /// Without its secrets.
    pub(super) url: String,
    pub(super) version: Option<String>,
    pub(super) chain_id: Option<u64>,
    /// Its latest block; of op-node the newest safe one, of a query service HotShot's height.
    pub(super) latest: Option<u64>,
    pub(super) latency_ms: Option<u64>,
    /// Whether op-node keeps a safe-head database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) safe_head_database: Option<bool>,
    /// How many blocks below its final one L1 still has state, as far as that was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state_depth: Option<u64>,
    /// Whether a query service shows what is under the light client's root, where that is compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) block_state: Option<bool>,
    /// The first block of Nitro, by a Nitro node's configuration of its chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) genesis_block: Option<u64>,
    /// What it did not answer.
    pub(super) missing: Vec<Missing>,
    /// What it will be asked, by purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) calls_per_hour: Option<BTreeMap<&'static str, u64>>,
    #[serde(skip)]
    pub(super) finalized: Option<BlockId>,
    #[serde(skip)]
    pub(super) rollup: Option<RollupConfig>,
    #[serde(skip)]
    pub(super) sync: Option<SyncStatus>,
}

/// A question without a usable answer.
#[derive(Debug, Serialize)]
pub(super) struct Missing {
    pub(super) question: &'static str,
    /// One of [`UpstreamError::CODES`].
    pub(super) code: &'static str,
    pub(super) text: String,
}

impl Endpoint {
    fn of(client: &Upstream) -> Self {
        let report = client.report();
        Self {
            setting: report.setting,
            url: report.url,
            version: None,
            chain_id: None,
            latest: None,
            latency_ms: None,
            safe_head_database: None,
            state_depth: None,
            block_state: None,
            genesis_block: None,
            missing: Vec::new(),
            calls_per_hour: None,
            finalized: None,
            rollup: None,
            sync: None,
        }
    }

    /// Keeps an answer, or notes that it is missing.
    fn needs<T>(&mut self, question: &'static str, answer: Result<T, UpstreamError>) -> Option<T> {
        match answer {
            Ok(answer) => Some(answer),
            // It follows from the outage that is noted already.
            Err(UpstreamError::BackingOff(_)) if !self.missing.is_empty() => None,
            Err(error) => {
                let (code, text) = (error.code(), error.to_string());
                self.missing.push(Missing { question, code, text });
                None
            }
        }
    }

    /// As [`Self::needs`], and notes how long the answer took.
    async fn needs_timed<T>(
        &mut self,
        question: &'static str,
        asked: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Option<T> {
        let started = Instant::now();
        let answer = self.needs(question, asked.await);
        let took = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.latency_ms = answer.is_some().then_some(took);
        answer
    }
}

/// Asks every endpoint, all at once. `is_audited` says whether HotShot is compared with the light
/// client.
pub(super) async fn ask(clients: &Clients, rollup: RollupKind, is_audited: bool) -> Vec<Endpoint> {
    let execution = clients.node.iter().chain(&clients.unrouted);
    let asked = execution.map(|client| ask_execution(client, rollup).boxed());
    let asked = asked.chain(clients.consensus.iter().map(|client| ask_consensus(client).boxed()));
    let l1 = clients.l1.iter().chain(clients.parent.iter().flatten());
    let asked = asked.chain(l1.map(|client| ask_l1(client).boxed()));
    let asked =
        asked.chain(clients.query.iter().map(|client| ask_query(client, is_audited).boxed()));
    join_all(asked).await
}

async fn ask_execution(client: &Upstream, rollup: RollupKind) -> Endpoint {
    let mut found = Endpoint::of(client);
    let node = Node::new(Execution::from(client.clone()));
    found.chain_id = found.needs("eth_chainId", node.chain_id().await);
    found.latest = found.needs_timed("eth_blockNumber", node.latest()).await;
    if let Some(latest) = found.latest {
        let block = match rollup {
            RollupKind::Op => node.block::<Block>(latest).await.map(drop),
            RollupKind::Nitro => node.block::<NitroBlock>(latest).await.map(drop),
        };
        found.needs("eth_getBlockByNumber", block);
    }
    found.needs("eth_getBlockByNumber finalized", node.finalized().await);
    if rollup == RollupKind::Nitro {
        found.genesis_block = found.needs("NodeInterface", genesis_block(&node).await).flatten();
    }
    found.version = version(client, "web3_clientVersion").await;
    found
}

async fn ask_consensus(client: &Upstream) -> Endpoint {
    let mut found = Endpoint::of(client);
    let rollup = client.call::<RollupConfig>("optimism_rollupConfig", json!([])).await;
    found.rollup = found.needs("optimism_rollupConfig", rollup);
    found.chain_id = found.rollup.as_ref().map(|rollup| rollup.l2_chain_id);
    let sync = client.call::<SyncStatus>("optimism_syncStatus", json!([]));
    found.sync = found.needs_timed("optimism_syncStatus", sync).await;
    let sync = found.sync.as_ref();
    found.latest = sync.and_then(|sync| sync.safe_l2).map(|safe| safe.number);
    if let Some(l1) = sync.and_then(|sync| sync.current_l1) {
        let at = json!([format!("{:#x}", l1.number)]);
        let answer = client.call::<Value>("optimism_safeHeadAtL1Block", at).await;
        found.safe_head_database = Some(match answer {
            Ok(_) => true,
            // It has none yet for that block.
            Err(UpstreamError::Rpc { code, message }) => {
                code != METHOD_NOT_FOUND && message.to_ascii_lowercase().contains("not found")
            }
            Err(_) => false,
        });
    }
    found.version = version(client, "optimism_version").await;
    found
}

async fn ask_l1(client: &Upstream) -> Endpoint {
    let mut found = Endpoint::of(client);
    found.chain_id = found.needs("eth_chainId", client.chain_id().await);
    found.latest = found.needs_timed("eth_blockNumber", client.latest()).await;
    found.finalized =
        found.needs("eth_getBlockByNumber finalized", client.finalized().await).flatten();
    if let Some(finalized) = found.finalized {
        found.needs("eth_getBlockByNumber", client.block_at(finalized.number).await);
        found.state_depth = found.needs("eth_call", l1::state_depth(client, finalized).await);
    }
    found.version = version(client, "web3_clientVersion").await;
    found
}

async fn ask_query(client: &Upstream, is_audited: bool) -> Endpoint {
    let mut found = Endpoint::of(client);
    // Any namespace does: only whether blocks are served is asked here.
    let service = QueryService::new(client.clone(), 0);
    found.needs("availability/limits", service.range_limit().await);
    found.latest = found.needs_timed("status/block-height", service.height()).await;
    if let Some(newest) = found.latest.and_then(|height| height.checked_sub(1)) {
        // The newest block's payload may come later than its number.
        let from = newest.saturating_sub(1);
        found.needs("availability/block", service.range(from, from + 1).await);
        if is_audited && newest > 0 {
            found.block_state = match service.block_path(newest, from).await {
                Err(error) if is_unserved(&error) => Some(false),
                path => found.needs("block-state", path).map(|_| true),
            };
        }
    }
    found
}

/// What an endpoint says it is, shortened; it need not say.
async fn version(client: &Upstream, method: &str) -> Option<String> {
    const LONGEST: usize = 60;
    let text = client.call::<String>(method, json!([])).await.ok()?;
    Some(text.chars().take(LONGEST).collect())
}
