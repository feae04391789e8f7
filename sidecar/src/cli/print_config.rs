//! `print-config`: the effective configuration and its problems.

use std::{io::Write, process::ExitCode};

use super::{exit::Failure, flags::SettingFlags};
use crate::{
    config::{self, Config},
    store,
};

pub fn run(flags: &SettingFlags, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let values = flags.gather();
    out.write_all(config::describe(&values).as_bytes())?;
    let config = Config::from_values(&values)?;
    // `run` and `store show` report a state file that cannot be read.
    let file = store::read(&config.store_path).ok().flatten();
    config.check_start_position(file.as_ref().map(|file| &file.record))?;
    Ok(ExitCode::SUCCESS)
}
