//! A store that begins with the record of a file and writes nothing.

use std::path::Path;

use super::{Record, Store, StoreError, StoreId, following, read};

/// Keeps what is saved in memory, by the rules of the file.
#[derive(Debug)]
pub struct DryStore {
    id: StoreId,
    record: Option<Record>,
}

impl Default for DryStore {
    /// An empty one.
    fn default() -> Self {
        Self { id: StoreId::draw(), record: None }
    }
}

impl DryStore {
    /// Begins with the record of the file at `path`, if there is one. The file is not locked.
    ///
    /// # Errors
    /// [`StoreError`]; its message says what to do.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let Some(file) = read(path)? else { return Ok(Self::default()) };
        Ok(Self { id: file.id.unwrap_or_else(StoreId::draw), record: Some(file.record) })
    }
}

impl Store for DryStore {
    fn id(&self) -> StoreId {
        self.id
    }

    fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    fn save(&mut self, record: Record) -> Result<(), StoreError> {
        let floor = self.record.as_ref().map(Record::order);
        self.record = Some(following(record, self.record.as_ref(), floor)?);
        Ok(())
    }
}
