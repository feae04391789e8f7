//! The only place where the head changes.
//!
//! A head is durable before it is visible: saved first, then published to all watchers. The number
//! never goes down; the status is independent of it and can change either way.

mod replica;
mod trail;
mod verified;
mod view;

use std::sync::Arc;

use alloy_primitives::B256;
use finality_core::head::{
    BlockProof, EspressoPosition, HeadReport, Mode, ProvenPosition, Source, Status,
};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    batchers::HistoryMark,
    eth::BlockId,
    store::{Audit, HeaderMark, Identity, Record, SafeSample, Store, StoreError},
    telemetry::Metrics,
};
use trail::Trail;
use verified::{Path, Verified};
use view::{Shown, View};

pub use replica::{
    Blocks, ClusterReport, ClusterState, Confirmations, Connect, Limits, Replica, ReplicaReport,
    Reset,
};
pub use view::PublishedHead;

/// A confirmed L2 block, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadBlock {
    /// Block number.
    pub number: u64,
    /// Block hash; unknown in an imported state.
    pub hash: Option<B256>,
    /// The L1 block that it is built on; unknown like the hash.
    pub l1_origin: Option<BlockId>,
}

/// Holds the verified block, saves it, and makes it the head or proposes it to the other replicas.
pub struct HeadKeeper {
    store: Arc<Mutex<dyn Store>>,
    block: Option<(HeadBlock, Source)>,
    restart_height: Option<u64>,
    trail: Trail,
    batchers: Option<HistoryMark>,
    samples: Vec<SafeSample>,
    samples_saved: bool,
    audit: Audit,
    /// The setting, to be shown.
    proofs: Option<&'static str>,
    identity: Option<Identity>,
    generation: u64,
    saved_at: Timestamp,
    path: Path,
    view: Arc<View>,
    /// To the task that publishes with the other replicas; without one, what is verified is the
    /// head.
    proposals: Option<watch::Sender<Verified>>,
    cluster: Option<Arc<replica::Shared>>,
    metrics: Metrics,
}

impl std::fmt::Debug for HeadKeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeadKeeper").field("block", &self.block).finish_non_exhaustive()
    }
}

impl HeadKeeper {
    /// Takes the stored head as the floor, and publishes it at once, to be used once the node was
    /// asked about it. One that was imported without its chain is published when that is known.
    #[must_use]
    pub fn new(store: impl Store + 'static, metrics: Metrics) -> (Self, PublishedHead) {
        let record = store.record().cloned();
        let block = record.as_ref().map(|record| {
            let Record { number, hash, l1_origin, source, .. } = *record;
            (HeadBlock { number, hash, l1_origin }, source)
        });
        let identity = record.as_ref().and_then(|record| record.identity);
        let generation = record.as_ref().map_or(0, |record| record.generation);
        let saved_at = record.as_ref().map_or_else(Timestamp::now, |record| record.updated_at);
        let (view, watcher) = View::new(Shown {
            block,
            generation,
            store: Some(store.id().to_string()),
            mode: Mode::Ethereum,
            status: if block.is_some() { Status::NodeUnchecked } else { Status::Ok },
            cut_off: false,
            unproven: record.as_ref().is_some_and(|record| record.audit.unproven),
            proven: None,
            block_proof: record.as_ref().and_then(|record| record.audit.block.clone()),
            espresso: None,
            ethereum: None,
            updated_at: saved_at,
            chain_id: identity.map(|identity| identity.chain_id),
        });
        let path = Path::default();
        if let Some((block, _)) = block {
            path.begin(block);
        }
        let keeper = Self {
            store: Arc::new(Mutex::new(store)),
            block,
            restart_height: record.as_ref().and_then(|record| record.restart_height),
            trail: Trail::new(record.as_ref().and_then(|record| record.fallback_height)),
            batchers: record.as_ref().and_then(|record| record.batchers),
            samples: record.as_ref().map(|record| record.samples.clone()).unwrap_or_default(),
            samples_saved: true,
            audit: record.map(|record| record.audit).unwrap_or_default(),
            proofs: None,
            identity,
            generation,
            saved_at,
            path,
            view,
            proposals: None,
            cluster: None,
            metrics,
        };
        (keeper, watcher)
    }

    /// The newest verified block, once there is one.
    #[must_use]
    pub fn block(&self) -> Option<HeadBlock> {
        self.block.map(|(block, _)| block)
    }

    /// The head's block, once there is one: what all replicas publish, or what is verified.
    #[must_use]
    pub fn head(&self) -> Option<HeadBlock> {
        self.view.shown().block.map(|(block, _)| block)
    }

