//! The head as watchers see it.

use std::sync::Arc;

use finality_core::head::{
    BlockProof, EspressoPosition, EthereumPosition, HeadReport, Mode, ProvenPosition, Source,
    Status, hex_number,
};
use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::HeadBlock;

/// The head as watchers see it; none until there is one.
pub type PublishedHead = watch::Receiver<Option<Arc<HeadReport>>>;

/// Everything that a report is made of.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) block: Option<(HeadBlock, Source)>,
    pub(super) generation: u64,
    /// The id of the store that keeps the head.
    pub(super) store: Option<String>,
    pub(super) mode: Mode,
    /// What the node says about the block.
    pub(super) status: Status,
    /// Whether it is unknown what other replicas publish.
    pub(super) cut_off: bool,
    /// Whether HotShot does not have what was verified, as the light client has it.
    pub(super) unproven: bool,
    /// How much of HotShot is proven.
    pub(super) proven: Option<ProvenPosition>,
    /// What is proven of blocks.
    pub(super) block_proof: Option<BlockProof>,
    pub(super) espresso: Option<EspressoPosition>,
    pub(super) ethereum: Option<u64>,
    pub(super) updated_at: Timestamp,
    pub(super) chain_id: Option<u64>,
}

/// The head, and who watches it. A head without its chain is not shown.
#[derive(Debug)]
pub(super) struct View {
    shown: Mutex<Shown>,
    published: watch::Sender<Option<Arc<HeadReport>>>,
}

impl View {
    pub(super) fn new(shown: Shown) -> (Arc<Self>, PublishedHead) {
        let (published, watcher) = watch::channel(None);
        let view = Self { shown: Mutex::new(shown), published };
        view.change(|_| {});
        (Arc::new(view), watcher)
    }

    pub(super) fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock()
    }

    /// The published head.
    pub(super) fn report(&self) -> Option<Arc<HeadReport>> {
        self.published.borrow().clone()
    }

    /// Changes what is shown, and publishes it.
    pub(super) fn change(&self, change: impl FnOnce(&mut Shown)) {
        let mut shown = self.shown.lock();
        change(&mut shown);
        if let Some(report) = shown.report() {
            // Under the lock: reports are published in the order of their changes.
            self.published.send_replace(Some(Arc::new(report)));
        }
    }

    /// The node has been asked about the head, if it is still this one.
    pub(super) fn observe_status(&self, of: Option<HeadBlock>, status: Status) {
        let unchanged = {
            let shown = self.shown.lock();
            shown.status == status || shown.block.map(|(block, _)| block) != of
        };
        if !unchanged {
            self.change(|shown| {
                if shown.block.map(|(block, _)| block) == of {
                    shown.status = status;
                    shown.updated_at = Timestamp::now();
                }
            });
        }
    }
}

impl Shown {
    fn report(&self) -> Option<HeadReport> {
        let ((block, source), chain_id) = self.block.zip(self.chain_id)?;
        Some(HeadReport {
            number: block.number,
            hex: hex_number(block.number),
            hash: block.hash.map(|hash| hash.to_string()),
            source,
            mode: self.mode,
            status: match (self.cut_off, self.unproven) {
                (true, _) => Status::CutOff,
                (false, true) => Status::Unproven,
                (false, false) => self.status,
            },
            espresso: self.espresso,
            ethereum: self.ethereum.map(|number| EthereumPosition { number }),
            chain_id,
            updated_at: format!("{:.3}", self.updated_at),
            generation: self.generation,
            store: self.store.clone(),
            confirmed: None,
            proven: self.proven.clone(),
            block: self.block_proof.clone(),
        })
    }
}
