//! The only place where the head changes.
//!
//! A head is durable before it is visible: saved first, then published to all watchers. The number
//! never goes down; the status is independent of it and can change either way.

mod trail;

use std::sync::Arc;

use alloy_primitives::B256;
use finality_core::head::{
    EspressoPosition, EthereumPosition, HeadReport, Mode, Source, Status, hex_number,
};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    batchers::HistoryMark,
    eth::BlockId,
    store::{Identity, Record, SafeSample, Store, StoreError, StoreId},
    telemetry::Metrics,
};
use trail::Trail;

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

/// The head as watchers see it; none until there is one.
pub type PublishedHead = watch::Receiver<Option<Arc<HeadReport>>>;

/// Holds the head, saves it and publishes it.
pub struct HeadKeeper {
    store: Arc<Mutex<dyn Store>>,
    block: Option<(HeadBlock, Source)>,
    restart_height: Option<u64>,
    trail: Trail,
    batchers: Option<HistoryMark>,
    samples: Vec<SafeSample>,
    samples_saved: bool,
    identity: Option<Identity>,
    mode: Mode,
    status: Status,
    espresso: Option<EspressoPosition>,
    ethereum: Option<u64>,
    updated_at: Timestamp,
    chain_id: Option<u64>,
    generation: u64,
    store_id: StoreId,
    published: watch::Sender<Option<Arc<HeadReport>>>,
    metrics: Metrics,
}

impl std::fmt::Debug for HeadKeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeadKeeper")
            .field("block", &self.block)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl HeadKeeper {
    /// Takes the stored head as the floor, and publishes it at once, to be used once the node was
    /// asked about it. One that was imported without its chain is published when that is known.
    #[must_use]
    pub fn new(store: impl Store + 'static, metrics: Metrics) -> (Self, PublishedHead) {
        let (published, watcher) = watch::channel(None);
        let record = store.record().cloned();
        let block = record.as_ref().map(|record| {
            let Record { number, hash, l1_origin, source, .. } = *record;
            (HeadBlock { number, hash, l1_origin }, source)
        });
        let identity = record.as_ref().and_then(|record| record.identity);
        let keeper = Self {
            generation: record.as_ref().map_or(0, |record| record.generation),
            store_id: store.id(),
            store: Arc::new(Mutex::new(store)),
            block,
            restart_height: record.as_ref().and_then(|record| record.restart_height),
            trail: Trail::new(record.as_ref().and_then(|record| record.fallback_height)),
            batchers: record.as_ref().and_then(|record| record.batchers),
            samples: record.as_ref().map(|record| record.samples.clone()).unwrap_or_default(),
            samples_saved: true,
            identity,
            mode: Mode::Ethereum,
            status: if block.is_some() { Status::NodeUnchecked } else { Status::Ok },
            espresso: None,
            ethereum: None,
            updated_at: record.map_or_else(Timestamp::now, |record| record.updated_at),
            chain_id: identity.map(|identity| identity.chain_id),
            published,
            metrics,
        };
        keeper.publish();
        (keeper, watcher)
    }

    /// The head's block, once there is one.
    #[must_use]
    pub fn block(&self) -> Option<HeadBlock> {
        self.block.map(|(block, _)| block)
    }

    /// Whether the node still has the head's block.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }

    /// The published head.
    #[must_use]
    pub fn report(&self) -> Option<Arc<HeadReport>> {
        self.published.borrow().clone()
    }

    /// When number or status of the head last changed.
    #[must_use]
    pub const fn updated_at(&self) -> Timestamp {
        self.updated_at
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

    /// What op-node has said of safe blocks, as stored.
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

    /// The chain, as stored or as the node has reported it.
    #[must_use]
    pub const fn chain_id(&self) -> Option<u64> {
        self.chain_id
    }

    /// The node has reported its chain.
    ///
    /// # Errors
    /// [`StoreError::OtherChain`] when the stored head is of another chain.
    pub fn bind_chain_id(&mut self, chain_id: u64) -> Result<(), StoreError> {
        if let Some(stored) = self.identity {
            stored.check(Identity { chain_id, ..stored })?;
        }
        self.chain_id = Some(chain_id);
        self.publish();
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
        self.bind_chain_id(identity.chain_id)
    }

    /// Espresso confirmed a block above the head, or the head's own block, whose hash was not
    /// known.
    ///
    /// # Errors
    /// Those of the store; the head is then unchanged.
    pub async fn confirm(
        &mut self,
        block: HeadBlock,
        hotshot_height: u64,
        restart_height: u64,
    ) -> Result<(), StoreError> {
        self.save(block, Source::Espresso, Some(restart_height)).await?;
        self.mode = Mode::Espresso;
        self.espresso = Some(EspressoPosition { number: block.number, hotshot_height });
        self.status = Status::Ok;
        self.publish();
        Ok(())
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
        self.save(block, Source::Ethereum, restart_height).await?;
        self.status = status;
        self.publish();
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

    /// Whether the node still has the head's block.
    pub fn observe_status(&mut self, status: Status) {
        if self.status != status {
            self.status = status;
            self.updated_at = Timestamp::now();
            self.publish();
        }
    }

    /// The node's admitted `finalized`. Readings that go down are ignored.
    pub fn observe_finalized(&mut self, number: u64) {
        if self.ethereum.is_none_or(|known| known < number) {
            self.ethereum = Some(number);
            self.publish();
        }
    }

    async fn save(
        &mut self,
        block: HeadBlock,
        source: Source,
        restart_height: Option<u64>,
    ) -> Result<(), StoreError> {
        let changed = self.block.is_none_or(|(known, _)| known.number != block.number);
        let updated_at = if changed { Timestamp::now() } else { self.updated_at };
        if let Some(height) = restart_height {
            self.trail.add(block.number, height);
        }
        // What Ethereum has made the head is final, too.
        let finalized = self.ethereum.max((source == Source::Ethereum).then_some(block.number));
        let record = Record {
            generation: self.generation,
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
        self.updated_at = updated_at;
        Ok(())
    }

    fn publish(&self) {
        let (Some((block, source)), Some(chain_id)) = (self.block, self.chain_id) else { return };
        let report = HeadReport {
            number: block.number,
            hex: hex_number(block.number),
            hash: block.hash.map(|hash| hash.to_string()),
            source,
            mode: self.mode,
            status: self.status,
            espresso: self.espresso,
            ethereum: self.ethereum.map(|number| EthereumPosition { number }),
            chain_id,
            updated_at: format!("{:.3}", self.updated_at),
            generation: self.generation,
            store: Some(self.store_id.to_string()),
            confirmed: None,
        };
        self.published.send_replace(Some(Arc::new(report)));
    }
}

#[cfg(test)]
mod tests;
