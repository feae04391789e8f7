//! Rendering of the chart, by Helm's own code.
//!
//! Helm is a program in Go, and a bare machine has neither. PyPI has a library of it, for Linux on
//! x86-64; elsewhere the rendered manifests are not compared.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{Places, files_in, node::Node};
use crate::{
    process,
    tools::{Version, cache::Cache, wheel},
};

const SCRIPT: &str = include_str!("helm.py");
const VERSION: Version = Version(0, 1, 32);

/// Values that must be refused, and what the refusal must say.
fn refused() -> [(Value, &'static str); 8] {
    [
        (json!({}), "node_execution_rpc is not set"),
        (json!({"settings": {"l1rpc": "http://l1.example"}}), "'l1rpc' not allowed"),
        (json!({"placement": "somewhere"}), "/placement"),
        (
            json!({"placement": "none", "filter": {"istio": {"failStrategy": "FAIL_OPEN"}}}),
            "/filter/istio/failStrategy",
        ),
        (json!({"placement": "none", "filter": {"istio": {"enabled": true}}}), "filter.istio.url"),
        (
            json!({"placement": "none", "filter": {"config": {"tag": ["espresso"]}}}),
            "'tag' not allowed",
        ),
        (
            json!({"placement": "none", "filter": {"config": {"framing": "exact"}}}),
            "/filter/config/framing",
        ),
        (
            json!({"placement": "beside-node", "existingSecret": "urls"}),
            "besideNode.podLabels: give the labels of the node's pods",
        ),
    ]
}

/// Renders every test case: its folder, and the text. None where there is no library.
///
/// # Errors
/// A case is not rendered, or wrong values are not refused.
pub(super) fn render(
    places: &Places,
    node: &Node,
    cache: &Cache,
) -> Result<Vec<(PathBuf, String)>> {
    if (env::consts::OS, env::consts::ARCH) != ("linux", "x86_64") {
        process::step("the chart is not rendered: there is no Helm for this machine");
        return Ok(Vec::new());
    }
    let library = library(cache)?;
    let folder = tempfile::tempdir()?;
    let mut cases = Vec::new();
    let mut charts = Vec::new();
    for case in files_in(&places.cases)? {
        let own = case.join("Chart.yaml").is_file();
        let (chart, values) = if own {
            (with_dependency(&case, &places.chart, folder.path())?, json!({}))
        } else {
            (places.chart.clone(), node.read(&case.join("values.yaml"))?)
        };
        charts.push(chart_job(&chart, &values));
        cases.push(case);
    }
    charts.extend(refused().iter().map(|(values, _)| chart_job(&places.chart, values)));

    let mut answers =
        call(folder.path(), &json!({"library": library, "charts": charts}))?.into_iter();
    let mut rendered = Vec::new();
    for case in cases {
        let answer = answers.next().unwrap_or_default();
        let Some(text) = answer.get("manifest").and_then(Value::as_str) else {
            bail!("{} is not rendered: {}", case.display(), error(&answer));
        };
        rendered.push((case, text.to_owned()));
    }
    for (values, why) in refused() {
        let answer = answers.next().unwrap_or_default();
        if !error(&answer).contains(why) {
            bail!("the chart must refuse {values} for `{why}`, and says `{}`", error(&answer));
        }
    }
    Ok(rendered)
}

fn chart_job(chart: &Path, values: &Value) -> Value {
    json!({"chart": chart, "release": "finality", "namespace": "rollup", "values": values})
}

fn error(answer: &Value) -> &str {
    answer.get("error").and_then(Value::as_str).unwrap_or("nothing")
}

/// A chart that depends on ours, with ours in it.
fn with_dependency(case: &Path, chart: &Path, folder: &Path) -> Result<PathBuf> {
    let name = case.file_name().context("a case has a name")?;
    let copy = folder.join(name);
    copy_folder(case, &copy)?;
    copy_folder(chart, &copy.join("charts/espresso-finality"))?;
    Ok(copy)
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

fn library(cache: &Cache) -> Result<PathBuf> {
    cache.keep(&format!("helm-library-{VERSION}"), "libhelm_sdkpy.so", |empty| {
        process::step("fetching Helm");
        wheel::unpack("helm-sdkpy", VERSION, empty)?;
        Ok(empty.join("helm_sdkpy/_lib/linux-amd64/libhelm_sdkpy.so"))
    })
}

/// Runs the script, in a folder where nothing of the user's Helm is found.
fn call(folder: &Path, job: &Value) -> Result<Vec<Value>> {
    let mut python = Command::new("python3");
    python.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).env("HOME", folder);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("HELM_") || name == "KUBECONFIG" {
            python.env_remove(name);
        }
    }
    let mut child = python.spawn().context("cannot start `python3`")?;
    let mut stdin = child.stdin.take().context("python3 has no input")?;
    stdin.write_all(job.to_string().as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("Helm's library failed ({})", output.status);
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
