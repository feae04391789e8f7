//! Renders the chart with Helm: the `helm` in `PATH`, or Helm's own library from PyPI.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{Paths, copy_folder, files_in, node::Node};
use crate::{
    process,
    tools::{Version, cache::Cache, wheel},
};

const SCRIPT: &str = include_str!("helm.py");
/// The version of the library that is fetched.
const LIBRARY: Version = Version(0, 2, 2);
/// The oldest `helm` that is used.
const OLDEST: Version = Version(3, 14, 0);
const RELEASE: &str = "finality";
const NAMESPACE: &str = "rollup";

/// Values the chart must refuse, and the error it must give.
fn refused() -> [(Value, &'static str); 9] {
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
            json!({"placement": "none", "prometheusRule": {"enabled": true}}),
            "prometheusRule.repositoryUrl",
        ),
        (
            json!({"placement": "beside-node", "existingSecret": "urls"}),
            "besideNode.podLabels: set the labels of the node's pods",
        ),
    ]
}

/// Renders every test case: its folder, and the text.
///
/// # Errors
/// A case fails to render, or wrong values are accepted.
pub(super) fn render(paths: &Paths, node: &Node, helm: &Helm) -> Result<Vec<(PathBuf, String)>> {
    let folder = tempfile::tempdir()?;
    let mut cases = Vec::new();
    let mut charts = Vec::new();
    for case in files_in(&paths.cases)? {
        let own = case.join("Chart.yaml").is_file();
        charts.push(if own {
            (with_dependency(&case, &paths.chart, folder.path())?, json!({}))
        } else {
            (paths.chart.clone(), node.read(&case.join("values.yaml"))?)
        });
        cases.push(case);
    }
    charts.extend(refused().map(|(values, _)| (paths.chart.clone(), values)));

    let mut answers = helm.template(folder.path(), &charts)?.into_iter();
    let mut rendered = Vec::new();
    for (case, answer) in cases.into_iter().zip(&mut answers) {
        match answer {
            Ok(text) => rendered.push((case, in_order(&text))),
            Err(error) => bail!("{} fails to render: {error}", case.display()),
        }
    }
    for ((values, why), answer) in refused().into_iter().zip(answers) {
        let error = answer.err().unwrap_or_default();
        if !error.contains(why) {
            bail!("the chart must refuse {values} with `{why}`, and says `{error}`");
        }
    }
    Ok(rendered)
}

/// Helm, as a program or as a library.
#[derive(Debug)]
pub(crate) enum Helm {
    Program(PathBuf),
    /// The folder that holds the Python package.
    Library(PathBuf),
}

impl Helm {
    /// `helm` from `PATH`, or the library, fetched if necessary.
    ///
    /// # Errors
    /// There is no `helm`, and the library cannot be fetched.
    pub(crate) fn find(cache: &Cache) -> Result<Self> {
        let program = process::find_in_path("helm").filter(|path| {
            Version::asked(path, &["version", "--short"]).is_ok_and(|version| version >= OLDEST)
        });
        if let Some(path) = program {
            return Ok(Self::Program(path));
        }
        let library = cache.keep(&format!("helm-library-{LIBRARY}"), "library", |empty| {
            process::step("fetching Helm");
            let library = empty.join("library");
            fs::create_dir(&library)?;
            wheel::unpack("helm-python-sdk", LIBRARY, &library)?;
            // The wheel holds the same 85 MB under three names.
            for copy in files_in(&library.join("helm_python/lib"))?.iter().skip(1) {
                fs::remove_file(copy)?;
            }
            Ok(library)
        });
        let library =
            library.with_context(|| format!("no Helm: install helm {OLDEST} or newer"))?;
        Ok(Self::Library(library))
    }

    /// Packages a chart into a folder and returns the archive.
    pub(super) fn package(&self, chart: &Path, folder: &Path) -> Result<PathBuf> {
        let home = tempfile::tempdir()?;
        let mut command = match self {
            Self::Program(helm) => {
                let mut command = without_users_settings(Command::new(helm), home.path());
                command.arg("package").arg(chart).arg("--destination").arg(folder);
                command
            }
            Self::Library(library) => {
                let mut python = without_users_settings(Command::new("python3"), home.path());
                let script = "import sys, helm_python; \
                              helm_python.package(sys.argv[1], destination=sys.argv[2])";
                python.env("PYTHONPATH", library).args(["-c", script]).arg(chart).arg(folder);
                python
            }
        };
        process::output(&mut command).context("packaging the chart")?;
        let is_chart = |path: &PathBuf| path.extension().is_some_and(|end| end == "tgz");
        files_in(folder)?.into_iter().find(is_chart).context("Helm has written no archive")
    }

