//! One question to the sidecar, `GET /v1/head`, and what its answer does to the shared head. Asked
//! by the poller, and for single requests where `freshness` is `strict`.

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

/// Why a question to the sidecar brought nothing.
#[derive(Debug, Error)]
pub enum AskError {
    /// The host sends nothing there.
    #[error("no request could be sent to cluster {cluster:?} (sidecar_cluster): {error}")]
    Dispatch {
        /// The cluster.
        cluster: String,
        /// What the host says.
        error: HostError,
    },
    /// Envoy answers in the sidecar's place: nobody listens, or not in time.
    #[error("the sidecar cannot be reached: Envoy says {status} in its place")]
    Unreachable {
        /// The HTTP status that Envoy made up.
        status: String,
    },
    /// Something else than a sidecar answers.
    #[error(
        "status 200 without {}: cluster {cluster:?} (sidecar_cluster) is no sidecar",
        headers::SIDECAR
    )]
    NoMarker {
        /// The cluster.
        cluster: String,
    },
    /// The sidecar answers with a status that it should not.
    #[error("the sidecar answers with status {status}")]
    HttpStatus {
        /// The HTTP status.
        status: String,
    },
    /// The host does not hand the answer over.
    #[error("the answer cannot be read: {0}")]
    Unreadable(HostError),
    /// The answer is no head report.
    #[error(transparent)]
    Malformed(#[from] HeadReportError),
    /// The report is not taken over.
    #[error(transparent)]
    Update(#[from] UpdateError),
}

impl AskError {
    /// What is counted beside the failure, where the answer itself is at fault.
    #[must_use]
    pub const fn counter(&self) -> Option<Counter> {
        match self {
            Self::NoMarker { .. } => Some(Counter::AnswersNoMarker),
            Self::HttpStatus { .. } => Some(Counter::AnswersHttpStatus),
            Self::Malformed(_) => Some(Counter::AnswersMalformed),
            Self::Update(UpdateError::OtherChain { .. }) => Some(Counter::AnswersChainId),
            Self::Dispatch { .. }
            | Self::Unreachable { .. }
            | Self::Unreadable(_)
            | Self::Update(UpdateError::Host(_)) => None,
        }
    }
}

/// An answer that was taken.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// The sidecar reports a head.
    Head {
        /// Its number, which may be below the shared one.
        reported: u64,
        /// What the report changed.
        update: Update,
    },
    /// The sidecar is there but has no head yet.
    NoHead,
}

/// Sends the question. The answer comes to the context that is current now, under the token
/// returned; see [`host::dispatch`].
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

/// Reads the answer that the host holds now and takes it over into the shared head. Counts what is
/// wrong with it.
///
/// # Errors
/// [`AskError`]; the shared head is then as it was.
pub fn read_answer(plugin: &Plugin, now: u64) -> Result<Answer, AskError> {
    let answer = take_over(plugin, now);
    match &answer {
        Ok(Answer::Head { reported, update: Update { after, .. } }) => {
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

fn take_over(plugin: &Plugin, now: u64) -> Result<Answer, AskError> {
    let told = Headers::CallResponse.all();
    let [status, marker] = told.get([":status", headers::SIDECAR]);
    let status = String::from_utf8_lossy(status.unwrap_or_default()).into_owned();
    match (status.as_str(), marker.is_some()) {
        ("200", true) => {
            let body = host::buffer(Buffer::CallResponseBody, MAX_ANSWER_BYTES)
                .map_err(AskError::Unreadable)?;
            let report = serde_json::from_slice(&body).map_err(HeadReportError::from)?;
            let report = ReportedHead::read(&report)?;
            let update = plugin.head.update(&report, now)?;
            Ok(Answer::Head { reported: report.number, update })
        }
        ("503", true) => Ok(Answer::NoHead),
        (_, true) => Err(AskError::HttpStatus { status }),
        ("200", false) => {
            Err(AskError::NoMarker { cluster: plugin.config.sidecar_cluster.clone() })
        }
        (_, false) => Err(AskError::Unreachable { status }),
    }
}
