//! The head: the block number that finality tags become, and how it travels from sidecar to filter.
//!
//! [`HeadReport`] is the response of `GET /v1/head`, [`HeadQuery`] its query. The wire format is
//! stable: members may be added, never changed or removed.
//!
//! The number and the status travel together but follow different rules: the number is the maximum
//! of all reports, the status is that of the latest one. Only within one store may a number fall:
//! a deliberate reset raises the generation, and generations come before numbers.
//!
//! ```
//! use finality_core::head::Status;
//!
//! let reports = [(100, Status::Ok), (102, Status::NodeBehind), (101, Status::Ok)];
//! let head = reports.into_iter().reduce(|(known, _), (number, status)| (number.max(known), status));
//! assert_eq!(head, Some((102, Status::Ok)));
//! ```

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

/// Path of the head in the sidecar's HTTP API.
pub const HEAD_PATH: &str = "/v1/head";

/// What confirmed the head's block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The node's block equals the batch that HotShot confirmed.
    Espresso,
    /// The block is at or below the node's `finalized` block on Ethereum.
    Ethereum,
}

/// What has advanced the head since the sidecar started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// No batch has been confirmed yet: the head follows the node's `finalized` block.
    Ethereum,
    /// At least one batch has been confirmed.
    Espresso,
}

/// Whether the node still has the head's block. Unlike the number, it may change either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The node's block at the head number has the verified hash, as far as is known.
    Ok,
    /// The node's block at the head number does not have the verified hash.
    Diverged,
    /// The node's latest block is below the head.
    NodeBehind,
    /// The node has later blocks but has pruned this one: the hash cannot be checked.
    Pruned,
    /// The head is a stored one, and the node has not been asked about it since the sidecar
    /// started.
    NodeUnchecked,
    /// The sidecar cannot learn what other replicas publish.
    CutOff,
    /// HotShot, as Espresso's light client on L1 has it, does not have the head's batch.
    Unproven,
}

impl Status {
    /// Every status. Modules of several versions share their places here: a new one comes last.
    pub const ALL: [Self; 7] = [
        Self::Ok,
        Self::Diverged,
        Self::NodeBehind,
        Self::Pruned,
        Self::NodeUnchecked,
        Self::CutOff,
        Self::Unproven,
    ];

    /// The spelling on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Diverged => "diverged",
            Self::NodeBehind => "node_behind",
            Self::Pruned => "pruned",
            Self::NodeUnchecked => "node_unchecked",
            Self::CutOff => "cut_off",
            Self::Unproven => "unproven",
        }
    }

    /// Whether a tag may become the head's number in this status.
    ///
    /// ```
    /// use finality_core::head::Status;
    ///
    /// // A node that has pruned the block is still on the same chain.
    /// assert!(Status::Ok.is_usable() && Status::Pruned.is_usable());
    /// assert!(!Status::Diverged.is_usable() && !Status::NodeBehind.is_usable());
    /// assert!(!Status::NodeUnchecked.is_usable() && !Status::CutOff.is_usable());
    /// assert!(!Status::Unproven.is_usable());
    /// ```
    #[must_use]
    pub const fn is_usable(self) -> bool {
        matches!(self, Self::Ok | Self::Pruned)
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The last block that Espresso confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EspressoPosition {
    /// L2 block number.
    pub number: u64,
    /// Height of the HotShot block that contains its batch.
    pub hotshot_height: u64,
}

/// The latest `finalized` block of the node that the sidecar accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EthereumPosition {
    /// L2 block number.
    pub number: u64,
}

/// How much of HotShot is proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvenPosition {
    /// The setting `hotshot_proofs`.
    pub mode: String,
    /// The HotShot height below which everything that moved the head is under the root in
    /// Espresso's light client on L1. Null while nothing was compared with that.
    pub hotshot_height: Option<u64>,
}

/// What is proven of the blocks that Espresso confirmed, by what HotShot has of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockProof {
    /// Of the last one: `hash`, or `inputs` where what came of its inputs is the node's word.
    pub proven: String,
    /// The lowest HotShot height since which it is `hash` throughout, as far as the sidecar knows.
    /// Null if the last one is not.
    pub hash_since: Option<u64>,
}

