//! OP Stack rollups: batches as Espresso's batcher posts them, and OP Stack blocks.

mod batch;
mod deposit;
mod l1_info;
mod signature;

use alloy_primitives::{Address, B256, keccak256};

use super::{Batch, Difference, Facts, KnownBatchers, Rejected, Rollup};
use crate::{eth::BlockId, node::Block};

pub use batch::OpBatch;
pub use deposit::{DEPOSIT_TYPE, Deposit};
pub use l1_info::{L1InfoError, decode_l1_origin};
pub use signature::{SIGNATURE_LENGTH, recover_signer};

/// The OP Stack, with the addresses whose signatures are read.
#[derive(Debug, Clone, Default)]
pub struct Op {
    batchers: KnownBatchers,
}

/// What is kept of an OP batch for its comparison with a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpContent {
    /// Hash of the L1-info deposit, the block's first transaction.
    pub info_deposit: B256,
    /// Hashes of the batch's transactions, the block's last ones.
    pub transactions: Box<[B256]>,
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

impl Rollup for Op {
    type Content = OpContent;

    fn batchers(&self) -> &KnownBatchers {
        &self.batchers
    }

    fn admit(&self, payload: &[u8]) -> Result<Batch<OpContent>, Rejected> {
        let signed = self.authenticate(payload)?;
        let batch = OpBatch::decode(signed.body)?;
        Ok(Batch {
            signer: signed.signer,
            facts: batch.facts(),
            content: OpContent {
                info_deposit: keccak256(batch.info_deposit),
                transactions: batch.transactions.iter().map(keccak256).collect(),
            },
        })
    }

    fn size(batch: &Batch<OpContent>) -> usize {
        size_of::<Batch<OpContent>>() + size_of_val(&*batch.content.transactions)
    }

    fn compare(&self, batch: &Batch<OpContent>, block: &Block) -> Result<(), Difference> {
        if batch.facts.hash != block.hash {
            return Err(Difference::Hash { batch: batch.facts.hash, node: block.hash });
        }
        let differ = |problem: String| Err(Difference::Transactions(problem));
        let Some((first, others)) = block.transactions.split_first() else {
            return differ("the node's block has none".into());
        };
        if first.hash != batch.content.info_deposit {
            return differ(format!(
                "the L1-info deposit is {}, the block's first transaction {}",
                batch.content.info_deposit, first.hash
            ));
        }
        let listed = &batch.content.transactions;
        let Some((deposits, last)) =
            others.len().checked_sub(listed.len()).and_then(|at| others.split_at_checked(at))
        else {
            return differ(format!(
                "the batch lists {}, the block has {} after the L1-info deposit",
                listed.len(),
                others.len()
            ));
        };
        if let Some((batch, block)) =
            listed.iter().zip(last).find(|(batch, block)| **batch != block.hash)
        {
            return differ(format!("the batch lists {batch} where the block has {}", block.hash));
        }
        match deposits.iter().find(|transaction| !transaction.is_type(DEPOSIT_TYPE)) {
            Some(extra) => {
                differ(format!("the batch does not list {}, which is not a deposit", extra.hash))
            }
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
