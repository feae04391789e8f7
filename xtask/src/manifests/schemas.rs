//! Validates manifests with kubectl-validate: against the schemas of Kubernetes, and of the custom
//! resources of Istio, Envoy Gateway, the Gateway API and the Prometheus operator.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Result, bail};

use crate::{
    process,
    tools::{
        cache::Cache,
        go::{self, KUBECTL_VALIDATE},
    },
};

/// The oldest version of Kubernetes with native sidecars, which chart and component need.
const KUBERNETES: &str = "1.29";

/// Modules with custom resource definitions, and the folders of these.
const DEFINITIONS: [(&str, &str, &[&str]); 3] = [
    ("istio.io/api", "v1.32.0", &["kubernetes"]),
    (
        "github.com/envoyproxy/gateway",
        "v1.9.1",
        &["charts/gateway-helm/charts/crds/crds", "charts/gateway-helm/charts/crds/crds/generated"],
    ),
    (
        "github.com/prometheus-operator/prometheus-operator",
        "v0.85.0",
        &["example/prometheus-operator-crd"],
    ),
];

/// kubectl-validate with all definitions.
#[derive(Debug)]
pub(crate) struct Validator {
    program: PathBuf,
    definitions: Vec<PathBuf>,
}

impl Validator {
    /// Builds the program and fetches the definitions if necessary.
    ///
    /// # Errors
    /// The program or a module is missing.
    pub(crate) fn find(cache: &Cache) -> Result<Self> {
        let program = KUBECTL_VALIDATE.find(cache)?;
        let mut definitions = Vec::new();
        for (module, version, folders) in DEFINITIONS {
            let module = go::module(module, version)?;
            definitions.extend(folders.iter().map(|folder| module.join(folder)));
        }
        Ok(Self { program, definitions })
    }

    /// # Errors
    /// A manifest is invalid, or an invalid one is accepted.
    pub(super) fn check(&self, files: &[PathBuf]) -> Result<()> {
        process::step("schemas");
        process::run(self.command().args(files))?;
        // A validator that accepts everything proves nothing.
        let folder = tempfile::tempdir()?;
        for (index, wrong) in WRONG.iter().enumerate() {
            let path = folder.path().join(format!("{index}.yaml"));
            fs::write(&path, wrong)?;
            if process::output(self.command().arg(&path)).is_ok() {
                bail!("kubectl-validate accepts an invalid manifest:\n{wrong}");
            }
        }
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // Whatever cluster the user has must not change the result.
        command.env("KUBECONFIG", "/dev/null").args(["--version", KUBERNETES]);
        for folder in &self.definitions {
            command.arg("--local-crds").arg(folder);
        }
        command
    }
}

/// An unknown member and a wrong value.
const WRONG: [&str; 2] = [
    "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: { name: x }\n\
     spec: { url: oci://x, failStrategi: FAIL_CLOSE }\n",
    "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: { name: x }\n\
     spec: { url: oci://x, failStrategy: FAIL_SOMEHOW }\n",
];
