//! A made-up third kind of rollup: a chain of counters. Its batches know neither hashes nor L1, one
//! payload holds several, and of the copies of one batch any may prove the block. Random schedules
//! against a model of what may be concluded, as in `model`.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, keccak256};
use espresso_proofs::{BlockTreeRoot, Chain as HeaderChain, Checkpoint, Header};
use parking_lot::Mutex;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::{model::cases, world::BATCHER};
use crate::{
    batchers::{BatcherSource, BatcherTenure, KnownBatchers},
    config::HotshotProofs,
    espresso::{Blocks, Headers},
    eth::BlockId,
    head::{HeadBlock, HeadKeeper, PublishedHead},
    l1::{
        BatchAuthenticatorError, BatcherHistory, FinalizedState, LightClientError, Reading, State,
        View,
    },
    node::{NodeBlock, Survey},
    rollup::{
        Batch, BatchOf, Chain, ChainError, Difference, Facts, FeedSource, Finality, Judgment,
        L1Source, NodeSource, OutOfPlay, Payloads, Proven, Refused, Rejected, Rollup, Uncompared,
        Verified, Waiting,
    },
    store::{SafeSample, memory::MemoryStore},
    telemetry::Metrics,
    upstream::{News, UpstreamError},
    verifier::{Board, Options, Parts, Round, Verifier},
};

/// How many blocks there are at most.
const BLOCKS: u64 = 12;
/// How many batches are kept: hardly more than there are different ones for one block.
const ROOM: usize = 26;

/// By how much a block counts further; batches of one group are copies of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Step {
    number: u64,
    group: u8,
    by: u8,
    /// Whether it keeps the form: one that does not decides nothing.
    is_formed: bool,
}

impl Facts for Step {
    fn number(&self) -> u64 {
        self.number
    }

    fn hash(&self) -> Option<B256> {
        None
    }

    fn names(&self) -> Option<HeadBlock> {
        None
    }

    fn l1_block(&self) -> u64 {
        0
    }
}

/// A block: the steps that lead to it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Counter {
    steps: Vec<u8>,
}

impl Counter {
    fn count(&self) -> u64 {
        self.steps.iter().map(|step| u64::from(*step)).sum()
    }

    fn id(&self) -> BlockId {
        BlockId { number: self.number(), hash: self.hash() }
    }
}

impl NodeBlock for Counter {
    fn number(&self) -> u64 {
        self.steps.len() as u64
    }

    fn hash(&self) -> B256 {
        keccak256(&self.steps)
    }
}

struct Counters(KnownBatchers);

/// What Ethereum has finalized is what the node says.
struct Believed;

impl Finality for Believed {
    fn forget(&mut self) {}

    fn is_unanswered(&self) -> bool {
        false
    }

    fn is_only_genesis(&self, _: BlockId) -> bool {
        false
    }

    fn bears_out_none(&self, _: BlockId) -> bool {
        true
    }

    fn may_prove(&self, _: BlockId) -> bool {
        false
    }

    fn proven(&self) -> Option<BlockId> {
        None
    }

    fn safe(&self) -> Option<u64> {
        None
    }

    fn samples(&self) -> &[SafeSample] {
        &[]
    }
}

impl Rollup for Counters {
    type Facts = Step;
    type Content = ();
    type Block = Counter;
    /// The count.
    type Below = u64;
    type Question = ();
    type Finality = Believed;

    fn batchers(&self) -> &KnownBatchers {
        &self.0
    }

    async fn chain(&self, _: u64, _: &impl NodeSource<Counter>) -> Result<Chain, ChainError> {
        Ok(Chain {
            genesis: Counter { steps: Vec::new() }.id(),
            genesis_l1: None,
            l1_chain_id: None,
            block_time: None,
            authenticator: None,
        })
    }

    fn admit(
        &self,
        payload: &[u8],
        _: Option<u64>,
    ) -> impl IntoIterator<Item = Result<BatchOf<Self>, Rejected>> {
        let parts: Vec<(Address, Step)> = serde_json::from_slice(payload).unwrap_or_default();
        let known = |signer| match self.0.contains(&signer) {
            true => Ok(signer),
            false => Err(Rejected::UnauthorizedSigner(signer)),
        };
        let batch = move |(signer, facts)| Ok(Batch { signer: known(signer)?, facts, content: () });
        parts.into_iter().map(batch).collect::<Vec<_>>()
    }

