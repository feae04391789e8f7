//! `print-config`: the effective configuration, and what is wrong with it.

use std::{io::Write, process::ExitCode};

use super::{exit::Failure, flags::SettingFlags};
use crate::{
    config::{self, Config},
    store,
};

/// Runs the command.
///
/// # Errors
/// Every problem of the configuration.
pub fn run(flags: &SettingFlags, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let values = flags.gather();
    out.write_all(config::describe(&values).as_bytes())?;
    let config = Config::from_values(&values)?;
    // A state file that cannot be read is the affair of `run` and `store show`.
    let file = store::read(&config.store_path).ok().flatten();
    config.check_start_position(file.as_ref().map(|file| &file.record))?;
    Ok(ExitCode::SUCCESS)
}
