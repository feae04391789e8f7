//! Does all available work: reads ahead, and confirms block after block.

use std::{collections::BTreeMap, ops::ControlFlow, time::Duration};

use alloy_primitives::B256;
use espresso_proofs::commitment;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    ChainFacts, Feed, FeedSource, L1Source, NodeSource, Stall, Stop, Verifier,
    choice::{Candidate, copies_of},
    findings::{BlockProof, Mismatch},
};
use crate::{
    head::HeadBlock,
    l1::View,
    node::NodeBlock,
    rollup::{BatchOf, Difference, Facts as _, Payloads, Position, Rollup, Uncompared, Verified},
    store::StoreError,
    telemetry::metrics::BatchResult,
    upstream::UpstreamError,
};

/// The longest round: the answers of L1 and the node must not get stale meanwhile.
pub(super) const ROUND_LENGTH: Duration = Duration::from_secs(2);
/// Blocks confirmed before the head is saved and published.
pub(super) const BLOCKS_PER_SAVE: u64 = 1024;
/// The same as a time, for slow nodes.
const TIME_PER_SAVE: Duration = Duration::from_millis(500);
/// Blocks requested from the node at once.
pub(super) const BLOCKS_IN_FLIGHT: usize = 8;
/// HotShot blocks after which the restart position of an unchanged head is saved.
const CHECKPOINT_DISTANCE: u64 = 1000;

/// Why a run of confirmations ended.
#[derive(Debug)]
pub(super) enum Halt {
    /// The next block waits for something.
    Stalled(Stall),
    /// The light client does not cover the next block yet.
    Uncovered(Stall),
    /// The node's next block is not what HotShot confirmed.
    Mismatch(Box<Mismatch>),
    /// Candidates were dropped because the budget was full: read again from this height.
    Reread(u64),
    /// The run is long enough to be saved; the next block may be ready.
    RunEnded,
}

/// Why a batch does not prove the node's block.
#[derive(Debug)]
pub(super) enum Failed {
    Differs(Difference),
    Waits(Stall),
}

impl Failed {
    /// Whether another copy may prove the block nevertheless.
    const fn may_end_by_a_copy(&self) -> bool {
        match self {
            Self::Differs(_) => true,
            Self::Waits(stall) => stall.may_end_by_a_copy(),
        }
    }

    fn halt<R: Rollup>(self, (position, batch): Candidate<'_, R>, node_hash: B256) -> Halt {
        match self {
            Self::Waits(stall) => Halt::Stalled(stall),
            Self::Differs(difference) => Halt::Mismatch(Box::new(Mismatch {
                number: batch.facts.number(),
                batch_hash: batch.facts.hash(),
                node_hash,
                hotshot_height: position.height,
                hotshot_index: position.index,
                hotshot_part: position.part,
                transaction: None,
                difference: difference.to_string(),
                since: Timestamp::now(),
            })),
        }
    }
}

/// The node's answer for a block.
pub(super) fn found<B>(number: u64, answer: Result<Option<B>, UpstreamError>) -> Result<B, Halt> {
    answer
        .map_err(|error| Halt::Stalled(Stall::NodeUnavailable(error.to_string())))?
        .ok_or(Halt::Stalled(Stall::NodeMissingBlock { number }))
}

/// How a run of confirmations went.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) confirmed: Option<Confirmed>,
    pub(super) halt: Halt,
    /// The node's latest block, if it was read after its other blocks.
    pub(super) latest: Option<u64>,
}

/// The last confirmed block of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Confirmed {
    pub(super) tip: HeadBlock,
    pub(super) hotshot_height: u64,
    pub(super) count: u64,
    /// What is proven of them, on the whole and since which HotShot height.
    pub(super) proof: BlockProof,
}

