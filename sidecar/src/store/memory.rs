//! A store in memory for tests: clones share the disk, and writes can be made to fail.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{Record, Store, StoreError, StoreId, following};

#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryStore {
    /// What this process has loaded or saved.
    record: Option<Record>,
    disk: Arc<Mutex<Disk>>,
}

/// The outcome of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Writes {
    #[default]
    Work,
    Fail,
    /// It is on disk, but reported as failed: the last sync failed.
    FailAfterWriting,
}

#[derive(Debug)]
struct Disk {
    id: StoreId,
    record: Option<Record>,
    writes: Writes,
    saves: Vec<u64>,
}

impl Default for Disk {
    fn default() -> Self {
        Self { id: StoreId::draw(), record: None, writes: Writes::default(), saves: Vec::new() }
    }
}

impl MemoryStore {
    pub(crate) fn with(record: Record) -> Self {
        let store = Self::default();
        store.disk.lock().record = Some(record);
        store.reopen()
    }

    /// The store as a new process finds it.
    pub(crate) fn reopen(&self) -> Self {
        let record = self.disk.lock().record.clone();
        Self { record, disk: Arc::clone(&self.disk) }
    }

    pub(crate) fn set_writes(&self, writes: Writes) {
        self.disk.lock().writes = writes;
    }

    /// What is on the disk.
    pub(crate) fn on_disk(&self) -> Option<Record> {
        self.disk.lock().record.clone()
    }

    /// The numbers of all successful saves.
    pub(crate) fn saves(&self) -> Vec<u64> {
        self.disk.lock().saves.clone()
    }
}

impl Store for MemoryStore {
    fn id(&self) -> StoreId {
        self.disk.lock().id
    }

    fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    fn save(&mut self, record: Record) -> Result<(), StoreError> {
        let mut disk = self.disk.lock();
        let failed = || StoreError::Interrupted("made to fail".into());
        if disk.writes == Writes::Fail {
            return Err(failed());
        }
        let floor = disk.record.as_ref().map(Record::order);
        let record = following(record, self.record.as_ref(), floor)?;
        disk.saves.push(record.number);
        disk.record = Some(record.clone());
        if disk.writes == Writes::FailAfterWriting {
            return Err(failed());
        }
        self.record = Some(record);
        Ok(())
    }
}

#[test]
fn the_store_of_the_model_keeps_what_a_store_promises() {
    let store = MemoryStore::default();
    super::testing::one_record_that_never_goes_down(|| store.reopen());
}
