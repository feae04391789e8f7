//! Transactions of Nitro: the signed ones of Ethereum, and those that ArbOS makes.

use alloy_consensus::{
    SignableTransaction, Transaction as _, TxEnvelope, Typed2718, transaction::RlpEcdsaEncodableTx,
};
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, address, keccak256};
use alloy_rlp::{Encodable, RlpEncodable};
use serde_json::{Value, json};

use crate::{client::hex, signer::recover};

/// Where ArbOS' internal transactions come from and go to.
const ARBOS: Address = address!("00000000000000000000000000000000000a4b05");
/// The precompile of retryable tickets.
const RETRYABLES: Address = address!("000000000000000000000000000000000000006e");

/// Ether that arrives.
#[derive(Debug, Clone, PartialEq, Eq, RlpEncodable)]
pub struct Deposit {
    pub(super) chain_id: u64,
    pub(super) request_id: B256,
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) value: U256,
}

/// A transaction of an account of the parent chain.
#[derive(Debug, Clone, PartialEq, Eq, RlpEncodable)]
pub struct Unsigned {
    pub(super) chain_id: u64,
    pub(super) from: Address,
    pub(super) nonce: u64,
    pub(super) fee_cap: U256,
    pub(super) gas: u64,
    pub(super) to: TxKind,
    pub(super) value: U256,
    pub(super) data: Bytes,
}

/// A transaction of a contract of the parent chain.
#[derive(Debug, Clone, PartialEq, Eq, RlpEncodable)]
pub struct Contract {
    pub(super) chain_id: u64,
    pub(super) request_id: B256,
    pub(super) from: Address,
    pub(super) fee_cap: U256,
    pub(super) gas: u64,
    pub(super) to: TxKind,
    pub(super) value: U256,
    pub(super) data: Bytes,
}

/// A retryable ticket is redeemed.
#[derive(Debug, Clone, PartialEq, Eq, RlpEncodable)]
pub struct Retry {
    pub(super) chain_id: u64,
    pub(super) nonce: u64,
    pub(super) from: Address,
    pub(super) fee_cap: U256,
    pub(super) gas: u64,
    pub(super) to: TxKind,
    pub(super) value: U256,
    pub(super) data: Bytes,
    pub(super) ticket: B256,
    pub(super) refund_to: Address,
    pub(super) max_refund: U256,
    pub(super) submission_fee_refund: U256,
}

/// A retryable ticket is made.
#[derive(Debug, Clone, PartialEq, Eq, RlpEncodable)]
pub struct SubmitRetryable {
    pub(super) chain_id: u64,
    pub(super) request_id: B256,
    pub(super) from: Address,
    pub(super) l1_base_fee: U256,
    pub(super) deposit: U256,
    pub(super) fee_cap: U256,
    pub(super) gas: u64,
    pub(super) retry_to: TxKind,
    pub(super) retry_value: U256,
    pub(super) beneficiary: Address,
    pub(super) max_submission_fee: U256,
    pub(super) fee_refund: Address,
    pub(super) data: Bytes,
}

/// ArbOS tells itself something.
#[derive(Debug, Clone, PartialEq, Eq, RlpEncodable)]
pub struct Internal {
    pub(super) chain_id: u64,
    pub(super) data: Bytes,
}

impl Internal {
    /// What it calls.
    #[must_use]
    pub fn selector(&self) -> [u8; 4] {
        *self.data.first_chunk().unwrap()
    }
}

/// A transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transaction {
    /// One of Ethereum.
    Signed(Box<TxEnvelope>),
    /// Type 0x64.
    Deposit(Deposit),
    /// Type 0x65.
    Unsigned(Unsigned),
    /// Type 0x66.
    Contract(Contract),
    /// Type 0x68.
    Retry(Retry),
    /// Type 0x69.
    SubmitRetryable(SubmitRetryable),
    /// Type 0x6a.
    Internal(Internal),
}

