//! `print-config`: the effective configuration and its problems.

use std::{io::Write, process::ExitCode};

use clap::Args;

use super::{exit::Failure, flags::SettingFlags};
use crate::{
    config::{self, Config, Secrets},
    store,
};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    flags: SettingFlags,
    /// Print URLs as they are, with the keys in them
    #[arg(long)]
    show_secrets: bool,
}

pub fn run(arguments: &Arguments, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let values = arguments.flags.gather();
    let secrets = if arguments.show_secrets { Secrets::Shown } else { Secrets::Masked };
    out.write_all(config::describe(&values, secrets).as_bytes())?;
    let config = Config::from_values(&values)?;
    // `run` and `store show` report a state file that cannot be read.
    let file = store::read(&config.store_path).ok().flatten();
    config.check_start_position(file.as_ref().map(|file| &file.record))?;
    Ok(ExitCode::SUCCESS)
}
