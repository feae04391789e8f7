//! One request to the sidecar, `GET /v1/head`, and what its answer does to the shared head. The
//! poller sends it, and single requests do where `freshness` is `strict`.

use std::time::Duration;

use finality_core::{
    head::{HeadQuery, HeadReportError, ReportedHead},
    headers,
};
use thiserror::Error;

use crate::{
    head_cache::{Update, UpdateError},
    host::{self, Buffer, Headers, HostError},
    metrics::Counter,
    plugin::Plugin,
};

/// The longest answer that is read; a head report has about 400 bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Why a request to the sidecar brought no usable answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// The host did not send the request.
    #[error("cannot send a request to cluster {cluster:?} (sidecar_cluster): {error}")]
    Dispatch {
        /// The cluster.
        cluster: String,
        /// The host's error.
        error: HostError,
    },
    /// Envoy answered in the sidecar's place: nothing listens there, or it did not answer in time.
    #[error("sidecar unreachable (Envoy returned {status})")]
    Unreachable {
        /// Envoy's own HTTP status.
        status: String,
    },
    /// The connection ended after the headers of the answer, or Envoy cut it as too long: Envoy
    /// then hands over nothing of it.
    #[error("the sidecar's answer broke off after its headers")]
    BrokenOff,
    /// Something other than a sidecar answered.
    #[error(
        "status 200 without {}: cluster {cluster:?} (sidecar_cluster) is not a sidecar",
        headers::SIDECAR
    )]
    NoMarker {
        /// The cluster.
        cluster: String,
    },
    /// The sidecar answered with an unexpected status.
    #[error("the sidecar returned status {status}")]
    HttpStatus {
        /// The HTTP status.
        status: String,
    },
    /// The host does not hand the answer over.
    #[error("the answer cannot be read: {0}")]
    Unreadable(HostError),
    /// The answer is not a head report.
    #[error(transparent)]
    Malformed(#[from] HeadReportError),
    /// The report cannot be applied.
    #[error(transparent)]
    Update(#[from] UpdateError),
}

impl AskError {
    /// What is counted besides the failure, if the answer itself is at fault.
    #[must_use]
    pub const fn counter(&self) -> Option<Counter> {
        match self {
            Self::NoMarker { .. } => Some(Counter::AnswersNoMarker),
            Self::HttpStatus { .. } => Some(Counter::AnswersHttpStatus),
            Self::Malformed(_) => Some(Counter::AnswersMalformed),
            Self::Update(UpdateError::OtherChain { .. }) => Some(Counter::AnswersChainId),
            Self::Update(UpdateError::EarlierGeneration { .. }) => {
                Some(Counter::AnswersLowerNumber)
            }
            Self::Dispatch { .. }
            | Self::Unreachable { .. }
            | Self::BrokenOff
            | Self::Unreadable(_)
            | Self::Update(UpdateError::Host(_)) => None,
        }
    }
}

/// A usable answer.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// The sidecar reports a head.
    Head {
        /// Its number, which may be below the shared one.
        reported: u64,
        /// What the report changed.
        update: Update,
        /// Whether the sidecar confirmed its number, if it was asked to.
        confirmed: bool,
    },
    /// The sidecar is up but has no head yet.
    NoHead,
}

/// Sends the request. The answer comes to the current context, with the token returned here; see
/// [`host::dispatch`].
///
/// # Errors
/// [`AskError::Dispatch`].
pub fn ask(plugin: &Plugin, query: &HeadQuery, timeout: Duration) -> Result<u32, AskError> {
    let config = &plugin.config;
    host::dispatch(
        &config.sidecar_cluster,
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", &config.sidecar_authority),
            (":path", &query.path()),
            ("accept", "application/json"),
            ("user-agent", concat!("finality-filter/", env!("CARGO_PKG_VERSION"))),
        ],
        timeout,
    )
    .map_err(|error| AskError::Dispatch { cluster: config.sidecar_cluster.clone(), error })
}

/// Reads the answer that the host holds now and applies it to the shared head. Counts what is wrong
/// with it.
///
/// # Errors
/// [`AskError`]; the shared head is then unchanged.
pub fn read_answer(plugin: &Plugin, now: u64) -> Result<Answer, AskError> {
    let answer = apply_answer(plugin, now);
    match &answer {
        Ok(Answer::Head { reported, update: Update { after, .. }, .. }) => {
            plugin.metrics.head(after.number, after.contact);
            // A replica that lags, or a store that was reset.
            if *reported < after.number {
                plugin.metrics.count(Counter::AnswersLowerNumber);
            }
        }
        Ok(Answer::NoHead) => {}
        Err(error) => {
            if let Some(counter) = error.counter() {
                plugin.metrics.count(counter);
            }
        }
    }
    answer
}

fn apply_answer(plugin: &Plugin, now: u64) -> Result<Answer, AskError> {
    let list = Headers::CallResponse.all().map_err(AskError::Unreadable)?;
    let [status, marker] = list.get([":status", headers::SIDECAR]);
    let status = status.ok_or(AskError::BrokenOff)?;
    let status = String::from_utf8_lossy(status).into_owned();
    match (status.as_str(), marker.is_some()) {
        ("200", true) => {
            let body = host::buffer(Buffer::CallResponseBody, MAX_ANSWER_BYTES)
                .map_err(AskError::Unreadable)?;
            let report = serde_json::from_slice(&body).map_err(HeadReportError::from)?;
            let report = ReportedHead::read(&report)?;
            let update = plugin.head.update(&report, now)?;
            let ReportedHead { number: reported, confirmed, .. } = report;
            Ok(Answer::Head { reported, update, confirmed })
        }
        ("503", true) => Ok(Answer::NoHead),
        (_, true) => Err(AskError::HttpStatus { status }),
        ("200", false) => {
            Err(AskError::NoMarker { cluster: plugin.config.sidecar_cluster.clone() })
        }
        (_, false) => Err(AskError::Unreachable { status }),
    }
}
