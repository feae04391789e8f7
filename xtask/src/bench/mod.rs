//! The benchmarks.

mod client;
mod envoy;
mod filter;
mod server;

use anyhow::Result;

use crate::{process, tools::cache::Cache, workspace::Workspace};

/// Runs benchmarks: `filter` is the one of the filter in Envoy; anything else goes to the criterion benchmarks of the
/// core.
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
    process::step("benchmarks of finality-core");
    let mut cargo = workspace.cargo();
    // `--benches` would also run the unit tests, which do not know criterion's arguments.
    cargo.args(["bench", "--package", "finality-core", "--bench", "*", "--"]).args(arguments);
    process::run(&mut cargo)
}
