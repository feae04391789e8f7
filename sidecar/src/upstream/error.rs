//! Why a dependency gave no usable answer.

use std::time::Duration;

use strum::{IntoStaticStr, VariantNames};
use thiserror::Error;

use crate::{redact::SecretUrl, telemetry::metrics::Outcome};

/// Longer texts from a dependency are truncated for log and status, in characters.
const TEXT_LIMIT: usize = 300;

/// Why a dependency gave no usable answer. The code of a variant is its name in snake case.
#[derive(Debug, Clone, PartialEq, Eq, Error, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum UpstreamError {
    /// No connection, or it broke.
    #[error("no answer: {0}")]
    Connection(String),
    /// Too slow.
    #[error("no answer within {0:?} (request_timeout)")]
    Timeout(Duration),
    /// A query service does not have that HotShot block, or not yet: HTTP status 404, with the
    /// answer's first words.
    #[error("HTTP status 404{}", colon(.0))]
    Absent(String),
    /// HTTP status 404 or 405 where it cannot mean "not yet".
    #[error("HTTP status {status}: nothing is served at that path ({setting}){}", colon(.answer))]
    WrongPath {
        /// The status.
        status: u16,
        /// The setting to change.
        setting: &'static str,
        /// The answer's first words.
        answer: String,
    },
    /// HTTP status 401 or 403.
    #[error("HTTP status {status}: access denied ({setting}){}", colon(.answer))]
    AccessDenied {
        /// The status.
        status: u16,
        /// The setting to change.
        setting: &'static str,
        /// The answer's first words.
        answer: String,
    },
    /// Any other HTTP status than 200.
    #[error("HTTP status {status}{}", colon(.answer))]
    Status {
        /// The status.
        status: u16,
        /// The answer's first words.
        answer: String,
    },
    /// HTML, for instance, or HTTP status 415: something else than the dependency answers.
    #[error("the answer is not JSON ({setting}){}", colon(.answer))]
    NotJson {
        /// The setting to change.
        setting: &'static str,
        /// The answer's first words.
        answer: String,
    },
    /// A redirect to another service, which might be anybody's, or without an end.
    #[error("it redirects elsewhere, which is not followed ({setting})")]
    Redirected {
        /// The setting to change.
        setting: &'static str,
    },
    /// An HTTP status that comes with a time to wait (`Retry-After`).
    #[error("HTTP status {status}, ask again in {retry_after:?}")]
    Throttled {
        /// The status.
        status: u16,
        /// How long to wait.
        retry_after: Duration,
    },
    /// Larger than such an answer may be.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Not the requested answer.
    #[error("malformed answer: {0}")]
    Malformed(String),
    /// A JSON-RPC error object.
    #[error("JSON-RPC error {code}: {message}")]
    Rpc {
        /// The error's code.
        code: i64,
        /// The error's message, shortened.
        message: String,
    },
    /// The answer carries the filter's marker.
    #[error("the answer came through the finality filter: {setting} must name the node itself")]
    ThroughFilter {
        /// The setting to change.
        setting: &'static str,
    },
    /// The majority of query services disagrees.
    #[error(
        "its transactions in HotShot blocks {from}..{until} differ from those of the majority of the query services"
    )]
    Outvoted {
        /// The first block.
        from: u64,
        /// The block after the last one.
        until: u64,
    },
    /// What a query service answered is not what its proof, or the block's header, shows.
    #[error("not proven ({reason}): {problem}")]
    Disproven {
        /// One of a closed set of reasons.
        reason: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// Too few query services agree.
    #[error("{0}")]
    NoMajority(String),
    /// The file of its URL cannot be used any more; the URL read before is kept.
    #[error("{0}; the URL read before is kept")]
    SecretFile(String),
    /// It contradicts what is already known to be final.
    #[error("{0}")]
    Distrusted(String),
    /// Not asked again yet after this fault, which is what is shown: a pause is no news.
    #[error("{0}")]
    BackingOff(Box<Self>),
}

/// A text after a colon; nothing if there is none.
pub(super) fn colon(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

impl UpstreamError {
    /// All codes. [`Self::BackingOff`], the last variant, has none of its own.
    pub const CODES: &[&str] = match Self::VARIANTS {
        [codes @ .., _] => codes,
        [] => &[],
    };

    /// The code, one of [`Self::CODES`].
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::BackingOff(fault) => fault.code(),
            fault => fault.into(),
        }
    }

    /// Whether the dependency as a whole is failing, so that retrying at once is of no use.
    pub(super) const fn is_outage(&self) -> bool {
        match self {
            Self::Connection(_) | Self::Timeout(_) | Self::Throttled { .. } => true,
            Self::Status { status, .. } => *status == 429 || *status >= 500,
            Self::Absent(_)
            | Self::WrongPath { .. }
            | Self::AccessDenied { .. }
            | Self::NotJson { .. }
            | Self::Redirected { .. }
            | Self::TooLarge { .. }
            | Self::Malformed(_)
            | Self::Rpc { .. }
            | Self::ThroughFilter { .. }
            | Self::BackingOff(_)
            | Self::Outvoted { .. }
            | Self::Disproven { .. }
            | Self::NoMajority(_)
            | Self::SecretFile(_)
            | Self::Distrusted(_) => false,
        }
    }

    /// Whether the dependency did answer, so that another one would not help.
    pub(crate) const fn is_answer(&self) -> bool {
        matches!(self, Self::Rpc { .. })
    }

    /// How long the dependency itself asks to wait.
    pub(super) const fn retry_after(&self) -> Duration {
        match self {
            Self::Throttled { retry_after, .. } => *retry_after,
            _ => Duration::ZERO,
        }
    }

    /// The same without the URL's secrets, and truncated for the log: the text may come from the
    /// server, which may repeat anything.
    pub(super) fn presentable(mut self, url: &SecretUrl) -> Self {
        if let Self::Connection(text)
        | Self::Malformed(text)
        | Self::Distrusted(text)
        | Self::Rpc { message: text, .. }
        | Self::Absent(text)
        | Self::WrongPath { answer: text, .. }
        | Self::AccessDenied { answer: text, .. }
        | Self::Status { answer: text, .. }
        | Self::NotJson { answer: text, .. }
        | Self::Disproven { problem: text, .. } = &mut self
        {
            *text = url.mask(text).chars().take(TEXT_LIMIT).collect();
        }
        self
    }

    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Timeout(_) => Outcome::Timeout,
            Self::Absent(_) => Outcome::NotYet,
            _ => Outcome::Error,
        }
    }
}
