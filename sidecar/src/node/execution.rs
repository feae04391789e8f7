//! The execution endpoints of the node. All answers of a round come from one of them, and another
//! block at the head on any that Envoy may use is told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy_primitives::B256;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::choice::{Choice, Seen};
use crate::{
    eth::{Header, Quantity},
    head::HeadBlock,
    telemetry::{Metrics, metrics::Target},
    upstream::{
        Absent, Call, DependencyReport, HEDGE_DELAY, InFlight, Indexed, JsonRpc, News, Upstream,
        UpstreamError, expect_number, gather, new_heads,
    },
};

/// What the node said at the beginning of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survey {
    /// The chain id of the endpoint in use.
    pub chain_id: u64,
    /// Its latest block.
    pub latest: u64,
    /// The hash of its block at the head's number, if it has one.
    pub at_head: Option<B256>,
    /// Another hash there than the head's, on any endpoint that Envoy may use.
    pub contradiction: Option<B256>,
}

/// The endpoints, in the order of the settings; clones share state.
#[derive(Debug)]
pub struct Execution<E = Upstream> {
    members: Arc<[Member<E>]>,
    choice: Arc<Mutex<Choice>>,
}

impl<E> Clone for Execution<E> {
    fn clone(&self) -> Self {
        Self { members: Arc::clone(&self.members), choice: Arc::clone(&self.choice) }
    }
}

#[derive(Debug)]
struct Member<E> {
    endpoint: E,
    /// Whether Envoy may send requests there.
    is_routed: bool,
    in_flight: InFlight,
    /// How long its slow answers take, in milliseconds.
    slowness: Arc<AtomicU64>,
}

/// What one endpoint says in a survey.
#[derive(Debug, Clone, Copy)]
struct Heard {
    chain_id: u64,
    latest: u64,
    at_head: Option<B256>,
}

impl Heard {
    /// Its block at the head, if that is another one.
    fn contradicts(self, head: Option<HeadBlock>) -> Option<B256> {
        let confirmed = head?.hash?;
        self.at_head.filter(|hash| *hash != confirmed)
    }
}

type Answer<T> = Result<T, UpstreamError>;

impl<E> Execution<E> {
    /// The endpoints that Envoy may use, and those that it does not.
    #[must_use]
    pub fn new(routed: Vec<E>, unrouted: Vec<E>) -> Self {
        let member = |is_routed| {
            move |endpoint| Member {
                endpoint,
                is_routed,
                in_flight: InFlight::default(),
                slowness: Arc::default(),
            }
        };
        let members = routed.into_iter().map(member(true));
        let members = members.chain(unrouted.into_iter().map(member(false)));
        Self { members: members.collect(), choice: Arc::default() }
    }
}

impl Execution {
    /// The state of each.
    pub fn reports(&self) -> impl Iterator<Item = DependencyReport> {
        let current = self.choice.lock().current();
        let is_choice = self.members.len() > 1;
        self.members.iter().enumerate().map(move |(index, member)| {
            let note = (is_choice && index == current).then(|| "in use".to_owned());
            DependencyReport { note, ..member.endpoint.report() }
        })
    }
}

impl Execution {
    /// Listens to what the endpoints tell of new blocks.
    pub fn listen(&self, news: &News, metrics: &Metrics) {
        for member in self.members.iter() {
            let listener = news.listener(Target::Node, 1, metrics.clone());
            member.endpoint.listen(new_heads(), listener);
        }
    }
}

