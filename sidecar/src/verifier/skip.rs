//! Goes on where the batches above the head start, once Ethereum has overtaken reading or the query
//! services no longer have the next block. Reading never goes back by this.

use finality_core::head::Source;

use super::{FeedSource, L1Source, NodeSource, Stall, Verifier, anchor::NoStart};
use crate::{eth::BlockId, head::HeadBlock, rollup::Rollup};

/// What is known about a later place to read on from.
#[derive(Debug, Default)]
pub(super) struct Skip {
    /// Whether Ethereum has moved the head since the light client was last heard.
    overtaken: bool,
    /// The L1 origin at which it has no height, and why: asking again would not change that.
    untold: Option<(Option<BlockId>, String)>,
}

impl Skip {
    /// Ethereum has moved the head.
    pub(super) fn overtaken(&mut self) {
        (self.overtaken, self.untold) = (true, None);
    }
}

impl<R: Rollup, N: NodeSource<R::Block>, L: L1Source, F: FeedSource> Verifier<R, N, L, F> {
    /// Skips what cannot have a batch above the head, if there is reason to. Returns why reading
    /// cannot go on if the next block cannot be had and no other place is known.
    pub(super) async fn skip_ahead(&mut self) -> Option<Stall> {
        let feed = self.feed.as_ref()?;
        let unavailable = feed.is_unavailable();
        let tip = self.current().filter(|_| self.skip.overtaken || unavailable)?;
        if self.skip.untold.as_ref().is_none_or(|(origin, _)| *origin != tip.l1_origin) {
            self.skip.untold = None;
            match self.later_start(&tip).await {
                Ok(Some(height)) => {
                    self.skip.overtaken = false;
                    self.skip_to(height);
                }
                // It can be told later.
                Ok(None) | Err(NoStart::Outage(_)) => {}
                Err(NoStart::Untold(problem)) => {
                    self.skip.overtaken = false;
                    self.skip.untold = Some((tip.l1_origin, problem));
                }
            }
        }
        let by_ethereum = self.keeper.source() == Some(Source::Ethereum);
        let unavailable = self.feed.as_ref().is_some_and(super::Feed::is_unavailable);
        let (_, problem) = self.skip.untold.as_ref().filter(|_| unavailable && by_ethereum)?;
        Some(Stall::StartHeightUnknown(problem.clone()))
    }

    /// The light client's height at the L1 origin of a block; none while HotShot's blocks do not
    /// show that it is of this HotShot: that it has been reached, and not after that L1 block.
    async fn later_start(&self, tip: &HeadBlock) -> Result<Option<u64>, NoStart> {
        let contract = self.options.light_client;
        let contract =
            contract.ok_or_else(|| NoStart::Untold("set light_client_address".into()))?;
        let (height, origin) = self.light_client_height(contract, tip).await?;
        let Some(feed) = &self.feed else { return Ok(None) };
        if height <= feed.cursor() {
            return Ok(Some(height));
        }
        if feed.height().is_none_or(|reached| height >= reached) {
            return Ok(None);
        }
        let Ok(made) = feed.timestamp(height).await else { return Ok(None) };
        let outage = |error: crate::upstream::UpstreamError| NoStart::Outage(error.to_string());
        if made > self.l1.timestamp(origin).await.map_err(outage)? {
            return Err(NoStart::Untold(format!(
                "the light client says {height} at L1 block {origin}, but that HotShot block is younger (light_client_address)"
            )));
        }
        Ok(Some(height))
    }

    fn skip_to(&mut self, height: u64) {
        let Some(feed) = self.feed.as_ref().filter(|feed| feed.cursor() < height) else { return };
        tracing::info!(
            from = feed.cursor(),
            height,
            "HotShot has no batch above the head before this height: reading on from there"
        );
        self.skip_reading_to(height);
        self.candidates.skip_to(height);
        self.metrics.reset("overtaken");
    }
}
