//! `finality-devnet`: the devnet by the clock, to look at and to play with. Started by `cargo xtask
//! demo`.

use std::{panic::AssertUnwindSafe, process::ExitCode};

use clap::{Parser, Subcommand};
use finality_e2e::{
    demo::{self, Kind},
    tools,
};
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
        #[arg(long, conflicts_with = "rollup")]
        real: bool,
        /// Which rollup is emulated.
        #[arg(long, value_enum, default_value_t = Kind::Op)]
        rollup: Kind,
    },
    /// Posts the feed of a Nitro node to a HotShot of its own, until Ctrl-C.
    NitroRelay {
        /// The feed, as `ws://127.0.0.1:9642`.
        #[arg(long)]
        feed: String,
        /// The chain id, which is the namespace.
        #[arg(long)]
        chain_id: u32,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let tools = match &command {
        Command::Demo { .. } => tools::Tools::from_env().and(tools::anvil()),
        Command::NitroRelay { .. } => tools::anvil(),
    };
    if let Err(error) = tools {
        eprintln!("finality-devnet: {error}");
        return ExitCode::FAILURE;
    }
    // A part that does not start is a failure to report, not a bug to trace.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("finality-devnet: {}", panic.payload_as_str().unwrap_or("failed"));
    }));
    let run = async {
        match command {
            Command::Demo { check, real, rollup } => {
                demo::run(check, if real { Kind::OpReal } else { rollup }).await
            }
            Command::NitroRelay { feed, chain_id } => {
                demo::relay::run(&feed, chain_id).await;
                false
            }
        }
    };
    match AssertUnwindSafe(run).catch_unwind().await {
        Ok(true) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
