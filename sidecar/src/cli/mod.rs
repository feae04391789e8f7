//! The commands, one file each.

pub mod decode;
pub mod exit;
pub mod flags;
mod open_files;
pub mod print_config;
pub mod rewrite;
pub mod run;
pub mod store;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand, error::ErrorKind};

use self::{exit::Failure, flags::SettingFlags};

/// Earns the head that finality tags become, and serves it to the filter.
#[derive(Debug, Parser)]
#[command(name = "finality-sidecar", version = finality_core::build::LINE)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 payload refused (decode), 3 request refused (rewrite), \
64 bad configuration or usage."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Verifies the node and serves the head until a signal comes
    Run(SettingFlags),
    /// Shows the effective configuration with the source of each value, and what is wrong with it
    PrintConfig(SettingFlags),
    /// Shows or lowers the stored head
    #[command(subcommand)]
    Store(store::Command),
    /// Reads a JSON-RPC body from standard input and writes what would go to the node, or the
    /// refusal
    Rewrite(rewrite::Arguments),
    /// Reads a payload of the namespace from standard input and prints the batch, or the check that
    /// refuses it
    #[command(subcommand)]
    Decode(decode::Command),
}

/// The command line; the tests of the documents try what they show against it.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::try_parse() {
        Ok(cli) => match cli.command {
            Command::Run(flags) => run::run(&flags),
            Command::PrintConfig(flags) => print_config::run(&flags, &mut io::stdout().lock()),
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

/// Help and version go to standard output; a mistake becomes one line.
fn usage(error: &clap::Error) -> Result<ExitCode, Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // As other tools, quiet when nobody reads on.
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
            // A URL that is out of place may hold a secret.
            let words = line.split(' ').map(|word| if word.contains("://") { "'…'" } else { word });
            let line = words.collect::<Vec<_>>().join(" ");
            Err(Failure::usage(format!("{line} (see --help)")))
        }
    }
}
