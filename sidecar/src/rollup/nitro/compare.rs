//! What the copies of a message prove of the node's block. Pure.

use alloy_primitives::{B256, U256};

use super::{
    BatchData, Below, Copy, Delayed, Facts, NitroBlock, Report, Transactions,
    copy::digest,
    transaction::{INTERNAL, RETRY},
};
use crate::{
    node::Transaction,
    rollup::{Batch, Difference},
};

/// `startBlock(uint256 l1BaseFee, uint64 l1BlockNumber, uint64 l2BlockNumber, uint64 timePassed)`.
const START_BLOCK: [u8; 4] = [0x6b, 0xf6, 0xa4, 0x2d];
/// `batchPostingReport(uint256,address,uint64,uint64,uint256)`, before ArbOS 50.
const REPORT: [u8; 4] = [0xb6, 0x69, 0x37, 0x71];
/// `batchPostingReportV2(uint256,address,uint64,uint64,uint64,uint64,uint256)`, since ArbOS 50.
const REPORT_V2: [u8; 4] = [0x99, 0x98, 0x26, 0x9e];
const ARBOS_WITH_REPORT_V2: u64 = 50;

/// Why a copy does not prove the inputs of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unequal {
    /// They differ.
    Differs(Difference),
    /// The block lacks transactions, as ArbOS may drop some: the hashes must be read again.
    Shortened,
}

impl From<Difference> for Unequal {
    fn from(difference: Difference) -> Self {
        Self::Differs(difference)
    }
}

/// The place of a block in the chain. Returns the index of the delayed message that it read, if it
/// read one.
pub(super) fn place(
    number: u64,
    block: &NitroBlock,
    below: &Below,
) -> Result<Option<u64>, Difference> {
    equal(block, "number", block.number, number)?;
    equal(block, "parent's number", block.number.checked_sub(1), Some(below.number))?;
    equal(block, "parent", block.parent_hash, below.hash)?;
    match block.delayed_messages_read.checked_sub(below.delayed_messages_read) {
        Some(0) => Ok(None),
        Some(1) => Ok(Some(below.delayed_messages_read)),
        _ => differ(
            block,
            format!("nonce: {} after {}", block.delayed_messages_read, below.delayed_messages_read),
        ),
    }
}

/// What the message and the parent give of the block. `delayed` is the message of the parent chain
/// that the block read, `hashes` what the message parses to, if it was read again.
pub(super) fn inputs(
    batch: &Batch<Facts, Copy>,
    block: &NitroBlock,
    below: &Below,
    delayed: Option<&Delayed>,
    hashes: Option<&[B256]>,
) -> Result<(), Unequal> {
    let copy = &batch.content;
    let header = &copy.header;
    equal(block, "nonce", block.delayed_messages_read, copy.delayed_messages_read)?;
    equal(block, "delayed", header.request_id.is_some(), delayed.is_some())?;
    if let Some(delayed) = delayed
        && let Some(problem) = delayed.contradicts(copy)
    {
        return Ok(differ(block, format!("{problem} is not that of the parent chain"))?);
    }
    equal(block, "miner", block.poster, header.poster)?;
    equal(block, "timestamp", block.timestamp, header.timestamp.max(below.timestamp))?;
    if block.l1_block_number < header.block_number.max(below.l1_block_number) {
        let number = block.l1_block_number;
        return Ok(differ(block, format!("L1 block number {number} is too low"))?);
    }
    let (internal, others): (Vec<&Transaction>, Vec<&Transaction>) =
        block.transactions.iter().partition(|transaction| transaction.is_type(INTERNAL));
    let first = block.transactions.first().filter(|transaction| transaction.is_type(INTERNAL));
    let start = start_block(copy, block, below);
    if first.is_none_or(|first| first.input != start) {
        return Ok(differ(block, "it does not begin as the message tells".into())?);
    }
    let transactions = match (delayed, copy.content) {
        // A V0 poster leaves out what the parent chain has.
        (Some(delayed), None) => delayed.transactions.unwrap_or(copy.transactions),
        _ => copy.transactions,
    };
    let report = match transactions {
        Transactions::Report(report) => Some(report),
        Transactions::Listed { .. } => None,
    };
    match (internal.get(1..).unwrap_or_default(), report) {
        ([], None) => {}
        ([reported], Some(report)) => {
            if !reports(&reported.input, &report, copy, below.arbos_version) {
                return Err(Difference::Transactions("another batch posting report".into()).into());
            }
        }
        (more, _) => {
            let count = more.len();
            let problem = format!("{count} internal transactions follow the first");
            return Err(Difference::Transactions(problem).into());
        }
    }
    let listed: Vec<B256> = others
        .iter()
        .filter(|transaction| !transaction.is_type(RETRY))
        .map(|transaction| transaction.hash)
        .collect();
    match (transactions, hashes) {
        (Transactions::Report(_), _) => subsequence(&listed, &[]),
        (Transactions::Listed { count, digest: all }, _)
            if count == listed.len() && all == digest(listed.iter()) =>
        {
            Ok(())
        }
        (Transactions::Listed { .. }, Some(hashes)) => subsequence(&listed, hashes),
        (Transactions::Listed { count, .. }, None) if listed.len() < count => {
            Err(Unequal::Shortened)
        }
        (Transactions::Listed { .. }, None) => {
            Err(Difference::Transactions("the block has others than the message".into()).into())
        }
    }
}

