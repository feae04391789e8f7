//! The rules of a Nitro chain: which copies decide, what they prove, and what the parent chain has
//! finalized.

use std::{
    cmp::Reverse,
    sync::{Arc, OnceLock},
};

use alloy_primitives::B256;
use parking_lot::Mutex;

use super::{
    Below, Copy, Facts, Nitro, NitroBlock, Origin,
    compare::{self, Unequal},
    copy::{self, batch_of},
    delayed::{Delayed, DelayedInbox, DelayedPlace, Known, ParentSource},
    finality::{self, Settled},
    interface,
};
use crate::{
    batchers::{KnownBatchers, Standing},
    config::NitroRequire,
    eth::BlockId,
    head::HeadBlock,
    l1::View,
    rollup::{
        Batch, Chain, ChainError, Difference, Judgment, L1Source, NodeSource, OutOfPlay, Payloads,
        Proven, Refused, Rejected, Rollup, Uncompared, Verified, Waiting,
    },
    store::SafeSample,
    upstream::UpstreamError,
};

/// A Nitro chain with its parent chain.
#[derive(Debug)]
pub struct NitroChain<P> {
    signers: KnownBatchers,
    pub(super) parent: P,
    require: NitroRequire,
    /// The number of the first block, if it is set.
    genesis: Option<u64>,
    known: OnceLock<Begun>,
    inbox: DelayedInbox,
    /// Messages that contradict the parent chain: they were sequenced before a reorg of it, and so
    /// were those behind them.
    contradicted: Mutex<Vec<Batch<Facts, Copy>>>,
}

/// What the node says of the chain.
#[derive(Debug)]
struct Begun {
    reader: Nitro,
    /// The number of the first block, position 0.
    genesis: u64,
}

/// What the parent chain tells of a message that its bridge has.
enum Told {
    Message(Arc<Delayed>),
    /// It was not delivered at that time.
    Elsewhere,
    /// Whether it was delivered at that time.
    Nothing,
}

/// The chain before Nitro had blocks of another kind.
const ARBITRUM_ONE: u64 = 42_161;
const FIRST_OF_ARBITRUM_ONE: u64 = 22_207_817;

/// Batches this far above the next block are not kept.
const HORIZON: u64 = 1 << 20;

/// How many of those are kept.
const CONTRADICTED: usize = 64;

