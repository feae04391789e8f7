//! A reading of L1: which block is final there, and which endpoints say so. Only the answers of one
//! reading vote, and only the endpoints that voted for its final block are asked for anything else
//! until the next one.

use tokio::time::Instant;

use super::{
    L1,
    batch_authenticator::Entries,
    endpoint::{Endpoint, Look},
};
use crate::{eth::BlockId, upstream::UpstreamError};

/// What L1 says in one reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// The newest final block; none while none counts.
    pub finalized: Option<BlockId>,
    /// Rises when the pinned block turns out to be wrong. What was concluded under an earlier epoch
    /// does not hold any more.
    pub epoch: u64,
    /// Whether a single endpoint has said something new, which counts once it says it again.
    pub unconfirmed: bool,
}

/// What is kept from one reading to the next.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The newest final block that counted: an endpoint votes only if it has that block.
    pub(super) pin: Option<BlockId>,
    pub(super) epoch: u64,
    /// The last reading of a single endpoint, until a later one bears it out.
    pending: Option<Pending>,
    /// The endpoints that have the final block of this reading.
    pub(super) voters: Vec<usize>,
    /// What the BatchAuthenticator said at earlier final blocks.
    pub(super) entries: Entries,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    block: BlockId,
    since: Instant,
}

/// What one endpoint says in a reading.
#[derive(Debug, Clone, Copy)]
struct Heard {
    index: usize,
    finalized: Option<BlockId>,
    /// Its block at the height of the pin.
    at_pin: Option<BlockId>,
    /// Its block at the height of the pending one.
    at_pending: Option<BlockId>,
}

impl<E: Endpoint> L1<E> {
    /// Reads which L1 block is final, from endpoints of this chain.
    ///
    /// Of `n` endpoints `m = n/2 + 1` decide: final is the `m`-th highest `finalized` of which `m`
    /// have the same hash. A single endpoint's `finalized` counts once a later reading bears it
    /// out. The final block does not fall.
    ///
    /// # Errors
    /// [`UpstreamError::NoMajority`] when too few endpoints agree; the error of a single endpoint.
    pub async fn read(&self, chain_id: u64) -> Result<Reading, UpstreamError> {
        let (pin, pending) = {
            let mut memory = self.memory.lock();
            memory.voters.clear();
            (memory.pin, memory.pending)
        };
        let heard = self.hear_all(chain_id, pin, pending).await?;
        let voters = self.voters(heard, pin)?;
        if self.panel.len() == 1 {
            self.weigh_single(&voters)?;
        } else {
            self.weigh_majority(&voters).await?;
        }
        let memory = self.memory.lock();
        let pending = memory.pending.map(|pending| pending.block);
        let unconfirmed =
            pending.is_some_and(|pending| memory.pin.is_none_or(|pin| pin.number < pending.number));
        Ok(Reading { finalized: memory.pin, epoch: memory.epoch, unconfirmed })
    }

    /// Asks every endpoint what it has.
    async fn hear_all(
        &self,
        chain_id: u64,
        pin: Option<BlockId>,
        pending: Option<Pending>,
    ) -> Result<Vec<Heard>, UpstreamError> {
        let everybody = 0..self.panel.len();
        let pending = pending.map(|pending| pending.block);
        let answers = self.panel.ask_all(everybody, self.panel.majority(), |endpoint| async move {
            hear(&endpoint, chain_id, pin, pending).await
        });
        let mut answers = answers.await;
        // Of two that fail, always the same one is told.
        answers.sort_by_key(|(index, _)| *index);
        let mut heard = Vec::new();
        let mut failed = None;
        for (index, answer) in answers {
            match answer {
                Ok(answer) => heard.push(Heard { index, ..answer }),
                Err(error) => _ = failed.get_or_insert(error),
            }
        }
        match failed {
            Some(error) if heard.is_empty() => Err(error),
            _ => Ok(heard),
        }
    }

    /// Those that have the pinned block. When a majority has another block there, the pin was wrong
    /// and is dropped.
    fn voters(
        &self,
        mut heard: Vec<Heard>,
        pin: Option<BlockId>,
    ) -> Result<Vec<Heard>, UpstreamError> {
        let majority = self.panel.majority();
        if let Some(pinned) = pin {
            let contradicts = |heard: &&Heard| heard.at_pin.is_some_and(|block| block != pinned);
            if heard.iter().filter(contradicts).count() >= majority {
                tracing::error!(block = %pinned, "L1 contradicts the final block read before, which is dropped");
                let mut memory = self.memory.lock();
                (memory.pin, memory.pending) = (None, None);
                memory.entries = Entries::default();
                memory.epoch += 1;
            } else {
                heard.retain(|heard| {
                    let problem = match heard.at_pin {
                        Some(block) if block == pinned => return true,
                        Some(block) => format!(
                            "it contradicts the final L1 block {pinned}: it has {} there (l1_rpc)",
                            block.hash
                        ),
                        None => format!("it lags: it does not have the final L1 block {pinned}"),
                    };
                    if let Some(endpoint) = self.panel.endpoints().get(heard.index) {
                        endpoint.reject(&UpstreamError::Distrusted(problem));
                    }
                    false
                });
            }
        }
        if heard.len() >= majority {
            return Ok(heard);
        }
        Err(match (pin, self.panel.len()) {
            (Some(pin), 1) => UpstreamError::Distrusted(format!(
                "the L1 endpoint does not have the final L1 block {pin}"
            )),
            _ => self.panel.no_majority("the final block", heard.len()),
        })
    }