/// ArbOS drops what cannot be executed, and redeems retryables between the others.
fn subsequence(listed: &[B256], parsed: &[B256]) -> Result<(), Unequal> {
    let mut rest = parsed.iter();
    match listed.iter().find(|hash| !rest.any(|parsed| parsed == *hash)) {
        None => Ok(()),
        Some(hash) => {
            Err(Difference::Transactions(format!("the message has no {hash} there")).into())
        }
    }
}

/// The call data of a block's first transaction.
pub(super) fn start_block(copy: &Copy, block: &NitroBlock, below: &Below) -> Vec<u8> {
    let time_passed = block.timestamp.saturating_sub(below.timestamp);
    let numbers = [copy.header.block_number, block.number, time_passed].map(U256::from);
    let [l1_block_number, number, time_passed] = numbers;
    call(START_BLOCK, &[copy.header.l1_base_fee, l1_block_number, number, time_passed])
}

/// Whether call data reports a batch, as far as the message tells: the bytes of the batch stand
/// beside a message only if its poster had them.
fn reports(data: &[u8], report: &Report, copy: &Copy, arbos_version: u64) -> bool {
    let Report { timestamp, poster, batch, l1_base_fee, extra_gas, .. } = *report;
    let poster = U256::from_be_slice(poster.as_slice());
    let batch = U256::from(batch);
    let (selector, words) = if arbos_version < ARBOS_WITH_REPORT_V2 {
        let gas = copy.batch_gas.or_else(|| copy.batch_data.map(legacy_gas));
        let gas = gas.map(|gas| U256::from(gas.saturating_add(extra_gas)));
        (REPORT, vec![Some(timestamp), Some(poster), Some(batch), gas, Some(l1_base_fee)])
    } else {
        let data = copy.batch_data;
        let length = data.map(|data| U256::from(data.length));
        let nonzeros = data.map(|data| U256::from(data.nonzeros));
        let extra_gas = Some(U256::from(extra_gas));
        let words = vec![
            Some(timestamp),
            Some(poster),
            Some(batch),
            length,
            nonzeros,
            extra_gas,
            Some(l1_base_fee),
        ];
        (REPORT_V2, words)
    };
    let Some(arguments) = data.strip_prefix(&selector) else { return false };
    arguments.len() == words.len() * 32
        && arguments
            .chunks_exact(32)
            .zip(words)
            .all(|(argument, word)| word.is_none_or(|word| word.to_be_bytes::<32>() == *argument))
}

/// What the bytes of a batch cost before ArbOS 50: 4 gas a zero, 16 another byte, the hash, and two
/// slots of storage.
const fn legacy_gas(BatchData { length, nonzeros }: BatchData) -> u64 {
    let zeros = length.saturating_sub(nonzeros);
    let words = length.div_ceil(32);
    4_u64
        .saturating_mul(zeros)
        .saturating_add(16_u64.saturating_mul(nonzeros))
        .saturating_add(30)
        .saturating_add(6_u64.saturating_mul(words))
        .saturating_add(2 * 20_000)
}

fn call(selector: [u8; 4], arguments: &[U256]) -> Vec<u8> {
    let words = arguments.iter().flat_map(|word| word.to_be_bytes::<32>());
    selector.into_iter().chain(words).collect()
}

fn equal<T: PartialEq + std::fmt::Debug>(
    block: &NitroBlock,
    what: &str,
    node: T,
    message: T,
) -> Result<(), Difference> {
    if node == message {
        Ok(())
    } else {
        differ(block, format!("{what}: message {message:?}, node {node:?}"))
    }
}

fn differ<T>(block: &NitroBlock, problem: String) -> Result<T, Difference> {
    Err(Difference::Malformed { number: block.number, problem })
}
