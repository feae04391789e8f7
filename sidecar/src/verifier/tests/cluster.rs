//! Among other replicas: what keeps all of them back is the reason, whatever this one verifies.

use std::{sync::Arc, time::Duration};

use alloy_primitives::B256;
use async_trait::async_trait;
use finality_core::head::{Source, Status::NodeBehind};
use parking_lot::Mutex;

use super::{
    Round,
    world::{CHAIN_ID, MAIN, Runner, World, l2_hash},
};
use crate::{
    head::{Blocks, Limits},
    store::{
        Identity, StoreId,
        engine::{
            Advance, Engine, EngineError, Moment, News, Published, Quorum, Reading, Report,
            SharedHead, Watch,
        },
        memory::MemoryStore,
    },
};

const MAX_AGE: Duration = Duration::from_secs(60);

/// Answers what a test says, and takes no head.
#[derive(Debug, Default)]
struct Script(Mutex<Option<Reading>>);

impl Script {
    fn says(&self, at: Moment, published: Option<u64>) {
        let identity = Identity {
            chain_id: CHAIN_ID,
            genesis_hash: l2_hash(MAIN, 0),
            namespace: u32::try_from(CHAIN_ID).unwrap(),
        };
        let published = published.map(|number| {
            let mut head = SharedHead::new(identity, 0, number, Source::Espresso);
            head.hash = Some(l2_hash(MAIN, number));
            Published { revision: at.revision, head }
        });
        *self.0.lock() = Some(Reading { at, published });
    }

    fn silent() -> EngineError {
        EngineError::Silent("nobody answers".into())
    }
}

#[async_trait]
impl Engine for Script {
    async fn load(&self) -> Result<Reading, EngineError> {
        self.0.lock().clone().ok_or_else(Self::silent)
    }

    async fn advance(&self, _: Option<u64>, _: &SharedHead) -> Result<Advance, EngineError> {
        self.load().await.map(Advance::Lost)
    }

    async fn watch(&self, _: u64) -> Result<Box<dyn Watch>, EngineError> {
        Ok(Box::new(NoNews))
    }

    async fn report(&self, _: &Report) -> Result<(), EngineError> {
        Ok(())
    }

    async fn reports(&self) -> Result<Vec<Report>, EngineError> {
        Ok(Vec::new())
    }

    async fn withdraw(&self, _: StoreId) -> Result<(), EngineError> {
        Ok(())
    }
}

struct NoNews;

#[async_trait]
impl Watch for NoNews {
    async fn next(&mut self) -> Result<News, EngineError> {
        std::future::pending().await
    }
}

/// A node that has none of the blocks that others have published.
struct NoBlocks;

#[async_trait]
impl Blocks for NoBlocks {
    async fn hash_at(&self, _: u64) -> Result<Option<B256>, String> {
        Ok(None)
    }
}

/// Rounds until there is nothing to do.
async fn rest(runner: &mut Runner) {
    while runner.verifier.round().await.unwrap() != Round::Idle {}
}

/// A verifier that has verified block 3, its node's latest one, among replicas whose engine has
/// published another.
async fn among_others(quorum: Quorum, published: u64) -> (Runner, Arc<Script>, World) {
    let world = World::new(3);
    world.post_all(MAIN, 1..=5);
    let mut runner = world.verifier(&MemoryStore::default());
    // The head changes between rounds, too.
    world.change().probes.clear();
    let engine = Arc::<Script>::default();
    engine.says(Moment { engine: 1, revision: 9 }, Some(published));
    let connected = Arc::clone(&engine);
    let connect = Box::new(move |_| Arc::clone(&connected) as Arc<dyn Engine>);
    let limits = Limits { quorum, timeout: Duration::from_secs(5), max_age: MAX_AGE };
    let keeper = &mut runner.verifier.keeper;
    let (replica, _) = keeper.join(connect, MemoryStore::default(), Arc::new(NoBlocks), limits);
    tokio::spawn(replica.run());
    rest(&mut runner).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    rest(&mut runner).await;
    assert_eq!(runner.head().map(|head| head.number), Some(published));
    (runner, engine, world)
}

#[tokio::test(start_paused = true)]
async fn what_keeps_all_replicas_back_is_the_reason_of_each() {
    let (mut runner, engine, _) = among_others(Quorum::One, 2).await;
    assert_eq!(runner.code(), "node_missing_block");
    *engine.0.lock() = None;
    tokio::time::sleep(MAX_AGE).await;
    rest(&mut runner).await;
    assert_eq!(runner.code(), "cut_off");
    // Another one, which has lost the head.
    engine.says(Moment { engine: 2, revision: 4 }, None);
    tokio::time::sleep(Duration::from_secs(3)).await;
    rest(&mut runner).await;
    assert_eq!(runner.code(), "cluster_regressed");

    let (runner, ..) = among_others(Quorum::Of(2), 2).await;
    assert_eq!(runner.code(), "quorum_short");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_others_have_published_does_not_stop_verification() {
    let (mut runner, _, world) = among_others(Quorum::One, 9).await;
    assert_eq!((runner.code(), runner.verifier.keeper.status()), ("node_behind", NodeBehind));
    world.change().node_latest = 5;
    rest(&mut runner).await;
    assert_eq!(runner.verifier.keeper.block().map(|verified| verified.number), Some(5));
    assert_eq!((runner.code(), runner.verifier.keeper.status()), ("node_behind", NodeBehind));
}
