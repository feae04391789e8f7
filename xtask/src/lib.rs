//! Build, tool set-up and the gate. `cargo xtask` lists the commands.
//!
//! Everything a bare machine lacks (a compiler target for the module, Envoy, Anvil) is set up on
//! first use, so that each command works from a fresh clone without another step before it.

mod bench;
mod compile;
mod filter;
mod fuzz;
mod gate;
mod lint;
mod manifests;
mod module;
mod package;
mod page;
mod process;
mod reproduce;
mod scenarios;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand, builder::FalseyValueParser};

use crate::{scenarios::Parts, tools::cache::Cache, workspace::Workspace};

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Build, tool set-up and the gate"
)]
struct Arguments {
    /// Leave the user's cache alone: keep fetched tools under target/tools
    #[arg(long, global = true, env = "FINALITY_NO_CACHE", value_parser = FalseyValueParser::new())]
    no_cache: bool,

    /// Build the module with the Debian packages even where rustup has the target
    #[arg(long, global = true, env = "FINALITY_WASM_FALLBACK", value_parser = FalseyValueParser::new())]
    force_fallback: bool,

    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run everything: format, lints, module checks, all tests, scenarios on a real Envoy
    Test,
    /// Run the scenarios on a real Envoy and a real Anvil
    E2e {
        /// List the scenarios instead
        #[arg(long)]
        list: bool,
        /// Parts of scenario names, such as `s03`; none means all
        scenarios: Vec<String>,
    },
    /// Start a devnet and watch a tag resolve; Ctrl-C ends it
    Demo {
        /// Run until the head has advanced by ten blocks, compare answers, then exit 0 or 1
        #[arg(long)]
        check: bool,
    },
    /// Build and check the module: target/filter/finality_filter.wasm
    Filter,
    /// Build the module a second time in another folder: it must be the same, byte for byte
    Reproduce,
    /// Check the configuration of gateways, the chart, the images and the workflows
    Manifests {
        /// Write the rendered manifests instead of comparing with them
        #[arg(long)]
        write: bool,
    },
    /// Build what the status page runs in the browser; a sidecar that is built later embeds it
    Page,
    /// Take the pictures of the status page in docs/images from a running devnet
    Pictures,
    /// Set up Envoy, Anvil, Chromium and the wasm compiler, and print what will be used
    Tools,
    /// Format the code
    Fmt {
        /// Only say whether it is formatted
        #[arg(long)]
        check: bool,
    },
    /// Run clippy and, where it is installed, cargo-deny
    Lint,
    /// Write the tables of docs/configuration.md anew, from the code
    Docs,
    /// Pack finality-core, build that for every target, and compare its public interface with the
    /// recorded one
    Package {
        /// Record the public interface anew
        #[arg(long)]
        write: bool,
    },
    /// Feed every decoder and the rewriter with arbitrary bytes
    Fuzz {
        /// How long each target runs
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Names of targets; none means all
        targets: Vec<String>,
    },
    /// Run benchmarks: `filter` measures the filter in Envoy beside a bare Envoy, `propagation` how
    /// fast a new head reaches requests, `verifier` the verifier against canned services, all else
    /// goes to those of the core
    Bench {
        /// `filter`, `propagation`, or `verifier` and arguments, or arguments for the benchmark
        /// program of the core
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// Its own command line; the tests of the documents try what they show against it.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let workspace = Workspace::find()?;
    let cache = Cache::choose(arguments.no_cache, &workspace);
    let forced = arguments.force_fallback;
    match &arguments.command {
        Task::Test => gate::run(&workspace, &cache, forced),
        Task::E2e { list: true, .. } => scenarios::list(&workspace),
        Task::E2e { scenarios, .. } => scenarios::run(&workspace, &cache, forced, scenarios),
        Task::Demo { check } => scenarios::demo(&workspace, &cache, forced, *check),
        Task::Filter => filter::build(&workspace, forced).map(|_| ()),
        Task::Reproduce => reproduce::run(&workspace, forced),
        Task::Manifests { write } => {
            let parts = Parts::prepare(&workspace, &cache, forced)?;
            manifests::run(&workspace, &cache, &parts, *write)
        }
        Task::Page => page::build(&workspace, forced),
        Task::Pictures => scenarios::pictures(&workspace, &cache, forced),
        Task::Tools => tools::report(&workspace, &cache, forced),
        Task::Fmt { check } => lint::format(&workspace, *check),
        Task::Lint => lint::lint(&workspace, &cache),
        Task::Package { write } => package::check(&workspace, forced, *write),
        Task::Docs => lint::write_tables(&workspace),
        Task::Fuzz { seconds, targets } => fuzz::run(&workspace, &cache, *seconds, targets),
        Task::Bench { arguments } => bench::run(&workspace, &cache, forced, arguments),
    }
}
