//! Checks what operators deploy: gateway configurations, chart, kustomize component, images,
//! workflows.
//!
//! Chart and component are rendered and compared with the rendered files in the repository. Each
//! resource is checked against the schemas of Kubernetes, Istio, Envoy Gateway and the Prometheus
//! operator; Envoy loads each of its configurations with the module, and the sidecar each of its
//! environments.

mod envoy;
mod helm;
mod kustomize;
mod node;
mod sidecar;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

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

/// Renders chart and component, and compares the result with the rendered files in the repository,
/// or with `write` repaths them.
///
/// # Errors
/// Rendering fails, the result differs, or a tool is missing.
pub(crate) fn render(workspace: &Workspace, cache: &Cache, write: bool) -> Result<()> {
    process::step("rendering manifests");
    let paths = Paths::new(workspace);
    let node = Node::set_up(workspace, cache)?;
    if paths.out.exists() {
        fs::remove_dir_all(&paths.out)?;
    }
    fs::create_dir_all(&paths.out)?;
    for (case, text) in helm::render(&paths, &node, cache)? {
        if case.ends_with(MONITORING) {
            fs::write(paths.out.join(RENDERED), text)?;
        } else {
            keep(&case.join(RENDERED), &text, write)?;
        }
    }
    if let Some(text) = kustomize::render(&paths)? {
        keep(&paths.example.join(RENDERED), &text, write)?;
    }
    Ok(())
}

/// Checks what was rendered, and everything else that operators deploy.
///
/// # Errors
/// A file is wrong, or a tool is missing.
pub(crate) fn check(workspace: &Workspace, cache: &Cache, artifacts: &Artifacts) -> Result<()> {
    process::step("checking manifests");
    let paths = Paths::new(workspace);
    let node = Node::set_up(workspace, cache)?;
    let mut files = files(&paths.cases, RENDERED)?;
    files.extend(self::files(&paths.out, RENDERED)?);
    files.push(paths.example.join(RENDERED));
    for folder in ["istio", "envoy-gateway"] {
        files.extend(self::files(&paths.envoy.join(folder), ".yaml")?);
    }
    node.check(&paths.out, &files)?;
    node.compose(&paths.out, &paths.envoy.join("compose/compose.yaml"))?;
    envoy::validate(&paths.envoy, &paths.out, artifacts)?;
    sidecar::read_settings(&paths.out, &artifacts.sidecar)?;
    lint(workspace, cache)?;
    node.workflows(&files_in(&workspace.root.join(".github/workflows"))?)
}

/// The name of files with rendered manifests.
const RENDERED: &str = "rendered.yaml";
/// The case whose result is not kept: it repeats the dashboard and the alerts of the chart.
const MONITORING: &str = "monitoring";

/// Folders in the checkout.
struct Paths {
    envoy: PathBuf,
    chart: PathBuf,
    cases: PathBuf,
    component: PathBuf,
    example: PathBuf,
    /// Intermediate results.
    out: PathBuf,
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
            out: workspace.target.join("manifests/out"),
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
