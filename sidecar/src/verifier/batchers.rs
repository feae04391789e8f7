//! The authorized batchers. Known before the namespace is read; read again with each final L1
//! block.

use std::sync::Arc;

use alloy_primitives::Address;

use super::{
    Candidates, ChainFacts, FeedSource, L1Source, NodeSource, Stall, Verifier,
    findings::BatcherFindings,
};
use crate::{
    batchers::{Authority, BatcherSource, BatcherTenure, HistoryMark},
    eth::BlockId,
    head::HeadBlock,
    l1::{State, View},
    rollup::{Facts as _, Rollup},
};

/// Why no contract can be read.
pub const NO_AUTHENTICATOR: &str = "the rollup's configuration names no BatchAuthenticator: set batcher_addresses or batch_authenticator_address";

/// What is known about the batchers.
#[derive(Debug, Default)]
pub(super) struct Batchers {
    /// As of the last final L1 block at which it could be read.
    authority: Option<Arc<Authority>>,
    /// That block; none for a fixed list.
    read_at: Option<BlockId>,
    /// The L1 block since which the newest batcher is authorized, final or not.
    newest: u64,
    /// Of the history by which batches were dropped as unauthorized, before a restart too.
    mark: Option<HistoryMark>,
    /// Why batches may have been skipped or dropped that count by what is known now, if any may.
    passed_over: Option<&'static str>,
    /// Whether the contract says that the Espresso batcher is active.
    active_is_espresso: Option<bool>,
}

impl Batchers {
    /// Batches were dropped by the history with this mark.
    pub(super) fn marked(mark: Option<HistoryMark>) -> Self {
        Self { mark, ..Self::default() }
    }

    /// Forgets what the contract said at a block that turned out not to be final.
    pub(super) fn forget_reading(&mut self) {
        if self.read_at.take().is_some() {
            self.authority = None;
        }
    }

    /// Whether batches for the blocks above `tip` may have been skipped or dropped before a
    /// restart: they were if their batcher was not known then, or if the history was another one.
    pub(super) fn may_have_skipped(&self, tip: &HeadBlock) -> bool {
        let newer = tip.l1_origin.is_some_and(|origin| self.newest > origin.number);
        self.passed_over.is_some() || newer
    }

    /// Reading starts where nothing is skipped.
    pub(super) fn nothing_skipped(&mut self) {
        self.passed_over = None;
    }

    /// Batches were dropped that may count now.
    pub(super) fn may_skip(&mut self, reason: &'static str) {
        self.passed_over = Some(reason);
    }

    fn known(&mut self, tenures: &[BatcherTenure]) {
        let newest = tenures.iter().map(|tenure| tenure.from).max();
        self.newest = self.newest.max(newest.unwrap_or(0));
    }
}

impl<R: Rollup, N: NodeSource<R::Block>, L: L1Source, F: FeedSource> Verifier<R, N, L, F> {
    /// Learns the authorized batchers, if L1 has a new final block, and passes them to `l1`. Fails
    /// only while none is known at all.
    pub(super) async fn refresh_batchers(
        &mut self,
        chain: &ChainFacts,
        l1: &mut View,
    ) -> Result<(), Stall> {
        if self.batchers.authority.is_none() {
            self.rollup.batchers().judge_by(None);
        }
        if self.batchers_unread(l1) && self.pace.contract_is_due() {
            let source = self.options.batchers.clone();
            let read = match source {
                BatcherSource::Fixed(tenures) => {
                    self.add_batchers(&tenures);
                    self.judge_by(Authority::fixed(tenures.clone()));
                    self.findings.batchers = BatcherFindings { tenures, ..Default::default() };
                    Ok(())
                }
                BatcherSource::Contract(address) => match address.or(chain.chain.authenticator) {
                    Some(contract) => self.read_contract(contract, l1).await,
                    None => Err(NO_AUTHENTICATOR.into()),
                },
            };
            // Without a final block it was not asked.
            self.pace.contract_read(read.is_ok() || l1.finalized().is_none());
            self.findings.batchers.error = read.err();
        }
        match (&self.batchers.authority, &self.findings.batchers.error) {
            (Some(authority), _) => l1.know_authority(Arc::clone(authority)),
            (None, Some(error)) => return Err(Stall::BatchersUnknown(error.clone())),
            (None, None) => {}
        }
        Ok(())
    }

