//! Messages of the delayed inbox, as the parent chain has them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use alloy_primitives::{B256, U256, keccak256};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    Copy, Message, MessageHeader, MessageKind, Transactions,
    copy::{self, parsed},
};
use crate::{
    eth::BlockId,
    l1::{DelayedMessage, Sought},
    upstream::UpstreamError,
};

/// The parent chain, where bridge, inbox and sequencer inbox are.
pub trait ParentSource: Send + Sync + 'static {
    /// The newest final block, unless that must be said once more, and how often a final block
    /// turned out to be wrong.
    fn finalized(
        &self,
    ) -> impl Future<Output = Result<(Option<BlockId>, u64), UpstreamError>> + Send;

    /// How many messages the bridge has after a block.
    fn delayed_count(
        &self,
        block: BlockId,
    ) -> impl Future<Output = Result<u64, UpstreamError>> + Send;

    /// When a block was made, seconds since the epoch.
    fn made_at(&self, block: BlockId) -> impl Future<Output = Result<u64, UpstreamError>> + Send;

    /// The message with an index, which the bridge has at a final block, if it is in a block that
    /// was made at this time.
    fn delayed_message(
        &self,
        place: DelayedPlace,
        finalized: BlockId,
    ) -> impl Future<Output = Result<Sought<DelayedMessage>, UpstreamError>> + Send;

    /// How many batches the sequencer inbox has after a block.
    fn batch_count(
        &self,
        block: BlockId,
    ) -> impl Future<Output = Result<u64, UpstreamError>> + Send;
}

/// Where a message of the delayed inbox is, as a copy of it says.
#[derive(Debug, Clone, std::marker::Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DelayedPlace {
    /// Its index.
    pub index: u64,
    /// Time of its block, seconds since the epoch.
    pub timestamp: u64,
}

/// What is kept of a message of the delayed inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delayed {
    pub(super) header: MessageHeader,
    pub(super) data_hash: B256,
    /// What it comes to; none if its data could not be read, or are others than the bridge says.
    pub(super) transactions: Option<Transactions>,
    /// What it parses to, in full.
    pub(super) hashes: Vec<B256>,
}

impl Delayed {
    pub(super) fn of(index: u64, message: &DelayedMessage, chain_id: u64) -> Self {
        let DelayedMessage { kind, sender, block_number, timestamp, base_fee, .. } = *message;
        let header = MessageHeader {
            kind: MessageKind(kind),
            poster: sender,
            block_number,
            timestamp,
            request_id: Some(B256::from(U256::from(index))),
            l1_base_fee: base_fee,
        };
        let data = message.data.as_ref().filter(|data| keccak256(data) == message.data_hash);
        let parsed = data.map(|data| {
            let whole = Message {
                position: 0,
                delayed_messages_read: index.saturating_add(1),
                header,
                content: data.as_ref().into(),
                batch_gas: None,
                batch_data: None,
            };
            parsed(&whole, chain_id)
        });
        let transactions = parsed.as_ref().map(Transactions::of);
        let hashes = parsed.map(copy::hashes).unwrap_or_default();
        Self { header, data_hash: message.data_hash, transactions, hashes }
    }

    /// What of a copy of the message is not as the parent chain has it.
    pub(super) fn contradicts(&self, copy: &Copy) -> Option<&'static str> {
        if copy.header != self.header {
            return Some("the header of the delayed message");
        }
        let differs = copy.content.is_some_and(|content| content != self.data_hash);
        differs.then_some("the content of the delayed message")
    }
}

/// What is known of a message of the delayed inbox.
#[derive(Debug, Clone)]
pub(super) enum Known {
    /// It is on the parent chain, at or below its final block.
    Final(Arc<Delayed>),
    /// The bridge has it, but not in the blocks of that time.
    Elsewhere,
    /// The bridge has it by its count, but no event tells of it in the blocks of that time.
    Untold,
    /// It is not on the parent chain up to its final block, which was made at this time.
    NotFinal(Option<(BlockId, u64)>),
    /// The parent chain gave no answer.
    Unanswered(UpstreamError),
}

