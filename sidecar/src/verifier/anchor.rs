//! Where verification starts: the block to continue from, and the HotShot height to read from.

use super::{ChainFacts, Feed, FeedSource, L1Source, NodeSource, Stall, Stop, Verifier};
use crate::{head::HeadBlock, l1::LightClientError, rollup::Rollup, upstream::UpstreamError};

impl<R: Rollup, N: NodeSource, L: L1Source, F: FeedSource> Verifier<R, N, L, F> {
    /// The block to continue from: the head; else genesis, if the node has reported that nothing is
    /// finalized yet. Genesis is an anchor only and is not published.
    pub(super) fn tip(&mut self, chain: &ChainFacts) -> Result<HeadBlock, Stop> {
        if let Some(current) = self.current() {
            return Ok(current);
        }
        if !self.finality_is_unknown() {
            return Err(Stall::NoAnchor(self.finality_problem()).into());
        }
        let genesis = chain.config.genesis;
        let anchor = HeadBlock {
            number: genesis.l2.number,
            hash: Some(genesis.l2.hash),
            l1_origin: Some(genesis.l1),
        };
        tracing::info!(
            number = anchor.number,
            "nothing is finalized yet: verification starts at genesis"
        );
        self.anchor = Some(anchor);
        Ok(anchor)
    }

    /// Opens the feed at the right height, if it is not open.
    pub(super) async fn open(&mut self, chain: &ChainFacts, tip: &HeadBlock) -> Result<(), Stop> {
        if self.feed.is_none() {
            let height = self.start_height(tip).await?;
            tracing::info!(height, after = tip.number, "reading HotShot");
            self.feed = Some(Feed::new((self.open_feed)(chain.namespace), height));
            self.batchers.nothing_skipped();
        }
        Ok(())
    }

    /// Where reading starts: the stored position, unless a new batcher may have signed batches
    /// before it; without one, where the batches above the block start.
    async fn start_height(&self, tip: &HeadBlock) -> Result<u64, Stall> {
        match self.keeper.restart_height() {
            Some(height) if self.batchers.may_have_skipped(tip) => {
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
                tracing::warn!(problem, height, "batches of a new batcher may be missed");
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
        match self.light_client_height(contract, tip).await {
            Ok(height) => Ok(height),
            // Asking again would not change the answer.
            Err(
                error @ (LightClientError::NoContract
                | LightClientError::Malformed
                | LightClientError::Upstream(UpstreamError::Rpc { .. })),
            ) => match configured {
                Some(height) => {
                    tracing::warn!(%error, height, "the light client has no height: using initial_hotshot_height");
                    Ok(height)
                }
                None => Err(NoStart::Untold(format!("{error}; or set initial_hotshot_height"))),
            },
            Err(error) => Err(NoStart::Outage(error.to_string())),
        }
    }

    async fn light_client_height(
        &self,
        contract: alloy_primitives::Address,
        tip: &HeadBlock,
    ) -> Result<u64, LightClientError> {
        let origin = match tip.l1_origin {
            Some(origin) => origin,
            None => {
                // Imported or reset: the node has its L1 origin.
                let block = self.node.block(tip.number).await?.ok_or_else(|| {
                    UpstreamError::Malformed(format!("the node does not have block {}", tip.number))
                })?;
                let origin = self.rollup.l1_origin(&block);
                origin.map_err(|error| UpstreamError::Malformed(error.to_string()))?
            }
        };
        Ok(self.l1.light_client(contract, origin).await?.block_height)
    }
}

/// Why it is not known where the batches above a block start.
#[derive(Debug)]
enum NoStart {
    /// A dependency did not answer.
    Outage(String),
    /// No source has it.
    Untold(String),
}

impl From<NoStart> for Stall {
    fn from(no_start: NoStart) -> Self {
        let (NoStart::Outage(problem) | NoStart::Untold(problem)) = no_start;
        Self::StartHeightUnknown(problem)
    }
}
