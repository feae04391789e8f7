//! The place of the state file: its real path, directory, lock and temporary files.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use rustix::fs::Access;

use super::{
    StoreError,
    format::{self, StateFile},
};

/// The lock of a state file.
pub(super) struct Lock(File);

impl Drop for Lock {
    /// Closing alone is not enough while a newly forked process holds a copy of the file.
    fn drop(&mut self) {
        drop(self.0.unlock());
    }
}

/// A path for a state file, with links resolved: two paths to one file share one lock.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) file: PathBuf,
    pub(super) folder: PathBuf,
    name: OsString,
}

impl Place {
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        let problem = |problem: String| StoreError::Path { path: path.to_owned(), problem };
        match fs::symlink_metadata(path) {
            // A rename would replace the link itself, not the file that it points to.
            Ok(found) if found.is_symlink() => {
                let target = fs::canonicalize(path).map_err(|error| {
                    problem(format!("is a dangling symbolic link ({error}); correct the link or name the file itself"))
                })?;
                return Self::of(&target);
            }
            Ok(found) if found.is_dir() => {
                return Err(problem("is a directory; name a file in it".into()));
            }
            Ok(found) if !found.is_file() => {
                return Err(problem("is not a regular file; name a regular file".into()));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(problem(format!("cannot be inspected: {error}"))),
        }
        let Some(name) = path.file_name() else {
            return Err(problem("names no file".into()));
        };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = fs::canonicalize(parent.unwrap_or(Path::new("."))).map_err(|error| {
            problem(format!("its directory cannot be used ({error}); create the directory first"))
        })?;
        if !folder.is_dir() {
            return Err(problem("its parent is not a directory".into()));
        }
        Ok(Self { file: folder.join(name), folder, name: name.to_owned() })
    }

    /// The text of the file; none if there is no file.
    pub(super) fn text(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let unreadable = |source| StoreError::Unreadable { path: self.file.clone(), source };
        let file = match File::open(&self.file) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        let mut text = Vec::new();
        file.take(format::MAX_BYTES + 1).read_to_end(&mut text).map_err(unreadable)?;
        Ok(Some(text))
    }

    /// The contents of the file; none if there is no file.
    pub(super) fn read(&self) -> Result<Option<StateFile>, StoreError> {
        let corrupt = |source| StoreError::Corrupt { path: self.file.clone(), source };
        self.text()?.map(|text| format::parse(&text)).transpose().map_err(corrupt)
    }

    /// Whether this user could write here, without writing.
    pub(super) fn check_writable(&self) -> Result<(), StoreError> {
        let failed = |source| Err(StoreError::of_folder(&self.folder, source));
        let wanted = Access::WRITE_OK.union(Access::EXEC_OK);
        if let Err(error) = rustix::fs::access(&self.folder, wanted) {
            return failed(error.into());
        }
        let disk = rustix::fs::statvfs(&self.folder);
        if disk.is_ok_and(|disk| is_full(disk.f_blocks, disk.f_bavail)) {
            return failed(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// Takes the lock until this is dropped; the system releases it after a kill.
    pub(super) fn lock(&self) -> Result<Lock, StoreError> {
        let path = self.with_suffix(".lock");
        let failed = |source| StoreError::of_folder(&self.folder, source);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let read = file.take(20).read_to_string(&mut holder);
                let holder = read.ok().and_then(|_| holder.trim().parse().ok());
                return Err(StoreError::Locked { path: self.file.clone(), holder });
            }
            Err(fs::TryLockError::Error(source)) => return Err(failed(source)),
        }
        // For the message of the next process that tries.
        let id = format!("{}\n", std::process::id());
        // The lock counts without it, also on a full disk.
        drop(
            file.set_len(0)
                .and_then(|()| file.rewind())
                .and_then(|()| file.write_all(id.as_bytes())),
        );
        Ok(Lock(file))
    }

    /// A name for a temporary file beside the state file.
    pub(super) fn temporary(&self, counter: u64) -> PathBuf {
        let mut name = self.temporary_prefix();
        name.push(format!("{}-{counter}", std::process::id()));
        self.folder.join(name)
    }

    /// Removes what killed processes left. Only the holder of the lock may call this.
    pub(super) fn remove_leftovers(&self) -> io::Result<()> {
        let prefix = self.temporary_prefix();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn temporary_prefix(&self) -> OsString {
        let mut name = OsString::from(".");
        name.push(&self.name);
        name.push(OsStr::new(".tmp-"));
        name
    }

    fn with_suffix(&self, suffix: &str) -> PathBuf {
        let mut name = self.name.clone();
        name.push(suffix);
        self.folder.join(name)
    }
}

/// Whether none of so many blocks is free. Some file systems count none at all.
const fn is_full(blocks: u64, free: u64) -> bool {
    blocks > 0 && free == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_not_an_absent_one() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::of(&folder.path().join("store.json")).unwrap();
        assert!(place.text().unwrap().is_none());
        // Whoever runs the test, a loop of links cannot be opened.
        symlink(&place.file, &place.file).unwrap();
        assert!(matches!(place.text(), Err(StoreError::Unreadable { .. })));
    }

    #[test]
    fn what_cannot_be_written_is_known_without_writing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.json");
        let place = Place::of(&path).unwrap();
        assert!(place.check_writable().is_ok() && super::super::check_writable(&path).is_ok());
        // Root may write everywhere.
        if !rustix::process::geteuid().is_root() {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).unwrap();
            assert!(matches!(place.check_writable(), Err(StoreError::Unwritable { .. })));
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        }
        folder.close().unwrap();
        assert!(matches!(place.check_writable(), Err(StoreError::Unwritable { .. })));
        assert!(matches!(super::super::check_writable(&path), Err(StoreError::Path { .. })));
        assert!(is_full(9, 0) && !is_full(9, 1) && !is_full(0, 0));
    }

    #[test]
    fn a_lock_ends_though_a_forked_process_has_a_copy_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::of(&folder.path().join("store.json")).unwrap();
        let lock = place.lock().unwrap();
        let copy = lock.0.try_clone().unwrap();
        assert!(matches!(place.lock(), Err(StoreError::Locked { .. })));
        drop(lock);
        assert!(place.lock().is_ok());
        drop(copy);
    }
}
