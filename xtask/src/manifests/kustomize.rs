//! Renders the example of the kustomize component, and checks that the component refuses what it
//! cannot be applied to.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{Paths, copy_folder};
use crate::{
    process,
    tools::{cache::Cache, go::KUSTOMIZE},
};

/// A change of the example's `node.yaml` that the component must refuse, and a part of the error.
const REFUSED: [(&str, &str, &str); 3] = [
    ("kind: StatefulSet", "kind: Deployment", NOT_FOUND),
    (", espresso-finality/sidecar: \"true\"", "", NOT_FOUND),
    ("volumeClaimTemplates:", "volumes:", "doc is missing path: \"/spec/volumeClaimTemplates/-\""),
];
const NOT_FOUND: &str =
    "nothing selected by StatefulSet with the label espresso-finality/sidecar=true";

/// `kustomize build` of version 5.
#[derive(Debug)]
pub(crate) enum Kustomize {
    Program(PathBuf),
    /// The one in kubectl.
    Kubectl,
}

impl Kustomize {
    /// kubectl's, or kustomize from `PATH`, or built with Go.
    ///
    /// # Errors
    /// There is none, and none can be built.
    pub(crate) fn find(cache: &Cache) -> Result<Self> {
        let client = process::output(Command::new("kubectl").args(["version", "--client"]));
        if client.is_ok_and(|text| text.contains("Kustomize Version: v5.")) {
            return Ok(Self::Kubectl);
        }
        KUSTOMIZE.find(cache).map(Self::Program)
    }

    fn build(&self, folder: &Path) -> Result<String> {
        let mut command = match self {
            Self::Program(path) => {
                let mut command = Command::new(path);
                command.arg("build");
                command
            }
            Self::Kubectl => {
                let mut command = Command::new("kubectl");
                command.arg("kustomize");
                command
            }
        };
        process::output(command.arg(folder))
    }
}

/// The rendered example.
///
/// # Errors
/// Rendering fails, or the component accepts what it must refuse.
pub(super) fn render(paths: &Paths, kustomize: &Kustomize) -> Result<String> {
    let node = fs::read_to_string(paths.example.join("node.yaml"))?;
    for (part, replacement, why) in REFUSED {
        let folder = tempfile::tempdir()?;
        copy_folder(&paths.component, &folder.path().join("component"))?;
        let example = folder.path().join("example");
        copy_folder(&paths.example, &example)?;
        let changed = node.replacen(part, replacement, 1);
        if changed == node {
            bail!("the example has no `{part}`");
        }
        fs::write(example.join("node.yaml"), changed)?;
        let error = kustomize.build(&example).err().map(|error| format!("{error:#}"));
        // kubectl escapes the quotes of the error that it wraps.
        let error = error.unwrap_or_default().replace('\\', "");
        if !error.contains(why) {
            bail!(
                "the component must refuse `{replacement}` in place of `{part}` with `{why}`, \
                 and says `{error}`"
            );
        }
    }
    kustomize.build(&paths.example).context("kustomize")
}