impl<R: Rollup, N: NodeSource<R::Block>, L: L1Source, F: FeedSource> Verifier<R, N, L, F> {
    /// Confirms and reads until there is nothing left or the round is long enough. Returns why the
    /// head does not advance, or none if there may be more to do at once.
    pub(super) async fn advance(
        &mut self,
        chain: &ChainFacts,
        l1: &mut View,
    ) -> Result<Option<Stall>, Stop> {
        let feed = self.refresh_feed().await;
        let started = Instant::now();
        while started.elapsed() < ROUND_LENGTH {
            self.take_in(started).await;
            let stall = match self.confirm_run(l1).await? {
                ControlFlow::Continue(()) => continue,
                ControlFlow::Break(stall) => stall,
            };
            if matches!(stall, Stall::Mismatch { .. }) {
                self.name_mismatch(chain).await;
            }
            // Without a batch that proves the next block, reading continues even if the budget is
            // full.
            let wanted = matches!(stall, Stall::AwaitingBatch { .. } | Stall::CompetingFork { .. })
                || matches!(stall, Stall::StoreUnwritable(_) | Stall::Unproven { .. })
                || stall.may_end_by_a_copy()
                || matches!(stall, Stall::Mismatch { number, .. } if self.has_copies(number))
                || self.candidates.has_room();
            let confirmed = self.confirmed_number();
            let read = if wanted { self.read_range(confirmed).await } else { Ok(false) };
            if read == Ok(true) && !self.in_circles {
                continue;
            }
            self.checkpoint().await?;
            return Ok(Some(match stall {
                Stall::AwaitingBatch { number } => {
                    feed.and(read).err().unwrap_or_else(|| self.without_batch(number))
                }
                // What keeps the next block back matters more than trouble with the feed.
                stall => stall,
            }));
        }
        self.checkpoint().await?;
        Ok(None)
    }

    /// Whether a copy that is not read yet may prove the block that differs from what is read.
    fn has_copies(&self, number: u64) -> bool {
        self.candidates.of(number).any(|(_, batch)| self.rollup.are_copies(batch, batch))
    }

    /// What it means that HotShot, as far as it is read, has no batch for the next block.
    fn without_batch(&self, number: u64) -> Stall {
        if let Some(unread) = self.feed.as_ref().and_then(super::Feed::unread) {
            return unread;
        }
        let head = self.keeper.block();
        if let Some(head) = head.filter(|head| head.hash.is_none()) {
            return Stall::HeadHashUnknown { number: head.number };
        }
        if let Some(number) = head.and_then(|head| self.unproven_above(head.number)) {
            return Stall::FinalityUnproven { number };
        }
        match head.zip(self.node_latest) {
            Some((head, latest)) if latest <= head.number => {
                Stall::UpToDate { number: head.number }
            }
            _ if self.is_on_fallback() => Stall::FallbackBatcherActive { number },
            _ => Stall::AwaitingBatch { number },
        }
    }

    /// Reads the ranges that have arrived, as far as they make the next run longer: one save then
    /// covers more blocks. Errors show again when only reading is left to do.
    async fn take_in(&mut self, round_started: Instant) {
        loop {
            let confirmed = self.confirmed_number();
            let next = self.next_number();
            let enough = self.candidates.run_length(next, BLOCKS_PER_SAVE) == BLOCKS_PER_SAVE
                || !self.candidates.has_room()
                || round_started.elapsed() >= ROUND_LENGTH;
            let arrived = self.feed.as_ref().is_some_and(super::Feed::has_arrived);
            if enough || !arrived || self.read_range(confirmed).await != Ok(true) {
                return;
            }
        }
    }

    /// Numbers up to here need no candidates any more.
    fn confirmed_number(&self) -> u64 {
        self.current().map_or(0, |block| block.number)
    }

    /// The number that is confirmed next.
    fn next_number(&self) -> u64 {
        self.confirmed_number().saturating_add(1)
    }

    pub(super) async fn checkpoint(&mut self) -> Result<(), Stall> {
        let saved = self.save_restart_height(CHECKPOINT_DISTANCE).await;
        saved.map_err(|error| Stall::StoreUnwritable(error.to_string()))
    }

