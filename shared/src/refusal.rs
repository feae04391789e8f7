//! Every reason to refuse a request, and its JSON-RPC code, HTTP status and metric label.

use crate::head::Status;

/// Why a request is not forwarded to the node.
///
/// ```
/// use finality_core::refusal::Refusal;
///
/// let refusal = Refusal::BatchTooLong { limit: 1000 };
/// assert_eq!((refusal.code(), refusal.http_status(), refusal.reason()), (-32600, 413, "batch_too_long"));
/// // The message names the setting to change.
/// assert!(refusal.message().contains("max_batch_length"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The body may contain a tag but is not valid JSON.
    Unparsable,
    /// The body exceeds `max_body_bytes`.
    BodyTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The body is a batch that contains a tag and has more than `max_batch_length` elements.
    BatchTooLong {
        /// The limit, in elements.
        limit: usize,
    },
    /// The body may contain a tag and is nested deeper than `max_depth`.
    TooDeep {
        /// The limit, in levels.
        limit: usize,
    },
    /// In a body that is rewritten while it streams, more than `max_held_bytes` separate a tag from
    /// the `method` of its request.
    HeldTooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// What all requests hold together leaves no room for more of this body.
    Overloaded,
    /// A request with a tag has several `method` members with different rewriting rules, and nodes
    /// differ in which member they use.
    AmbiguousMethod,
    /// The body has a content encoding such as gzip, which could hide a tag.
    Encoded {
        /// The content encoding, as sent by the client.
        encoding: String,
    },
    /// The body contains a tag, but there is no usable head.
    NoHead(NoHead),
    /// The proxy failed to provide the body or to accept the rewritten one.
    HostFailure,
}

/// Why there is no usable head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoHead {
    /// No head has been received yet.
    Unknown,
    /// The head's status makes it unusable.
    Status(Status),
    /// The sidecar reports a status that this version does not know.
    UnknownStatus,
    /// The sidecar has not responded for longer than `max_contact_age`.
    NoContact,
    /// With `freshness: strict`, the sidecar did not confirm the head for this request.
    Unconfirmed,
}