    /// Renders charts, each with its values; the inner error is Helm's.
    fn template(
        &self,
        folder: &Path,
        charts: &[(PathBuf, Value)],
    ) -> Result<Vec<Result<String, String>>> {
        match self {
            Self::Program(helm) => {
                charts.iter().map(|(chart, values)| call(helm, folder, chart, values)).collect()
            }
            Self::Library(library) => call_library(library, folder, charts),
        }
    }
}

/// Runs `helm template`.
fn call(
    helm: &Path,
    folder: &Path,
    chart: &Path,
    values: &Value,
) -> Result<Result<String, String>> {
    let file = folder.join("values.json");
    fs::write(&file, values.to_string())?;
    let mut command = without_users_settings(Command::new(helm), folder);
    command.args(["template", RELEASE]).arg(chart).args(["--namespace", NAMESPACE]);
    let output = command.arg("--values").arg(&file).output().context("cannot start `helm`")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) })
}

fn call_library(
    library: &Path,
    folder: &Path,
    charts: &[(PathBuf, Value)],
) -> Result<Vec<Result<String, String>>> {
    let charts: Vec<_> = charts
        .iter()
        .map(|(chart, values)| {
            json!({"chart": chart, "release": RELEASE, "namespace": NAMESPACE, "values": values})
        })
        .collect();
    let job = json!({"library": library, "charts": charts});
    let mut python = without_users_settings(Command::new("python3"), folder);
    python.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = python.spawn().context("cannot start `python3`")?;
    let mut stdin = child.stdin.take().context("python3 has no input")?;
    stdin.write_all(job.to_string().as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("Helm's library failed ({})", output.status);
    }
    let answers: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let member = |answer: &Value, name: &str| Some(answer.get(name)?.as_str()?.to_owned());
    Ok(answers
        .iter()
        .map(|answer| {
            member(answer, "manifest").ok_or_else(|| member(answer, "error").unwrap_or_default())
        })
        .collect())
}

/// Neither the user's repositories and plugins nor a cluster may change the result.
fn without_users_settings(mut command: Command, home: &Path) -> Command {
    command.env("HOME", home);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("HELM_") || name == "KUBECONFIG" {
            command.env_remove(name);
        }
    }
    command
}

/// The documents ordered by template, each under its own `# Source` line. `helm template` orders
/// them by kind and puts hooks last; the library gives whole templates.
fn in_order(text: &str) -> String {
    let mut templates: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut source = "";
    let text = format!("\n{text}");
    for document in text.split("\n---\n") {
        let mut body = document.trim();
        if let Some(rest) = body.strip_prefix("# Source: ") {
            (source, body) = rest.split_once('\n').unwrap_or((rest, ""));
        }
        if !body.trim().is_empty() {
            templates.entry(source).or_default().push(body.trim());
        }
    }
    let mut ordered = String::new();
    for (source, mut documents) in templates {
        documents.sort_unstable();
        for document in documents {
            ordered += &format!("---\n# Source: {source}\n{document}\n");
        }
    }
    ordered
}

/// A copy of a chart that depends on ours, with ours in its `charts` folder.
fn with_dependency(case: &Path, chart: &Path, folder: &Path) -> Result<PathBuf> {
    let name = case.file_name().context("a case has a name")?;
    let copy = folder.join(name);
    copy_folder(case, &copy)?;
    copy_folder(chart, &copy.join("charts/espresso-finality"))?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_and_library_give_the_same_text() {
        let program = "---\n# Source: b.yaml\nkind: A\n---\n# Source: a.yaml\nkind: B\n\n\
                       ---\n# Source: b.yaml\nkind: C\n";
        let library = "---\n# Source: a.yaml\n\nkind: B\n\n---\n# Source: b.yaml\nkind: C\n\
                       ---\nkind: A\n---\n# Source: empty.yaml\n\n";
        let ordered = "---\n# Source: a.yaml\nkind: B\n---\n# Source: b.yaml\nkind: A\n\
                       ---\n# Source: b.yaml\nkind: C\n";
        assert_eq!(in_order(program), ordered);
        assert_eq!(in_order(library), ordered);
    }
}
