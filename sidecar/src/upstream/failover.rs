//! Several endpoints of one dependency that can stand in for each other from one question to the
//! next, and none of which holds up who asks.

use std::{any::Any, collections::HashMap, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{task::JoinHandle, time::Instant};

use super::{
    DependencyReport, JsonRpc, Upstream, UpstreamError,
    hedge::{HEDGE_DELAY, InFlight},
    json_rpc::Absent,
};

/// A late answer is of no use after this long.
const TOO_LATE: Duration = Duration::from_secs(30);

/// The endpoints, in the order in which they are preferred; clones share state.
///
/// One that is silent for 300 ms is joined by the next one, and asked last while it still
/// owes an answer. When all are silent, the question ends with an error; the answer, when it has
/// come, is that to the same question asked again.
#[derive(Debug)]
pub struct Failover<E = Upstream> {
    endpoints: Arc<[Member<E>]>,
    late: Arc<Mutex<HashMap<String, Late>>>,
}

impl<E> Clone for Failover<E> {
    fn clone(&self) -> Self {
        Self { endpoints: Arc::clone(&self.endpoints), late: Arc::clone(&self.late) }
    }
}

#[derive(Debug)]
struct Member<E> {
    endpoint: E,
    in_flight: InFlight,
}

/// A question that was not answered in time.
#[derive(Debug)]
struct Late {
    since: Instant,
    /// The task, whose type is that of the question's answer.
    task: Box<dyn Any + Send>,
}

type Answer<T> = Result<Option<T>, UpstreamError>;

impl<E> Failover<E> {
    /// Endpoints in the order in which they are preferred.
    #[must_use]
    pub fn new(endpoints: Vec<E>) -> Self {
        let member = |endpoint| Member { endpoint, in_flight: InFlight::default() };
        Self { endpoints: endpoints.into_iter().map(member).collect(), late: Arc::default() }
    }
}

impl Failover {
    /// The state of each.
    pub fn reports(&self) -> impl Iterator<Item = DependencyReport> {
        self.endpoints.iter().map(|member| member.endpoint.report())
    }
}

impl<E: JsonRpc> Failover<E> {
    /// Calls a JSON-RPC method on the first endpoint in order that answers. An error object is an
    /// answer.
    ///
    /// # Errors
    /// That of the first endpoint, if none answers.
    pub async fn call<T: DeserializeOwned + Send + 'static>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<T, UpstreamError> {
        let answer = self.call_optional(method, params, |_, _| false).await?;
        answer.ok_or_else(nobody)
    }

    /// As [`Self::call`], for a method whose error object may say that there is nothing to tell
    /// ([`Upstream::call_optional`]).
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn call_optional<T: DeserializeOwned + Send + 'static>(
        &self,
        method: &'static str,
        params: Value,
        absent: Absent,
    ) -> Answer<T> {
        let question = format!("{method} {params}");
        let (mut task, since, patience) = match self.late(&question) {
            Some((task, since)) => (task, since, Duration::ZERO),
            None => {
                let endpoints = Arc::clone(&self.endpoints);
                let task = tokio::spawn(ask(endpoints, method, params, absent));
                let count = u32::try_from(self.endpoints.len()).unwrap_or(u32::MAX);
                (task, Instant::now(), HEDGE_DELAY.saturating_mul(count))
            }
        };
        match tokio::time::timeout(patience, &mut task).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(nobody())),
            Err(_) => {
                self.late.lock().insert(question, Late { since, task: Box::new(task) });
                Err(UpstreamError::Connection(format!("{method} is not answered yet")))
            }
        }
    }

    /// The question if it was asked before and not answered in time.
    fn late<T: 'static>(&self, question: &str) -> Option<(JoinHandle<Answer<T>>, Instant)> {
        let mut late = self.late.lock();
        late.retain(|_, late| late.since.elapsed() < TOO_LATE);
        let Late { since, task } = late.remove(question)?;
        Some((*task.downcast().ok()?, since))
    }
}

