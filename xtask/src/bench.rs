//! The benchmarks.

use anyhow::Result;

use crate::{process, workspace::Workspace};

/// Runs the criterion benchmarks of the core; `arguments` go to the benchmark program.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    process::step("benchmarks of finality-core");
    let mut cargo = workspace.cargo();
    // `--benches` would also run the unit tests, which do not know criterion's arguments.
    cargo.args(["bench", "--package", "finality-core", "--bench", "*", "--"]).args(arguments);
    process::run(&mut cargo)
}