impl Transaction {
    /// A transaction of Ethereum from its network form.
    #[must_use]
    pub fn signed(mut bytes: &[u8]) -> Option<Self> {
        let envelope = TxEnvelope::decode_2718(&mut bytes).ok()?;
        (bytes.is_empty() && !matches!(envelope, TxEnvelope::Eip4844(_)))
            .then(|| Self::Signed(Box::new(envelope)))
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            Self::Signed(envelope) => envelope.ty(),
            Self::Deposit(_) => 0x64,
            Self::Unsigned(_) => 0x65,
            Self::Contract(_) => 0x66,
            Self::Retry(_) => 0x68,
            Self::SubmitRetryable(_) => 0x69,
            Self::Internal(_) => 0x6a,
        }
    }

    /// Its network form.
    #[must_use]
    pub fn network_form(&self) -> Bytes {
        let mut bytes = Vec::new();
        let fields: &dyn Encodable = match self {
            Self::Signed(envelope) => return envelope.encoded_2718().into(),
            Self::Deposit(fields) => fields,
            Self::Unsigned(fields) => fields,
            Self::Contract(fields) => fields,
            Self::Retry(fields) => fields,
            Self::SubmitRetryable(fields) => fields,
            Self::Internal(fields) => fields,
        };
        bytes.push(self.kind());
        fields.encode(&mut bytes);
        bytes.into()
    }

    /// Its hash.
    #[must_use]
    pub fn hash(&self) -> B256 {
        keccak256(self.network_form())
    }

    /// Who sends it.
    #[must_use]
    pub fn from(&self) -> Address {
        match self {
            Self::Signed(envelope) => sender(envelope),
            Self::Deposit(Deposit { from, .. })
            | Self::Unsigned(Unsigned { from, .. })
            | Self::Contract(Contract { from, .. })
            | Self::Retry(Retry { from, .. })
            | Self::SubmitRetryable(SubmitRetryable { from, .. }) => *from,
            Self::Internal(_) => ARBOS,
        }
    }

    /// As a node's RPC shows it, without its place.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut json = self.own_json();
        json["hash"] = json!(self.hash());
        json["type"] = json!(hex(self.kind().into()));
        json["from"] = json!(self.from());
        json["chainId"].is_null().then(|| json["chainId"] = Value::Null);
        if self.kind() >= 0x64 {
            for (name, value) in [("v", "0x0"), ("r", "0x0"), ("s", "0x0"), ("gasPrice", "0x0")] {
                json[name] = json!(value);
            }
        }
        json
    }

    fn own_json(&self) -> Value {
        match self {
            Self::Signed(envelope) => {
                let mut json = serde_json::to_value(envelope).unwrap();
                json["gasPrice"] = json!(hex(envelope.max_fee_per_gas().try_into().unwrap()));
                json
            }
            Self::Deposit(Deposit { chain_id, request_id, to, value, .. }) => json!({
                "chainId": hex(*chain_id), "requestId": request_id, "to": to, "value": value,
                "input": "0x", "nonce": "0x0", "gas": "0x0",
            }),
            Self::Unsigned(Unsigned { chain_id, nonce, fee_cap, gas, to, value, data, .. }) => {
                json!({
                    "chainId": hex(*chain_id), "nonce": hex(*nonce), "maxFeePerGas": fee_cap,
                    "gas": hex(*gas), "to": to.to(), "value": value, "input": data,
                })
            }
            Self::Contract(Contract {
                chain_id,
                request_id,
                fee_cap,
                gas,
                to,
                value,
                data,
                ..
            }) => json!({
                "chainId": hex(*chain_id), "requestId": request_id, "nonce": "0x0",
                "maxFeePerGas": fee_cap, "gas": hex(*gas), "to": to.to(), "value": value,
                "input": data,
            }),
            Self::Retry(retry) => json!({
                "chainId": hex(retry.chain_id), "nonce": hex(retry.nonce),
                "maxFeePerGas": retry.fee_cap, "gas": hex(retry.gas), "to": retry.to.to(),
                "value": retry.value, "input": retry.data, "ticketId": retry.ticket,
                "refundTo": retry.refund_to, "maxRefund": retry.max_refund,
                "submissionFeeRefund": retry.submission_fee_refund,
            }),
            Self::SubmitRetryable(submit) => json!({
                "chainId": hex(submit.chain_id), "requestId": submit.request_id, "nonce": "0x0",
                "l1BaseFee": submit.l1_base_fee, "depositValue": submit.deposit,
                "maxFeePerGas": submit.fee_cap, "gas": hex(submit.gas), "to": RETRYABLES,
                "retryTo": submit.retry_to.to(), "retryValue": submit.retry_value,
                "beneficiary": submit.beneficiary, "maxSubmissionFee": submit.max_submission_fee,
                "refundTo": submit.fee_refund, "retryData": submit.data, "value": "0x0",
                "input": "0x",
            }),
            Self::Internal(Internal { chain_id, data }) => json!({
                "chainId": hex(*chain_id), "nonce": "0x0", "gas": "0x0", "to": ARBOS,
                "value": "0x0", "input": data,
            }),
        }
    }
}

fn sender(envelope: &TxEnvelope) -> Address {
    fn of<T: SignableTransaction<alloy_primitives::Signature> + RlpEcdsaEncodableTx>(
        signed: &alloy_consensus::Signed<T>,
    ) -> Address {
        recover(signed.signature(), signed.signature_hash())
    }
    match envelope {
        TxEnvelope::Legacy(signed) => of(signed),
        TxEnvelope::Eip2930(signed) => of(signed),
        TxEnvelope::Eip1559(signed) => of(signed),
        TxEnvelope::Eip7702(signed) => of(signed),
        TxEnvelope::Eip4844(_) => unreachable!("no message has such a transaction"),
    }
}
