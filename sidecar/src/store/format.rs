//! The text of the state file.
//!
//! The first three members are those of the Go proxy's file, so that either program can start from
//! the other's file; the rest is ours. A file with those three alone was written by the Go proxy.

use std::collections::BTreeMap;

use alloy_primitives::{B256, keccak256};
use finality_core::head::{BlockProof, Source};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use thiserror::Error;

use super::{Audit, HeaderMark, Identity, Record, SafeSample, StoreId, engine::Moment};
use crate::{batchers::HistoryMark, eth::BlockId};

/// The format that this version writes.
pub const FORMAT_VERSION: u64 = 1;

/// The longest file that is read, in bytes; a state file has at most half of it.
pub(super) const MAX_BYTES: u64 = 64 * 1024;

/// Why a text is not a state file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Nothing in it, for instance after a crash of a program that did not sync.
    #[error("it is empty")]
    Empty,
    /// Longer than any state file.
    #[error("it is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Not JSON, cut short, or a member is missing, unknown or of the wrong type.
    #[error("it is not a state file: {0}")]
    Malformed(#[from] serde_json::Error),
    /// `updated_at` is not a time.
    #[error("updated_at is not a time: {0}")]
    Time(#[from] jiff::Error),
    /// Written by a later version of the sidecar.
    #[error("its format_version is {0}, and this sidecar supports up to {FORMAT_VERSION}")]
    Version(u64),
    /// Members contradict each other.
    #[error("it disagrees with itself: {0}")]
    Inconsistent(&'static str),
}

impl FormatError {
    /// What to do about the file; never anything that loses the head.
    pub(super) const fn advice(&self) -> &'static str {
        match self {
            Self::Version(_) => "run the version that wrote it",
            _ => "restore a copy (docs/runbook.md says how to start without one)",
        }
    }
}

/// The version alone, to detect a later format before its members are read.
#[derive(Deserialize)]
struct Version {
    format_version: Option<u64>,
}

/// The file of the Go proxy. The Go proxy writes zeros, though it refuses them when it starts.
/// Members that it does not know are ignored, there as here.
#[derive(Deserialize)]
struct GoFile {
    l2_block_number: u64,
    fallback_hotshot_height: u64,
    updated_at: String,
    #[serde(flatten)]
    others: BTreeMap<String, IgnoredAny>,
}

/// Members of our file that are always there: one of them shows that a file is ours, and damaged if
/// it has no version.
const OURS: [&str; 4] = ["checksum", "source", "restart_hotshot_height", "genesis_hash"];

/// Our file, member by member.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OurFile {
    l2_block_number: u64,
    /// The Go proxy resumes one above it.
    fallback_hotshot_height: u64,
    updated_at: String,
    format_version: u64,
    hash: Option<B256>,
    l1_origin: Option<BlockId>,
    source: Source,
    restart_hotshot_height: Option<u64>,
    chain_id: Option<u64>,
    genesis_hash: Option<B256>,
    namespace: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batchers: Option<HistoryMark>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    safe_samples: Vec<SafeSample>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audited_hotshot_height: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head_hotshot_height: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unaudited_headers: Vec<HeaderMark>,
    #[serde(default, skip_serializing_if = "is_false")]
    unproven: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    block: Option<BlockProof>,
    #[serde(default, skip_serializing_if = "is_zero")]
    generation: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    store_id: Option<StoreId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moment: Option<Moment>,
    /// Keccak-256 of the other members, against flipped bits and manual edits: a number that is too
    /// high would stay forever.
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<B256>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl OurFile {
    fn of(record: &Record, id: Option<StoreId>) -> Self {
        Self {
            l2_block_number: record.number,
            fallback_hotshot_height: record.fallback_height.unwrap_or(0),
            updated_at: record.updated_at.to_string(),
            format_version: FORMAT_VERSION,
            hash: record.hash,
            l1_origin: record.l1_origin,
            source: record.source,
            restart_hotshot_height: record.restart_height,
            chain_id: record.identity.map(|identity| identity.chain_id),
            genesis_hash: record.identity.map(|identity| identity.genesis_hash),
            namespace: record.identity.map(|identity| identity.namespace),
            batchers: record.batchers,
            safe_samples: record.samples.clone(),
            audited_hotshot_height: record.audit.audited,
            head_hotshot_height: record.audit.head_height,
            unaudited_headers: record.audit.owed.clone(),
            unproven: record.audit.unproven,
            block: record.audit.block.clone(),
            generation: record.generation,
            store_id: id,
            moment: record.moment,
            checksum: None,
        }
    }

    /// The checksum of everything but the checksum, over values, so whitespace does not matter.
    fn sum(&mut self) -> Result<B256, serde_json::Error> {
        let given = self.checksum.take();
        let text = serde_json::to_vec(self);
        self.checksum = given;
        text.map(keccak256)
    }
}

/// A state file as it was found, ours or the Go proxy's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateFile {
    /// The record in it.
    pub record: Record,
    /// What the store is known by; none in the file of an earlier sidecar or of the Go proxy.
    pub id: Option<StoreId>,
}

