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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{FileStore, testing::record};

    #[test]
    fn it_goes_on_from_the_file_and_leaves_it_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.json");
        assert_eq!(DryStore::open(&path).unwrap().record(), None);
        let mut file = FileStore::open(&path).unwrap();
        file.save(record(9)).unwrap();
        let mut store = DryStore::open(&path).unwrap();
        assert_eq!((store.id(), store.record()), (file.id(), Some(&record(9))));
        store.save(record(12)).unwrap();
        let error = store.save(record(11)).unwrap_err();
        assert!(matches!(error, StoreError::Regression { stored: 12, given: 11 }), "{error}");
        assert_eq!(store.record(), Some(&record(12)));
        assert_eq!(read(&path).unwrap().unwrap().record, record(9));
    }
}
