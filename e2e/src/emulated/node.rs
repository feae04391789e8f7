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
    block::{Block, CHAIN_ID, Chain},
    client::{Client, hash, hex, quantity},
    ports::free_port,
};

/// Set before every block: Anvil does not reset its own idea of the next base fee at a rollback.
const BASE_FEE: u64 = 1_000_000_000;

/// All that decides what an L2 block will be, given its parent.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Seconds.
    timestamp: u64,
    /// The calls that submit its transactions, in order.
    submissions: Vec<(&'static str, Value)>,
}

impl Inputs {
    /// A block with these deposits, the info deposit first, and these transactions of development
    /// accounts, all as `eth_sendTransaction` takes them.
    #[must_use]
    pub fn new(timestamp: u64, deposits: Vec<Value>, transactions: Vec<Value>) -> Self {
        let all = deposits.into_iter().chain(transactions);
        Self { timestamp, submissions: all.map(|one| ("eth_sendTransaction", one)).collect() }
    }

    /// The same block again.
    fn of(block: &Block) -> Self {
        let deposits = block.json["transactions"].as_array().unwrap().iter().filter_map(deposit);
        let deposits = deposits.map(|deposit| ("eth_sendTransaction", deposit));
        let others = block.batch.content.transactions.iter();
        let others = others.map(|bytes| ("eth_sendRawTransaction", json!(bytes)));
        let timestamp = block.batch.content.timestamp;
        Self { timestamp, submissions: deposits.chain(others).collect() }
    }
}

/// A deposit of a block as `eth_sendTransaction` takes it; none for any other transaction.
fn deposit(transaction: &Value) -> Option<Value> {
    if transaction["type"] != "0x7e" {
        return None;
    }
    let mut deposit = json!({"isSystemTx": false});
    for name in ["type", "sourceHash", "from", "to", "mint", "value", "gas", "input"] {
        deposit[name] = transaction[name].clone();
    }
    Some(deposit)
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
            self.execute(&mut state, Inputs::of(block), Some(block)).await;
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
        let (timestamp, count) = (inputs.timestamp, inputs.submissions.len());
        // The node orders by arrival: the info deposit opens the block.
        for (method, transaction) in inputs.submissions {
            self.rpc.call(method, json!([transaction])).await;
        }
        self.rpc.call("anvil_setNextBlockBaseFeePerGas", json!([hex(BASE_FEE)])).await;
        self.rpc.call("evm_setNextBlockTimestamp", json!([timestamp])).await;
        self.rpc.call("evm_mine", json!([])).await;

        let json = self.rpc.call("eth_getBlockByNumber", json!(["latest", true])).await;
        let block = Arc::new(Block::from_json(json));
        assert_eq!(block.number, state.chain.len() as u64 + 1, "{}: {}", self.name, block.json);
        assert_eq!(block.json["transactions"].as_array().unwrap().len(), count, "{}", block.json);
        assert_eq!(block.batch.header.timestamp, timestamp);
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