    fn can_follow(&self, tip: &HeadBlock, batch: &BatchOf<Self>) -> bool {
        batch.facts.number > tip.number
    }

    fn judge(&self, _: &HeadBlock, _: &u64, batch: &BatchOf<Self>, _: &View) -> Judgment<()> {
        if batch.facts.is_formed { Judgment::Decides } else { Judgment::Out(OutOfPlay::OtherFork) }
    }

    fn are_copies(&self, one: &BatchOf<Self>, other: &BatchOf<Self>) -> bool {
        one.facts.group == other.facts.group
    }

    async fn ask(&self, (): (), _: &impl L1Source, _: &mut View) {}

    fn unanswered(&self, (): &()) -> Waiting {
        Waiting::HashUnsigned
    }

    async fn below(
        &self,
        tip: &HeadBlock,
        node: &impl NodeSource<Counter>,
    ) -> Result<Option<u64>, UpstreamError> {
        let block = node.block(tip.number).await?;
        Ok(block.filter(|block| Some(block.hash()) == tip.hash).map(|block| block.count()))
    }

    fn compare(
        &self,
        copies: &[&BatchOf<Self>],
        payloads: Payloads<'_>,
        below: &u64,
        block: &Counter,
    ) -> Result<Verified<u64>, Uncompared<()>> {
        let proves = |batch: &&BatchOf<Self>| {
            batch.facts.is_formed && block.count() == below + u64::from(batch.facts.by)
        };
        let Some(at) = copies.iter().position(proves) else {
            return Err(Difference::Transactions("another count".into()).into());
        };
        // As if it could not be told without it.
        let Some((payload, part)) = payloads.get(at) else { return Err(Uncompared::Payload(at)) };
        let again = self.admit(payload, None).into_iter().nth(part);
        assert!(again.is_some_and(|again| again.as_ref() == Ok(copies[at])));
        let below = block.count();
        let BlockId { number, hash } = block.id();
        let block = HeadBlock { number, hash: Some(hash), l1_origin: None };
        Ok(Verified { copy: at, block, proven: Proven::Inputs, below })
    }

    fn compare_payload(&self, _: &[u8], _: usize, _: &Counter) -> Result<(), Difference> {
        Ok(())
    }

    fn l1_origin(&self, _: &Counter) -> Result<(u64, Option<B256>), Difference> {
        Ok((0, None))
    }

    fn finality(&self, _: &[SafeSample]) -> Believed {
        Believed
    }

    async fn ask_finality(&self, _: &mut Believed, _: Option<BlockId>, _: bool, _: &View) {}

    async fn judge_finalized(
        &self,
        _: &mut Believed,
        finalized: BlockId,
        _: Option<HeadBlock>,
        _: bool,
        _: &impl NodeSource<Counter>,
        _: (&impl L1Source, &mut View),
    ) -> (Option<HeadBlock>, Option<Refused>) {
        let BlockId { number, hash } = finalized;
        (Some(HeadBlock { number, hash: Some(hash), l1_origin: None }), None)
    }
}

/// The final L1 block that all headers name.
pub(super) const FINAL_L1: u64 = 5;

/// Everything outside.
#[derive(Clone, Default)]
pub(super) struct Outside(Arc<Mutex<Everything>>);

#[derive(Default)]
struct Everything {
    node: Vec<u8>,
    finalized: Option<u64>,
    hotshot: Vec<Vec<Vec<(Address, Step)>>>,
    /// The same as it is posted.
    payloads: Vec<Vec<Vec<u8>>>,
    is_down: bool,
    /// The HotShot blocks whose header was asked for.
    headers: Vec<u64>,
}

impl Outside {
    /// The HotShot blocks whose header was asked for, in order.
    pub(super) fn headers(&self) -> Vec<u64> {
        self.0.lock().headers.clone()
    }

    /// A HotShot block with these payloads.
    pub(super) fn post(&self, payloads: Vec<Vec<u8>>) {
        self.0.lock().payloads.push(payloads);
    }

