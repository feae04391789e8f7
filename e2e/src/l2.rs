//! L2: Anvil in OP mode, as sequencer and as full node. The same inputs give the same hashes, so a
//! node follows a chain by executing its inputs again.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex as StdMutex},
};

use alloy_primitives::B256;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::{
    anvil::Anvil,
    client::{Client, hash, hex, quantity},
    l1::L1Block,
    l1_info::{DEPOSITOR, L1_BLOCK_CONTRACT, L1InfoFormat, info_source_hash},
    ports::free_port,
};

/// The chain id of L2, which is its namespace on HotShot too.
pub const CHAIN_ID: u64 = 22_266_222;
/// Seconds between two L2 blocks.
pub const BLOCK_TIME: u64 = 1;
/// Set before every block: Anvil does not reset its own idea of the next base fee at a rollback.
const BASE_FEE: u64 = 1_000_000_000;

/// All that decides what an L2 block will be, given its parent.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The L1 origin.
    pub origin: L1Block,
    /// How many blocks with this origin came before.
    pub sequence_number: u64,
    /// Format of the info deposit.
    pub format: L1InfoFormat,
    /// Seconds.
    pub timestamp: u64,
    /// User deposits, as `eth_sendTransaction` takes them.
    pub deposits: Vec<Value>,
    /// Transactions of development accounts, as `eth_sendTransaction` takes them.
    pub transactions: Vec<Value>,
}

impl Inputs {
    fn info_deposit(&self) -> Value {
        let calldata = self.format.calldata(&self.origin, self.sequence_number);
        json!({
            "type": "0x7e",
            "sourceHash": info_source_hash(&self.origin, self.sequence_number),
            "from": DEPOSITOR,
            "to": L1_BLOCK_CONTRACT,
            "mint": "0x0",
            "value": "0x0",
            "gas": "0xf4240",
            "isSystemTx": false,
            "input": alloy_primitives::Bytes::from(calldata),
        })
    }
}

/// An L2 block and how it came about.
#[derive(Debug)]
pub struct Block {
    /// What it was made from.
    pub inputs: Inputs,
    /// Number.
    pub number: u64,
    /// Hash.
    pub hash: B256,
    /// Parent's hash.
    pub parent_hash: B256,
    /// As the execution RPC shows it, with whole transactions.
    pub json: Value,
}

/// A chain from block 1 on. Chains share their blocks.
pub type Chain = Vec<Arc<Block>>;

/// The block of that number in a chain.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn block(chain: &[Arc<Block>], number: u64) -> &Arc<Block> {
    let index = usize::try_from(number).unwrap().checked_sub(1);
    index.and_then(|index| chain.get(index)).unwrap_or_else(|| panic!("no block {number} in chain"))
}

#[derive(Debug)]
struct State {
    /// None only while it is being restarted.
    anvil: Option<Anvil>,
    chain: Chain,
}

/// An L2 node.
#[derive(Debug)]
pub struct L2Node {
    name: String,
    port: u16,
    rpc: Client,
    genesis_time: u64,
    genesis_hash: B256,
    folder: PathBuf,
    state: Mutex<State>,
    had: StdMutex<HashSet<(u64, B256)>>,
}

impl L2Node {
    /// Starts a node with nothing but the genesis block.
    ///
    /// # Panics
    /// When Anvil fails.
    pub async fn start(name: &str, genesis_time: u64, folder: &Path) -> Self {
        let port = free_port();
        let anvil = start_anvil(name, port, genesis_time, folder).await;
        let rpc = anvil.rpc().clone();
        let genesis = rpc.call("eth_getBlockByNumber", json!(["0x0", false])).await;
        assert_eq!(quantity(&genesis["timestamp"]), genesis_time);
        let genesis_hash = hash(&genesis["hash"]);
        Self {
            name: name.into(),
            port,
            rpc,
            genesis_time,
            genesis_hash,
            folder: folder.into(),
            state: Mutex::new(State { anvil: Some(anvil), chain: Chain::new() }),
            had: StdMutex::new(HashSet::from([(0, genesis_hash)])),
        }
    }

    /// Anvil's own RPC.
    #[must_use]
    pub fn rpc(&self) -> &Client {
        &self.rpc
    }

