//! `decode`: what a namespace payload contains, or which check rejects it.

use std::{
    io::{Read, Write},
    process::ExitCode,
};

use alloy_primitives::{Address, B256, Bytes, hex};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::exit::{Failure, PAYLOAD_REFUSED};
use crate::{
    eth::BlockId,
    rollup::{
        Rejected,
        op::{Op, OpBatch},
    },
};

/// The rollup kinds whose payloads can be decoded.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Decode a payload of Espresso's OP-stack batcher, hex-encoded
    Op(OpArguments),
}

#[derive(Debug, Args)]
pub struct OpArguments {
    /// Address authorized to sign batches; may be repeated
    #[arg(long = "batcher", value_name = "ADDRESS", required = true, value_parser = address)]
    batchers: Vec<Address>,
}

fn address(text: &str) -> Result<Address, String> {
    text.parse().map_err(|_| "not an address (0x and 40 hexadecimal digits)".into())
}

/// The output for a batch.
#[derive(Serialize)]
struct Decoded {
    number: u64,
    hash: B256,
    parent_hash: B256,
    l1_origin: BlockId,
    timestamp: u64,
    signer: Address,
    transactions: Vec<Bytes>,
    info_deposit: Bytes,
}

/// Runs the command: prints one JSON object and exits with 0, or names the check that rejects the
/// payload and exits with 2.
pub fn run(
    command: &Command,
    mut input: impl Read,
    output: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let Command::Op(arguments) = command;
    let mut text = Vec::new();
    input.read_to_end(&mut text)?;
    match decode_op(&arguments.batchers, &text) {
        Ok(batch) => {
            serde_json::to_writer(&mut *output, &batch).map_err(Failure::failed)?;
            writeln!(output)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(refusal) => {
            writeln!(output, "{refusal}")?;
            Ok(PAYLOAD_REFUSED.into())
        }
    }
}

fn decode_op(batchers: &[Address], text: &[u8]) -> Result<Decoded, String> {
    let digits = text.trim_ascii();
    let digits = digits.strip_prefix(b"0x").unwrap_or(digits);
    let payload = hex::decode(digits).map_err(|error| format!("hex: {error}"))?;
    let refused = |rejected: Rejected| rejected.to_string();
    let signed = Op::new(batchers.iter().copied()).authenticate(&payload).map_err(refused)?;
    let batch = OpBatch::decode(signed.body).map_err(refused)?;
    Ok(Decoded {
        number: batch.number,
        hash: batch.hash,
        parent_hash: batch.parent_hash,
        l1_origin: batch.l1_origin,
        timestamp: batch.timestamp,
        signer: signed.signer,
        transactions: batch.transactions.iter().map(Bytes::copy_from_slice).collect(),
        info_deposit: Bytes::copy_from_slice(batch.info_deposit),
    })
}