    fn up(&self) -> Result<parking_lot::MutexGuard<'_, Everything>, UpstreamError> {
        let state = self.0.lock();
        match state.is_down {
            true => Err(UpstreamError::Connection("it is down".into())),
            false => Ok(state),
        }
    }

    /// By how much the block with a number may count further: as any copy in the first group says.
    fn allowed(&self, number: u64) -> Vec<u8> {
        let state = self.0.lock();
        let all = state.hotshot.iter().flatten().flatten();
        let mut all = all.filter(|(signer, step)| *signer == BATCHER && step.number == number);
        let decides = all.clone().find(|(_, step)| step.is_formed);
        let Some((_, Step { group, .. })) = decides else { return Vec::new() };
        all.by_ref()
            .filter(|(_, step)| step.group == *group && step.is_formed)
            .map(|(_, step)| step.by)
            .collect()
    }
}

impl NodeSource<Counter> for Outside {
    async fn survey(
        &self,
        _: Option<u64>,
        head: Option<HeadBlock>,
    ) -> Result<Survey, UpstreamError> {
        let at_head = match head {
            Some(head) => NodeSource::hash_at(self, head.number).await?,
            None => None,
        };
        let contradiction = at_head.filter(|hash| head.and_then(|head| head.hash) != Some(*hash));
        Ok(Survey { chain_id: 7, latest: self.latest().await?, at_head, contradiction })
    }

    async fn chain_id(&self) -> Result<u64, UpstreamError> {
        Ok(7)
    }

    async fn latest(&self) -> Result<u64, UpstreamError> {
        Ok(self.up()?.node.len() as u64)
    }

    async fn hash_at(&self, number: u64) -> Result<Option<B256>, UpstreamError> {
        Ok(self.block(number).await?.map(|block| block.hash()))
    }

    async fn block(&self, number: u64) -> Result<Option<Counter>, UpstreamError> {
        let state = self.up()?;
        Ok(state.node.get(..number as usize).map(|steps| Counter { steps: steps.to_vec() }))
    }

    async fn short_block(&self, number: u64) -> Result<Option<Counter>, UpstreamError> {
        self.block(number).await
    }

    async fn block_and_latest(&self, number: u64) -> Result<(Option<Counter>, u64), UpstreamError> {
        Ok((self.block(number).await?, self.latest().await?))
    }

    async fn finalized(&self) -> Result<Option<BlockId>, UpstreamError> {
        let number = self.up()?.finalized;
        match number {
            Some(number) => Ok(self.block(number).await?.map(|block| block.id())),
            None => Ok(None),
        }
    }

    async fn view(&self, _: Address, _: Bytes) -> Result<Bytes, UpstreamError> {
        Ok(Bytes::new())
    }
}

impl L1Source for Outside {
    fn pin(&self, _: BlockId) {}

    async fn chain_id(&self) -> Result<u64, UpstreamError> {
        Ok(1)
    }

    async fn read(&self, _: u64) -> Result<Reading, UpstreamError> {
        Ok(Reading { finalized: None, epoch: 0, unconfirmed: false })
    }

    async fn hash_at(&self, _: u64) -> Result<Option<B256>, UpstreamError> {
        Ok(None)
    }

    async fn timestamp(&self, _: BlockId) -> Result<u64, UpstreamError> {
        Ok(0)
    }

    async fn light_client(
        &self,
        _: Address,
        _: BlockId,
    ) -> Result<FinalizedState, LightClientError> {
        Err(LightClientError::NoContract)
    }

    async fn checkpoint(&self, _: Address, _: BlockId) -> Result<Checkpoint, LightClientError> {
        Err(LightClientError::NoContract)
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn batchers(
        &self,
        _: Address,
        _: State,
    ) -> Result<BatcherHistory, BatchAuthenticatorError> {
        Err(BatchAuthenticatorError::NoContract)
    }
}

impl FeedSource for Outside {
    async fn height(&self) -> Result<u64, UpstreamError> {
        Ok(self.up()?.payloads.len() as u64)
    }

    async fn range_limit(&self) -> Result<u64, UpstreamError> {
        Ok(10)
    }

    async fn range(&self, from: u64, until: u64) -> Result<Blocks, UpstreamError> {
        let state = self.up()?;
        let range = state.payloads.get(from as usize..until as usize);
        let range = range.ok_or(UpstreamError::Absent(String::new()))?;
        let payloads = range.iter().map(|payloads| payloads.iter().collect());
        Ok(Blocks { payloads: payloads.collect(), headers: Headers::Unread })
    }

