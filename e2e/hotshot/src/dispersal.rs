//! How a namespace is cut into shards, one for each unit of weight of the committee.

use std::ops::Range;

use alloy_primitives::{B256, U256};
use serde_json::{Value, json};

use crate::{field, text::tagged_base64, tree::Scheme};

/// The bytes that AvidM makes a field element of.
const ELEMENT: usize = 31;

/// How many shards suffice to recover a payload.
#[must_use]
pub const fn threshold(weight: usize) -> usize {
    weight.div_ceil(3)
}

/// How a proposer disperses a namespace: as it should, or so that no payload has its commitment,
/// which makes the namespace empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// As every honest node does.
    #[default]
    Correct,
    /// The shards beyond those of the payload are others.
    AlteredParity,
    /// The byte that ends the payload is another one.
    WrongPadding,
    /// The shards are longer than the payload needs.
    ExcessPadding,
    /// One shard is longer than the others.
    UnevenShards,
}

/// The shards of one namespace.
#[derive(Debug, Clone)]
pub struct Dispersal {
    /// The scheme.
    pub scheme: Scheme,
    /// The shards; to be changed where a namespace is to be encoded wrongly.
    pub shards: Vec<Vec<u8>>,
}

impl Dispersal {
    /// Disperses as every honest node does.
    #[must_use]
    pub fn new(scheme: Scheme, payload: &[u8], weight: usize) -> Self {
        let data_shards = threshold(weight);
        match scheme {
            Scheme::AvidM => Self { scheme, shards: avidm(payload, data_shards, weight) },
            Scheme::AvidmGf2 => {
                let length = (payload.len() + 1).div_ceil(data_shards).next_multiple_of(2);
                Self::of_data(padded(payload, data_shards * length), length, weight)
            }
        }
    }

    /// Disperses data by `AvidmGf2` as it is, with whatever padding it has.
    ///
    /// # Panics
    /// When it is not made of as many shards as suffice.
    #[must_use]
    pub fn of_data(data: Vec<u8>, length: usize, weight: usize) -> Self {
        let mut shards: Vec<Vec<u8>> = data.chunks(length).map(<[u8]>::to_vec).collect();
        assert_eq!((shards.len(), data.len() % length), (threshold(weight), 0));
        let parity = weight - shards.len();
        if parity > 0 {
            shards.extend(reed_solomon_simd::encode(shards.len(), parity, &shards).unwrap());
        }
        Self { scheme: Scheme::AvidmGf2, shards }
    }

    /// Disperses as a proposer does.
    ///
    /// # Panics
    /// When the scheme and the weight have no such fault.
    #[must_use]
    pub fn encoded(scheme: Scheme, payload: &[u8], weight: usize, encoding: Encoding) -> Self {
        let correct = Self::new(scheme, payload, weight);
        let data_shards = threshold(weight);
        let length = correct.shards[0].len();
        let of_data = |data, length| {
            assert_eq!(scheme, Scheme::AvidmGf2, "{encoding:?}");
            Self::of_data(data, length, weight)
        };
        match encoding {
            Encoding::Correct => correct,
            Encoding::AlteredParity => {
                assert!(weight > data_shards, "no parity at weight {weight}");
                let mut altered = correct;
                altered.shards[data_shards..].iter_mut().for_each(|shard| shard[0] ^= 0xff);
                altered
            }
            Encoding::WrongPadding => {
                let mut data = padded(payload, data_shards * length);
                data[payload.len()] = 2;
                of_data(data, length)
            }
            Encoding::ExcessPadding => {
                let length = length + 2;
                of_data(padded(payload, data_shards * length), length)
            }
            Encoding::UnevenShards => {
                let mut uneven = correct;
                uneven.shards[weight - 1].extend([0, 0]);
                uneven
            }
        }
    }

    fn values(&self) -> Vec<B256> {
        self.shards.iter().map(|shard| self.scheme.hash(shard)).collect()
    }

    /// The commitment to the namespace.
    #[must_use]
    pub fn commitment(&self) -> B256 {
        self.scheme.root(&self.values())
    }

    /// The shards at some positions with their paths to the commitment.
    #[must_use]
    pub fn share(&self, range: Range<usize>) -> Value {
        let values = self.values();
        let path = |at| tagged_base64("MERKLE_PROOF", &self.scheme.path(&values, at));
        json!({
            "range": {"start": range.start, "end": range.end},
            "payload": &self.shards[range.clone()],
            "mt_proofs": range.map(path).collect::<Vec<_>>(),
        })
    }
}

/// A payload, the byte that ends it, and zeros.
#[must_use]
pub fn padded(payload: &[u8], length: usize) -> Vec<u8> {
    let mut data = [payload, &[1]].concat();
    data.resize(length, 0);
    data
}

