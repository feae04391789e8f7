//! What Ethereum has decided.

use std::time::Duration;

use finality_core::head::Status;
use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    ChainFacts, FeedSource, L1Source, NodeSource, Stall, Stop, Verifier,
    findings::{BlockProof, Contradiction},
};
use crate::{
    eth::BlockId,
    head::HeadBlock,
    l1::{Reading, View},
    rollup::{Finality as _, Refused, Rollup},
    store::StoreError,
    upstream::UpstreamError,
};

/// How long what may prove finality later may be lost by a kill, while the head does not change.
const SAMPLES_UNSAVED: Duration = Duration::from_secs(60);

/// The last reading of the node's `finalized`, and the verdict on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FinalityReading {
    /// The block; none if the node has none.
    pub(super) block: Option<BlockId>,
    /// That block if it is admitted, else the highest one below that is.
    admitted: Option<HeadBlock>,
    /// Why the block itself is not admitted.
    refused: Option<Refused>,
}

impl<R: Rollup, N: NodeSource<R::Block>, L: L1Source, F: FeedSource> Verifier<R, N, L, F> {
    /// Reads L1 if that is due. What was concluded from a final block that turned out to be wrong
    /// is dropped with it.
    pub(super) async fn refresh_l1(&mut self, chain: &ChainFacts, view: &mut View) {
        if view.is_unanswered() {
            self.pace.l1_unanswered();
        }
        view.begin_round();
        if !self.pace.l1_is_due() {
            return;
        }
        let before = view.finalized();
        let reading = self.l1.read(chain.l1_chain_id).await;
        let is_certain = reading.as_ref().is_ok_and(|reading| !reading.unconfirmed);
        self.pace.l1_read(!is_certain);
        if let Ok(Reading { epoch, .. }) = reading
            && self.l1_epoch != epoch
        {
            self.l1_epoch = epoch;
            view.forget();
            self.finality = None;
            self.ethereum.forget();
            self.forget_imported_anchor();
            self.batchers.forget_reading();
        }
        view.renew(reading.map(|reading| reading.finalized));
        if view.finalized() != before {
            self.pace.finality_at_once();
        }
        if let Some(block) = view.finalized() {
            self.metrics.l1_finalized(block.number);
            self.findings.l1_finalized = Some(block);
        }
    }

    /// Reads the node's `finalized` if that is due, and moves the head there if it is admitted and
    /// at or above the head. Returns whether the head is another block now.
    pub(super) async fn apply_finality(
        &mut self,
        chain: &ChainFacts,
        l1: &mut View,
    ) -> Result<bool, Stop> {
        if !self.pace.finality_is_due() {
            return Ok(false);
        }
        let moved = self.read_finality(chain, l1).await;
        let refused = self.finality.as_ref().and_then(|reading| reading.refused.as_ref());
        let hurry = self.problem.is_some()
            || self.ethereum.is_unanswered()
            || self.findings.node.finalized_refused.is_some()
                && !matches!(refused, Some(Refused::Unproven { .. }));
        self.pace.finality_read(hurry);
        moved
    }

    async fn read_finality(&mut self, chain: &ChainFacts, l1: &mut View) -> Result<bool, Stop> {
        let genesis = chain.chain.genesis;
        let answer = self.node.finalized().await;
        let known = self.finality.as_ref().and_then(|reading| reading.block);
        let block =
            answer.as_ref().map_or(known, |block| block.filter(|it| it.number > genesis.number));
        let trusted = self.options.trust_node_finalized;
        self.rollup.ask_finality(&mut self.ethereum, block, trusted, l1).await;
        self.note_finality();
        match answer {
            Ok(_) => {}
            // Nodes say in many ways that they have none.
            Err(UpstreamError::Rpc { .. })
                if block.is_none() && self.ethereum.is_only_genesis(genesis) => {}
            Err(error) => {
                // Nothing follows from a missing reading.
                self.findings.node.finalized_refused =
                    Some(format!("the node's finalized block cannot be read: {error}"));
                return Ok(false);
            }
        }
        self.metrics.node_finalized(block.map(|block| block.number));
        let reading = match block {
            None => FinalityReading::default(),
            Some(block) => self.judge_finality(block, l1).await,
        };
        self.findings.node.finalized = block;
        self.findings.node.finalized_refused = reading.refused.as_ref().map(ToString::to_string);
        let admitted = reading.admitted;
        self.finality = Some(reading);
        match admitted {
            Some(finalized) => self.adopt(finalized).await,
            None => Ok(false),
        }
    }

    /// Shows and keeps what is known beside the node's `finalized`.
    fn note_finality(&mut self) {
        self.findings.node.safe = self.ethereum.safe().or(self.findings.node.safe);
        self.keeper.set_samples(self.ethereum.samples());
    }

