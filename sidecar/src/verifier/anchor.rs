//! Where verification starts: the block to continue from, and the HotShot height to read from.

use alloy_primitives::Address;

use super::{
    Candidates, ChainFacts, Feed, FeedSource, L1Source, NodeSource, Stall, Stop, Verifier,
};
use crate::{
    eth::BlockId,
    head::HeadBlock,
    l1::LightClientError,
    rollup::{Finality as _, Rollup},
    upstream::UpstreamError,
};

impl<R: Rollup, N: NodeSource<R::Block>, L: L1Source, F: FeedSource> Verifier<R, N, L, F> {
    /// The block to continue from: the head. Without a head, or where its hash is not known,
    /// genesis if the node has reported that nothing is finalized yet. Genesis is an anchor only
    /// and is not published.
    pub(super) fn tip(&mut self, chain: &ChainFacts) -> Result<HeadBlock, Stop> {
        if let Some(current) = self.current() {
            return Ok(current);
        }
        if !self.finality_is_unknown() {
            return Err(self.without_finality().into());
        }
        if let Some(head) = self.keeper.block()
            && !self.ethereum.bears_out_none(chain.chain.genesis)
        {
            // A node that is starting may not know it yet; from genesis, reading would take long.
            return Err(Stall::HeadHashUnknown { number: head.number }.into());
        }
        let genesis = chain.chain.genesis;
        let anchor = HeadBlock {
            number: genesis.number,
            hash: Some(genesis.hash),
            l1_origin: chain.chain.genesis_l1,
        };
        tracing::info!(
            number = anchor.number,
            "nothing is finalized yet: verification starts at genesis"
        );
        self.anchor = Some(anchor);
        Ok(anchor)
    }

    /// Verification of an imported head, whose hash is not known, starts at the newest finalized
    /// block below it. That it has reached a higher one already is as good.
    pub(super) fn anchor_imported(&mut self, head: HeadBlock, finalized: HeadBlock) {
        if self.anchor.is_some_and(|anchor| anchor.number >= finalized.number) {
            return;
        }
        tracing::info!(
            head = head.number,
            from = finalized.number,
            "the hash of the head is not known: verifying from the finalized block below it"
        );
        self.candidates.discard_up_to(finalized.number);
        self.anchor = Some(finalized);
    }

    /// Starts anew with the hash of an imported head: L1 was wrong about what is final.
    pub(super) fn forget_imported_anchor(&mut self) {
        if self.keeper.block().is_some_and(|head| head.hash.is_none()) {
            (self.anchor, self.feed) = (None, None);
            self.candidates = Candidates::new(self.options.budget);
        }
    }

    /// Opens the feed at the right height, if it is not open.
    pub(super) async fn open(&mut self, chain: &ChainFacts, tip: &HeadBlock) -> Result<(), Stop> {
        if self.feed.is_none() {
            let height = self.start_height(tip).await?;
            tracing::info!(height, after = tip.number, "reading HotShot");
            self.feed = Some(Feed::new((self.open_feed)(chain.namespace), height));
            self.batchers.nothing_skipped();
            self.audit.start(height);
        }
        Ok(())
    }

    /// Where reading starts: the stored position, unless a new batcher may have signed batches
    /// before it, or the head's hash is not known: the batches below it are needed then. Without
    /// one, where the batches above the block start.
    async fn start_height(&self, tip: &HeadBlock) -> Result<u64, Stall> {
        let is_imported = self.keeper.block().is_some_and(|head| head.hash.is_none());
        match self.keeper.restart_height() {
            Some(height) if is_imported || self.batchers.may_have_skipped(tip) => {
                self.lower_start(height, tip).await
            }
            Some(height) => Ok(height),
            None => self.fresh_start(tip).await.map_err(Stall::from),
        }
    }

