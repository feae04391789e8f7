//! Programs built by `cargo install`, in pinned versions.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{Version, cache::Cache};
use crate::{process, workspace};

/// A crate with a program of the same name.
#[derive(Debug)]
pub(crate) struct Crate {
    pub(crate) name: &'static str,
    version: Version,
}

/// Checks licenses, bans, sources and advisories of the dependencies.
pub(crate) const CARGO_DENY: Crate = Crate { name: "cargo-deny", version: Version(0, 20, 2) };
/// Drives libFuzzer.
pub(crate) const CARGO_FUZZ: Crate = Crate { name: "cargo-fuzz", version: Version(0, 13, 2) };
/// Mutates code where a test must notice.
pub(crate) const CARGO_MUTANTS: Crate = Crate { name: "cargo-mutants", version: Version(27, 1, 0) };

impl Crate {
    /// The program in `PATH` or in the cache.
    pub(crate) fn installed(&self, cache: &Cache) -> Option<PathBuf> {
        process::find_in_path(self.name).or_else(|| cache.kept(&self.folder(), self.name))
    }

    /// The program; built into the cache, at the lowest priority, if necessary.
    ///
    /// # Errors
    /// The crate cannot be fetched or built.
    pub(crate) fn find(&self, cache: &Cache) -> Result<PathBuf> {
        if let Some(path) = self.installed(cache) {
            return Ok(path);
        }
        cache.keep(&self.folder(), self.name, |empty| self.build(empty))
    }

    fn build(&self, folder: &Path) -> Result<PathBuf> {
        let Self { name, version } = self;
        process::step(format_args!("building {name} {version} (minutes, once)"));
        let mut cargo = Command::new("nice");
        workspace::forget_outer_cargo(&mut cargo);
        cargo.args(["-n", "19", "cargo", "install", "--quiet", "--locked", name]);
        cargo.arg("--version").arg(version.to_string());
        cargo.arg("--root").arg(folder).arg("--target-dir").arg(folder.join("build"));
        process::output(&mut cargo).with_context(|| format!("cargo install {name}"))?;
        Ok(folder.join("bin").join(name))
    }

    fn folder(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }
}
