//! Several query services, of which a majority must agree.
//!
//! No more services are asked than needed, in rotation; one that fails, contradicts or delays the
//! others is replaced by the next and avoided for a while. A single service is trusted.

mod proving;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy_primitives::B256;
use espresso_proofs::{Header, NamespaceBlock};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use parking_lot::{Mutex, MutexGuard, RwLock};
use serde::Deserialize;
use tokio::time::Instant;

use super::{Blocks, Headers, QueryService};
use crate::{
    config::HotshotProofs,
    telemetry::{
        Metrics,
        metrics::{QueryFault, Target},
    },
    upstream::{
        Channel, DependencyReport, HEDGE_DELAY, Heard, News, Question, Upstream, UpstreamError,
    },
};
use proving::Rooted;

pub(crate) use proving::is_unserved;

/// How long a service that contradicted the majority or was too slow is used only if others fail.
const AVOIDED_FOR: Duration = Duration::from_secs(30);

/// What a turn adds, the golden ratio of its range: the places of every second or third question
/// are as evenly spread as those of all. By adding one, a service could get all payloads, and the
/// next all heights.
const TURN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A service more HotShot blocks than this behind the majority is reported to the operator.
const BEHIND: u64 = 20;

/// The configured query services; clones share state.
#[derive(Debug, Clone)]
pub struct QueryServices {
    services: Arc<[Service]>,
    namespace: u32,
    proofs: HotshotProofs,
    /// The size of the committee that the last proof fits; zero before the first.
    committee_size: Arc<AtomicU32>,
    /// Under what headers are proven.
    rooted: Arc<RwLock<Option<Arc<Rooted>>>>,
    /// Held for long answers: one of them at a time is in memory.
    alone: Arc<tokio::sync::Mutex<()>>,
    turn: Arc<AtomicU64>,
    /// After this long without any answer the next service is asked as well, and slow services are
    /// no longer waited for.
    patience: Duration,
    /// HotShot's newest block as a stream shows it.
    newest: Arc<Mutex<Option<Arc<Header>>>>,
    metrics: Metrics,
}

#[derive(Debug)]
struct Service {
    http: Upstream,
    standing: Mutex<Standing>,
}

/// What is known about a service.
#[derive(Debug, Default)]
struct Standing {
    height: Option<u64>,
    avoided_until: Option<Instant>,
    fault: Option<String>,
}

/// The answer of one service, by its index.
struct Answer<T> {
    service: usize,
    result: Result<T, UpstreamError>,
}

impl QueryServices {
    /// The services in the order of the setting, asked about one namespace.
    #[must_use]
    pub fn new(services: Vec<Upstream>, namespace: u32, metrics: Metrics) -> Self {
        metrics.query_services(services.len());
        let services =
            services.into_iter().map(|http| Service { http, standing: Mutex::default() }).collect();
        Self {
            services,
            namespace,
            proofs: HotshotProofs::Off,
            committee_size: Arc::default(),
            rooted: Arc::default(),
            alone: Arc::default(),
            turn: Arc::default(),
            patience: HEDGE_DELAY,
            newest: Arc::default(),
            metrics,
        }
    }

    /// The same services, of whose answers this much is proven.
    #[must_use]
    pub fn with_proofs(self, proofs: HotshotProofs) -> Self {
        if proofs != HotshotProofs::Off {
            self.metrics.proven_services(self.services.len());
        }
        Self { proofs, ..self }
    }

    /// The same services, asked about another namespace.
    #[must_use]
    pub fn with_namespace(&self, namespace: u32) -> Self {
        Self { namespace, ..self.clone() }
    }

    /// The state of each service, and its role.
    #[must_use]
    pub fn reports(&self) -> Vec<DependencyReport> {
        let count = self.services.len();
        let about = match self.proofs {
            HotshotProofs::Off => "",
            HotshotProofs::Payload => " about headers; payloads are proven",
            HotshotProofs::Root => " about what L1 does not show yet; all else is proven",
        };
        let role = if count == 1 {
            format!("trusted{about}: the only query service")
        } else {
            format!("one of {count}, of which {} must agree{about}", self.majority())
        };
        let report = |service: &Service| {
            let standing = service.standing();
            let height = standing.height.map(|height| format!("; at height {height}"));
            let fault = standing.fault.as_ref().map(|fault| format!("; {fault}"));
            let note = [Some(role.clone()), height, fault].into_iter().flatten().collect();
            DependencyReport { note: Some(note), ..service.http.report() }
        };
        self.services.iter().map(report).collect()
    }

