//! The chain, and whether the store, the node and L1 agree on it.

use super::{ChainFacts, FeedSource, L1Source, NodeSource, Stall, Stop, Verifier, findings::Chain};
use crate::{
    rollup::{ChainError, Rollup},
    store::Identity,
    upstream::UpstreamError,
};

impl<R: Rollup, N: NodeSource<R::Block>, L: L1Source, F: FeedSource> Verifier<R, N, L, F> {
    /// The chain, requested until it is known.
    pub(super) async fn chain(&mut self) -> Result<ChainFacts, Stop> {
        if let Some(chain) = self.chain {
            return Ok(chain);
        }
        let unknown = |error: UpstreamError| Stall::ChainUnknown(error.to_string());
        let Some(chain_id) = self.keeper.chain_id() else {
            return Err(
                Stall::ChainUnknown("the node has not said which chain it is".into()).into()
            );
        };
        let chain = self.rollup.chain(chain_id, &self.node).await.map_err(Stall::from)?;
        let l1_chain_id = self.l1.chain_id().await.map_err(unknown)?;
        if let Some(expected) = chain.l1_chain_id.filter(|expected| *expected != l1_chain_id) {
            return Err(Stall::ConfigMismatch(format!(
                "l1_rpc is of chain {l1_chain_id}, the rollup's L1 is chain {expected}"
            ))
            .into());
        }
        let namespace = match self.options.namespace {
            Some(namespace) => namespace,
            None => u32::try_from(chain_id).map_err(|_| {
                Stall::ConfigMismatch(format!(
                    "chain id {chain_id} is not a namespace: set namespace"
                ))
            })?,
        };
        let genesis_hash = chain.genesis.hash;
        let identity = Identity { chain_id, genesis_hash, namespace };
        self.keeper.bind(identity).map_err(Stop::Fatal)?;
        tracing::info!(%identity, l1_chain_id, "chain known");
        let block_time = chain.block_time;
        self.findings.chain =
            Some(Chain { chain_id, l1_chain_id, genesis_hash, namespace, block_time });
        let chain = ChainFacts { chain_id, l1_chain_id, chain, namespace };
        self.chain = Some(chain);
        Ok(chain)
    }
}

impl From<ChainError> for Stall {
    fn from(error: ChainError) -> Self {
        match error {
            ChainError::Unknown(problem) => Self::ChainUnknown(problem),
            ChainError::Mismatched(problem) => Self::ConfigMismatch(problem),
        }
    }
}
