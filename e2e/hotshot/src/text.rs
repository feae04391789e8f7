//! How the query service writes bytes: base64, and tagged base64.

use alloy_primitives::B256;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

/// Standard base64 with padding.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// `TAG~` and URL-safe base64 of the value and a checksum over both.
#[must_use]
pub fn tagged_base64(tag: &str, value: &[u8]) -> String {
    let length = value.len().to_le_bytes()[0];
    let checksum = crc8(tag.bytes().chain(value.iter().copied())) ^ length;
    format!("{tag}~{}", URL_SAFE_NO_PAD.encode([value, &[checksum]].concat()))
}

/// The value of a tagged base64.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn untagged(text: &str) -> Vec<u8> {
    let (_, encoded) = text.split_once('~').unwrap();
    let mut value = URL_SAFE_NO_PAD.decode(encoded).unwrap();
    value.pop().unwrap();
    value
}

/// The hash in a tagged base64.
///
/// # Panics
/// When it has none.
#[must_use]
pub fn untagged_hash(text: &str) -> B256 {
    B256::from_slice(&untagged(text))
}

/// CRC-8 with polynomial 7.
fn crc8(bytes: impl Iterator<Item = u8>) -> u8 {
    bytes.fold(0, |sum, byte| {
        (0..8).fold(sum ^ byte, |sum, _| (sum << 1) ^ if sum & 0x80 == 0 { 0 } else { 7 })
    })
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Bytes;
    use serde_json::Value;

    use super::*;

    #[test]
    fn tagged_base64_agrees_with_the_vectors() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../../proofs/testdata/tagged_base64.json"))
                .unwrap();
        for case in vectors["valid"].as_array().unwrap() {
            let value: Bytes = case["value"].as_str().unwrap().parse().unwrap();
            let text = tagged_base64(case["tag"].as_str().unwrap(), &value);
            assert_eq!(text, case["text"]);
            assert_eq!(untagged(&text), value);
        }
    }
}