    /// The number of blocks that a majority has.
    ///
    /// # Errors
    /// [`UpstreamError`], as for every call here, when too few services answer.
    pub async fn height(&self) -> Result<u64, UpstreamError> {
        let call = |service: QueryService| async move { service.height().await }.boxed();
        let answers = self.ask(self.order(None), Wanted::Everybody, call, answered).await;
        let majority = self.common(&answers);
        for Answer { service: index, result } in answers {
            if let (Some(service), Ok(height)) = (self.services.get(index), result) {
                let behind = majority.as_ref().map_or(0, |all| all.saturating_sub(height));
                service.standing().reached(height, behind);
                if behind > BEHIND {
                    self.metrics.query_fault(index, QueryFault::Behind);
                }
            }
        }
        majority
    }

    /// The number of blocks that a majority allows per request.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn range_limit(&self) -> Result<u64, UpstreamError> {
        let call = |service: QueryService| async move { service.range_limit().await }.boxed();
        let answers = self.ask(self.order(None), Wanted::Everybody, call, answered).await;
        self.common(&answers)
    }

    /// The payloads in the namespace, block by block: proven under headers that a majority returns,
    /// or as a majority returns them.
    ///
    /// # Errors
    /// [`UpstreamError`]; [`UpstreamError::NoMajority`] when the services contradict each other,
    /// [`UpstreamError::Disproven`] when the proofs of no service hold.
    pub async fn range(&self, from: u64, until: u64) -> Result<Blocks, UpstreamError> {
        match self.proofs {
            HotshotProofs::Off => {
                let payloads = self.listed_range(from, until).await?;
                Ok(Blocks { payloads, headers: Headers::Unread })
            }
            HotshotProofs::Payload | HotshotProofs::Root => {
                self.proven_range(from, until, Question::BLOCKS).await
            }
        }
    }

    async fn listed_range(
        &self,
        from: u64,
        until: u64,
    ) -> Result<Vec<NamespaceBlock>, UpstreamError> {
        let call = |service: QueryService| async move { service.range(from, until).await }.boxed();
        let (blocks, outvoted) = self.agreed(from, until, call).await?;
        for service in outvoted {
            self.outvoted(service, from, until);
        }
        Ok(blocks)
    }

    /// What a majority answers about the blocks `from..until`, and the services that answer
    /// otherwise.
    async fn agreed<T: PartialEq>(
        &self,
        from: u64,
        until: u64,
        call: impl Fn(QueryService) -> BoxFuture<'static, Result<T, UpstreamError>>,
    ) -> Result<(T, Vec<usize>), UpstreamError> {
        let answers =
            self.ask(self.order(Some(until)), Wanted::Majority, call, largest_group).await;
        let mut groups: Vec<(T, Vec<usize>)> = Vec::new();
        let mut errors = Vec::new();
        for Answer { service, result } in answers {
            match result {
                Ok(answer) => match groups.iter_mut().find(|(known, _)| *known == answer) {
                    Some((_, voters)) => voters.push(service),
                    None => groups.push((answer, vec![service])),
                },
                Err(error) => errors.push(error),
            }
        }
        let majority = |(_, voters): &(T, Vec<usize>)| voters.len() >= self.majority();
        let Some(winner) = groups.iter().position(majority) else {
            return Err(match groups.len() {
                0 | 1 => most_telling(errors),
                _ => self.contradiction(from, until, &groups),
            });
        };
        let (answer, _) = groups.swap_remove(winner);
        Ok((answer, groups.into_iter().flat_map(|(_, voters)| voters).collect()))
    }

    /// The payloads in the namespace in one block, however many there are.
    ///
    /// # Errors
    /// [`UpstreamError`], as for a range.
    pub async fn block_alone(&self, height: u64) -> Result<Blocks, UpstreamError> {
        match self.proofs {
            HotshotProofs::Off => {
                let payloads = vec![self.listed_block_alone(height).await?];
                Ok(Blocks { payloads, headers: Headers::Unread })
            }
            HotshotProofs::Payload | HotshotProofs::Root => {
                self.proven_range(height, height.saturating_add(1), Question::BLOCK).await
            }
        }
    }

    /// The services are asked one after the other, and of all answers only the last is held: of
    /// the others a digest is enough.
    async fn listed_block_alone(&self, height: u64) -> Result<NamespaceBlock, UpstreamError> {
        let mut votes: Vec<(B256, Vec<usize>)> = Vec::new();
        let mut errors = Vec::new();
        for index in self.order(Some(height.saturating_add(1))) {
            let Some(service) = self.service(index) else { continue };
            let block = match service.block_alone(height).await {
                Ok(block) => block,
                Err(error) => {
                    self.failed(index, &error);
                    errors.push(error);
                    continue;
                }
            };
            if self.majority() == 1 {
                return Ok(block);
            }
            let digest = block.digest();
            match votes.iter_mut().find(|(known, _)| *known == digest) {
                Some((_, voters)) => voters.push(index),
                None => votes.push((digest, vec![index])),
            }
            let is_majority = |(_, voters): &(B256, Vec<usize>)| voters.len() >= self.majority();
            if let Some(winner) = votes.iter().position(is_majority) {
                votes.swap_remove(winner);
                for outvoted in votes.into_iter().flat_map(|(_, voters)| voters) {
                    self.outvoted(outvoted, height, height.saturating_add(1));
                }
                return Ok(block);
            }
        }
        Err(match votes.len() {
            0 | 1 => most_telling(errors),
            _ => self.contradiction(height, height.saturating_add(1), &votes),
        })
    }

    /// Whether a majority does not have a block (404) while it serves a newer one: that is not "not
    /// yet".
    pub async fn is_gone(&self, height: u64, newer: u64) -> bool {
        let call = |service: QueryService| {
            async move {
                match service.range(height, height.saturating_add(1)).await {
                    Err(UpstreamError::Absent(_)) => {
                        match service.range(newer, newer.saturating_add(1)).await {
                            Ok(_) | Err(UpstreamError::TooLarge { .. }) => Ok(true),
                            Err(error) => Err(error),
                        }
                    }
                    answer => answer.map(|_| false),
                }
            }
            .boxed()
        };
        let answers = self.ask(self.order(None), Wanted::Everybody, call, answered).await;
        let gone = answers.iter().filter(|answer| answer.result == Ok(true));
        gone.count() >= self.majority()
    }

    /// The header of a block, from the first service that has it; shown to the operator only.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn header(&self, height: u64) -> Result<Header, UpstreamError> {
        let call = |service: QueryService| async move { service.header(height).await }.boxed();
        let order = self.order(Some(height.saturating_add(1)));
        let mut errors = Vec::new();
        for answer in self.ask(order, Wanted::One, call, answered).await {
            match answer.result {
                Ok(header) => return Ok(header),
                Err(error) => errors.push(error),
            }
        }
        Err(most_telling(errors))
    }

    /// The number of the final L1 block that the header of a block names, as a majority says.
    ///
    /// # Errors
    /// [`UpstreamError`], as for a range.
    pub async fn l1_finalized(&self, height: u64) -> Result<Option<u64>, UpstreamError> {
        let call = |service: QueryService| {
            async move {
                let header = service.header(height).await?;
                let malformed = |error| UpstreamError::Malformed(format!("{height}: {error}"));
                header.committed().map_err(malformed)?;
                Ok(header.l1_finalized())
            }
            .boxed()
        };
        Ok(self.agreed(height, height.saturating_add(1), call).await?.0)
    }

    fn service(&self, index: usize) -> Option<QueryService> {
        let service = self.services.get(index)?;
        Some(QueryService::new(service.http.clone(), self.namespace))
    }

    /// Listens to the header streams of the services.
    pub fn listen(&self, news: &News) {
        for service in self.services.iter() {
            let newest = Arc::clone(&self.newest);
            let read = move |message: &[u8]| match Header::read(message) {
                Ok(header) => {
                    let height = header.height();
                    *newest.lock() = Some(Arc::new(header));
                    Heard::Height(height)
                }
                Err(_) => told(message).map_or(Heard::Nothing, Heard::Height),
            };
            let channel = Channel {
                path: |from| (from > 0).then(|| format!("availability/stream/headers/{from}")),
                hello: None,
                read: Box::new(read),
            };
            let metrics = self.metrics.clone();
            let listener = news.listener(Target::Query, self.majority(), metrics);
            service.http.listen(channel, listener);
        }
    }

    /// HotShot's newest block as a stream shows it, which nobody has checked.
    #[must_use]
    pub fn newest_header(&self) -> Option<Arc<Header>> {
        self.newest.lock().clone()
    }

    fn majority(&self) -> usize {
        self.services.len() / 2 + 1
    }

    /// The highest number that a majority of all services has reached, from the available answers.
    fn common(&self, answers: &[Answer<u64>]) -> Result<u64, UpstreamError> {
        let (mut reached, mut errors) = (Vec::new(), Vec::new());
        for answer in answers {
            match &answer.result {
                Ok(number) => reached.push(*number),
                Err(error) => errors.push(error.clone()),
            }
        }
        reached.sort_unstable_by(|one, other| other.cmp(one));
        reached.get(self.majority() - 1).copied().ok_or_else(|| most_telling(errors))
    }

    /// The order of requests: services in good standing first, then those that have reached the
    /// block before `until`; rotated, so that every service is polled regularly.
    fn order(&self, until: Option<u64>) -> Vec<usize> {
        let count = self.services.len();
        let turn = place(self.turn.fetch_add(TURN, Ordering::Relaxed), count);
        let now = Instant::now();
        let mut order: Vec<_> = self
            .services
            .iter()
            .enumerate()
            .map(|(index, service)| {
                let standing = service.standing();
                let avoided = standing.avoided_until.is_some_and(|until| now < until);
                let short = standing.height.is_some_and(|height| Some(height) < until);
                (avoided, short, index.wrapping_add(turn) % count, index)
            })
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(.., index)| index).collect()
    }

    /// Asks services in `order` until `agreeing` counts as many as wanted, or all have answered.
    async fn ask<T>(
        &self,
        order: Vec<usize>,
        wanted: Wanted,
        call: impl Fn(QueryService) -> BoxFuture<'static, Result<T, UpstreamError>>,
        agreeing: impl Fn(&[Answer<T>]) -> usize,
    ) -> Vec<Answer<T>> {
        let majority = self.majority();
        let (needed, first_wave) = match wanted {
            Wanted::One => (1, 1),
            Wanted::Majority => (majority, majority),
            Wanted::Everybody => (majority, self.in_good_standing().max(majority)),
        };
        let mut order = order.into_iter();
        let mut pending = FuturesUnordered::new();
        // Services of the first wave, and those of them that others had to replace.
        let (mut under_way, mut overdue) = (Vec::new(), Vec::new());
        let mut answers: Vec<Answer<T>> = Vec::new();
        let start = |index: usize| {
            Some(call(self.service(index)?).map(move |result| Answer { service: index, result }))
        };
        for index in order.by_ref().take(first_wave) {
            pending.extend(start(index));
            under_way.push(index);
        }
        let patience = tokio::time::sleep(self.patience);
        tokio::pin!(patience);
        let mut patient = true;
        loop {
            let have = agreeing(&answers);
            let complete = pending.is_empty() || !patient || wanted != Wanted::Everybody;
            if have >= needed && complete {
                break;
            }
            let lacking = have + pending.len() < needed;
            if let Some(index) = lacking.then(|| order.next()).flatten() {
                pending.extend(start(index));
                continue;
            }
            tokio::select! {
                biased;
                answer = pending.next() => match answer {
                    Some(answer) => {
                        under_way.retain(|index| *index != answer.service);
                        overdue.retain(|index| *index != answer.service);
                        patience.as_mut().reset(Instant::now() + self.patience);
                        patient = true;
                        if let Err(error) = &answer.result {
                            self.failed(answer.service, error);
                        }
                        answers.push(answer);
                    }
                    None => break,
                },
                () = &mut patience, if patient => {
                    patient = false;
                    overdue.clone_from(&under_way);
                    if have < needed {
                        pending.extend(order.next().and_then(start));
                    }
                }
            }
        }
        for index in overdue {
            self.avoid(index, QueryFault::Late, "slower than the others".into());
        }
        // Of two that fail, always the same one is told.
        answers.sort_by_key(|answer| answer.service);
        answers
    }

    /// Counts an error that is the service's fault.
    fn failed(&self, index: usize, error: &UpstreamError) {
        if let UpstreamError::Disproven { .. } = error {
            self.gave_bad_answer(index, error);
        } else if is_fault(error) {
            self.metrics.query_fault(index, QueryFault::Error);
        }
    }

    fn in_good_standing(&self) -> usize {
        let now = Instant::now();
        let good =
            |service: &&Service| service.standing().avoided_until.is_none_or(|until| until <= now);
        self.services.iter().filter(good).count()
    }

    fn avoid(&self, index: usize, fault: QueryFault, words: String) {
        let Some(service) = self.services.get(index) else { return };
        self.metrics.query_fault(index, fault);
        let mut standing = service.standing();
        standing.avoided_until = Some(Instant::now() + AVOIDED_FOR);
        standing.fault = Some(words);
    }

    fn outvoted(&self, index: usize, from: u64, until: u64) {
        let error = UpstreamError::Outvoted { from, until };
        if let Some(service) = self.services.get(index) {
            service.http.blame(&error);
        }
        self.avoid(index, QueryFault::Outvoted, format!("outvoted in blocks {from}..{until}"));
    }

    fn contradiction(
        &self,
        from: u64,
        until: u64,
        groups: &[(impl Sized, Vec<usize>)],
    ) -> UpstreamError {
        let name = |voters: &Vec<usize>| {
            let urls = voters.iter().filter_map(|index| self.services.get(*index));
            urls.map(|service| service.http.report().url).collect::<Vec<_>>().join(" and ")
        };
        let sides: Vec<_> = groups.iter().map(|(_, voters)| name(voters)).collect();
        UpstreamError::NoMajority(format!(
            "the query services contradict each other in HotShot blocks {from}..{until}: {}; {} of {} must agree (query_service_url)",
            sides.join(" against "),
            self.majority(),
            self.services.len()
        ))
    }
}

