//! L1: Anvil with finality, reorgs, and the light client stub.

use std::path::Path;

use alloy_primitives::{Address, B256};
use serde_json::{Value, json};

use crate::anvil::Anvil;
use crate::client::{Client, hash, hex, quantity};
use crate::ports::free_port;

/// The chain id of L1.
pub const CHAIN_ID: u64 = 900;
/// Seconds between two L1 blocks.
pub const BLOCK_TIME: u64 = 1;
/// Anvil calls `latest - 2 * slots` finalized.
const SLOTS_IN_AN_EPOCH: u64 = 2;
/// How far `finalized` is behind `latest`; reorgs up to this depth are honest.
pub const FINALITY_DEPTH: u64 = 2 * SLOTS_IN_AN_EPOCH;

/// Anvil's first development account; it deploys and sets the light client.
const DEPLOYER: &str = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";

/// A contract that keeps three words: calldata of exactly 96 bytes sets them, any other call returns
/// them. So `finalizedState()` answers (view number, HotShot height, root).
///
/// ```text
/// init:    PUSH1 <length> DUP1 PUSH1 9 PUSH0 CODECOPY PUSH0 RETURN
/// runtime: CALLDATASIZE PUSH1 96 EQ PUSH1 <set> JUMPI
///          SLOAD(0) MSTORE(0)  SLOAD(1) MSTORE(32)  SLOAD(2) MSTORE(64)  RETURN(0, 96)
/// set:     SSTORE(0, CALLDATALOAD(0))  SSTORE(1, CALLDATALOAD(32))  SSTORE(2, CALLDATALOAD(64))
/// ```
const LIGHT_CLIENT: LightClientCode = LightClientCode {
    load: "366060146020575f545f5260015460205260025460405260605ff3",
    set: "5b5f355f5560203560015560403560025500",
};

struct LightClientCode {
    load: &'static str,
    set: &'static str,
}

impl LightClientCode {
    /// The whole deployment code.
    fn deployment(&self) -> String {
        let load_length = self.load.len() / 2;
        // The jump destination stands in byte 5 of the runtime.
        let load = format!("{}{load_length:02x}{}", &self.load[..10], &self.load[12..]);
        let runtime = format!("{load}{}", self.set);
        format!("0x60{:02x}8060095f395ff3{runtime}", runtime.len() / 2)
    }
}

/// What L2 and the tests need to know of an L1 block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct L1Block {
    /// Number.
    pub number: u64,
    /// Hash.
    pub hash: B256,
    /// Parent's hash.
    pub parent_hash: B256,
    /// Seconds.
    pub timestamp: u64,
}

impl L1Block {
    fn from_json(block: &Value) -> Self {
        Self {
            number: quantity(&block["number"]),
            hash: hash(&block["hash"]),
            parent_hash: hash(&block["parentHash"]),
            timestamp: quantity(&block["timestamp"]),
        }
    }
}

/// The L1 chain.
#[derive(Debug)]
pub struct L1 {
    anvil: Anvil,
    light_client: Address,
}

impl L1 {
    /// Starts L1 and deploys the light client in block 1.
    ///
    /// # Panics
    /// When Anvil does not do as told.
    pub async fn start(genesis_time: u64, folder: &Path) -> Self {
        let slots = SLOTS_IN_AN_EPOCH.to_string();
        let more = ["--slots-in-an-epoch", &slots];
        let anvil = Anvil::start("l1", free_port(), CHAIN_ID, genesis_time, &more, folder).await;
        let mut this = Self { anvil, light_client: Address::ZERO };
        let deployment = json!({
            "from": DEPLOYER, "data": LIGHT_CLIENT.deployment(), "gas": "0x100000",
        });
        let transaction = this.rpc().call("eth_sendTransaction", json!([deployment])).await;
        this.mine(1).await;
        let receipt = this.rpc().call("eth_getTransactionReceipt", json!([transaction])).await;
        this.light_client = receipt["contractAddress"].as_str().unwrap().parse().unwrap();
        this
    }

    /// The RPC.
    #[must_use]
    pub fn rpc(&self) -> &Client {
        self.anvil.rpc()
    }

    /// Where the light client is.
    #[must_use]
    pub fn light_client(&self) -> Address {
        self.light_client
    }

    /// Mines `count` blocks.
    pub async fn mine(&self, count: u64) {
        for _ in 0..count {
            let timestamp = self.latest().await.timestamp + BLOCK_TIME;
            self.rpc().call("evm_setNextBlockTimestamp", json!([timestamp])).await;
            self.rpc().call("evm_mine", json!([])).await;
        }
    }

    /// Puts a light client update into the next block to be mined.
    pub async fn set_light_client(&self, view_number: u64, hotshot_height: u64) {
        let words = format!("0x{view_number:064x}{hotshot_height:064x}{:064x}", 7);
        let update = json!({
            "from": DEPLOYER, "to": self.light_client, "data": words, "gas": "0x100000",
        });
        self.rpc().call("eth_sendTransaction", json!([update])).await;
    }

    /// The latest block.
    pub async fn latest(&self) -> L1Block {
        self.tagged("latest").await
    }

    /// The finalized block.
    pub async fn finalized(&self) -> L1Block {
        self.tagged("finalized").await
    }

    /// The block of that number on the current fork.
    ///
    /// # Panics
    /// When there is none.
    pub async fn block(&self, number: u64) -> L1Block {
        self.tagged(&hex(number)).await
    }

    async fn tagged(&self, block: &str) -> L1Block {
        L1Block::from_json(&self.rpc().call("eth_getBlockByNumber", json!([block, false])).await)
    }

    /// Replaces the last `depth` blocks by others; the height stays.
    pub async fn reorg(&self, depth: u64) {
        self.rpc().call("anvil_reorg", json!([depth, []])).await;
    }
}
