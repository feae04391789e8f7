//! The first deposit of every L2 block: L1's attributes, in each format that rollups use.

use alloy_primitives::{B256, Bytes, keccak256};

use crate::l1::L1Block;

/// Who sends the info deposit.
pub const DEPOSITOR: &str = "0xdeaddeaddeaddeaddeaddeaddeaddeaddead0001";
/// Who receives it.
pub const L1_BLOCK_CONTRACT: &str = "0x4200000000000000000000000000000000000015";

const BEDROCK: [u8; 4] = [0x01, 0x5d, 0x8e, 0xb9];
const BASE_FEE: u64 = 27;
const BLOB_BASE_FEE: u64 = 1;

/// The formats of the calldata, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum L1InfoFormat {
    /// ABI words.
    Bedrock,
    /// Packed.
    Ecotone,
    /// Packed, with the operator fee.
    Isthmus,
    /// Packed, with the operator fee and the footprint scalar.
    #[default]
    Jovian,
}

impl L1InfoFormat {
    /// The calldata for a block whose origin is `origin`, the `sequence_number`th one with it.
    #[must_use]
    pub fn calldata(self, origin: &L1Block, sequence_number: u64) -> Vec<u8> {
        let mut data = Vec::new();
        if self == Self::Bedrock {
            data.extend(BEDROCK);
            for number in [origin.number, origin.timestamp, BASE_FEE] {
                data.extend(word(number));
            }
            data.extend(origin.hash.as_slice());
            data.extend(word(sequence_number));
            // Batcher, overhead and scalar: the devnet charges no L1 fees.
            data.extend([0; 96]);
            return data;
        }
        data.extend(match self {
            Self::Bedrock | Self::Ecotone => [0x44, 0x0a, 0x5e, 0x20],
            Self::Isthmus => [0x09, 0x89, 0x99, 0xbe],
            Self::Jovian => [0x3d, 0xb6, 0xbe, 0x2b],
        });
        // The two fee scalars.
        data.extend([0; 8]);
        for number in [sequence_number, origin.timestamp, origin.number] {
            data.extend(number.to_be_bytes());
        }
        data.extend(word(BASE_FEE));
        data.extend(word(BLOB_BASE_FEE));
        data.extend(origin.hash.as_slice());
        // The batcher, and whatever newer formats append.
        data.extend([0; 32]);
        let more = match self {
            Self::Bedrock | Self::Ecotone => 0,
            Self::Isthmus => 12,
            Self::Jovian => 14,
        };
        data.resize(data.len() + more, 0);
        data
    }
}

/// How many blocks with the same origin came before, by the calldata of any format, in hex.
///
/// # Panics
/// When it is no such calldata.
#[must_use]
pub fn sequence_number(calldata: &str) -> u64 {
    let bytes: Bytes = calldata.parse().unwrap();
    let place = if bytes.starts_with(&BEDROCK) { 156..164 } else { 12..20 };
    u64::from_be_bytes(bytes[place].try_into().unwrap())
}

fn word(number: u64) -> [u8; 32] {
    let mut word = [0; 32];
    word[24..].copy_from_slice(&number.to_be_bytes());
    word
}

/// The source hash of the info deposit.
#[must_use]
pub fn info_source_hash(origin: &L1Block, sequence_number: u64) -> B256 {
    source_hash(1, origin, sequence_number)
}

/// The source hash of the user deposit with that log index in the origin.
#[must_use]
pub fn user_source_hash(origin: &L1Block, log_index: u64) -> B256 {
    source_hash(0, origin, log_index)
}

fn source_hash(domain: u64, origin: &L1Block, index: u64) -> B256 {
    let inner = keccak256([origin.hash.0, word(index)].concat());
    keccak256([word(domain), inner.0].concat())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn layout_agrees_with_the_vectors() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../sidecar/testdata/l1_info_calldata.json"))
                .unwrap();
        for case in vectors["cases"].as_array().unwrap() {
            let format = match case["format"].as_str().unwrap() {
                "bedrock" => L1InfoFormat::Bedrock,
                "ecotone" => L1InfoFormat::Ecotone,
                "isthmus" => L1InfoFormat::Isthmus,
                "jovian" => L1InfoFormat::Jovian,
                other => panic!("unknown format {other}"),
            };
            let origin = L1Block {
                number: case["number"].as_u64().unwrap(),
                hash: crate::client::hash(&case["block_hash"]),
                parent_hash: B256::ZERO,
                timestamp: case["time"].as_u64().unwrap(),
            };
            let expected: Bytes = case["calldata"].as_str().unwrap().parse().unwrap();
            let got = format.calldata(&origin, case["sequence_number"].as_u64().unwrap());
            assert_eq!(got.len(), expected.len(), "{format:?}");
            assert_eq!(got[..4], expected[..4], "{format:?}");
            // Number and hash have the same place in all formats.
            assert_eq!(got[28..36], expected[28..36], "{format:?}");
            assert_eq!(got[100..132], expected[100..132], "{format:?}");
            let (time, sequence) = match format {
                L1InfoFormat::Bedrock => (60..68, 156..164),
                _ => (20..28, 12..20),
            };
            assert_eq!(got[time.clone()], expected[time], "{format:?}");
            assert_eq!(got[sequence.clone()], expected[sequence], "{format:?}");
            let sequence_number = sequence_number(case["calldata"].as_str().unwrap());
            assert_eq!(sequence_number, case["sequence_number"].as_u64().unwrap(), "{format:?}");
        }
    }

    #[test]
    fn source_hash_agrees_with_the_vectors() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../sidecar/testdata/op_batches.json")).unwrap();
        for case in vectors["cases"].as_array().unwrap() {
            let origin = L1Block {
                number: case["epoch_number"].as_u64().unwrap(),
                hash: crate::client::hash(&case["epoch_hash"]),
                parent_hash: B256::ZERO,
                timestamp: 0,
            };
            let sequence_number = case["sequence_number"].as_u64().unwrap();
            assert_eq!(
                info_source_hash(&origin, sequence_number),
                crate::client::hash(&case["rpc_block"]["transactions"][0]["sourceHash"]),
            );
        }
    }
}
