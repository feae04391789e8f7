//! OP Stack rollups: batches as Espresso's batcher posts them, OP Stack blocks ([`Op`]), and the
//! rules for them ([`OpStack`]).

mod batch;
mod consensus;
mod deposit;
mod descent;
mod finality;
mod l1_info;
mod signature;
mod stack;

use std::fmt::Debug;

use alloy_primitives::{Address, B256, Keccak256, keccak256};

use super::{Batch, Difference, Rejected};
use crate::{
    batchers::KnownBatchers,
    eth::BlockId,
    head::HeadBlock,
    node::{Block, Transaction},
};

pub use batch::{OpBatch, Transactions};
pub use consensus::{
    Consensus, ConsensusSource, Genesis, L2Ref, RollupConfig, SafeHead, SyncStatus,
};
pub use deposit::{DEPOSIT_TYPE, Deposit};
#[cfg(test)]
pub(crate) use descent::can_follow;
pub use finality::Derived;
pub use l1_info::{L1InfoError, decode_l1_origin};
pub use signature::recover_signer;
pub use stack::OpStack;

/// What every batch says about its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// L2 block number.
    pub number: u64,
    /// Hash of the L2 block.
    pub hash: B256,
    /// Hash of its parent.
    pub parent_hash: B256,
    /// L2 block time, seconds since the epoch.
    pub timestamp: u64,
    /// The L1 block that the L2 block is built on.
    pub l1_origin: BlockId,
}

impl super::Facts for Facts {
    fn number(&self) -> u64 {
        self.number
    }

    fn hash(&self) -> Option<B256> {
        Some(self.hash)
    }

    fn names(&self) -> Option<HeadBlock> {
        let Self { number, hash, l1_origin, .. } = *self;
        Some(HeadBlock { number, hash: Some(hash), l1_origin: Some(l1_origin) })
    }

    fn l1_block(&self) -> u64 {
        self.l1_origin.number
    }
}

/// The form of batches and blocks to which the rules of the OP Stack apply.
pub trait Form: Send + Sync + 'static {
    /// What only the comparison of a batch with a block uses.
    type Content: Copy + PartialEq + Debug + Send + Sync + 'static;

    /// The batchers whose signatures [`Self::admit`] accepts.
    fn batchers(&self) -> &KnownBatchers;

    /// As [`Rollup::admit`](super::Rollup::admit); a payload is one batch.
    ///
    /// # Errors
    /// The first failed check.
    fn admit(&self, payload: &[u8]) -> Result<Batch<Facts, Self::Content>, Rejected>;

    /// Compares a batch with the node's block of the same number.
    ///
    /// # Errors
    /// The first difference, as far as the batch tells.
    fn compare(&self, batch: &Batch<Facts, Self::Content>, block: &Block)
    -> Result<(), Difference>;

    /// As [`Rollup::compare_payload`](super::Rollup::compare_payload).
    ///
    /// # Errors
    /// The first difference.
    fn compare_payload(&self, payload: &[u8], block: &Block) -> Result<(), Difference>;

    /// The L1 origin of a block of the node.
    ///
    /// # Errors
    /// When the block is not of this form.
    fn l1_origin(&self, block: &Block) -> Result<BlockId, Difference>;
}

/// The form of the OP Stack, with the addresses whose signatures are read.
#[derive(Debug, Clone, Default)]
pub struct Op {
    batchers: KnownBatchers,
}

/// What is kept of an OP batch for its comparison with a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpContent {
    /// Hash of the L1-info deposit, the block's first transaction.
    pub info_deposit: B256,
    /// How many transactions the batch lists: the block's last ones.
    pub count: usize,
    /// Keccak-256 over the hashes of those transactions, in order.
    pub transactions: B256,
}

impl OpContent {
    fn of(batch: &OpBatch<'_>) -> Self {
        Self {
            info_deposit: keccak256(batch.info_deposit),
            count: batch.transactions.len(),
            transactions: digest(batch.transactions.iter().map(keccak256)),
        }
    }
}

/// Keccak-256 over the hashes of transactions, in order.
fn digest(hashes: impl Iterator<Item = B256>) -> B256 {
    let mut hasher = Keccak256::new();
    hashes.for_each(|hash| hasher.update(hash));
    hasher.finalize()
}

/// A payload of the namespace after its signature was checked.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// The signer.
    pub signer: Address,
    /// What was signed: the RLP of the batch.
    pub body: &'a [u8],
}