/// The response of `GET /v1/head`.
///
/// ```
/// use finality_core::head::{HeadReport, Source, Status};
///
/// let body = br#"{"number":12345,"hex":"0x3039","hash":null,"source":"espresso","mode":"espresso","status":"ok",
///     "espresso":{"number":12345,"hotshot_height":991},"ethereum":null,"chain_id":22266222,
///     "updated_at":"2026-01-01T00:00:00.123Z","a member of a later version":1}"#;
/// let report: HeadReport = serde_json::from_slice(body)?;
/// assert_eq!((report.number, report.source, report.status), (12345, Source::Espresso, Status::Ok));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadReport {
    /// The head: the L2 block number that tags become.
    pub number: u64,
    /// The same number as a JSON-RPC quantity; see [`hex_number`].
    pub hex: String,
    /// Hash of the head's block, `0x` and 64 hex digits. Null while it is unknown, which happens
    /// after a head was imported without its hash.
    pub hash: Option<String>,
    /// What confirmed that block.
    pub source: Source,
    /// What has advanced the head since the sidecar started.
    pub mode: Mode,
    /// Whether the node still has that block.
    pub status: Status,
    /// The last block that Espresso confirmed since the sidecar started, if any.
    pub espresso: Option<EspressoPosition>,
    /// The latest `finalized` block of the node that the sidecar accepted, if any.
    pub ethereum: Option<EthereumPosition>,
    /// The L2 chain id.
    pub chain_id: u64,
    /// When the number or the status last changed: RFC 3339, UTC.
    pub updated_at: String,
    /// How often the head was lowered on purpose. Within one store, a higher generation counts
    /// before a higher number.
    #[serde(default)]
    pub generation: u64,
    /// Which store keeps the head; generations of different stores cannot be compared.
    #[serde(default)]
    pub store: Option<String>,
    /// With `confirm=cluster`: whether no replica had published a higher head when the request
    /// came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<bool>,
    /// How much of HotShot is proven; none from earlier sidecars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven: Option<ProvenPosition>,
    /// What is proven of blocks; none before Espresso confirmed one, and from earlier sidecars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<BlockProof>,
}

/// The members of a [`HeadReport`] that the filter reads. The others inform people, and a newer
/// sidecar may use values there that this filter does not know.
///
/// ```
/// use finality_core::head::{ReportedHead, Status};
///
/// let report = serde_json::json!({"number": 12345, "hex": "0x3039", "status": "ok", "chain_id": 22266222});
/// let head = ReportedHead::read(&report)?;
/// assert_eq!((head.number, head.status, head.chain_id), (12345, Some(Status::Ok), 22266222));
/// assert_eq!((head.generation, head.store, head.confirmed), (0, None, false));
/// # Ok::<(), finality_core::head::HeadReportError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportedHead<'a> {
    /// The block number that tags become.
    pub number: u64,
    /// Whether the node still has that block. `None` when a later sidecar reports a status that
    /// this version does not know: the head must not be used then.
    pub status: Option<Status>,
    /// The L2 chain id.
    pub chain_id: u64,
    /// The head's generation; zero from earlier sidecars.
    pub generation: u64,
    /// The store that keeps the head; none from earlier sidecars.
    pub store: Option<&'a str>,
    /// Whether the sidecar confirmed the number after it was asked to.
    pub confirmed: bool,
}

/// Why a response is not a valid [`HeadReport`].
#[derive(Debug, Error)]
pub enum HeadReportError {
    /// It is not JSON, or a member is missing or has the wrong type.
    #[error("not a head report: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A member is missing or has an invalid value.
    #[error("not a head report: `{0}` is missing or invalid")]
    Member(&'static str),
    /// `hex` and `number` are different block numbers.
    #[error("head report contradicts itself: number {number}, hex {hex}")]
    HexDiffers {
        /// The `number` member.
        number: u64,
        /// The `hex` member.
        hex: String,
    },
}

impl HeadReport {
    /// Parses the body of a response of `GET /v1/head`. Unknown members are ignored.
    ///
    /// # Errors
    /// [`HeadReportError`] if the body is malformed or contradicts itself.
    pub fn parse(body: &[u8]) -> Result<Self, HeadReportError> {
        let report: Self = serde_json::from_slice(body)?;
        if report.hex == hex_number(report.number) {
            Ok(report)
        } else {
            Err(HeadReportError::HexDiffers { number: report.number, hex: report.hex })
        }
    }
}

impl<'a> ReportedHead<'a> {
    /// Reads a response of `GET /v1/head`. Written by hand, since a derived deserializer would make
    /// the filter's module a sixth larger.
    ///
    /// # Errors
    /// [`HeadReportError`] if the report is malformed or contradicts itself.
    pub fn read(report: &'a Value) -> Result<Self, HeadReportError> {
        let member = |name| report.get(name).ok_or(HeadReportError::Member(name));
        let whole = |name| member(name)?.as_u64().ok_or(HeadReportError::Member(name));
        let text = |name| member(name)?.as_str().ok_or(HeadReportError::Member(name));
        let (number, hex, status) = (whole("number")?, text("hex")?, text("status")?);
        if hex != hex_number(number) {
            return Err(HeadReportError::HexDiffers { number, hex: hex.to_owned() });
        }
        let status = Status::ALL.into_iter().find(|known| known.as_str() == status);
        Ok(Self {
            number,
            status,
            chain_id: whole("chain_id")?,
            generation: report.get("generation").map_or(Ok(0), |_| whole("generation"))?,
            store: report.get("store").and_then(Value::as_str),
            confirmed: report.get("confirmed").and_then(Value::as_bool) == Some(true),
        })
    }
}

/// The body of a 503 response of `GET /v1/head`: there is no head yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoHeadReport {
    /// Always `no_head`.
    pub error: String,
    /// Why, as a stable code.
    pub reason_code: String,
    /// Why, for the operator to read.
    pub reason: String,
}

