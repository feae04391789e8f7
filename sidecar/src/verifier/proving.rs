//! Asks op-node what is safe, and proves by it what L1 has finalized ([`super::finality_proof`]).

use std::time::Duration;

use tokio::time::Instant;

use super::{
    FeedSource, L1Source, L1View, NodeSource, OriginVerdict, Verifier,
    admission::Refused,
    finality_proof::{Samples, covers},
};
use crate::{
    eth::BlockId,
    node::{SafeHead, SyncStatus},
    rollup::Rollup,
    store::SafeSample,
    upstream::UpstreamError,
};

/// How long samples of an unchanged head may be lost by a kill.
const SAMPLES_UNSAVED: Duration = Duration::from_secs(60);

/// What is known by op-node.
#[derive(Debug, Default)]
pub(super) struct Proving {
    samples: Samples,
    /// The highest block that L1 was seen to have decided.
    proven: Option<BlockId>,
    /// What op-node said last.
    status: Option<Result<SyncStatus, UpstreamError>>,
    /// The entry of its safe-head database at L1's final block.
    safe_head: Option<SafeHead>,
    /// When the samples were last seen saved.
    saved: Option<Instant>,
}

impl Proving {
    /// Begins with the samples of an earlier run.
    pub(super) fn new(stored: &[SafeSample]) -> Self {
        Self { samples: Samples::new(stored), ..Self::default() }
    }

    /// Drops what was concluded from a final block that turned out to be wrong.
    pub(super) fn forget_proof(&mut self) {
        self.proven = None;
    }

    /// Whether op-node says that it has finalized nothing after genesis.
    pub(super) fn nothing_is_finalized(&self, genesis: u64) -> bool {
        let finalized = self.status().ok().and_then(SyncStatus::ready_finalized_l2);
        finalized.is_some_and(|block| block.number <= genesis)
    }

    /// What op-node said last.
    pub(super) fn status(&self) -> Result<&SyncStatus, Refused> {
        match &self.status {
            Some(status) => status.as_ref().map_err(|error| error.clone().into()),
            None => Err(Refused::ConsensusNotReady),
        }
    }
}

impl<R: Rollup, N: NodeSource, L: L1Source, F: FeedSource> Verifier<R, N, L, F> {
    /// Asks op-node what is safe, and keeps what may prove something later.
    pub(super) async fn ask_op_node(&mut self, finalized: Option<BlockId>, l1: &L1View) {
        let status = self.node.sync_status().await;
        self.proving.safe_head = match l1.finalized() {
            // The database is not needed for what is proven already.
            Some(l1) if status.is_ok() && finalized.is_some_and(|block| !self.is_proven(block)) => {
                self.node.safe_head_at(l1.number).await.ok().flatten()
            }
            _ => None,
        };
        if let Ok(status) = &status {
            self.findings.node.safe = status.safe_l2.map(|safe| safe.number);
            let window = self.chain.as_ref().map_or(0, |chain| chain.config.seq_window_size);
            if let Some(sample) = SafeSample::of(status, window) {
                self.proving.samples.add(sample);
                self.keeper.set_samples(self.proving.samples.as_slice());
            }
        }
        self.proving.status = Some(status);
    }

    /// Whether a block needs no more proof.
    fn is_proven(&self, block: BlockId) -> bool {
        let proven = self.proving.proven.is_some_and(|proven| covers(proven, block));
        proven || self.options.trust_node_finalized
    }

    /// The block itself if L1 has finalized it, else the highest one below that is proven.
    pub(super) async fn prove(
        &mut self,
        block: BlockId,
        seq_window_size: u64,
        l1: &mut L1View,
    ) -> Option<BlockId> {
        if let Some(proven) = self.proving.proven
            && !self.node_has(proven).await
        {
            self.proving.proven = None;
        }
        if !self.is_proven(block) {
            self.note_safe_head(seq_window_size).await;
            self.raise_proof(l1).await;
        }
        self.findings.node.finalized_proven = self.proving.proven;
        let proven = self.proving.proven?;
        if covers(proven, block) {
            return Some(block);
        }
        (proven.number < block.number).then_some(proven)
    }

    /// Whether the samples must be saved although the head has not changed.
    pub(super) fn samples_are_due(&mut self, at_the_end: bool) -> bool {
        let saved = *self.proving.saved.get_or_insert_with(Instant::now);
        if self.keeper.samples_saved() {
            self.proving.saved = Some(Instant::now());
            return false;
        }
        at_the_end || saved.elapsed() >= SAMPLES_UNSAVED
    }

    /// Whether L1 may still prove a block by what op-node has said so far.
    pub(super) fn may_be_proven(&self, block: BlockId) -> bool {
        self.proving.samples.may_prove(block)
    }

    async fn node_has(&self, block: BlockId) -> bool {
        self.node.hash_at(block.number).await == Ok(Some(block.hash))
    }

    /// Keeps what the safe-head database says. It does not have the block's L1 origin.
    async fn note_safe_head(&mut self, seq_window_size: u64) {
        let Some(entry) = self.proving.safe_head else { return };
        let block = self.node.block(entry.safe_head.number).await.ok().flatten();
        let block = block.filter(|block| block.hash == entry.safe_head.hash);
        let Some(origin) = block.and_then(|block| self.rollup.l1_origin(&block).ok()) else {
            return;
        };
        if let Some(sample) = SafeSample::at(entry, origin, seq_window_size) {
            self.proving.samples.add(sample);
        }
    }

    /// Looks for the highest block that L1 has decided and that the node has.
    async fn raise_proof(&mut self, l1: &mut L1View) {
        let Some(finalized) = l1.finalized() else { return };
        for sample in self.proving.samples.decided(finalized.number) {
            let SafeSample { current_l1, head_l1, safe } = sample;
            if self.proving.proven.is_some_and(|proven| proven.number >= safe.number) {
                break;
            }
            let mut is_on_l1 = true;
            for block in [current_l1, head_l1] {
                if let OriginVerdict::Ask(block) = l1.judge(block) {
                    l1.learn(block, self.l1.hash_at(block.number).await);
                }
                match l1.judge(block) {
                    OriginVerdict::Valid => {}
                    OriginVerdict::Invalid => {
                        self.proving.samples.remove(&sample);
                        is_on_l1 = false;
                    }
                    _ => is_on_l1 = false,
                }
            }
            if is_on_l1 && self.node_has(safe).await {
                self.proving.proven = Some(safe);
                self.proving.samples.keep_from(&sample);
            }
        }
        self.keeper.set_samples(self.proving.samples.as_slice());
    }
}