    async fn block_alone(&self, height: u64) -> Result<Blocks, UpstreamError> {
        self.range(height, height + 1).await
    }

    fn prove_under(&self, _: Checkpoint) {}

    async fn chain_under(&self, _: Checkpoint, _: u64) -> Result<HeaderChain, UpstreamError> {
        Err(UpstreamError::Absent(String::new()))
    }

    async fn chain_before(&self, _: u64, _: BlockTreeRoot) -> Result<HeaderChain, UpstreamError> {
        Err(UpstreamError::Absent(String::new()))
    }

    async fn is_gone(&self, _: u64, _: u64) -> bool {
        false
    }

    async fn header(&self, _: u64) -> Result<Header, UpstreamError> {
        Err(UpstreamError::Absent(String::new()))
    }

    fn newest_header(&self) -> Option<Arc<Header>> {
        None
    }

    async fn l1_finalized(&self, height: u64) -> Result<Option<u64>, UpstreamError> {
        self.0.lock().headers.push(height);
        Ok(Some(FINAL_L1))
    }
}

/// Everything that can happen between two rounds.
#[derive(Debug, Clone)]
enum Event {
    /// A HotShot block with payloads of several batches each.
    Post(Vec<Vec<(bool, Step)>>),
    /// The node follows the blocks that HotShot allows, each time one of them, from a block on.
    Follow {
        from: usize,
        choices: Vec<usize>,
    },
    /// The node has other blocks from there on, above what Ethereum has finalized.
    Stray {
        from: usize,
        steps: Vec<u8>,
    },
    /// Ethereum finalizes some of what is published.
    Finalize {
        back: u64,
    },
    Down(bool),
    Round,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    (1..=BLOCKS, 0..3_u8, 0..4_u8, prop::bool::weighted(0.8))
        .prop_map(|(number, group, by, is_formed)| Step { number, group, by, is_formed })
}

fn event() -> impl Strategy<Value = Event> {
    let payload = || prop::collection::vec((prop::bool::weighted(0.9), step()), 1..6);
    let choices = prop::collection::vec(any::<usize>(), BLOCKS as usize);
    prop_oneof![
        6 => prop::collection::vec(payload(), 0..4).prop_map(Event::Post),
        4 => (any::<usize>(), choices).prop_map(|(from, choices)| Event::Follow { from, choices }),
        1 => (any::<usize>(), prop::collection::vec(0..4_u8, 0..4))
            .prop_map(|(from, steps)| Event::Stray { from, steps }),
        1 => (0..3_u64).prop_map(|back| Event::Finalize { back }),
        1 => any::<bool>().prop_map(Event::Down),
        6 => Just(Event::Round),
        1 => Just(Event::Restart),
    ]
}

struct Schedule {
    outside: Outside,
    store: MemoryStore,
    verifier: Verifier<Counters, Outside, Outside, Outside>,
    head: PublishedHead,
    /// The steps to the head as it was last seen.
    confirmed: Vec<u8>,
}

impl Schedule {
    fn new() -> Self {
        let (outside, store) = (Outside::default(), MemoryStore::default());
        let (verifier, head) = start(&outside, &store);
        Self { outside, store, verifier, head, confirmed: Vec::new() }
    }

    async fn apply(&mut self, event: Event) {
        match event {
            Event::Post(payloads) => {
                let signed = |(known, step)| (if known { BATCHER } else { Address::ZERO }, step);
                let sign = |parts: Vec<_>| parts.into_iter().map(signed).collect();
                let block: Vec<Vec<_>> = payloads.into_iter().map(sign).collect();
                let payloads = block.iter().map(|parts| serde_json::to_vec(parts).unwrap());
                self.outside.post(payloads.collect());
                self.outside.0.lock().hotshot.push(block);
            }
            Event::Follow { from, choices } => self.follow(from, choices),
            Event::Stray { from, steps } => {
                let state = &mut *self.outside.0.lock();
                let (node, finalized) = (&mut state.node, state.finalized.unwrap_or(0));
                let from = (from % (node.len() + 1)).max(finalized as usize);
                node.truncate(from);
                node.extend(steps);
                node.truncate(BLOCKS as usize);
            }
            Event::Finalize { back } => {
                // Ethereum decides nothing against what is published here.
                let has_head = self.outside.0.lock().node.starts_with(&self.confirmed);
                let number = (self.confirmed.len() as u64).saturating_sub(back);
                if has_head && number > 0 {
                    self.outside.0.lock().finalized = Some(number);
                }
            }
            Event::Down(is_down) => self.outside.0.lock().is_down = is_down,
            Event::Round => _ = self.round().await,
            Event::Restart => self.restart(),
        }
    }

