//! How the query service writes things down: namespace payloads and tables, and tagged base64.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

/// Standard base64 with padding.
#[must_use]
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// `TAG~` and URL-safe base64 of the value and a checksum over both.
#[must_use]
pub(super) fn tagged_base64(tag: &str, value: &[u8]) -> String {
    let length = u8::try_from(value.len() & 0xff).unwrap_or_default();
    let checksum = crc8(tag.bytes().chain(value.iter().copied())) ^ length;
    format!("{tag}~{}", URL_SAFE_NO_PAD.encode([value, &[checksum]].concat()))
}

/// CRC-8 with polynomial 7.
fn crc8(bytes: impl Iterator<Item = u8>) -> u8 {
    bytes.fold(0, |sum, byte| {
        (0..8).fold(sum ^ byte, |sum, _| (sum << 1) ^ if sum & 0x80 == 0 { 0 } else { 7 })
    })
}

/// The transactions of one namespace in one block: count, end offsets, bodies.
#[must_use]
pub(super) fn namespace_payload(transactions: &[&[u8]]) -> Vec<u8> {
    let mut out = little_endian(transactions.len()).to_vec();
    let mut end = 0;
    for transaction in transactions {
        end += transaction.len();
        out.extend(little_endian(end));
    }
    out.extend(transactions.concat());
    out
}

/// Which namespaces a block has: count, then id and end offset of each payload.
#[must_use]
pub(super) fn namespace_table(payloads: &[(u32, usize)]) -> Vec<u8> {
    let mut out = little_endian(payloads.len()).to_vec();
    let mut end = 0;
    for (namespace, length) in payloads {
        end += length;
        out.extend(namespace.to_le_bytes());
        out.extend(little_endian(end));
    }
    out
}

fn little_endian(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn tagged_base64_agrees_with_the_vectors() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../../sidecar/testdata/tagged_base64.json"))
                .unwrap();
        for case in vectors["valid"].as_array().unwrap() {
            let value: alloy_primitives::Bytes = case["value"].as_str().unwrap().parse().unwrap();
            assert_eq!(tagged_base64(case["tag"].as_str().unwrap(), &value), case["text"]);
        }
    }

    #[test]
    fn namespace_payload_agrees_with_the_vectors() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../../sidecar/testdata/namespace_range.json"))
                .unwrap();
        let element = &vectors["response_v1_proof"][0];
        let transactions: Vec<Vec<u8>> = element["transactions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|transaction| STANDARD.decode(transaction["payload"].as_str().unwrap()).unwrap())
            .collect();
        assert!(transactions.len() > 1);
        let transactions: Vec<&[u8]> = transactions.iter().map(Vec::as_slice).collect();
        assert_eq!(base64(&namespace_payload(&transactions)), element["proof"]["V1"]["ns_payload"],);
    }

    #[test]
    fn table_of_a_real_header() {
        // Mainnet, height 26050100: one namespace.
        assert_eq!(base64(&namespace_table(&[(0x8173, 0x8c0)])), "AQAAAHOBAADACAAA");
    }
}