    /// The lower of a height and of where the batches above a block start, if that is known.
    pub(super) async fn lower_start(&self, height: u64, tip: &HeadBlock) -> Result<u64, Stall> {
        match self.fresh_start(tip).await {
            Ok(start) => Ok(start.min(height)),
            Err(NoStart::Outage(problem)) => Err(Stall::StartHeightUnknown(problem)),
            Err(NoStart::Untold(problem)) => {
                tracing::warn!(problem, height, "batches before this height may be missed");
                Ok(height)
            }
        }
    }

    /// Where the batches above a block start: at the light client's height at its L1 origin, since
    /// later batches are posted later; else at the configured height.
    async fn fresh_start(&self, tip: &HeadBlock) -> Result<u64, NoStart> {
        let configured = self.options.initial_hotshot_height;
        let Some(contract) = self.options.light_client else {
            return configured.ok_or_else(|| {
                NoStart::Untold("set light_client_address or initial_hotshot_height".into())
            });
        };
        match (self.light_client_height(contract, tip).await.map_err(NoStart::from), configured) {
            (Ok((height, _)), _) => Ok(height),
            (Err(NoStart::Untold(error)), Some(height)) => {
                tracing::warn!(
                    error,
                    height,
                    "the light client has no height: using initial_hotshot_height"
                );
                Ok(height)
            }
            (Err(NoStart::Untold(error)), None) => {
                Err(NoStart::Untold(format!("{error}; or set initial_hotshot_height")))
            }
            (Err(outage), _) => Err(outage),
        }
    }

    /// The light client's height at the L1 origin of a block, and that origin.
    pub(super) async fn light_client_height(
        &self,
        contract: Address,
        tip: &HeadBlock,
    ) -> Result<(u64, BlockId), LightClientError> {
        let origin = match tip.l1_origin {
            Some(origin) => origin,
            // Imported or reset, or the batch did not say it: the node has its L1 origin.
            None => self.origin_by_node(tip).await?,
        };
        Ok((self.l1.light_client(contract, origin).await?.block_height, origin))
    }

    /// The L1 origin of a block by the node's block. Where that has the number alone, L1 has the
    /// hash, and an earlier L1 block is as good as one that is not final.
    async fn origin_by_node(&self, tip: &HeadBlock) -> Result<BlockId, UpstreamError> {
        let missing = |what: &str, number| {
            UpstreamError::Malformed(format!("{what} does not have block {number}"))
        };
        let block = self.node.block(tip.number).await?;
        let block = block.ok_or_else(|| missing("the node", tip.number))?;
        let (number, hash) = self
            .rollup
            .l1_origin(&block)
            .map_err(|error| UpstreamError::Malformed(error.to_string()))?;
        if let Some(hash) = hash {
            return Ok(BlockId { number, hash });
        }
        let finalized = self.findings.l1_finalized.filter(|finalized| finalized.number <= number);
        if let Some(finalized) = finalized {
            return Ok(finalized);
        }
        let hash = self.l1.hash_at(number).await?.ok_or_else(|| missing("L1", number))?;
        Ok(BlockId { number, hash })
    }
}

/// Why it is not known where the batches above a block start.
#[derive(Debug)]
pub(super) enum NoStart {
    /// A dependency did not answer.
    Outage(String),
    /// No source has it.
    Untold(String),
}

impl From<LightClientError> for NoStart {
    fn from(error: LightClientError) -> Self {
        match error {
            // Asking again would not change the answer.
            LightClientError::NoContract
            | LightClientError::Malformed
            | LightClientError::Upstream(UpstreamError::Rpc { .. }) => {
                Self::Untold(error.to_string())
            }
            LightClientError::Upstream(error) => Self::Outage(error.to_string()),
        }
    }
}

impl From<NoStart> for Stall {
    fn from(no_start: NoStart) -> Self {
        let (NoStart::Outage(problem) | NoStart::Untold(problem)) = no_start;
        Self::StartHeightUnknown(problem)
    }
}
