//! The genesis of the real rollup: the files that op-geth and op-node start from.

use std::{fs, path::Path};

use alloy_primitives::{Address, B256, address};
use serde_json::{Map, Value, json};

use crate::{
    accounts::{CALLER, SENDER},
    block::{BLOCK_TIME, CHAIN_ID},
    client::hex,
    l1::{self, DEPOSIT_CONTRACT, L1Block, SYSTEM_CONFIG},
    signer::Signer,
};

/// The forks that follow Bedrock, in order.
pub const FORKS: [&str; 9] =
    ["regolith", "canyon", "delta", "ecotone", "fjord", "granite", "holocene", "isthmus", "jovian"];
/// L1's own forks that op-geth activates together with one of ours.
const L1_FORKS: [(&str, &str); 3] =
    [("canyon", "shanghai"), ("ecotone", "cancun"), ("isthmus", "prague")];
/// L1's forks up to Paris, which are active from the start on both chains.
const BLOCK_FORKS: [&str; 14] = [
    "homesteadBlock",
    "eip150Block",
    "eip155Block",
    "eip158Block",
    "byzantiumBlock",
    "constantinopleBlock",
    "petersburgBlock",
    "istanbulBlock",
    "muirGlacierBlock",
    "berlinBlock",
    "londonBlock",
    "arrowGlacierBlock",
    "grayGlacierBlock",
    "mergeNetsplitBlock",
];
const GAS_LIMIT: u64 = 30_000_000;
const FEE_RECIPIENT: Address = address!("4200000000000000000000000000000000000011");
const BATCH_INBOX: Address = address!("ff00000000000000000000000000000022266222");

/// When the forks are activated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Forks {
    /// All at genesis.
    #[default]
    AtGenesis,
    /// One after the other, this many seconds apart.
    Staggered(u64),
}

/// The genesis of L2.
#[derive(Debug, Clone, Copy)]
pub struct Genesis {
    /// The L1 block on which L2 begins.
    pub origin: L1Block,
    /// Seconds.
    pub time: u64,
    /// When the forks are activated.
    pub forks: Forks,
}

impl Genesis {
    /// The activation time of each fork, in their order.
    #[must_use]
    pub fn fork_times(&self) -> [u64; FORKS.len()] {
        let mut time = self.time;
        FORKS.map(|_| match self.forks {
            Forks::AtGenesis => 0,
            Forks::Staggered(seconds) => {
                time += seconds;
                time
            }
        })
    }

    /// Writes op-geth's genesis, with the predeploys of a file.
    pub(super) fn write_state(&self, predeploys: &Path, path: &Path) {
        let mut alloc: Map<String, Value> =
            serde_json::from_slice(&fs::read(predeploys).unwrap()).unwrap();
        for account in alloc.values_mut() {
            let account = account.as_object_mut().unwrap();
            account.entry("balance").or_insert(json!("0x0"));
        }
        for account in [SENDER, CALLER, Signer::unauthorized().address()] {
            let balance = json!({"balance": "0xd3c21bcecceda1000000"});
            alloc.insert(account.to_string().to_lowercase(), balance);
        }
        let mut config = chain_config(CHAIN_ID);
        config["bedrockBlock"] = json!(0);
        config["optimism"] = eip1559();
        for (fork, time) in FORKS.iter().zip(self.fork_times()) {
            config[format!("{fork}Time")] = json!(time);
            for (_, l1) in L1_FORKS.iter().filter(|(ours, _)| ours == fork) {
                config[format!("{l1}Time")] = json!(time);
            }
        }
        let mut genesis = json!({
            "config": config, "alloc": alloc,
            "number": "0x0", "timestamp": hex(self.time), "nonce": "0x0", "difficulty": "0x0",
            "gasLimit": hex(GAS_LIMIT), "gasUsed": "0x0", "baseFeePerGas": "0x3b9aca00",
            "mixHash": B256::ZERO, "parentHash": B256::ZERO, "coinbase": FEE_RECIPIENT,
            "extraData": "0x",
        });
        if self.forks == Forks::AtGenesis {
            // The fee parameters that Jovian has in the header.
            genesis["extraData"] = json!("0x01000000fa000000060000000000000000");
            genesis["excessBlobGas"] = json!("0x0");
            genesis["blobGasUsed"] = json!("0x0");
        }
        write(path, &genesis);
    }

    /// Writes op-node's configuration of the rollup, whose genesis block has this hash.
    pub(super) fn write_rollup(&self, hash: B256, path: &Path) {
        // Version 1 of the scalars is for chains that begin with Ecotone. Before it the same bytes
        // are one number, with which the fee of every transaction overflows.
        let scalar = match self.forks {
            Forks::AtGenesis => format!("0x01{:046}000c5fc5000a6fe0", 0),
            Forks::Staggered(_) => format!("0x{:064x}", 684_000),
        };
        let mut rollup = json!({
            "genesis": {
                "l1": {"hash": self.origin.hash, "number": self.origin.number},
                "l2": {"hash": hash, "number": 0},
                "l2_time": self.time,
                "system_config": {
                    "batcherAddr": Signer::unauthorized().address(),
                    "overhead": B256::ZERO, "scalar": scalar, "gasLimit": GAS_LIMIT,
                    "eip1559Params": "0x0000000000000000", "operatorFeeParams": B256::ZERO,
                    "minBaseFee": 0, "daFootprintGasScalar": 0,
                },
            },
            "block_time": BLOCK_TIME,
            "max_sequencer_drift": 600, "seq_window_size": 3600, "channel_timeout": 300,
            "l1_chain_id": l1::CHAIN_ID, "l2_chain_id": CHAIN_ID,
            "batch_inbox_address": BATCH_INBOX,
            "deposit_contract_address": DEPOSIT_CONTRACT,
            "l1_system_config_address": SYSTEM_CONFIG,
            "chain_op_config": eip1559(),
        });
        for (fork, time) in FORKS.iter().zip(self.fork_times()) {
            rollup[format!("{fork}_time")] = json!(time);
        }
        write(path, &rollup);
    }
}

/// Writes what op-node has to know of an L1 that it does not know by its chain id.
pub(super) fn write_l1(path: &Path) {
    let mut config = chain_config(l1::CHAIN_ID);
    for fork in ["shanghai", "cancun", "prague", "osaka", "bpo1"] {
        config[format!("{fork}Time")] = json!(0);
    }
    let blobs = |target: u64, max: u64, fraction: u64| json!({"target": target, "max": max, "baseFeeUpdateFraction": fraction});
    config["blobSchedule"] = json!({
        "cancun": blobs(3, 6, 3_338_477), "prague": blobs(6, 9, 5_007_716),
        "osaka": blobs(6, 9, 5_007_716), "bpo1": blobs(10, 15, 8_346_193),
    });
    write(path, &config);
}

fn chain_config(chain_id: u64) -> Value {
    let mut config = json!({"chainId": chain_id, "terminalTotalDifficulty": 0});
    for fork in BLOCK_FORKS {
        config[fork] = json!(0);
    }
    config
}

fn eip1559() -> Value {
    json!({"eip1559Elasticity": 6, "eip1559Denominator": 50, "eip1559DenominatorCanyon": 250})
}

fn write(path: &Path, value: &Value) {
    fs::write(path, value.to_string()).unwrap();
}
