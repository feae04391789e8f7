//! Format, lints, and the part of the documents that is written by a program.

use std::path::PathBuf;

use anyhow::Result;

use crate::{process, tools::cache::Cache, workspace::Workspace};

/// Formats the code; with `check` only says whether it is formatted.
///
/// # Errors
/// It is not.
pub(crate) fn format(workspace: &Workspace, check: bool) -> Result<()> {
    process::step(if check { "checking the format" } else { "formatting" });
    let mut cargo = workspace.cargo();
    cargo.args(["fmt", "--all"]);
    if check {
        cargo.arg("--check");
    }
    process::run(&mut cargo)
}

/// Runs clippy and rustdoc, where every warning is an error, and cargo-deny if there is one.
///
/// # Errors
/// Either complains.
pub(crate) fn lint(workspace: &Workspace, cache: &Cache) -> Result<()> {
    clippy(workspace)?;
    documentation(workspace)?;
    if deny(workspace, cache)? {
        return Ok(());
    }
    process::step(
        "cargo-deny is not installed: licences and sources of dependencies are not checked",
    );
    Ok(())
}

/// # Errors
/// Clippy complains.
pub(crate) fn clippy(workspace: &Workspace) -> Result<()> {
    process::step("clippy");
    let mut cargo = workspace.cargo();
    cargo.args(["clippy", "--workspace", "--all-targets", "--all-features"]);
    process::run(cargo.args(["--", "--deny", "warnings"]))
}

/// # Errors
/// A link of the documentation leads nowhere.
pub(crate) fn documentation(workspace: &Workspace) -> Result<()> {
    process::step("documentation");
    let mut cargo = workspace.cargo();
    cargo.env("RUSTDOCFLAGS", "--deny warnings");
    process::run(cargo.args(["doc", "--workspace", "--no-deps"]))
}

/// Writes the tables of docs/configuration.md; the tests say when they are stale.
///
/// # Errors
/// The page cannot be written, or has lost the marks between which its tables stand.
pub(crate) fn write_tables(workspace: &Workspace) -> Result<()> {
    process::step("docs/configuration.md");
    process::run(workspace.cargo().args(["run", "--quiet", "--package", "finality-docs"]))
}

/// Checks licences, bans and sources of the dependencies; advisories need the network and are left
/// to a job of their own. Says whether there is a cargo-deny at all.
///
/// # Errors
/// It complains.
pub(crate) fn deny(workspace: &Workspace, cache: &Cache) -> Result<bool> {
    let Some(program) = cargo_deny(cache) else { return Ok(false) };
    process::step("cargo-deny");
    let mut cargo_deny = std::process::Command::new(program);
    crate::workspace::forget_outer_cargo(&mut cargo_deny);
    cargo_deny.current_dir(&workspace.root);
    cargo_deny.args(["--all-features", "check", "--hide-inclusion-graph"]);
    process::run(cargo_deny.args(["licenses", "bans", "sources"]))?;
    Ok(true)
}

/// The program, if it is installed. It takes three minutes to build, so nobody is made to wait.
pub(crate) fn cargo_deny(cache: &Cache) -> Option<PathBuf> {
    process::find_in_path("cargo-deny").or_else(|| cache.installed("cargo-deny"))
}