impl Op {
    /// A rollup whose batches are signed by one of `batchers`.
    pub fn new(batchers: impl IntoIterator<Item = Address>) -> Self {
        Self { batchers: batchers.into_iter().collect() }
    }

    /// Checks the signer of a payload before anything else of it is read.
    ///
    /// # Errors
    /// [`Rejected`] if there is no valid signature, or if the signer is not authorized.
    pub fn authenticate<'a>(&self, payload: &'a [u8]) -> Result<Signed<'a>, Rejected> {
        let signed = recover_signer(payload)?;
        if self.batchers.contains(&signed.signer) {
            Ok(signed)
        } else {
            Err(Rejected::UnauthorizedSigner(signed.signer))
        }
    }
}

impl Form for Op {
    type Content = OpContent;

    fn batchers(&self) -> &KnownBatchers {
        &self.batchers
    }

    fn admit(&self, payload: &[u8]) -> Result<Batch<Facts, OpContent>, Rejected> {
        let Signed { signer, body } = self.authenticate(payload)?;
        let batch = OpBatch::decode(body)?;
        let l1_origin = batch.l1_origin.number;
        if self.batchers.rules_out(signer, l1_origin) {
            return Err(Rejected::UnauthorizedThere { signer, l1_origin });
        }
        Ok(Batch { signer, facts: batch.facts(), content: OpContent::of(&batch) })
    }

    fn compare(&self, batch: &Batch<Facts, OpContent>, block: &Block) -> Result<(), Difference> {
        let listed = listed(&batch.facts, &batch.content, block)?;
        let of_block = digest(listed.iter().map(|transaction| transaction.hash));
        if of_block == batch.content.transactions {
            Ok(())
        } else {
            Err(Difference::Transactions("the block has others than the batch lists".into()))
        }
    }

    fn compare_payload(&self, payload: &[u8], block: &Block) -> Result<(), Difference> {
        let batch = recover_signer(payload).and_then(|signed| OpBatch::decode(signed.body));
        let batch = batch.map_err(|rejected| Difference::Transactions(rejected.to_string()))?;
        let listed = listed(&batch.facts(), &OpContent::of(&batch), block)?;
        let mut pairs = batch.transactions.iter().map(keccak256).zip(listed);
        match pairs.find(|(batch, block)| *batch != block.hash) {
            Some((batch, block)) => Err(Difference::Transactions(format!(
                "the batch lists {batch} where the block has {}",
                block.hash
            ))),
            None => Ok(()),
        }
    }

    fn l1_origin(&self, block: &Block) -> Result<BlockId, Difference> {
        let malformed = |problem: String| Difference::Malformed { number: block.number, problem };
        let first =
            block.transactions.first().ok_or_else(|| malformed("it has no transaction".into()))?;
        if !first.is_type(DEPOSIT_TYPE) {
            return Err(malformed("its first transaction is not a deposit".into()));
        }
        decode_l1_origin(&first.input).map_err(|problem| malformed(problem.to_string()))
    }
}

/// The transactions of a block that a batch for it lists, if all else is equal.
fn listed<'a>(
    facts: &Facts,
    content: &OpContent,
    block: &'a Block,
) -> Result<&'a [Transaction], Difference> {
    if facts.hash != block.hash {
        return Err(Difference::Hash { batch: facts.hash, node: block.hash });
    }
    let differ = |problem: String| Err(Difference::Transactions(problem));
    let Some((first, others)) = block.transactions.split_first() else {
        return differ("the node's block has none".into());
    };
    if first.hash != content.info_deposit {
        return differ(format!(
            "the L1-info deposit is {}, the block's first transaction {}",
            content.info_deposit, first.hash
        ));
    }
    let Some((deposits, last)) =
        others.len().checked_sub(content.count).and_then(|at| others.split_at_checked(at))
    else {
        return differ(format!(
            "the batch lists {}, the block has {} after the L1-info deposit",
            content.count,
            others.len()
        ));
    };
    match deposits.iter().find(|transaction| !transaction.is_type(DEPOSIT_TYPE)) {
        Some(extra) => {
            differ(format!("the batch does not list {}, which is not a deposit", extra.hash))
        }
        None => Ok(last),
    }
}

impl OpBatch<'_> {
    /// The facts of the batch.
    #[must_use]
    pub fn facts(&self) -> Facts {
        Facts {
            number: self.number,
            hash: self.hash,
            parent_hash: self.parent_hash,
            timestamp: self.timestamp,
            l1_origin: self.l1_origin,
        }
    }
}

#[cfg(test)]
mod tests;
