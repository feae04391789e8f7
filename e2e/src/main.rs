//! `finality-devnet`: the devnet by the clock, to look at and to play with. Started by `cargo xtask
//! demo`.

use std::{panic::AssertUnwindSafe, process::ExitCode};

use clap::{Parser, Subcommand};
use finality_e2e::{demo, tools};
use futures::FutureExt;

#[derive(Debug, Parser)]
#[command(name = "finality-devnet", version = finality_core::build::LINE, about, long_about = None)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts everything on free ports of 127.0.0.1 and shows what happens, until Ctrl-C.
    Demo {
        /// Instead runs until the head has advanced through Envoy by ten blocks, compares tagged
        /// with direct answers, and exits 0 or 1.
        #[arg(long)]
        check: bool,
        /// With a real rollup (op-geth and op-node) instead of an emulated one.
        #[arg(long)]
        real: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let Command::Demo { check, real } = Arguments::parse().command;
    if let Err(error) = tools::Tools::from_env().and(tools::anvil()) {
        eprintln!("finality-devnet: {error}");
        return ExitCode::FAILURE;
    }
    // A part that does not start is a failure to report, not a bug to trace.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("finality-devnet: {}", panic.payload_as_str().unwrap_or("failed"));
    }));
    match AssertUnwindSafe(demo::run(check, real)).catch_unwind().await {
        Ok(true) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
