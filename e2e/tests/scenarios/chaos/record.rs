//! An engine that writes down what it was asked and what it answered.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use async_trait::async_trait;
use finality_e2e::history::{Kind, Operation, Order, Time};
use finality_sidecar::store::{
    StoreId,
    engine::{Advance, Engine, EngineError, Reading, Report, SharedHead, Watch},
    etcd::Etcd,
};

/// What everybody did since the beginning, or since the engine last lost something.
#[derive(Debug)]
pub(super) struct Record {
    began: Instant,
    operations: Mutex<Vec<Operation>>,
}

impl Record {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), operations: Mutex::default() })
    }

    pub(super) fn now(&self) -> Time {
        self.began.elapsed().as_nanos()
    }

    pub(super) fn add(&self, kind: Kind, begin: Time, end: Option<Time>, value: Order) {
        self.operations.lock().unwrap().push(Operation { kind, begin, end, value });
    }

    pub(super) fn take(&self) -> Vec<Operation> {
        std::mem::take(&mut self.operations.lock().unwrap())
    }
}

/// etcd as one replica sees it.
pub(super) struct Recorded {
    pub(super) etcd: Etcd,
    pub(super) record: Arc<Record>,
    /// Whether the replica hears no answer to its next publication, as one that is killed then.
    pub(super) deaf: Arc<AtomicBool>,
}

impl Recorded {
    fn read(&self, begin: Time, reading: &Reading) {
        let value = reading.published.as_ref().map_or((0, 0), |found| found.head.order());
        self.record.add(Kind::Read, begin, Some(self.record.now()), value);
    }
}

#[async_trait]
impl Engine for Recorded {
    async fn load(&self) -> Result<Reading, EngineError> {
        let begin = self.record.now();
        let reading = self.etcd.load().await?;
        self.read(begin, &reading);
        Ok(reading)
    }

    async fn advance(&self, seen: Option<u64>, head: &SharedHead) -> Result<Advance, EngineError> {
        let begin = self.record.now();
        // Whoever is killed meanwhile may have written it.
        self.record.add(Kind::Write, begin, None, head.order());
        let advanced = self.etcd.advance(seen, head).await?;
        match &advanced {
            Advance::Done(_) => {
                self.record.add(Kind::Write, begin, Some(self.record.now()), head.order());
            }
            Advance::Lost(reading) => self.read(begin, reading),
        }
        if self.deaf.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        Ok(advanced)
    }

    async fn watch(&self, after: u64) -> Result<Box<dyn Watch>, EngineError> {
        self.etcd.watch(after).await
    }

    async fn report(&self, report: &Report) -> Result<(), EngineError> {
        self.etcd.report(report).await
    }

    async fn reports(&self) -> Result<Vec<Report>, EngineError> {
        self.etcd.reports().await
    }

    async fn withdraw(&self, replica: StoreId) -> Result<(), EngineError> {
        self.etcd.withdraw(replica).await
    }
}
