//! What a release has: archive and Debian package of the sidecar, the module, the chart as an
//! archive and as an OCI archive, and checksums.

mod debian;
mod install;
mod oci;

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::{
    filter,
    manifests::{self, Helm},
    page, process,
    scenarios::Artifacts,
    tools::cache::Cache,
    workspace::{self, Workspace},
};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The name of program, package and unit.
const SIDECAR: &str = "finality-sidecar";

/// Builds everything into `dist` in the target folder; with `program`, packages that sidecar.
///
/// # Errors
/// A build fails, or a tool is missing.
pub(crate) fn run(
    workspace: &Workspace,
    cache: &Cache,
    force_fallback: bool,
    program: Option<&Path>,
) -> Result<()> {
    let module = filter::build(workspace, force_fallback)?;
    let program = match program {
        Some(program) => program.to_owned(),
        None => build(workspace, force_fallback)?,
    };
    let dist = workspace.target.join("dist");
    empty(&dist)?;
    let staged = tempfile::tempdir()?;
    stage(workspace, &program, staged.path())?;
    process::step("packages of the sidecar");
    let name = format!("{SIDECAR}-{VERSION}-{}-{}", env::consts::OS, env::consts::ARCH);
    archive(workspace, staged.path(), &name, &dist.join(format!("{name}.tar.gz")))?;
    debian::package(workspace, staged.path(), &program, &dist, debian::Compression::Small)?;
    fs::copy(&module, dist.join("finality_filter.wasm"))?;
    process::step("the chart");
    let chart = manifests::package(workspace, &Helm::find(cache)?, &dist)?;
    oci::archive_of(workspace, cache, &chart)?;
    checksums(&dist)?;
    for path in files_in(&dist)? {
        println!("{}", path.strip_prefix(&workspace.root).unwrap_or(&path).display());
    }
    Ok(())
}

/// Packages the sidecar of the tests, installs the package under a root of its own, and starts the
/// sidecar from there.
///
/// # Errors
/// The package cannot be installed, its unit is invalid, or the sidecar does not start.
pub(crate) fn check(workspace: &Workspace, artifacts: &Artifacts) -> Result<()> {
    process::step("the Debian package, installed under a root of its own");
    let folder = tempfile::tempdir()?;
    let (staged, root) = (folder.path().join("staged"), folder.path().join("root"));
    stage(workspace, &artifacts.sidecar, &staged)?;
    let fast = debian::Compression::Fast;
    let package = debian::package(workspace, &staged, &artifacts.sidecar, folder.path(), fast)?;
    debian::install(&package, &root)?;
    install::check(&root)
}

/// The sidecar's release build, with its page.
fn build(workspace: &Workspace, force_fallback: bool) -> Result<PathBuf> {
    page::build(workspace, force_fallback)?;
    process::step("building the sidecar for release");
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--locked", "--release", "--package", SIDECAR, "--bin", SIDECAR]);
    workspace::executable(&workspace::build(&mut cargo)?, SIDECAR)
}

/// The sidecar's files where they are installed.
fn stage(workspace: &Workspace, program: &Path, root: &Path) -> Result<()> {
    let debian = workspace.root.join("sidecar/debian");
    let doc = format!("usr/share/doc/{SIDECAR}");
    let service = format!("{SIDECAR}.service");
    let share = root.join("usr/share");
    let mut cargo = workspace.cargo();
    cargo.args(["run", "--quiet", "--package", "finality-docs", "--", "manual"]);
    process::run(cargo.arg(&share))?;
    let pages = files_in(&share.join("man/man1"))?;
    process::output(Command::new("gzip").args(["--best", "--no-name"]).args(pages))?;

    for (from, to, mode) in [
        (program, format!("usr/bin/{SIDECAR}"), 0o755),
        (&debian.join(&service), format!("lib/systemd/system/{service}"), 0o644),
        (
            &debian.join(format!("{SIDECAR}.sysusers")),
            format!("usr/lib/sysusers.d/{SIDECAR}.conf"),
            0o644,
        ),
        (
            &debian.join(format!("{SIDECAR}.tmpfiles")),
            format!("usr/lib/tmpfiles.d/{SIDECAR}.conf"),
            0o644,
        ),
        (&debian.join("sidecar.toml"), debian::CONFIGURATION.to_owned(), 0o640),
        (&debian.join("copyright"), format!("{doc}/copyright"), 0o644),
        (&workspace.root.join("LICENSE-MIT"), format!("{doc}/LICENSE-MIT"), 0o644),
        (&workspace.root.join("LICENSE-APACHE"), format!("{doc}/LICENSE-APACHE"), 0o644),
    ] {
        let to = root.join(to);
        fs::create_dir_all(to.parent().context("a file has a folder")?)?;
        fs::copy(from, &to).with_context(|| from.display().to_string())?;
        fs::set_permissions(&to, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// A tar archive with the files of a folder under `name`, the same for the same files.
fn archive(workspace: &Workspace, folder: &Path, name: &str, path: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.arg("--create").arg("--auto-compress").arg("--file").arg(path).arg("-C").arg(folder);
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"]);
    tar.arg(format!("--mtime=@{}", commit_time(workspace)));
    tar.arg(format!("--transform=s|^\\.|{name}|")).arg(".").env("GZIP", "--no-name");
    process::output(&mut tar).map(|_| ())
}

/// When the commit was made, in seconds of Unix time; 0 outside of a repository.
fn commit_time(workspace: &Workspace) -> u64 {
    let mut git = Command::new("git");
    git.current_dir(&workspace.root).args(["log", "-1", "--format=%ct"]);
    process::output(&mut git).ok().and_then(|time| time.trim().parse().ok()).unwrap_or_default()
}

/// Writes `SHA256SUMS` as sha256sum would.
fn checksums(folder: &Path) -> Result<()> {
    let mut sums = String::new();
    for path in files_in(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        sums += &format!("{}  {name}\n", digest(&fs::read(&path)?));
    }
    Ok(fs::write(folder.join("SHA256SUMS"), sums)?)
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(fs::create_dir_all(folder)?)
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>, std::io::Error>>()?;
    files.sort();
    if files.is_empty() {
        bail!("{} is empty", folder.display());
    }
    Ok(files)
}
