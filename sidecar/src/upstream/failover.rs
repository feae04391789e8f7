//! Several endpoints of one dependency: the first one is used until it fails, then the next.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{DependencyReport, Upstream, UpstreamError};

/// The endpoints, at least one; clones share state.
#[derive(Debug, Clone)]
pub struct Failover {
    first: Upstream,
    others: Arc<[Upstream]>,
    /// The index of the endpoint that answered last: it is asked first.
    current: Arc<AtomicUsize>,
}

impl Failover {
    /// Endpoints in the order in which they are preferred at the start.
    #[must_use]
    pub fn new(first: Upstream, others: Vec<Upstream>) -> Self {
        Self { first, others: others.into(), current: Arc::default() }
    }

    /// The number of endpoints.
    #[must_use]
    pub fn count(&self) -> usize {
        1 + self.others.len()
    }

    /// The state of each.
    pub fn reports(&self) -> impl Iterator<Item = DependencyReport> {
        self.endpoints().map(Upstream::report)
    }

    fn endpoints(&self) -> impl Iterator<Item = &Upstream> + Clone {
        std::iter::once(&self.first).chain(&*self.others)
    }

    /// The endpoints with their indices, in the order to ask them.
    pub fn in_turn(&self) -> impl Iterator<Item = (usize, &Upstream)> {
        let current = self.current.load(Ordering::Relaxed);
        self.endpoints().enumerate().cycle().skip(current).take(self.count())
    }

    /// Asks this one first from now on.
    pub fn prefer(&self, index: usize) {
        self.current.store(index, Ordering::Relaxed);
    }

    /// Calls a JSON-RPC method on the first endpoint in order that answers. An error object is an
    /// answer.
    ///
    /// # Errors
    /// That of the first endpoint, if none answers.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: impl Serialize,
    ) -> Result<T, UpstreamError> {
        let answer = self.call_optional(method, params, |_, _| false).await?;
        answer.ok_or_else(Self::nobody)
    }

    /// As [`Self::call`], for a method whose error object may say that there is nothing to tell
    /// ([`Upstream::call_optional`]).
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn call_optional<T: DeserializeOwned>(
        &self,
        method: &str,
        params: impl Serialize,
        absent: fn(i64, &str) -> bool,
    ) -> Result<Option<T>, UpstreamError> {
        let mut failed = None;
        for (index, endpoint) in self.in_turn() {
            match endpoint.call_optional(method, &params, absent).await {
                Err(error) if !error.is_answer() => _ = failed.get_or_insert(error),
                answer => {
                    self.prefer(index);
                    return answer;
                }
            }
        }
        Err(failed.unwrap_or_else(Self::nobody))
    }

    /// The error when there is no endpoint.
    pub(crate) fn nobody() -> UpstreamError {
        UpstreamError::Connection("there is no endpoint".into())
    }
}

impl From<Upstream> for Failover {
    fn from(only: Upstream) -> Self {
        Self::new(only, Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::testing::Endpoint;

    #[tokio::test]
    async fn what_is_no_answer_goes_to_the_next_endpoint_which_stays() {
        let (first, second) = (Endpoint::new().await, Endpoint::new().await);
        let both = Failover::new(first.upstream.clone(), vec![second.upstream.clone()]);
        let ask = || both.call::<Option<u64>>("m", ());
        second.answers(200, r#"{"result":2}"#);
        // Null and error objects are answers.
        first.answers(200, r#"{"result":null}"#);
        assert_eq!(ask().await, Ok(None));
        first.answers(200, r#"{"error":{"code":-32000,"message":"no"}}"#);
        assert!(matches!(ask().await, Err(UpstreamError::Rpc { .. })));
        assert_eq!((first.asked(), second.asked()), (2, 0));
        first.answers(200, "nonsense");
        assert_eq!(ask().await, Ok(Some(2)));
        first.answers(200, r#"{"result":1}"#);
        assert_eq!(ask().await, Ok(Some(2)));
        assert_eq!((first.asked(), second.asked()), (1, 2));
        second.answers(404, "");
        assert_eq!(ask().await, Ok(Some(1)));
    }

    #[tokio::test]
    async fn each_endpoint_has_its_own_back_off() {
        let (first, second) = (Endpoint::new().await, Endpoint::new().await);
        let both = Failover::new(first.upstream.clone(), vec![second.upstream.clone()]);
        let ask = || both.call::<u64>("m", ());
        first.answers(503, "");
        second.answers(404, "");
        assert_eq!(ask().await, Err(UpstreamError::Status(503)));
        assert!(matches!(ask().await, Err(UpstreamError::BackingOff(_))));
        assert_eq!((first.asked(), second.asked()), (1, 2), "an outage is left alone");
        second.answers(200, r#"{"result":2}"#);
        assert_eq!(ask().await, Ok(2));
        let ok: Vec<_> = both.reports().map(|report| report.ok).collect();
        assert_eq!(ok, [Some(false), Some(true)]);
    }
}