    /// Whether there is something to read: once for a fixed list, otherwise once per final L1
    /// block.
    fn batchers_unread(&self, l1: &View) -> bool {
        match (&self.batchers.authority, &self.options.batchers) {
            (Some(_), BatcherSource::Fixed(_)) => false,
            (Some(_), BatcherSource::Contract(_)) => {
                l1.finalized().is_some() && self.batchers.read_at != l1.finalized()
            }
            (None, _) => true,
        }
    }

    /// Reads the contract at L1's final block, and at its latest one for batchers whose first
    /// batches may already be on HotShot.
    async fn read_contract(&mut self, contract: Address, l1: &View) -> Result<(), String> {
        let finalized = l1.finalized().ok_or("L1's final block is not known")?;
        let history = self.l1.batchers(contract, State::Of(finalized)).await;
        let history = history.map_err(|error| {
            format!("{error} (L1 block {}, contract {contract})", finalized.number)
        })?;
        self.add_batchers(&history.tenures);
        // Without it, new batchers are learned once they are final.
        if let Ok(latest) = self.l1.batchers(contract, State::Latest).await {
            self.add_batchers(&latest.tenures);
        }
        self.judge_by(Authority::as_of(history.tenures.clone(), finalized.number));
        self.batchers.read_at = Some(finalized);
        self.batchers.active_is_espresso = history.active_is_espresso;
        self.findings.batchers = BatcherFindings {
            contract: Some(contract),
            tenures: history.tenures,
            read_at: Some(finalized),
            active_is_espresso: history.active_is_espresso,
            error: None,
        };
        Ok(())
    }

    /// Accepts signatures of these batchers from now on.
    fn add_batchers(&mut self, tenures: &[BatcherTenure]) {
        self.batchers.known(tenures);
        if self.rollup.batchers().extend(tenures.iter().map(|tenure| tenure.batcher)) {
            let tenures: Vec<String> = tenures.iter().map(ToString::to_string).collect();
            tracing::info!(tenures = tenures.join(", "), "batchers");
            if self.feed.is_some() {
                self.batchers.may_skip("keys");
            }
        }
    }

    /// Drops batches as unauthorized by this history from now on, those that are kept included. If
    /// it contradicts the one by which others were dropped, those are missing.
    fn judge_by(&mut self, authority: Authority) {
        if let Some(mark) = self.batchers.mark {
            if !authority.agrees_with(mark) {
                tracing::warn!("the history of the batchers is not the one read before");
                self.batchers.may_skip("keys");
            } else if self.feed.is_none() && self.batchers.newest > mark.up_to {
                // Its first batches may have been read before the restart.
                self.batchers.may_skip("keys");
            }
        }
        self.batchers.mark = Some(authority.mark());
        let authority = Arc::new(authority);
        let known = self.rollup.batchers();
        known.judge_by(Some(Arc::clone(&authority)));
        self.candidates.retain(|batch| !known.rules_out(batch.signer, batch.facts.l1_block()));
        self.batchers.authority = Some(authority);
    }

    /// Goes back to where the batches above `tip` start if some may have been skipped: those of a
    /// batcher that is new, those that another history rejected, or those that could not follow a
    /// head which Ethereum has replaced.
    pub(super) async fn rewind_to_what_was_skipped(
        &mut self,
        tip: &HeadBlock,
    ) -> Result<(), Stall> {
        let Some(reason) = self.batchers.passed_over else {
            self.keeper.know_batchers(self.batchers.mark);
            return Ok(());
        };
        let Some(cursor) = self.feed.as_ref().map(super::Feed::cursor) else { return Ok(()) };
        let restart = self.candidates.restart_height(tip.number, cursor);
        let height = self.lower_start(restart, tip).await?;
        tracing::info!(height, reason, "batches may have been skipped: reading HotShot again");
        self.metrics.reset(reason);
        // Candidates may come after what was skipped.
        self.candidates = Candidates::new(self.options.budget);
        self.go_back(height);
        self.batchers.nothing_skipped();
        self.keeper.know_batchers(self.batchers.mark);
        Ok(())
    }

    /// Whether the contract says that the fallback batcher is active.
    pub(super) fn is_on_fallback(&self) -> bool {
        self.batchers.active_is_espresso == Some(false)
    }
}