impl NoHeadReport {
    /// The only value of `error`.
    pub const ERROR: &'static str = "no_head";

    /// A report with the given reason, as a code and in words.
    #[must_use]
    pub fn new(reason_code: impl Into<String>, reason: impl Into<String>) -> Self {
        let (reason_code, reason) = (reason_code.into(), reason.into());
        Self { error: Self::ERROR.to_owned(), reason_code, reason }
    }
}

/// The query of `GET /v1/head`.
///
/// If `wait_seconds` is above zero, the sidecar responds as soon as the number exceeds `after` or
/// the status differs from `status`, and with the current head once that time has passed. It
/// responds immediately if neither `after` nor `status` is given.
///
/// ```
/// use finality_core::head::{HeadQuery, Status};
///
/// let query =
///     HeadQuery { after: Some(12345), status: Some(Status::Ok), wait_seconds: 25, confirm: false };
/// assert_eq!(query.path(), "/v1/head?after=12345&status=ok&wait=25s");
/// assert_eq!(HeadQuery::default().path(), "/v1/head");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeadQuery {
    /// The number that the client already has.
    pub after: Option<u64>,
    /// The status that the client already has.
    pub status: Option<Status>,
    /// Maximum time that the sidecar may wait before it responds, in seconds.
    pub wait_seconds: u64,
    /// Whether the sidecar is to confirm that no replica has published a higher head. Earlier
    /// sidecars refuse the question.
    pub confirm: bool,
}

impl HeadQuery {
    /// Path and query of the request, such as `/v1/head?after=5&status=ok&wait=25s`.
    #[must_use]
    pub fn path(&self) -> String {
        let mut path = String::from(HEAD_PATH);
        let mut separator = '?';
        let mut add = |name: &str, value: &str| {
            path.push(separator);
            path.push_str(name);
            path.push('=');
            path.push_str(value);
            separator = '&';
        };
        if let Some(after) = self.after {
            add("after", &after.to_string());
        }
        if let Some(status) = self.status {
            add("status", status.as_str());
        }
        if self.wait_seconds > 0 {
            add("wait", &format!("{}s", self.wait_seconds));
        }
        if self.confirm {
            add("confirm", "cluster");
        }
        path
    }
}

/// A block number as a JSON-RPC quantity: `0x` and lower-case hex digits without leading zeros.
///
/// ```
/// assert_eq!(finality_core::head::hex_number(0), "0x0");
/// assert_eq!(finality_core::head::hex_number(12345), "0x3039");
/// ```
#[must_use]
pub fn hex_number(number: u64) -> String {
    let mut text = String::with_capacity("0x".len() + 16);
    push_hex_number(&mut text, number);
    text
}