impl<P: ParentSource> NitroChain<P> {
    /// A chain that settles on this parent chain.
    #[must_use]
    pub fn new(parent: P, genesis: Option<u64>, require: NitroRequire) -> Self {
        Self {
            signers: KnownBatchers::default(),
            parent,
            require,
            genesis,
            known: OnceLock::new(),
            inbox: DelayedInbox::default(),
            contradicted: Mutex::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn known_as(self, chain_id: u64) -> Self {
        self.begin(chain_id, 0);
        self
    }

    /// How many messages are known to contradict the parent chain.
    #[cfg(test)]
    pub(super) fn contradicted(&self) -> usize {
        self.contradicted.lock().len()
    }

    /// From now on it is this chain, with this first block.
    pub fn begin(&self, chain_id: u64, genesis: u64) {
        let signers = self.signers.clone();
        self.known.get_or_init(|| Begun { reader: Nitro::with(chain_id, signers), genesis });
    }

    pub(super) fn chain_id(&self) -> u64 {
        self.known.get().map_or(0, |known| known.reader.chain_id)
    }

    /// The number of the first block.
    async fn first_block(
        &self,
        chain_id: u64,
        node: &impl NodeSource<NitroBlock>,
    ) -> Result<u64, ChainError> {
        match (self.genesis, interface::genesis_block(node).await?) {
            (Some(set), Some(said)) if set != said => Err(ChainError::Mismatched(format!(
                "the node's configuration of the chain has the first block {said}, genesis_block is {set}"
            ))),
            (Some(number), _) | (None, Some(number)) => Ok(number),
            (None, None) if chain_id == ARBITRUM_ONE => Ok(FIRST_OF_ARBITRUM_ONE),
            (None, None) => Ok(0),
        }
    }

    fn known(&self) -> Result<&Begun, Rejected> {
        let unknown = || Rejected::Structure("the chain is not known yet".into());
        self.known.get().ok_or_else(unknown)
    }

    /// The message of the delayed inbox at a place, which the bridge has by its count.
    fn delayed(&self, place: DelayedPlace) -> Result<Told, Uncompared<DelayedPlace>> {
        let index = place.index;
        match self.inbox.get(place) {
            None => Err(Uncompared::Ask(place)),
            Some(Known::Final(message)) => Ok(Told::Message(message)),
            Some(Known::Elsewhere) => Ok(Told::Elsewhere),
            Some(Known::Untold) => Ok(Told::Nothing),
            Some(Known::NotFinal(finalized)) => {
                let finalized = finalized.map(|(block, _)| block);
                Err(Uncompared::Waits(Waiting::ParentFinality { index, finalized }))
            }
            Some(Known::Unanswered(problem)) => {
                Err(Uncompared::Waits(Waiting::Parent { index, problem: problem.to_string() }))
            }
        }
    }

    /// Asks the parent chain for a message, and keeps the answer for a while.
    pub async fn ask_parent(&self, place: DelayedPlace) {
        self.inbox.ask(place, self.chain_id(), &self.parent).await;
    }

    /// Whether the inputs of a block may be proven by a copy, and are.
    fn inputs(
        &self,
        at: usize,
        copies: &[&Batch<Facts, Copy>],
        payloads: Payloads<'_>,
        below: &Below,
        block: &NitroBlock,
    ) -> Result<(), Uncompared<DelayedPlace>> {
        let Some(batch) = copies.get(at) else { return Ok(()) };
        let names_another = |other: &&&Batch<Facts, Copy>| {
            other.content.is_same_message(&batch.content)
                && other.facts.block_hash.is_some_and(|hash| hash != block.hash)
        };
        if let Some(other) = copies.iter().find(names_another) {
            let hash = other.facts.block_hash.unwrap_or_default();
            return Err(Difference::Hash { batch: hash, node: block.hash }.into());
        }
        if batch.content.may_hide_a_hash(&batch.facts) {
            return Err(Uncompared::Waits(Waiting::HashHidden));
        }
        let omitted = batch.content.content.is_none();
        // Each copy says itself when the message was delivered.
        let delayed = match compare::place(batch.facts.number, block, below)? {
            Some(index) if batch.content.delayed_messages_read == block.delayed_messages_read => {
                let timestamp = batch.content.header.timestamp;
                match self.delayed(DelayedPlace { index, timestamp })? {
                    Told::Message(message) => Some(message),
                    Told::Nothing => return Err(Uncompared::Waits(not_found(index))),
                    Told::Elsewhere => {
                        let problem = format!("no delayed message {index} was delivered then");
                        let number = block.number;
                        return Err(Difference::Malformed { number, problem }.into());
                    }
                }
            }
            _ => None,
        };
        let delayed = delayed.as_deref();
        if delayed.is_some_and(|delayed| omitted && delayed.transactions.is_none()) {
            return Err(Uncompared::Waits(unreadable(block.delayed_messages_read)));
        }
        let read = match (delayed, payloads.get(at)) {
            (Some(delayed), _) if omitted => Some(delayed.hashes.clone()),
            (_, Some((payload, part))) => self.hashes_again(batch, payload, part),
            _ => None,
        };
        match compare::inputs(batch, block, below, delayed, read.as_deref()) {
            Ok(()) => Ok(()),
            Err(Unequal::Differs(difference)) => Err(difference.into()),
            Err(Unequal::Shortened) if payloads.is_read(at) => {
                Err(Difference::Transactions("the message cannot be read again".into()).into())
            }
            Err(Unequal::Shortened) => Err(Uncompared::Payload(at)),
        }
    }

    /// The hashes that a message parses to, from the payload in which it was posted.
    fn hashes_again(
        &self,
        batch: &Batch<Facts, Copy>,
        payload: &[u8],
        part: usize,
    ) -> Option<Vec<B256>> {
        let reader = &self.known.get()?.reader;
        let posted = reader.admit(payload).ok()?.into_iter().nth(part)?.ok()?;
        let (number, l1_block) = (batch.facts.number, batch.facts.l1_block);
        let counts = |signer| !self.signers.rules_out(signer, l1_block);
        let again = batch_of(&posted, number, l1_block, reader.chain_id, counts)?;
        (again == *batch).then(|| copy::hashes(copy::parsed(&posted.message, reader.chain_id)))
    }

    fn is_superseded(&self, number: u64) -> bool {
        self.contradicted.lock().iter().any(|batch| batch.facts.number < number)
    }

    /// A block is proven by one of these copies: what contradicts below is behind, and what is of
    /// their group was a twist.
    fn is_past(&self, number: u64, copies: &[&Batch<Facts, Copy>]) {
        let is_twist = |batch: &Batch<Facts, Copy>| copies.iter().any(|copy| is_twin(copy, batch));
        let mut contradicted = self.contradicted.lock();
        contradicted.retain(|batch| batch.facts.number >= number && !is_twist(batch));
    }

    /// Of each group one is enough. Where there are too many, the lowest tell the least: what is
    /// above them is not behind for as long.
    fn contradicts(&self, batch: &Batch<Facts, Copy>) {
        let mut contradicted = self.contradicted.lock();
        if contradicted.iter().any(|known| is_twin(known, batch)) {
            return;
        }
        contradicted.push(*batch);
        if contradicted.len() > CONTRADICTED {
            let numbers = contradicted.iter().map(|batch| batch.facts.number).enumerate();
            let lowest = numbers.min_by_key(|(at, number)| (*number, Reverse(*at)));
            lowest.map(|(at, _)| contradicted.remove(at));
        }
    }
}

/// Whether two messages are for one block and of one group.
fn is_twin(one: &Batch<Facts, Copy>, other: &Batch<Facts, Copy>) -> bool {
    one.facts.number == other.facts.number && one.content.is_of_one_group(&other.content)
}

/// That is no contradiction: what tells of logs may lag.
fn not_found(index: u64) -> Waiting {
    let problem = "the bridge's event is not found in the blocks of the message's time".into();
    Waiting::Parent { index, problem }
}

/// Only a copy without its content needs it from the parent chain.
fn unreadable(delayed_messages_read: u64) -> Waiting {
    let problem = "its data on the parent chain do not have the hash that the bridge has".into();
    Waiting::Parent { index: delayed_messages_read.saturating_sub(1), problem }
}

impl<P: ParentSource> Rollup for NitroChain<P> {
    type Facts = Facts;
    type Content = Copy;
    type Block = NitroBlock;
    type Below = Below;
    /// The message of the delayed inbox at this place.
    type Question = DelayedPlace;
    type Finality = Settled;

    fn batchers(&self) -> &KnownBatchers {
        &self.signers
    }

    async fn chain(
        &self,
        chain_id: u64,
        node: &impl NodeSource<NitroBlock>,
    ) -> Result<Chain, ChainError> {
        let number = self.first_block(chain_id, node).await?;
        // The whole block: a node of another kind of chain is found out before it is believed.
        let Some(block) = node.block(number).await? else {
            let problem = format!("the node does not have block {number} (genesis_block)");
            return Err(ChainError::Unknown(problem));
        };
        self.begin(chain_id, number);
        Ok(Chain {
            genesis: BlockId { number, hash: block.hash },
            genesis_l1: None,
            l1_chain_id: None,
            block_time: None,
            authenticator: None,
        })
    }

    fn measures_by_hotshot(&self) -> bool {
        self.signers.are_limited()
    }

    fn authenticate(&self, payload: &[u8]) -> Result<(), Rejected> {
        self.known()?.reader.authenticate(payload)
    }

    fn admit(
        &self,
        payload: &[u8],
        l1_finalized: Option<u64>,
    ) -> impl IntoIterator<Item = Result<Batch<Facts, Copy>, Rejected>> {
        let Begun { reader, genesis } = match self.known() {
            Ok(known) => known,
            Err(rejected) => return vec![Err(rejected)],
        };
        let l1_block = l1_finalized.unwrap_or(0);
        let counts = |signer| !self.signers.rules_out(signer, l1_block);
        let posted = match reader.admit(payload) {
            Ok(posted) => posted,
            Err(rejected) => return vec![Err(rejected)],
        };
        let batches = posted.into_iter().map(|posted| {
            let posted = posted.map_err(|refused| refused.rejected)?;
            let number = posted.message.position.checked_add(*genesis);
            let number = number.filter(|number| number > genesis).ok_or_else(|| {
                Rejected::Inconsistent("no block belongs to that position".into())
            })?;
            let by_nobody = || {
                let signer = posted.signatures.first().map(|signed| signed.signer);
                Rejected::UnauthorizedThere {
                    signer: signer.unwrap_or_default(),
                    l1_origin: l1_block,
                }
            };
            batch_of(&posted, number, l1_block, reader.chain_id, counts).ok_or_else(by_nobody)
        });
        batches.collect()
    }

    fn horizon(&self) -> u64 {
        HORIZON
    }

    fn can_follow(&self, tip: &HeadBlock, batch: &Batch<Facts, Copy>) -> bool {
        batch.facts.number > tip.number
    }

    fn judge(
        &self,
        _: &HeadBlock,
        below: &Below,
        batch: &Batch<Facts, Copy>,
        l1: &View,
    ) -> Judgment<DelayedPlace> {
        match l1.authority().standing(batch.signer, batch.facts.l1_block) {
            Standing::Authorized => {}
            _ => return Judgment::Out(OutOfPlay::Unauthorized),
        }
        let copy = &batch.content;
        // By the block below. Any other may be a twist of a message with another number.
        let index = below.delayed_messages_read;
        match (copy.origin, copy.delayed_messages_read.checked_sub(index)) {
            (Origin::Sequencer, Some(0)) => return Judgment::Decides,
            (Origin::DelayedInbox, Some(1)) => {}
            _ => return Judgment::Out(OutOfPlay::OtherFork),
        }
        let place = DelayedPlace { index, timestamp: copy.header.timestamp };
        let is_excluded = self.inbox.get(place).is_some_and(|known| known.excludes(place));
        match self.delayed(place) {
            Ok(Told::Message(message)) if message.contradicts(copy).is_none() => Judgment::Decides,
            Err(Uncompared::Ask(place)) => Judgment::Ask(place),
            Err(Uncompared::Waits(waiting)) if !is_excluded => Judgment::Waits(waiting),
            Ok(Told::Nothing) => Judgment::Waits(not_found(index)),
            _ => {
                self.contradicts(batch);
                Judgment::Out(OutOfPlay::Orphaned)
            }
        }
    }

    fn are_copies(&self, one: &Batch<Facts, Copy>, other: &Batch<Facts, Copy>) -> bool {
        one.content.is_of_one_group(&other.content)
    }

    fn prefers(&self, one: &Batch<Facts, Copy>, other: &Batch<Facts, Copy>) -> bool {
        let rank = |Batch { facts, content, .. }: &Batch<Facts, Copy>| {
            (content.prefix(facts), facts.block_hash.is_none())
        };
        rank(one) < rank(other)
    }

    async fn ask(&self, place: DelayedPlace, _: &impl L1Source, _: &mut View) {
        self.ask_parent(place).await;
    }

    fn unanswered(&self, place: &DelayedPlace) -> Waiting {
        let problem = "it was asked again and again".into();
        Waiting::Parent { index: place.index, problem }
    }

    async fn below(
        &self,
        tip: &HeadBlock,
        node: &impl NodeSource<NitroBlock>,
    ) -> Result<Option<Below>, UpstreamError> {
        let block = node.block(tip.number).await?;
        let block = block.filter(|block| tip.hash.is_none_or(|hash| hash == block.hash));
        Ok(block.as_ref().map(Below::from))
    }

    fn compare(
        &self,
        copies: &[&Batch<Facts, Copy>],
        payloads: Payloads<'_>,
        below: &Below,
        block: &NitroBlock,
    ) -> Result<Verified<Below>, Uncompared<DelayedPlace>> {
        let Some(first) = copies.first() else {
            return Err(Difference::Transactions("there is no copy".into()).into());
        };
        let number = first.facts.number;
        let read = compare::place(number, block, below)?;
        // Whatever the copies say of it, the parent chain must have the message that was read.
        if let Some(index) = read {
            let timestamp = first.content.header.timestamp;
            self.delayed(DelayedPlace { index, timestamp })?;
        }
        let verified = |copy, proven| {
            self.is_past(number, copies);
            let hash = Some(block.hash);
            let head = HeadBlock { number, hash, l1_origin: None };
            Ok(Verified { copy, block: head, proven, below: Below::from(block) })
        };
        let proves = |batch: &&Batch<Facts, Copy>| batch.facts.block_hash == Some(block.hash);
        if let Some(at) = copies.iter().position(proves) {
            return verified(at, Proven::Hash);
        }
        let mut refused = None;
        if self.require == NitroRequire::Hash {
            let named = copies.iter().find_map(|batch| batch.facts.block_hash);
            refused = Some(match named {
                Some(batch) => Difference::Hash { batch, node: block.hash }.into(),
                None => Uncompared::Waits(Waiting::HashUnsigned),
            });
        }
        for at in 0..copies.len() {
            if self.require == NitroRequire::Hash {
                break;
            }
            match (self.inputs(at, copies, payloads, below, block), &refused) {
                (Ok(()), _) => return verified(at, Proven::Inputs),
                (Err(error @ (Uncompared::Payload(_) | Uncompared::Ask(_))), _) => {
                    return Err(error);
                }
                (Err(error), None | Some(Uncompared::Differs(_))) => refused = Some(error),
                (Err(_), Some(_)) => {}
            }
        }
        match refused {
            Some(Uncompared::Differs(_)) if self.is_superseded(number) => {
                Err(Uncompared::Waits(Waiting::Superseded))
            }
            Some(refused) => Err(refused),
            None => Err(Difference::Transactions("there is no copy".into()).into()),
        }
    }

    fn compare_payload(&self, _: &[u8], _: usize, _: &NitroBlock) -> Result<(), Difference> {
        Ok(())
    }

    /// Before version 8, ArbOS added one to the number.
    fn l1_origin(&self, block: &NitroBlock) -> Result<(u64, Option<B256>), Difference> {
        Ok((block.l1_block_number.saturating_sub(1), None))
    }

    fn finality(&self, _: &[SafeSample]) -> Settled {
        Settled::default()
    }

    async fn ask_finality(
        &self,
        known: &mut Settled,
        finalized: Option<BlockId>,
        trusted: bool,
        _: &View,
    ) {
        if finalized.is_some() && !trusted {
            known.ask(&self.parent).await;
        }
    }

    async fn judge_finalized(
        &self,
        known: &mut Settled,
        finalized: BlockId,
        admitted: Option<HeadBlock>,
        trusted: bool,
        node: &impl NodeSource<NitroBlock>,
        _: (&impl L1Source, &mut View),
    ) -> (Option<HeadBlock>, Option<Refused>) {
        let verdict = finality::judge(known, finalized, self.chain_id(), trusted, node).await;
        (verdict.0.or(admitted), verdict.1)
    }
}
