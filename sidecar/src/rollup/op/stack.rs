//! The rules of the OP Stack: what extends a block, what its L1 origin must be, and what is said of
//! the chain by op-node.

use std::sync::OnceLock;

use alloy_primitives::B256;

use super::{
    Facts, Form, RollupConfig,
    consensus::ConsensusSource,
    descent::can_follow,
    finality::{self, Derived, Described},
};
use crate::{
    batchers::{KnownBatchers, Standing},
    eth::BlockId,
    head::HeadBlock,
    l1::{OriginVerdict, View},
    node::Block,
    rollup::{
        Batch, Chain, ChainError, Difference, Judgment, L1Source, NodeSource, OutOfPlay, Payloads,
        Proven, Refused, Rejected, Rollup, Uncompared, Verified, Waiting,
    },
    store::SafeSample,
};

/// A chain of the OP Stack, whose batches and blocks have a form, with its op-node.
#[derive(Debug)]
pub struct OpStack<F, C> {
    form: F,
    consensus: C,
    /// By op-node, once it is known.
    config: OnceLock<RollupConfig>,
}

impl<F: Form, C: ConsensusSource> OpStack<F, C> {
    /// A chain that this op-node derives.
    #[must_use]
    pub const fn new(form: F, consensus: C) -> Self {
        Self { form, consensus, config: OnceLock::new() }
    }

    /// The time that the block with a number must have.
    fn timestamp(&self, number: Option<u64>) -> Option<u64> {
        self.config.get()?.timestamp(number?)
    }

    fn described(&self) -> Described<'_, F, C> {
        let Self { form, consensus, config } = self;
        Described { form, consensus, config: config.get() }
    }
}

impl<F: Form, C: ConsensusSource> Rollup for OpStack<F, C> {
    type Facts = Facts;
    type Content = F::Content;
    type Block = Block;
    type Below = ();
    /// The hash at the height of this L1 block.
    type Question = BlockId;
    type Finality = Derived;

    fn batchers(&self) -> &KnownBatchers {
        self.form.batchers()
    }

    async fn chain(
        &self,
        chain_id: u64,
        node: &impl NodeSource<Block>,
    ) -> Result<Chain, ChainError> {
        let config = self.consensus.rollup_config().await?;
        if config.l2_chain_id != chain_id {
            return Err(ChainError::Mismatched(format!(
                "node_execution_rpc is of chain {chain_id}, node_consensus_rpc of chain {}",
                config.l2_chain_id
            )));
        }
        let genesis = config.genesis.l2;
        match node.hash_at(genesis.number).await? {
            Some(hash) if hash != genesis.hash => {
                return Err(ChainError::Mismatched(format!(
                    "the node's block {} is {hash}, op-node's rollup starts with {}",
                    genesis.number, genesis.hash
                )));
            }
            Some(_) => {}
            None => {
                return Err(ChainError::Unknown("the node does not have the genesis block".into()));
            }
        }
        let chain = Chain {
            genesis,
            genesis_l1: Some(config.genesis.l1),
            l1_chain_id: Some(config.l1_chain_id),
            block_time: Some(config.block_time),
            authenticator: config.authenticator(),
        };
        self.config.get_or_init(|| config);
        Ok(chain)
    }

    fn admit(
        &self,
        payload: &[u8],
        _: Option<u64>,
    ) -> impl IntoIterator<Item = Result<Batch<Facts, F::Content>, Rejected>> {
        [self.form.admit(payload)]
    }

    fn can_follow(&self, tip: &HeadBlock, batch: &Batch<Facts, F::Content>) -> bool {
        can_follow(tip, self.timestamp(tip.number.checked_add(1)), &batch.facts)
    }

    fn judge(
        &self,
        tip: &HeadBlock,
        (): &(),
        batch: &Batch<Facts, F::Content>,
        l1: &View,
    ) -> Judgment<BlockId> {
        if !self.can_follow(tip, batch) {
            return Judgment::Out(OutOfPlay::OtherFork);
        }
        let origin = batch.facts.l1_origin;
        if l1.covers(origin) {
            match l1.authority().standing(batch.signer, origin.number) {
                Standing::Authorized => {}
                Standing::Unauthorized => return Judgment::Out(OutOfPlay::Unauthorized),
                Standing::Unknown => return Judgment::Waits(Waiting::BatcherHistory(origin)),
            }
        }
        match l1.judge(origin) {
            OriginVerdict::Valid => Judgment::Decides,
            OriginVerdict::Invalid => Judgment::Out(OutOfPlay::Orphaned),
            OriginVerdict::Ask(origin) => Judgment::Ask(origin),
            OriginVerdict::NotFinal => {
                Judgment::Waits(Waiting::L1Finality { origin, finalized: l1.finalized() })
            }
            OriginVerdict::Unanswered => {
                let problem = l1.problem_with(origin).cloned();
                Judgment::Waits(Waiting::L1 { origin, problem })
            }
        }
    }

    fn are_copies(&self, _: &Batch<Facts, F::Content>, _: &Batch<Facts, F::Content>) -> bool {
        false
    }

    async fn ask(&self, origin: BlockId, l1: &impl L1Source, view: &mut View) {
        view.learn(origin, l1.hash_at(origin.number).await);
    }

    fn unanswered(&self, origin: &BlockId) -> Waiting {
        Waiting::L1 { origin: *origin, problem: None }
    }

    async fn below(
        &self,
        _: &HeadBlock,
        _: &impl NodeSource<Block>,
    ) -> Result<Option<()>, crate::upstream::UpstreamError> {
        Ok(Some(()))
    }

    fn compare(
        &self,
        copies: &[&Batch<Facts, F::Content>],
        _: Payloads<'_>,
        (): &(),
        block: &Block,
    ) -> Result<Verified<()>, Uncompared<BlockId>> {
        let Some(batch) = copies.first() else {
            return Err(Difference::Transactions("there is no batch".into()).into());
        };
        self.form.compare(batch, block)?;
        let Facts { number, hash, l1_origin, .. } = batch.facts;
        let block = HeadBlock { number, hash: Some(hash), l1_origin: Some(l1_origin) };
        Ok(Verified { copy: 0, block, proven: Proven::Hash, below: () })
    }

    fn compare_payload(&self, payload: &[u8], _: usize, block: &Block) -> Result<(), Difference> {
        self.form.compare_payload(payload, block)
    }

    fn l1_origin(&self, block: &Block) -> Result<(u64, Option<B256>), Difference> {
        let BlockId { number, hash } = self.form.l1_origin(block)?;
        Ok((number, Some(hash)))
    }

    fn finality(&self, stored: &[SafeSample]) -> Derived {
        Derived::new(stored)
    }

    async fn ask_finality(
        &self,
        known: &mut Derived,
        finalized: Option<BlockId>,
        trusted: bool,
        l1: &View,
    ) {
        finality::ask(&self.described(), known, finalized, trusted, l1).await;
    }

    async fn judge_finalized(
        &self,
        known: &mut Derived,
        finalized: BlockId,
        admitted: Option<HeadBlock>,
        trusted: bool,
        node: &impl NodeSource<Block>,
        (l1, view): (&impl L1Source, &mut View),
    ) -> (Option<HeadBlock>, Option<Refused>) {
        finality::judge(&self.described(), known, finalized, admitted, trusted, node, l1, view)
            .await
    }
}
