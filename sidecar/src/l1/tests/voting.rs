//! Which block is final: endpoints that lie, lag, hang and belong to another network.

use std::time::Duration;

use alloy_primitives::{Address, Bytes, keccak256};
use proptest::{collection::vec, prelude::*};

use super::super::*;

const CHAIN: u64 = 5;
const INTERVAL: Duration = Duration::from_millis(100);

/// What an endpoint has.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Chain {
    id: u64,
    /// Blocks above `fork_at` are those of this fork.
    fork: &'static str,
    fork_at: u64,
    latest: u64,
    finalized: Option<u64>,
    state: Behavior,
    /// What contracts return; none for a revert.
    data: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behavior {
    Answers,
    Fails,
    Hangs,
}

impl Chain {
    const fn honest(finalized: u64) -> Self {
        Self {
            id: CHAIN,
            fork: "",
            fork_at: 0,
            latest: finalized + 10,
            finalized: Some(finalized),
            state: Behavior::Answers,
            data: Some("0x01"),
        }
    }

    fn block(&self, number: u64) -> BlockId {
        let fork = if number > self.fork_at { self.fork } else { "" };
        BlockId { number, hash: keccak256(format!("{fork} {number}")) }
    }
}

fn main(number: u64) -> BlockId {
    Chain::honest(number).block(number)
}

fn on_fork(number: u64) -> BlockId {
    Chain { fork: "other", ..Chain::honest(number) }.block(number)
}

#[derive(Debug, Clone)]
struct Fake {
    chain: Arc<Mutex<Chain>>,
    /// How often it was asked anything.
    asked: Arc<Mutex<usize>>,
    rejected: Arc<Mutex<Option<UpstreamError>>>,
}

impl Fake {
    async fn ask<T>(&self, answer: impl FnOnce(&Chain) -> T) -> Result<T, UpstreamError> {
        *self.asked.lock() += 1;
        let chain = self.chain.lock().clone();
        match chain.state {
            Behavior::Answers => Ok(answer(&chain)),
            Behavior::Fails => Err(UpstreamError::Status { status: 500, answer: String::new() }),
            Behavior::Hangs => {
                tokio::time::sleep(Duration::from_secs(10)).await;
                Err(UpstreamError::Timeout(Duration::from_secs(10)))
            }
        }
    }
}

impl Endpoint for Fake {
    async fn chain_id(&self) -> Result<u64, UpstreamError> {
        self.ask(|chain| chain.id).await
    }

    async fn latest(&self) -> Result<u64, UpstreamError> {
        self.ask(|chain| chain.latest).await
    }

    async fn look(&self, numbers: Vec<u64>) -> Result<Look, UpstreamError> {
        let block =
            |chain: &Chain, number: u64| (number <= chain.latest).then(|| chain.block(number));
        self.ask(|chain| Look {
            chain_id: chain.id,
            latest: chain.latest,
            blocks: numbers.iter().map(|number| block(chain, *number)).collect(),
        })
        .await
    }

    async fn finalized(&self) -> Result<Option<BlockId>, UpstreamError> {
        self.ask(|chain| chain.finalized.map(|number| chain.block(number))).await
    }

    async fn block_at(&self, number: u64) -> Result<Option<BlockId>, UpstreamError> {
        self.ask(|chain| (number <= chain.latest).then(|| chain.block(number))).await
    }

    async fn views(
        &self,
        _: Address,
        calls: &[String],
        _: State,
    ) -> Result<Vec<Bytes>, UpstreamError> {
        let data = self.ask(|chain| chain.data).await?;
        let revert = || UpstreamError::Rpc { code: 3, message: "execution reverted".into() };
        let data: Bytes = data.ok_or_else(revert)?.parse().unwrap();
        Ok(vec![data; calls.len()])
    }

    async fn timestamp(&self, _: B256) -> Result<u64, UpstreamError> {
        self.ask(|chain| chain.latest).await
    }

    async fn logs(&self, _: Address, _: B256, _: u64, _: u64) -> Result<Vec<Log>, UpstreamError> {
        self.ask(|_| Vec::new()).await
    }

    fn reject(&self, error: &UpstreamError) {
        *self.rejected.lock() = Some(error.clone());
    }
}

struct World {
    endpoints: Vec<Fake>,
    l1: L1<Fake>,
}