    /// Confirms as many blocks as are ready, and saves the last one. Breaks with what keeps the
    /// next one back.
    async fn confirm_run(&mut self, l1: &mut View) -> Result<ControlFlow<Stall>, Stop> {
        let Some(tip) = self.current() else {
            return Ok(ControlFlow::Break(Stall::Starting));
        };
        if let Err(stall) = self.may_confirm() {
            return Ok(ControlFlow::Break(stall));
        }
        let next = tip.number.saturating_add(1);
        if self.pace.is_missed(next, self.node_latest) {
            return Ok(ControlFlow::Break(Stall::NodeMissingBlock { number: next }));
        }
        let walk = match self.leap(tip, l1).await {
            Some(walk) => walk,
            None => self.find_confirmed(tip, l1).await,
        };
        let Walk { confirmed, halt, latest } = walk;
        self.node_latest = latest.or(self.node_latest);
        match &halt {
            Halt::Stalled(Stall::NodeMissingBlock { number }) => self.pace.missed(*number),
            _ => self.pace.node_woken(),
        }
        if let Some(confirmed) = confirmed {
            if !self.covers_after(confirmed.tip.number, latest).await? {
                // As far as the node has come, the run is tried again.
                return Ok(self.up_to_latest(tip.number));
            }
            if let Some(refused) = self.finish(confirmed).await? {
                if let Halt::Reread(height) = halt {
                    self.reread(height);
                }
                return Ok(ControlFlow::Break(refused));
            }
        }
        Ok(match halt {
            Halt::RunEnded => ControlFlow::Continue(()),
            Halt::Reread(height) => {
                self.reread(height);
                ControlFlow::Break(Stall::AwaitingBatch { number: self.next_number() })
            }
            Halt::Stalled(stall) => ControlFlow::Break(stall),
            Halt::Uncovered(stall) => match self.compare_ahead(l1).await {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(stall),
            },
            Halt::Mismatch(mismatch) if !self.covers_after(mismatch.number, latest).await? => {
                self.up_to_latest(self.confirmed_number())
            }
            Halt::Mismatch(mismatch) => ControlFlow::Break(self.note_mismatch(*mismatch)),
        })
    }

    /// What follows when blocks above `confirmed` turned out to be above the node's latest one.
    fn up_to_latest(&mut self, confirmed: u64) -> ControlFlow<Stall> {
        if self.node_latest.is_some_and(|latest| latest > confirmed) {
            return ControlFlow::Continue(());
        }
        let number = confirmed.saturating_add(1);
        self.pace.missed(number);
        ControlFlow::Break(Stall::NodeMissingBlock { number })
    }

    /// Walks from `tip` over the candidates and the node's blocks, up to the last block that both
    /// agree on. A single block is read together with the node's latest one.
    async fn find_confirmed(&mut self, tip: HeadBlock, l1: &mut View) -> Walk {
        let first = tip.number.saturating_add(1);
        let behind = self.node_latest.unwrap_or(first).saturating_sub(tip.number);
        let run = self.candidates.run_length(first, BLOCKS_PER_SAVE).min(behind.max(1));
        let node = &self.node;
        let blocks = stream::iter(first..first.saturating_add(run))
            .map(|number| node.short_block(number))
            .buffered(BLOCKS_IN_FLIGHT);
        let mut blocks = std::pin::pin!(blocks);
        let (mut confirmed, mut latest): (Option<Confirmed>, _) = (None, None);
        let mut proof = self.findings.block;
        let mut tip = tip;
        let started = Instant::now();
        for _ in 0..run.max(1) {
            if confirmed.is_some() && started.elapsed() >= TIME_PER_SAVE {
                break;
            }
            let known = self.below.take().filter(|(block, _)| *block == tip);
            let mut below = known.map(|(_, below)| below);
            let decided = self.decide(&tip, &mut below, l1).await;
            self.below = below.clone().map(|below| (tip, below));
            let ((position, batch), below) = match (decided, below) {
                (Ok(chosen), Some(below)) => (chosen, below),
                (Ok(_), None) => return Walk { confirmed, halt: Halt::RunEnded, latest },
                (Err(halt), _) => return Walk { confirmed, halt, latest },
            };
            let number = batch.facts.number();
            if !self.audit.covers(position.height) {
                let halt = Halt::Uncovered(self.audit.uncovered(number, position.height));
                return Walk { confirmed, halt, latest };
            }
            let answer = if run == 1 {
                let answer = node.block_and_latest(number).await;
                latest = answer.as_ref().ok().map(|(_, latest)| *latest);
                Some(answer.map(|(block, _)| block))
            } else {
                blocks.next().await
            };
            let answer = match answer {
                Some(Err(UpstreamError::TooLarge { .. })) => {
                    self.feed.iter_mut().for_each(Feed::pause);
                    node.block(number).await
                }
                Some(answer) => answer,
                // Only if a candidate appeared beyond the run: the next run takes it.
                None => return Walk { confirmed, halt: Halt::RunEnded, latest },
            };
            let block = match found(number, answer) {
                Ok(block) => block,
                Err(halt) => return Walk { confirmed, halt, latest },
            };
            match self.verify((position, &batch), &below, &block, l1).await {
                Ok((position, verified)) => {
                    tip = verified.block;
                    self.keeper.walked(number, block.hash());
                    self.below = Some((tip, verified.below));
                    let count = confirmed.map_or(0, |confirmed| confirmed.count) + 1;
                    let hotshot_height = position.height;
                    proof.extend(verified.proven, hotshot_height);
                    confirmed = Some(Confirmed { tip, hotshot_height, count, proof });
                }
                Err(halt) => return Walk { confirmed, halt, latest },
            }
        }
        Walk { confirmed, halt: Halt::RunEnded, latest }
    }