impl<E: JsonRpc> Execution<E> {
    /// Asks every endpoint for its latest block and for the block at the head, and for its chain
    /// unless it has that block, and chooses the one that answers everything until the next survey.
    ///
    /// # Errors
    /// [`UpstreamError`] when no endpoint can be used. That all of them are of another chain is an
    /// answer.
    pub async fn survey(&self, chain_id: Option<u64>, head: Option<HeadBlock>) -> Answer<Survey> {
        let mut answers = self.ask_all(chain_id, head).await;
        answers.sort_by_key(|(index, _)| *index);
        let heard = |answer: &Answer<Heard>| answer.as_ref().ok().copied();
        let first = answers.iter().find_map(|(_, answer)| heard(answer));
        let expected = chain_id.or(first.map(|heard| heard.chain_id));
        let everybody = answers.len() == self.members.len();
        if let Some(first) = first
            && everybody
            && answers.iter().all(|(_, answer)| {
                heard(answer).is_some_and(|heard| Some(heard.chain_id) != expected)
            })
        {
            let Heard { chain_id, latest, .. } = first;
            return Ok(Survey { chain_id, latest, at_head: None, contradiction: None });
        }
        let (mut contradiction, mut failed) = (None, None);
        let mut usable = Vec::new();
        for (index, answer) in answers {
            let Some(member) = self.members.get(index) else { continue };
            if let Some(heard) = heard(&answer).filter(|_| member.is_routed) {
                contradiction = contradiction.or(heard.contradicts(head));
            }
            let judged = answer.and_then(|heard| {
                let has_head = self.judge(member, heard, expected, head)?;
                Ok((Seen { index, latest: heard.latest, has_head }, heard))
            });
            match judged {
                Ok(judged) => usable.push(judged),
                Err(error) => _ = failed.get_or_insert(error),
            }
        }
        let seen: Vec<_> = usable.iter().map(|(seen, _)| *seen).collect();
        let chosen = self.choose(&seen);
        match usable.into_iter().find(|(seen, _)| Some(*seen) == chosen) {
            Some((_, Heard { chain_id, latest, at_head })) => {
                Ok(Survey { chain_id, latest, at_head, contradiction })
            }
            None => Err(failed.unwrap_or_else(nobody)),
        }
    }

    /// Whether an endpoint has the head, if it can be used at all. What is wrong with it is shown
    /// in the status.
    fn judge(
        &self,
        member: &Member<E>,
        heard: Heard,
        expected: Option<u64>,
        head: Option<HeadBlock>,
    ) -> Answer<bool> {
        if let Some(expected) = expected.filter(|expected| *expected != heard.chain_id) {
            return Err(member.reject(format!("it is of chain {}, not {expected}", heard.chain_id)));
        }
        let other = heard.contradicts(head);
        if let Some(other) = other.filter(|_| self.members.len() > 1) {
            let error = member.reject(format!("its block at the head is {other}"));
            if !member.is_routed {
                return Err(error);
            }
        }
        let has = |head: HeadBlock| heard.at_head.is_some() && head.number <= heard.latest;
        Ok(other.is_none() && head.is_none_or(has))
    }

    fn choose(&self, seen: &[Seen]) -> Option<Seen> {
        let mut choice = self.choice.lock();
        let before = choice.current();
        let chosen = choice.choose(seen, Instant::now())?;
        if chosen.index != before {
            // By its place: a URL may hold a secret.
            let place = chosen.index.saturating_add(1);
            tracing::info!(place, latest = chosen.latest, "another endpoint of the node is used");
        }
        Some(chosen)
    }

    /// The answers of all endpoints that come in time. Once one is good, the others have
    /// [`HEDGE_DELAY`] left. One that still owes an earlier answer is asked only if no other has
    /// a good one.
    async fn ask_all(&self, chain_id: Option<u64>, head: Option<HeadBlock>) -> Vec<Indexed<Heard>> {
        let members = self.members.iter().enumerate();
        let (busy, free): (Vec<_>, Vec<_>) =
            members.partition(|(_, member)| member.in_flight.is_busy());
        let send = |(index, member): (usize, &Member<E>)| {
            let endpoint = member.endpoint.clone();
            let request = async move { (index, hear(&endpoint, chain_id, head).await) };
            member.in_flight.send(request)
        };
        let asked: Vec<_> = free.into_iter().map(send).collect();
        gather(asked, 1, || busy.into_iter().map(send)).await
    }

