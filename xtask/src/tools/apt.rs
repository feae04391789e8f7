//! Debian packages, where this user may install them.

use std::{fs, os::unix::fs::MetadataExt, path::Path, process::Command};

use anyhow::{Context, Result};

use crate::process;

/// How this user can install Debian packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Apt {
    /// As root.
    Root,
    /// With `sudo`, which asks for no password.
    Sudo,
    /// Not at all.
    No,
}

pub(crate) fn access() -> Apt {
    if process::find_in_path("apt-get").is_none() {
        return Apt::No;
    }
    // The owner of our entry is our user.
    let root = Path::new("/proc/self").metadata().is_ok_and(|owner| owner.uid() == 0);
    match root {
        true => Apt::Root,
        false if process::output(Command::new("sudo").args(["-n", "true"])).is_ok() => Apt::Sudo,
        false => Apt::No,
    }
}

/// Installs packages and removes none.
///
/// # Errors
/// The error of apt-get.
pub(crate) fn install(sudo: bool, packages: &[&str]) -> Result<()> {
    process::step(format_args!("apt-get install {}", packages.join(" ")));
    // The index may be stale or missing. A broken source does not matter if the packages are found,
    // so its error is shown only if they are not.
    let update = process::output(apt_get(sudo).arg("update"));
    let install = ["install", "--yes", "--no-install-recommends", "--no-remove"];
    let installed = process::output(apt_get(sudo).args(install).args(packages));
    match (installed, update) {
        (Ok(_), _) => Ok(()),
        (Err(error), Ok(_)) => Err(error).context("apt-get install"),
        (Err(error), Err(cause)) => {
            Err(error).context(format!("apt-get update: {cause}: apt-get install"))
        }
    }
}

/// Unpacks a package into a folder without installing it, for which any user has the right.
///
/// # Errors
/// apt-get or dpkg-deb is missing or fails.
pub(crate) fn unpack(package: &str, folder: &Path) -> Result<()> {
    let download = || {
        let mut apt_get = Command::new("apt-get");
        process::output(apt_get.current_dir(folder).args(["-q", "download", package]))
    };
    if let Err(error) = download() {
        // The index may be stale or missing.
        match access() {
            Apt::No => return Err(error).context("apt-get download"),
            access => process::output(apt_get(access == Apt::Sudo).arg("update"))?,
        };
        download().context("apt-get download")?;
    }
    let archive = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|end| end == "deb"))
        .context("apt-get downloaded no package")?;
    process::output(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(folder))?;
    Ok(fs::remove_file(archive)?)
}

fn apt_get(sudo: bool) -> Command {
    let mut command = match sudo {
        true => {
            let mut sudo = Command::new("sudo");
            sudo.args(["-n", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
            sudo
        }
        false => Command::new("apt-get"),
    };
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-o", "DPkg::Lock::Timeout=300"]);
    command
}
