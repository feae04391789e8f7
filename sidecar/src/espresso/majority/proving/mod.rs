//! Proven reading: headers under the light client's root or from a majority, and payloads from one
//! service, each checked against its header.

mod rooted;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use espresso_proofs::{
    Answer, Evidence, Header, NamespaceBlock, NamespaceError, ProvenSize, Reason,
};
use futures::FutureExt;
use tokio::{task::spawn_blocking, time::Instant};

use super::{QueryServices, most_telling};
use crate::{
    config::HotshotProofs,
    espresso::{Blocks, Headers, QueryService, proofs::disproven},
    upstream::{Question, UpstreamError},
};

pub(in crate::espresso) use rooted::Rooted;
pub(crate) use rooted::is_unserved;

/// How long a service with a bad answer is asked last.
const DISTRUSTED_FOR: Duration = Duration::from_secs(600);
/// How far from a block another one is looked for that bears out its committee, and how many are
/// asked for at once.
const NEARBY: u64 = 200;
const AT_ONCE: u64 = 100;
/// The most namespaces of a block, and blocks on a side, that are asked for that.
const MOST_WITNESSES: usize = 8;

/// Headers that two services have alike: their commitments say so.
#[derive(Debug)]
struct Alike(Vec<Header>);

impl PartialEq for Alike {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().map(Header::commitment).eq(other.0.iter().map(Header::commitment))
    }
}

/// Answers that are still to be checked, by the place of their headers.
type Unchecked = Vec<(usize, Answer)>;

/// How far a check on another thread came.
struct Checked {
    proven: Vec<(usize, NamespaceBlock)>,
    size: Option<ProvenSize>,
    /// The first answer that proves nothing, why, and those after it.
    failed: Option<(usize, Answer, NamespaceError)>,
    rest: Unchecked,
}