    /// The node builds what HotShot allows, on the head or on what it has above.
    fn follow(&self, from: usize, choices: Vec<usize>) {
        let mut node = self.outside.0.lock().node.clone();
        if node.starts_with(&self.confirmed) {
            node.truncate(self.confirmed.len() + from % (node.len() - self.confirmed.len() + 1));
        } else {
            node.clone_from(&self.confirmed);
        }
        for choice in choices {
            let allowed = self.outside.allowed(node.len() as u64 + 1);
            if allowed.is_empty() {
                break;
            }
            node.push(allowed[choice % allowed.len()]);
        }
        self.outside.0.lock().node = node;
    }

    fn restart(&mut self) {
        (self.verifier, self.head) = start(&self.outside, &self.store);
    }

    async fn round(&mut self) -> Round {
        let node = self.outside.0.lock().node.clone();
        let round = self.verifier.round().await.unwrap();
        let Some(head) = self.head.borrow().clone() else { return round };
        let number = head.number as usize;
        assert!(number >= self.confirmed.len(), "the head fell");
        if number > self.confirmed.len() {
            assert!(node.starts_with(&self.confirmed), "it left what was confirmed");
            for (at, step) in node.iter().enumerate().take(number).skip(self.confirmed.len()) {
                let allowed = self.outside.allowed(at as u64 + 1);
                assert!(allowed.contains(step), "{step} is not the first at {at}");
            }
            self.confirmed = node[..number].to_vec();
        }
        let hash = keccak256(&self.confirmed).to_string();
        assert_eq!(head.hash.as_deref(), Some(&*hash));
        round
    }

    /// Once everything answers and the node has what HotShot allows, the head is there.
    async fn heal(&mut self) {
        self.outside.0.lock().is_down = false;
        self.follow(0, Vec::new());
        let mut node = self.outside.0.lock().node.clone();
        while let Some(step) = self.outside.allowed(node.len() as u64 + 1).first() {
            node.push(*step);
        }
        let expected = node.len();
        self.outside.0.lock().node = node;
        for _ in 0..200 {
            if self.round().await == Round::Idle && self.confirmed.len() == expected {
                return;
            }
        }
        panic!("at {} of {expected}: {:?}", self.confirmed.len(), self.verifier);
    }
}

fn start(
    outside: &Outside,
    store: &MemoryStore,
) -> (Verifier<Counters, Outside, Outside, Outside>, PublishedHead) {
    let metrics = Metrics::new();
    let (keeper, head) = HeadKeeper::new(store.reopen(), metrics.clone());
    let feed = outside.clone();
    let parts = Parts {
        rollup: Counters(KnownBatchers::default()),
        node: outside.clone(),
        l1: outside.clone(),
        open_feed: Box::new(move |_| feed.clone()),
        keeper,
        news: News::default(),
        board: Arc::<Board>::default(),
        metrics,
    };
    let options = Options {
        interval: std::time::Duration::ZERO,
        namespace: None,
        batchers: BatcherSource::Fixed(vec![BatcherTenure::always(BATCHER)]),
        light_client: None,
        initial_hotshot_height: Some(0),
        budget: ROOM,
        trust_node_finalized: false,
        proofs: HotshotProofs::Off,
    };
    (Verifier::new(parts, options), head)
}

async fn run(events: Vec<Event>) {
    let mut schedule = Schedule::new();
    for event in events {
        schedule.apply(event).await;
    }
    schedule.heal().await;
    schedule.restart();
    schedule.apply(Event::Post(Vec::new())).await;
    schedule.heal().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn a_third_kind_of_rollup_is_confirmed_by_the_same_loop(
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(events));
    }
}
