//! Makes blocks: payloads, commitments, paths, and answers as services give them.

use alloy_primitives::B256;
use base64::{Engine, engine::general_purpose::STANDARD};
use reed_solomon_simd::ReedSolomonEncoder;
use serde_json::{Value, json};

use crate::{Answer, Header, TaggedBase64};

const ARITY: usize = 4;

/// A header of a version (0.5, 0.6) with this table and payload commitment.
pub(super) fn header_json(minor: u64, table: &Value, payload_commitment: &Value) -> Value {
    let vectors: Value =
        serde_json::from_str(include_str!("../../testdata/proofs_v7.json")).unwrap();
    let mut header = vectors["headers"]["base"].clone();
    header["version"]["Version"]["minor"] = minor.into();
    header["fields"]["ns_table"]["bytes"] = table.clone();
    header["fields"]["payload_commitment"] = payload_commitment.clone();
    header
}

pub(super) fn header(json: &Value) -> Header {
    Header::read(json.to_string().as_bytes()).unwrap()
}

/// The bytes of a namespace with these transactions.
pub(super) fn payload(transactions: &[&[u8]]) -> Vec<u8> {
    let mut end = 0;
    let ends = transactions.iter().map(|transaction| {
        end += transaction.len() as u32;
        end
    });
    let numbers: Vec<u32> = std::iter::once(transactions.len() as u32).chain(ends).collect();
    numbers.into_iter().flat_map(u32::to_le_bytes).chain(transactions.concat()).collect()
}

/// The table of namespaces with these ids and lengths.
pub(super) fn table(namespaces: &[(u32, usize)]) -> Value {
    let mut end = 0;
    let entries = namespaces.iter().flat_map(|(id, length)| {
        end += *length as u32;
        [*id, end]
    });
    let numbers: Vec<u32> = std::iter::once(namespaces.len() as u32).chain(entries).collect();
    json!(STANDARD.encode(numbers.into_iter().flat_map(u32::to_le_bytes).collect::<Vec<_>>()))
}

pub(super) fn tagged(tag: &str, value: &[u8]) -> Value {
    json!(TaggedBase64 { tag: tag.into(), value: value.to_vec() }.to_string())
}

fn hash(bytes: &[u8]) -> B256 {
    B256::from(*blake3::hash(bytes).as_bytes())
}

/// All levels of the tree over values, from the leaves up, filled with zeros.
fn levels(values: &[B256]) -> Vec<Vec<B256>> {
    let leaf = |(at, value): (u64, &B256)| {
        hash(&[&b"1"[..], &at.to_le_bytes(), value.as_slice()].concat())
    };
    let mut level: Vec<B256> = (0..).zip(values).map(leaf).collect();
    let mut levels = Vec::new();
    while level.len() > 1 {
        level.resize(level.len().next_multiple_of(ARITY), B256::ZERO);
        let node = |of: &[B256]| {
            hash(&of.iter().fold(b"0".to_vec(), |bytes, child| [&bytes, &child[..]].concat()))
        };
        let above = level.chunks(ARITY).map(node).collect();
        levels.push(std::mem::replace(&mut level, above));
    }
    levels.push(level);
    levels
}

fn root(values: &[B256]) -> B256 {
    levels(values).last().unwrap()[0]
}

pub(super) fn path(values: &[B256], position: usize) -> Value {
    path_in(&levels(values), position)
}

fn path_in(levels: &[Vec<B256>], mut at: usize) -> Value {
    let below = &levels[..levels.len() - 1];
    let mut bytes = (below.len() as u64).to_le_bytes().to_vec();
    for level in below {
        bytes.extend((ARITY as u64 - 1).to_le_bytes());
        let group = at / ARITY * ARITY;
        for sibling in (group..group + ARITY).filter(|sibling| *sibling != at) {
            bytes.extend(level[sibling]);
        }
        at /= ARITY;
    }
    tagged("MERKLE_PROOF", &bytes)
}