    /// Calls a method on the endpoint in use.
    ///
    /// # Errors
    /// [`UpstreamError`]. Where there are other endpoints, also when this one takes much longer
    /// than it usually does: the next survey leaves it.
    pub(super) async fn call<T: DeserializeOwned + Send + 'static>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Answer<T> {
        let answer = self.call_optional(method, params, |_, _| false).await?;
        answer.ok_or_else(nobody)
    }

    /// As [`Self::call`], for a method whose error object may say that there is nothing to tell.
    pub(super) async fn call_optional<T: DeserializeOwned + Send + 'static>(
        &self,
        method: &'static str,
        params: Value,
        absent: Absent,
    ) -> Answer<Option<T>> {
        let send =
            |endpoint: E| async move { endpoint.call_optional(method, params, absent).await };
        self.ask(method, send).await
    }

    /// As [`Self::call`], for several methods in one request ([`Upstream::batch`]).
    pub(super) async fn batch<T: DeserializeOwned + Send + 'static>(
        &self,
        calls: Vec<Call>,
    ) -> Answer<T> {
        let what = calls.first().map_or("a batch", |call| call.method);
        self.ask(what, |endpoint: E| async move { endpoint.batch(calls).await }).await
    }

    /// As [`Self::call`], for a long block that is read alone.
    pub(super) async fn call_alone<T: DeserializeOwned + Send + 'static>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Answer<T> {
        let send = |endpoint: E| async move { endpoint.call_alone(method, params).await };
        self.ask(method, send).await
    }

    /// Sends a request to the endpoint in use.
    async fn ask<T: Send + 'static, A>(
        &self,
        method: &'static str,
        send: impl FnOnce(E) -> A,
    ) -> Answer<T>
    where
        A: Future<Output = Answer<T>> + Send + 'static,
    {
        let current = self.choice.lock().current();
        let member = self.members.get(current).ok_or_else(nobody)?;
        let answer = send(member.endpoint.clone());
        if self.members.len() == 1 {
            return answer.await;
        }
        let slowness = Arc::clone(&member.slowness);
        let patience = member.patience();
        let mut request = tokio::spawn(async move {
            let started = Instant::now();
            let answer = answer.await;
            if answer.is_ok() {
                note(&slowness, started.elapsed());
            }
            answer
        });
        match tokio::time::timeout(patience, &mut request).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(nobody())),
            Err(_) => {
                member.in_flight.abandon(request);
                Err(UpstreamError::Connection(format!("no answer to {method} in {patience:?}")))
            }
        }
    }
}

impl<E: JsonRpc> Member<E> {
    /// Shows that the endpoint is not used, and why.
    fn reject(&self, problem: String) -> UpstreamError {
        let error = UpstreamError::Distrusted(problem);
        self.endpoint.reject(&error);
        error
    }

    /// How long to wait for an answer in the middle of a round, where there are other endpoints.
    /// An endpoint that is slow but works must not be left for it, since the others may be slow
    /// too.
    fn patience(&self) -> Duration {
        let slow = Duration::from_millis(self.slowness.load(Ordering::Relaxed));
        HEDGE_DELAY.max(slow.saturating_mul(4))
    }
}

/// Remembers the slowest answer, fading with each faster one.
fn note(slowness: &AtomicU64, took: Duration) {
    let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let fade = |known: u64| Some((known - known.div_ceil(16)).max(took));
    let _ = slowness.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fade);
}

async fn hear<E: JsonRpc>(
    endpoint: &E,
    expected: Option<u64>,
    head: Option<HeadBlock>,
) -> Answer<Heard> {
    let latest = Call::new("eth_blockNumber", json!([]));
    let look = async |head: Option<HeadBlock>| -> Answer<(u64, Option<Header>)> {
        let Some(HeadBlock { number, .. }) = head else {
            let Quantity(latest) = call(endpoint, latest.method, json!([])).await?;
            return Ok((latest, None));
        };
        let at_head = Call::new("eth_getBlockByNumber", json!([format!("{number:#x}"), false]));
        let calls = vec![latest.clone(), at_head];
        let (Quantity(latest), block): (_, Option<Header>) = endpoint.batch(calls).await?;
        expect_number(number, block.map(|block| block.number))?;
        Ok((latest, block))
    };
    let ask_chain = async || -> Answer<u64> {
        let Quantity(id) = call(endpoint, "eth_chainId", json!([])).await?;
        Ok(id)
    };
    let heard = |chain_id, (latest, block): (u64, Option<Header>)| Heard {
        chain_id,
        latest,
        at_head: block.map(|block| block.hash),
    };
    // Who has the head's block is of its chain.
    if let (Some(expected), Some(HeadBlock { hash: Some(hash), .. })) = (expected, head) {
        let (latest, block) = look(head).await?;
        let has_head = block.is_some_and(|block| block.hash == hash);
        let chain_id = if has_head { expected } else { ask_chain().await? };
        return Ok(heard(chain_id, (latest, block)));
    }
    // First what tells a wrong URL: the others would only add to its errors.
    let chain_id = ask_chain().await?;
    Ok(heard(chain_id, look(head).await?))
}