    /// Whether the chosen batch, or a copy of it, proves the node's block.
    async fn verify(
        &self,
        chosen: Candidate<'_, R>,
        below: &R::Below,
        block: &R::Block,
        l1: &mut View,
    ) -> Result<(Position, Verified<R::Below>), Halt> {
        if !self.rollup.are_copies(chosen.1, chosen.1) {
            let compared = self.compare(&[chosen], below, block, l1).await;
            return compared.map_err(|failed| failed.halt::<R>(chosen, block.hash()));
        }
        let number = chosen.1.facts.number();
        let copies = copies_of(&*self.rollup, &self.candidates, chosen);
        let covers = |(position, _): &Candidate<'_, R>| self.audit.covers(position.height);
        let (copies, uncovered): (Vec<_>, Vec<_>) = copies.into_iter().partition(covers);
        let failed = match self.compare(&copies, below, block, l1).await {
            Ok(verified) => return Ok(verified),
            Err(failed) if !failed.may_end_by_a_copy() => {
                return Err(failed.halt::<R>(chosen, block.hash()));
            }
            Err(failed) => failed,
        };
        // A copy that proves it may be among the dropped, or not be covered yet.
        match (self.candidates.dropped_for(number), uncovered.first()) {
            (Some(dropped), _) => Err(Halt::Reread(dropped.height)),
            (None, Some((position, _))) => {
                Err(Halt::Uncovered(self.audit.uncovered(number, position.height)))
            }
            (None, None) => Err(failed.halt::<R>(chosen, block.hash())),
        }
    }

