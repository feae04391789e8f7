//! A dependency for tests, without a socket.

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::oneshot;

use super::{Absent, Call, JsonRpc, UpstreamError};

type Answer = Result<Value, UpstreamError>;

type Answering = dyn Fn(&str, &Value) -> Answer + Send + Sync;

/// A JSON-RPC endpoint that hangs until it is told to answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<FakeState>>);

#[derive(Default)]
struct FakeState {
    /// What it answers to a method and its parameters.
    answer: Option<Arc<Answering>>,
    /// How long that takes.
    takes: Duration,
    /// Gives the one answer of an endpoint that hangs.
    hanging: Option<oneshot::Receiver<Answer>>,
    asked: usize,
    rejected: Option<UpstreamError>,
}

impl fmt::Debug for FakeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeState").field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl Fake {
    /// Answers from now on.
    pub(crate) fn answers(&self, answer: impl Fn(&str, &Value) -> Answer + Send + Sync + 'static) {
        self.0.lock().answer = Some(Arc::new(answer));
    }

    /// Takes that long for each answer from now on.
    pub(crate) fn takes(&self, time: Duration) {
        self.0.lock().takes = time;
    }

    /// Hangs from now on. The first request after this is answered by what is sent.
    pub(crate) fn hangs(&self) -> oneshot::Sender<Answer> {
        let (answer, hanging) = oneshot::channel();
        let mut state = self.0.lock();
        (state.answer, state.hanging) = (None, Some(hanging));
        answer
    }

    /// The number of requests since the last call.
    pub(crate) fn asked(&self) -> usize {
        std::mem::take(&mut self.0.lock().asked)
    }

    /// What it was last rejected for, since the last call.
    pub(crate) fn rejected(&self) -> Option<UpstreamError> {
        self.0.lock().rejected.take()
    }
}

impl JsonRpc for Fake {
    async fn call_optional<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
        absent: Absent,
    ) -> Result<Option<T>, UpstreamError> {
        match self.ask(&[Call::new(method, params)]).await {
            Err(UpstreamError::Rpc { code, message }) if absent(code, &message) => Ok(None),
            answer => answer.map(|mut values| Some(read(values.remove(0)))),
        }
    }

    async fn batch<T: DeserializeOwned>(&self, calls: Vec<Call>) -> Result<T, UpstreamError> {
        Ok(read(Value::Array(self.ask(&calls).await?)))
    }

    async fn call_alone<T: DeserializeOwned + Send>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<T, UpstreamError> {
        let answer = self.call_optional(method, params, |_, _| false).await?;
        Ok(answer.unwrap())
    }

    fn reject(&self, error: &UpstreamError) {
        self.0.lock().rejected = Some(error.clone());
    }
}

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

impl Fake {
    /// The answers to the calls of one request.
    async fn ask(&self, calls: &[Call]) -> Result<Vec<Value>, UpstreamError> {
        let (answer, hanging, takes) = {
            let mut state = self.0.lock();
            state.asked += 1;
            (state.answer.clone(), state.hanging.take(), state.takes)
        };
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        let first = match (&answer, hanging) {
            (Some(_), _) => None,
            (None, Some(hanging)) => match hanging.await {
                Ok(answer) => Some(answer?),
                Err(_) => std::future::pending().await,
            },
            (None, None) => std::future::pending().await,
        };
        let answer = |Call { method, params }: &Call| match (&first, &answer) {
            (Some(value), _) => Ok(value.clone()),
            (None, Some(answer)) => answer(method, params),
            (None, None) => unreachable!("it hangs"),
        };
        calls.iter().map(answer).collect()
    }
}
