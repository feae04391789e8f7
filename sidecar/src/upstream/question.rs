//! What an answer may be: how long, and whether there may be none yet.
//!
//! Answers are bounded by what they are for, whoever gives them. `verifier::memory` adds up what
//! all answers in flight may hold at once.

use std::time::Duration;

use alloy_primitives::bytes::BytesMut;
use memchr::memchr2;

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

/// The room that is reserved for an answer of at most so many bytes.
///
/// One that is read alone gets [`LARGE`] at once, of which only what arrives becomes resident.
/// glibc maps that much apart and gives it back as soon as it is freed; when anything shorter is
/// freed, it keeps twice as much from then on, for each thread.
pub(super) const fn room(limit: usize) -> usize {
    match limit {
        ..LONGEST_BLOCK => 0,
        LONGEST_BLOCK..LARGE => LARGE,
        LARGE.. => limit,
    }
}

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

/// The members with long texts that we read.
const LONG_MEMBERS: [&[u8]; 3] = [b"input", b"payload", b"ns_payload"];

/// Empties long texts in a JSON text, except where we read one. An error of serde repeats a text
/// that is in the wrong place, several times as long; and nothing else in an answer can make it
/// hold much more than the answer's own length.
pub(super) fn drop_long_texts(body: &mut BytesMut) {
    if body.len() <= SMALL {
        return;
    }
    // Whether the last text names a member that we read, and where it ends.
    let (mut is_ours, mut from) = (false, 0);
    while let Some((start, end)) = next_text(body, from) {
        let between = body.get(from..start.saturating_sub(1)).unwrap_or_default();
        let is_read = is_ours && between.trim_ascii() == b":";
        from = end + 1;
        let is_name = body.get(from..).unwrap_or_default().trim_ascii_start().starts_with(b":");
        let Some(text) = body.get_mut(start..=end) else { return };
        is_ours =
            is_name && LONG_MEMBERS.contains(&text.split_last().map_or(&[], |(_, text)| text));
        if text.len() > SMALL + 1 && !is_read {
            text.fill(b' ');
            text.first_mut().into_iter().for_each(|first| *first = b'"');
        }
    }
}

/// Where the next text begins and ends, without its quotes.
fn next_text(body: &[u8], from: usize) -> Option<(usize, usize)> {
    let start = from + memchr::memchr(b'"', body.get(from..)?)? + 1;
    let mut at = start;
    loop {
        at += memchr2(b'"', b'\\', body.get(at..)?)?;
        if body.get(at) == Some(&b'"') {
            return Some((start, at));
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(text: &str) -> String {
        let mut body = BytesMut::from(text);
        drop_long_texts(&mut body);
        assert_eq!(body.len(), text.len());
        let text = std::str::from_utf8(&body).unwrap();
        text.chars().filter(|char| *char != ' ').collect()
    }

    #[test]
    fn long_texts_are_emptied_except_where_they_are_read() {
        let long = "x".repeat(SMALL + 1);
        let escaped = format!("{}\\\"", "\\\\".repeat(SMALL));
        for text in [&long, &escaped] {
            for name in ["input", "payload", "ns_payload"] {
                let body = format!(r#"[{{"a":1,"{name}":"{text}","b":"short"}}]"#);
                assert_eq!(dropped(&body), body, "{name}");
            }
            for (body, left) in [
                (format!(r#""{text}""#), r#""""#),
                (format!(r#"{{"hash":"{text}"}}"#), r#"{"hash":""}"#),
                (format!(r#"{{"input":["{text}",1]}}"#), r#"{"input":["",1]}"#),
                (format!(r#"{{"{text}" : "x"}}"#), r#"{"":"x"}"#),
                (format!(r#"{{"input":"x","a":"{text}"}}"#), r#"{"input":"x","a":""}"#),
                (format!(r#"{{"inputs":"{text}"}}"#), r#"{"inputs":""}"#),
            ] {
                assert_eq!(dropped(&body), left);
            }
        }
        let fitting = format!(r#"["{}"]"#, "x".repeat(SMALL));
        assert_eq!(dropped(&fitting), fitting);
        // What is no JSON is left to the decoder.
        for body in ["", "\"", "\"\\", "{\"a", "]]\"\"\""] {
            assert_eq!(dropped(body), body);
        }
    }
}
