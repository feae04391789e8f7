//! The clients of all dependencies, as the configuration names them, and a verifier that uses them.

use std::sync::Arc;

use alloy_primitives::Address;
use anyhow::Context as _;
use futures::{FutureExt as _, future::BoxFuture};
use tokio::sync::watch;

use crate::{
    config::{Config, RollupKind},
    espresso::QueryServices,
    eth::BlockId,
    head::HeadKeeper,
    l1::{BatchAuthenticatorError, BatcherHistory, FinalizedState, L1, LightClientError, State},
    node::{Execution, Node},
    redact::SecretUrl,
    rollup::{
        Rollup,
        nitro::{NitroChain, Parent},
        op::{Consensus, Op, OpStack},
    },
    store::StoreError,
    telemetry::{Metrics, metrics::Target},
    upstream::{DependencyReport, Failover, News, Upstream, UpstreamOptions},
    verifier::{self, Board, Verifier},
};

/// A verifier of these dependencies that runs until it is stopped.
pub(super) type Running = BoxFuture<'static, Result<(), StoreError>>;

/// One client for each URL, by the setting that names it.
pub(super) struct Clients {
    pub(super) node: Vec<Upstream>,
    pub(super) unrouted: Vec<Upstream>,
    pub(super) consensus: Vec<Upstream>,
    pub(super) query: Vec<Upstream>,
    pub(super) l1: Vec<Upstream>,
    /// The parent chain, if it is not L1.
    pub(super) parent: Option<Vec<Upstream>>,
    /// Those that only tell of new blocks, if the others do not.
    pub(super) node_sockets: Option<Vec<Upstream>>,
    pub(super) l1_sockets: Option<Vec<Upstream>>,
}

impl Clients {
    pub(super) fn new(config: &Config, metrics: &Metrics) -> anyhow::Result<Self> {
        let client = |target, setting, url: &SecretUrl| {
            let options = UpstreamOptions {
                request_timeout: config.request_timeout,
                retry_interval: config.verification_interval,
                metrics: metrics.clone(),
            };
            Upstream::new(target, setting, url.clone(), options)
                .context("cannot create an HTTP client")
        };
        let clients = |target, setting, urls: &[SecretUrl]| {
            let clients = urls.iter().map(|url| client(target, setting, url));
            clients.collect::<anyhow::Result<Vec<_>>>()
        };
        let sockets = |target, setting, urls: &Option<Vec<SecretUrl>>| {
            urls.as_deref().map(|urls| clients(target, setting, urls)).transpose()
        };
        let unrouted = config.node_unrouted_rpc.as_deref().unwrap_or_default();
        Ok(Self {
            node: clients(Target::Node, "node_execution_rpc", &config.node_execution_rpc)?,
            unrouted: clients(Target::Node, "node_unrouted_rpc", unrouted)?,
            consensus: clients(
                Target::Consensus,
                "node_consensus_rpc",
                config.node_consensus_rpc.as_deref().unwrap_or_default(),
            )?,
            parent: config
                .parent_rpc
                .as_deref()
                .map(|urls| clients(Target::Parent, "parent_rpc", urls))
                .transpose()?,
            query: clients(Target::Query, "query_service_url", &config.query_service_url)?,
            l1: clients(Target::L1, "l1_rpc", &config.l1_rpc)?,
            node_sockets: sockets(Target::Node, "node_execution_ws", &config.node_execution_ws)?,
            l1_sockets: sockets(Target::L1, "l1_ws", &config.l1_ws)?,
        })
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Upstream> {
        let node = self.node.iter().chain(&self.unrouted).chain(&self.consensus);
        node.chain(&self.l1).chain(self.parent.iter().flatten()).chain(&self.query)
    }
}

/// The dependencies as the verifier uses them; clones share state.
#[derive(Clone)]
pub(super) struct Dependencies {
    execution: Execution,
    consensus: Failover,
    l1: L1,
    /// The parent chain, if it is not L1.
    parent: Option<L1>,
    /// L1's endpoints, for a rollup whose parent chain it is.
    l1_clients: Vec<Upstream>,
    query: QueryServices,
    news: News,
}

impl Dependencies {
    pub(super) fn new(clients: Clients, config: &Config, metrics: &Metrics) -> Self {
        let execution = Execution::new(clients.node, clients.unrouted);
        let l1_clients = clients.l1.clone();
        let l1 = L1::new(clients.l1, config.verification_interval);
        let parent = clients.parent.map(|it| L1::new(it, config.verification_interval));
        let query = QueryServices::new(clients.query, 0, metrics.clone())
            .with_proofs(config.hotshot_proofs);
        let news = News::default();
        query.listen(&news);
        match clients.node_sockets {
            Some(sockets) => Execution::new(sockets, Vec::new()).listen(&news, metrics),
            None => execution.listen(&news, metrics),
        }
        match clients.l1_sockets {
            Some(sockets) => L1::new(sockets, config.verification_interval).listen(&news, metrics),
            None => l1.listen(&news, metrics),
        }
        let consensus = Failover::new(clients.consensus);
        Self { execution, consensus, l1, parent, l1_clients, query, news }
    }