/// The shards of a payload, padded by `pad`, in a committee.
pub(super) fn shards(
    payload: &[u8],
    committee: usize,
    pad: impl Fn(&mut Vec<u8>, usize),
) -> Vec<Vec<u8>> {
    let threshold = committee.div_ceil(3);
    let mut data = payload.to_vec();
    pad(&mut data, threshold);
    let length = data.len() / threshold;
    let mut shards: Vec<Vec<u8>> = data.chunks(length).map(<[u8]>::to_vec).collect();
    if committee > threshold {
        let mut encoder =
            ReedSolomonEncoder::new(threshold, committee - threshold, length).unwrap();
        shards.iter().for_each(|shard| encoder.add_original_shard(shard).unwrap());
        shards.extend(encoder.encode().unwrap().recovery_iter().map(<[u8]>::to_vec));
    }
    shards
}

/// The padding of an honest disperser.
pub(super) fn honest(data: &mut Vec<u8>, threshold: usize) {
    data.push(1);
    let length = data.len().div_ceil(threshold).next_multiple_of(2);
    data.resize(length * threshold, 0);
}

pub(super) fn values(shards: &[Vec<u8>]) -> Vec<B256> {
    shards.iter().map(|shard| hash(shard)).collect()
}

/// A namespace that is dispersed somehow.
pub(super) struct Dispersed {
    pub(super) id: u32,
    pub(super) payload: Vec<u8>,
    pub(super) shards: Vec<Vec<u8>>,
}

impl Dispersed {
    pub(super) fn honest(id: u32, payload: Vec<u8>, committee: usize) -> Self {
        Self { id, shards: shards(&payload, committee, honest), payload }
    }

    pub(super) fn commitment(&self) -> B256 {
        root(&values(&self.shards))
    }
}

/// A block of version 0.6 with these namespaces.
pub(super) struct Block {
    pub(super) namespaces: Vec<Dispersed>,
}

impl Block {
    fn commitments(&self) -> Vec<B256> {
        self.namespaces.iter().map(Dispersed::commitment).collect()
    }

    pub(super) fn header(&self) -> Header {
        self.header_at(42)
    }

    pub(super) fn header_at(&self, height: u64) -> Header {
        header(&self.header_json(height))
    }

    pub(super) fn header_json(&self, height: u64) -> Value {
        let lengths: Vec<_> = self.namespaces.iter().map(|it| (it.id, it.payload.len())).collect();
        let root = root(&self.commitments());
        let mut json = header_json(6, &table(&lengths), &tagged("AvidmGf2Commit", root.as_slice()));
        json["fields"]["height"] = height.into();
        json
    }

    /// An ordinary answer.
    pub(super) fn opening(&self, index: usize) -> Value {
        json!({"proof": {"V2": {
            "ns_index": index,
            "ns_payload": STANDARD.encode(&self.namespaces[index].payload),
            "ns_proof": path(&self.commitments(), index),
        }}, "transactions": []})
    }

    /// An answer that claims wrong encoding, by the shards at these positions, in ranges.
    pub(super) fn claim(&self, index: usize, ranges: &[std::ops::Range<usize>]) -> Value {
        let namespace = &self.namespaces[index];
        let levels = levels(&values(&namespace.shards));
        let shares = ranges.iter().map(|range| {
            json!({
                "range": {"start": range.start, "end": range.end},
                "payload": namespace.shards[range.clone()],
                "mt_proofs":
                    range.clone().map(|position| path_in(&levels, position)).collect::<Vec<_>>(),
            })
        });
        json!({"proof": {"V2IncorrectEncoding": {
            "ns_index": index,
            "ns_commit": tagged("AvidmGf2Commit", namespace.commitment().as_slice()),
            "ns_mt_proof": path(&self.commitments(), index),
            "ns_proof": {"shares": shares.collect::<Vec<_>>()},
        }}, "transactions": []})
    }
}

pub(super) fn answer(json: &Value) -> Answer {
    Answer::read(json.to_string().as_bytes()).unwrap()
}