    /// Compares copies of a batch with the node's block, and asks and reads what must be known for
    /// that.
    pub(super) async fn compare(
        &self,
        copies: &[Candidate<'_, R>],
        below: &R::Below,
        block: &R::Block,
        l1: &mut View,
    ) -> Result<(Position, Verified<R::Below>), Failed> {
        let number = block.number();
        let batches: Vec<_> = copies.iter().map(|(_, batch)| *batch).collect();
        let (mut read, mut asked) = (BTreeMap::new(), Default::default());
        loop {
            let at = match self.rollup.compare(&batches, Payloads::new(&read), below, block) {
                Ok(verified) => match copies.get(verified.copy) {
                    Some((position, _)) => return Ok((*position, verified)),
                    None => return Err(Failed::Waits(Stall::AwaitingBatch { number })),
                },
                Err(Uncompared::Ask(question)) => {
                    let open = self.ask_once(&mut asked, question, l1).await;
                    open.map_err(|waiting| Failed::Waits(Stall::of(number, waiting)))?;
                    continue;
                }
                Err(Uncompared::Differs(difference)) => return Err(Failed::Differs(difference)),
                Err(Uncompared::Waits(waiting)) => {
                    return Err(Failed::Waits(Stall::of(number, waiting)));
                }
                Err(Uncompared::Payload(at)) => at,
            };
            let (Some((position, _)), Some(feed)) = (copies.get(at), &self.feed) else {
                return Err(Failed::Waits(Stall::AwaitingBatch { number }));
            };
            let payload = feed.payload(position.height, position.index).await;
            if payload.is_none() {
                let problem = format!("the payload at {} is needed again", position.height);
                return Err(Failed::Waits(Stall::FeedUnavailable(problem)));
            }
            read.insert(at, (payload, position.part));
        }
    }

    /// Reports a mismatch once: it is found again in every round while it lasts.
    fn note_mismatch(&mut self, mismatch: Mismatch) -> Stall {
        let Mismatch { number, batch_hash, node_hash, hotshot_height, .. } = mismatch;
        let difference = mismatch.difference.clone();
        let is_known = self.findings.last_mismatch.as_ref().is_some_and(|known| {
            (known.number, known.batch_hash, known.node_hash) == (number, batch_hash, node_hash)
        });
        if !is_known {
            self.metrics.batch(BatchResult::Mismatch);
            tracing::error!(
                number, batch = batch_hash.map(tracing::field::display), node = %node_hash,
                hotshot_height, difference,
                "the node's block is not the one that HotShot confirmed"
            );
            self.findings.last_mismatch = Some(mismatch);
        }
        Stall::Mismatch { number, difference }
    }

    /// Reads the payload of a mismatch again, since payloads are not kept: for the commitment of
    /// HotShot's transaction, and for the transaction that differs.
    async fn name_mismatch(&mut self, chain: &ChainFacts) {
        let (Some(feed), Some(mismatch)) = (&self.feed, &mut self.findings.last_mismatch) else {
            return;
        };
        if mismatch.transaction.is_some() {
            return;
        }
        let Some(payload) = feed.payload(mismatch.hotshot_height, mismatch.hotshot_index).await
        else {
            return;
        };
        let part = mismatch.hotshot_part;
        let l1_finalized = match self.rollup.measures_by_hotshot() {
            true => feed.l1_finalized(mismatch.hotshot_height).await,
            false => None,
        };
        let batch = self.rollup.admit(&payload, l1_finalized).into_iter().nth(part);
        let is_it = |batch: BatchOf<R>| batch.facts.hash() == mismatch.batch_hash;
        if !batch.is_some_and(|batch| batch.is_ok_and(is_it)) {
            return;
        }
        if let Ok(Some(block)) = self.node.block(mismatch.number).await
            && block.hash() == mismatch.node_hash
            && let Err(difference) = self.rollup.compare_payload(&payload, part, &block)
        {
            mismatch.difference = difference.to_string();
        }
        let transaction = commitment::transaction(chain.namespace, &payload).to_string();
        tracing::info!(
            number = mismatch.number,
            transaction,
            difference = mismatch.difference,
            "HotShot's transaction of that batch"
        );
        mismatch.transaction = Some(transaction);
    }

    /// Saves and publishes a confirmed block, and forgets the candidates up to it. One below an
    /// imported head is only where verification goes on.
    /// Returns why it is not saved if a failed save has left a higher head on disk: that one is
    /// confirmed again once as much is read.
    async fn finish(&mut self, confirmed: Confirmed) -> Result<Option<Stall>, Stop> {
        let Confirmed { tip, hotshot_height, count, proof } = confirmed;
        if self.keeper.block().is_some_and(|head| tip.number < head.number) {
            self.candidates.discard_up_to(tip.number);
            self.anchor = Some(tip);
            return Ok(None);
        }
        let restart = self.restart_height(tip.number).unwrap_or(hotshot_height);
        self.head_moves_to(hotshot_height);
        let result = self.keeper.confirm(tip, hotshot_height, restart, proof.shown()).await;
        self.note_save(&result);
        match result {
            Err(error @ StoreError::Regression { .. }) => {
                return Ok(Some(Stall::StoreUnwritable(error.to_string())));
            }
            result => result.map_err(|error| Stall::StoreUnwritable(error.to_string()))?,
        }
        self.findings.block = proof;
        self.metrics.block_proof(proof.hash_since);
        let discarded = self.candidates.discard_up_to(tip.number) as u64;
        for _ in 0..count {
            self.metrics.batch(BatchResult::Confirmed);
        }
        for _ in count..discarded {
            self.metrics.batch(BatchResult::Skipped);
        }
        self.show_head();
        Ok(None)
    }

    /// Goes back to where candidates were dropped because the budget was full. A round that would
    /// go back there once more ends: until something changes, it would read in circles.
    fn reread(&mut self, height: u64) {
        let number = self.next_number();
        let last = self.reread.replace((height, number));
        self.in_circles |= last.is_some_and(|(before, of)| of == number && height <= before);
        tracing::info!(
            height,
            "reading HotShot again from where batches were dropped because the budget was full"
        );
        self.metrics.reset("dropped");
        self.candidates.reread(height);
        self.go_back(height);
    }
}
