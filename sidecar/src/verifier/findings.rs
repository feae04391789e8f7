//! What the verifier finds, for status and metrics.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use alloy_primitives::{Address, B256};
use finality_core::head::{self, HeadReport};
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;

use super::{CatchUp, Stall};
use crate::{batchers::BatcherTenure, eth::BlockId, head::ClusterReport, rollup::Proven};

/// Positions and findings of the verifier, as of one moment: the end of a round, or the publication
/// of a head in the middle of one.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Findings {
    /// The published head.
    #[serde(skip)]
    pub head: Option<Arc<HeadReport>>,
    /// Why that head does not advance.
    #[serde(skip)]
    pub stall: Stall,
    /// Since when rounds have ended with the code of that reason.
    #[serde(skip)]
    pub since: Timestamp,
    /// The next L2 block to be confirmed.
    pub next: Option<u64>,
    /// The L2 chain and where it comes from.
    pub chain: Option<Chain>,
    /// HotShot positions.
    pub hotshot: HotShot,
    /// What is proven of HotShot.
    pub proofs: ProofFindings,
    /// What is proven of the head's block, and of those before it.
    pub block: BlockProof,
    /// The authorized batchers.
    pub batchers: BatcherFindings,
    /// Batches kept until their number is confirmed.
    pub candidates: CandidateFindings,
    /// The full node.
    pub node: NodeFindings,
    /// L1's newest final block.
    pub l1_finalized: Option<BlockId>,
    /// How far the head is behind the node's latest block.
    pub lag: Option<Lag>,
    /// The last time that the node's block was not the one HotShot confirmed.
    pub last_mismatch: Option<Mismatch>,
    /// The last time that Ethereum finalized another block than the confirmed one.
    pub last_contradiction: Option<Contradiction>,
    /// The engine that all replicas publish in; null for one that publishes alone.
    pub cluster: Option<ClusterReport>,
    /// The last failure to save the head.
    pub last_store_error: Option<String>,
    /// When the verifier ended its last round.
    pub last_round: Option<Timestamp>,
    /// How many rounds it has ended.
    pub rounds: u64,
}

/// The L2 chain.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Chain {
    /// L2 chain id.
    pub chain_id: u64,
    /// L1 chain id.
    pub l1_chain_id: u64,
    /// Hash of the L2 genesis block.
    pub genesis_hash: B256,
    /// Espresso namespace.
    pub namespace: u32,
    /// Seconds between two L2 blocks; null if they are not regular.
    pub block_time: Option<u64>,
}

/// A HotShot block by its header.
#[derive(Debug, Clone, Serialize)]
pub struct NewestBlock {
    /// HotShot height.
    pub height: u64,
    /// Block time, seconds since the epoch.
    pub timestamp: u64,
    /// The block's commitment, recomputed from the header, by which explorers find it; none for
    /// unknown versions.
    pub commitment: Option<String>,
}

/// HotShot positions.
#[derive(Debug, Clone, Default, Serialize)]
pub struct HotShot {
    /// The number of HotShot blocks that the query service has.
    pub height: Option<u64>,
    /// The next height to read.
    pub cursor: Option<u64>,
    /// Where reading resumes after a restart.
    pub restart_height: Option<u64>,
    /// HotShot's newest block whose header could be read.
    pub newest_block: Option<NewestBlock>,
    /// The progress of a long catch-up; null if there is none.
    pub catch_up: Option<CatchUp>,
}

/// What is proven of HotShot, and up to which height.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ProofFindings {
    /// The setting `hotshot_proofs`.
    pub mode: &'static str,
    /// The HotShot height below which everything that moved the head is under the light client's
    /// root.
    pub audited: Option<u64>,
    /// The HotShot height of the head's batch; none if Ethereum made it the head.
    pub head: Option<u64>,
    /// The HotShot height up to which the light client on L1 is known.
    pub light_client: Option<u64>,
    /// The final L1 block in whose state it was read.
    pub read_at: Option<BlockId>,
    /// The HotShot height at which the light client contradicts what was read.
    pub contradicted: Option<u64>,
    /// Why nothing is compared with the light client.
    pub problem: Option<String>,
}

/// What is proven of blocks by what HotShot has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct BlockProof {
    /// Of the block that HotShot confirmed last: `hash` or `inputs`; null before the first one.
    pub proven: Option<&'static str>,
    /// The lowest HotShot height since which it is `hash` throughout, as far as is known.
    pub hash_since: Option<u64>,
}

