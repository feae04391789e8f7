//! The newest batch in the namespace.

use std::collections::BTreeSet;

use alloy_primitives::Address;
use espresso_proofs::NamespaceBlock;
use serde::Serialize;

use crate::{
    batchers::BatcherTenure,
    espresso::QueryServices,
    rollup::{
        Rejected,
        nitro::Nitro,
        op::{Form as _, Op},
    },
    upstream::UpstreamError,
};

/// How many requests are made for the newest batch.
const REQUESTS: usize = 20;

/// What is in the namespace.
#[derive(Debug, Serialize)]
pub(super) struct Namespace {
    pub(super) id: u32,
    /// The HotShot blocks that were read: from the first to the second, which is excluded.
    pub(super) read: (u64, u64),
    pub(super) last_batch: Option<LastBatch>,
    /// The authorized batchers whose batches were seen there.
    pub(super) signers: BTreeSet<Address>,
    /// A signer in these blocks that is not an authorized batcher.
    pub(super) other_signer: Option<Address>,
}

/// The newest batch by an authorized batcher.
#[derive(Debug, Serialize)]
pub(super) struct LastBatch {
    pub(super) hotshot_height: u64,
    pub(super) number: u64,
    pub(super) signer: Address,
}

/// Who reads what is posted.
pub(super) enum Reader {
    /// The OP Stack.
    Op(Op),
    /// Nitro, with the number of its first block.
    Nitro(Nitro, u64),
}

impl Reader {
    pub(super) fn op(batchers: &[BatcherTenure]) -> Self {
        Self::Op(Op::new(batchers.iter().map(|tenure| tenure.batcher)))
    }

    pub(super) fn nitro(chain_id: u64, genesis: u64, batchers: &[BatcherTenure]) -> Self {
        let signers = batchers.iter().map(|tenure| tenure.batcher);
        Self::Nitro(Nitro::new(chain_id, signers), genesis)
    }

    /// The numbers of the batches in a payload, and their signers.
    fn batches(&self, payload: &[u8]) -> Result<Vec<(u64, Address)>, Rejected> {
        match self {
            Self::Op(rollup) => {
                rollup.admit(payload).map(|batch| vec![(batch.facts.number, batch.signer)])
            }
            Self::Nitro(rollup, genesis) => {
                let posted = rollup.admit(payload)?.into_iter().flatten();
                let batches = posted.filter_map(|posted| {
                    let number = posted.message.position.checked_add(*genesis)?;
                    Some((number, posted.signatures.first()?.signer))
                });
                Ok(batches.collect())
            }
        }
    }
}

/// Reads the namespace backwards until a batch of an authorized batcher is found.
pub(super) async fn read(services: &QueryServices, id: u32, rollup: &Reader) -> Option<Namespace> {
    let height = services.height().await.ok()?;
    let mut span = services.range_limit().await.ok()?.max(1);
    let mut found = Namespace {
        id,
        read: (height, height),
        last_batch: None,
        signers: BTreeSet::new(),
        other_signer: None,
    };
    for _ in 0..REQUESTS {
        let (until, _) = found.read;
        let from = until.saturating_sub(span);
        if from == until {
            break;
        }
        match services.range(from, until).await {
            Ok(blocks) => {
                found.read.0 = from;
                found.look_through(rollup, from, &blocks.payloads);
                if found.last_batch.is_some() {
                    break;
                }
            }
            Err(UpstreamError::TooLarge { .. }) if span > 1 => span /= 2,
            // The payload of the newest block may come later than its number.
            Err(UpstreamError::Absent(_)) if until == height && until > 0 => {
                found.read = (until - 1, until - 1);
            }
            Err(_) => break,
        }
    }
    Some(found)
}

impl Namespace {
    fn look_through(&mut self, rollup: &Reader, from: u64, blocks: &[NamespaceBlock]) {
        for (block, hotshot_height) in blocks.iter().zip(from..) {
            for payload in block.payloads() {
                match rollup.batches(payload) {
                    Ok(batches) => {
                        for (number, signer) in batches {
                            self.last_batch = Some(LastBatch { hotshot_height, number, signer });
                            self.signers.insert(signer);
                        }
                    }
                    Err(Rejected::UnauthorizedSigner(signer)) => self.other_signer = Some(signer),
                    Err(_) => {}
                }
            }
        }
    }
}
