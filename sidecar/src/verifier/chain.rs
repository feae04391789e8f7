//! The chain, and whether the store, the node, op-node and L1 agree on it.

use super::{ChainFacts, FeedSource, L1Source, NodeSource, Stall, Stop, Verifier, findings::Chain};
use crate::{rollup::Rollup, store::Identity, upstream::UpstreamError};

impl<R: Rollup, N: NodeSource, L: L1Source, F: FeedSource> Verifier<R, N, L, F> {
    /// The chain, requested until it is known.
    pub(super) async fn chain(&mut self) -> Result<ChainFacts, Stop> {
        if let Some(chain) = &self.chain {
            return Ok(chain.clone());
        }
        let unknown = |error: UpstreamError| Stall::ChainUnknown(error.to_string());
        let Some(chain_id) = self.keeper.chain_id() else {
            return Err(
                Stall::ChainUnknown("the node has not said which chain it is".into()).into()
            );
        };
        let config = self.node.rollup_config().await.map_err(unknown)?;
        if config.l2_chain_id != chain_id {
            return Err(mismatched(format!(
                "node_execution_rpc is of chain {chain_id}, node_consensus_rpc of chain {}",
                config.l2_chain_id
            )));
        }
        let genesis = config.genesis.l2;
        match self.node.hash_at(genesis.number).await.map_err(unknown)? {
            Some(hash) if hash != genesis.hash => {
                return Err(mismatched(format!(
                    "the node's block {} is {hash}, op-node's rollup starts with {}",
                    genesis.number, genesis.hash
                )));
            }
            Some(_) => {}
            None => {
                return Err(
                    Stall::ChainUnknown("the node does not have the genesis block".into()).into()
                );
            }
        }
        let l1_chain_id = self.l1.chain_id().await.map_err(unknown)?;
        if config.l1_chain_id != l1_chain_id {
            return Err(mismatched(format!(
                "l1_rpc is of chain {l1_chain_id}, the rollup's L1 is chain {}",
                config.l1_chain_id
            )));
        }
        let namespace = match self.options.namespace {
            Some(namespace) => namespace,
            None => u32::try_from(chain_id).map_err(|_| {
                Stall::ConfigMismatch(format!(
                    "chain id {chain_id} is not a namespace: set namespace"
                ))
            })?,
        };
        let identity = Identity { chain_id, genesis_hash: genesis.hash, namespace };
        self.keeper.bind(identity).map_err(Stop::Fatal)?;
        tracing::info!(%identity, l1_chain_id, "chain known");
        self.findings.chain = Some(Chain {
            chain_id,
            l1_chain_id,
            genesis_hash: genesis.hash,
            namespace,
            block_time: config.block_time,
        });
        let chain = ChainFacts { config, namespace };
        self.chain = Some(chain.clone());
        Ok(chain)
    }
}

fn mismatched(problem: String) -> Stop {
    Stop::Stalled(Stall::ConfigMismatch(problem))
}
