//! Those who send transactions: every kind of transaction on L2, and deposits on L1.

use std::sync::Arc;

use alloy_consensus::{
    SignableTransaction, TxEip1559, TxEip2930, TxEip7702, TxEnvelope, TxLegacy,
    transaction::RlpEcdsaEncodableTx,
};
use alloy_eips::{
    eip2718::Encodable2718,
    eip2930::{AccessList, AccessListItem},
    eip7702::Authorization,
};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, address};
use serde_json::{Value, json};

use crate::{
    accounts::{RECEIVER, SENDER, counter, counter_deployment},
    block::CHAIN_ID,
    client::{Client, quantity},
    l1::{DEPOSIT_CONTRACT, L1},
    signer::Signer,
};

const MAX_FEE: u128 = 100_000_000_000;
const TIP: u128 = 1_000_000;
/// A development account that sends nothing else: deposits raise its nonce on L2.
const DEPOSITOR: Address = address!("15d34aaf54267db7d7c367839aaf71a00a2c6a65");
/// A contract that reverts when called like this.
const BRIDGE: Address = address!("4200000000000000000000000000000000000010");
/// A contract to delegate to.
const DELEGATE: Address = address!("4200000000000000000000000000000000000006");
/// Creates a contract with the code `600160005260016001f3`-like: it returns one.
const CREATION: &str = "600a80600a6000396000f360016000526001601ff3";
/// The bytes of a transaction with a lot of calldata.
const MUCH: usize = 20_000;

/// The users.
#[derive(Debug)]
pub struct Users {
    l2: Client,
    l1: Arc<L1>,
}

/// A transaction that is not signed yet.
#[derive(Debug)]
struct Wanted {
    to: TxKind,
    value: u64,
    gas: u64,
    input: Bytes,
}

impl Wanted {
    fn call(to: Address, value: u64, gas: u64, input: Bytes) -> Self {
        Self { to: TxKind::Call(to), value, gas, input }
    }

    fn long() -> Self {
        let input: Vec<u8> = (0..MUCH).map(|at| (at * 31 % 251) as u8 + 1).collect();
        Self::call(RECEIVER, 0, 2_000_000, input.into())
    }

    fn eip1559(self, nonce: u64) -> TxEip1559 {
        TxEip1559 {
            chain_id: CHAIN_ID,
            nonce,
            gas_limit: self.gas,
            max_fee_per_gas: MAX_FEE,
            max_priority_fee_per_gas: TIP,
            to: self.to,
            value: U256::from(self.value),
            access_list: AccessList::default(),
            input: self.input,
        }
    }
}

impl Users {
    pub(super) fn new(l2: Client, l1: Arc<L1>) -> Self {
        Self { l2, l1 }
    }

    async fn nonce(&self, account: Address) -> u64 {
        let params = json!([account, "pending"]);
        quantity(&self.l2.call("eth_getTransactionCount", params).await)
    }

    /// Sends a signed transaction; answers its hash.
    async fn send<T>(&self, signer: Signer, transaction: T) -> B256
    where
        T: SignableTransaction<Signature> + RlpEcdsaEncodableTx,
        TxEnvelope: From<alloy_consensus::Signed<T>>,
    {
        let signature = signer.sign_hash(transaction.signature_hash());
        let envelope = TxEnvelope::from(transaction.into_signed(signature));
        let raw: Bytes = envelope.encoded_2718().into();
        let answer = self.l2.call("eth_sendRawTransaction", json!([raw])).await;
        crate::client::hash(&answer)
    }

    async fn send_1559(&self, signer: Signer, wanted: Wanted) -> B256 {
        let nonce = self.nonce(signer.address()).await;
        self.send(signer, wanted.eip1559(nonce)).await
    }

    /// The caller's first transaction.
    pub(super) async fn deploy_counter(&self) {
        let input = counter_deployment().parse().unwrap();
        let wanted = Wanted { to: TxKind::Create, value: 0, gas: 200_000, input };
        self.send_1559(Signer::caller(), wanted).await;
    }

    /// Calls the counter, and sends a transfer; answers their hashes.
    pub async fn count(&self) -> Vec<B256> {
        let call = Wanted::call(counter(), 0, 200_000, Bytes::from_static(&[1]));
        let transfer = Wanted::call(RECEIVER, 7, 30_000, Bytes::new());
        vec![
            self.send_1559(Signer::caller(), call).await,
            self.send_1559(Signer::successor(), transfer).await,
        ]
    }

    /// Sends a transfer of an account that sends nothing else. op-geth may give the others' numbers
    /// anew where it has lost blocks, or leave a gap: then the same transactions would come again,
    /// or none.
    pub async fn come_late(&self) {
        let transfer = Wanted::call(RECEIVER, 9, 30_000, Bytes::new());
        self.send_1559(Signer::unauthorized(), transfer).await;
    }

