//! Where the programs are that the devnet runs. `cargo xtask e2e` and `cargo xtask demo` set these variables.

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
    /// # Panics
    /// When a variable is missing or names no file.
    #[must_use]
    pub fn from_env() -> Self {
        Self {
            sidecar: file("FINALITY_E2E_SIDECAR"),
            filter: file("FINALITY_E2E_FILTER"),
            envoy: file("FINALITY_E2E_ENVOY"),
            envoy_yaml: file("FINALITY_E2E_ENVOY_YAML"),
        }
    }
}

/// Anvil, which plays L1, the sequencer and the full node.
///
/// # Panics
/// When `FINALITY_E2E_ANVIL` is missing or names no file.
#[must_use]
pub fn anvil() -> PathBuf {
    file("FINALITY_E2E_ANVIL")
}

fn file(variable: &str) -> PathBuf {
    let Some(path) = std::env::var_os(variable).map(PathBuf::from) else {
        panic!("{variable} is not set: run `cargo xtask e2e` or `cargo xtask demo`");
    };
    assert!(
        path.is_file(),
        "{variable} names {}, which is no file: run `cargo xtask e2e` or `cargo xtask demo`",
        path.display()
    );
    path.canonicalize().unwrap()
}