    /// Whether the head is what this replica has verified, as it always is without others.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.head() == self.block()
    }

    /// What has confirmed the newest verified block.
    #[must_use]
    pub fn source(&self) -> Option<Source> {
        self.block.map(|(_, source)| source)
    }

    /// Whether the node still has the head's block.
    #[must_use]
    pub fn status(&self) -> Status {
        self.view.shown().status
    }

    /// The published head.
    #[must_use]
    pub fn report(&self) -> Option<Arc<HeadReport>> {
        self.view.report()
    }

    /// When number or status of the head last changed.
    #[must_use]
    pub fn updated_at(&self) -> Timestamp {
        self.view.shown().updated_at
    }

    /// Why saving will fail, if that is known from the start.
    #[must_use]
    pub fn store_problem(&self) -> Option<String> {
        self.store.lock().problem().map(ToString::to_string)
    }

    /// The chain of the stored head, or of the one that was bound.
    #[must_use]
    pub const fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Where reading HotShot resumes after a restart, as stored.
    #[must_use]
    pub const fn restart_height(&self) -> Option<u64> {
        self.restart_height
    }

    /// By which history of batchers batches were dropped before the restart position, as stored or
    /// to be stored.
    #[must_use]
    pub const fn batchers(&self) -> Option<HistoryMark> {
        self.batchers
    }

    /// Saves this with the next head: what follows the restart position is read by that history.
    pub const fn know_batchers(&mut self, mark: Option<HistoryMark>) {
        self.batchers = mark;
    }

    /// What may prove finality later, as stored.
    #[must_use]
    pub fn samples(&self) -> &[SafeSample] {
        &self.samples
    }

    /// The samples to store with the next save.
    pub fn set_samples(&mut self, samples: &[SafeSample]) {
        if self.samples != samples {
            self.samples = samples.to_vec();
            self.samples_saved = false;
        }
    }

    /// Whether the samples are stored.
    #[must_use]
    pub const fn samples_saved(&self) -> bool {
        self.samples_saved
    }

    /// How far what moved the head was compared with the light client, as stored or to be stored.
    #[must_use]
    pub const fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Stores with the next save how far it was compared.
    pub fn set_audited(&mut self, audited: Option<u64>, owed: Vec<HeaderMark>) {
        let is_news = self.audit.audited != audited;
        (self.audit.audited, self.audit.owed) = (audited, owed);
        if is_news {
            self.show_proven();
        }
    }

    /// The head is not, or is again, in HotShot as the light client has it. Saved at once.
    ///
    /// # Errors
    /// Those of the store. It is published all the same: tags are refused meanwhile.
    pub async fn set_unproven(&mut self, unproven: bool) -> Result<(), StoreError> {
        if self.audit.unproven != unproven {
            self.audit.unproven = unproven;
            self.view.change(|shown| {
                (shown.unproven, shown.updated_at) = (unproven, Timestamp::now());
            });
        }
        self.checkpoint(self.restart_height).await
    }

    /// Shows how much is proven of HotShot.
    pub fn show_proofs(&mut self, proofs: &'static str) {
        self.proofs = Some(proofs);
        self.show_proven();
    }

    fn show_proven(&self) {
        let hotshot_height = self.audit.audited;
        let proven = self.proofs.map(|mode| ProvenPosition { mode: mode.into(), hotshot_height });
        self.view.change(|shown| shown.proven = proven);
    }

    /// The chain, as stored or as the node has reported it.
    #[must_use]
    pub fn chain_id(&self) -> Option<u64> {
        self.view.shown().chain_id
    }

    /// The node has reported its chain.
    ///
    /// # Errors
    /// [`StoreError::OtherChain`] when the stored head is of another chain.
    pub fn bind_chain_id(&mut self, chain_id: u64) -> Result<(), StoreError> {
        if let Some(stored) = self.identity {
            stored.check(Identity { chain_id, ..stored })?;
        }
        self.view.change(|shown| shown.chain_id = Some(chain_id));
        Ok(())
    }

    /// The whole identity is known.
    ///
    /// # Errors
    /// [`StoreError::OtherChain`] when the stored head is of another chain.
    pub fn bind(&mut self, identity: Identity) -> Result<(), StoreError> {
        if let Some(stored) = self.identity {
            stored.check(identity)?;
        }
        self.identity = Some(identity);
        self.propose(|verified| verified.identity = Some(identity));
        self.bind_chain_id(identity.chain_id)
    }

    /// Espresso confirmed a block above the head, or the head's own block, whose hash was not
    /// known; this is proven of it.
    ///
    /// # Errors
    /// Those of the store; the head is then unchanged.
    pub async fn confirm(
        &mut self,
        block: HeadBlock,
        hotshot_height: u64,
        restart_height: u64,
        proof: Option<BlockProof>,
    ) -> Result<(), StoreError> {
        let before = (
            self.audit.head_height.replace(hotshot_height),
            std::mem::replace(&mut self.audit.block, proof.clone()),
        );
        let saved = self.save(block, Source::Espresso, Some(restart_height)).await;
        if saved.is_err() {
            (self.audit.head_height, self.audit.block) = before;
        }
        saved?;
        let position = EspressoPosition { number: block.number, hotshot_height };
        self.publish(block, Source::Espresso, Status::Ok, |shown| {
            shown.mode = Mode::Espresso;
            shown.espresso = Some(position);
            shown.block_proof = proof;
        });
        Ok(())
    }

    /// The node's block at this number equals the batch that follows the block before it.
    pub fn walked(&self, number: u64, hash: B256) {
        self.path.step(number, hash);
    }

    /// Ethereum finalized a block at or above the head: the head becomes that block, with a status.
    ///
    /// # Errors
    /// Those of the store; the head is then unchanged.
    pub async fn finalize(
        &mut self,
        block: HeadBlock,
        restart_height: Option<u64>,
        status: Status,
    ) -> Result<(), StoreError> {
        let decided = Audit { audited: self.audit.audited, ..Audit::default() };
        let before = std::mem::replace(&mut self.audit, decided);
        let saved = self.save(block, Source::Ethereum, restart_height).await;
        if saved.is_err() {
            self.audit = before;
        }
        saved?;
        self.publish(block, Source::Ethereum, status, |shown| shown.unproven = false);
        Ok(())
    }

    /// Saves a later restart position, and the samples, with an unchanged head.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn checkpoint(&mut self, restart_height: Option<u64>) -> Result<(), StoreError> {
        match self.block {
            Some((block, source)) => self.save(block, source, restart_height).await,
            None => Ok(()),
        }
    }

    /// Whether the node still has that block, if it is the head.
    pub fn observe_status(&mut self, head: Option<HeadBlock>, status: Status) {
        if matches!(status, Status::NodeBehind | Status::Diverged) {
            self.path.forget_seen();
        }
        self.view.observe_status(head, status);
    }

    /// The node's admitted `finalized`. Readings that go down are ignored.
    pub fn observe_finalized(&mut self, block: HeadBlock) {
        let is_news = self.view.shown().ethereum.is_none_or(|known| known < block.number);
        if is_news {
            self.view.change(|shown| shown.ethereum = Some(block.number));
            self.propose(|verified| verified.finalized = Some(block));
        }
    }

    fn propose(&self, change: impl FnOnce(&mut Verified)) {
        if let Some(proposals) = &self.proposals {
            proposals.send_modify(change);
        }
    }

    /// Makes a saved block the head, or proposes it.
    fn publish(
        &self,
        block: HeadBlock,
        source: Source,
        status: Status,
        more: impl FnOnce(&mut Shown),
    ) {
        self.path.arrive(block);
        self.view.change(|shown| {
            more(shown);
            if self.proposals.is_none() {
                if shown.block.is_none_or(|(known, _)| known.number != block.number) {
                    shown.updated_at = self.saved_at;
                }
                (shown.block, shown.status) = (Some((block, source)), status);
            }
        });
        self.propose(|verified| verified.block = Some((block, source)));
    }

    async fn save(
        &mut self,
        block: HeadBlock,
        source: Source,
        restart_height: Option<u64>,
    ) -> Result<(), StoreError> {
        let changed = self.block.is_none_or(|(known, _)| known.number != block.number);
        let updated_at = if changed { Timestamp::now() } else { self.saved_at };
        if let Some(height) = restart_height {
            self.trail.add(block.number, height);
        }
        // What Ethereum has made the head is final, too.
        let ethereum = self.view.shown().ethereum;
        let finalized = ethereum.max((source == Source::Ethereum).then_some(block.number));
        let record = Record {
            generation: self.generation,
            moment: None,
            number: block.number,
            hash: block.hash,
            l1_origin: block.l1_origin,
            source,
            restart_height,
            fallback_height: self.trail.height_below(finalized),
            batchers: self.batchers,
            identity: self.identity,
            updated_at,
            samples: self.samples.clone(),
            audit: self.audit.clone(),
        };
        let store = Arc::clone(&self.store);
        let saving = tokio::task::spawn_blocking(move || store.lock().save(record));
        let result = match saving.await {
            Ok(result) => result,
            // The runtime is going down, or the store panicked: nothing may become visible.
            Err(error) => Err(StoreError::Interrupted(error.to_string())),
        };
        self.metrics.store_write(result.is_ok());
        if let Err(StoreError::Regression { .. }) = &result {
            self.metrics.refused_regression();
        }
        result?;
        self.block = Some((block, source));
        self.restart_height = restart_height;
        self.samples_saved = true;
        self.saved_at = updated_at;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