    /// The final block of a single endpoint: its word of an earlier reading, if the endpoint keeps
    /// to it.
    fn weigh_single(&self, voters: &[Heard]) -> Result<(), UpstreamError> {
        let mut memory = self.memory.lock();
        memory.voters = voters.iter().map(|heard| heard.index).collect();
        let Some(Heard { finalized: Some(block), at_pending, .. }) = voters.first().copied() else {
            return Ok(());
        };
        let now = Instant::now();
        let kept = memory.pending.filter(|pending| {
            block.number >= pending.block.number && at_pending == Some(pending.block)
        });
        let age = kept.map(|pending| now.duration_since(pending.since));
        match kept {
            Some(_) if age.is_some_and(|age| age < self.interval) => {}
            kept => {
                if let Some(Pending { block, .. }) = kept {
                    memory.raise(block);
                }
                memory.pending = Some(Pending { block, since: now });
            }
        }
        Ok(())
    }

    /// The final block of several endpoints.
    async fn weigh_majority(&self, voters: &[Heard]) -> Result<(), UpstreamError> {
        let majority = self.panel.majority();
        let mut finals: Vec<_> =
            voters.iter().filter_map(|heard| Some((heard.index, heard.finalized?))).collect();
        if voters.len() - finals.len() >= majority {
            self.memory.lock().voters = voters.iter().map(|heard| heard.index).collect();
            return Ok(());
        }
        finals.sort_by_key(|(_, block)| std::cmp::Reverse(block.number));
        let lowest = finals.iter().skip(majority - 1).map(|(_, block)| block.number);
        let mut numbers: Vec<_> = lowest.collect();
        numbers.dedup();
        for number in numbers {
            let higher = finals.iter().filter(|(_, block)| block.number > number);
            let higher: Vec<_> = higher.map(|(index, _)| *index).collect();
            let asked =
                self.panel.ask_all(higher.iter().copied(), higher.len(), |endpoint| async move {
                    endpoint.block_at(number).await
                });
            let mut blocks: Vec<_> =
                finals.iter().filter(|(_, block)| block.number == number).copied().collect();
            for (index, answer) in asked.await {
                blocks.extend(answer.ok().flatten().map(|block| (index, block)));
            }
            for (_, block) in &blocks {
                let same: Vec<_> = blocks
                    .iter()
                    .filter(|(_, other)| other == block)
                    .map(|(index, _)| *index)
                    .collect();
                if same.len() >= majority {
                    let mut memory = self.memory.lock();
                    memory.voters = match memory.pin {
                        // They have the higher pin.
                        Some(pin) if pin.number > block.number => {
                            voters.iter().map(|heard| heard.index).collect()
                        }
                        _ => same,
                    };
                    memory.raise(*block);
                    return Ok(());
                }
            }
        }
        Err(self.panel.no_majority("the final block", finals.len()))
    }
}

/// Asks an endpoint for its final block, and for more if that is a new one: whoever has a block by
/// its hash has all blocks before it.
async fn hear<E: Endpoint>(
    endpoint: &E,
    chain_id: u64,
    pin: Option<BlockId>,
    pending: Option<BlockId>,
) -> Result<Heard, UpstreamError> {
    let finalized = endpoint.finalized().await?;
    if pin.is_some() && (finalized == pin || finalized == pending) {
        let at_pending = pending.filter(|pending| Some(*pending) == finalized);
        return Ok(Heard { index: 0, finalized, at_pin: pin, at_pending });
    }
    let mut heights: Vec<_> = pin.iter().chain(&pending).map(|block| block.number).collect();
    heights.dedup();
    let Look { chain_id: id, latest, blocks } = endpoint.look(heights).await?;
    let at = |block: Option<BlockId>| {
        let blocks = blocks.iter().flatten();
        block.and_then(|block| blocks.copied().find(|found| found.number == block.number))
    };
    let (at_pin, at_pending) = (at(pin), at(pending));
    let problem = if id != chain_id {
        format!("it is of chain {id}, the rollup's L1 is chain {chain_id} (l1_rpc)")
    } else if finalized.is_some_and(|block| block.number > latest) {
        format!("its finalized block is above its latest block {latest} (l1_rpc)")
    } else {
        return Ok(Heard { index: 0, finalized, at_pin, at_pending });
    };
    let error = UpstreamError::Distrusted(problem);
    endpoint.reject(&error);
    Err(error)
}

impl Memory {
    /// Pins a block unless a higher one is pinned.
    pub(super) fn raise(&mut self, block: BlockId) {
        if self.pin.is_none_or(|pin| pin.number < block.number) {
            self.pin = Some(block);
        }
    }
}
