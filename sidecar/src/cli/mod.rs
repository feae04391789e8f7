//! The commands, one file each.

pub mod check;
pub mod decode;
mod dependencies;
pub mod exit;
pub mod flags;
mod moving;
mod numbers;
mod open_files;
pub mod print_config;
pub mod prove;
mod replicas;
pub mod rewrite;
pub mod run;
mod secrets;
mod shared;
pub mod store;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand, error::ErrorKind};

use self::{exit::Failure, flags::SettingFlags};

/// Verifies a rollup's head against Espresso and serves it to the Envoy filter.
#[derive(Debug, Parser)]
#[command(name = "finality-sidecar", version = finality_core::build::LINE)]
#[command(after_help = "Exit codes: 0 success, 1 failure, 2 payload rejected (decode) \
or not proven (prove), 3 request refused (rewrite), 4 something wrong (check), \
5 head lowered on purpose (run), \
64 invalid usage or configuration.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Verify the head and serve it until stopped by a signal
    Run(SettingFlags),
    /// Ask every dependency what `run` would ask, say what is wrong, and change nothing
    Check(Box<check::Arguments>),
    /// Print the effective configuration with the source of each value, and report problems
    PrintConfig(print_config::Arguments),
    /// Check what query services say of a namespace in a HotShot block, and print each step or the
    /// one that failed
    Prove(prove::Arguments),
    /// Show or lower the stored head
    #[command(subcommand)]
    Store(store::Command),
    /// Read a JSON-RPC body from standard input and print what the node would receive, or the
    /// refusal
    Rewrite(rewrite::Arguments),
    /// Read a namespace payload from standard input and print the batch, or the check that rejects
    /// it
    #[command(subcommand)]
    Decode(decode::Command),
}

/// The command line; the tests of the documents check their examples against it.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command of this process.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::try_parse() {
        Ok(cli) => match cli.command {
            Command::Run(flags) => run::run(&flags),
            Command::Check(arguments) => check::run(&arguments, &mut io::stdout().lock()),
            Command::PrintConfig(arguments) => {
                print_config::run(&arguments, &mut io::stdout().lock())
            }
            Command::Prove(arguments) => prove::run(&arguments, &mut io::stdout().lock()),
            Command::Store(command) => store::run(&command),
            Command::Rewrite(arguments) => {
                rewrite::run(&arguments, io::stdin().lock(), &mut io::stdout().lock())
            }
            Command::Decode(command) => {
                decode::run(&command, io::stdin().lock(), &mut io::stdout().lock())
            }
        },
        Err(error) => usage(&error),
    };
    match done {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

/// Prints help and version to standard output; any other error becomes one line.
fn usage(error: &clap::Error) -> Result<ExitCode, Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Like other tools, quiet if the reader has gone.
            drop(write!(io::stdout(), "{}", error.render()));
            Ok(ExitCode::SUCCESS)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            drop(write!(io::stderr(), "{}", error.render()));
            Ok(exit::USAGE.into())
        }
        _ => {
            let text = error.render().to_string();
            let first: Vec<_> =
                text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
            let line = first.join(" ");
            let line = line.strip_prefix("error: ").unwrap_or(&line);
            // A misplaced URL may hold a secret.
            let words = line.split(' ').map(|word| if word.contains("://") { "'…'" } else { word });
            let line = words.collect::<Vec<_>>().join(" ");
            Err(Failure::usage(format!("{line} (see --help)")))
        }
    }
}
