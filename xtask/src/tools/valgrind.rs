//! Valgrind, which counts instructions: found in `PATH`, or from Debian's package.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::apt::{self, Apt};
use crate::process;

const NAME: &str = "valgrind";
const ADVICE: &str = "no valgrind: install it, on Debian by `apt-get install valgrind`";

/// The program, installed if necessary and permitted.
///
/// # Errors
/// There is none; the error says what to install.
pub(crate) fn find() -> Result<PathBuf> {
    if let Some(path) = process::find_in_path(NAME) {
        return Ok(path);
    }
    match apt::access() {
        Apt::No => bail!(ADVICE),
        access => apt::install(access == Apt::Sudo, &[NAME]).context(ADVICE)?,
    }
    process::find_in_path(NAME).context(ADVICE)
}