impl Standing {
    /// It reported this height, `behind` blocks below the majority.
    fn reached(&mut self, height: u64, behind: u64) {
        self.height = Some(height);
        if behind > BEHIND {
            self.fault = Some(format!("{behind} blocks behind the majority"));
        } else if self.avoided_until.is_none_or(|until| until <= Instant::now()) {
            self.fault = None;
        }
    }
}

impl Service {
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock()
    }
}

/// How many services are asked at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// One, and the next if it fails.
    One,
    /// As many as must agree.
    Majority,
    /// All in good standing; those slower than a majority are waited for, but not long.
    Everybody,
}

/// A turn's place among so many.
fn place(turn: u64, count: usize) -> usize {
    let place = (u128::from(turn) * count as u128) >> 64;
    usize::try_from(place).unwrap_or(0)
}

/// The number of answers.
fn answered<T>(answers: &[Answer<T>]) -> usize {
    answers.iter().filter(|answer| answer.result.is_ok()).count()
}

/// The size of the largest group with the same answer.
fn largest_group<T: PartialEq>(answers: &[Answer<T>]) -> usize {
    let given = || answers.iter().filter_map(|answer| answer.result.as_ref().ok());
    given().map(|one| given().filter(|other| *other == one).count()).max().unwrap_or(0)
}

/// Whether an error is the service's fault: "not yet" and "too much at once" are not.
const fn is_fault(error: &UpstreamError) -> bool {
    !matches!(error, UpstreamError::Absent(_) | UpstreamError::TooLarge { .. })
}

/// The error to act on: first those that a smaller request may fix.
fn most_telling(errors: Vec<UpstreamError>) -> UpstreamError {
    let rank = |error: &UpstreamError| match error {
        UpstreamError::TooLarge { .. }
        | UpstreamError::Timeout(_)
        | UpstreamError::Status { status: 400 | 413, .. } => 0,
        UpstreamError::Absent(_) => 1,
        _ => 2,
    };
    let first = errors.into_iter().min_by_key(rank);
    first.unwrap_or_else(|| UpstreamError::NoMajority("no query service was asked".into()))
}

/// The height in a header of any version.
fn told(message: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Told {
        height: Option<u64>,
        fields: Option<Fields>,
    }
    #[derive(Deserialize)]
    struct Fields {
        height: u64,
    }
    let told: Told = serde_json::from_slice(message).ok()?;
    told.fields.map(|fields| fields.height).or(told.height)
}

#[cfg(test)]
mod tests;
