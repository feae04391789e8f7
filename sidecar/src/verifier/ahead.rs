//! While batches wait for the light client, they are compared with the node's blocks already. Once
//! it covers them, the head moves to the last of them at once, if the node still has that block.
//! That needs batches that name their blocks and with them those before.

use std::pin::pin;

use futures::{StreamExt, stream};

use super::{
    FeedSource, L1Source, NodeSource, Verifier,
    confirmation::{BLOCKS_IN_FLIGHT, Confirmed, Halt, Walk},
};
use crate::{
    head::HeadBlock,
    l1::View,
    rollup::{BatchOf, Facts as _, Position, Proven, Rollup},
    upstream::UpstreamError,
};

/// Blocks that are compared before what the light client covers is looked at again.
const AT_ONCE: u64 = 256;

/// A batch, and the block that it names.
struct Named<R: Rollup> {
    position: Position,
    batch: BatchOf<R>,
    block: HeadBlock,
}

impl<R: Rollup, N: NodeSource<R::Block>, L: L1Source, F: FeedSource> Verifier<R, N, L, F> {
    /// The batch that follows a block, if the node may have its block.
    async fn following(&self, tip: HeadBlock, l1: &mut View) -> Option<Named<R>> {
        let next = tip.number.checked_add(1).filter(|next| Some(*next) <= self.node_latest)?;
        self.candidates.of(next).find_map(|(_, batch)| batch.facts.names())?;
        let (position, batch) = self.decide(&tip, &mut None, l1).await.ok()?;
        let block = batch.facts.names()?;
        Some(Named { position, batch, block })
    }

    /// Whether the node's answer for the block after `tip` is the block that a batch names.
    async fn equals(
        &self,
        tip: HeadBlock,
        named: &Named<R>,
        answer: Result<Option<R::Block>, UpstreamError>,
        l1: &mut View,
    ) -> bool {
        let (Ok(Some(block)), Ok(Some(below))) =
            (answer, self.rollup.below(&tip, &self.node).await)
        else {
            return false;
        };
        let copies = [(named.position, &named.batch)];
        self.compare(&copies, &below, &block, l1).await.is_ok()
    }

    /// Compares batches that the light client does not cover yet. Returns whether there may be more
    /// to compare at once. A difference is no mismatch before it is covered.
    pub(super) async fn compare_ahead(&mut self, l1: &mut View) -> bool {
        let Some(mut tip) = self.current() else { return false };
        let mut next = self.following(tip, l1).await;
        while let Some(named) = &next
            && self.candidates.is_compared(named.position)
        {
            tip = named.block;
            next = self.following(tip, l1).await;
        }
        let (first, latest) = (tip.number.saturating_add(1), self.node_latest.unwrap_or(0));
        let run = self.candidates.run_length(first, AT_ONCE);
        let run = run.min(latest.saturating_sub(tip.number));
        let blocks = stream::iter(first..first.saturating_add(run))
            .map(|number| self.node.short_block(number))
            .buffered(BLOCKS_IN_FLIGHT);
        let mut blocks = pin!(blocks);
        let mut equal = Vec::new();
        while let Some(named) = &next
            && let Some(answer) = blocks.next().await
            && self.equals(tip, named, answer, l1).await
        {
            equal.push(named.position);
            tip = named.block;
            next = self.following(tip, l1).await;
        }
        let is_full = equal.len() as u64 == AT_ONCE;
        equal.into_iter().for_each(|position| self.candidates.note_compared(position));
        is_full
    }

    /// Walks over the batches that were compared ahead and are covered now, to the last of them.
    /// The node may have other blocks by now: the last one is compared again, and it names those
    /// before it. None if there are none, or if all must be compared again.
    pub(super) async fn leap(&mut self, mut tip: HeadBlock, l1: &mut View) -> Option<Walk> {
        let (mut passed, mut last, mut lowest) = (Vec::new(), None, None::<u64>);
        while let Some(named) = self.following(tip, l1).await
            && self.audit.covers(named.position.height)
            && self.candidates.is_compared(named.position)
        {
            let below = std::mem::replace(&mut tip, named.block);
            passed.push((tip.number, named.block.hash));
            let height = named.position.height;
            lowest = Some(lowest.map_or(height, |lowest| lowest.min(height)));
            last = Some((below, named));
        }
        let (below, named) = last.filter(|_| passed.len() > 1)?;
        let answer = self.node.block_and_latest(tip.number).await;
        let latest = answer.as_ref().ok().map(|(_, latest)| *latest);
        if !self.equals(below, &named, answer.map(|(block, _)| block), l1).await {
            self.candidates.forget_compared();
            return None;
        }
        for (number, hash) in &passed {
            hash.iter().for_each(|hash| self.keeper.walked(*number, *hash));
        }
        let count = passed.len() as u64;
        let (hotshot_height, mut proof) = (named.position.height, self.findings.block);
        // Each names its block.
        proof.extend(Proven::Hash, lowest.unwrap_or(hotshot_height));
        let confirmed = Confirmed { tip, hotshot_height, count, proof };
        Some(Walk { confirmed: Some(confirmed), halt: Halt::RunEnded, latest })
    }
}
