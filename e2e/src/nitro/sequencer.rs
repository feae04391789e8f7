//! The sequencer of a Nitro chain: puts users' transactions and delayed messages into messages, and
//! can fork. And the users.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEnvelope, TxLegacy};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, address};

use super::{
    block::{Block, Chain, Rules},
    content,
    message::{BatchData, Header, Kind, Message, SEQUENCER},
    parent::{Delayed, Parent},
    transaction::{SubmitRetryable, Transaction, Unsigned},
};
use crate::{accounts::RECEIVER, l1::L1, rollup::OriginPolicy, signer::Signer};

/// Since then a report has the data of its batch.
const ARBOS_WITH_DATA: u64 = 50;
/// An account of the parent chain.
const USER: Address = address!("00000000000000000000000000000000000a11ce");
const GAS: u64 = 100_000;
const FEE: u64 = 1_000_000_000;

/// The sequencer.
#[derive(Debug)]
pub struct Sequencer {
    rules: Mutex<Rules>,
    genesis: Arc<Block>,
    l1: Arc<L1>,
    parent: Arc<Parent>,
    policy: OriginPolicy,
    chain: Mutex<Chain>,
    /// The hashes of transactions that the chain filters.
    filtered: Mutex<HashSet<B256>>,
    /// Goes into every transfer, so that forks differ.
    salt: AtomicU64,
    /// How many messages the deployer has sent from the parent chain.
    from_origin: AtomicU64,
}

impl Sequencer {
    /// A sequencer with the genesis block.
    #[must_use]
    pub fn new(
        rules: Rules,
        genesis: Arc<Block>,
        l1: Arc<L1>,
        parent: Arc<Parent>,
        policy: OriginPolicy,
    ) -> Self {
        Self {
            rules: Mutex::new(rules),
            genesis,
            l1,
            parent,
            policy,
            chain: Mutex::default(),
            filtered: Mutex::default(),
            salt: AtomicU64::new(0),
            from_origin: AtomicU64::new(0),
        }
    }

    /// Its chain.
    #[must_use]
    pub fn chain(&self) -> Chain {
        self.chain.lock().unwrap().clone()
    }

    /// Builds `count` blocks, while users do something on the parent chain.
    pub async fn produce(&self, count: u64) -> Vec<Arc<Block>> {
        let mut blocks = Vec::new();
        for _ in 0..count {
            self.users(self.next_position()).await;
            let message = self.next_message().await;
            blocks.push(self.put(message));
        }
        blocks
    }

    fn rules(&self) -> Rules {
        *self.rules.lock().unwrap()
    }

    /// The next block is the first one of another version of ArbOS.
    pub fn upgrade(&self, arbos_version: u64) {
        self.rules.lock().unwrap().arbos_version = arbos_version;
    }

    /// What a message parses to in the next block.
    #[must_use]
    pub fn inputs(&self, message: &Message) -> Vec<Transaction> {
        self.rules().inputs(&self.tip(), message)
    }

    /// Filters a transaction from now on.
    pub fn filter(&self, transaction: &Transaction) {
        self.filtered.lock().unwrap().insert(transaction.hash());
    }

    /// Builds the block of a message, whatever it is.
    pub fn put(&self, message: Message) -> Arc<Block> {
        let mut chain = self.chain.lock().unwrap();
        let tip = chain.last().unwrap_or(&self.genesis);
        let filtered = self.filtered.lock().unwrap();
        let block = Arc::new(self.rules().filtered_block(tip, message, &filtered));
        chain.push(Arc::clone(&block));
        block
    }

    /// Drops the blocks above `number` and builds other ones from now on.
    pub fn fork_above(&self, number: u64) {
        let kept = usize::try_from(number - self.rules().genesis).unwrap();
        self.chain.lock().unwrap().truncate(kept);
        self.salt.fetch_add(1, Ordering::Relaxed);
    }

    /// Goes over to another chain.
    pub fn follow(&self, chain: &[Arc<Block>]) {
        *self.chain.lock().unwrap() = chain.to_vec();
    }

    /// What the sequencer makes next: a delayed message if there is one that it may have read, else
    /// one with users' transactions.
    pub async fn next_message(&self) -> Message {
        let (position, read) = (self.next_position(), self.tip().delayed_read());
        let newest = self.parent.newest(self.policy).await;
        if self.parent.delayed_count(&newest).await > read {
            return self.delayed(position, read, self.parent.message(read).await);
        }
        self.user_message().await
    }

    /// The next message with users' transactions.
    pub async fn user_message(&self) -> Message {
        self.user_message_with(Bytes::new()).await
    }

    /// The same, where a user has chosen what the transactions carry.
    pub async fn user_message_with(&self, input: Bytes) -> Message {
        let (parent, position) = (self.tip(), self.next_position());
        let latest = self.l1.latest().await;
        let header = Header {
            kind: Kind::L2,
            poster: SEQUENCER,
            block_number: latest.number,
            timestamp: latest.timestamp,
            request_id: None,
            base_fee: Some(U256::ZERO),
        };
        let content = content::batch(&self.transactions(&parent, position, input));
        let delayed_read = parent.delayed_read();
        Message { position, delayed_read, header, content, batch_gas: None, batch_data: None }
    }

