//! HotShot as its query services show it: blocks with transactions by namespace, made on request.

mod faults;
mod lies;
mod routes;
mod stream;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
};

use alloy_primitives::B256;
use finality_hotshot::{
    block::{Circumstances, L1Finalized, Namespace},
    chain::Chain,
};
use tokio::sync::watch;

use crate::{l1::L1Block, ports::Server};
use lies::Answers;

pub use faults::{Fault, Lie, Proven, StreamFault};
pub use finality_hotshot::dispersal::Encoding;

/// How many blocks one range request may ask for; the real service's default.
pub const RANGE_LIMIT: u64 = 100;
/// How many headers one range request may ask for; the real service's default.
pub const HEADER_RANGE_LIMIT: u64 = 500;
/// The weight of the committee at first.
const WEIGHT: usize = 10;
/// The protocol version is usually 0.6.
pub const MINOR: u64 = 6;
/// Other rollups: one before ours in the table of every second block, one behind it in every third.
const OTHERS: [(u32, u64); 2] = [(7, 2), (u32::MAX, 3)];

/// A payload on its way to HotShot.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// The namespace it is posted to.
    pub namespace: u32,
    /// The bytes.
    pub payload: Vec<u8>,
    /// The blocks (number and hash) that it confirms, if the authorized batcher signed it.
    pub confirms: Vec<(u64, B256)>,
}

/// What is posted, and how the next block is made.
#[derive(Debug, Default)]
struct Next {
    transactions: Vec<Transaction>,
    /// Only in the forged chain.
    forged: Vec<Transaction>,
    /// How a proposer disperses namespaces that are to be dispersed in another way.
    encodings: HashMap<u32, Encoding>,
}

/// What one of the services has to itself.
#[derive(Debug, Default)]
struct Service {
    fault: Option<Fault>,
    proven: Proven,
    requests: BTreeMap<&'static str, u64>,
}

#[derive(Debug)]
struct State {
    chain: Chain,
    /// What some services show in its place.
    forged: Option<Chain>,
    next: Next,
    minor: u64,
    weight: usize,
    /// The blocks below are forgotten.
    pruned_below: u64,
    confirmed: HashMap<u64, HashSet<B256>>,
    services: Vec<Service>,
    stream_fault: Option<StreamFault>,
    /// Told of each new block.
    mined: watch::Sender<()>,
}

/// The state, as one service sees it.
#[derive(Debug, Clone)]
struct Shared {
    state: Arc<Mutex<State>>,
    service: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn fault(&self) -> Option<Fault> {
        self.lock().services[self.service].fault
    }

    fn proven(&self) -> Proven {
        self.lock().services[self.service].proven
    }
}

impl State {
    /// What a service says.
    fn answers(&self, service: usize) -> Answers<'_> {
        let lie = match self.services[service].fault {
            Some(Fault::Lie(lie)) => Some(lie),
            _ => None,
        };
        let forged = self.forged.as_ref().filter(|_| lie == Some(Lie::ForgedChain));
        Answers { chain: forged.unwrap_or(&self.chain), lie }
    }

    fn mine(&mut self, l1_head: L1Block, l1_finalized: L1Block) {
        let Next { transactions, forged, mut encodings } = std::mem::take(&mut self.next);
        for (number, hash) in
            transactions.iter().flat_map(|transaction| transaction.confirms.clone())
        {
            self.confirmed.entry(number).or_default().insert(hash);
        }
        let circumstances = Circumstances {
            minor: self.minor,
            weight: self.weight,
            timestamp: l1_head.timestamp,
            l1_head: l1_head.number,
            l1_finalized: Some(L1Finalized {
                number: l1_finalized.number,
                hash: l1_finalized.hash,
                timestamp: l1_finalized.timestamp,
            }),
        };
        let namespaces = |transactions: &[Transaction], height: u64| {
            let others =
                OTHERS.iter().filter(|(_, every)| height > 0 && height.is_multiple_of(*every));
            let others = others.map(|(id, _)| (*id, height.to_le_bytes().to_vec()));
            let ours = transactions.iter().map(|it| (it.namespace, it.payload.clone()));
            let mut by_id: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
            others.chain(ours).for_each(|(id, payload)| by_id.entry(id).or_default().push(payload));
            let namespace = |(id, payloads): (u32, Vec<Vec<u8>>)| Namespace {
                encoding: encodings.get(&id).copied().unwrap_or_default(),
                ..Namespace::new(id, &payloads)
            };
            by_id.into_iter().map(namespace).collect::<Vec<_>>()
        };
        if let Some(chain) = &mut self.forged {
            let shown = [&transactions[..], &forged].concat();
            chain.push(circumstances, namespaces(&shown, chain.height()));
        }
        self.chain.push(circumstances, namespaces(&transactions, self.chain.height()));
        encodings.retain(|id, _| transactions.iter().all(|it| it.namespace != *id));
        self.next.encodings = encodings;
        self.mined.send_replace(());
    }
}

