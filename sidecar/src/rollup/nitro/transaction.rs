//! Transactions that only Arbitrum has: they bear no signature, and ArbOS makes them from messages.
//! The hash of each is keccak256 of its type and the RLP of its fields.

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_rlp::{EMPTY_STRING_CODE, Encodable, Header};

const DEPOSIT: u8 = 0x64;
const UNSIGNED: u8 = 0x65;
const CONTRACT: u8 = 0x66;
/// A redeem of a retryable ticket, which no message has.
pub(super) const RETRY: u8 = 0x68;
const SUBMIT_RETRYABLE: u8 = 0x69;
/// What ArbOS does itself.
pub(super) const INTERNAL: u8 = 0x6a;

/// Ether that arrives from the parent chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deposit {
    pub(super) chain_id: u64,
    pub(super) request_id: B256,
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) value: U256,
}

impl Deposit {
    pub(super) fn hash(&self) -> B256 {
        let Self { chain_id, request_id, from, to, value } = self;
        hash(DEPOSIT, &[chain_id, request_id, from, to, value])
    }
}

/// A transaction of an account (with a nonce) or of a contract (with a request id) on the parent
/// chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Funded<'a> {
    pub(super) chain_id: u64,
    pub(super) request_id: Option<B256>,
    pub(super) from: Address,
    pub(super) nonce: Option<u64>,
    pub(super) gas_fee_cap: U256,
    pub(super) gas: u64,
    pub(super) to: Option<Address>,
    pub(super) value: U256,
    pub(super) data: &'a [u8],
}

impl Funded<'_> {
    pub(super) fn hash(&self) -> B256 {
        let Self { chain_id, request_id, from, nonce, gas_fee_cap, gas, to, value, data } = self;
        let to = Destination(*to);
        match (request_id, nonce) {
            (Some(id), _) => {
                hash(CONTRACT, &[chain_id, id, from, gas_fee_cap, gas, &to, value, data])
            }
            (None, nonce) => hash(
                UNSIGNED,
                &[chain_id, from, &nonce.unwrap_or(0), gas_fee_cap, gas, &to, value, data],
            ),
        }
    }
}

/// A retryable ticket.
#[derive(Debug, Clone, Copy)]
pub(super) struct SubmitRetryable<'a> {
    pub(super) chain_id: u64,
    pub(super) request_id: B256,
    pub(super) from: Address,
    pub(super) l1_base_fee: U256,
    pub(super) deposit: U256,
    pub(super) gas_fee_cap: U256,
    pub(super) gas: u64,
    pub(super) retry_to: Option<Address>,
    pub(super) retry_value: U256,
    pub(super) beneficiary: Address,
    pub(super) max_submission_fee: U256,
    pub(super) fee_refund: Address,
    pub(super) data: &'a [u8],
}

impl SubmitRetryable<'_> {
    pub(super) fn hash(&self) -> B256 {
        hash(
            SUBMIT_RETRYABLE,
            &[
                &self.chain_id,
                &self.request_id,
                &self.from,
                &self.l1_base_fee,
                &self.deposit,
                &self.gas_fee_cap,
                &self.gas,
                &Destination(self.retry_to),
                &self.retry_value,
                &self.beneficiary,
                &self.max_submission_fee,
                &self.fee_refund,
                &self.data,
            ],
        )
    }
}

/// Where a transaction goes: nothing if it creates a contract.
struct Destination(Option<Address>);

impl Encodable for Destination {
    fn encode(&self, out: &mut dyn alloy_rlp::BufMut) {
        match self.0 {
            Some(address) => address.encode(out),
            None => out.put_u8(EMPTY_STRING_CODE),
        }
    }

    fn length(&self) -> usize {
        self.0.map_or(1, |address| address.length())
    }
}

fn hash(kind: u8, fields: &[&dyn Encodable]) -> B256 {
    let payload_length = fields.iter().map(|field| field.length()).sum();
    let mut bytes = vec![kind];
    Header { list: true, payload_length }.encode(&mut bytes);
    fields.iter().for_each(|field| field.encode(&mut bytes));
    keccak256(bytes)
}