    /// The message of the block for a delayed one.
    fn delayed(&self, position: u64, read: u64, delayed: Delayed) -> Message {
        let is_report = delayed.header.kind == Kind::BATCH_REPORT;
        let has_data = is_report && self.tip().arbos_version() >= ARBOS_WITH_DATA;
        Message {
            position,
            delayed_read: read + 1,
            header: delayed.header,
            content: delayed.content,
            batch_gas: is_report.then_some(50_000 + position),
            batch_data: has_data.then_some(BatchData { length: 900 + position, nonzeros: 800 }),
        }
    }

    fn next_position(&self) -> u64 {
        self.chain.lock().unwrap().len() as u64 + 1
    }

    fn tip(&self) -> Arc<Block> {
        Arc::clone(self.chain.lock().unwrap().last().unwrap_or(&self.genesis))
    }

    /// Three transfers of each type; every sixth message has one that is dropped, too.
    fn transactions(&self, parent: &Block, position: u64, input: Bytes) -> Vec<Bytes> {
        let value = position + (self.salt.load(Ordering::Relaxed) << 32);
        let (chain_id, gas_limit) = (self.rules().chain_id, GAS);
        let (to, value) = (TxKind::Call(RECEIVER), U256::from(value));
        let (sender, caller) = (Signer::successor(), Signer::caller());
        let nonce = |signer: &Signer| parent.ledger.account(signer.address()).nonce;
        let first = nonce(&sender);
        let price = u128::from(FEE);
        let legacy = TxLegacy {
            chain_id: Some(chain_id),
            nonce: first,
            gas_price: price,
            gas_limit,
            to,
            value,
            input: input.clone(),
        };
        let listed = TxEip2930 {
            chain_id,
            nonce: first + 1,
            gas_price: price,
            gas_limit,
            to,
            value,
            access_list: Default::default(),
            input: input.clone(),
        };
        let dynamic = |nonce| TxEip1559 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: price,
            max_priority_fee_per_gas: 0,
            to,
            value,
            access_list: Default::default(),
            input: input.clone(),
        };
        let mut all =
            vec![sign(sender, legacy), sign(sender, listed), sign(caller, dynamic(nonce(&caller)))];
        if position.is_multiple_of(6) {
            all.push(sign(caller, dynamic(1_000_000)));
        }
        all
    }

    /// A user pays for a retryable ticket on the parent chain, in its next block.
    pub async fn buy_ticket(&self) {
        self.parent.deliver(Kind::RETRYABLE, USER, &retryable(ether())).await;
    }

    /// What users do on the parent chain: a deposit, a retryable ticket, a transaction; and the
    /// poster of batches is to be paid.
    async fn users(&self, position: u64) {
        match position % 12 {
            1 => {
                let deposit = content::deposit(USER, ether());
                self.parent.deliver(Kind::DEPOSIT, USER, &deposit).await;
            }
            4 => self.buy_ticket().await,
            7 => {
                let (time, poster) = (self.tip().header.timestamp, Signer::batcher().address());
                let (data, base_fee) = (B256::repeat_byte(7), U256::from(FEE));
                let report = content::report(time, poster, data, position, base_fee);
                self.parent.deliver(Kind::BATCH_REPORT, poster, &report).await;
            }
            10 => {
                let nonce = self.from_origin.fetch_add(1, Ordering::Relaxed);
                self.parent
                    .deliver_from_origin(&content::unsigned(&Unsigned {
                        chain_id: self.rules().chain_id,
                        from: USER,
                        nonce,
                        fee_cap: U256::from(FEE),
                        gas: GAS,
                        to: TxKind::Call(RECEIVER),
                        value: U256::ZERO,
                        data: Bytes::new(),
                    }))
                    .await;
            }
            _ => {}
        }
    }
}

fn ether() -> U256 {
    U256::from(10).pow(U256::from(15))
}

fn retryable(deposit: U256) -> Bytes {
    content::retryable(&SubmitRetryable {
        chain_id: 0,
        request_id: B256::ZERO,
        from: USER,
        l1_base_fee: U256::ZERO,
        deposit,
        fee_cap: U256::from(FEE),
        gas: GAS,
        retry_to: TxKind::Call(RECEIVER),
        retry_value: U256::from(3),
        beneficiary: USER,
        max_submission_fee: U256::from(FEE),
        fee_refund: USER,
        data: Bytes::from_static(b"retry"),
    })
}

fn sign<T>(signer: Signer, transaction: T) -> Bytes
where
    T: SignableTransaction<Signature>,
    TxEnvelope: From<alloy_consensus::Signed<T>>,
{
    let signature = signer.sign_hash(transaction.signature_hash());
    let envelope = TxEnvelope::from(transaction.into_signed(signature));
    content::signed(&envelope.encoded_2718())
}
