//! What L1 has finalized, by the node and op-node: asks op-node what is safe, and proves by it what
//! is final ([`samples`]).

mod admission;
mod samples;

use super::{Form, RollupConfig, SafeHead, SyncStatus, consensus::ConsensusSource};
use crate::{
    eth::BlockId,
    head::HeadBlock,
    l1::{OriginVerdict, View},
    node::Block,
    rollup::{Finality, L1Source, NodeSource, Refused},
    store::SafeSample,
    upstream::UpstreamError,
};
use admission::Unadmitted;
use samples::{Samples, covers};

/// A chain, and the op-node that describes it.
#[derive(Debug)]
pub(super) struct Described<'a, F, C> {
    pub(super) form: &'a F,
    pub(super) consensus: &'a C,
    pub(super) config: Option<&'a RollupConfig>,
}

/// What is known by op-node.
#[derive(Debug, Default)]
pub struct Derived {
    samples: Samples,
    /// The highest block that L1 was seen to have decided.
    proven: Option<BlockId>,
    /// What op-node said last.
    status: Option<Result<SyncStatus, UpstreamError>>,
    /// The entry of its safe-head database at L1's final block.
    safe_head: Option<SafeHead>,
}

impl Derived {
    /// Begins with the samples of an earlier run.
    pub(super) fn new(stored: &[SafeSample]) -> Self {
        Self { samples: Samples::new(stored), ..Self::default() }
    }

    /// What op-node said last.
    fn status(&self) -> Result<&SyncStatus, Unadmitted> {
        match &self.status {
            Some(status) => status.as_ref().map_err(|error| error.clone().into()),
            None => Err(Unadmitted::ConsensusNotReady),
        }
    }

    /// Whether a block needs no more proof.
    fn is_proven(&self, block: BlockId) -> bool {
        self.proven.is_some_and(|proven| covers(proven, block))
    }
}

impl Finality for Derived {
    fn forget(&mut self) {
        self.proven = None;
    }

    fn is_unanswered(&self) -> bool {
        self.status().is_err()
    }

    /// op-node, which knows L1, has finalized nothing but genesis.
    fn is_only_genesis(&self, genesis: BlockId) -> bool {
        let Ok(status) = self.status() else { return false };
        let knows_l1 = status.head_l1.is_some_and(|block| !block.hash.is_zero());
        knows_l1 && status.ready_finalized_l2() == Some(genesis)
    }

    /// op-node says that it has finalized nothing after genesis.
    fn bears_out_none(&self, genesis: BlockId) -> bool {
        let finalized = self.status().ok().and_then(SyncStatus::ready_finalized_l2);
        finalized.is_some_and(|block| block.number <= genesis.number)
    }

    fn may_prove(&self, block: BlockId) -> bool {
        self.samples.may_prove(block)
    }

    fn proven(&self) -> Option<BlockId> {
        self.proven
    }

    fn safe(&self) -> Option<u64> {
        let status = self.status.as_ref()?.as_ref().ok()?;
        status.safe_l2.map(|safe| safe.number)
    }

    fn samples(&self) -> &[SafeSample] {
        self.samples.as_slice()
    }
}

/// Asks op-node what is safe, and keeps what may prove something later.
pub(super) async fn ask<F: Form, C: ConsensusSource>(
    chain: &Described<'_, F, C>,
    known: &mut Derived,
    finalized: Option<BlockId>,
    trusted: bool,
    l1: &View,
) {
    let status = chain.consensus.sync_status().await;
    let is_open = finalized.is_some_and(|block| !trusted && !known.is_proven(block));
    known.safe_head = match l1.finalized() {
        // The database is not needed for what is proven already.
        Some(l1) if status.is_ok() && is_open => {
            chain.consensus.safe_head_at(l1.number).await.ok().flatten()
        }
        _ => None,
    };
    if let Ok(status) = &status
        && let Some(sample) = SafeSample::of(status, window(chain.config))
    {
        known.samples.add(sample);
    }
    known.status = Some(status);
}

