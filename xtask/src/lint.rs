//! Format, lints, and the generated tables of the documents.

use std::{path::Path, process::Command};

use anyhow::Result;

use crate::{
    process,
    tools::{self, cache::Cache, crates::CARGO_DENY, linters::TYPOS},
    workspace::{Workspace, forget_outer_cargo},
};

/// Formats the code, or with `check` only verifies the format.
///
/// # Errors
/// The code is not formatted.
pub(crate) fn format(workspace: &Workspace, check: bool) -> Result<()> {
    process::step(if check { "checking the format" } else { "formatting" });
    let mut cargo = workspace.cargo();
    cargo.args(["fmt", "--all"]);
    if check {
        cargo.arg("--check");
    }
    process::run(&mut cargo)
}

/// Runs clippy and rustdoc, where every warning is an error, typos and cargo-deny.
///
/// # Errors
/// One of them complains.
pub(crate) fn lint(workspace: &Workspace, cache: &Cache) -> Result<()> {
    clippy(workspace)?;
    documentation(workspace)?;
    tools::with("spelling", TYPOS.find(cache), |typos| spelling(workspace, &typos.path))?;
    tools::with("dependencies", CARGO_DENY.find(cache), |cargo_deny| {
        deny(workspace, cargo_deny)?;
        tools::with("advisories", fetch_advisories(workspace, cargo_deny), |()| {
            advisories(workspace, cargo_deny)
        })
    })
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
/// A link in the documentation is broken.
pub(crate) fn documentation(workspace: &Workspace) -> Result<()> {
    process::step("documentation");
    let mut cargo = workspace.cargo();
    cargo.env("RUSTDOCFLAGS", "--deny warnings");
    process::run(cargo.args(["doc", "--workspace", "--no-deps"]))
}

/// Checks spelling and house terms, as `typos.toml` has them.
///
/// # Errors
/// A word is misspelled.
pub(crate) fn spelling(workspace: &Workspace, typos: &Path) -> Result<()> {
    process::step("spelling");
    process::run(Command::new(typos).current_dir(&workspace.root).args(["--format", "brief"]))
}

/// Checks licenses, bans and sources of the dependencies.
///
/// # Errors
/// A dependency is not as `deny.toml` allows.
pub(crate) fn deny(workspace: &Workspace, cargo_deny: &Path) -> Result<()> {
    process::step("cargo-deny");
    let checks = ["licenses", "bans", "sources"];
    process::run(check_dependencies(workspace, cargo_deny).args(checks))
}

/// Updates the database of advisories.
///
/// # Errors
/// The database cannot be fetched.
pub(crate) fn fetch_advisories(workspace: &Workspace, cargo_deny: &Path) -> Result<()> {
    process::step("fetching advisories");
    process::output(run_cargo_deny(workspace, cargo_deny).args(["fetch", "db"])).map(|_| ())
}

/// Checks the dependencies against the fetched advisories.
///
/// # Errors
/// A dependency has an advisory.
pub(crate) fn advisories(workspace: &Workspace, cargo_deny: &Path) -> Result<()> {
    process::step("advisories");
    let offline = ["--disable-fetch", "advisories"];
    process::run(check_dependencies(workspace, cargo_deny).args(offline))
}

fn check_dependencies(workspace: &Workspace, cargo_deny: &Path) -> Command {
    let mut command = run_cargo_deny(workspace, cargo_deny);
    command.args(["check", "--hide-inclusion-graph"]);
    command
}

fn run_cargo_deny(workspace: &Workspace, program: &Path) -> Command {
    let mut command = Command::new(program);
    forget_outer_cargo(&mut command);
    command.current_dir(&workspace.root).arg("--all-features");
    command
}

/// Regenerates the tables of docs/configuration.md; a test fails while they are stale.
///
/// # Errors
/// The page cannot be written, or lacks the markers around a table.
pub(crate) fn write_tables(workspace: &Workspace) -> Result<()> {
    process::step("docs/configuration.md");
    process::run(workspace.cargo().args(["run", "--quiet", "--package", "finality-docs"]))
}
