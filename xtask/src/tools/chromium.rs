//! Chromium for the scenarios of the status page: named by a variable, found in `PATH`, or from
//! Debian's package.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use super::apt::{self, Apt};
use crate::process;

const VARIABLE: &str = "CHROMIUM";
/// Its names in distributions.
const NAMES: [&str; 3] = ["chromium", "google-chrome", "chrome"];
const PACKAGE: &str = "chromium";

/// The program, installed if necessary and permitted.
///
/// # Errors
/// There is none; the error says what to install.
pub(crate) fn find() -> Result<PathBuf> {
    if let Some(path) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        let path = std::path::absolute(&path)?;
        runs(&path).with_context(|| format!("{VARIABLE} is {}", path.display()))?;
        return Ok(path);
    }
    if let Some(path) = in_path() {
        return Ok(path);
    }
    let advice = || {
        format!(
            "no Chromium: install it, on Debian by `apt-get install {PACKAGE}`, or set {VARIABLE} to it"
        )
    };
    match apt::access() {
        Apt::No => bail!(advice()),
        access => apt::install(access == Apt::Sudo, &[PACKAGE]).with_context(advice)?,
    }
    in_path().with_context(advice)
}

/// Some systems have a script of that name that only explains how to install it.
fn in_path() -> Option<PathBuf> {
    NAMES.iter().filter_map(|name| process::find_in_path(name)).find(|path| runs(path).is_ok())
}

fn runs(path: &PathBuf) -> Result<String> {
    process::output(Command::new(path).arg("--version"))
}