async fn ask<E: JsonRpc, T: DeserializeOwned + Send + 'static>(
    endpoints: Arc<[Member<E>]>,
    method: &'static str,
    params: Value,
    absent: Absent,
) -> Answer<T> {
    let mut order: Vec<_> = endpoints.iter().collect();
    order.sort_by_key(|member| member.in_flight.is_busy());
    let mut order = order.into_iter();
    let send = |member: &Member<E>| {
        let (endpoint, params) = (member.endpoint.clone(), params.clone());
        let request = async move { endpoint.call_optional(method, params, absent).await };
        member.in_flight.send(request)
    };
    let mut asked = FuturesUnordered::new();
    let mut failed = None;
    loop {
        if asked.is_empty() {
            match order.next() {
                Some(member) => asked.push(send(member)),
                None => return Err(failed.unwrap_or_else(nobody)),
            }
        }
        tokio::select! {
            biased;
            Some(answer) = asked.next() => match answer {
                Ok(Err(error)) if !error.is_answer() => _ = failed.get_or_insert(error),
                Ok(answer) => return answer,
                // The runtime is going down.
                Err(_) => {}
            },
            () = tokio::time::sleep(HEDGE_DELAY), if order.len() > 0 => {
                asked.extend(order.next().map(send));
            }
        }
    }
}

/// The error when there is no endpoint.
fn nobody() -> UpstreamError {
    UpstreamError::Connection("there is no endpoint".into())
}

impl From<Upstream> for Failover {
    fn from(only: Upstream) -> Self {
        Self::new(vec![only])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::upstream::testing::Fake;

    fn two() -> (Fake, Fake, Failover<Fake>) {
        let (first, second) = (Fake::default(), Fake::default());
        (first.clone(), second.clone(), Failover::new(vec![first, second]))
    }

    async fn ask(all: &Failover<Fake>) -> Result<Option<u64>, UpstreamError> {
        all.call("m", json!([])).await
    }

    #[tokio::test]
    async fn what_is_no_answer_goes_to_the_next_endpoint_and_back() {
        let (first, second, both) = two();
        second.answers(|_, _| Ok(json!(2)));
        // Null and error objects are answers.
        first.answers(|_, _| Ok(json!(null)));
        assert_eq!(ask(&both).await, Ok(None));
        let object = UpstreamError::Rpc { code: -32000, message: "no".into() };
        let error = object.clone();
        first.answers(move |_, _| Err(error.clone()));
        assert_eq!(ask(&both).await, Err(object));
        assert_eq!((first.asked(), second.asked()), (2, 0));
        first.answers(|_, _| Err(UpstreamError::Status { status: 503, answer: String::new() }));
        assert_eq!(ask(&both).await, Ok(Some(2)));
        first.answers(|_, _| Ok(json!(1)));
        assert_eq!(ask(&both).await, Ok(Some(1)), "the first one is back");
        first.answers(|_, _| Err(UpstreamError::Status { status: 503, answer: String::new() }));
        second.answers(|_, _| Err(UpstreamError::Status { status: 404, answer: String::new() }));
        assert_eq!(
            ask(&both).await,
            Err(UpstreamError::Status { status: 503, answer: String::new() }),
            "of the first one"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_hangs_is_joined_by_the_next_and_asked_last() {
        let (first, second, both) = two();
        first.hangs();
        second.answers(|_, _| Ok(json!(2)));
        for asked in [1, 0] {
            let start = Instant::now();
            assert_eq!(ask(&both).await, Ok(Some(2)));
            assert_eq!(start.elapsed().is_zero(), asked == 0);
            assert_eq!((first.asked(), second.asked()), (asked, 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_nobody_answers_holds_nothing_up_and_its_answer_is_not_lost() {
        let only = Fake::default();
        let all = Failover::new(vec![only.clone()]);
        let answer = only.hangs();
        let start = Instant::now();
        assert!(matches!(ask(&all).await, Err(UpstreamError::Connection(_))));
        assert_eq!(start.elapsed(), HEDGE_DELAY);
        for _ in 0..3 {
            assert!(ask(&all).await.is_err());
        }
        assert_eq!(start.elapsed(), HEDGE_DELAY, "it is waited for once");
        answer.send(Ok(json!(7))).unwrap();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(ask(&all).await, Ok(Some(7)));
        assert_eq!(only.asked(), 1);
        // The next question is another one.
        only.answers(|_, _| Ok(json!(8)));
        assert_eq!(ask(&all).await, Ok(Some(8)));
    }
}
