//! Exit codes, and the messages before them.

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
    sync::mpsc,
    time::Duration,
};

use crate::{config::Problems, head::Reset};

/// A failure that a retry may fix.
pub const FAILED: u8 = 1;
/// `decode`: a check rejects the payload.
pub const PAYLOAD_REFUSED: u8 = 2;
/// `prove`: a step failed.
pub const NOT_PROVEN: u8 = 2;
/// `rewrite`: the request would be refused.
pub const REQUEST_REFUSED: u8 = 3;
/// `check`: something is wrong.
pub const CHECK_FAILED: u8 = 4;
/// `run`: the published head was lowered on purpose; the next start takes it over.
pub const LOWERED: u8 = 5;
/// Invalid usage or configuration, as in `sysexits.h`: a restart does not help.
pub const USAGE: u8 = 64;

/// Why a command fails: the lines for standard error, and the exit code.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    pub fn failed(error: impl Display) -> Self {
        Self { code: FAILED, text: error.to_string() }
    }

    pub fn usage(error: impl Display) -> Self {
        Self { code: USAGE, text: error.to_string() }
    }

    pub fn lowered(reset: Reset) -> Self {
        Self { code: LOWERED, text: reset.to_string() }
    }

    /// Prints the text, for a second at most if nothing reads it.
    pub fn report(self) -> ExitCode {
        let (done, written) = mpsc::channel::<()>();
        std::thread::spawn(move || {
            for line in self.text.lines() {
                // There is nowhere else to report a failure of standard error.
                drop(writeln!(io::stderr(), "finality-sidecar: {line}"));
            }
            drop(done);
        });
        _ = written.recv_timeout(Duration::from_secs(1));
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
    fn from(error: io::Error) -> Self {
        Self::failed(format_args!("cannot read standard input or write standard output: {error}"))
    }
}
