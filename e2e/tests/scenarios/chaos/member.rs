//! One replica with its files, its node, its way to etcd and its Envoy, all of which outlive it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy_primitives::B256;
use async_trait::async_trait;
use finality_core::head::HeadReport;
use finality_e2e::{
    etcd::Etcd,
    history::Order,
    link::{Link, Way},
    process,
    wait::{PATIENCE, until},
};
use finality_sidecar::{
    head::{Blocks, Confirmations, HeadBlock, HeadKeeper, Limits, PublishedHead},
    store::{
        FileStore, Identity, Store as _,
        engine::{Engine, Quorum},
        etcd::{EtcdClient, EtcdLocation, TlsFiles},
    },
    telemetry::Metrics,
};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::record::{Record, Recorded};

pub(super) const IDENTITY: Identity =
    Identity { chain_id: 7, genesis_hash: B256::repeat_byte(0xcd), namespace: 7 };

/// The block of a fork at a number; fork 0 is what HotShot confirms.
pub(super) fn hash(fork: u64, number: u64) -> B256 {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&fork.to_be_bytes());
    bytes[24..].copy_from_slice(&number.to_be_bytes());
    bytes.into()
}

/// The chain as all see it.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) tip: AtomicU64,
    pub(super) finalized: AtomicU64,
}

/// A node that may lag, or leave the chain above a number.
#[derive(Debug, Default)]
pub(super) struct Node {
    latest: AtomicU64,
    /// Blocks behind the tip.
    pub(super) lag: AtomicU64,
    /// Fork 1 from this number on; zero: on fork 0 throughout.
    pub(super) forked_at: AtomicU64,
}

impl Node {
    fn fork_at(&self, number: u64) -> u64 {
        let forked_at = self.forked_at.load(Ordering::Relaxed);
        u64::from(forked_at != 0 && number >= forked_at)
    }
}

#[async_trait]
impl Blocks for Node {
    async fn hash_at(&self, number: u64) -> Result<Option<B256>, String> {
        let latest = self.latest.load(Ordering::Relaxed);
        Ok((number <= latest).then(|| hash(self.fork_at(number), number)))
    }
}

/// See above.
pub(super) struct Member {
    folder: TempDir,
    store: String,
    links: Vec<Link>,
    pub(super) node: Arc<Node>,
    /// Whether it hears no answer to its publications.
    pub(super) deaf: Arc<AtomicBool>,
    running: Mutex<Option<Running>>,
    /// What its Envoy was shown and would serve, in order.
    pub(super) shown: Arc<Mutex<Vec<Order>>>,
}

struct Running {
    head: PublishedHead,
    confirmations: Confirmations,
    /// Ends with it.
    tasks: JoinSet<()>,
}

impl Member {
    pub(super) fn new(etcd: &Etcd) -> Self {
        let links: Vec<_> = (0..3).map(|_| Link::default()).collect();
        Self {
            folder: process::folder(),
            store: etcd.store_over(&links),
            links,
            node: Arc::default(),
            deaf: Arc::default(),
            running: Mutex::default(),
            shown: Arc::default(),
        }
    }

    pub(super) fn cut(&self, way: Way) {
        self.links.iter().for_each(|link| link.set(way));
    }

    /// Starts it, or starts it again after a reset.
    pub(super) async fn start(&self, quorum: Quorum, world: &Arc<World>, record: &Arc<Record>) {
        if self.is_running() {
            return;
        }
        self.deaf.store(false, Ordering::Relaxed);
        let mut verified = self.open("store.json").await;
        let mut served = self.open("served.json").await;
        let served_order = served.record().map(|record| record.order());
        if let Some((generation, number)) = served_order
            && verified.record().is_some_and(|verified| verified.generation < generation)
        {
            verified.take_over(generation, number).unwrap();
            served.take_over(generation, number).unwrap();
        }
        let (mut keeper, head) = HeadKeeper::new(verified, Metrics::new());
        let client =
            EtcdClient::new(EtcdLocation::parse(&self.store).unwrap(), TlsFiles::default());
        let client = client.unwrap();
        let (record, deaf) = (Arc::clone(record), Arc::clone(&self.deaf));
        let connect = Box::new(move |identity| {
            let etcd = client.of(identity);
            let (record, deaf) = (Arc::clone(&record), Arc::clone(&deaf));
            Arc::new(Recorded { etcd, record, deaf }) as Arc<dyn Engine>
        });
        let limits =
            Limits { quorum, timeout: Duration::from_secs(2), max_age: Duration::from_secs(6) };
        let node = Arc::clone(&self.node);
        let (replica, confirmations) = keeper.join(connect, served, node, limits);
        keeper.bind(IDENTITY).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(verify(keeper, Arc::clone(&self.node), Arc::clone(world)));
        tasks.spawn(async move {
            // It ends when the head was lowered.
            let _ = replica.run().await;
        });
        tasks.spawn(show(head.clone(), Arc::clone(&self.shown)));
        *self.running.lock().unwrap() = Some(Running { head, confirmations, tasks });
    }

