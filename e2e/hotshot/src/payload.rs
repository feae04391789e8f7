//! A block's payload: namespaces one after the other, and the table that says where each ends.

use alloy_primitives::B256;
use sha2::{Digest, Sha256};

/// The transactions of one namespace: count, end offsets, bodies.
#[must_use]
pub fn encode<T: AsRef<[u8]>>(transactions: &[T]) -> Vec<u8> {
    let mut out = little_endian(transactions.len()).to_vec();
    let mut end = 0;
    for transaction in transactions {
        end += transaction.as_ref().len();
        out.extend(little_endian(end));
    }
    out.extend(transactions.iter().flat_map(AsRef::as_ref));
    out
}

/// The transactions that nodes find in a namespace, whatever its bytes are.
#[must_use]
pub fn decode(payload: &[u8]) -> Vec<&[u8]> {
    let number = |place: usize| {
        let bytes = payload.get(4 * place..4 * place + 4)?;
        usize::try_from(u32::from_le_bytes(bytes.try_into().unwrap())).ok()
    };
    let declared = number(0).unwrap_or_default();
    let count = declared.min(payload.len().saturating_sub(4) / 4);
    // Bodies begin behind as many offsets as are declared, also when there are fewer.
    let bodies = 4 + 4 * declared;
    let offset = |place: usize| match place {
        0 => 0,
        _ => number(place).unwrap_or_default(),
    };
    (0..count)
        .map(|place| {
            let end = (bodies + offset(place + 1)).min(payload.len());
            let begin = (bodies + offset(place)).min(end);
            &payload[begin..end]
        })
        .collect()
}

/// Which namespaces a block has: count, then id and end offset of each payload.
#[must_use]
pub fn table(namespaces: &[(u32, usize)]) -> Vec<u8> {
    let mut out = little_endian(namespaces.len()).to_vec();
    let mut end = 0;
    for (namespace, length) in namespaces {
        end += length;
        out.extend(namespace.to_le_bytes());
        out.extend(little_endian(end));
    }
    out
}

/// What the builder of a block signs. Nodes hash the table twice.
#[must_use]
pub fn builder_commitment(payload: &[u8], table: &[u8]) -> B256 {
    let mut hasher = Sha256::new();
    for part in [payload, table, table] {
        hasher.update((part.len() as u64).to_le_bytes());
    }
    for part in [payload, table, table] {
        hasher.update(part);
    }
    B256::from_slice(&hasher.finalize())
}

fn little_endian(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        text::{base64, untagged_hash},
        vectors,
    };

    #[test]
    fn namespaces_are_encoded_as_in_the_vectors() {
        let vectors = vectors::namespace_range();
        let element = &vectors["response_v1_proof"][0];
        let transactions: Vec<_> = element["transactions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|transaction| vectors::bytes(&transaction["payload"]))
            .collect();
        assert!(transactions.len() > 1);
        let payload = encode(&transactions);
        assert_eq!(base64(&payload), element["proof"]["V1"]["ns_payload"]);
        assert_eq!(decode(&payload), transactions);
    }

    #[test]
    fn any_payload_is_decoded_as_in_the_vectors() {
        let vectors = vectors::namespace();
        let cases = vectors["payload_decoding"]["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 10);
        for case in cases {
            let payload = vectors::bytes(&case["ns_payload"]);
            let found: Vec<_> = decode(&payload).into_iter().map(base64).collect();
            assert_eq!(serde_json::json!(found), case["transactions"], "{}", case["name"]);
        }
    }

    #[test]
    fn table_of_a_real_header() {
        // Mainnet, height 26050100: one namespace.
        assert_eq!(base64(&table(&[(0x8173, 0x8c0)])), "AQAAAHOBAADACAAA");
    }

    #[test]
    fn builder_commitments_agree_with_the_vectors() {
        let (vectors, headers) = (vectors::namespace(), vectors::headers());
        let raw = vectors::bytes(&vectors["reference_payload"]["raw_payload"]);
        let fields = &headers["cases"][0]["header"]["fields"];
        let table = vectors::bytes(&fields["ns_table"]["bytes"]);
        let expected = fields["builder_commitment"].as_str().unwrap();
        assert_eq!(builder_commitment(&raw, &table), untagged_hash(expected));
        let vectors = vectors::block_tree();
        let recorded = &vectors["recorded_0_5_chain"][1]["header"]["fields"];
        let table = vectors::bytes(&recorded["ns_table"]["bytes"]);
        let payload = encode(&[1_u64.to_le_bytes()]);
        let expected = recorded["builder_commitment"].as_str().unwrap();
        assert_eq!(builder_commitment(&payload, &table), untagged_hash(expected));
    }
}
