//! TaggedBase64: `TAG~` and URL-safe base64 without padding of the value and a checksum byte.

use std::fmt;

use alloy_primitives::B256;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, de::Error as _};
use thiserror::Error;

/// A value with its tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedBase64 {
    /// The kind of value, for instance `TX`.
    pub tag: String,
    /// The value.
    pub value: Vec<u8>,
}

/// Why a text is not TaggedBase64.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TaggedBase64Error {
    /// There is no tag before a `~`.
    #[error("no tag before a ~")]
    NoTag,
    /// What follows the tag is not base64 of at least the checksum.
    #[error("not base64")]
    NotBase64,
    /// The checksum differs.
    #[error("checksum {given}, expected {expected}")]
    Checksum {
        /// The last byte.
        given: u8,
        /// What it should be.
        expected: u8,
    },
}

impl TaggedBase64 {
    /// Reads a text and checks its checksum.
    ///
    /// # Errors
    /// [`TaggedBase64Error`].
    pub fn parse(text: &str) -> Result<Self, TaggedBase64Error> {
        let (tag, encoded) = text.split_once('~').ok_or(TaggedBase64Error::NoTag)?;
        if tag.is_empty() {
            return Err(TaggedBase64Error::NoTag);
        }
        let mut value =
            URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TaggedBase64Error::NotBase64)?;
        let given = value.pop().ok_or(TaggedBase64Error::NotBase64)?;
        let expected = checksum(tag, &value);
        if given == expected {
            Ok(Self { tag: tag.to_owned(), value })
        } else {
            Err(TaggedBase64Error::Checksum { given, expected })
        }
    }
}

impl TaggedBase64 {
    /// The value, if it is a hash.
    #[must_use]
    pub fn hash(&self) -> Option<B256> {
        B256::try_from(self.value.as_slice()).ok()
    }
}

impl fmt::Display for TaggedBase64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checked = [&self.value[..], &[checksum(&self.tag, &self.value)]].concat();
        write!(f, "{}~{}", self.tag, URL_SAFE_NO_PAD.encode(checked))
    }
}

impl<'de> Deserialize<'de> for TaggedBase64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|error| D::Error::custom(format_args!("{text:?}: {error}")))
    }
}

/// CRC-8 (polynomial 0x07, initial value 0) over tag and value, XOR the low byte of the value's
/// length.
fn checksum(tag: &str, value: &[u8]) -> u8 {
    let crc = tag
        .bytes()
        .chain(value.iter().copied())
        .fold(0_u8, |crc, byte| CRC.get(usize::from(crc ^ byte)).copied().unwrap_or_default());
    crc ^ value.len().to_le_bytes()[0]
}

/// What each byte contributes to the CRC.
const CRC: [u8; 256] = {
    let mut table = [0; 256];
    let (mut rest, mut byte): (&mut [u8], u8) = (&mut table, 0);
    while let [entry, others @ ..] = rest {
        let (mut crc, mut bit) = (byte, 0);
        while bit < 8 {
            crc = if crc & 0x80 == 0 { crc << 1 } else { (crc << 1) ^ 0x07 };
            bit += 1;
        }
        *entry = crc;
        byte = byte.wrapping_add(1);
        rest = others;
    }
    table
};

#[cfg(test)]
mod tests {
    use alloy_primitives::hex;
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_vectors_are_read_or_refused() {
        let vectors: Value =
            serde_json::from_str(include_str!("../testdata/tagged_base64.json")).unwrap();
        let valid = vectors["valid"].as_array().unwrap();
        assert!(!valid.is_empty());
        for case in valid {
            let parsed = TaggedBase64::parse(case["text"].as_str().unwrap()).unwrap();
            assert_eq!(parsed.tag, case["tag"]);
            assert_eq!(format!("0x{}", hex::encode(&parsed.value)), case["value"]);
            assert_eq!(checksum(&parsed.tag, &parsed.value), case["checksum"]);
            assert_eq!(parsed.to_string(), case["text"]);
        }
        let invalid = vectors["invalid"].as_array().unwrap();
        assert!(!invalid.is_empty());
        for text in invalid {
            assert!(TaggedBase64::parse(text.as_str().unwrap()).is_err(), "{text}");
        }
    }
}