impl World {
    fn new(chains: impl IntoIterator<Item = Chain>) -> Self {
        let endpoints: Vec<_> = chains
            .into_iter()
            .map(|chain| Fake {
                chain: Arc::new(Mutex::new(chain)),
                asked: Arc::default(),
                rejected: Arc::default(),
            })
            .collect();
        Self { l1: L1::new(endpoints.clone(), INTERVAL), endpoints }
    }

    fn set(&self, index: usize, chain: Chain) {
        *self.endpoints[index].chain.lock() = chain;
    }

    async fn read(&self) -> Result<Option<BlockId>, UpstreamError> {
        Ok(self.l1.read(CHAIN).await?.finalized)
    }

    /// A reading one interval later.
    async fn later(&self) -> Result<Option<BlockId>, UpstreamError> {
        tokio::time::advance(INTERVAL).await;
        self.read().await
    }

    /// How often each endpoint was asked since the last time.
    fn asked(&self) -> Vec<usize> {
        self.endpoints.iter().map(|endpoint| std::mem::take(&mut *endpoint.asked.lock())).collect()
    }

    fn rejected(&self, index: usize) -> String {
        self.endpoints[index].rejected.lock().take().unwrap().to_string()
    }
}

fn is_no_majority<T: std::fmt::Debug>(answer: Result<T, UpstreamError>) -> bool {
    matches!(answer, Err(UpstreamError::NoMajority(_)))
}

#[tokio::test(start_paused = true)]
async fn of_three_endpoints_two_decide() {
    let world = World::new([90, 92, 99].map(Chain::honest));
    assert_eq!(world.read().await, Ok(Some(main(92))), "the second highest, of which two have it");
    // A lie at the top: the next lower block that two have.
    world.set(2, Chain { fork: "other", fork_at: 85, ..Chain::honest(120) });
    assert!(world.read().await.is_ok());
    assert!(world.rejected(2).contains("contradicts the final L1 block 92"));
    world.set(2, Chain { fork: "other", fork_at: 95, ..Chain::honest(120) });
    world.set(1, Chain::honest(98));
    world.set(0, Chain::honest(96));
    assert_eq!(world.read().await, Ok(Some(main(96))));
    assert_eq!(world.l1.hash_at(80).await, Ok(Some(main(80).hash)));
    assert_eq!(world.l1.hash_at(96).await, Ok(Some(main(96).hash)));
    // Nothing falls, and one that fails is not missed.
    world.set(0, Chain { state: Behavior::Fails, ..Chain::honest(0) });
    world.set(2, Chain::honest(97));
    assert_eq!(world.read().await, Ok(Some(main(97))));
    world.set(1, Chain { finalized: Some(50), ..Chain::honest(98) });
    assert_eq!(world.read().await, Ok(Some(main(97))));
    assert_eq!(world.l1.hash_at(97).await, Ok(Some(main(97).hash)));
}

