//! Programs and files from Go modules, in pinned versions. Go checks them against its public
//! checksum database.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::cache::Cache;
use crate::process;

/// A program that `go install` builds.
#[derive(Debug)]
pub(crate) struct GoProgram {
    name: &'static str,
    package: &'static str,
    version: &'static str,
}

/// Validates Kubernetes manifests as an API server would.
pub(crate) const KUBECTL_VALIDATE: GoProgram = GoProgram {
    name: "kubectl-validate",
    package: "sigs.k8s.io/kubectl-validate",
    version: "v0.0.4",
};
/// Renders kustomizations.
pub(crate) const KUSTOMIZE: GoProgram = GoProgram {
    name: "kustomize",
    package: "sigs.k8s.io/kustomize/kustomize/v5",
    version: "v5.8.1",
};

impl GoProgram {
    /// The program in `PATH` or in the cache; built into the cache if necessary.
    ///
    /// # Errors
    /// Go is missing or cannot build the program.
    pub(crate) fn find(&self, cache: &Cache) -> Result<PathBuf> {
        let Self { name, package, version } = self;
        if let Some(path) = process::find_in_path(name) {
            return Ok(path);
        }
        let build = |empty: &Path| {
            process::step(format_args!("building {name} {version} (minutes, once)"));
            let mut go = in_environment(Command::new("nice"));
            go.args(["-n", "19", "go", "install"]).arg(format!("{package}@{version}"));
            process::output(go.env("GOBIN", empty))?;
            Ok(empty.join(name))
        };
        cache
            .keep(&format!("{name}-{version}"), name, build)
            .with_context(|| format!("no {name}: install it, or Go to build it"))
    }
}

/// The folder of a module's files.
///
/// # Errors
/// Go is missing or cannot fetch the module.
pub(crate) fn module(path: &str, version: &str) -> Result<PathBuf> {
    let mut go = in_environment(Command::new("go"));
    go.args(["mod", "download", "-json"]).arg(format!("{path}@{version}"));
    let answer = process::output(&mut go).with_context(|| format!("go mod download {path}"))?;
    let answer: Value = serde_json::from_str(&answer)?;
    let folder = answer.get("Dir").and_then(Value::as_str);
    Ok(folder.with_context(|| format!("go downloaded no {path}"))?.into())
}

/// Go as it is installed, without the user's flags and without fetching another version of itself.
pub(super) fn in_environment(mut go: Command) -> Command {
    go.env("GOTOOLCHAIN", "local").env("GOFLAGS", "").env("GOWORK", "off").env("GO111MODULE", "on");
    go.current_dir(env::temp_dir());
    go
}