impl QueryServices {
    /// The headers of the blocks `from..until`, as a majority has them.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn headers(&self, from: u64, until: u64) -> Result<Vec<Header>, UpstreamError> {
        let call = |service: QueryService| {
            async move { service.headers(from, until).await.map(Alike) }.boxed()
        };
        let (Alike(headers), outvoted) = self.agreed(from, until, call).await?;
        let others = format!("headers {from}..{until} are not those of the majority");
        for service in outvoted {
            self.gave_bad_answer(service, &disproven(Reason::Header, &others));
        }
        Ok(headers)
    }

    /// The payloads in the namespace in the blocks `from..until`, proven under their headers.
    pub(super) async fn proven_range(
        &self,
        from: u64,
        until: u64,
        question: Question,
    ) -> Result<Blocks, UpstreamError> {
        let (headers, standing) = self.standing_headers(from, until).await?;
        let payloads = self.proven_payloads(headers.into(), until, question).await?;
        Ok(Blocks { payloads, headers: standing })
    }

    /// The headers of the blocks `from..until`, and how they stand in the chain: proven below the
    /// light client's height, else as a majority has them.
    async fn standing_headers(
        &self,
        from: u64,
        until: u64,
    ) -> Result<(Vec<Header>, Headers), UpstreamError> {
        let links = |headers: &[Header]| {
            let links = headers.iter().map(Header::link).collect::<Result<Vec<_>, _>>();
            links.map_err(|error| disproven(error.reason(), error))
        };
        let is_root = self.proofs == HotshotProofs::Root;
        let rooted = self.rooted_up_to(until);
        if let Some(rooted) = rooted.filter(|rooted| is_root || !rooted.is_unserved()) {
            match self.rooted_headers(&rooted, from, until).await {
                Ok((headers, before, after)) => {
                    let (before, after) = (Box::new(before), Box::new(after));
                    return Ok((headers, Headers::Proven { before, after }));
                }
                Err(error @ UpstreamError::Disproven { .. }) => return Err(error),
                Err(error) if is_root => return Err(error),
                // The services do not serve paths.
                Err(error) if is_unserved(&error) => rooted.was_unserved(),
                Err(_) => {}
            }
        }
        let headers = self.headers(from, until).await?;
        let links = links(&headers)?;
        Ok((headers, Headers::Agreed(links)))
    }

    /// The payloads in the namespace in the blocks of these headers.
    async fn proven_payloads(
        &self,
        headers: Arc<[Header]>,
        until: u64,
        question: Question,
    ) -> Result<Vec<NamespaceBlock>, UpstreamError> {
        let is_listed = |header: &Header| self.is_listed(header);
        let (Some(first), Some(last)) =
            (headers.iter().position(is_listed), headers.iter().rposition(is_listed))
        else {
            return Ok(vec![NamespaceBlock::default(); headers.len()]);
        };
        let mut errors = Vec::new();
        for index in self.order(Some(until)) {
            match self.proven_by(index, &headers, (first, last), question).await {
                Ok(blocks) => return Ok(blocks),
                Err(error) => {
                    self.failed(index, &error);
                    errors.push(error);
                }
            }
        }
        Err(most_telling(errors))
    }

    /// Whether a block has anything in the namespace.
    fn is_listed(&self, header: &Header) -> bool {
        header.namespaces().contains(self.namespace)
    }

    /// The payloads of one service, if all of them are proven.
    async fn proven_by(
        &self,
        index: usize,
        headers: &Arc<[Header]>,
        (first, last): (usize, usize),
        question: Question,
    ) -> Result<Vec<NamespaceBlock>, UpstreamError> {
        let unproven =
            || UpstreamError::Malformed("an answer for other blocks than the asked ones".into());
        let service = self.service(index).ok_or_else(unproven)?;
        let height = |place: usize| headers.get(place).map_or(0, Header::height);
        let (from, until) = (height(first), height(last).saturating_add(1));
        let answers = match service.answers(from, until, question).await {
            // A wrongly encoded block looks like one that is not there yet.
            Err(UpstreamError::Absent(_)) if until - from == 1 => {
                let _alone = self.alone.lock().await;
                match service.late_answer(from).await? {
                    Some(answer) => vec![answer],
                    None => return Err(UpstreamError::Absent(String::new())),
                }
            }
            answers => answers?,
        };
        // None until it is proven.
        let mut blocks: Vec<Option<NamespaceBlock>> = headers
            .iter()
            .map(|header| (!self.is_listed(header)).then(NamespaceBlock::default))
            .collect();
        let mut unchecked: Unchecked = (first..).zip(answers).collect();
        let mut size = match self.committee_size.load(Ordering::Relaxed) {
            0 => service.committee_size(from).await?,
            size => size,
        };
        let mut asked = None;
        loop {
            let Checked { proven, size: fitting, failed, rest } =
                self.check(headers, unchecked, size).await?;
            for (place, block) in proven {
                *blocks.get_mut(place).ok_or_else(unproven)? = Some(block);
            }
            fitting
                .into_iter()
                .for_each(|size| self.committee_size.store(size.size(), Ordering::Relaxed));
            let Some((place, answer, error)) = failed else {
                return blocks.into_iter().collect::<Option<_>>().ok_or_else(unproven);
            };
            let header = headers.get(place).ok_or_else(unproven)?;
            let block = blocks.get_mut(place).ok_or_else(unproven)?;
            let height = header.height();
            unchecked = rest;
            match error {
                // Another committee, maybe.
                NamespaceError::Commitment if asked != Some(place) => {
                    asked = Some(place);
                    size = service.committee_size(height).await?;
                    unchecked.insert(0, (place, answer));
                }
                NamespaceError::NoProof => {
                    let _alone = self.alone.lock().await;
                    let late = service.late_answer(height).await?;
                    let late = late.ok_or_else(|| disproven(error.reason(), &error))?;
                    if !late.claims_wrong_encoding() {
                        unchecked.insert(0, (place, late));
                        continue;
                    }
                    self.check_claim(&service, header, &late, size).await?;
                    *block = Some(NamespaceBlock::default());
                }
                NamespaceError::CommitteeSize(_) if answer.claims_wrong_encoding() => {
                    let _alone = self.alone.lock().await;
                    self.check_claim(&service, header, &answer, size).await?;
                    *block = Some(NamespaceBlock::default());
                }
                error => return Err(disproven(error.reason(), error)),
            }
        }
    }

    /// Checks answers in order on a thread for long work, up to the first that proves nothing.
    async fn check(
        &self,
        headers: &Arc<[Header]>,
        unchecked: Unchecked,
        size: u32,
    ) -> Result<Checked, UpstreamError> {
        let (headers, namespace) = (Arc::clone(headers), self.namespace);
        let work = move || {
            let mut unchecked = unchecked.into_iter();
            let (mut proven, mut fitting, mut failed) = (Vec::new(), None, None);
            for (place, answer) in unchecked.by_ref() {
                let Some(header) = headers.get(place) else { break };
                match answer.check(header, namespace, size, &[]) {
                    Ok(evidence) => {
                        if let Evidence::Opened(size) = evidence {
                            fitting = Some(size);
                        }
                        proven.push((place, answer.into_block(&evidence)));
                    }
                    Err(error) => {
                        failed = Some((place, answer, error));
                        break;
                    }
                }
            }
            Checked { proven, size: fitting, failed, rest: unchecked.collect() }
        };
        spawn_blocking(work).await.map_err(|error| UpstreamError::Connection(error.to_string()))
    }

    /// Checks the claim that the namespace is wrongly encoded in a block, which makes it empty.
    async fn check_claim(
        &self,
        service: &QueryService,
        header: &Header,
        claim: &Answer,
        size: u32,
    ) -> Result<(), UpstreamError> {
        let witnesses = self.witnesses(service, header, size).await;
        let sizes = witnesses.iter().map(ProvenSize::size).chain([size]);
        let mut outcome = Ok(());
        for size in sizes {
            match claim.check(header, self.namespace, size, &witnesses) {
                Ok(_) => return Ok(()),
                Err(error) => outcome = outcome.and(Err(disproven(error.reason(), error))),
            }
        }
        outcome
    }

    /// Ordinary proofs that bear out the size of a block's committee: of another namespace of the
    /// block, or of a block before it and one after it. The service gives the proofs, a majority
    /// the headers.
    pub async fn witnesses(
        &self,
        service: &QueryService,
        header: &Header,
        size: u32,
    ) -> Vec<ProvenSize> {
        let others = header.namespaces().entries().iter().map(|(id, _)| *id);
        for namespace in others.filter(|id| *id != self.namespace).take(MOST_WITNESSES) {
            let witness = service.with_namespace(namespace).ordinary_size(header, size).await;
            if let Some(witness) = witness {
                return vec![witness];
            }
        }
        let height = header.height();
        let before = (height.saturating_sub(NEARBY), height);
        let after = (height.saturating_add(1), height.saturating_add(NEARBY + 1));
        let mut witnesses = Vec::new();
        for (from, until, is_before) in [(before.0, before.1, true), (after.0, after.1, false)] {
            witnesses.extend(self.nearest_size(service, from, until, is_before, size).await);
        }
        witnesses
    }

    /// The committee of the nearest block on one side that has a namespace.
    async fn nearest_size(
        &self,
        service: &QueryService,
        from: u64,
        until: u64,
        is_before: bool,
        size: u32,
    ) -> Option<ProvenSize> {
        let until = until.min(service.height().await.ok()?);
        let mut headers = Vec::new();
        let mut begin = from;
        while begin < until {
            let end = begin.saturating_add(AT_ONCE).min(until);
            headers.extend(self.headers(begin, end).await.ok()?);
            begin = end;
        }
        if is_before {
            headers.reverse();
        }
        let with_namespaces =
            headers.iter().filter(|header| !header.namespaces().entries().is_empty());
        for header in with_namespaces.take(MOST_WITNESSES) {
            let (namespace, _) = header.namespaces().entries().first()?;
            let witness = service.with_namespace(*namespace).ordinary_size(header, size).await;
            if witness.is_some() {
                return witness;
            }
        }
        None
    }

    /// The service that is asked first.
    #[must_use]
    pub fn first(&self) -> Option<QueryService> {
        self.service(0)
    }

    /// Counts an answer that its proof does not bear out, and asks the service last for a while.
    pub(super) fn gave_bad_answer(&self, index: usize, error: &UpstreamError) {
        let (UpstreamError::Disproven { reason, .. }, Some(service)) =
            (error, self.services.get(index))
        else {
            return;
        };
        self.metrics.bad_answer(index, reason);
        service.http.blame(error);
        let mut standing = service.standing();
        standing.avoided_until = Some(Instant::now() + DISTRUSTED_FOR);
        standing.fault = Some(format!("a bad answer ({reason})"));
    }
}

#[cfg(test)]
mod tests;
