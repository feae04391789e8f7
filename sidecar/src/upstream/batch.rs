//! Several JSON-RPC calls in one request, where the endpoint takes that.

use std::{
    fmt,
    time::{Duration, Instant},
};

use alloy_primitives::bytes::Bytes;
use futures::future::try_join_all;
use serde::{
    Deserializer as _,
    de::{DeserializeOwned, Error as _, SeqAccess, Visitor, value::SeqDeserializer},
};
use serde_json::value::RawValue;

use super::{
    Question, Upstream, UpstreamError,
    json_rpc::{Answer, Call, Request},
};

/// How long an endpoint that refused a batch is asked singly.
const REFUSED_FOR: Duration = Duration::from_secs(600);

impl Upstream {
    /// Calls several methods at once and reads the results, in the order of the calls, as a tuple
    /// or a list. All in one request, unless the endpoint refuses batches. The first error object
    /// is the error of all.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn batch<T: DeserializeOwned>(&self, calls: &[Call]) -> Result<T, UpstreamError> {
        let refused = *self.inner.batches_refused.lock();
        if refused.is_none_or(|at| at.elapsed() >= REFUSED_FOR) {
            match self.together(calls).await {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {}
                Err(error) if may_be_refusal(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let single = |call: &Call| {
            let Call { method, params } = call.clone();
            async move { self.call::<Box<RawValue>>(method, params).await }
        };
        let results = try_join_all(calls.iter().map(single)).await?;
        // Only if it answers singly was it the batch that it refused.
        self.inner.batches_refused.lock().get_or_insert_with(Instant::now);
        let read = read_all(results.iter().map(|result| &**result));
        read.inspect_err(|error| self.blame(error))
    }

    /// The answers to a batch; none if something else than a list came in their place.
    async fn together<T: DeserializeOwned>(
        &self,
        calls: &[Call],
    ) -> Result<Option<T>, UpstreamError> {
        let url = self.url();
        let body: Vec<_> = calls
            .iter()
            .zip(1..)
            .map(|(Call { method, params }, id)| Request::new(id, method, params))
            .collect();
        let request = self.inner.client.post(url.expose().clone()).json(&body);
        let purposes: Vec<_> = calls.iter().map(Call::purpose).collect();
        let name = calls.first().map_or("", |call| call.method);
        let read = |body: &Bytes| match body.trim_ascii_start().first() {
            Some(b'[') => read_all(members(body, calls.len())?).map(Some),
            _ => Ok(None),
        };
        let answer = self.send((name, &purposes), (request, &url), of_calls(calls), read).await?;
        if answer.is_some() {
            *self.inner.batches_refused.lock() = None;
        }
        Ok(answer)
    }
}

/// What the answers to several calls may be in one.
fn of_calls(calls: &[Call]) -> Question {
    let mut all = Question { limit: 0, ..Question::SMALL };
    for question in calls.iter().map(|call| Question::of_method(call.method)) {
        // At most one of them is long.
        all.limit = all.limit.max(question.limit).saturating_add(super::SMALL);
        all.may_be_longer |= question.may_be_longer;
    }
    all
}

/// Whether an error may mean that the endpoint takes no batches.
const fn may_be_refusal(error: &UpstreamError) -> bool {
    match error {
        UpstreamError::Status { status, .. } => *status >= 400 && *status < 500 && *status != 429,
        UpstreamError::NotJson { .. } | UpstreamError::WrongPath { status: 405, .. } => true,
        _ => false,
    }
}

/// The results of a batch in the order of the calls, whose ids are 1 to `count`.
fn members(body: &[u8], count: usize) -> Result<Vec<&RawValue>, UpstreamError> {
    let malformed = |error: serde_json::Error| UpstreamError::Malformed(format!("batch: {error}"));
    let mut reader = serde_json::Deserializer::from_slice(body);
    let answers = reader.deserialize_seq(Members { count }).map_err(malformed)?;
    reader.end().map_err(malformed)?;
    answers.into_iter().map(Answer::result).collect()
}

/// Reads as many answers as there were calls, each once; anything else ends it, so that nothing
/// grows with the answer.
struct Members {
    count: usize,
}

impl<'de> Visitor<'de> for Members {
    type Value = Vec<Answer<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of {} answers", self.count)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut places: Vec<_> = std::iter::repeat_with(|| None).take(self.count).collect();
        while let Some(answer) = elements.next_element::<Answer<'de>>()? {
            let index = answer.id.and_then(|id| usize::try_from(id.checked_sub(1)?).ok());
            let place = index.and_then(|index| places.get_mut(index));
            let place = place.ok_or_else(|| A::Error::custom("an id that was not asked"))?;
            if place.replace(answer).is_some() {
                return Err(A::Error::custom("an id twice"));
            }
        }
        let answers: Option<Vec<_>> = places.into_iter().collect();
        answers.ok_or_else(|| A::Error::custom("an id is missing"))
    }
}

/// Reads results as the members of a tuple or a list.
fn read_all<'a, T: DeserializeOwned>(
    results: impl IntoIterator<Item = &'a RawValue>,
) -> Result<T, UpstreamError> {
    T::deserialize(SeqDeserializer::new(results.into_iter()))
        .map_err(|error: serde_json::Error| UpstreamError::Malformed(format!("batch: {error}")))
}