impl BlockProof {
    /// What was stored.
    pub(super) fn stored(proof: Option<&head::BlockProof>) -> Self {
        let known = proof.and_then(|proof| {
            let all: [&'static str; 2] = [Proven::Hash.into(), Proven::Inputs.into()];
            let proven = all.into_iter().find(|proven| *proven == proof.proven)?;
            Some(Self { proven: Some(proven), hash_since: proof.hash_since })
        });
        known.unwrap_or_default()
    }

    /// As `/v1/head` shows it.
    pub(super) fn shown(self) -> Option<head::BlockProof> {
        let hash_since = self.hash_since;
        self.proven.map(|proven| head::BlockProof { proven: proven.into(), hash_since })
    }

    /// A block was confirmed by a batch at a HotShot height.
    pub(super) fn extend(&mut self, proven: Proven, height: u64) {
        self.proven = Some(proven.into());
        self.hash_since = match proven {
            Proven::Hash => Some(self.hash_since.map_or(height, |since| since.min(height))),
            Proven::Inputs => None,
        };
    }
}

/// The authorized batchers.
#[derive(Debug, Clone, Default, Serialize)]
pub struct BatcherFindings {
    /// The contract; none if `batcher_addresses` is set.
    pub contract: Option<Address>,
    /// The batchers, and the L1 origins for which each is authorized.
    #[serde(rename = "terms")]
    pub tenures: Vec<BatcherTenure>,
    /// The final L1 block at which the contract was read.
    pub read_at: Option<BlockId>,
    /// False while the fallback batcher is active and HotShot carries no batches.
    pub active_is_espresso: Option<bool>,
    /// Why the last reading failed.
    pub error: Option<String>,
}

/// Batches kept until their number is confirmed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CandidateFindings {
    /// How many.
    pub count: usize,
    /// Their memory, in bytes.
    pub bytes: usize,
    /// The lowest height from which something was dropped because the budget was full.
    pub reread_from: Option<u64>,
}

/// The full node.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NodeFindings {
    /// Its latest block.
    pub latest: Option<u64>,
    /// Its last reading of `finalized`.
    pub finalized: Option<BlockId>,
    /// Why that reading is not admitted.
    pub finalized_refused: Option<String>,
    /// The highest block that L1 was seen to have finalized.
    pub finalized_proven: Option<BlockId>,
    /// Whether its `finalized` is trusted without such a proof.
    pub finalized_trusted: bool,
    /// The newest block that is derived from L1.
    pub safe: Option<u64>,
}

/// How far the head is behind the node's latest block.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Lag {
    /// In blocks; zero if the node is behind.
    pub blocks: u64,
    /// In seconds of block time; null where blocks are not regular.
    pub seconds: Option<u64>,
}

/// A block of the node that is not what HotShot confirmed.
#[derive(Debug, Clone, Serialize)]
pub struct Mismatch {
    /// L2 block number.
    pub number: u64,
    /// Hash of the batch's block; null if the batch does not say it.
    pub batch_hash: Option<B256>,
    /// Hash of the node's block.
    pub node_hash: B256,
    /// HotShot height of the batch.
    pub hotshot_height: u64,
    /// Index of the batch among the namespace's transactions there.
    pub hotshot_index: usize,
    /// Index of the batch in that transaction, which may hold several.
    pub hotshot_part: usize,
    /// Commitment of the transaction with the batch, to look it up by; null until it has been read
    /// again.
    pub transaction: Option<String>,
    /// The first difference.
    pub difference: String,
    /// When it was first seen.
    pub since: Timestamp,
}

/// Ethereum finalized another block than the confirmed one.
#[derive(Debug, Clone, Serialize)]
pub struct Contradiction {
    /// Number of the head at that time.
    pub number: u64,
    /// The confirmed hash.
    pub verified_hash: B256,
    /// The node's hash there.
    pub node_hash: B256,
    /// The finalized block that the head became.
    pub finalized: BlockId,
    /// When.
    pub at: Timestamp,
}

/// Where the verifier publishes its findings, snapshot by snapshot.
#[derive(Debug)]
pub struct Board {
    shown: watch::Sender<Arc<Findings>>,
    alive: AtomicBool,
}

impl Default for Board {
    fn default() -> Self {
        Self { shown: watch::Sender::default(), alive: AtomicBool::new(true) }
    }
}

impl Board {
    /// The newest snapshot.
    #[must_use]
    pub fn findings(&self) -> Arc<Findings> {
        self.shown.borrow().clone()
    }

    /// Sees a change whenever the head or the code of its state changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Findings>> {
        self.shown.subscribe()
    }

    /// Whether the verifier is still running.
    #[must_use]
    pub fn verifier_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    pub(super) fn show(&self, findings: Findings) {
        self.shown.send_if_modified(|shown| {
            let before = std::mem::replace(shown, Arc::new(findings));
            before.head != shown.head || before.stall.code() != shown.stall.code()
        });
    }

    pub(super) fn verifier_ended(&self) {
        self.alive.store(false, Ordering::Relaxed);
    }
}
