//! Checks what operators deploy: gateway configurations, chart, kustomize component, images,
//! workflows.
//!
//! Helm and kustomize render chart and component, which are compared with the rendered files in the
//! repository. kubectl-validate checks each resource, promtool the alert rules; Envoy loads each of
//! its configurations with the module, and the sidecar each of its environments.

mod envoy;
mod helm;
mod kustomize;
mod node;
mod schemas;
mod sidecar;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    process,
    scenarios::Artifacts,
    tools::{
        cache::Cache,
        linters::{HADOLINT, ZIZMOR},
    },
    workspace::Workspace,
};
use node::Node;

pub(crate) use self::{helm::Helm, kustomize::Kustomize, schemas::Validator};

/// Renders the chart and compares the result with the rendered files in the repository, or with
/// `write` replaces them.
///
/// # Errors
/// Rendering fails, or the result differs.
pub(crate) fn chart(workspace: &Workspace, cache: &Cache, helm: &Helm, write: bool) -> Result<()> {
    process::step("rendering the chart");
    let paths = Paths::new(workspace);
    fs::create_dir_all(&paths.out)?;
    for (case, text) in helm::render(&paths, &Node::set_up(workspace, cache)?, helm)? {
        if case.ends_with(MONITORING) {
            // Of an operator's own copy of the repository.
            if !text.contains(RUNBOOK) || text.contains("repository.example") {
                bail!("the alerts do not link to {RUNBOOK}");
            }
            fs::write(paths.out.join(RENDERED), text)?;
        } else {
            keep(&case.join(RENDERED), &text, write)?;
        }
    }
    Ok(())
}

/// Packages the chart into a folder and returns the archive.
///
/// # Errors
/// Helm fails.
pub(crate) fn package(workspace: &Workspace, helm: &Helm, folder: &Path) -> Result<PathBuf> {
    helm.package(&Paths::new(workspace).chart, folder)
}

/// `Chart.yaml`.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn chart_metadata(workspace: &Workspace, cache: &Cache) -> Result<Value> {
    Node::set_up(workspace, cache)?.read(&Paths::new(workspace).chart.join("Chart.yaml"))
}

/// Renders the example of the component, as [`chart`].
///
/// # Errors
/// Rendering fails, or the result differs.
pub(crate) fn component(workspace: &Workspace, kustomize: &Kustomize, write: bool) -> Result<()> {
    process::step("rendering the kustomize component");
    let paths = Paths::new(workspace);
    keep(&paths.example.join(RENDERED), &kustomize::render(&paths, kustomize)?, write)
}

/// Validates the rendered manifests, and those to copy from.
///
/// # Errors
/// A manifest is invalid.
pub(crate) fn schemas(workspace: &Workspace, validator: &Validator) -> Result<()> {
    validator.check(&manifests(&Paths::new(workspace))?)
}

/// Runs the tests of the alert rules.
///
/// # Errors
/// A rule is invalid, or an alert fires when it must not, or not when it must.
pub(crate) fn alerts(workspace: &Workspace, promtool: &Path) -> Result<()> {
    process::step("alert rules");
    let paths = Paths::new(workspace);
    let mut check = Command::new(promtool);
    process::run(check.args(["check", "rules"]).arg(paths.chart.join("files/alerts.yaml")))?;
    let mut test = Command::new(promtool);
    process::run(test.args(["test", "rules"]).arg(paths.cases.join(MONITORING).join("alerts.yaml")))
}

/// Lets Envoy and the sidecar read the configurations in the manifests, and lints images and
/// workflows.
///
/// # Errors
/// A file is wrong, or a tool is missing.
pub(crate) fn check(workspace: &Workspace, cache: &Cache, artifacts: &Artifacts) -> Result<()> {
    process::step("configurations in the manifests");
    let paths = Paths::new(workspace);
    let node = Node::set_up(workspace, cache)?;
    if paths.configurations.exists() {
        fs::remove_dir_all(&paths.configurations)?;
    }
    fs::create_dir_all(&paths.configurations)?;
    node.extract(&paths.configurations, &manifests(&paths)?)?;
    node.compose(&paths.configurations, &paths.envoy.join("compose/compose.yaml"))?;
    envoy::validate(&paths.envoy, &paths.configurations, artifacts)?;
    sidecar::read_settings(&paths.configurations, &artifacts.sidecar)?;
    lint(workspace, cache)?;
    node.workflows(&files_in(&workspace.root.join(".github/workflows"))?)
}

