//! Where the programs are that the devnet runs. `cargo xtask e2e` and `cargo xtask demo` set these
//! variables.

use std::path::PathBuf;

/// The programs and files that the devnet does not build itself.
#[derive(Debug, Clone)]
pub struct Tools {
    /// The `finality-sidecar` binary.
    pub sidecar: PathBuf,
    /// The filter module that Envoy loads.
    pub filter: PathBuf,
    /// Envoy.
    pub envoy: PathBuf,
    /// The shipped Envoy configuration.
    pub envoy_yaml: PathBuf,
}

impl Tools {
    /// Reads the environment.
    ///
    /// # Errors
    /// One line that names the variable which is missing or names no file.
    pub fn from_env() -> Result<Self, String> {
        Ok(Self {
            sidecar: file("FINALITY_E2E_SIDECAR")?,
            filter: file("FINALITY_E2E_FILTER")?,
            envoy: file("FINALITY_E2E_ENVOY")?,
            envoy_yaml: file("FINALITY_E2E_ENVOY_YAML")?,
        })
    }
}

/// What a real rollup runs on.
#[derive(Debug, Clone)]
pub struct OpStack {
    /// The execution client.
    pub op_geth: PathBuf,
    /// The consensus client.
    pub op_node: PathBuf,
    /// Posts batches to L1.
    pub op_batcher: PathBuf,
    /// The predeploys of the genesis, as JSON.
    pub predeploys: PathBuf,
}

impl OpStack {
    /// Reads the environment.
    ///
    /// # Errors
    /// One line that names the variable which is missing or names no file.
    pub fn from_env() -> Result<Self, String> {
        Ok(Self {
            op_geth: file("FINALITY_E2E_OP_GETH")?,
            op_node: file("FINALITY_E2E_OP_NODE")?,
            op_batcher: file("FINALITY_E2E_OP_BATCHER")?,
            predeploys: file("FINALITY_E2E_PREDEPLOYS")?,
        })
    }
}

/// Anvil, which plays L1, the sequencer and the full node.
///
/// # Errors
/// One line when `FINALITY_E2E_ANVIL` is missing or names no file.
pub fn anvil() -> Result<PathBuf, String> {
    file("FINALITY_E2E_ANVIL")
}

/// etcd, in which several sidecars publish one head.
///
/// # Errors
/// One line when `FINALITY_E2E_ETCD` is missing or names no file.
pub fn etcd() -> Result<PathBuf, String> {
    file("FINALITY_E2E_ETCD")
}

/// Chromium, which looks at the status page.
///
/// # Errors
/// One line when `FINALITY_E2E_CHROMIUM` is missing or names no file.
pub fn chromium() -> Result<PathBuf, String> {
    file("FINALITY_E2E_CHROMIUM")
}

/// promtool, which judges what was recorded.
///
/// # Errors
/// One line when `FINALITY_E2E_PROMTOOL` is missing or names no file.
pub fn promtool() -> Result<PathBuf, String> {
    file("FINALITY_E2E_PROMTOOL")
}

fn file(variable: &str) -> Result<PathBuf, String> {
    let advice = "run `cargo xtask e2e` or `cargo xtask demo`, with `--real` for a real rollup";
    let path = std::env::var_os(variable)
        .map(PathBuf::from)
        .ok_or_else(|| format!("{variable} is not set: {advice}"))?;
    path.canonicalize()
        .ok()
        .filter(|path| path.is_file())
        .ok_or_else(|| format!("{variable} names {}, which is no file: {advice}", path.display()))
}
