//! The Debian package of the sidecar.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{SIDECAR, VERSION, commit_time};
use crate::{
    process,
    tools::apt::{self, Apt},
    workspace::Workspace,
};

/// The file that the operator edits; an upgrade keeps it.
pub(super) const CONFIGURATION: &str = "etc/finality-sidecar/sidecar.toml";
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

#[derive(Debug, Clone, Copy)]
pub(super) enum Compression {
    Fast,
    Small,
}

/// Builds the package of the staged files and returns its path.
///
/// # Errors
/// dpkg-deb is missing or fails.
pub(super) fn package(
    workspace: &Workspace,
    staged: &Path,
    program: &Path,
    folder: &Path,
    compression: Compression,
) -> Result<PathBuf> {
    let architecture = process::output(Command::new("dpkg").arg("--print-architecture"))
        .context("no Debian package: dpkg is missing")?;
    let architecture = architecture.trim();
    let control = staged.join("DEBIAN");
    fs::create_dir_all(&control)?;
    let size = folder_size(staged)?.div_ceil(1024);
    let glibc = oldest_glibc(&fs::read(program)?);
    fs::write(
        control.join("control"),
        format!(
            "Package: {SIDECAR}\nVersion: {VERSION}\nArchitecture: {architecture}\n\
         Maintainer: the finality maintainers <maintainers@finality.invalid>\n\
         Installed-Size: {size}\nSection: net\nPriority: optional\n\
         Depends: ca-certificates, libc6 (>= {glibc}), libgcc-s1, systemd\n\
         Description: verifies the finality head of a rollup with Espresso\n \
         It serves the head to a filter in Envoy, which replaces finality tags in\n \
         JSON-RPC requests by its number.\n"
        ),
    )?;
    fs::write(control.join("conffiles"), format!("/{CONFIGURATION}\n"))?;
    for name in SCRIPTS {
        let script = control.join(name);
        fs::copy(workspace.root.join("sidecar/debian").join(name), &script)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    }
    let path = folder.join(format!("{SIDECAR}_{VERSION}_{architecture}.deb"));
    let mut dpkg_deb = Command::new("dpkg-deb");
    match compression {
        Compression::Fast => dpkg_deb.args(["-Zgzip", "-z1"]),
        Compression::Small => dpkg_deb.arg("-Zxz"),
    };
    dpkg_deb.args(["--root-owner-group", "--build"]).arg(staged).arg(&path);
    dpkg_deb.env("SOURCE_DATE_EPOCH", commit_time(workspace).to_string());
    process::output(&mut dpkg_deb)?;
    Ok(path)
}

/// Installs the package under a root of its own: as root with dpkg and the package's scripts,
/// otherwise by unpacking.
///
/// # Errors
/// dpkg fails.
pub(super) fn install(package: &Path, root: &Path) -> Result<()> {
    if apt::access() != Apt::Root {
        process::step("not root: the package is unpacked, its scripts do not run");
        let mut unpack = Command::new("dpkg-deb");
        return process::output(unpack.arg("--extract").arg(package).arg(root)).map(|_| ());
    }
    for folder in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "var/log"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::write(root.join("var/lib/dpkg/status"), "")?;
    let mut dpkg = Command::new("dpkg");
    dpkg.arg(format!("--root={}", root.display()));
    // Its dependencies are outside of that root, and so are the programs in its scripts.
    dpkg.args(["--force-depends", "--force-script-chrootless", "--install"]).arg(package);
    process::output(&mut dpkg).context("installing the Debian package").map(|_| ())
}

/// The version of glibc that a program needs, by the versions of the symbols that it imports.
fn oldest_glibc(program: &[u8]) -> String {
    const PREFIX: &[u8] = b"GLIBC_2.";
    let minor = program.windows(PREFIX.len() + 2).filter(|window| window.starts_with(PREFIX));
    let minor = minor.filter_map(|window| {
        std::str::from_utf8(window.get(PREFIX.len()..)?).ok()?.parse::<u32>().ok()
    });
    format!("2.{}", minor.max().unwrap_or(28))
}

fn folder_size(folder: &Path) -> Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.metadata()?;
        size += if kind.is_dir() { folder_size(&entry.path())? } else { kind.len() };
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_symbol_version_decides() {
        assert_eq!(oldest_glibc(b"\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.17\0"), "2.34");
        assert_eq!(oldest_glibc(b"static"), "2.28");
    }
}