impl Refusal {
    /// The JSON-RPC error code.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::Unparsable => -32700,
            Self::NoHead(_) => -32055,
            Self::Overloaded => -32005,
            Self::HostFailure => -32603,
            Self::BodyTooLarge { .. }
            | Self::BatchTooLong { .. }
            | Self::TooDeep { .. }
            | Self::HeldTooLong { .. }
            | Self::AmbiguousMethod
            | Self::Encoded { .. } => -32600,
        }
    }

    /// The HTTP status of the response.
    #[must_use]
    pub const fn http_status(&self) -> u16 {
        match self {
            Self::Unparsable | Self::AmbiguousMethod => 400,
            Self::BodyTooLarge { .. }
            | Self::BatchTooLong { .. }
            | Self::TooDeep { .. }
            | Self::HeldTooLong { .. } => 413,
            Self::Encoded { .. } => 415,
            Self::NoHead(_) | Self::Overloaded => 503,
            Self::HostFailure => 500,
        }
    }

    /// Every value of [`Refusal::reason`].
    pub const REASONS: [&str; 18] = [
        "unparsable",
        "body_too_large",
        "batch_too_long",
        "too_deep",
        "held_too_long",
        "overloaded",
        "ambiguous_method",
        "encoded",
        "no_head",
        "no_contact",
        "unconfirmed",
        "diverged",
        "node_behind",
        "node_unchecked",
        "cut_off",
        "unproven",
        "unknown_status",
        "host_failure",
    ];

    /// A stable code from [`Refusal::REASONS`], used as metric label and as `data.reason` of the
    /// JSON-RPC error.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unparsable => "unparsable",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BatchTooLong { .. } => "batch_too_long",
            Self::TooDeep { .. } => "too_deep",
            Self::HeldTooLong { .. } => "held_too_long",
            Self::Overloaded => "overloaded",
            Self::AmbiguousMethod => "ambiguous_method",
            Self::Encoded { .. } => "encoded",
            Self::HostFailure => "host_failure",
            Self::NoHead(NoHead::Unknown) => "no_head",
            Self::NoHead(NoHead::NoContact) => "no_contact",
            Self::NoHead(NoHead::Unconfirmed) => "unconfirmed",
            Self::NoHead(NoHead::Status(status)) => status.as_str(),
            Self::NoHead(NoHead::UnknownStatus) => "unknown_status",
        }
    }

    /// The error message: what is wrong, and the setting to change.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Unparsable => {
                "parse error: the body may contain a finality tag but is not valid JSON".into()
            }
            Self::BodyTooLarge { limit } => {
                format!("the body exceeds {limit} bytes (max_body_bytes)")
            }
            Self::BatchTooLong { limit } => {
                format!(
                    "a batch with a finality tag exceeds {limit} elements (max_batch_length)"
                )
            }
            Self::TooDeep { limit } => {
                format!("a body with a finality tag exceeds {limit} levels of nesting (max_depth)")
            }
            Self::HeldTooLong { limit } => {
                format!(
                    "more than {limit} bytes separate a finality tag from the method of its request (max_held_bytes): put the method before the params"
                )
            }
            Self::Overloaded => {
                "too many bytes are held for requests whose method is not known yet: retry later, or put the method before the params"
                    .into()
            }
            Self::AmbiguousMethod => {
                "a request with a finality tag has more than one method member: send one".into()
            }
            Self::Encoded { encoding } => {
                format!(
                    "content-encoding {encoding:?} is not supported: it could hide a finality tag"
                )
            }
            Self::HostFailure => "the proxy could not process the request".into(),
            Self::NoHead(NoHead::Unknown) => "no finality head is known yet: retry later".into(),
            Self::NoHead(NoHead::NoContact) => {
                "the finality sidecar has not responded for too long (max_contact_age): retry later"
                    .into()
            }
            Self::NoHead(NoHead::Unconfirmed) => {
                "the finality sidecar did not confirm the head for this request (freshness): retry later"
                    .into()
            }
            Self::NoHead(NoHead::Status(Status::Diverged)) => {
                "the node's block at the finality head is not the verified block: retry later".into()
            }
            Self::NoHead(NoHead::Status(_)) => {
                "the node has not reached the finality head: retry later".into()
            }
            Self::NoHead(NoHead::UnknownStatus) => {
                "the finality sidecar reports a status that this filter does not know: update the filter"
                    .into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_code_a_status_and_a_reason() {
        let expected = [
            (Refusal::Unparsable, -32700, 400, "unparsable"),
            (Refusal::BodyTooLarge { limit: 1 }, -32600, 413, "body_too_large"),
            (Refusal::BatchTooLong { limit: 1 }, -32600, 413, "batch_too_long"),
            (Refusal::TooDeep { limit: 1 }, -32600, 413, "too_deep"),
            (Refusal::HeldTooLong { limit: 1 }, -32600, 413, "held_too_long"),
            (Refusal::Overloaded, -32005, 503, "overloaded"),
            (Refusal::AmbiguousMethod, -32600, 400, "ambiguous_method"),
            (Refusal::Encoded { encoding: "gzip".to_owned() }, -32600, 415, "encoded"),
            (Refusal::NoHead(NoHead::Unknown), -32055, 503, "no_head"),
            (Refusal::NoHead(NoHead::NoContact), -32055, 503, "no_contact"),
            (Refusal::NoHead(NoHead::Unconfirmed), -32055, 503, "unconfirmed"),
            (Refusal::NoHead(NoHead::Status(Status::Diverged)), -32055, 503, "diverged"),
            (Refusal::NoHead(NoHead::Status(Status::NodeBehind)), -32055, 503, "node_behind"),
            (Refusal::NoHead(NoHead::Status(Status::NodeUnchecked)), -32055, 503, "node_unchecked"),
            (Refusal::NoHead(NoHead::Status(Status::CutOff)), -32055, 503, "cut_off"),
            (Refusal::NoHead(NoHead::Status(Status::Unproven)), -32055, 503, "unproven"),
            (Refusal::NoHead(NoHead::UnknownStatus), -32055, 503, "unknown_status"),
            (Refusal::HostFailure, -32603, 500, "host_failure"),
        ];
        assert_eq!(expected.each_ref().map(|(.., reason)| *reason), Refusal::REASONS);
        for (refusal, code, status, reason) in expected {
            assert_eq!(
                (refusal.code(), refusal.http_status(), refusal.reason()),
                (code, status, reason)
            );
        }
    }
}