/// Appends [`hex_number`]. Written by hand because every tagged request pays for it: `format!`
/// takes as long as the search for the tag.
pub(crate) fn push_hex_number(text: &mut String, number: u64) {
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(1);
    let digit = |place: u32| {
        let value = u32::try_from(number >> (4 * place) & 15).unwrap_or_default();
        char::from_digit(value, 16).unwrap_or_default()
    };
    text.push_str("0x");
    text.extend((0..digits).rev().map(digit));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_numbers_match_the_standard_library() {
        for shift in 0..64 {
            for number in
                [1 << shift, (1 << shift) - 1, u64::MAX >> shift, 0x0123_4567_89ab_cdef >> shift]
            {
                assert_eq!(hex_number(number), format!("{number:#x}"));
            }
        }
    }

    const REPORT: &str = r#"{ "number": 12345, "hex": "0x3039", "hash": null, "source": "espresso",
        "mode": "espresso", "status": "ok", "espresso": {"number": 12345, "hotshot_height": 991},
        "ethereum": {"number": 12001}, "chain_id": 22266222, "updated_at": "2026-01-01T00:00:00.123Z",
        "added_later": true }"#;

    fn read(body: &str) -> Result<ReportedHead<'static>, HeadReportError> {
        let report: &'static Value = Box::leak(Box::new(serde_json::from_str(body).unwrap()));
        ReportedHead::read(report)
    }

    #[test]
    fn the_documented_report_round_trips() {
        let report = HeadReport::parse(REPORT.as_bytes()).unwrap();
        assert_eq!(report.number, 12345);
        assert_eq!(report.espresso.unwrap().hotshot_height, 991);
        let written = serde_json::to_string(&report).unwrap();
        assert_eq!(HeadReport::parse(written.as_bytes()).unwrap(), report);
        assert!(written.contains(r#""source":"espresso","mode":"espresso","status":"ok""#));
        for body in [REPORT, &written] {
            let read = read(body).unwrap();
            let head = (read.number, read.status, read.chain_id);
            assert_eq!(head, (12345, Some(Status::Ok), 22_266_222));
            assert_eq!((read.generation, read.store, read.confirmed), (0, None, false));
        }
        let later = r#""chain_id": 22266222, "generation": 2, "store": "s", "confirmed": true"#;
        let body = REPORT.replace(r#""chain_id": 22266222"#, later);
        let read = read(&body).unwrap();
        assert_eq!((read.generation, read.store, read.confirmed), (2, Some("s"), true));
    }

    #[test]
    fn every_status_round_trips() {
        for status in Status::ALL {
            let spelled = format!("\"status\": {}", serde_json::to_string(&status).unwrap());
            let body = REPORT.replace(r#""status": "ok""#, &spelled);
            assert_eq!(read(&body).unwrap().status, Some(status));
        }
    }

    #[test]
    fn an_unknown_status_is_none_and_unknown_words_elsewhere_change_nothing() {
        for word in ["fine", "OK", "ok ", "", "a_status_of_a_later_version"] {
            let body = REPORT.replace(r#""status": "ok""#, &format!(r#""status": "{word}""#));
            let expected = ReportedHead { status: None, ..read(REPORT).unwrap() };
            assert_eq!(read(&body).unwrap(), expected, "{word}");
        }
        let body = REPORT.replace(r#": "espresso""#, r#": "a_word_of_a_later_version""#);
        assert_ne!(body, REPORT);
        assert_eq!(read(&body).unwrap(), read(REPORT).unwrap());
    }

    #[test]
    fn a_report_whose_hex_differs_from_its_number_is_rejected() {
        let body = REPORT.replace("0x3039", "0x3038");
        for error in [read(&body).unwrap_err(), HeadReport::parse(body.as_bytes()).unwrap_err()] {
            assert!(matches!(error, HeadReportError::HexDiffers { number: 12345, .. }));
        }
    }

    #[test]
    fn malformed_reports_are_rejected() {
        for body in ["null", "[]", "{}", r#"{"number":-1}"#, "\"no healthy upstream\""] {
            assert!(matches!(read(body), Err(HeadReportError::Member("number"))), "{body}");
            assert!(HeadReport::parse(body.as_bytes()).is_err(), "{body}");
        }
        for (member, wrong) in [
            (r#""number": 12345"#, r#""number": 1.5"#),
            (r#""hex": "0x3039""#, r#""hex": 12345"#),
            (r#""status": "ok""#, r#""status": 1"#),
            (r#""chain_id": 22266222"#, r#""chain_id": null"#),
        ] {
            let name = member.split('"').nth(1).unwrap();
            for body in [REPORT.replace(member, wrong), REPORT.replacen(name, "other", 1)] {
                let error = read(&body).unwrap_err();
                assert!(matches!(error, HeadReportError::Member(named) if named == name), "{body}");
            }
        }
    }

    #[test]
    fn the_query_omits_what_is_not_given() {
        assert_eq!(HeadQuery::default().path(), "/v1/head");
        let query =
            HeadQuery { after: Some(5), status: Some(Status::NodeBehind), ..HeadQuery::default() };
        let query = HeadQuery { wait_seconds: 25, ..query };
        assert_eq!(query.path(), "/v1/head?after=5&status=node_behind&wait=25s");
        let query = HeadQuery { confirm: true, ..HeadQuery::default() };
        assert_eq!(query.path(), "/v1/head?confirm=cluster");
    }

    #[test]
    fn hex_numbers_are_minimal_and_lower_case() {
        assert_eq!(hex_number(u64::MAX), "0xffffffffffffffff");
        assert_eq!(hex_number(0xABC), "0xabc");
    }
}
