//! A dependency of the sidecar over HTTP: bounded answers, a time limit, back-off, and its health.

mod batch;
mod body;
mod error;
mod failover;
mod heads;
mod health;
mod hedge;
mod json_rpc;
mod long_texts;
mod news;
mod question;
mod socket;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use alloy_primitives::bytes::Bytes;
use finality_core::headers;
use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard, RwLock};
use reqwest::{Response, StatusCode, Url, redirect};
use tracing::{Instrument, Span, field};

use crate::{
    redact::{SecretUrl, describe},
    telemetry::{
        metrics::{Metrics, Outcome, Purpose, Target},
        traces,
    },
};
pub(crate) use body::SPARE;
use error::colon;
use health::{Health, Pause};

pub use error::UpstreamError;
pub use failover::Failover;
pub(crate) use heads::new_heads;
pub use health::{DependencyReport, LastError};
pub(crate) use hedge::{HEDGE_DELAY, InFlight, Indexed, gather};
pub(crate) use json_rpc::expect_number;
pub use json_rpc::{Absent, Call, JsonRpc};
pub use news::{Listener, News};
pub use question::{LARGE, LONGEST_BLOCK, MEDIUM, Question, SMALL};
pub use socket::{Channel, Heard, LONGEST_NEWS};

/// The part of an answer with an HTTP error that is read for its first words, in bytes.
const WORDS_BYTES: usize = 4 * 1024;

/// Redirects that are followed for one request.
const MOST_REDIRECTS: usize = 3;

/// What all dependencies share.
#[derive(Debug, Clone)]
pub struct UpstreamOptions {
    /// Limit for one request, from connecting to the end of the answer.
    pub request_timeout: Duration,
    /// The first pause after an outage; it doubles with each further one, up to ten times this.
    pub retry_interval: Duration,
    /// Where requests are counted.
    pub metrics: Metrics,
}

/// One dependency; clones share state.
#[derive(Debug, Clone)]
pub struct Upstream {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    target: Target,
    setting: &'static str,
    url: RwLock<SecretUrl>,
    client: reqwest::Client,
    options: UpstreamOptions,
    health: Mutex<Health>,
    calls: Mutex<BTreeMap<Purpose, u64>>,
    /// When the endpoint refused a batch of calls.
    batches_refused: Mutex<Option<Instant>>,
}

impl Upstream {
    /// A dependency at `url`, from the setting `setting`.
    ///
    /// # Errors
    /// When the HTTP client cannot be created (no usable TLS setup).
    pub fn new(
        target: Target,
        setting: &'static str,
        url: SecretUrl,
        options: UpstreamOptions,
    ) -> Result<Self, UpstreamError> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("finality-sidecar/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::custom(follow))
            .referer(false)
            .timeout(options.request_timeout)
            .build()
            .map_err(|error| UpstreamError::Connection(describe(&error)))?;
        let (health, calls, batches_refused) = Default::default();
        let url = RwLock::new(url);
        let inner = Inner { target, setting, url, client, options, health, calls, batches_refused };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// How many calls there were for each purpose.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<Purpose, u64> {
        self.inner.calls.lock().clone()
    }

    /// Its state.
    #[must_use]
    pub fn report(&self) -> DependencyReport {
        let Inner { target, setting, .. } = &*self.inner;
        self.health().report(target.as_str(), setting, self.url().to_string())
    }

    fn url(&self) -> SecretUrl {
        self.inner.url.read().clone()
    }

    /// Asks at this URL from now on: the same service, with another key.
    pub fn set_url(&self, url: SecretUrl) {
        *self.inner.url.write() = url;
    }

    /// Records that an answer turned out to be unusable after it was read.
    pub fn blame(&self, error: &UpstreamError) {
        let url = self.url();
        let error = error.clone().presentable(&url);
        let line = self.health().failed(&error, None);
        health::log(line, Some(&error), self.inner.target, &url);
    }

    /// `GET` of a path relative to the base URL; `read` parses the body.
    ///
    /// # Errors
    /// [`UpstreamError`]; [`UpstreamError::Absent`] only as the question allows.
    pub async fn get<T>(
        &self,
        path: &str,
        question: Question,
        read: impl FnOnce(&Bytes) -> Result<T, UpstreamError>,
    ) -> Result<T, UpstreamError> {
        let base = self.url();
        let mut url = base.expose().clone();
        // The base may have a trailing slash or not.
        let before = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{before}/{path}"));
        let mut request = self.inner.client.get(url).header("accept", "application/json");
        if let Some(limit) = question.time_limit {
            request = request.timeout(limit);
        }
        let name = traces::name_of_path(path);
        self.send((&name, &[question::purpose(path)]), (request, &base), question, read).await
    }

