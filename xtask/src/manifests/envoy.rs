//! Envoy validates, with the module, the configurations in the manifests and `envoy.yaml` with and
//! without `decompressor.yaml`. The scenarios run `envoy.yaml` and the files
//! of `mtls` and `https`.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use super::files;
use crate::{process, scenarios::Artifacts};

/// Lets Envoy validate all configurations.
///
/// # Errors
/// Envoy refuses a configuration, or accepts an invalid one.
pub(super) fn validate(shipped: &Path, found: &Path, artifacts: &Artifacts) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let envoy = Envoy { artifacts, folder: folder.path() };

    let read = |name: &str| {
        let path = shipped.join(name);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let plain = read("envoy.yaml")?;
    let mut configurations = vec![
        ("envoy.yaml".to_owned(), plain.clone()),
        ("decompressor.yaml".into(), with_decompressor(&plain, &read("decompressor.yaml")?)?),
    ];
    for path in files(found, ".json")? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("envoy-") {
            configurations.push((name, fs::read_to_string(&path)?));
        }
    }
    for (name, text) in &configurations {
        envoy.validate(text).with_context(|| format!("Envoy refuses {name}"))?;
    }
    // A validation that accepts everything proves nothing.
    let wrong = plain.replace("\"sidecar_cluster\"", "\"sidecar_clusters\"");
    if wrong == plain || envoy.validate(&wrong).is_ok() {
        bail!("Envoy accepts a filter with a key that does not exist");
    }
    println!("{} configurations of Envoy", configurations.len());
    Ok(())
}

struct Envoy<'a> {
    artifacts: &'a Artifacts,
    folder: &'a Path,
}

impl Envoy<'_> {
    fn validate(&self, text: &str) -> Result<()> {
        let module = self.artifacts.filter.to_string_lossy();
        let text = text.replace("/etc/envoy/finality_filter.wasm", &module);
        let path = self.folder.join("envoy.yaml");
        fs::write(&path, text)?;
        let mut envoy = Command::new(&self.artifacts.envoy);
        envoy.args(["--mode", "validate", "--log-level", "error", "--config-path"]).arg(path);
        process::output(&mut envoy).map(|_| ())
    }
}

/// The shipped configuration with more filters before ours.
fn with_decompressor(plain: &str, filters: &str) -> Result<String> {
    let ours = "          - name: finality\n";
    let (before, after) = plain.split_once(ours).context("envoy.yaml has no filter `finality`")?;
    Ok(format!("{before}{filters}{ours}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decompressor_precedes_the_filter() {
        let plain = "a\n          - name: finality\nb\n";
        let with = with_decompressor(plain, "          - name: gzip\n").unwrap();
        assert!(with.starts_with("a\n          - name: gzip\n          - name: finality\nb\n"));
        assert!(with_decompressor("a", "b").is_err());
    }
}
