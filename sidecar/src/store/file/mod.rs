//! The store in a file.
//!
//! A save writes a temporary file in the same directory, syncs it, renames it over the state file
//! and syncs the directory. Whichever call fails or is the last one before a kill, the file is
//! intact and has the old or the new number.

use std::{
    fmt,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{
    Record, StateFile, Store, StoreError, StoreId,
    files::{Files, OsFiles},
    following, format,
    place::{Lock, Place},
};

/// The record in a JSON file, with one writer.
pub struct FileStore {
    place: Place,
    files: Box<dyn Files>,
    record: Option<Record>,
    id: StoreId,
    /// Whether the id was found in the file.
    id_is_known: bool,
    /// The number that a reset may not exceed.
    ceiling: Option<u64>,
    /// Generation and number that a failed write may have left on disk: nothing below follows.
    perhaps_on_disk: Option<(u64, u64)>,
    /// Why nothing could be written at the start.
    problem: Option<StoreError>,
    /// The file as this store left it.
    seen: Option<Trace>,
    temporaries: u64,
    _lock: Lock,
}

/// What an opened file held.
#[derive(Debug, Default)]
pub(super) struct Contents {
    record: Option<Record>,
    id: Option<StoreId>,
    /// The number that a reset may not exceed.
    ceiling: Option<u64>,
}

impl Contents {
    /// A file that is whole, or none.
    pub(super) fn whole(place: &Place) -> Result<Self, StoreError> {
        Ok(place.read()?.map(Self::of).unwrap_or_default())
    }

    /// A file that is whole, or a damaged one with a number.
    fn salvaged(place: &Place) -> Result<Self, StoreError> {
        let path = || place.file.clone();
        let text = place.text()?.ok_or_else(|| StoreError::Absent { path: path() })?;
        match (format::parse(&text), format::readable_number(&text)) {
            (Ok(file), _) => Ok(Self::of(file)),
            (Err(_), Some(number)) => Ok(Self { ceiling: Some(number), ..Self::default() }),
            (Err(source), None) => Err(StoreError::Corrupt { path: path(), source }),
        }
    }

    fn of(file: StateFile) -> Self {
        Self { ceiling: Some(file.record.number), record: Some(file.record), id: file.id }
    }
}

/// Identifies a version of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trace {
    device: u64,
    inode: u64,
    modified: (i64, i64),
}

