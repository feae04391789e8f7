//! The contents of messages.

use alloy_primitives::{Address, B256, Bytes, TxKind, U256, hex};

use super::transaction::{SubmitRetryable, Unsigned};

/// Kinds of transactions in a message of L2: its first byte.
pub(super) const UNSIGNED: u8 = 0;
pub(super) const CONTRACT: u8 = 1;
pub(super) const BATCH: u8 = 3;
pub(super) const SIGNED: u8 = 4;
pub(super) const HEARTBEAT: u8 = 6;
/// Since then a heartbeat is an error.
pub(super) const HEARTBEATS_END: u64 = 1_659_974_400;

/// `startBlock(uint256,uint64,uint64,uint64)`.
pub(super) const START_BLOCK: [u8; 4] = hex!("6bf6a42d");
/// `batchPostingReport(uint256,address,uint64,uint64,uint256)`.
pub(super) const REPORT: [u8; 4] = hex!("b6693771");
/// `batchPostingReportV2(uint256,address,uint64,uint64,uint64,uint64,uint256)`.
pub(super) const REPORT_V2: [u8; 4] = hex!("9998269e");

/// Call data.
pub(super) fn call(selector: [u8; 4], words: &[U256]) -> Bytes {
    let words = words.iter().flat_map(U256::to_be_bytes::<32>);
    selector.into_iter().chain(words).collect()
}

/// A signed transaction.
#[must_use]
pub fn signed(transaction: &[u8]) -> Bytes {
    [&[SIGNED], transaction].concat().into()
}

/// Several contents in one.
#[must_use]
pub fn batch(contents: &[Bytes]) -> Bytes {
    let sized = |content: &Bytes| [&(content.len() as u64).to_be_bytes()[..], content].concat();
    [BATCH].into_iter().chain(contents.iter().flat_map(sized)).collect()
}

/// Ether for an account.
#[must_use]
pub fn deposit(to: Address, value: U256) -> Bytes {
    [&to[..], &value.to_be_bytes::<32>()].concat().into()
}

/// A transaction of an account of the parent chain, with its nonce.
#[must_use]
pub fn unsigned(transaction: &Unsigned) -> Bytes {
    let Unsigned { nonce, fee_cap, gas, to, value, data, .. } = transaction;
    let words = [U256::from(*gas), *fee_cap, U256::from(*nonce), destination(*to), *value];
    tail(&[UNSIGNED], &words, data)
}

/// A retryable ticket.
#[must_use]
pub fn retryable(submit: &SubmitRetryable) -> Bytes {
    let words = [
        destination(submit.retry_to),
        submit.retry_value,
        submit.deposit,
        submit.max_submission_fee,
        word(submit.fee_refund),
        word(submit.beneficiary),
        U256::from(submit.gas),
        submit.fee_cap,
        U256::from(submit.data.len()),
    ];
    tail(&[], &words, &submit.data)
}

/// What posting a batch has cost.
#[must_use]
pub fn report(timestamp: u64, poster: Address, data: B256, batch: u64, base_fee: U256) -> Bytes {
    let [timestamp, batch] =
        [timestamp, batch].map(|number| U256::from(number).to_be_bytes::<32>());
    let extra_gas = 0_u64.to_be_bytes();
    let base_fee = base_fee.to_be_bytes::<32>();
    [&timestamp[..], &poster[..], &data[..], &batch, &base_fee, &extra_gas].concat().into()
}

fn tail(head: &[u8], words: &[U256], data: &[u8]) -> Bytes {
    let words: Vec<u8> = words.iter().flat_map(U256::to_be_bytes::<32>).collect();
    [head, &words, data].concat().into()
}

fn word(address: Address) -> U256 {
    address.into_word().into()
}

fn destination(to: TxKind) -> U256 {
    word(to.to().copied().unwrap_or_default())
}
