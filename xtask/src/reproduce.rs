//! Whether the module is the same wherever it is built.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::{
    filter, process,
    workspace::{self, Workspace},
};

/// Builds the module here, and again from a clone of the commit in another folder, with another home of cargo, so that no path
/// of this machine can have gone into it unnoticed.
///
/// # Errors
/// The two differ, one cannot be built, or there are changes that no commit has.
pub(crate) fn run(workspace: &Workspace, force_fallback: bool) -> Result<()> {
    let git = |folder: &Path| {
        let mut git = Command::new("git");
        git.current_dir(folder);
        git
    };
    if !process::output(git(&workspace.root).args(["status", "--porcelain"]))?.trim().is_empty() {
        bail!("there are changes that are not committed: the second build would not have them");
    }
    let first = filter::build(workspace, force_fallback)?;

    let folder = tempfile::tempdir()?;
    let clone = folder.path().join("a/clone/in/another/folder");
    process::output(
        git(&workspace.root).args(["clone", "--quiet", "--no-hardlinks", "."]).arg(&clone),
    )?;
    let cargo_home = folder.path().join("cargo");
    fs::create_dir(&cargo_home)?;
    // The sources are the same, under another path.
    std::os::unix::fs::symlink(
        workspace::cargo_home().join("registry"),
        cargo_home.join("registry"),
    )?;
    let xtask = std::env::current_exe().context("our own program")?;
    let target = folder.path().join("target");
    let mut again = Command::new(xtask);
    workspace::forget_outer_cargo(&mut again);
    again
        .current_dir(&clone)
        .env("CARGO_HOME", &cargo_home)
        .env("CARGO_TARGET_DIR", &target)
        .arg("filter");
    if force_fallback {
        again.arg("--force-fallback");
    }
    process::run(&mut again)?;

    let second = target.join("filter/finality_filter.wasm");
    if fs::read(&first)? != fs::read(&second)? {
        let kept = workspace.target.join("filter/finality_filter.second.wasm");
        fs::copy(&second, &kept)?;
        bail!(
            "the module is another one when it is built elsewhere: compare {} and {}",
            first.display(),
            kept.display()
        );
    }
    println!("both builds are the same");
    Ok(())
}
