//! How a command ends.

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use crate::config::Problems;

/// Something failed that may work another time.
pub const FAILED: u8 = 1;
/// `decode`: a check refused the payload.
pub const PAYLOAD_REFUSED: u8 = 2;
/// `rewrite`: the request would be refused.
pub const REQUEST_REFUSED: u8 = 3;
/// Bad configuration or usage, as in `sysexits.h`: starting again does not help.
pub const USAGE: u8 = 64;

/// The end of a command that did not succeed: what is printed on standard error, line by line, and
/// the exit code.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    /// Something failed that may work another time.
    pub fn failed(error: impl Display) -> Self {
        Self { code: FAILED, text: error.to_string() }
    }

    /// Bad usage.
    pub fn usage(error: impl Display) -> Self {
        Self { code: USAGE, text: error.to_string() }
    }

    /// Prints the text and gives the exit code.
    pub fn report(&self) -> ExitCode {
        for line in self.text.lines() {
            // There is nowhere else to complain to.
            drop(writeln!(io::stderr(), "finality-sidecar: {line}"));
        }
        self.code.into()
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::usage(problems)
    }
}

impl From<crate::store::StoreError> for Failure {
    fn from(error: crate::store::StoreError) -> Self {
        Self::failed(error)
    }
}

impl From<io::Error> for Failure {
    /// Reading standard input or writing standard output failed.
    fn from(error: io::Error) -> Self {
        Self::failed(format_args!("standard input or output: {error}"))
    }
}
