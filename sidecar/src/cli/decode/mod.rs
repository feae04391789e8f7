//! `decode`: what a namespace payload contains, or which check rejects it.

mod nitro;
mod op;

use std::{
    io::{Read, Write},
    process::ExitCode,
};

use alloy_primitives::{Address, hex};
use clap::Subcommand;

use super::exit::{Failure, PAYLOAD_REFUSED};

/// The rollup kinds whose payloads can be decoded.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Decode a payload of Espresso's OP-stack batcher, hex-encoded
    Op(op::Arguments),
    /// Decode a payload of a Nitro chain's batch poster or posting service, hex-encoded
    Nitro(nitro::Arguments),
}

fn address(text: &str) -> Result<Address, String> {
    text.parse().map_err(|_| "not an address (0x and 40 hexadecimal digits)".into())
}

/// Runs the command: prints JSON objects, one a line, and exits with 0, or names the check that
/// rejects the payload and exits with 2.
pub fn run(
    command: &Command,
    mut input: impl Read,
    output: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let mut text = Vec::new();
    input.read_to_end(&mut text)?;
    let lines = payload(&text).and_then(|payload| match command {
        Command::Op(arguments) => op::decode(arguments, &payload),
        Command::Nitro(arguments) => nitro::decode(arguments, &payload),
    });
    match lines {
        Ok(lines) => {
            for line in lines {
                writeln!(output, "{line}")?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(refusal) => {
            writeln!(output, "{refusal}")?;
            Ok(PAYLOAD_REFUSED.into())
        }
    }
}

fn payload(text: &[u8]) -> Result<Vec<u8>, String> {
    let digits = text.trim_ascii();
    let digits = digits.strip_prefix(b"0x").unwrap_or(digits);
    hex::decode(digits).map_err(|error| format!("hex: {error}"))
}

/// One line of output.
fn line(decoded: &impl serde::Serialize) -> Result<String, String> {
    serde_json::to_string(decoded).map_err(|error| error.to_string())
}