impl StateFile {
    /// Reads a file, ours or the Go proxy's.
    ///
    /// # Errors
    /// [`FormatError`]; an inconsistent text is rejected.
    pub fn parse(text: &[u8]) -> Result<Self, FormatError> {
        parse(text)
    }
}

impl StateFile {
    /// Whether the Go proxy would start from this file: it takes a zero for a missing value.
    #[must_use]
    pub const fn go_proxy_can_read(&self) -> bool {
        self.record.number > 0 && self.record.fallback_height.is_some()
    }
}

/// The file for a record.
///
/// # Errors
/// None in practice: serializing these values does not fail.
pub(super) fn render(record: &Record, id: Option<StoreId>) -> Result<Vec<u8>, FormatError> {
    let mut file = OurFile::of(record, id);
    file.checksum = Some(file.sum()?);
    let mut text = serde_json::to_vec_pretty(&file)?;
    text.push(b'\n');
    Ok(text)
}

/// Reads a file, ours or the Go proxy's.
///
/// # Errors
/// [`FormatError`]; an inconsistent text is rejected.
pub(super) fn parse(text: &[u8]) -> Result<StateFile, FormatError> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(FormatError::Empty);
    }
    if text.len() as u64 > MAX_BYTES {
        return Err(FormatError::TooLong);
    }
    match serde_json::from_slice::<Version>(text)?.format_version {
        None => take_over(serde_json::from_slice(text)?),
        Some(FORMAT_VERSION) => read(serde_json::from_slice(text)?),
        Some(other) => Err(FormatError::Version(other)),
    }
}

/// The lowest number that a damaged file may have held, as far as it can be read. None if there is
/// no number, or if a later version may have written the file.
pub(super) fn readable_number(text: &[u8]) -> Option<u64> {
    let mut versions = numbers_of(text, b"\"format_version\"");
    if versions.any(|version| version != FORMAT_VERSION) {
        return None;
    }
    // Where a number is cut, what is left of it is lower.
    numbers_of(text, b"\"l2_block_number\"").min()
}

/// The numbers after each occurrence of a member's name, whatever surrounds them.
fn numbers_of(text: &[u8], name: &'static [u8]) -> impl Iterator<Item = u64> {
    text.windows(name.len()).enumerate().filter_map(move |(place, window)| {
        let rest = text.get(place.checked_add(name.len())?..)?;
        let rest = (window == name).then(|| rest.trim_ascii_start())?;
        let rest = rest.strip_prefix(b":")?.trim_ascii_start();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        std::str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()
    })
}

fn take_over(file: GoFile) -> Result<StateFile, FormatError> {
    if OURS.iter().any(|name| file.others.contains_key(*name)) {
        return Err(FormatError::Inconsistent("format_version is missing"));
    }
    let record = Record {
        generation: 0,
        moment: None,
        number: file.l2_block_number,
        hash: None,
        l1_origin: None,
        source: Source::Espresso,
        // One below where the Go proxy resumes; reading a block twice does no harm.
        restart_height: Some(file.fallback_hotshot_height),
        fallback_height: nonzero(file.fallback_hotshot_height),
        batchers: None,
        identity: None,
        updated_at: file.updated_at.parse()?,
        samples: Vec::new(),
        audit: Audit::default(),
    };
    Ok(StateFile { record, id: None })
}

/// The Go proxy takes a zero for a missing value.
fn nonzero(height: u64) -> Option<u64> {
    Some(height).filter(|height| *height > 0)
}

