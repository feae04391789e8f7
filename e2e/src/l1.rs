//! L1: Anvil with finality, reorgs, and minimal versions of Espresso's contracts.

use std::path::Path;

use alloy_primitives::{Address, B256, address, hex};
use serde_json::{Value, json};

use crate::{
    anvil::Anvil,
    client::{self, Client, hash, quantity},
    contracts::{self, BATCH_AUTHENTICATOR, LIGHT_CLIENT},
    ports::free_port,
};

/// The chain id of L1.
pub const CHAIN_ID: u64 = 900;
/// Seconds between two L1 blocks.
pub const BLOCK_TIME: u64 = 1;
/// Anvil calls `latest - 2 * slots` finalized.
pub(crate) const SLOTS_IN_AN_EPOCH: u64 = 2;
/// How far `finalized` is behind `latest`; reorgs up to this depth are honest.
pub const FINALITY_DEPTH: u64 = 2 * SLOTS_IN_AN_EPOCH;

/// The contract whose logs are user deposits.
pub const DEPOSIT_CONTRACT: Address = address!("1313131313131313131313131313131313131313");
/// The contract that configures the rollup.
pub const SYSTEM_CONFIG: Address = address!("1414141414141414141414141414141414141414");

/// Where SystemConfig keeps the address that signs the sequencer's blocks.
const UNSAFE_BLOCK_SIGNER: &str =
    "0x65a7ed542fb37fe237fdfbdd70b31598523fe5b32879e307bae27a0bd9581c08";

/// Anvil's first development account; it deploys and sets the contracts.
pub(crate) const DEPLOYER: &str = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";

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
    pub(crate) fn from_json(block: &Value) -> Self {
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
    batch_authenticator: Address,
}

impl L1 {
    /// Starts L1; block 1 deploys the contracts and makes `batcher` the first batcher.
    ///
    /// # Panics
    /// When Anvil fails.
    pub async fn start(genesis_time: u64, batcher: Address, folder: &Path) -> Self {
        let slots = SLOTS_IN_AN_EPOCH.to_string();
        let more = ["--slots-in-an-epoch", &slots];
        let anvil = Anvil::start("l1", free_port(), CHAIN_ID, genesis_time, &more, folder).await;
        let deployer: Address = DEPLOYER.parse().unwrap();
        let (light_client, batch_authenticator) = (deployer.create(0), deployer.create(1));
        let this = Self { anvil, light_client, batch_authenticator };
        for runtime in [LIGHT_CLIENT, BATCH_AUTHENTICATOR] {
            this.send(json!({"data": contracts::deployment(runtime)})).await;
        }
        this.set_batcher(batcher).await;
        this.mine(1).await;
        this
    }

    /// Puts the contracts of a real rollup into the state: the one for deposits, and SystemConfig
    /// with the address that signs the sequencer's blocks.
    pub async fn install_rollup(&self, unsafe_block_signer: Address) {
        let code = async |address: Address, code: &str| {
            self.rpc().call("anvil_setCode", json!([address, code])).await;
        };
        code(DEPOSIT_CONTRACT, &contracts::code(contracts::DEPOSITS)).await;
        // op-node reads nothing but storage here, with a proof.
        code(SYSTEM_CONFIG, "0x00").await;
        let slot = json!([SYSTEM_CONFIG, UNSAFE_BLOCK_SIGNER, unsafe_block_signer.into_word()]);
        self.rpc().call("anvil_setStorageAt", slot).await;
        self.mine(1).await;
    }

    /// Puts a transaction of the deployer into the next block to be mined.
    async fn send(&self, mut transaction: Value) {
        transaction["from"] = json!(DEPLOYER);
        transaction["gas"] = json!("0x100000");
        self.rpc().call("eth_sendTransaction", json!([transaction])).await;
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

    /// Where the BatchAuthenticator is.
    #[must_use]
    pub fn batch_authenticator(&self) -> Address {
        self.batch_authenticator
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
    pub async fn set_light_client(&self, view_number: u64, hotshot_height: u64, root: B256) {
        let root = hex::encode(root);
        let words = format!("0x{view_number:064x}{hotshot_height:064x}{root}");
        self.send(json!({"to": self.light_client, "data": words})).await;
    }

    /// Makes the next block to be mined the first one of a new batcher.
    pub async fn set_batcher(&self, batcher: Address) {
        self.send(json!({"to": self.batch_authenticator, "data": batcher.into_word()})).await;
    }

    /// Sets the active batcher as of the next mined block: Espresso's or the fallback.
    pub async fn set_active_is_espresso(&self, active: bool) {
        let words = format!("0x{:064x}{:064x}", u8::from(!active), 0);
        self.send(json!({"to": self.batch_authenticator, "data": words})).await;
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
        self.tagged(&client::hex(number)).await
    }

    /// The block by tag or hex number.
    ///
    /// # Panics
    /// When there is none.
    pub async fn tagged(&self, block: &str) -> L1Block {
        L1Block::from_json(&self.rpc().call("eth_getBlockByNumber", json!([block, false])).await)
    }

    /// Replaces the last `depth` blocks by others; the height stays.
    pub async fn reorg(&self, depth: u64) {
        self.rpc().call("anvil_reorg", json!([depth, []])).await;
    }
}