impl Known {
    /// Whether the parent chain, as far as it is final, has no such message at that time.
    pub(super) const fn excludes(&self, DelayedPlace { timestamp, .. }: DelayedPlace) -> bool {
        match self {
            Self::Elsewhere => true,
            Self::NotFinal(Some((_, made_at))) => timestamp < *made_at,
            _ => false,
        }
    }

    /// For how long it tells something.
    fn age(&self) -> Duration {
        match self {
            Self::Final(message) if message.transactions.is_some() => FINAL_AGAIN,
            Self::Elsewhere => FINAL_AGAIN,
            _ => AGAIN,
        }
    }

    const fn is_found(&self) -> bool {
        matches!(self, Self::Final(_))
    }
}

/// What the parent chain has said, for a while.
#[derive(Debug, Default)]
pub(super) struct DelayedInbox {
    known: Mutex<BTreeMap<DelayedPlace, (Known, Instant)>>,
    epoch: Mutex<u64>,
}

/// After that, what is not final or was not answered is asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// The same for what is final: a final block may turn out to be wrong.
const FINAL_AGAIN: Duration = Duration::from_secs(600);
/// How many places are kept: more than there are copies of one message.
const KEPT: usize = 128;

impl DelayedInbox {
    /// What is known of a message; none if it must be asked for. There is one with an index, so
    /// what is known of it at one time tells of all, unless it is not there.
    pub(super) fn get(&self, place: DelayedPlace) -> Option<Known> {
        let all = self.known.lock();
        let of_index = |timestamp| DelayedPlace { timestamp, ..place };
        let of_index = all.range(of_index(0)..=of_index(u64::MAX));
        let fresh = of_index.filter(|(_, (known, at))| at.elapsed() < known.age());
        let rank = |at: &DelayedPlace, known: &Known| match known {
            Known::Final(_) => Some(0),
            _ if *at == place => Some(1),
            Known::Elsewhere | Known::Untold => None,
            Known::NotFinal(_) | Known::Unanswered(_) => Some(2),
        };
        let ranked = fresh.filter_map(|(at, (known, _))| Some((rank(at, known)?, known)));
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, known)| known.clone())
    }

    /// Asks the parent chain for a message.
    pub(super) async fn ask(&self, place: DelayedPlace, chain_id: u64, parent: &impl ParentSource) {
        let known = self.read(place, chain_id, parent).await;
        let known = known.unwrap_or_else(Known::Unanswered);
        let mut all = self.known.lock();
        all.insert(place, (known, Instant::now()));
        while all.len() > KEPT {
            // What was found tells of all that claims its index.
            let oldest = all.iter().min_by_key(|(_, (known, at))| (known.is_found(), *at));
            let oldest = oldest.map(|(place, _)| *place);
            oldest.map(|oldest| all.remove(&oldest));
        }
    }

    async fn read(
        &self,
        place: DelayedPlace,
        chain_id: u64,
        parent: &impl ParentSource,
    ) -> Result<Known, UpstreamError> {
        let (finalized, epoch) = parent.finalized().await?;
        if std::mem::replace(&mut *self.epoch.lock(), epoch) != epoch {
            self.known.lock().clear();
        }
        let Some(finalized) = finalized else { return Ok(Known::NotFinal(None)) };
        if parent.delayed_count(finalized).await? <= place.index {
            let made_at = parent.made_at(finalized).await?;
            return Ok(Known::NotFinal(Some((finalized, made_at))));
        }
        Ok(match parent.delayed_message(place, finalized).await? {
            Sought::Found(message) => {
                Known::Final(Arc::new(Delayed::of(place.index, &message, chain_id)))
            }
            Sought::Elsewhere => Known::Elsewhere,
            Sought::Untold => Known::Untold,
        })
    }
}
