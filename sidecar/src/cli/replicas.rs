//! Joining other replicas at the start, and leaving them.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use alloy_primitives::B256;
use async_trait::async_trait;

use super::exit::Failure;
use crate::{
    config::Config,
    head::{Blocks, Confirmations, HeadKeeper, Limits, Replica},
    node::Node,
    store::{self, FileStore, Record, Store, engine::Engine, etcd::EtcdClient},
};

/// How long a start waits for the engine, to learn whether the head was lowered meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is needed to publish with other replicas.
pub(super) struct Joining {
    client: EtcdClient,
    served: FileStore,
    limits: Limits,
}

/// The file with what this replica has served of the published head.
pub(super) fn served_path(store_path: &Path) -> PathBuf {
    let mut name = store_path.as_os_str().to_owned();
    name.push(OsString::from(".served"));
    name.into()
}

impl Joining {
    /// Takes over a head that was lowered while this replica was off, and one that was served with
    /// other replicas if there are none any more.
    pub(super) async fn prepare(
        config: &Config,
        verified: &mut FileStore,
    ) -> Result<Option<Self>, Failure> {
        let path = served_path(&config.store_path);
        let Some(client) = config.stores().client().map_err(Failure::usage)? else {
            leave(&path, verified)?;
            return Ok(None);
        };
        let mut served = FileStore::open(&path)?;
        let known = served.record().or(verified.record()).cloned();
        if let Some(known) = known
            && let Some(identity) = known.identity
            && let Ok(Ok(reading)) =
                tokio::time::timeout(PATIENCE, client.of(identity).load()).await
            && let Some(published) = reading.published
            && published.head.generation > known.generation
        {
            let (generation, number) = published.head.order();
            tracing::warn!(number, generation, "the published head was lowered on purpose");
            verified.take_over(generation, number)?;
            served.take_over(generation, number)?;
        }
        // A replica that was running has left it there.
        if let Some((generation, number)) = served.record().map(Record::order)
            && verified.record().is_some_and(|verified| verified.generation < generation)
        {
            verified.take_over(generation, number)?;
        }
        let limits = Limits {
            quorum: config.publish_quorum,
            timeout: config.cluster_timeout,
            max_age: config.cluster_max_age,
        };
        Ok(Some(Self { client, served, limits }))
    }

    /// Publishes with the others from now on.
    pub(super) fn join(self, keeper: &mut HeadKeeper, node: Node) -> (Replica, Confirmations) {
        let Self { client, served, limits } = self;
        let connect = Box::new(move |identity| Arc::new(client.of(identity)) as Arc<dyn Engine>);
        keeper.join(connect, served, Arc::new(NodeBlocks(node)), limits)
    }
}

/// Without other replicas, the head is what was served with them, until more is verified.
fn leave(path: &Path, verified: &mut FileStore) -> Result<(), Failure> {
    let Some(file) = store::read(path)? else { return Ok(()) };
    let served = file.record;
    let stored = verified.record();
    if stored.is_none_or(|stored| stored.order() < served.order()) {
        let Record { restart_height, batchers, samples, .. } =
            stored.cloned().unwrap_or_else(|| served.clone());
        tracing::info!(number = served.number, "the head was published with other replicas");
        verified.save(Record { moment: None, restart_height, batchers, samples, ..served })?;
    }
    // What is verified from now on is served: a later return must not take it for less.
    std::fs::remove_file(path)?;
    Ok(())
}

/// The node as the replica asks it.
struct NodeBlocks(Node);

#[async_trait]
impl Blocks for NodeBlocks {
    async fn hash_at(&self, number: u64) -> Result<Option<B256>, String> {
        self.0.hash_up_to_latest(number).await.map_err(|error| error.to_string())
    }
}
