//! A chain of OP-stack blocks and the batches for them, made from one block of the test vectors.

use alloy_primitives::{Address, B256, Bytes, U256, address, hex, keccak256};
use alloy_rlp::{Encodable, Header};
use secp256k1::{Message, SecretKey, ecdsa::RecoverableSignature};
use serde_json::{Value, json};

/// The L2 chain id, and with it the namespace.
pub(crate) const CHAIN_ID: u64 = 22_266_222;
pub(super) const L1_CHAIN_ID: u64 = 900;
const BLOCK_TIME: u64 = 2;
const GENESIS_TIME: u64 = 1_700_000_000;

/// Places in a block header.
const PARENT_HASH: usize = 0;
const NUMBER: usize = 8;
const TIMESTAMP: usize = 11;

const DEPOSITOR: Address = address!("0xdeaddeaddeaddeaddeaddeaddeaddeaddead0001");
const L1_BLOCK: Address = address!("0x4200000000000000000000000000000000000015");
/// `setL1BlockValuesEcotone()`.
const L1_INFO: [u8; 4] = [0x44, 0x0a, 0x5e, 0x20];

/// Who signs batches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signer(SecretKey);

impl Signer {
    pub(crate) fn new(seed: u8) -> Self {
        Self(SecretKey::from_secret_bytes([seed; 32]).unwrap())
    }

    pub(crate) fn address(self) -> Address {
        Address::from_raw_public_key(&self.0.public_key().serialize_uncompressed()[1..])
    }

    /// Signature and body, as posted to HotShot.
    pub(crate) fn sign(self, body: &[u8]) -> Vec<u8> {
        let message = Message::from_digest(keccak256(body).0);
        let signature = RecoverableSignature::sign_ecdsa_recoverable(message, &self.0);
        let (id, compact) = signature.serialize_compact();
        [&compact[..], &[id.to_u8()], body].concat()
    }
}

/// An L2 block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    pub(crate) number: u64,
    pub(crate) hash: B256,
    parent_hash: B256,
    /// The number of its L1 block.
    origin: u64,
}

impl Block {
    const fn timestamp(&self) -> u64 {
        GENESIS_TIME + self.number * BLOCK_TIME
    }
}

/// Blocks from genesis on, each with the same transactions.
pub(crate) struct Chain {
    pub(crate) blocks: Vec<Block>,
    /// The fields of every header, encoded.
    header: Vec<Vec<u8>>,
    /// The transactions in a batch, encoded.
    posted: Vec<u8>,
    /// The deposit as the execution RPC shows it, without hash and input.
    deposit: String,
    /// The other transactions as it shows them, each after a comma.
    transactions: String,
}

fn bytes(value: &Value) -> Bytes {
    value.as_str().unwrap().parse().unwrap()
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let payload_length = items.iter().map(Vec::len).sum();
    let mut out = Vec::new();
    Header { list: true, payload_length }.encode(&mut out);
    out.extend(items.iter().flatten());
    out
}

fn item(value: &dyn Encodable) -> Vec<u8> {
    let mut out = Vec::new();
    value.encode(&mut out);
    out
}

/// The items of an RLP list, each with its own header.
fn items(raw: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = Header::decode_bytes(&mut &*raw, true).unwrap();
    let mut items = Vec::new();
    while !rest.is_empty() {
        let start = rest;
        let header = Header::decode(&mut rest).unwrap();
        rest = &rest[header.payload_length..];
        items.push(start[..start.len() - rest.len()].to_vec());
    }
    items
}

/// The hash of an L1 block.
pub(super) fn l1_hash(number: u64) -> B256 {
    keccak256(format!("l1 {number}"))
}