fn avidm(payload: &[u8], data_shards: usize, weight: usize) -> Vec<Vec<u8>> {
    let length = (payload.len() + 1).next_multiple_of(ELEMENT * data_shards);
    let elements: Vec<U256> =
        padded(payload, length).chunks(ELEMENT).map(U256::from_le_slice).collect();
    let polynomials = elements.chunks(data_shards);
    field::roots_of_unity(weight.next_power_of_two())
        .take(weight)
        .map(|point| {
            let mut shard = (polynomials.len() as u64).to_le_bytes().to_vec();
            for polynomial in polynomials.clone() {
                shard.extend(field::evaluate(polynomial, point).to_le_bytes::<32>());
            }
            shard
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{text::untagged_hash, vectors};

    fn scheme(tagged: &str) -> Scheme {
        if tagged.starts_with("AvidmGf2Commit~") { Scheme::AvidmGf2 } else { Scheme::AvidM }
    }

    fn commitment(tagged: &Value) -> (Scheme, B256) {
        let tagged = tagged.as_str().unwrap();
        (scheme(tagged), untagged_hash(tagged))
    }

    /// The namespaces that a table cuts a payload into.
    fn namespaces<'a>(payload: &'a [u8], table: &[u8]) -> Vec<&'a [u8]> {
        let ends = table[4..].as_chunks::<8>().0.iter().map(|entry| {
            let end: [u8; 4] = entry[4..].try_into().unwrap();
            u32::from_le_bytes(end) as usize
        });
        let mut begin = 0;
        ends.map(|end| &payload[std::mem::replace(&mut begin, end)..end]).collect()
    }

    #[test]
    fn commitments_of_the_reference_payload_agree_with_the_vectors() {
        let vectors = vectors::namespace();
        let reference = &vectors["reference_payload"];
        let payload = vectors::bytes(&reference["raw_payload"]);
        let table = vectors::bytes(&reference["ns_table"]);
        let cases = vectors["commitments_of_the_reference_payload"].as_array().unwrap();
        assert_eq!(cases.len(), 4);
        for case in cases {
            let weight = case["total_weights"].as_u64().unwrap() as usize;
            assert_eq!(threshold(weight) as u64, case["recovery_threshold"]);
            let (scheme, root) = commitment(&case["payload_commitment"]);
            let found: Vec<B256> = namespaces(&payload, &table)
                .into_iter()
                .map(|namespace| Dispersal::new(scheme, namespace, weight).commitment())
                .collect();
            let listed = case["ns_commits"].as_array().unwrap();
            let expected: Vec<_> = listed.iter().map(|listed| commitment(listed).1).collect();
            assert_eq!((&found, scheme.root(&found)), (&expected, root));
        }
    }

    /// What each published answer proves, made anew from its payload: commitment and path.
    #[test]
    fn proofs_agree_with_the_vectors() {
        let vectors = vectors::namespace();
        let mut whole = 0;
        for case in vectors["cases"].as_array().unwrap() {
            let (scheme, root) = commitment(&case["payload_commitment"]);
            let common = &case["vid_common"][scheme.variant()];
            let weights = [&common["param"], common];
            let weight = weights.iter().find_map(|at| at["total_weights"].as_u64()).unwrap();
            let proof = &case["answer"]["proof"][scheme.variant()];
            let payload = vectors::bytes(&proof["ns_payload"]);
            let index = proof["ns_index"].as_u64().unwrap() as usize;
            // One chain of the vectors has another threshold than the protocol's.
            if case["vid_common"].to_string().contains("\"recovery_threshold\":5") {
                continue;
            }
            let namespace = Dispersal::new(scheme, &payload, weight as usize).commitment();
            let commits = match common["ns_commits"].as_array() {
                Some(listed) => listed.iter().map(|listed| commitment(listed).1).collect(),
                None if case["ns_table"].as_str().unwrap().starts_with("AQ") => vec![namespace],
                None => continue,
            };
            assert_eq!(commits[index], namespace, "{}", case["name"]);
            assert_eq!(scheme.root(&commits), root, "{}", case["name"]);
            let path = tagged_base64("MERKLE_PROOF", &scheme.path(&commits, index));
            assert_eq!(path, proof["ns_proof"], "{}", case["name"]);
            whole += 1;
        }
        assert_eq!(whole, 7);
    }

    #[test]
    fn empty_blocks_agree_with_the_vectors() {
        let vectors = vectors::namespace();
        for (minor, expected) in vectors["empty_block_weight_1"].as_object().unwrap() {
            let minor = minor.strip_prefix("0.").unwrap().parse().unwrap();
            let scheme = Scheme::of_version(minor);
            let empty = Dispersal::new(scheme, &[], 1).commitment();
            assert_eq!((scheme, scheme.root(&[empty])), commitment(expected));
        }
    }
}
