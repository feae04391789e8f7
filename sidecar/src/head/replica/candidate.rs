//! What this replica may publish next.

use alloy_primitives::B256;
use finality_core::head::Source;

use super::{
    HeadBlock, Served, Shared, Verified,
    quorum::{Allowed, allowed},
};
use crate::{
    head::verified::Path,
    store::engine::{Previous, Published, Quorum, SharedHead},
};

impl Shared {
    /// The next head to publish, and the revision that it follows.
    pub(super) async fn candidate(&self) -> Option<(Option<u64>, SharedHead)> {
        let verified = self.verified.borrow().clone();
        let (published, served, regressed, allowed) = {
            let state = self.state.lock().await;
            let (published, heard) = (state.published.as_ref(), &state.heard.reports);
            let allowed = allowed(self.quorum, self.id, &verified, heard, published);
            (state.published.clone(), state.served.clone(), state.regressed, allowed)
        };
        let allowed = match allowed {
            // What is unproven here is not for the others.
            Allowed::Block(block, source) if !self.view.shown().unproven => Some((block, source)),
            Allowed::Block(..) | Allowed::Nothing | Allowed::Short => None,
        };
        let identity = verified.identity?;
        let lost = served.as_ref().filter(|_| regressed);
        let (block, source) = match (&published, lost) {
            (_, Some(lost)) => self.lost(published.as_ref(), lost, &verified).await?,
            (None, None) => allowed?,
            (Some(published), None) => self.successor(published, &verified, allowed).await?,
        };
        let known = |published: &Published| published.head.generation;
        let generation = published.as_ref().map_or(0, known);
        let generation =
            served.as_ref().map_or(generation, |served| served.generation.max(generation));
        let mut head = SharedHead::new(identity, generation, block.number, source);
        head.hash = block.hash;
        head.l1_origin = block.l1_origin;
        head.previous = published
            .as_ref()
            .map(|published| Previous { revision: published.revision, hash: published.head.hash });
        let is_lower = served.is_some_and(|served| head.order() < served.order());
        (!is_lower).then_some((published.map(|published| published.revision), head))
    }

    /// The head that the engine has lost, if this replica's chain has it: nothing lower follows.
    async fn lost(
        &self,
        published: Option<&Published>,
        lost: &Served,
        verified: &Verified,
    ) -> Option<(HeadBlock, Source)> {
        let decided = verified.finalized.filter(|block| block.number >= lost.block.number);
        if let Some(finalized) = decided {
            return Some((finalized, Source::Ethereum));
        }
        let Served { block, source, .. } = *lost;
        let follows = match published {
            // A reset has ended what was published before.
            Some(published) if published.head.generation < lost.generation => true,
            Some(published) if published.head.number <= block.number => {
                self.has(published.head.number, published.head.hash, Missing::IsPruned).await
            }
            Some(_) => false,
            None => true,
        };
        // Last, so that the chain has both: a node may reorganize between two answers.
        (follows && self.has(block.number, block.hash, Missing::IsAbsent).await)
            .then_some((block, source))
    }

    /// What follows the published head: Ethereum's word against it, else what descends from it by
    /// this replica's own verification, else what Ethereum has finalized above it.
    async fn successor(
        &self,
        published: &Published,
        verified: &Verified,
        allowed: Option<(HeadBlock, Source)>,
    ) -> Option<(HeadBlock, Source)> {
        let SharedHead { number, hash, .. } = published.head;
        let finalized = verified.finalized.filter(|block| block.number >= number);
        if let Some(finalized) = finalized {
            let against = |hash| finalized.hash != hash;
            let contradicts = if finalized.number == number {
                against(hash)
            } else {
                // Ethereum has decided against what this replica has verified.
                let reached = verified.block.filter(|(block, _)| block.number >= finalized.number);
                let passed = reached.and_then(|(b, _)| verified.path.below(b, finalized.number));
                passed.is_some_and(|hash| against(Some(hash)))
            };
            if contradicts {
                return Some((finalized, Source::Ethereum));
            }
        }
        let gives_hash = |block: HeadBlock| block.number == number && hash.is_none();
        let next = allowed.filter(|(block, _)| block.number > number || gives_hash(*block));
        if let Some((block, source)) = next
            && self.descends(&verified.path, block, number, hash).await
        {
            return Some((block, source));
        }
        let finalized = finalized.filter(|block| block.number > number)?;
        // What Ethereum finalizes counts as verified, unless it has decided against the others.
        let decides = self.quorum == Quorum::One
            || self.contradicts(&verified.path, finalized, number, hash).await;
        decides.then_some((finalized, Source::Ethereum))
    }

    /// Whether a finalized block is certainly no descendant of the published one.
    async fn contradicts(
        &self,
        path: &Path,
        finalized: HeadBlock,
        number: u64,
        hash: Option<B256>,
    ) -> bool {
        let Some(hash) = hash else { return false };
        if let Some(passed) = path.below(finalized, number) {
            return passed != hash;
        }
        let node = async |number| {
            let asked = tokio::time::timeout(super::NODE_PATIENCE, self.blocks.hash_at(number));
            asked.await.ok()?.ok()?
        };
        let found = node(number).await;
        found.is_some_and(|found| found != hash) && node(finalized.number).await == finalized.hash
    }

    /// Whether a verified block descends from the one that is published.
    async fn descends(
        &self,
        path: &Path,
        block: HeadBlock,
        number: u64,
        hash: Option<B256>,
    ) -> bool {
        let Some(hash) = hash else { return true };
        if let Some(verified) = path.below(block, number) {
            return verified == hash;
        }
        // Where verification began above it, the node's word counts: of both blocks, since it may
        // have changed its chain since the verification.
        self.has(block.number, block.hash, Missing::IsAbsent).await
            && self.has(number, Some(hash), Missing::IsPruned).await
            && self.has(block.number, block.hash, Missing::IsAbsent).await
    }

    /// Whether this replica's chain has a block: by its own verification, else by its node.
    async fn has(&self, number: u64, hash: Option<B256>, missing: Missing) -> bool {
        let Some(hash) = hash else { return true };
        let asked = tokio::time::timeout(super::NODE_PATIENCE, self.blocks.hash_at(number));
        match asked.await {
            Ok(Ok(Some(found))) => found == hash,
            Ok(Ok(None)) => missing == Missing::IsPruned,
            Ok(Err(_)) | Err(_) => false,
        }
    }
}

/// What it means that the node has no block at a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// It has later blocks of that chain.
    IsPruned,
    IsAbsent,
}