impl Trace {
    fn of(path: &Path) -> io::Result<Option<Self>> {
        match fs::metadata(path) {
            Ok(found) => Ok(Some(Self::from(&found))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl From<&Metadata> for Trace {
    fn from(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            modified: (found.mtime(), found.mtime_nsec()),
        }
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore")
            .field("path", &self.place.file)
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

impl FileStore {
    /// Opens the file at `path` for writing; it need not exist yet, but its directory must. Only
    /// one process at a time can have it open.
    ///
    /// # Errors
    /// [`StoreError`] with a message that says what to do.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, Box::new(OsFiles), Contents::whole)
    }

    /// Opens the file for [`FileStore::reset`]: it may be damaged, if a number can still be read in
    /// it.
    ///
    /// # Errors
    /// As [`FileStore::open`], and [`StoreError::Absent`].
    pub fn open_for_reset(path: &Path) -> Result<Self, StoreError> {
        // Before anything is written, so that a wrong path leaves nothing behind.
        Contents::salvaged(&Place::of(path)?)?;
        Self::open_with(path, Box::new(OsFiles), Contents::salvaged)
    }

    pub(super) fn open_with(
        path: &Path,
        files: Box<dyn Files>,
        read: fn(&Place) -> Result<Contents, StoreError>,
    ) -> Result<Self, StoreError> {
        let place = Place::of(path)?;
        let lock = place.lock()?;
        place.remove_leftovers().map_err(|source| StoreError::of_folder(&place.folder, source))?;
        let Contents { record, id, ceiling } = read(&place)?;
        let mut store = Self {
            seen: None,
            place,
            files,
            record,
            id: id.unwrap_or_else(StoreId::draw),
            id_is_known: id.is_some(),
            ceiling,
            perhaps_on_disk: None,
            problem: None,
            temporaries: 0,
            _lock: lock,
        };
        store.seen = store.trace()?;
        match store.try_writing() {
            // The stored head can be served, and saving is tried again with the next one.
            Err(error @ StoreError::Full { .. }) if store.record.is_some() => {
                store.problem = Some(error);
            }
            tried => tried?,
        }
        Ok(store)
    }

    /// Lowers the number, in the next generation, and forgets what was known about its block. The
    /// chain is kept. Reading
    /// HotShot resumes at `restart_height`, which must not be above the batch that follows the
    /// number; without it, at the height from the light client or the configuration.
    ///
    /// # Errors
    /// [`StoreError::Raise`] if the number is above the stored one, [`StoreError::Absent`] if there
    /// is none, and those of the file system.
    pub fn reset(&mut self, number: u64, restart_height: Option<u64>) -> Result<(), StoreError> {
        match self.ceiling {
            None => return Err(StoreError::Absent { path: self.place.file.clone() }),
            Some(stored) if stored < number => {
                return Err(StoreError::Raise { stored, given: number });
            }
            Some(_) => {}
        }
        let stored = self.record.as_ref();
        // Below the lower of the two, nothing is missed.
        let fallback = stored.and_then(|stored| stored.fallback_height);
        let below = restart_height.and_then(|height| height.checked_sub(1));
        let fallback = [fallback, below].into_iter().flatten().min();
        self.write(Record {
            // What a damaged file has lost with its generation, it has lost with its id.
            generation: stored.map_or(0, |stored| stored.generation.saturating_add(1)),
            moment: None,
            number,
            hash: None,
            l1_origin: None,
            source: stored.map_or(finality_core::head::Source::Espresso, |stored| stored.source),
            restart_height,
            fallback_height: fallback.filter(|height| *height > 0),
            batchers: None,
            identity: stored.and_then(|stored| stored.identity),
            updated_at: Timestamp::now(),
            samples: stored.map(|stored| stored.samples.clone()).unwrap_or_default(),
            audit: super::Audit::default(),
        })
    }

    /// Takes over a reset of the head that all replicas publish: nothing above it is trusted any
    /// more. The chain is kept.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn take_over(&mut self, generation: u64, number: u64) -> Result<(), StoreError> {
        let Some(stored) = self.record.clone() else { return Ok(()) };
        let kept = stored.number <= number;
        self.write(Record {
            generation,
            number: stored.number.min(number),
            hash: stored.hash.filter(|_| kept),
            l1_origin: stored.l1_origin.filter(|_| kept),
            restart_height: stored.restart_height.filter(|_| kept),
            fallback_height: stored.fallback_height.filter(|_| kept),
            updated_at: Timestamp::now(),
            audit: if kept { stored.audit.clone() } else { super::Audit::default() },
            ..stored
        })
    }

    /// Whether a reset is one to those who know the head of this store: its generation was read,
    /// and the id by which they know it.
    #[must_use]
    pub const fn reset_is_followed(&self) -> bool {
        self.id_is_known && self.record.is_some()
    }

    /// The number that a reset may not exceed; none in an empty store.
    #[must_use]
    pub const fn ceiling(&self) -> Option<u64> {
        self.ceiling
    }

    fn trace(&self) -> Result<Option<Trace>, StoreError> {
        Trace::of(&self.place.file)
            .map_err(|source| StoreError::Unreadable { path: self.place.file.clone(), source })
    }

    /// Writes before anything depends on it. The directory is synced too, since the previous
    /// process may have been killed between its rename and its sync.
    fn try_writing(&mut self) -> Result<(), StoreError> {
        let temporary = self.temporary();
        let mut attempt = || {
            let mut file = self.files.create(&temporary)?;
            self.files.write(&mut file, b"\n")?;
            self.files.sync(&file)?;
            self.files.remove(&temporary)?;
            self.files.sync_folder(&self.place.folder)
        };
        attempt().map_err(|source| StoreError::of_folder(&self.place.folder, source))
    }

    fn temporary(&mut self) -> PathBuf {
        self.temporaries = self.temporaries.wrapping_add(1);
        self.place.temporary(self.temporaries)
    }

    fn write(&mut self, record: Record) -> Result<(), StoreError> {
        // A file that is gone is written again; one that another program wrote is not touched.
        let found = self.trace()?;
        if found.is_some() && found != self.seen {
            return Err(StoreError::Changed { path: self.place.file.clone() });
        }
        let text = format::render(&record, Some(self.id))
            .map_err(|source| StoreError::Corrupt { path: self.place.file.clone(), source })?;
        let temporary = self.temporary();
        let put = self.write_temporary(&temporary, &text).and_then(|trace| {
            self.files
                .rename(&temporary, &self.place.file)
                .map_err(|error| self.failed("putting the new file in place of the old", error))?;
            Ok(trace)
        });
        match put {
            Ok(trace) => self.seen = Some(trace),
            Err(error) => {
                // The first error counts; what cannot be removed now is removed at the next start.
                drop(self.files.remove(&temporary));
                return Err(error);
            }
        }
        self.perhaps_on_disk = self.perhaps_on_disk.max(Some(record.order()));
        self.files
            .sync_folder(&self.place.folder)
            .map_err(|error| self.failed("syncing the directory", error))?;
        self.perhaps_on_disk = None;
        self.ceiling = Some(record.number);
        self.record = Some(record);
        Ok(())
    }

    fn write_temporary(&mut self, path: &Path, text: &[u8]) -> Result<Trace, StoreError> {
        let mut file =
            self.files.create(path).map_err(|error| self.failed("creating a file", error))?;
        self.files.write(&mut file, text).map_err(|error| self.failed("writing", error))?;
        self.files.sync(&file).map_err(|error| self.failed("syncing", error))?;
        file.metadata()
            .map(|found| Trace::from(&found))
            .map_err(|error| self.failed("looking at the new file", error))
    }

    fn failed(&self, step: &'static str, source: io::Error) -> StoreError {
        StoreError::Write { path: self.place.file.clone(), step, source }
    }
}

impl Store for FileStore {
    fn id(&self) -> StoreId {
        self.id
    }

    fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    fn problem(&self) -> Option<&StoreError> {
        self.problem.as_ref()
    }

    fn save(&mut self, record: Record) -> Result<(), StoreError> {
        let stored = self.record.as_ref();
        let floor = stored.map(Record::order).max(self.perhaps_on_disk);
        self.write(following(record, stored, floor)?)
    }
}

#[cfg(test)]
mod tests;