impl Chain {
    /// `blocks` blocks above genesis, with `transactions` transactions each beside the L1-info
    /// deposit; `origin` gives the number of a block's L1 block.
    pub(crate) fn new(blocks: u64, transactions: usize, origin: fn(u64) -> u64) -> Self {
        let vectors: Value =
            serde_json::from_str(include_str!("../../../../testdata/op_batches.json")).unwrap();
        let case = &vectors["cases"][0];
        let listed = case["batch_transactions"].as_array().unwrap().iter().cycle();
        let posted: Vec<_> = listed.take(transactions).map(|raw| item(&bytes(raw))).collect();
        let (deposit, shown) =
            case["rpc_block"]["transactions"].as_array().unwrap().split_first().unwrap();
        let mut deposit = deposit.as_object().unwrap().clone();
        deposit.retain(|name, _| !["hash", "input"].contains(&name.as_str()));
        let shown = shown.iter().cycle().take(transactions);
        let mut chain = Self {
            blocks: Vec::new(),
            header: items(&bytes(&case["header_rlp"])),
            posted: list(&posted),
            deposit: Value::from(deposit).to_string(),
            transactions: shown.map(|transaction| format!(",{transaction}")).collect(),
        };
        let mut parent = B256::ZERO;
        for number in 0..=blocks {
            let block = chain.block(number, parent, origin(number));
            parent = block.hash;
            chain.blocks.push(block);
        }
        chain
    }

    /// A block that need not be in the chain.
    pub(crate) fn block(&self, number: u64, parent_hash: B256, origin: u64) -> Block {
        let mut block = Block { number, hash: B256::ZERO, parent_hash, origin };
        block.hash = keccak256(self.header(&block));
        block
    }

    fn header(&self, block: &Block) -> Vec<u8> {
        let mut fields = self.header.clone();
        fields[PARENT_HASH] = item(&block.parent_hash);
        fields[NUMBER] = item(&block.number);
        fields[TIMESTAMP] = item(&block.timestamp());
        list(&fields)
    }

    /// The batch for a block, not signed.
    pub(crate) fn batch(&self, block: &Block) -> Vec<u8> {
        let singular = list(&[
            item(&block.parent_hash),
            item(&block.origin),
            item(&l1_hash(block.origin)),
            item(&block.timestamp()),
            self.posted.clone(),
        ]);
        let deposit = item(&deposit(block).as_slice());
        list(&[self.header(block), singular, deposit, item(&Address::ZERO)])
    }

    /// A block as the execution RPC shows it.
    pub(super) fn show(&self, block: &Block, whole: bool) -> String {
        let Block { number, hash, parent_hash, .. } = block;
        let timestamp = block.timestamp();
        let transactions = if whole {
            let hash = keccak256(deposit(block));
            let input = hex::encode(l1_info(block));
            let (rest, others) = (&self.deposit[1..], &self.transactions);
            format!(r#"{{"hash":"{hash}","input":"0x{input}",{rest}{others}"#)
        } else {
            String::new()
        };
        let bloom = format!("0x{:0512}", 0);
        format!(
            r#"{{"number":"{number:#x}","hash":"{hash}","parentHash":"{parent_hash}","timestamp":"{timestamp:#x}","logsBloom":"{bloom}","transactions":[{transactions}]}}"#,
        )
    }

    /// What op-node says of the rollup.
    pub(super) fn rollup_config(&self) -> Value {
        json!({
            "genesis": {
                "l1": {"number": 0, "hash": l1_hash(0)},
                "l2": {"number": 0, "hash": self.blocks[0].hash},
                "l2_time": GENESIS_TIME,
            },
            "block_time": BLOCK_TIME,
            "seq_window_size": 3600,
            "l1_chain_id": L1_CHAIN_ID,
            "l2_chain_id": CHAIN_ID,
        })
    }
}

/// The L1-info deposit of a block.
fn deposit(block: &Block) -> Vec<u8> {
    let fields = [
        item(&keccak256(block.number.to_be_bytes())),
        item(&DEPOSITOR),
        item(&L1_BLOCK),
        item(&U256::ZERO),
        item(&U256::ZERO),
        item(&1_000_000_u64),
        item(&false),
        item(&l1_info(block).as_slice()),
    ];
    [&[0x7e], &list(&fields)[..]].concat()
}

fn l1_info(block: &Block) -> Vec<u8> {
    let mut call_data = vec![0; 164];
    call_data[..4].copy_from_slice(&L1_INFO);
    call_data[28..36].copy_from_slice(&block.origin.to_be_bytes());
    call_data[100..132].copy_from_slice(l1_hash(block.origin).as_slice());
    call_data
}
