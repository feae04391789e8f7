//! The health of a dependency: its last error, and when it may be asked again.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use super::UpstreamError;
use crate::{
    redact::SecretUrl,
    telemetry::{
        metrics::Target,
        throttle::{Line, LogThrottle},
    },
};

/// The longest pause after repeated outages, in units of the first one.
const LONGEST_PAUSE: u32 = 10;

/// A dependency counts as recovered after working for this long: one that fails every other
/// request must not fill the log.
const RECOVERED_AFTER: Duration = Duration::from_secs(10);

/// A dependency in `/v1/status`.
#[derive(Debug, Clone, Serialize)]
pub struct DependencyReport {
    /// Its purpose.
    pub name: &'static str,
    /// The setting that names it.
    pub setting: &'static str,
    /// Its URL without secrets.
    pub url: String,
    /// Whether the last request got a usable answer; null before the first.
    pub ok: Option<bool>,
    /// When the last usable answer came.
    pub last_ok: Option<Timestamp>,
    /// The last error, even if it has recovered since.
    pub last_error: Option<LastError>,
    /// Failures since the last usable answer.
    pub failures: u64,
    /// Its role, and other remarks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The last error, and when.
#[derive(Debug, Clone, Serialize)]
pub struct LastError {
    /// When.
    pub at: Timestamp,
    /// Its kind, one of [`UpstreamError::CODES`].
    pub code: &'static str,
    /// What.
    pub message: String,
}

/// How long a dependency is left alone after an outage.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pause {
    /// The pause after the first outage; it doubles with each further one.
    pub(super) first: Duration,
    /// What the dependency itself requests.
    pub(super) least: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Health {
    last_ok: Option<Timestamp>,
    last_error: Option<LastError>,
    failures: u64,
    outages: u32,
    failed_at: Option<Instant>,
    /// The last outage.
    outage: Option<UpstreamError>,
    retry_at: Option<Instant>,
    throttle: LogThrottle,
}

impl Health {
    /// The last outage, while it is too soon to ask again.
    pub(super) fn too_soon(&self, now: Instant) -> Option<UpstreamError> {
        self.retry_at.filter(|retry_at| now < *retry_at)?;
        self.outage.clone()
    }

    pub(super) fn succeeded(&mut self) -> Line {
        let now = Instant::now();
        self.last_ok = Some(Timestamp::now());
        self.failures = 0;
        self.outages = 0;
        let recovered =
            self.failed_at.is_none_or(|failed_at| now.duration_since(failed_at) > RECOVERED_AFTER);
        if recovered { self.throttle.worked(now) } else { Line::Nothing }
    }

    /// Records an error; after an outage, no requests are sent for a while.
    pub(super) fn failed(&mut self, error: &UpstreamError, pause: Option<Pause>) -> Line {
        let now = Instant::now();
        if let Some(pause) = pause {
            let factor =
                1_u32.checked_shl(self.outages).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE);
            // Requests in flight together fail together: one outage.
            if self.retry_at.is_none_or(|retry_at| now >= retry_at) {
                self.outages = self.outages.saturating_add(1);
            }
            let retry_at = now.checked_add(pause.first.saturating_mul(factor).max(pause.least));
            // Several requests may be in flight: the longest requested wait counts.
            self.retry_at = self.retry_at.max(retry_at);
            self.outage = Some(error.clone());
        }
        self.failed_at = Some(now);
        self.failures = self.failures.saturating_add(1);
        let (at, code) = (Timestamp::now(), error.code());
        self.last_error = Some(LastError { at, code, message: error.to_string() });
        // By the code: messages may differ each time.
        self.throttle.failed(code, now)
    }

    pub(super) fn report(
        &self,
        name: &'static str,
        setting: &'static str,
        url: String,
    ) -> DependencyReport {
        let asked = self.last_ok.is_some() || self.last_error.is_some();
        DependencyReport {
            name,
            setting,
            url,
            ok: asked.then_some(self.failures == 0),
            last_ok: self.last_ok,
            last_error: self.last_error.clone(),
            failures: self.failures,
            note: None,
        }
    }
}

/// Logs what became of a request.
pub(super) fn log(line: Line, error: Option<&UpstreamError>, target: Target, url: &SecretUrl) {
    let dependency = target.as_str();
    let code = error.map(UpstreamError::code);
    let error = error.map(tracing::field::display);
    match line {
        Line::Nothing => {}
        Line::Failed => tracing::warn!(dependency, %url, code, error, "dependency failed"),
        Line::StillFailing { times, since } => {
            tracing::warn!(dependency, %url, code, error, times, ?since, "dependency still fails");
        }
        Line::Recovered { after } => {
            tracing::info!(dependency, %url, ?after, "dependency answers again")
        }
    }
}
