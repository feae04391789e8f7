//! The configured L1 endpoints, asked side by side. A majority of *all* of them decides.

use std::sync::Arc;

use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::task::JoinHandle;

use super::endpoint::Endpoint;
use crate::upstream::{HEDGE_DELAY, InFlight, Indexed, UpstreamError, gather};

/// The endpoints of one L1. A clone is a handle to the same ones.
#[derive(Debug, Clone)]
pub(super) struct Panel<E> {
    endpoints: Arc<[E]>,
    /// Requests in flight by endpoint.
    in_flight: Arc<[InFlight]>,
}

type Asked<T> = JoinHandle<Indexed<T>>;

impl<E: Endpoint> Panel<E> {
    pub(super) fn new(endpoints: Vec<E>) -> Self {
        let in_flight = endpoints.iter().map(|_| InFlight::default()).collect();
        Self { endpoints: endpoints.into(), in_flight }
    }

    pub(super) fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// The endpoints in the order of the setting.
    pub(super) fn endpoints(&self) -> &[E] {
        &self.endpoints
    }

    /// How many endpoints must say the same.
    pub(super) fn majority(&self) -> usize {
        self.len() / 2 + 1
    }

    /// Asks an endpoint in a task of its own.
    fn ask<T, A>(&self, index: usize, ask: &impl Fn(E) -> A) -> Option<Asked<T>>
    where
        T: Send + 'static,
        A: Future<Output = Result<T, UpstreamError>> + Send + 'static,
    {
        let answer = ask(self.endpoints.get(index)?.clone());
        let in_flight = self.in_flight.get(index)?;
        Some(in_flight.send(async move { (index, answer.await) }))
    }

    fn is_busy(&self, index: usize) -> bool {
        self.in_flight.get(index).is_some_and(InFlight::is_busy)
    }

    /// Asks several endpoints at once and returns the answers that came. Once `enough` of them are
    /// good, the others have [`HEDGE_DELAY`] left. One that still hangs on an earlier question is
    /// not asked, unless it is needed.
    pub(super) async fn ask_all<T, A>(
        &self,
        indices: impl IntoIterator<Item = usize>,
        enough: usize,
        ask: impl Fn(E) -> A,
    ) -> Vec<Indexed<T>>
    where
        T: Send + 'static,
        A: Future<Output = Result<T, UpstreamError>> + Send + 'static,
    {
        let (busy, free): (Vec<_>, Vec<_>) =
            indices.into_iter().partition(|index| self.is_busy(*index));
        let needed = enough.saturating_sub(free.len());
        let chosen = free.into_iter().chain(busy.into_iter().take(needed));
        let asked: Vec<_> = chosen.filter_map(|index| self.ask(index, &ask)).collect();
        gather(asked, enough, Vec::new).await
    }

    /// The answer that a majority of all endpoints gives. An error object of JSON-RPC is an answer.
    /// No more endpoints are asked than are needed; one that fails or contradicts is replaced at
    /// once, one that is silent is joined by the next after [`HEDGE_DELAY`].
    pub(super) async fn agree<T, A>(
        &self,
        voters: &[usize],
        what: &str,
        ask: impl Fn(E) -> A,
    ) -> Result<T, UpstreamError>
    where
        T: PartialEq + Send + 'static,
        A: Future<Output = Result<T, UpstreamError>> + Send + 'static,
    {
        let majority = self.majority();
        let mut order = voters.to_vec();
        order.sort_by_key(|index| self.is_busy(*index));
        let mut others = order.into_iter();
        let mut asked: FuturesUnordered<_> =
            others.by_ref().take(majority).filter_map(|index| self.ask(index, &ask)).collect();
        let mut votes = Votes::default();
        let mut failed = None;
        loop {
            let missing = majority.saturating_sub(votes.most());
            while asked.len() < missing
                && let Some(index) = others.next()
            {
                asked.extend(self.ask(index, &ask));
            }
            tokio::select! {
                biased;
                answer = asked.next() => match answer {
                    Some(Ok((_, Err(error)))) if !error.is_answer() => {
                        failed.get_or_insert(error);
                    }
                    Some(Ok((_, answer))) => {
                        votes.add(answer);
                        if let Some(answer) = votes.winner(majority) {
                            return answer;
                        }
                    }
                    Some(Err(_)) => {}
                    None => break,
                },
                () = tokio::time::sleep(HEDGE_DELAY), if others.len() > 0 => {
                    asked.extend(others.next().and_then(|index| self.ask(index, &ask)));
                }
            }
        }
        Err(match failed {
            Some(failed) if self.len() == 1 => failed,
            _ => self.no_majority(what, votes.total()),
        })
    }

    /// The error when no majority says the same.
    pub(super) fn no_majority(&self, what: &str, answered: usize) -> UpstreamError {
        let (count, majority) = (self.len(), self.majority());
        UpstreamError::NoMajority(format!(
            "{majority} of the {count} endpoints in l1_rpc must agree on {what}; {answered} gave a usable answer"
        ))
    }
}

/// Answers with how often each was given.
#[derive(Debug)]
struct Votes<T>(Vec<(Result<T, UpstreamError>, usize)>);

impl<T> Default for Votes<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq> Votes<T> {
    fn add(&mut self, answer: Result<T, UpstreamError>) {
        // The texts of error objects differ between clients.
        let same = |known: &Result<T, UpstreamError>| match (known, &answer) {
            (Ok(known), Ok(answer)) => known == answer,
            (Err(_), Err(_)) => true,
            _ => false,
        };
        match self.0.iter_mut().find(|(known, _)| same(known)) {
            Some((_, count)) => *count += 1,
            None => self.0.push((answer, 1)),
        }
    }

    fn most(&self) -> usize {
        self.0.iter().map(|(_, count)| *count).max().unwrap_or(0)
    }

    fn total(&self) -> usize {
        self.0.iter().map(|(_, count)| count).sum()
    }

    fn winner(&mut self, majority: usize) -> Option<Result<T, UpstreamError>> {
        let index = self.0.iter().position(|(_, count)| *count >= majority)?;
        Some(self.0.swap_remove(index).0)
    }
}