/// A query service.
#[derive(Debug)]
pub struct Hotshot {
    shared: Shared,
    server: Server,
}

impl Hotshot {
    /// Starts the first service, with an empty genesis block.
    pub async fn start(l1_genesis: L1Block) -> Self {
        Self::start_at(l1_genesis, MINOR).await
    }

    /// The same with the protocol version 0.x.
    pub async fn start_at(l1_genesis: L1Block, minor: u64) -> Self {
        let mut state = State {
            stream_fault: None,
            chain: Chain::default(),
            forged: None,
            next: Next::default(),
            minor,
            weight: WEIGHT,
            pruned_below: 0,
            confirmed: HashMap::new(),
            services: vec![Service::default()],
            mined: watch::Sender::default(),
        };
        state.mine(l1_genesis, l1_genesis);
        Self::serve(Shared { state: Arc::new(Mutex::new(state)), service: 0 }).await
    }

    /// Starts another service of the same HotShot, with faults of its own.
    pub async fn another(&self) -> Self {
        let service = {
            let services = &mut self.shared.lock().services;
            services.push(Service::default());
            services.len() - 1
        };
        Self::serve(Shared { state: Arc::clone(&self.shared.state), service }).await
    }

    async fn serve(shared: Shared) -> Self {
        let server = Server::start(routes::router(shared.clone())).await;
        Self { shared, server }
    }

    /// Base URL, without a version.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/", self.server.url())
    }

    /// How many blocks there are.
    #[must_use]
    pub fn height(&self) -> u64 {
        self.shared.lock().chain.height()
    }

    /// The root over the headers below a height, as the light client on L1 has it.
    #[must_use]
    pub fn light_client_root(&self, height: u64) -> B256 {
        self.shared.lock().chain.tree().light_client_root(height)
    }

    /// Takes a payload; it is in the next block.
    pub fn submit(&self, transaction: Transaction) {
        self.shared.lock().next.transactions.push(transaction);
    }

    /// Begins a forged chain, which services with [`Lie::ForgedChain`] show from now on. It gets
    /// all that the other one gets, and what [`submit_forged`](Self::submit_forged) adds.
    pub fn forge(&self) {
        let mut state = self.shared.lock();
        state.forged = Some(state.chain.clone());
    }

    /// Takes a payload for the next block of the forged chain alone.
    pub fn submit_forged(&self, transaction: Transaction) {
        self.shared.lock().next.forged.push(transaction);
    }

    /// Has a namespace dispersed in that way in the next block that it is in.
    pub fn encode_next(&self, namespace: u32, encoding: Encoding) {
        self.shared.lock().next.encodings.insert(namespace, encoding);
    }

    /// Gives the committee another weight from the next block on.
    pub fn set_weight(&self, weight: usize) {
        self.shared.lock().weight = weight;
    }

    /// Makes the protocol version 0.x from the next block on.
    pub fn set_version(&self, minor: u64) {
        self.shared.lock().minor = minor;
    }

    /// Makes a block of all that was submitted.
    pub fn mine(&self, l1_head: L1Block, l1_finalized: L1Block) {
        self.shared.lock().mine(l1_head, l1_finalized);
    }

    /// Forgets all blocks but the newest, this many.
    pub fn prune(&self, kept: u64) {
        let mut state = self.shared.lock();
        state.pruned_below = state.chain.height().saturating_sub(kept);
    }

    /// Begins again with the first block, as a service whose storage was lost.
    pub fn reset(&self) {
        self.shared.lock().chain.truncate(1);
    }

    /// The hashes under which the authorized batcher had that L2 block confirmed.
    #[must_use]
    pub fn confirmed(&self, number: u64) -> HashSet<B256> {
        self.shared.lock().confirmed.get(&number).cloned().unwrap_or_default()
    }

    /// Sets or clears this service's fault.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.shared.lock().services[self.shared.service].fault = fault;
    }

    /// Where this service proves that a namespace is wrongly encoded.
    pub fn set_proven(&self, proven: Proven) {
        self.shared.lock().services[self.shared.service].proven = proven;
    }

    /// Sets or clears a fault of the streams of headers, of all services.
    pub fn set_stream_fault(&self, fault: Option<StreamFault>) {
        let mut state = self.shared.lock();
        state.stream_fault = fault;
        state.mined.send_replace(());
    }

    /// How many requests came to this service for `height`, `limits`, `namespace`, `header`,
    /// `stream`, `vid`, `path`, `wrong-encoding` or `other`.
    #[must_use]
    pub fn requests(&self, route: &str) -> u64 {
        let state = self.shared.lock();
        state.services[self.shared.service].requests.get(route).copied().unwrap_or_default()
    }
}
