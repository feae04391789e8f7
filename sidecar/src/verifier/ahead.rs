//! While batches wait for the light client, they are compared with the node's blocks already. Once
//! it covers them, the head moves to the last of them at once, if the node still has that block.

use std::pin::pin;

use futures::{StreamExt, stream};

use super::{
    ChainFacts, Choice, FeedSource, L1Source, L1View, NodeSource, Position, Verifier, choose,
    confirmation::{BLOCKS_IN_FLIGHT, BLOCKS_PER_SAVE, Confirmed, Halt, Walk, tip_of},
};
use crate::{
    head::HeadBlock,
    rollup::{Batch, Rollup},
};

impl<R: Rollup, N: NodeSource, L: L1Source, F: FeedSource> Verifier<R, N, L, F> {
    /// The batch that follows a block, if the node may have its block.
    async fn following(
        &self,
        tip: HeadBlock,
        chain: &ChainFacts,
        l1: &mut L1View,
    ) -> Option<(Position, Batch<R::Content>)> {
        let number = tip.number.checked_add(1).filter(|next| Some(*next) <= self.node_latest)?;
        loop {
            match choose(&self.candidates, &tip, chain.config.timestamp(number), l1) {
                Choice::Chosen(position, batch) => return Some((position, *batch)),
                Choice::Ask(origin) => l1.learn(origin, self.l1.hash_at(origin.number).await),
                Choice::Reread(_) | Choice::Stalled(_) => return None,
            }
        }
    }

    /// Compares batches that the light client does not cover yet. Returns whether there may be more
    /// to compare at once. A difference is no mismatch before it is covered.
    pub(super) async fn compare_ahead(&mut self, chain: &ChainFacts, l1: &mut L1View) -> bool {
        let Some(mut tip) = self.current() else { return false };
        let mut next = self.following(tip, chain, l1).await;
        while let Some((_, batch)) = next.filter(|(at, _)| self.candidates.is_compared(*at)) {
            tip = tip_of(&batch);
            next = self.following(tip, chain, l1).await;
        }
        let (first, latest) = (tip.number.saturating_add(1), self.node_latest.unwrap_or(0));
        let run = self.candidates.run_length(first, BLOCKS_PER_SAVE);
        let run = run.min(latest.saturating_sub(tip.number));
        let blocks = stream::iter(first..first.saturating_add(run))
            .map(|number| self.node.short_block(number))
            .buffered(BLOCKS_IN_FLIGHT);
        let mut blocks = pin!(blocks);
        let mut equal = Vec::new();
        while let Some((position, batch)) = next
            && let Some(block) = blocks.next().await
            && self.compare(position, &batch, block).is_ok()
        {
            equal.push(position);
            next = self.following(tip_of(&batch), chain, l1).await;
        }
        let is_full = equal.len() as u64 == BLOCKS_PER_SAVE;
        equal.into_iter().for_each(|position| self.candidates.note_compared(position));
        is_full
    }

    /// Walks over the batches that were compared ahead and are covered now, to the last of them.
    /// The node may have other blocks by now: the last one is compared again, and it names those
    /// before it. None if there are none, or if all must be compared again.
    pub(super) async fn leap(
        &mut self,
        mut tip: HeadBlock,
        chain: &ChainFacts,
        l1: &mut L1View,
    ) -> Option<Walk> {
        let (mut passed, mut last) = (Vec::new(), None);
        while let Some((position, batch)) = self.following(tip, chain, l1).await
            && self.audit.covers(position.height)
            && self.candidates.is_compared(position)
        {
            tip = tip_of(&batch);
            passed.push((tip.number, batch.facts.hash));
            last = Some((position, batch));
        }
        let (position, batch) = last.filter(|_| passed.len() > 1)?;
        let answer = self.node.block_and_latest(tip.number).await;
        let latest = answer.as_ref().ok().map(|(_, latest)| *latest);
        let confirmed = match self.compare(position, &batch, answer.map(|(block, _)| block)) {
            Ok(()) => {
                passed.iter().for_each(|(number, hash)| self.keeper.walked(*number, *hash));
                let count = passed.len() as u64;
                Confirmed { tip, hotshot_height: position.height, count }
            }
            Err(_) => {
                self.candidates.forget_compared();
                return None;
            }
        };
        Some(Walk { confirmed: Some(confirmed), halt: Halt::RunEnded, latest })
    }
}
