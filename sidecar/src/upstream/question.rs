//! What an answer may be: how long, and whether there may be none yet.
//!
//! Answers are bounded by what they are for, whoever gives them. `verifier::memory` adds up what
//! all answers in flight may hold at once.

use std::time::Duration;

use crate::telemetry::metrics::Purpose;

/// A number, a configuration, a contract's answer, a HotShot header: a few KB.
pub const SMALL: usize = 64 * 1024;
/// A block of Ethereum's, or the namespace in some HotShot blocks, of which several are read at
/// once.
pub const MEDIUM: usize = 1024 * 1024;
/// The namespace in one HotShot block, read alone. On Espresso's networks a block has at most
/// 10 MB, which the answer shows twice in base64.
pub const LARGE: usize = 32 * 1024 * 1024;
/// A block of the node's, read alone: what a batch of 10 MB holds, in hexadecimal digits.
pub const LONGEST_BLOCK: usize = 24 * 1024 * 1024;

/// What an answer may be.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// The longest answer, in bytes.
    pub limit: usize,
    /// Whether a 404 means that the thing does not exist yet, and not that the URL is wrong.
    pub may_be_absent: bool,
    /// Whether a longer answer is no fault, since something smaller can be asked for, or the same
    /// alone.
    pub may_be_longer: bool,
    /// How long it may take, if not `request_timeout`.
    pub time_limit: Option<Duration>,
}

impl Question {
    /// One with a short answer.
    pub const SMALL: Self =
        Self { limit: SMALL, may_be_absent: false, may_be_longer: false, time_limit: None };
    /// One about HotShot blocks, beside others.
    pub const BLOCKS: Self =
        Self { limit: MEDIUM, may_be_absent: true, may_be_longer: true, time_limit: None };
    /// One about a HotShot block, alone.
    pub const BLOCK: Self =
        Self { limit: LARGE, may_be_absent: true, may_be_longer: false, time_limit: None };

    /// One with a JSON-RPC method.
    pub(super) fn of_method(method: &str) -> Self {
        match method {
            // With the transactions of a block, or their hashes.
            "eth_getBlockByNumber" => Self { limit: MEDIUM, may_be_longer: true, ..Self::SMALL },
            "eth_getLogs" => Self { limit: MEDIUM, ..Self::SMALL },
            _ => Self::SMALL,
        }
    }
}

/// What a path of a query service is asked for.
pub(super) fn purpose(path: &str) -> Purpose {
    let purposes = [
        ("block-height", Purpose::Height),
        ("/namespace/", Purpose::Namespace),
        ("/header/", Purpose::Header),
        ("/limits", Purpose::Limits),
    ];
    let known = purposes.into_iter().find(|(part, _)| path.contains(part));
    known.map_or(Purpose::Other, |(_, purpose)| purpose)
}