    /// Sends a request unless it is too soon after an outage, reads the bounded answer, parses it
    /// with `read`, and records the outcome; `name` is what a trace shows, `purposes` are those of
    /// the calls in the request.
    async fn send<T>(
        &self,
        (name, purposes): (&str, &[Purpose]),
        (request, url): (reqwest::RequestBuilder, &SecretUrl),
        question: Question,
        read: impl FnOnce(&Bytes) -> Result<T, UpstreamError>,
    ) -> Result<T, UpstreamError> {
        if let Some(fault) = self.health().too_soon(Instant::now()) {
            return Err(UpstreamError::BackingOff(Box::new(fault)));
        }
        for purpose in purposes {
            *self.inner.calls.lock().entry(*purpose).or_default() += 1;
            self.inner.options.metrics.upstream_call(self.inner.target, *purpose);
        }
        let started = Instant::now();
        let span = tracing::debug_span!(
            "dependency",
            otel.name = name,
            otel.kind = "client",
            otel.status_code = field::Empty,
            dependency = self.inner.target.as_str(),
            http.response.status_code = field::Empty,
            error.type = field::Empty,
            outcome = field::Empty,
        );
        let exchanged = self.exchange(request, question).instrument(span.clone()).await;
        let result = match exchanged {
            Ok(body) => {
                let result = read(&body);
                body::take_back(body, question.limit);
                result
            }
            Err(error) => Err(error),
        };
        let result = result.map_err(|error| error.presentable(url));
        let outcome = result.as_ref().err().map_or(Outcome::Ok, UpstreamError::outcome);
        let Inner { options, target, .. } = &*self.inner;
        options.metrics.upstream(*target, outcome, started.elapsed());
        span.record("outcome", outcome.as_str());
        if let Err(error) = &result
            && outcome != Outcome::NotYet
        {
            span.record("otel.status_code", "ERROR");
            span.record("error.type", error.code());
        }
        let line = match &result {
            // "Not yet" is an answer, and a usual one near the tip.
            Ok(_) | Err(UpstreamError::Absent(_)) => self.health().succeeded(),
            // "Too much at once" is not a fault, unless nothing smaller can be requested.
            Err(UpstreamError::TooLarge { .. }) if question.may_be_longer => {
                self.health().succeeded()
            }
            Err(error) => {
                let pause = error
                    .is_outage()
                    .then(|| Pause { first: options.retry_interval, least: error.retry_after() });
                self.health().failed(error, pause)
            }
        };
        health::log(line, result.as_ref().err(), *target, url);
        result
    }

    async fn exchange(
        &self,
        request: reqwest::RequestBuilder,
        question: Question,
    ) -> Result<Bytes, UpstreamError> {
        let Inner { setting, options, .. } = &*self.inner;
        let failed = |error: reqwest::Error| {
            if error.is_timeout() {
                UpstreamError::Timeout(options.request_timeout)
            } else {
                UpstreamError::Connection(describe(&error))
            }
        };
        let request = request.header(headers::SIDECAR, finality_core::build::VERSION);
        let request = request.headers(traces::headers());
        let response = request.send().await.map_err(failed)?;
        Span::current().record("http.response.status_code", response.status().as_u16());
        if response.headers().contains_key(headers::FILTER) {
            return Err(UpstreamError::ThroughFilter { setting });
        }
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response, question).await);
        }
        let body = body::read(response, question.limit, failed).await?;
        if starts_like_json(&body) {
            Ok(body)
        } else {
            Err(UpstreamError::NotJson { setting, answer: first_words(&body) })
        }
    }

    /// What an answer with another status than 200 means.
    async fn refusal(&self, response: Response, question: Question) -> UpstreamError {
        let setting = self.inner.setting;
        let status = response.status().as_u16();
        if let Some(retry_after) = retry_after(&response)
            && (status == 429 || status >= 500)
        {
            return UpstreamError::Throttled { status, retry_after };
        }
        let answer = first_words(&read_start(response).await);
        match status {
            // A page is no word of a query service.
            404 if question.may_be_absent && !answer.starts_with('<') => {
                UpstreamError::Absent(answer)
            }
            404 | 405 => UpstreamError::WrongPath { status, setting, answer },
            401 | 403 => UpstreamError::AccessDenied { status, setting, answer },
            415 => UpstreamError::NotJson {
                setting,
                answer: format!("HTTP status 415{}", colon(&answer)),
            },
            300..=399 => UpstreamError::Redirected { setting },
            _ => UpstreamError::Status { status, answer },
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.inner.health.lock()
    }
}

/// Follows redirects within one service: another host might be anybody's, and an answer of it would
/// count as the vote of this one.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let same = attempt.previous().first().map(Url::origin) == Some(attempt.url().origin());
    if same && attempt.previous().len() <= MOST_REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

/// Whether the first character may begin a JSON text.
fn starts_like_json(body: &[u8]) -> bool {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    first.is_some_and(|byte| {
        matches!(byte, b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n')
    })
}

/// The start of an answer as words on one line.
fn first_words(body: &[u8]) -> String {
    let start = body.get(..WORDS_BYTES).unwrap_or(body);
    let text = String::from_utf8_lossy(start);
    let between = |char: char| char.is_whitespace() || char.is_control();
    let words: Vec<_> = text.split(between).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// The start of an answer, as far as it comes.
async fn read_start(mut response: Response) -> Vec<u8> {
    let mut start = Vec::new();
    while start.len() < WORDS_BYTES
        && let Ok(Some(chunk)) = response.chunk().await
    {
        start.extend_from_slice(chunk.get(..WORDS_BYTES).unwrap_or(&chunk));
    }
    start
}

/// The longest wait, whatever the dependency requests.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// The wait that an answer requests, in seconds or as a date.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get("retry-after")?.to_str().ok()?;
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            Duration::try_from(date.duration_since(Timestamp::now())).unwrap_or_default()
        }
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
