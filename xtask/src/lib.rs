//! Build, tool setup and the gate. `cargo xtask` lists the commands.
//!
//! Each command works from a fresh clone: whatever a bare machine lacks (a compiler target for the
//! module, Envoy, Anvil) is set up on first use.

mod bench;
mod compile;
mod dist;
mod filter;
mod fuzz;
mod gate;
mod lint;
mod manifests;
mod module;
mod mutants;
mod package;
mod page;
mod process;
mod reproduce;
mod scenarios;
mod tools;
mod workspace;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand, builder::FalseyValueParser};

use crate::{
    manifests::{Helm, Kustomize, Validator},
    scenarios::Artifacts,
    tools::{cache::Cache, promtool::PROMTOOL},
    workspace::Workspace,
};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Build, tool setup and the gate")]
struct Arguments {
    /// Keep fetched tools under target/tools instead of the user's cache
    #[arg(long, global = true, env = "FINALITY_NO_CACHE", value_parser = FalseyValueParser::new())]
    no_cache: bool,

    /// Build the module with the Debian packages even if rustup has the target
    #[arg(long, global = true, env = "FINALITY_WASM_FALLBACK", value_parser = FalseyValueParser::new())]
    force_fallback: bool,

    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run the gate: format, lints, module checks, all tests, scenarios on a real Envoy
    Test,
    /// Run scenarios on a real Envoy and a real Anvil
    E2e {
        /// List the scenarios instead
        #[arg(long)]
        list: bool,
        /// Run those on op-geth and op-node, which are built first (Go 1.26 or newer)
        #[arg(long)]
        real: bool,
        /// Substrings of scenario names, such as `s03`; default: all scenarios
        scenarios: Vec<String>,
    },
    /// Let everything fail under replicas on a real etcd, and check what all have seen
    Chaos {
        /// How long; each fault happens once at least
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        /// Decides which faults come when
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Start a devnet and watch a tag resolve; Ctrl-C stops it
    Demo {
        /// Exit once the head has advanced ten blocks through Envoy: 0 if all answers match, else 1
        #[arg(long)]
        check: bool,
        /// Run the rollup on op-geth and op-node, which are built first (Go 1.26 or newer), instead
        /// of on Anvil
        #[arg(long, conflicts_with = "rollup")]
        real: bool,
        /// The rollup: `op` or `nitro`
        #[arg(long, default_value = "op", value_parser = ["op", "nitro"])]
        rollup: String,
    },
    /// Build and check the module, target/filter/finality_filter.wasm
    Filter,
    /// Build the module a second time in another folder and compare it byte for byte
    Reproduce,
    /// Check gateway configurations, chart, kustomize component, images and workflows
    Manifests {
        /// Write the rendered manifests instead of comparing them
        #[arg(long)]
        write: bool,
    },
    /// Build the WebAssembly of the status page; the next build of the sidecar embeds it
    Page,
    /// Take the screenshots in docs/images from a running devnet
    Pictures,
    /// Build what a release has into target/dist: packages of the sidecar, module, chart, checksums
    Dist {
        /// Package this program instead of building the sidecar
        #[arg(long)]
        sidecar: Option<PathBuf>,
    },
    /// Set up Envoy, Anvil, Chromium and the wasm compiler, and print which ones are used
    Tools,
    /// Format the code
    Fmt {
        /// Check the format without changing files
        #[arg(long)]
        check: bool,
    },
    /// Run clippy, rustdoc, typos and cargo-deny
    Lint,
    /// Regenerate the tables of docs/configuration.md from the code
    Docs,
    /// Package finality-core and espresso-proofs, build the packages for every target, and compare
    /// their public APIs with the recorded ones
    Package {
        /// Record the public APIs
        #[arg(long)]
        write: bool,
    },
    /// Fuzz the decoders and the rewriter
    Fuzz {
        /// Time per target
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Names of targets; default: all
        targets: Vec<String>,
    },
    /// Mutate the files that hold rules, and fail on mutants that no test notices
    Mutants {
        /// Substrings of file names, such as `store`; default: all files that hold rules
        files: Vec<String>,
    },
    /// Run benchmarks: `filter` compares Envoy with and without the filter, `propagation` measures
    /// how fast a new head reaches requests, `verifier` runs the verifier against canned services,
    /// `proofs` checks proofs; anything else is passed to the benchmarks of finality-core
    Bench {
        /// `filter`, `propagation`, `verifier` or `proofs` with its arguments, or arguments for
        /// the benchmarks of finality-core
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// The command line, against which the tests of the documents check the commands they show.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the command given by the process's arguments.
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
        Task::E2e { scenarios, real, .. } => {
            scenarios::run(&workspace, &cache, forced, *real, scenarios)
        }
        Task::Chaos { minutes, seed } => {
            scenarios::chaos(&workspace, &cache, forced, *minutes, *seed)
        }
        Task::Demo { check, real, rollup } => {
            scenarios::demo(&workspace, &cache, forced, *check, *real, rollup)
        }
        Task::Filter => filter::build(&workspace, forced).map(|_| ()),
        Task::Reproduce => reproduce::run(&workspace, forced),
        Task::Manifests { write } => {
            let (workspace, cache, write) = (&workspace, &cache, *write);
            tools::with("chart", Helm::find(cache), |helm| {
                manifests::chart(workspace, cache, helm, write)
            })?;
            tools::with("component", Kustomize::find(cache), |kustomize| {
                manifests::component(workspace, kustomize, write)
            })?;
            tools::with("schemas", Validator::find(cache), |validator| {
                manifests::schemas(workspace, validator)
            })?;
            tools::with("alerts", PROMTOOL.find(cache), |promtool| {
                manifests::alerts(workspace, &promtool.path)
            })?;
            let artifacts = Artifacts::prepare(workspace, cache, forced)?;
            manifests::check(workspace, cache, &artifacts)
        }
        Task::Dist { sidecar } => dist::run(&workspace, &cache, forced, sidecar.as_deref()),
        Task::Page => page::build(&workspace, forced),
        Task::Pictures => scenarios::pictures(&workspace, &cache, forced),
        Task::Tools => tools::report(&workspace, &cache, forced),
        Task::Fmt { check } => lint::format(&workspace, *check),
        Task::Lint => lint::lint(&workspace, &cache),
        Task::Package { write } => package::check(&workspace, forced, *write),
        Task::Docs => lint::write_tables(&workspace),
        Task::Fuzz { seconds, targets } => fuzz::run(&workspace, &cache, *seconds, targets),
        Task::Mutants { files } => mutants::run(&workspace, &cache, files),
        Task::Bench { arguments } => bench::run(&workspace, &cache, forced, arguments),
    }
}
