//! A payload of a Nitro chain: one line for each message.

use alloy_primitives::{Address, B256, U256};
use clap::Args;
use serde::Serialize;

use super::{address, line};
use crate::rollup::nitro::{Nitro, Origin, Parsed, Posted, Refused, Report, Scheme, Signed, parse};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Chain id, which is the namespace, too
    #[arg(long)]
    chain_id: u64,
    /// Address of the batch poster or of the sequencer's key; may be repeated
    #[arg(long = "batcher", value_name = "ADDRESS", required = true, value_parser = address)]
    batchers: Vec<Address>,
}

/// The output for a message.
#[derive(Serialize)]
struct Decoded {
    position: u64,
    kind: u8,
    origin: &'static str,
    poster: Address,
    delayed_messages_read: u64,
    l1_block_number: u64,
    timestamp: u64,
    request_id: Option<B256>,
    l1_base_fee: String,
    /// Hashes of the transactions; none if ArbOS takes none of them.
    transactions: Vec<B256>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_posting_report: Option<DecodedReport>,
    /// Why ArbOS takes no transaction from the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    unparsable: Option<String>,
    block_hash: Option<B256>,
    signatures: Vec<DecodedSignature>,
}

#[derive(Serialize)]
struct DecodedReport {
    batch: u64,
    poster: Address,
    data_hash: B256,
}

#[derive(Serialize)]
struct DecodedSignature {
    scheme: &'static str,
    signer: Address,
    digest: B256,
}

/// The output for a message that is refused.
#[derive(Serialize)]
struct DecodedRefusal {
    position: Option<u64>,
    refused: String,
}

/// One line for each message, or the check that rejects all of them.
pub(super) fn decode(arguments: &Arguments, payload: &[u8]) -> Result<Vec<String>, String> {
    let nitro = Nitro::new(arguments.chain_id, arguments.batchers.iter().copied());
    let posted = nitro.admit(payload).map_err(|rejected| rejected.to_string())?;
    let describe = |message: Result<Posted<'_>, Refused>| match message {
        Ok(posted) => line(&Decoded::new(&posted, arguments.chain_id)),
        Err(Refused { position, rejected }) => {
            line(&DecodedRefusal { position, refused: rejected.to_string() })
        }
    };
    posted.into_iter().map(describe).collect()
}

impl Decoded {
    fn new(posted: &Posted<'_>, chain_id: u64) -> Self {
        let Posted { message, origin, block_hash, signatures, .. } = posted;
        let (mut transactions, mut report, mut unparsable) = (Vec::new(), None, None);
        match parse(message, chain_id) {
            Ok(Parsed::Transactions(hashes)) => transactions = hashes,
            Ok(Parsed::Report(read)) => report = Some(DecodedReport::new(&read)),
            Err(error) => unparsable = Some(error.to_string()),
        }
        let header = message.header;
        Self {
            position: message.position,
            kind: header.kind.0,
            origin: match origin {
                Origin::Sequencer => "sequencer",
                Origin::DelayedInbox => "delayed_inbox",
            },
            poster: header.poster,
            delayed_messages_read: message.delayed_messages_read,
            l1_block_number: header.block_number,
            timestamp: header.timestamp,
            request_id: header.request_id,
            l1_base_fee: U256::to_string(&header.l1_base_fee),
            transactions,
            batch_posting_report: report,
            unparsable,
            block_hash: *block_hash,
            signatures: signatures.iter().map(DecodedSignature::new).collect(),
        }
    }
}

impl DecodedReport {
    fn new(report: &Report) -> Self {
        let Report { batch, poster, data_hash, .. } = *report;
        Self { batch, poster, data_hash }
    }
}

impl DecodedSignature {
    fn new(signed: &Signed) -> Self {
        let Signed { scheme, signer, digest } = *signed;
        let scheme = match scheme {
            Scheme::V0 => "v0",
            Scheme::Signature => "signature",
            Scheme::SignatureV2 => "signatureV2",
        };
        Self { scheme, signer, digest }
    }
}
