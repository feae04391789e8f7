//! Whether the module is the same wherever it is built.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    filter, process,
    workspace::{self, Workspace},
};

/// Builds the module here, and again from a copy in another folder, with another home of cargo, so
/// that no path of this machine can have gone into it unnoticed. What the second build needs is
/// kept in the target folder, and made once.
///
/// # Errors
/// The two differ, or one cannot be built.
pub(crate) fn run(workspace: &Workspace, force_fallback: bool) -> Result<()> {
    let first = filter::build(workspace, force_fallback)?;

    let folder = workspace.target.join("reproduce");
    let copy = folder.join("a/copy/in/another/folder");
    workspace.copy_sources(&copy)?;
    let cargo_home = folder.join("cargo");
    other_cargo_home(&cargo_home)?;
    let target = folder.join("target");
    let mut again = Command::new(std::env::current_exe().context("our own program")?);
    workspace::forget_outer_cargo(&mut again);
    again
        .current_dir(&copy)
        .env("CARGO_HOME", cargo_home)
        .env("CARGO_TARGET_DIR", &target)
        // The copy has no repository to take it from.
        .env("FINALITY_COMMIT", commit(workspace)?)
        .arg("filter");
    if force_fallback {
        again.arg("--force-fallback");
    }
    process::run(&mut again)?;

    let second = target.join("filter/finality_filter.wasm");
    if fs::read(&first)? != fs::read(&second)? {
        bail!(
            "the module is another one when it is built elsewhere: compare {} and {}",
            first.display(),
            second.display()
        );
    }
    println!("both builds are the same");
    Ok(())
}

/// A home of cargo under another path, with the same sources and configuration in it.
fn other_cargo_home(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path)?;
    }
    fs::create_dir_all(path)?;
    for name in ["registry", "config.toml"] {
        let own: PathBuf = workspace::cargo_home().join(name);
        if own.exists() {
            std::os::unix::fs::symlink(own, path.join(name))?;
        }
    }
    Ok(())
}

/// The commit that a build here names.
fn commit(workspace: &Workspace) -> Result<String> {
    match std::env::var("FINALITY_COMMIT") {
        Ok(commit) => Ok(commit),
        Err(_) => {
            let commit =
                process::output(workspace.git().args(["rev-parse", "--short=12", "HEAD"]))?;
            Ok(commit.trim().to_owned())
        }
    }
}
