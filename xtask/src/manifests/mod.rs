//! What operators deploy: configuration of gateways, the chart, the kustomize component, images,
//! workflows.
//!
//! Charts are rendered and compared with what is kept beside them. Each resource is checked against
//! the schemas of Kubernetes, Istio, Envoy Gateway and the Prometheus operator; Envoy reads each
//! configuration that it would get, with the module in it, and the sidecar each environment.

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
    scenarios::Parts,
    tools::{
        cache::Cache,
        linters::{HADOLINT, ZIZMOR},
    },
    workspace::Workspace,
};
use node::Node;

/// Checks everything; with `write` renders anew instead of comparing.
///
/// # Errors
/// Something is wrong; or a tool cannot be had.
pub(crate) fn run(workspace: &Workspace, cache: &Cache, parts: &Parts, write: bool) -> Result<()> {
    process::step("manifests");
    let places = Places::new(workspace);
    let node = Node::set_up(workspace, cache)?;

    let out = workspace.target.join("manifests/out");
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    fs::create_dir_all(&out)?;
    for (case, text) in helm::render(&places, &node, cache)? {
        if case.ends_with(MONITORING) {
            fs::write(out.join(RENDERED), text)?;
        } else {
            keep(&case.join(RENDERED), &text, write)?;
        }
    }
    if let Some(text) = kustomize::render(&places)? {
        keep(&places.example.join(RENDERED), &text, write)?;
    }

    let mut files = files(&places.cases, RENDERED)?;
    files.extend(self::files(&out, RENDERED)?);
    files.push(places.example.join(RENDERED));
    for folder in ["istio", "envoy-gateway"] {
        files.extend(self::files(&places.envoy.join(folder), ".yaml")?);
    }
    node.check(&out, &files)?;
    node.compose(&out, &places.envoy.join("compose/compose.yaml"))?;
    envoy::validate(&places.envoy, &out, parts)?;
    sidecar::read_settings(&out, &parts.sidecar)?;
    lint(workspace, cache)?;
    node.workflows(&files_in(&workspace.root.join(".github/workflows"))?)
}

/// What rendered manifests are called.
const RENDERED: &str = "rendered.yaml";
/// The case that is checked and not kept: the chart's dashboard and alerts are in the repository
/// already.
const MONITORING: &str = "monitoring";

/// Folders of the checkout.
struct Places {
    envoy: PathBuf,
    chart: PathBuf,
    cases: PathBuf,
    component: PathBuf,
    example: PathBuf,
}

impl Places {
    fn new(workspace: &Workspace) -> Self {
        let envoy = workspace.root.join("envoy");
        let kubernetes = envoy.join("kubernetes");
        Self {
            chart: kubernetes.join("chart"),
            cases: kubernetes.join("tests"),
            component: kubernetes.join("component"),
            example: kubernetes.join("example"),
            envoy,
        }
    }
}

/// Compares rendered manifests with those that are kept, or keeps them.
fn keep(path: &Path, text: &str, write: bool) -> Result<()> {
    if write {
        return fs::write(path, text).with_context(|| path.display().to_string());
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    let Some(line) = first_difference(&kept, text) else { return Ok(()) };
    bail!(
        "{} is not what is rendered now, from line {line} on: \
         look at the difference after `cargo xtask manifests --write`",
        path.display()
    )
}

/// The first line that differs, counted from one.
fn first_difference(kept: &str, rendered: &str) -> Option<usize> {
    if kept == rendered {
        return None;
    }
    let same = kept.lines().zip(rendered.lines()).take_while(|(one, other)| one == other).count();
    Some(same + 1)
}

/// The files under a folder whose names end so, in order.
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

/// Images cannot be built without a daemon, nor releases be made; whether their files are well made
/// can be said.
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
    fn the_first_difference_is_named_by_its_line() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some(2));
        assert_eq!(first_difference("a\n", "a\nb\n"), Some(2));
        assert_eq!(first_difference("", "a\n"), Some(1));
    }

    #[test]
    fn what_is_kept_is_compared_and_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(RENDERED);
        let error = keep(&path, "kind: Pod\n", false).unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("--write"), "{error}");
        keep(&path, "kind: Pod\n", true).unwrap();
        keep(&path, "kind: Pod\n", false).unwrap();
    }

    #[test]
    fn the_values_of_the_charts_readme_are_a_test_case() {
        let places = Places::new(&Workspace::find().unwrap());
        let readme = fs::read_to_string(places.chart.join("README.md")).unwrap();
        let values = fs::read_to_string(places.cases.join("stand-alone/values.yaml")).unwrap();
        assert!(readme.contains(&format!("```yaml\n{values}```\n")));
    }
}