    /// Hash of the genesis block.
    #[must_use]
    pub fn genesis_hash(&self) -> B256 {
        self.genesis_hash
    }

    /// Seconds.
    #[must_use]
    pub fn genesis_time(&self) -> u64 {
        self.genesis_time
    }

    /// The chain that the node has now.
    pub async fn chain(&self) -> Chain {
        self.state.lock().await.chain.clone()
    }

    /// Its latest block number.
    pub async fn height(&self) -> u64 {
        self.state.lock().await.chain.len() as u64
    }

    /// Whether the node ever had that block.
    ///
    /// # Panics
    /// Never: the lock is not held across a panic.
    pub fn ever_had(&self, number: u64, hash: B256) -> bool {
        self.had.lock().unwrap().contains(&(number, hash))
    }

    /// Builds a new block on top.
    pub async fn build(&self, inputs: Inputs) -> Arc<Block> {
        let mut state = self.state.lock().await;
        self.execute(&mut state, inputs, None).await
    }

    /// Makes this node's chain exactly `target`: rolls back to the common part and executes the
    /// rest.
    ///
    /// # Panics
    /// When a block comes out with another hash.
    pub async fn follow(&self, target: &[Arc<Block>]) {
        let mut state = self.state.lock().await;
        let same = |(ours, theirs): &(&Arc<Block>, &Arc<Block>)| ours.hash == theirs.hash;
        let common = state.chain.iter().zip(target).take_while(same).count();
        let surplus = state.chain.len() - common;
        if surplus > 0 {
            self.rpc.call("anvil_rollback", json!([surplus])).await;
            state.chain.truncate(common);
        }
        for block in &target[common..] {
            self.execute(&mut state, block.inputs.clone(), Some(block)).await;
        }
    }

    /// Forgets everything, as if the operator had wiped the data folder and started again.
    pub async fn wipe(&self) {
        let mut state = self.state.lock().await;
        state.anvil = None;
        let anvil = start_anvil(&self.name, self.port, self.genesis_time, &self.folder).await;
        *state = State { anvil: Some(anvil), chain: Chain::new() };
    }

    async fn execute(
        &self,
        state: &mut State,
        inputs: Inputs,
        expected: Option<&Arc<Block>>,
    ) -> Arc<Block> {
        if let Some(block) = expected {
            // Before it becomes visible.
            self.had.lock().unwrap().insert((block.number, block.hash));
        }
        // The node orders by arrival: the info deposit opens the block.
        self.rpc.call("eth_sendTransaction", json!([inputs.info_deposit()])).await;
        for transaction in inputs.deposits.iter().chain(&inputs.transactions) {
            self.rpc.call("eth_sendTransaction", json!([transaction])).await;
        }
        self.rpc.call("anvil_setNextBlockBaseFeePerGas", json!([hex(BASE_FEE)])).await;
        self.rpc.call("evm_setNextBlockTimestamp", json!([inputs.timestamp])).await;
        self.rpc.call("evm_mine", json!([])).await;

        let json = self.rpc.call("eth_getBlockByNumber", json!(["latest", true])).await;
        let block = Arc::new(Block {
            number: quantity(&json["number"]),
            hash: hash(&json["hash"]),
            parent_hash: hash(&json["parentHash"]),
            inputs,
            json,
        });
        let count = 1 + block.inputs.deposits.len() + block.inputs.transactions.len();
        assert_eq!(block.number, state.chain.len() as u64 + 1, "{}: {}", self.name, block.json);
        assert_eq!(block.json["transactions"].as_array().unwrap().len(), count, "{}", block.json);
        assert_eq!(quantity(&block.json["timestamp"]), block.inputs.timestamp);
        if let Some(expected) = expected {
            assert_eq!(
                block.hash, expected.hash,
                "{}: {} {}",
                self.name, block.json, expected.json
            );
        }
        self.had.lock().unwrap().insert((block.number, block.hash));
        state.chain.push(Arc::clone(&block));
        block
    }
}

async fn start_anvil(name: &str, port: u16, genesis_time: u64, folder: &Path) -> Anvil {
    let more = ["--network", "optimism", "--order", "fifo"];
    Anvil::start(name, port, CHAIN_ID, genesis_time, &more, folder).await
}
