//! The chart as an OCI archive, for registries: what `helm push` would upload.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{archive, digest};
use crate::{manifests, tools::cache::Cache, workspace::Workspace};

/// Writes the archive beside the packaged chart.
///
/// # Errors
/// The chart cannot be read, or the archive cannot be written.
pub(super) fn archive_of(workspace: &Workspace, cache: &Cache, chart: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let metadata = manifests::chart_metadata(workspace, cache)?;
    layout(folder.path(), &metadata, &fs::read(chart)?)?;
    let name = chart.file_stem().context("a chart has a name")?.to_string_lossy().into_owned();
    archive(workspace, folder.path(), ".", &chart.with_file_name(format!("{name}.oci.tar")))
}

/// Writes an OCI image layout with the chart.
fn layout(folder: &Path, metadata: &Value, chart: &[u8]) -> Result<()> {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let blob = |media_type: &str, bytes: &[u8]| -> Result<Value> {
        let digest = digest(bytes);
        fs::write(blobs.join(&digest), bytes)?;
        let digest = format!("sha256:{digest}");
        Ok(json!({"mediaType": media_type, "digest": digest, "size": bytes.len()}))
    };
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    let config = blob("application/vnd.cncf.helm.config.v1+json", metadata.to_string().as_bytes())?;
    let content = blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", chart)?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [content],
    });
    let mut manifest = blob(MANIFEST, manifest.to_string().as_bytes())?;
    let version = metadata.get("version").cloned().context("a chart has a version")?;
    if let Some(manifest) = manifest.as_object_mut() {
        let tag = json!({"org.opencontainers.image.ref.name": version});
        manifest.insert("annotations".into(), tag);
    }
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(folder.join("index.json"), index.to_string())?;
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reference_leads_to_the_chart() {
        let folder = tempfile::tempdir().unwrap();
        let metadata = json!({"name": "c", "version": "1.2.3"});
        layout(folder.path(), &metadata, b"chart").unwrap();
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
            let bytes = fs::read(folder.path().join("blobs/sha256").join(digest)).unwrap();
            assert_eq!(descriptor["size"], bytes.len());
            bytes
        };
        let index = fs::read(folder.path().join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let manifest = &index["manifests"][0];
        assert_eq!(manifest["annotations"]["org.opencontainers.image.ref.name"], "1.2.3");
        let manifest: Value = serde_json::from_slice(&blob(manifest)).unwrap();
        assert_eq!(blob(&manifest["layers"][0]), b"chart");
        assert_eq!(blob(&manifest["config"]), metadata.to_string().as_bytes());
    }
}
