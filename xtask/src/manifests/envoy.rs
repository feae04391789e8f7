//! Envoy reads the configurations that are shipped, and those that the manifests bring, with the module in them.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::files;
use crate::{process, scenarios::Parts};

/// Lets Envoy validate everything.
///
/// # Errors
/// Envoy refuses a configuration, or accepts one that is wrong.
pub(super) fn validate(shipped: &Path, found: &Path, parts: &Parts) -> Result<()> {
    let folder = tempfile::tempdir()?;
    certificates(folder.path())?;
    let envoy = Envoy { parts, folder: folder.path() };

    let read = |name: &str| {
        let path = shipped.join(name);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let plain = read("envoy.yaml")?;
    let mut configurations = vec![
        ("envoy.yaml".to_owned(), plain.clone()),
        ("decompressor.yaml".into(), with_decompressor(&plain, &read("decompressor.yaml")?)?),
        ("mtls/cluster.yaml".into(), with_cluster(&plain, &read("mtls/cluster.yaml")?)?),
        ("mtls/sidecar.yaml".into(), read("mtls/sidecar.yaml")?),
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
    // What says yes to everything says nothing.
    let wrong = plain.replace("\"sidecar_cluster\"", "\"sidecar_clusters\"");
    if wrong == plain || envoy.validate(&wrong).is_ok() {
        bail!("Envoy accepts a filter with a key that does not exist");
    }
    println!("{} configurations of Envoy", configurations.len());
    Ok(())
}

struct Envoy<'a> {
    parts: &'a Parts,
    folder: &'a Path,
}

impl Envoy<'_> {
    fn validate(&self, text: &str) -> Result<()> {
        let text = text
            .replace("/etc/envoy/finality_filter.wasm", &self.parts.filter.to_string_lossy())
            .replace("/etc/envoy/tls", &self.folder.to_string_lossy());
        let path = self.folder.join("envoy.yaml");
        fs::write(&path, text)?;
        let mut envoy = Command::new(&self.parts.envoy);
        envoy.args(["--mode", "validate", "--log-level", "error", "--config-path"]).arg(path);
        process::output(&mut envoy).map(|_| ())
    }
}

/// The shipped configuration with the filters that go before ours.
fn with_decompressor(plain: &str, filters: &str) -> Result<String> {
    let ours = "          - name: finality\n";
    let (before, after) = plain.split_once(ours).context("envoy.yaml has no filter `finality`")?;
    Ok(format!("{before}{filters}{ours}{after}"))
}

/// The shipped configuration with another cluster of the sidecar, which is the last one.
fn with_cluster(plain: &str, cluster: &str) -> Result<String> {
    let (before, after) = plain
        .split_once("  - name: finality_sidecar\n")
        .context("envoy.yaml has no cluster `finality_sidecar`")?;
    let (_, after) = after.split_once("\n\n").context("the cluster has no end")?;
    Ok(format!("{before}{cluster}\n{after}"))
}

/// An authority, and certificates for both sides.
fn certificates(folder: &Path) -> Result<()> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    fs::write(folder.join("ca.crt"), authority.pem())?;
    for name in ["edge", "sidecar"] {
        let key = KeyPair::generate()?;
        let certificate =
            CertificateParams::new(vec![format!("{name}.example")])?.signed_by(&key, &authority)?;
        fs::write(folder.join(format!("{name}.crt")), certificate.pem())?;
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_put_where_they_belong() {
        let plain = "a\n          - name: finality\nb\n  - name: finality_sidecar\n    c\n\nd\n";
        let with = with_decompressor(plain, "          - name: gzip\n").unwrap();
        assert!(with.starts_with("a\n          - name: gzip\n          - name: finality\nb\n"));
        let with = with_cluster(plain, "  - name: other\n").unwrap();
        assert_eq!(with, "a\n          - name: finality\nb\n  - name: other\n\nd\n");
        assert!(with_cluster("a", "b").is_err() && with_decompressor("a", "b").is_err());
    }
}
