//! The benchmarks.

mod before;
mod canned;
mod client;
mod envoy;
mod filter;
mod instructions;
mod propagation;
mod server;

use anyhow::{Result, bail};

use crate::{process, tools::cache::Cache, workspace::Workspace};

/// Runs benchmarks: `filter` measures the filter in Envoy, `propagation` how fast a new head
/// reaches requests, `verifier` the sidecar, `nitro` the sidecar on Nitro, after its catch-up on
/// the OP Stack, `proofs` the checks; anything else goes to the criterion benchmarks of the core.
///
/// # Errors
/// A part cannot be had, or the benchmark fails.
pub(crate) fn run(
    workspace: &Workspace,
    cache: &Cache,
    force_fallback: bool,
    arguments: &[String],
) -> Result<()> {
    if let Some((first, rest)) = arguments.split_first()
        && first == "filter"
    {
        let before = match rest {
            [] => None,
            [flag, before] if flag == "--before" => Some(before.as_str()),
            _ => bail!("expected `bench filter [--before REVISION|FILE]`"),
        };
        return filter::run(workspace, cache, force_fallback, before);
    }
    if arguments == ["propagation"] {
        return propagation::run(workspace, cache, force_fallback);
    }
    let (package, bench, arguments) = match arguments.split_first() {
        Some((first, rest)) if first == "verifier" => ("finality-sidecar", "verifier", rest),
        Some((first, rest)) if first == "nitro" => ("finality-e2e", "nitro", rest),
        Some((first, rest)) if first == "proofs" => ("espresso-proofs", "proofs", rest),
        _ => ("finality-core", "*", arguments),
    };
    if bench == "nitro" && !arguments.iter().any(|argument| argument == "steady") {
        let beside = [&["catch-up".to_owned()], arguments].concat();
        run_bench(workspace, "finality-sidecar", "verifier", &beside)?;
    }
    run_bench(workspace, package, bench, arguments)
}

fn run_bench(
    workspace: &Workspace,
    package: &str,
    bench: &str,
    arguments: &[String],
) -> Result<()> {
    process::step(format_args!("benchmarks of {package}"));
    let mut cargo = workspace.cargo();
    // `--benches` would also run the unit tests, which do not know the arguments.
    cargo.args(["bench", "--package", package, "--bench", bench, "--"]).args(arguments);
    process::run(&mut cargo)
}
