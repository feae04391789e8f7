//! The folder that keeps fetched programs from one checkout to the next.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{process, workspace::Workspace};

/// Where fetched programs are kept.
#[derive(Debug)]
pub(crate) struct Cache {
    root: PathBuf,
}

/// What a folder is called until it is complete.
const PARTIAL: &str = ".partial-";

impl Cache {
    /// The folder in the user's cache; one under `target` with `no_cache`, or where the user has
    /// none that can be written.
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

    /// The cache in this folder.
    pub(crate) fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// The program that `cargo install --root <cache>` would have put here.
    pub(crate) fn installed(&self, name: &str) -> Option<PathBuf> {
        Some(self.root.join("bin").join(name)).filter(|path| process::is_program(path))
    }

    /// The program, library or folder `name` in `folder` of the cache. If it is not there, `fetch`
    /// is called with an empty folder and gives its place in it; only what is complete is ever seen
    /// in the cache, also when we are killed at any moment, and two processes fetch one after the
    /// other.
    ///
    /// # Errors
    /// The cache cannot be written, or fetching fails.
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
        // Held until the file is closed.
        let _lock = self.lock().with_context(|| {
            format!("cannot write the cache {} (FINALITY_CACHE names another)", self.root.display())
        })?;
        if program.exists() {
            return Ok(());
        }
        self.remove_leftovers()?;
        let empty = tempfile::Builder::new().prefix(PARTIAL).tempdir_in(&self.root)?;
        let fetched = fetch(empty.path())?;
        let ready = tempfile::Builder::new().prefix(PARTIAL).tempdir_in(&self.root)?;
        let name = program.file_name().context("a program has a name")?;
        fs::rename(fetched, ready.path().join(name))?;
        let folder = program.parent().context("a program has a folder")?;
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::rename(ready.keep(), folder)?;
        Ok(())
    }

    fn lock(&self) -> std::io::Result<File> {
        fs::create_dir_all(&self.root)?;
        let file = File::create(self.root.join(".lock"))?;
        file.lock()?;
        Ok(file)
    }

    /// Removes what killed processes have left. Only called with the lock held.
    fn remove_leftovers(&self) -> Result<()> {
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }
}

/// A relative `XDG_CACHE_HOME` counts as not set; its specification says so.
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
    fn what_is_there_is_not_fetched_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("new"));
        let first = cache.keep("tool-1", "tool", program).unwrap();
        assert_eq!(first, folder.path().join("new/tool-1/tool"));
        assert_eq!(fs::read_to_string(&first).unwrap(), "program");
        assert_eq!(cache.keep("tool-1", "tool", |_| bail!("fetched twice")).unwrap(), first);
    }

    #[test]
    fn a_half_finished_fetch_leaves_nothing_to_be_found() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().into());
        let error = cache.keep("tool-1", "tool", |empty| {
            program(empty)?;
            bail!("cut off")
        });
        assert!(error.is_err());
        assert!(!folder.path().join("tool-1").exists());

        // As a killed process leaves it: a partial folder, and a final one without its program.
        fs::create_dir(folder.path().join(".partial-killed")).unwrap();
        fs::create_dir(folder.path().join("tool-1")).unwrap();
        assert!(cache.keep("tool-1", "tool", program).is_ok());
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        assert_eq!(names, [".lock", "tool-1"]);
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
