//! Checks by libraries from npm.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{process, tools::cache::Cache, workspace::Workspace};

const PACKAGE: &str = include_str!("package.json");
const LOCK: &str = include_str!("package-lock.json");
const SCRIPT: &str = include_str!("manifests.mjs");

/// The script with its libraries.
pub(super) struct Node {
    script: PathBuf,
}

impl Node {
    /// Fetches the libraries into the cache.
    ///
    /// # Errors
    /// npm is missing or fails.
    pub(super) fn set_up(workspace: &Workspace, cache: &Cache) -> Result<Self> {
        let version: String =
            Sha256::digest(LOCK).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let libraries = cache.keep(&format!("manifests-{version}"), "node_modules", |empty| {
            process::step("fetching libraries for manifests");
            fs::write(empty.join("package.json"), PACKAGE)?;
            fs::write(empty.join("package-lock.json"), LOCK)?;
            let mut npm = Command::new("npm");
            npm.current_dir(empty)
                .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
                .arg("--cache")
                .arg(empty.join("npm-cache"));
            process::output(&mut npm).context("npm (Node)")?;
            Ok(empty.join("node_modules"))
        })?;

        // Node looks for libraries beside the script.
        let folder = workspace.target.join("manifests");
        fs::create_dir_all(&folder)?;
        let link = folder.join("node_modules");
        if fs::symlink_metadata(&link).is_ok() {
            fs::remove_file(&link)?;
        }
        std::os::unix::fs::symlink(libraries, &link)?;
        let script = folder.join("manifests.mjs");
        fs::write(&script, SCRIPT)?;
        Ok(Self { script })
    }

    /// Parses a YAML file.
    ///
    /// # Errors
    /// The file is not YAML.
    pub(super) fn read(&self, file: &Path) -> Result<Value> {
        let text = process::output(Command::new("node").arg(&self.script).arg("json").arg(file))?;
        let mut values: Vec<Value> = serde_json::from_str(&text)?;
        values.pop().with_context(|| format!("{} is empty", file.display()))
    }

    /// Writes the configurations that manifests give to Envoy and the sidecar.
    ///
    /// # Errors
    /// A file is not YAML, or has something that is not checked yet.
    pub(super) fn extract(&self, out: &Path, files: &[PathBuf]) -> Result<()> {
        self.run(Command::new("node").arg(&self.script).arg("extract").arg(out).args(files))
    }

    /// Writes the configuration that Compose gives to the sidecar.
    ///
    /// # Errors
    /// The file is not YAML, or has no sidecar.
    pub(super) fn compose(&self, out: &Path, file: &Path) -> Result<()> {
        self.run(Command::new("node").arg(&self.script).arg("compose").arg(out).arg(file))
    }

    /// Checks workflows.
    ///
    /// # Errors
    /// A workflow is invalid.
    pub(super) fn workflows(&self, files: &[PathBuf]) -> Result<()> {
        self.run(Command::new("node").arg(&self.script).arg("workflows").args(files))
    }

    /// Runs the script, which prints errors itself.
    fn run(&self, command: &mut Command) -> Result<()> {
        if !command.status().context("cannot start `node`")?.success() {
            bail!("invalid manifests: see the errors above");
        }
        Ok(())
    }
}