/// Every file with manifests.
fn manifests(paths: &Paths) -> Result<Vec<PathBuf>> {
    let mut files = files(&paths.cases, RENDERED)?;
    if paths.out.exists() {
        files.extend(self::files(&paths.out, RENDERED)?);
    }
    files.push(paths.example.join(RENDERED));
    for folder in ["istio", "envoy-gateway"] {
        files.extend(self::files(&paths.envoy.join(folder), ".yaml")?);
    }
    Ok(files)
}

/// The name of files with rendered manifests.
const RENDERED: &str = "rendered.yaml";
/// The case whose result is not kept: it repeats the dashboard and the alerts of the chart.
const MONITORING: &str = "monitoring";

/// The runbook by that case's values.
const RUNBOOK: &str = "https://git.example/finality/blob/main/docs/runbook.md#";

/// Folders in the checkout.
struct Paths {
    envoy: PathBuf,
    chart: PathBuf,
    cases: PathBuf,
    component: PathBuf,
    example: PathBuf,
    /// Rendered manifests that are not kept.
    out: PathBuf,
    /// Configurations found in the manifests.
    configurations: PathBuf,
}

impl Paths {
    fn new(workspace: &Workspace) -> Self {
        let envoy = workspace.root.join("envoy");
        let kubernetes = envoy.join("kubernetes");
        Self {
            chart: kubernetes.join("chart"),
            cases: kubernetes.join("tests"),
            component: kubernetes.join("component"),
            example: kubernetes.join("example"),
            out: workspace.target.join("manifests/rendered"),
            configurations: workspace.target.join("manifests/configurations"),
            envoy,
        }
    }
}

/// Compares rendered manifests with a file, or repaths the file.
fn keep(path: &Path, text: &str, write: bool) -> Result<()> {
    if write {
        return fs::write(path, text).with_context(|| path.display().to_string());
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    let Some(line) = first_difference(&kept, text) else { return Ok(()) };
    bail!(
        "{} differs from the rendered manifests from line {line} on; \
         if intended, run `cargo xtask manifests --write`",
        path.display()
    )
}

/// The first line that differs, from 1.
fn first_difference(kept: &str, rendered: &str) -> Option<usize> {
    if kept == rendered {
        return None;
    }
    let same = kept.lines().zip(rendered.lines()).take_while(|(one, other)| one == other).count();
    Some(same + 1)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for path in files_in(from)? {
        let target = to.join(path.file_name().context("a file has a name")?);
        if path.is_dir() {
            copy_folder(&path, &target)?;
        } else {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

/// The files in a folder tree whose names end with `end`, in order.
fn files(folder: &Path, end: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in files_in(folder)? {
        if path.is_dir() {
            found.extend(files(&path, end)?);
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
    Ok(found)
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths =
        entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
    paths.sort();
    Ok(paths)
}

/// Lints Dockerfiles and workflows, since images and releases cannot be built here.
fn lint(workspace: &Workspace, cache: &Cache) -> Result<()> {
    let root = &workspace.root;
    let dockerfiles: &[&str] = &["sidecar/Dockerfile", "filter/Dockerfile"];
    let workflows: &[&str] = &["--offline", "--quiet", ".github/workflows"];
    for (tool, arguments) in [(&HADOLINT, dockerfiles), (&ZIZMOR, workflows)] {
        match tool.find(cache) {
            Ok(found) => process::run(Command::new(found.path).current_dir(root).args(arguments))?,
            Err(error) if cfg!(all(target_os = "linux", target_arch = "x86_64")) => {
                return Err(error);
            }
            Err(error) => process::step(format_args!("not checked: {error:#}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rendered_manifests_are_compared_and_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(RENDERED);
        let error = keep(&path, "kind: Pod\n", false).unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("--write"), "{error}");
        keep(&path, "kind: Pod\n", true).unwrap();
        keep(&path, "kind: Pod\n", false).unwrap();
    }

    #[test]
    fn the_values_in_the_charts_readme_are_a_test_case() {
        let paths = Paths::new(&Workspace::find().unwrap());
        let readme = fs::read_to_string(paths.chart.join("README.md")).unwrap();
        let values = fs::read_to_string(paths.cases.join("stand-alone/values.yaml")).unwrap();
        assert!(readme.contains(&format!("```yaml\n{values}```\n")));
    }
}
