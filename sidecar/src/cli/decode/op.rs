//! A payload of Espresso's OP-stack batcher.

use alloy_primitives::{Address, B256, Bytes};
use clap::Args;
use serde::Serialize;

use super::{address, line};
use crate::{
    eth::BlockId,
    rollup::{
        Rejected,
        op::{Op, OpBatch},
    },
};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Address authorized to sign batches; may be repeated
    #[arg(long = "batcher", value_name = "ADDRESS", required = true, value_parser = address)]
    batchers: Vec<Address>,
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

/// One line for the batch, or the check that rejects it.
pub(super) fn decode(arguments: &Arguments, payload: &[u8]) -> Result<Vec<String>, String> {
    let refused = |rejected: Rejected| rejected.to_string();
    let op = Op::new(arguments.batchers.iter().copied());
    let signed = op.authenticate(payload).map_err(refused)?;
    let batch = OpBatch::decode(signed.body).map_err(refused)?;
    let decoded = Decoded {
        number: batch.number,
        hash: batch.hash,
        parent_hash: batch.parent_hash,
        l1_origin: batch.l1_origin,
        timestamp: batch.timestamp,
        signer: signed.signer,
        transactions: batch.transactions.iter().map(Bytes::copy_from_slice).collect(),
        info_deposit: Bytes::copy_from_slice(batch.info_deposit),
    };
    Ok(vec![line(&decoded)?])
}
