//! The benchmarks.

mod client;
mod envoy;
mod filter;
mod propagation;
mod server;

use anyhow::Result;

use crate::{process, tools::cache::Cache, workspace::Workspace};

/// Runs benchmarks: `filter` is the one of the filter in Envoy, `propagation` that of the head's
/// way to requests, `verifier` that of the sidecar; anything else goes to the criterion benchmarks
/// of the core.
///
/// # Errors
/// A part cannot be had, or the benchmark fails.
pub(crate) fn run(
    workspace: &Workspace,
    cache: &Cache,
    force_fallback: bool,
    arguments: &[String],
) -> Result<()> {
    if arguments == ["filter"] {
        return filter::run(workspace, cache, force_fallback);
    }
    if arguments == ["propagation"] {
        return propagation::run(workspace, cache, force_fallback);
    }
    let (package, bench, arguments) = match arguments.split_first() {
        Some((first, rest)) if first == "verifier" => ("finality-sidecar", "verifier", rest),
        _ => ("finality-core", "*", arguments),
    };
    process::step(format_args!("benchmarks of {package}"));
    let mut cargo = workspace.cargo();
    // `--benches` would also run the unit tests, which do not know the arguments.
    cargo.args(["bench", "--package", package, "--bench", bench, "--"]).args(arguments);
    process::run(&mut cargo)
}