    /// Sends long transactions, as many as fill more than what op-geth keeps before it writes.
    pub async fn fill(&self) {
        for _ in 0..4 {
            self.send_1559(Signer::successor(), Wanted::long()).await;
        }
    }

    /// One transaction of every type, a creation, one that reverts and a long one; answers their
    /// hashes. Only when Isthmus is active is there a set-code transaction.
    pub async fn every_kind(&self, set_code: bool) -> Vec<B256> {
        let signer = Signer::successor();
        let mut nonce = self.nonce(SENDER).await;
        let mut next = || {
            nonce += 1;
            nonce - 1
        };
        let transfer = |value| Wanted::call(RECEIVER, value, 60_000, Bytes::new());
        let mut hashes = Vec::new();
        let legacy = TxLegacy {
            chain_id: Some(CHAIN_ID),
            nonce: next(),
            gas_price: MAX_FEE,
            gas_limit: 60_000,
            to: RECEIVER.into(),
            value: U256::ONE,
            input: Bytes::new(),
        };
        hashes.push(self.send(signer, legacy).await);
        let access = AccessListItem { address: RECEIVER, storage_keys: vec![B256::ZERO] };
        let with_access_list = TxEip2930 {
            chain_id: CHAIN_ID,
            nonce: next(),
            gas_price: MAX_FEE,
            gas_limit: 60_000,
            to: RECEIVER.into(),
            value: U256::from(2),
            access_list: AccessList(vec![access]),
            input: Bytes::new(),
        };
        hashes.push(self.send(signer, with_access_list).await);
        let creation =
            Wanted { to: TxKind::Create, value: 0, gas: 200_000, input: CREATION.parse().unwrap() };
        let reverts =
            Wanted::call(BRIDGE, 0, 100_000, Bytes::from_static(&[0xde, 0xad, 0xbe, 0xef]));
        for wanted in [transfer(3), creation, reverts, Wanted::long()] {
            let transaction = wanted.eip1559(next());
            hashes.push(self.send(signer, transaction).await);
        }
        if set_code {
            hashes.push(self.set_code().await);
        }
        hashes
    }

    /// A set-code transaction. Its authority sends nothing itself: op-geth drops such transactions
    /// of accounts that have others waiting.
    async fn set_code(&self) -> B256 {
        let (sender, authority) = (Signer::caller(), Signer::batcher());
        let authorization = Authorization {
            chain_id: U256::from(CHAIN_ID),
            address: DELEGATE,
            nonce: self.nonce(authority.address()).await,
        };
        let signature = authority.sign_hash(authorization.signature_hash());
        let transaction = TxEip7702 {
            chain_id: CHAIN_ID,
            nonce: self.nonce(sender.address()).await,
            gas_limit: 200_000,
            max_fee_per_gas: MAX_FEE,
            max_priority_fee_per_gas: TIP,
            to: RECEIVER,
            value: U256::ZERO,
            access_list: AccessList::default(),
            authorization_list: vec![authorization.into_signed(signature)],
            input: Bytes::new(),
        };
        self.send(sender, transaction).await
    }

    /// Three deposits for the next L1 block to be mined: one that mints, one that fails, and one
    /// that creates a contract.
    pub async fn deposit(&self) {
        let (ether, gas) = (U256::from(10).pow(U256::from(15)), 150_000);
        let mint = Deposit { to: SENDER, mint: ether, value: ether, gas, ..Deposit::default() };
        let too_much = U256::from(10).pow(U256::from(30));
        let fails = Deposit { to: BRIDGE, value: too_much, gas, ..Deposit::default() };
        let creates = Deposit {
            mint: U256::from(5),
            gas: 300_000,
            creation: true,
            data: CREATION.parse().unwrap(),
            ..Deposit::default()
        };
        for deposit in [mint, fails, creates] {
            let call = deposit.call();
            self.l1.rpc().call("eth_sendTransaction", json!([call])).await;
        }
    }
}

/// A user deposit.
#[derive(Debug, Default)]
struct Deposit {
    to: Address,
    mint: U256,
    value: U256,
    gas: u64,
    creation: bool,
    data: Bytes,
}

impl Deposit {
    /// The call of our own deposit contract: the recipient, and the opaque data as ABI bytes.
    fn call(&self) -> Value {
        let opaque = [
            &self.mint.to_be_bytes::<32>()[..],
            &self.value.to_be_bytes::<32>(),
            &self.gas.to_be_bytes(),
            &[u8::from(self.creation)],
            &self.data,
        ]
        .concat();
        let word = |number: usize| U256::from(number).to_be_bytes::<32>();
        let padding = vec![0; opaque.len().next_multiple_of(32) - opaque.len()];
        let data =
            [&self.to.into_word()[..], &word(32), &word(opaque.len()), &opaque, &padding].concat();
        json!({
            "from": DEPOSITOR, "to": DEPOSIT_CONTRACT, "data": Bytes::from(data), "gas": "0x100000",
        })
    }
}