async fn call<E: JsonRpc, T: DeserializeOwned + Send + 'static>(
    endpoint: &E,
    method: &'static str,
    params: Value,
) -> Answer<T> {
    endpoint.call_optional(method, params, |_, _| false).await?.ok_or_else(nobody)
}

/// The error when there is no endpoint.
fn nobody() -> UpstreamError {
    UpstreamError::Connection("there is no endpoint (node_execution_rpc)".into())
}

impl From<Upstream> for Execution {
    fn from(only: Upstream) -> Self {
        Self::new(vec![only], Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::testing::Fake;

    const CHAIN: u64 = 7;
    const HEAD: u64 = 100;

    fn hash(fork: u8) -> B256 {
        B256::repeat_byte(fork)
    }

    fn head() -> Option<HeadBlock> {
        Some(HeadBlock { number: HEAD, hash: Some(hash(0)), l1_origin: None })
    }

    /// Is of a chain, at a block, with the blocks of a fork.
    fn is(fake: &Fake, chain: u64, latest: u64, fork: u8) {
        fake.answers(move |method, params| {
            Ok(match method {
                "eth_chainId" => json!(format!("{chain:#x}")),
                "eth_blockNumber" => json!(format!("{latest:#x}")),
                _ => json!({"number": params[0], "hash": hash(fork)}),
            })
        });
    }

    fn two() -> (Fake, Fake, Execution<Fake>) {
        let (first, second) = (Fake::default(), Fake::default());
        is(&first, CHAIN, 100, 0);
        is(&second, CHAIN, 100, 0);
        let both = vec![first.clone(), second.clone()];
        (first, second, Execution::new(both, Vec::new()))
    }

    async fn survey(all: &Execution<Fake>) -> Survey {
        all.survey(Some(CHAIN), head()).await.unwrap()
    }

    async fn latest(all: &Execution<Fake>) -> Answer<u64> {
        all.call("eth_blockNumber", json!([])).await.map(|Quantity(number)| number)
    }

    #[test]
    fn slowness_rises_at_once_and_fades() {
        let slowness = AtomicU64::new(0);
        let after = |millis| {
            note(&slowness, Duration::from_millis(millis));
            slowness.load(Ordering::Relaxed)
        };
        assert_eq!([0, 160, 0, 0, 170].map(after), [0, 160, 150, 140, 170]);
        for _ in 0..200 {
            after(0);
        }
        assert_eq!(after(0), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn all_answers_of_a_round_come_from_one_endpoint() {
        let (first, second, both) = two();
        survey(&both).await;
        first.answers(|_, _| Err(UpstreamError::Status { status: 500, answer: String::new() }));
        second.asked();
        assert_eq!(
            latest(&both).await,
            Err(UpstreamError::Status { status: 500, answer: String::new() })
        );
        assert_eq!(second.asked(), 0, "not in this round");
        is(&second, CHAIN, 95, 0);
        assert_eq!(survey(&both).await.latest, 95);
        assert_eq!(latest(&both).await, Ok(95));
        // The second one lags: the first one is used as soon as it is back.
        is(&first, CHAIN, 106, 0);
        assert_eq!(survey(&both).await.latest, 106);
        assert_eq!(latest(&both).await, Ok(106));
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_hangs_holds_up_one_survey_by_the_hedge() {
        let (first, second, both) = two();
        first.hangs();
        let start = Instant::now();
        for _ in 0..5 {
            assert_eq!(survey(&both).await.latest, 100);
            assert_eq!(latest(&both).await, Ok(100));
        }
        assert_eq!(start.elapsed(), HEDGE_DELAY);
        assert_eq!(first.asked(), 1, "it owes an answer and is not asked again");
        // Unless nobody else answers.
        is(&first, CHAIN, 100, 0);
        second.answers(|_, _| Err(UpstreamError::Status { status: 500, answer: String::new() }));
        assert_eq!(survey(&both).await.latest, 100);
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_hangs_in_the_middle_of_a_round_is_left_in_the_next() {
        let (first, second, both) = two();
        survey(&both).await;
        first.hangs();
        let start = Instant::now();
        assert!(latest(&both).await.is_err());
        assert_eq!(start.elapsed(), HEDGE_DELAY);
        second.asked();
        survey(&both).await;
        assert_eq!(latest(&both).await, Ok(100));
        assert_eq!((start.elapsed(), second.asked()), (HEDGE_DELAY, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn endpoints_that_are_all_slow_are_read_all_the_same() {
        let (first, second, both) = two();
        for takes in [1, 3, 9].map(Duration::from_secs) {
            first.takes(takes);
            second.takes(takes);
            let mut answers = 0;
            for _ in 0..12 {
                survey(&both).await;
                answers += usize::from(latest(&both).await.is_ok());
                tokio::time::sleep(takes).await;
            }
            assert!(answers >= 8, "{answers} in {takes:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_of_another_chain_is_not_used() {
        let (first, second, both) = two();
        is(&first, 9, 500, 9);
        let heard = both.survey(Some(CHAIN), None).await.unwrap();
        assert_eq!((heard.chain_id, heard.latest), (CHAIN, 100));
        assert!(matches!(first.rejected(), Some(UpstreamError::Distrusted(_))));
        // Envoy may use it.
        assert_eq!(survey(&both).await.contradiction, Some(hash(9)));
        // Only if all say so, it is the node's chain.
        second.answers(|_, _| Err(UpstreamError::Status { status: 500, answer: String::new() }));
        assert!(both.survey(Some(CHAIN), None).await.is_err());
        is(&second, 9, 500, 9);
        assert_eq!(both.survey(Some(CHAIN), None).await.unwrap().chain_id, 9);
        // Without a known chain, the first endpoint says it.
        is(&second, CHAIN, 100, 0);
        assert_eq!(both.survey(None, None).await.unwrap().chain_id, 9);
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_below_the_head_is_left_though_it_serves_its_block() {
        let (first, _, both) = two();
        is(&first, CHAIN, 99, 0);
        assert_eq!(survey(&both).await.latest, 100);
        assert_eq!(latest(&both).await, Ok(100));
    }

    #[tokio::test(start_paused = true)]
    async fn another_block_at_the_head_is_told_of_every_endpoint_that_envoy_may_use() {
        let (first, second, _) = two();
        is(&second, CHAIN, 500, 1);
        let both = Execution::new(vec![first.clone(), second.clone()], Vec::new());
        let heard = survey(&both).await;
        assert_eq!((heard.at_head, heard.contradiction), (Some(hash(0)), Some(hash(1))));
        assert_eq!(latest(&both).await, Ok(100), "the one with the head is used");
        assert!(second.rejected().is_some() && first.rejected().is_none());

        let unrouted = Execution::new(vec![first.clone()], vec![second.clone()]);
        let heard = survey(&unrouted).await;
        assert_eq!((heard.at_head, heard.contradiction), (Some(hash(0)), None));
        first.answers(|_, _| Err(UpstreamError::Status { status: 500, answer: String::new() }));
        assert!(unrouted.survey(Some(CHAIN), head()).await.is_err());
        is(&second, CHAIN, 500, 0);
        assert_eq!(survey(&unrouted).await.latest, 500);

        let only = Execution::new(vec![second.clone()], Vec::new());
        is(&second, CHAIN, 500, 1);
        second.rejected();
        let heard = survey(&only).await;
        assert_eq!((heard.at_head, heard.contradiction), (Some(hash(1)), Some(hash(1))));
        assert_eq!(second.rejected(), None, "the status says it");
    }
}
