//! The accounts of a Nitro chain, as far as a devnet needs them: nonces and ether.

use std::collections::{BTreeMap, HashSet};

use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, B256, Bloom, TxKind, U256, keccak256};
use alloy_rlp::{Encodable, RlpEncodable};

use super::{
    message::Message,
    transaction::{Contract, Deposit, Retry, SubmitRetryable, Transaction, Unsigned},
};

/// What every transaction costs.
const GAS: u64 = 21_000;

/// An account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, RlpEncodable)]
pub struct Account {
    /// How many transactions it has sent.
    pub nonce: u64,
    /// Wei.
    pub balance: U256,
}

/// What executing a block gives.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// What was executed, after the first transaction and with redeems.
    pub transactions: Vec<Transaction>,
    /// The root of the state.
    pub state_root: B256,
    /// The root of the receipts.
    pub receipts_root: B256,
    /// The bloom of the logs.
    pub logs_bloom: Bloom,
    /// The gas.
    pub gas_used: u64,
    /// The root of what was sent to the parent chain, and how much that is.
    pub sends: (B256, u64),
}

/// The accounts after a block.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    accounts: BTreeMap<Address, Account>,
}

impl Ledger {
    /// Accounts with that much ether each.
    #[must_use]
    pub fn with(accounts: &[Address], balance: U256) -> Self {
        let account = Account { nonce: 0, balance };
        Self { accounts: accounts.iter().map(|address| (*address, account)).collect() }
    }

    /// An account.
    #[must_use]
    pub fn account(&self, address: Address) -> Account {
        self.accounts.get(&address).copied().unwrap_or_default()
    }

    /// A hash of all accounts.
    #[must_use]
    pub fn root(&self) -> B256 {
        let mut bytes = Vec::new();
        for (address, account) in &self.accounts {
            address.encode(&mut bytes);
            account.encode(&mut bytes);
        }
        keccak256(bytes)
    }

    /// Executes what a message parses to. What cannot be executed is left out; a retryable ticket
    /// is redeemed at once. `sends` is how much was sent to the parent chain before. Of what is
    /// `filtered`, by hashes, a ticket is not redeemed, and anything else is left out.
    pub(super) fn execute(
        &mut self,
        inputs: Vec<Transaction>,
        sends: u64,
        message: &Message,
        filtered: &HashSet<B256>,
    ) -> Outcome {
        let mut done = Vec::new();
        for transaction in inputs {
            let hash = transaction.hash();
            let redeem = match &transaction {
                Transaction::SubmitRetryable(_) if filtered.contains(&hash) => None,
                Transaction::SubmitRetryable(submit) => redeem(submit, hash),
                _ if filtered.contains(&hash) => continue,
                _ => None,
            };
            if self.apply(&transaction).is_none() {
                continue;
            }
            done.push(transaction);
            if let Some(redeem) = redeem.map(Transaction::Retry)
                && self.apply(&redeem).is_some()
            {
                done.push(redeem);
            }
        }
        let gas_used = GAS * done.len() as u64;
        let receipts: Vec<u8> = done.iter().flat_map(|transaction| transaction.hash().0).collect();
        // Nothing is sent to the parent chain but a message now and then.
        let count = sends + u64::from(message.position.is_multiple_of(7));
        Outcome {
            state_root: self.root(),
            receipts_root: keccak256(receipts),
            logs_bloom: Bloom::ZERO,
            gas_used,
            sends: (keccak256(count.to_be_bytes()), count),
            transactions: done,
        }
    }

    fn apply(&mut self, transaction: &Transaction) -> Option<()> {
        let from = transaction.from();
        match transaction {
            Transaction::Signed(signed) => {
                self.send_next(from, signed.nonce(), signed.kind(), signed.value())
            }
            Transaction::Unsigned(Unsigned { nonce, to, value, .. }) => {
                self.send_next(from, *nonce, *to, *value)
            }
            Transaction::Contract(Contract { to, value, .. }) => self.send(from, *to, *value),
            Transaction::Deposit(Deposit { to, value, .. }) => {
                self.entry(*to).balance += *value;
                Some(())
            }
            // The ether of a ticket waits in the account of its sender here.
            Transaction::SubmitRetryable(SubmitRetryable { deposit, .. }) => {
                self.entry(from).balance += *deposit;
                Some(())
            }
            Transaction::Retry(Retry { to, value, .. }) => self.send(from, *to, *value),
            Transaction::Internal(_) => Some(()),
        }
    }

    fn send_next(&mut self, from: Address, nonce: u64, to: TxKind, value: U256) -> Option<()> {
        if self.account(from).nonce != nonce {
            return None;
        }
        self.send(from, to, value)?;
        self.entry(from).nonce += 1;
        Some(())
    }

    fn send(&mut self, from: Address, to: TxKind, value: U256) -> Option<()> {
        let sender = self.entry(from);
        sender.balance = sender.balance.checked_sub(value)?;
        self.entry(to.to().copied().unwrap_or_default()).balance += value;
        Some(())
    }

    fn entry(&mut self, address: Address) -> &mut Account {
        self.accounts.entry(address).or_default()
    }
}

/// The redeem that follows a ticket with gas.
fn redeem(submit: &SubmitRetryable, ticket: B256) -> Option<Retry> {
    (submit.gas >= GAS).then(|| Retry {
        chain_id: submit.chain_id,
        nonce: 0,
        from: submit.from,
        fee_cap: submit.fee_cap,
        gas: submit.gas,
        to: submit.retry_to,
        value: submit.retry_value,
        data: submit.data.clone(),
        ticket,
        refund_to: submit.fee_refund,
        max_refund: submit.deposit,
        submission_fee_refund: submit.max_submission_fee,
    })
}
