//! Commitments as HotShot makes them: keccak256 over named parts.

use alloy_primitives::Keccak256;

use super::TaggedBase64;

/// Ends every name, so that no name is the beginning of another.
const NAME_END: [u8; 2] = [0xC0, 0x7F];

/// The commitment of a transaction, by which every query service and explorer finds it (`TX~…`).
#[must_use]
pub fn transaction(namespace: u32, payload: &[u8]) -> TaggedBase64 {
    let mut hasher = Keccak256::new();
    name(&mut hasher, "Transaction");
    name(&mut hasher, "namespace");
    hasher.update(u64::from(namespace).to_le_bytes());
    hasher.update((payload.len() as u64).to_le_bytes());
    hasher.update(payload);
    TaggedBase64 { tag: "TX".into(), value: hasher.finalize().to_vec() }
}

fn name(hasher: &mut Keccak256, name: &str) {
    hasher.update(name);
    hasher.update(NAME_END);
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde_json::Value;

    use super::*;

    #[test]
    fn transactions_have_the_commitments_of_the_vectors() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../testdata/tagged_base64.json")).unwrap();
        let cases = vectors["transaction_commitments"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let payload = STANDARD.decode(case["payload_base64"].as_str().unwrap()).unwrap();
            let namespace = case["namespace"].as_u64().unwrap() as u32;
            let expected = case["commitment"].as_str().unwrap();
            assert_eq!(transaction(namespace, &payload).to_string(), expected);
            assert_ne!(transaction(namespace + 1, &payload).to_string(), expected);
        }
    }
}