    /// Opens a file once the task that was killed has let it go.
    async fn open(&self, name: &str) -> FileStore {
        let path = self.folder.path().join(name);
        until("a file to be free", PATIENCE, async || FileStore::open(&path).ok()).await
    }

    /// Whether it runs; one whose head was lowered on purpose has ended.
    pub(super) fn is_running(&self) -> bool {
        let mut running = self.running.lock().unwrap();
        let Some(found) = running.as_mut() else { return false };
        if found.tasks.try_join_next().is_some() {
            *running = None;
        }
        running.is_some()
    }

    pub(super) fn kill(&self) {
        *self.running.lock().unwrap() = None;
    }

    pub(super) fn report(&self) -> Option<Arc<HeadReport>> {
        self.running.lock().unwrap().as_ref()?.head.borrow().clone()
    }

    /// To be polled.
    pub(super) fn head(&self) -> Option<PublishedHead> {
        Some(self.running.lock().unwrap().as_ref()?.head.clone())
    }

    /// What its Envoy would serve now.
    pub(super) fn usable(&self) -> Option<Order> {
        self.report().filter(|head| head.status.is_usable()).map(|head| order(&head))
    }

    pub(super) async fn confirm(&self) -> Option<Order> {
        let asked = self.running.lock().unwrap().as_ref()?.confirmations.clone();
        asked.confirm().await.map(|head| order(&head))
    }
}

pub(super) fn number_of(head: &Option<Arc<HeadReport>>) -> Option<u64> {
    head.as_ref().map(|head| head.number)
}

pub(super) fn order(head: &HeadReport) -> Order {
    (head.generation, head.number)
}

/// Verifies what its node has, block by block, as long as HotShot's chain is its node's.
async fn verify(mut keeper: HeadKeeper, node: Arc<Node>, world: Arc<World>) {
    loop {
        let tip = world.tip.load(Ordering::Relaxed);
        let latest = tip.saturating_sub(node.lag.load(Ordering::Relaxed));
        node.latest.fetch_max(latest, Ordering::Relaxed);
        let latest = node.latest.load(Ordering::Relaxed);
        let finalized = world.finalized.load(Ordering::Relaxed);
        if finalized > 0 && finalized <= latest && node.fork_at(finalized) == 0 {
            keeper.observe_finalized(block(finalized));
        }
        let known = keeper.block().map_or(0, |block| block.number);
        let next = (known + 1..=latest).take_while(|number| node.fork_at(*number) == 0);
        let mut reached = None;
        for number in next.take(64) {
            keeper.walked(number, hash(0, number));
            reached = Some(number);
        }
        if let Some(number) = reached {
            keeper.confirm(block(number), number, number, None).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(super) fn block(number: u64) -> HeadBlock {
    HeadBlock { number, hash: Some(hash(0, number)), l1_origin: None }
}

async fn show(mut head: PublishedHead, shown: Arc<Mutex<Vec<Order>>>) {
    loop {
        let usable = head.borrow_and_update().clone().filter(|head| head.status.is_usable());
        if let Some(usable) = usable {
            let order = order(&usable);
            let mut shown = shown.lock().unwrap();
            if shown.last() != Some(&order) {
                shown.push(order);
            }
        }
        if head.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
