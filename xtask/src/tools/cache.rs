//! The folder of fetched programs, shared by all checkouts.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{process, workspace::Workspace};

#[derive(Debug)]
pub(crate) struct Cache {
    root: PathBuf,
}

/// The folder of incomplete fetches, with a subfolder and a lock for each folder of the cache.
const PARTIAL: &str = ".partial";
const LOCK: &str = "lock";

impl Cache {
    /// The folder in the user's cache, or one under `target` with `no_cache` or if the user has no
    /// writable cache.
    pub(crate) fn choose(no_cache: bool, workspace: &Workspace) -> Self {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
        let own = || workspace.target.join("tools");
        if no_cache {
            return Self::at(own());
        }
        if let Some(named) = variable("FINALITY_CACHE") {
            return Self::at(std::path::absolute(&named).unwrap_or_else(|_| named.into()));
        }
        let users = users_folder(variable("XDG_CACHE_HOME"), env::home_dir());
        Self::at(users.filter(|folder| fs::create_dir_all(folder).is_ok()).unwrap_or_else(own))
    }

    pub(crate) fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// The program `name` in `folder` of the cache, if it is there.
    pub(crate) fn kept(&self, folder: &str, name: &str) -> Option<PathBuf> {
        Some(self.root.join(folder).join(name)).filter(|path| process::is_program(path))
    }

    /// The program, library or folder `name` in `folder` of the cache. If it is missing, `fetch`
    /// gets an empty folder and returns the path in it. Only complete fetches appear in the cache,
    /// even if the process is killed, and two processes that need the same fetch it once.
    ///
    /// # Errors
    /// The cache is not writable, or fetching fails.
    pub(crate) fn keep(
        &self,
        folder: &str,
        name: &str,
        fetch: impl FnOnce(&Path) -> Result<PathBuf>,
    ) -> Result<PathBuf> {
        let program = self.root.join(folder).join(name);
        if program.exists() {
            return Ok(program);
        }
        self.fill(&program, fetch)?;
        Ok(program)
    }

    fn fill(&self, program: &Path, fetch: impl FnOnce(&Path) -> Result<PathBuf>) -> Result<()> {
        let folder = program.parent().context("a program has a folder")?;
        let partial = self.root.join(PARTIAL).join(folder.file_name().unwrap_or_default());
        // Held until the file is closed.
        let _lock = lock(&partial).with_context(|| {
            format!(
                "cannot write to the cache {} (set FINALITY_CACHE to another folder)",
                self.root.display()
            )
        })?;
        if program.exists() {
            return Ok(());
        }
        remove_leftovers(&partial)?;
        let empty = tempfile::tempdir_in(&partial)?;
        let fetched = fetch(empty.path())?;
        let ready = tempfile::tempdir_in(&partial)?;
        let name = program.file_name().context("a program has a name")?;
        fs::rename(fetched, ready.path().join(name))?;
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::rename(ready.keep(), folder)?;
        Ok(())
    }
}

/// Creates the folder and locks it against other processes.
fn lock(folder: &Path) -> std::io::Result<File> {
    fs::create_dir_all(folder)?;
    let file = File::create(folder.join(LOCK))?;
    file.lock()?;
    Ok(file)
}

/// Removes the leftovers of killed processes. The caller holds the lock.
fn remove_leftovers(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() != LOCK {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// A relative `XDG_CACHE_HOME` is ignored, as its specification demands.
fn users_folder(xdg: Option<OsString>, home: Option<PathBuf>) -> Option<PathBuf> {
    let xdg = xdg.map(PathBuf::from).filter(|folder| folder.is_absolute());
    let cache = xdg.or_else(|| Some(home?.join(".cache")))?;
    Some(cache.join("finality"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use anyhow::bail;

    use super::*;

    fn program(folder: &Path) -> Result<PathBuf> {
        let path = folder.join("sub/fetched");
        fs::create_dir_all(folder.join("sub"))?;
        fs::write(&path, "program")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }

    #[test]
    fn cached_programs_are_not_fetched_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("new"));
        let first = cache.keep("tool-1", "tool", program).unwrap();
        assert_eq!(first, folder.path().join("new/tool-1/tool"));
        assert_eq!(fs::read_to_string(&first).unwrap(), "program");
        assert_eq!(cache.keep("tool-1", "tool", |_| bail!("fetched twice")).unwrap(), first);
    }

    #[test]
    fn an_incomplete_fetch_does_not_appear_in_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().into());
        let error = cache.keep("tool-1", "tool", |empty| {
            program(empty)?;
            bail!("cut off")
        });
        assert!(error.is_err());
        assert!(!folder.path().join("tool-1").exists());

        // The leftovers of a killed process: a partial folder, and a final one without its program.
        let partial = folder.path().join(PARTIAL).join("tool-1");
        fs::create_dir(partial.join("killed")).unwrap();
        fs::create_dir(folder.path().join("tool-1")).unwrap();
        assert!(cache.keep("tool-1", "tool", program).is_ok());
        let left = fs::read_dir(partial).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), [LOCK]);
    }

    #[test]
    fn the_users_folder_follows_the_convention() {
        let home = || Some("/home/u".into());
        assert_eq!(users_folder(Some("/x".into()), home()), Some("/x/finality".into()));
        assert_eq!(users_folder(Some("x".into()), home()), Some("/home/u/.cache/finality".into()));
        assert_eq!(users_folder(None, home()), Some("/home/u/.cache/finality".into()));
        assert_eq!(users_folder(None, None), None);
    }
}