#[tokio::test(start_paused = true)]
async fn of_two_endpoints_both_are_needed() {
    let world = World::new([90, 95].map(Chain::honest));
    assert_eq!(world.read().await, Ok(Some(main(90))));
    for lie in [
        Chain { state: Behavior::Fails, ..Chain::honest(95) },
        Chain { id: 6, ..Chain::honest(95) },
        Chain { fork: "other", fork_at: 80, ..Chain::honest(95) },
        Chain { latest: 70, finalized: Some(60), ..Chain::honest(95) },
    ] {
        world.set(1, lie.clone());
        assert!(is_no_majority(world.read().await), "{lie:?}");
        assert!(is_no_majority(world.l1.hash_at(80).await), "{lie:?}");
    }
    world.set(1, Chain::honest(96));
    world.set(0, Chain::honest(96));
    assert_eq!(world.read().await, Ok(Some(main(96))));
    // They agree on what is final and not on what is below.
    world.set(1, Chain { fork: "other", fork_at: 96, ..Chain::honest(100) });
    assert_eq!(world.read().await, Ok(Some(main(96))));
    assert!(is_no_majority(world.l1.hash_at(100).await));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_of_another_chain_has_no_vote() {
    let world = World::new([Chain::honest(90), Chain { id: 6, ..Chain::honest(99) }]);
    assert!(is_no_majority(world.read().await));
    assert!(world.rejected(1).contains("it is of chain 6"));
    assert!(is_no_majority(world.l1.chain_id().await));
    let world = World::new([5, 6, 5].map(|id| Chain { id, ..Chain::honest(90) }));
    assert_eq!(world.l1.chain_id().await, Ok(5));
}

#[tokio::test(start_paused = true)]
async fn a_single_endpoint_must_say_it_twice() {
    let world = World::new([Chain::honest(90)]);
    assert_eq!(world.read().await, Ok(None));
    assert_eq!(world.read().await, Ok(None), "too soon");
    assert_eq!(world.later().await, Ok(Some(main(90))));
    // The older of the two counts.
    world.set(0, Chain::honest(95));
    assert_eq!(world.later().await, Ok(Some(main(90))));
    world.set(0, Chain::honest(97));
    assert_eq!(world.later().await, Ok(Some(main(95))));
    assert_eq!(world.later().await, Ok(Some(main(97))));
    // What falls and rises again holds nothing up.
    for finalized in [90, 98, 90, 98, 90, 98] {
        world.set(0, Chain { latest: 110, ..Chain::honest(finalized) });
        assert_eq!(world.later().await, Ok(Some(main(97))));
    }
    assert_eq!(world.later().await, Ok(Some(main(98))));
}

#[tokio::test(start_paused = true)]
async fn a_reading_tells_whether_a_later_one_must_bear_it_out() {
    let world = World::new([Chain::honest(90)]);
    for (finalized, unconfirmed) in [(90, true), (90, false), (95, true), (95, false)] {
        world.set(0, Chain::honest(finalized));
        tokio::time::advance(INTERVAL).await;
        assert_eq!(world.l1.read(CHAIN).await.unwrap().unconfirmed, unconfirmed, "{finalized}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_single_endpoint_is_believed_up_to_its_own_tip() {
    let world = World::new([Chain { finalized: Some(101), ..Chain::honest(90) }]);
    for _ in 0..3 {
        assert!(matches!(world.later().await, Err(UpstreamError::Distrusted(_))));
    }
    world.set(0, Chain { finalized: Some(100), ..Chain::honest(90) });
    assert_eq!(world.later().await, Ok(None));
    assert_eq!(world.later().await, Ok(Some(main(100))));
}

#[tokio::test(start_paused = true)]
async fn a_single_endpoint_s_error_is_its_own_and_that_of_several_is_their_number() {
    let failing = Chain { state: Behavior::Fails, ..Chain::honest(90) };
    let single = World::new([failing.clone()]);
    assert!(matches!(single.read().await, Err(UpstreamError::Status { .. })));
    single.set(0, Chain::honest(90));
    single.later().await.unwrap();
    assert_eq!(single.later().await, Ok(Some(main(90))));
    single.set(0, failing.clone());
    assert!(matches!(single.l1.hash_at(80).await, Err(UpstreamError::Status { .. })));
    single.set(0, Chain { latest: 85, ..Chain::honest(80) });
    assert!(matches!(single.later().await, Err(UpstreamError::Distrusted(_))), "it lags");

    let both = World::new([Chain::honest(90), Chain::honest(90)]);
    both.read().await.unwrap();
    both.set(1, failing);
    assert!(is_no_majority(both.l1.hash_at(80).await));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_final_while_a_majority_says_so() {
    let nothing = || Chain { finalized: None, ..Chain::honest(90) };
    for finals in [&[][..], &[90], &[90, 91]] {
        let nothing = vec![nothing(); finals.len() + 1];
        let world =
            World::new(nothing.into_iter().chain(finals.iter().copied().map(Chain::honest)));
        assert_eq!(world.later().await, Ok(None), "{finals:?}");
        assert_eq!(world.l1.hash_at(80).await, Ok(Some(main(80).hash)));
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_endpoints_are_asked_than_are_needed() {
    let world = World::new(vec![Chain::honest(90); 3]);
    world.read().await.unwrap();
    world.asked();
    let start = tokio::time::Instant::now();
    assert_eq!(world.l1.hash_at(80).await, Ok(Some(main(80).hash)));
    assert_eq!(world.asked(), [1, 1, 0]);
    // One that fails is replaced at once.
    world.set(0, Chain { state: Behavior::Fails, ..Chain::honest(90) });
    assert_eq!(world.l1.hash_at(80).await, Ok(Some(main(80).hash)));
    assert_eq!((world.asked(), start.elapsed()), (vec![1, 1, 1], Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn only_those_with_the_final_block_answer_for_what_is_below() {
    let world = World::new([90, 90, 90].map(Chain::honest));
    world.read().await.unwrap();
    world.set(0, Chain::honest(96));
    world.set(1, Chain::honest(96));
    world.set(2, Chain { fork: "other", fork_at: 95, ..Chain::honest(96) });
    assert_eq!(world.read().await, Ok(Some(main(96))));
    world.set(1, Chain { state: Behavior::Fails, ..Chain::honest(96) });
    assert!(is_no_majority(world.l1.hash_at(80).await), "though the third has that block");
}

#[tokio::test(start_paused = true)]
async fn one_false_reading_of_a_single_endpoint_counts_for_nothing() {
    for lie in [
        // Too high, where the chain has no block yet or later has another one.
        Chain { fork: "other", fork_at: 100, ..Chain::honest(120) },
        Chain { finalized: Some(200), ..Chain::honest(90) },
        Chain { id: 6, fork: "other", ..Chain::honest(95) },
        Chain { fork: "other", fork_at: 85, ..Chain::honest(91) },
    ] {
        let world = World::new([Chain::honest(90)]);
        world.read().await.unwrap();
        assert_eq!(world.later().await, Ok(Some(main(90))));
        world.set(0, lie.clone());
        for _ in 0..30 {
            // Rounds that are too close to each other are one reading.
            let told = world.read().await.ok().flatten();
            assert!(told.is_none_or(|block| block == main(90)), "{lie:?}: {told:?}");
        }
        world.set(0, Chain::honest(125));
        let told = world.later().await.unwrap();
        assert!(told.is_none_or(|block| block == main(90)), "{lie:?}: {told:?}");
        assert_eq!(world.later().await, Ok(Some(main(125))), "{lie:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pin_falls_when_a_majority_has_another_block_there() {
    let fork = Chain { fork: "other", fork_at: 80, ..Chain::honest(95) };
    for count in [1, 3] {
        let world = World::new(vec![Chain::honest(90); count]);
        world.read().await.unwrap();
        assert_eq!(world.later().await, Ok(Some(main(90))));
        let epoch = world.l1.read(CHAIN).await.unwrap().epoch;
        // Endpoints that do not have the block say nothing about it.
        for index in 0..count {
            world.set(index, Chain { latest: 85, finalized: Some(80), ..Chain::honest(90) });
        }
        assert!(world.later().await.is_err());
        for index in 0..count.div_ceil(2) {
            world.set(index, fork.clone());
        }
        world.later().await.ok();
        let reading = loop {
            match world.later().await {
                Ok(Some(_)) => break world.l1.read(CHAIN).await.unwrap(),
                Ok(None) => {}
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(reading.finalized, Some(on_fork(95)));
        assert!(reading.epoch > epoch, "what was concluded before does not hold");
    }
}

#[tokio::test(start_paused = true)]
async fn the_stored_heads_l1_origin_is_the_first_pin() {
    let world = World::new([Chain::honest(90), Chain::honest(91), Chain::honest(92)]);
    world.l1.pin(main(95));
    assert_eq!(world.read().await, Ok(Some(main(95))), "they have it below their tip");
    world.set(1, Chain { fork: "other", fork_at: 94, ..Chain::honest(99) });
    assert_eq!(world.read().await, Ok(Some(main(95))));
    assert!(world.rejected(1).contains("contradicts"));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_hangs_delays_one_reading_at_most() {
    let world = World::new(vec![Chain::honest(90); 3]);
    world.set(0, Chain { state: Behavior::Hangs, ..Chain::honest(90) });
    let start = tokio::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(world.read().await, Ok(Some(main(90))));
        assert_eq!(world.l1.hash_at(80).await, Ok(Some(main(80).hash)));
    }
    // Of the paused clock: nothing but a timer makes it pass.
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn contracts_are_asked_of_the_same_majority() {
    let world = World::new(vec![Chain::honest(90); 3]);
    let ask = async || world.l1.view(Address::ZERO, "0x", State::Latest).await;
    assert!(is_no_majority(ask().await), "nothing was read yet");
    world.read().await.unwrap();
    assert_eq!(ask().await, Ok(Bytes::from_static(&[1])));
    world.set(0, Chain { data: Some("0x02"), ..Chain::honest(90) });
    assert_eq!(ask().await, Ok(Bytes::from_static(&[1])));
    world.set(1, Chain { data: None, ..Chain::honest(90) });
    assert!(is_no_majority(ask().await), "three answers");
    world.set(0, Chain { data: None, ..Chain::honest(90) });
    assert!(matches!(ask().await, Err(UpstreamError::Rpc { .. })), "a revert is an answer");
}

/// What an endpoint does in one step of a schedule.
#[derive(Debug, Clone, Copy)]
enum Step {
    Honest,
    Lags,
    Fails,
    Hangs,
    OtherChain,
    Forked { at: u64 },
    TooHigh,
}

impl Step {
    fn chain(self, finalized: u64) -> Chain {
        let honest = Chain::honest(finalized);
        match self {
            Self::Honest => honest,
            Self::Lags => Chain { latest: finalized / 2 + 5, ..Chain::honest(finalized / 2) },
            Self::Fails => Chain { state: Behavior::Fails, ..honest },
            Self::Hangs => Chain { state: Behavior::Hangs, ..honest },
            Self::OtherChain => Chain { id: 6, fork: "other", ..honest },
            Self::Forked { at } => Chain { fork: "other", fork_at: at, ..honest },
            Self::TooHigh => Chain { finalized: Some(finalized + 7), ..honest },
        }
    }
}

fn fault() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Lags),
        Just(Step::Fails),
        Just(Step::Hangs),
        Just(Step::OtherChain),
        (0..200_u64).prop_map(|at| Step::Forked { at }),
        Just(Step::TooHigh),
    ]
}

fn on_a_paused_clock<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// A minority may do what it likes: no false block ever counts, nothing falls, and once the
    /// faults end the newest final block counts within two readings.
    #[test]
    fn a_minority_neither_confirms_nor_stalls(
        count in 1_usize..6,
        schedule in vec((vec(fault(), 5), 0_usize..6, 0_u64..9, any::<bool>()), 1..25),
    ) {
        on_a_paused_clock(async {
            let world = World::new(vec![Chain::honest(100); count]);
            let liars = count - (count / 2 + 1);
            let mut finalized = 100;
            let mut last = 0;
            for (faults, first, grows, honest) in schedule {
                finalized += grows;
                for (index, fault) in faults.into_iter().enumerate().take(count) {
                    let lies = (index + first) % count < liars && !honest;
                    let step = if lies { fault } else { Step::Honest };
                    world.set(index, step.chain(finalized));
                }
                if let Ok(Some(block)) = world.later().await {
                    prop_assert_eq!(block, main(block.number));
                    prop_assert!(block.number >= last && block.number <= finalized);
                    last = block.number;
                    for number in [block.number / 2, block.number] {
                        if let Ok(hash) = world.l1.hash_at(number).await {
                            prop_assert_eq!(hash, Some(main(number).hash));
                        }
                    }
                }
            }
            for index in 0..count {
                world.set(index, Chain::honest(finalized));
            }
            // A request that hangs ends by its time limit.
            tokio::time::advance(Duration::from_secs(20)).await;
            tokio::task::yield_now().await;
            world.later().await.ok();
            prop_assert_eq!(world.later().await, Ok(Some(main(finalized))));
            Ok(())
        })?;
    }

    /// A single endpoint that lies in single readings, with honest ones between.
    #[test]
    fn single_false_readings_of_a_single_endpoint_never_count(
        schedule in vec((fault(), 0_u64..9), 1..25),
    ) {
        on_a_paused_clock(async {
            let world = World::new([Chain::honest(100)]);
            let mut finalized = 100;
            for (lie, grows) in schedule {
                for step in [lie, Step::Honest] {
                    finalized += grows;
                    world.set(0, step.chain(finalized));
                    if let Ok(Some(block)) = world.later().await {
                        prop_assert_eq!(block, main(block.number));
                    }
                }
            }
            world.later().await.ok();
            prop_assert_eq!(world.later().await, Ok(Some(main(finalized))));
            Ok(())
        })?;
    }
}
