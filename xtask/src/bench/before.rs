//! The module that the benchmark of the filter compares with: a file, or what a revision builds.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    process,
    workspace::{self, Workspace},
};

/// The last revision whose module spoke the ABI itself, without the SDK.
const DEFAULT: &str = "a5d120e";

/// The module, built unless it is a file or was built before. None where nothing was named and the
/// checkout does not have the default revision.
///
/// # Errors
/// What was named is neither a file nor a revision, or the revision does not build.
pub(super) fn find(workspace: &Workspace, named: Option<&str>) -> Result<Option<PathBuf>> {
    if let Some(file) = named.map(Path::new)
        && file.is_file()
    {
        return Ok(Some(std::path::absolute(file)?));
    }
    let name = named.unwrap_or(DEFAULT);
    let commit = match (revision(workspace, name), named) {
        (Ok(commit), _) => commit,
        (Err(error), Some(_)) => {
            return Err(error.context(format!("{name} is neither a file nor a revision")));
        }
        (Err(_), None) => {
            process::step(format_args!("no revision {name} here to compare with"));
            return Ok(None);
        }
    };
    let folder = workspace.target.join("bench/before");
    let kept = folder.join(format!("{commit}.wasm"));
    if !kept.is_file() {
        let module = build(workspace, &commit, &folder)
            .with_context(|| format!("the module of revision {name} cannot be built"))?;
        fs::copy(module, &kept)?;
    }
    Ok(Some(kept))
}

fn revision(workspace: &Workspace, name: &str) -> Result<String> {
    let revision = format!("{name}^{{commit}}");
    let commit =
        process::output(workspace.git().args(["rev-parse", "--verify", "--short=12", &revision]))?;
    Ok(commit.trim().to_owned())
}

/// Builds a revision by its own rules, from a copy of its sources.
fn build(workspace: &Workspace, commit: &str, folder: &Path) -> Result<PathBuf> {
    process::step(format_args!("building the filter of revision {commit}"));
    let sources = folder.join("sources");
    if sources.exists() {
        fs::remove_dir_all(&sources)?;
    }
    fs::create_dir_all(&sources)?;
    let archive = folder.join("sources.tar");
    process::run(workspace.git().args(["archive", "--output"]).arg(&archive).arg(commit))?;
    process::run(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&sources))?;
    let target = folder.join("target");
    let mut cargo = workspace.cargo();
    workspace::forget_outer_cargo(&mut cargo);
    cargo
        .current_dir(&sources)
        .env("CARGO_TARGET_DIR", &target)
        // The copy has no repository to take it from.
        .env("FINALITY_COMMIT", commit)
        .args(["run", "--quiet", "--package", "xtask", "--", "filter"]);
    process::run(&mut cargo)?;
    Ok(target.join("filter/finality_filter.wasm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_taken_as_it_is_and_what_is_neither_file_nor_revision_is_refused() {
        let workspace = Workspace::find().unwrap();
        let file = workspace.root.join("Cargo.toml");
        let named = file.to_str();
        assert_eq!(find(&workspace, named).unwrap(), Some(file.clone()));
        let error = find(&workspace, Some("no-such-revision")).unwrap_err();
        assert!(error.to_string().contains("no-such-revision"), "{error:#}");
    }
}