/// Judges the node's `finalized`; see [`Rollup::judge_finalized`](crate::rollup::Rollup).
#[expect(clippy::too_many_arguments, reason = "all that the verdict depends on")]
pub(super) async fn judge<F: Form, C: ConsensusSource>(
    chain: &Described<'_, F, C>,
    known: &mut Derived,
    block: BlockId,
    admitted: Option<HeadBlock>,
    trusted: bool,
    node: &impl NodeSource<Block>,
    l1: &impl L1Source,
    view: &mut View,
) -> (Option<HeadBlock>, Option<Refused>) {
    let proven =
        if trusted { Some(block) } else { known.prove(chain, block, node, l1, view).await };
    let refused = (proven != Some(block)).then_some(Unadmitted::Unproven { block, proven });
    let Some(proven) = proven else { return (None, refused.map(Refused::from)) };
    let is_proven = |admitted: &HeadBlock| {
        (admitted.number, admitted.hash) == (proven.number, Some(proven.hash))
    };
    let verdict = match admitted.filter(is_proven) {
        Some(admitted) => Ok(admitted),
        None => known.admit(chain, proven, node, l1, view).await,
    };
    let (admitted, other) = (verdict.as_ref().ok().copied(), verdict.err());
    (admitted, other.or(refused).map(Refused::from))
}

fn window(config: Option<&RollupConfig>) -> u64 {
    config.map_or(0, |config| config.seq_window_size)
}

impl Derived {
    async fn admit<F: Form, C: ConsensusSource>(
        &self,
        chain: &Described<'_, F, C>,
        block: BlockId,
        node: &impl NodeSource<Block>,
        l1: &impl L1Source,
        view: &mut View,
    ) -> Result<HeadBlock, Unadmitted> {
        let chain_id = chain.config.map(|config| config.l2_chain_id);
        admission::admit(chain.form, block, chain_id, self.status()?, node, l1, view).await
    }

    /// The block itself if L1 has finalized it, else the highest one below that is proven.
    async fn prove<F: Form, C: ConsensusSource>(
        &mut self,
        chain: &Described<'_, F, C>,
        block: BlockId,
        node: &impl NodeSource<Block>,
        l1: &impl L1Source,
        view: &mut View,
    ) -> Option<BlockId> {
        if let Some(proven) = self.proven
            && !has(node, proven).await
        {
            self.proven = None;
        }
        if !self.is_proven(block) {
            self.note_safe_head(chain, node).await;
            self.raise_proof(node, l1, view).await;
        }
        let proven = self.proven?;
        if covers(proven, block) {
            return Some(block);
        }
        (proven.number < block.number).then_some(proven)
    }

    /// Keeps what the safe-head database says. It does not have the block's L1 origin.
    async fn note_safe_head<F: Form, C: ConsensusSource>(
        &mut self,
        chain: &Described<'_, F, C>,
        node: &impl NodeSource<Block>,
    ) {
        let Some(entry) = self.safe_head else { return };
        let block = node.block(entry.safe_head.number).await.ok().flatten();
        let block = block.filter(|block| block.hash == entry.safe_head.hash);
        let Some(origin) = block.and_then(|block| chain.form.l1_origin(&block).ok()) else {
            return;
        };
        if let Some(sample) = SafeSample::at(entry, origin, window(chain.config)) {
            self.samples.add(sample);
        }
    }

    /// Looks for the highest block that L1 has decided and that the node has.
    async fn raise_proof(
        &mut self,
        node: &impl NodeSource<Block>,
        l1: &impl L1Source,
        view: &mut View,
    ) {
        let Some(finalized) = view.finalized() else { return };
        for sample in self.samples.decided(finalized.number) {
            let SafeSample { current_l1, head_l1, safe } = sample;
            if self.proven.is_some_and(|proven| proven.number >= safe.number) {
                break;
            }
            let mut is_on_l1 = true;
            for block in [current_l1, head_l1] {
                if let OriginVerdict::Ask(block) = view.judge(block) {
                    view.learn(block, l1.hash_at(block.number).await);
                }
                match view.judge(block) {
                    OriginVerdict::Valid => {}
                    OriginVerdict::Invalid => {
                        self.samples.remove(&sample);
                        is_on_l1 = false;
                    }
                    _ => is_on_l1 = false,
                }
            }
            if is_on_l1 && has(node, safe).await {
                self.proven = Some(safe);
                self.samples.keep_from(&sample);
            }
        }
    }
}

async fn has(node: &impl NodeSource<Block>, block: BlockId) -> bool {
    node.hash_at(block.number).await == Ok(Some(block.hash))
}

impl From<Unadmitted> for Refused {
    fn from(unadmitted: Unadmitted) -> Self {
        let problem = unadmitted.to_string();
        match unadmitted {
            Unadmitted::Unproven { block, .. } => Self::Unproven { block, problem },
            _ => Self::Otherwise(problem),
        }
    }
}