    async fn judge_finality(&mut self, block: BlockId, view: &mut View) -> FinalityReading {
        let known = self.finality.clone().unwrap_or_default();
        // An admitted block stays admitted: it is final.
        if known.block == Some(block) && known.refused.is_none() {
            return known;
        }
        let trusted = self.options.trust_node_finalized;
        let l1 = (&self.l1, view);
        let (ethereum, node) = (&mut self.ethereum, &self.node);
        let verdict =
            self.rollup.judge_finalized(ethereum, block, known.admitted, trusted, node, l1);
        let (admitted, refused) = verdict.await;
        self.note_finality();
        if !trusted {
            self.findings.node.finalized_proven = self.ethereum.proven();
        }
        FinalityReading { block: Some(block), admitted, refused }
    }

    /// Whether what may prove something later must be saved although the head has not changed.
    pub(super) fn samples_are_due(&mut self, at_the_end: bool) -> bool {
        let saved = *self.samples_saved.get_or_insert_with(Instant::now);
        if self.keeper.samples_saved() {
            self.samples_saved = Some(Instant::now());
            return false;
        }
        at_the_end || saved.elapsed() >= SAMPLES_UNSAVED
    }

    /// Makes the node's finalized block the head, if it is new. Returns whether it did.
    async fn adopt(&mut self, finalized: HeadBlock) -> Result<bool, Stop> {
        self.keeper.observe_finalized(finalized);
        let head = self.keeper.block();
        if let Some(head) = head.filter(|head| head.hash.is_none())
            && finalized.number < head.number
        {
            self.anchor_imported(head, finalized);
            return Ok(false);
        }
        let status = self.keeper.status();
        let unproven = self.keeper.audit().unproven;
        // Ethereum decides nothing against a head that the endpoint in use has.
        let diverged =
            status == Status::Diverged && !self.diverged_elsewhere && self.keeper.is_verified();
        let news = match head {
            None => true,
            Some(head) if finalized.number > head.number => true,
            Some(head) => {
                finalized.number == head.number && (head.hash.is_none() || diverged || unproven)
            }
        };
        if !news {
            return Ok(false);
        }
        if !self.covers(finalized.number).await? {
            self.findings.node.finalized_refused = Some(format!(
                "the node's finalized block {} is above its latest block",
                finalized.number
            ));
            return Ok(false);
        }
        let contradicted = head.filter(|_| diverged);
        let node_hash = match contradicted {
            Some(head) => self.node.hash_at(head.number).await.ok().flatten(),
            None => None,
        };
        let restart = self.restart_height(finalized.number).or(self.keeper.restart_height());
        let status = if self.diverged_elsewhere { status } else { Status::Ok };
        let result = self.keeper.finalize(finalized, restart, status).await;
        self.note_save(&result);
        // A failed save may have left a higher head on disk: Espresso is ahead there.
        if matches!(result, Err(StoreError::Regression { .. })) {
            return Ok(false);
        }
        result.map_err(|error| Stall::StoreUnwritable(error.to_string()))?;
        self.candidates.discard_up_to(finalized.number);
        self.findings.block = BlockProof::default();
        self.decided_by_ethereum();
        self.skip.overtaken();
        let number = finalized.number;
        match (contradicted, contradicted.and_then(|head| head.hash), finalized.hash) {
            (Some(head), Some(verified_hash), Some(hash)) => {
                self.metrics.contradiction();
                // What could not follow the old head may follow this one.
                self.batchers.may_skip("contradiction");
                let node_hash = node_hash.unwrap_or_default();
                tracing::error!(
                    number = head.number, %verified_hash, %node_hash, finalized = number,
                    "Ethereum finalized another block than the confirmed one"
                );
                self.findings.last_contradiction = Some(Contradiction {
                    number: head.number,
                    verified_hash,
                    node_hash,
                    finalized: BlockId { number, hash },
                    at: Timestamp::now(),
                });
            }
            _ => tracing::info!(number, "the head is the node's finalized block"),
        }
        // The old head's problem no longer applies.
        (self.problem, self.checked) = (None, Ok(()));
        self.pace.survey_at_once();
        self.show_head();
        Ok(true)
    }

    /// Whether the node has reported that it has no finalized block.
    pub(super) fn finality_is_unknown(&self) -> bool {
        self.finality.as_ref().is_some_and(|reading| reading.block.is_none())
    }

    /// Why there is no admitted block to start from.
    pub(super) fn without_finality(&self) -> Stall {
        let refused = self.finality.as_ref().and_then(|reading| reading.refused.as_ref());
        if let Some(Refused::Unproven { block, .. }) = refused {
            return Stall::FinalityUnproven { number: block.number };
        }
        if let Some(head) = self.keeper.block() {
            return Stall::HeadHashUnknown { number: head.number };
        }
        let refused = self.findings.node.finalized_refused.clone();
        Stall::NoAnchor(
            refused.unwrap_or_else(|| "the node's finalized block could not be read".into()),
        )
    }

    /// The node's `finalized` if the head would be that block, but nothing that is known can prove
    /// it.
    pub(super) fn unproven_above(&self, head: u64) -> Option<u64> {
        match self.finality.as_ref()?.refused.as_ref()? {
            Refused::Unproven { block, .. }
                if block.number > head && !self.ethereum.may_prove(*block) =>
            {
                Some(block.number)
            }
            _ => None,
        }
    }
}