    /// The node.
    pub(super) fn node(&self) -> Node {
        Node::new(self.execution.clone())
    }

    /// How each of them is.
    pub(super) fn reports(&self) -> Vec<DependencyReport> {
        let node = self.execution.reports().chain(self.consensus.reports());
        let l1 = self.l1.reports().chain(self.parent.iter().flat_map(L1::reports));
        node.chain(l1).chain(self.query.reports()).collect()
    }

    /// The query services, asked about one namespace.
    pub(super) fn services(&self, namespace: u32) -> QueryServices {
        self.query.with_namespace(namespace)
    }

    /// The state of the light client after an L1 block.
    pub(super) async fn light_client(
        &self,
        contract: Address,
        block: BlockId,
    ) -> Result<FinalizedState, LightClientError> {
        self.l1.light_client(contract, block).await
    }

    /// The history of a BatchAuthenticator after an L1 block.
    pub(super) async fn batchers(
        &self,
        contract: Address,
        block: BlockId,
    ) -> Result<BatcherHistory, BatchAuthenticatorError> {
        self.l1.batchers(contract, State::Of(block)).await
    }

    /// A verifier that moves this head and shows on this board what it finds.
    pub(super) fn verifier(
        self,
        config: &Config,
        keeper: HeadKeeper,
        board: Arc<Board>,
        metrics: Metrics,
        stopped: watch::Receiver<bool>,
    ) -> Running {
        match config.rollup {
            RollupKind::Op => {
                let consensus = Consensus::new(self.consensus.clone());
                let rollup = OpStack::new(Op::default(), consensus);
                self.verifier_of(rollup, config, keeper, board, metrics).run(stopped).boxed()
            }
            RollupKind::Nitro => {
                let rollup = self.nitro(config);
                self.verifier_of(rollup, config, keeper, board, metrics).run(stopped).boxed()
            }
        }
    }

    fn nitro(&self, config: &Config) -> NitroChain<Parent> {
        NitroChain::new(self.parent(config), config.genesis_block, config.nitro_require)
    }

    /// The parent chain of a Nitro chain, with its contracts.
    pub(super) fn parent(&self, config: &Config) -> Parent {
        let interval = config.verification_interval;
        let l1 = || L1::new(self.l1_clients.clone(), interval);
        let chain = self.parent.clone().unwrap_or_else(l1);
        let bridge = config.bridge_address.unwrap_or_default();
        let sequencer_inbox = config.sequencer_inbox_address.unwrap_or_default();
        Parent::new(chain, bridge, sequencer_inbox)
    }

    fn verifier_of<R: Rollup>(
        self,
        rollup: R,
        config: &Config,
        keeper: HeadKeeper,
        board: Arc<Board>,
        metrics: Metrics,
    ) -> Verifier<R, Node, L1, QueryServices> {
        let Self { execution, l1, query, news, .. } = self;
        let parts = verifier::Parts {
            rollup,
            node: Node::new(execution),
            l1,
            open_feed: Box::new(move |namespace| query.with_namespace(namespace)),
            keeper,
            news,
            board,
            metrics,
        };
        let options = verifier::Options {
            interval: config.verification_interval,
            namespace: config.namespace,
            batchers: config.batchers(),
            light_client: config.light_client_address,
            initial_hotshot_height: config.initial_hotshot_height,
            budget: verifier::BUDGET,
            trust_node_finalized: config.trust_node_finalized,
            proofs: config.hotshot_proofs,
        };
        Verifier::new(parts, options)
    }
}