fn read(mut file: OurFile) -> Result<StateFile, FormatError> {
    let Some(checksum) = file.checksum else {
        return Err(FormatError::Inconsistent("the checksum is missing"));
    };
    if checksum != file.sum()? {
        return Err(FormatError::Inconsistent("the checksum is not that of the other members"));
    }
    let identity = match (file.chain_id, file.genesis_hash, file.namespace) {
        (Some(chain_id), Some(genesis_hash), Some(namespace)) => {
            Some(Identity { chain_id, genesis_hash, namespace })
        }
        (None, None, None) => None,
        _ => {
            return Err(FormatError::Inconsistent(
                "chain_id, genesis_hash and namespace are not all known or all unknown",
            ));
        }
    };
    let record = Record {
        generation: file.generation,
        moment: file.moment,
        number: file.l2_block_number,
        hash: file.hash,
        l1_origin: file.l1_origin,
        source: file.source,
        restart_height: file.restart_hotshot_height,
        fallback_height: nonzero(file.fallback_hotshot_height),
        batchers: file.batchers,
        identity,
        updated_at: file.updated_at.parse()?,
        samples: file.safe_samples.clone(),
        audit: Audit {
            audited: file.audited_hotshot_height,
            head_height: file.head_hotshot_height,
            owed: file.unaudited_headers.clone(),
            unproven: file.unproven,
            block: file.block,
        },
    };
    Ok(StateFile { record, id: file.store_id })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::{super::testing, *};

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../testdata/store_files.json")).unwrap()
    }

    fn texts(group: &str) -> Vec<String> {
        let group = vectors()[group].as_array().unwrap().clone();
        group.iter().map(|case| case["text"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn valid_files_of_the_go_proxy_are_taken_over() {
        let texts = texts("valid");
        assert_eq!(texts.len(), 2);
        for text in texts {
            let record = parse(text.as_bytes()).unwrap().record;
            let members: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(record.number, members["l2_block_number"].as_u64().unwrap());
            assert_eq!(record.restart_height, members["fallback_hotshot_height"].as_u64());
            assert_eq!((record.hash, record.l1_origin, record.identity), (None, None, None));
        }
    }

    /// The Go proxy may have written what it refuses: zeros are imported all the same.
    #[test]
    fn files_that_the_go_proxy_refuses_are_imported_if_they_are_complete() {
        let verdicts: Vec<_> = texts("rejected_by_seed")
            .iter()
            .map(|text| match parse(text.as_bytes()) {
                Ok(StateFile { record, .. }) => {
                    format!("{} from {}", record.number, record.restart_height.unwrap())
                }
                Err(error) => error.to_string(),
            })
            .collect();
        let expected = [
            "it is not a state file: expected ident",
            "10 from 0",
            "0 from 20",
            "it is not a state file: missing field `updated_at`",
            "10 from 20",
            "it is empty",
        ];
        assert_eq!(verdicts.len(), expected.len());
        for (verdict, expected) in verdicts.iter().zip(expected) {
            assert!(verdict.starts_with(expected), "{verdict:?} is not {expected:?}");
        }
    }

    #[test]
    fn what_is_written_can_be_read_by_the_go_proxy_when_both_numbers_are_above_zero() {
        for (number, fallback, readable) in [(5, 99, true), (0, 99, false), (5, 0, false)] {
            let mut record = testing::record(number);
            record.fallback_height = nonzero(fallback);
            let text = render(&record, Some(StoreId(7))).unwrap();
            let members: Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(members["l2_block_number"], number);
            assert_eq!(members["fallback_hotshot_height"], fallback);
            // An earlier version would refuse members that it does not know.
            assert_eq!(members.get("unproven"), None);
            assert!(members["updated_at"].as_str().unwrap().parse::<Timestamp>().is_ok());
            assert_eq!(parse(&text).unwrap().go_proxy_can_read(), readable, "{number} {fallback}");
        }
    }

    #[test]
    fn contradictions_and_later_formats_are_refused_by_name() {
        let text = String::from_utf8(render(&testing::record(5), None).unwrap()).unwrap();
        let edited = |from: &str, to: &str| {
            assert!(text.contains(from), "{from} is in {text}");
            parse(text.replacen(from, to, 1).as_bytes()).unwrap_err().to_string()
        };
        assert!(edited("\"l2_block_number\": 5", "\"l2_block_number\": 6").contains("checksum"));
        assert!(
            edited("\"format_version\": 1", "\"format_version\": 2")
                .contains("format_version is 2")
        );
        assert!(edited("\"format_version\": 1,", "").contains("format_version is missing"));
        assert!(edited("\"source\"", "\"sauce\"").contains("unknown field `sauce`"));
        assert!(
            edited("\"l2_block_number\": 5", "\"l2_block_number\": 5,\"l2_block_number\": 5")
                .contains("duplicate")
        );
    }

    #[test]
    fn members_that_disagree_are_refused_even_under_a_right_checksum() {
        let mut file = OurFile::of(&testing::record(5), None);
        file.namespace = None;
        file.checksum = Some(file.sum().unwrap());
        assert!(read(file).unwrap_err().to_string().contains("namespace"));
    }

    proptest! {
        #[test]
        fn no_json_panics(number in any::<i128>(), version in any::<u64>(), time in "[0-9TZ:.+-]{0,40}") {
            let text = format!(
                r#"{{"l2_block_number":{number},"fallback_hotshot_height":{version},"updated_at":{time:?}}}"#
            );
            drop(parse(text.as_bytes()));
            drop(parse(format!(r#"{{"format_version":{version},"x":{number}}}"#).as_bytes()));
        }

        #[test]
        fn what_is_written_is_read_back(record in testing::records()) {
            prop_assert_eq!(parse(&render(&record, Some(StoreId(7))).unwrap()).unwrap().record, record);
        }

        /// A flipped bit, a changed byte or a truncation never yields another record.
        #[test]
        fn damage_is_noticed(record in testing::records(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let whole = render(&record, Some(StoreId(7))).unwrap();
            let mut damaged = whole.clone();
            let at = at.index(damaged.len());
            damaged[at] = byte;
            if let Ok(read) = parse(&damaged) {
                prop_assert_eq!(&read.record, &record);
            }
            // Without its last newline the file is still complete.
            if at < whole.len() - 1 {
                prop_assert!(parse(&whole[..at]).is_err());
            }
        }
    }
}
