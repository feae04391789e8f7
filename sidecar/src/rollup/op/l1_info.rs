//! The call data of the L1-info deposit, the first transaction of every OP-stack block.

use alloy_primitives::{B256, hex};
use thiserror::Error;

use crate::eth::BlockId;

/// Why call data is not an L1-info call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum L1InfoError {
    /// No known format has this selector and length. Each fork added one, so a new one may be
    /// missing here.
    #[error("L1 info of {length} bytes with selector 0x{selector} is of no known format")]
    UnknownFormat {
        /// Length of the call data, in bytes.
        length: usize,
        /// The first four bytes, in hex.
        selector: String,
    },
    /// A 64-bit word has bits above its 64.
    #[error("L1 info has a number above 64 bits")]
    Overflow,
}

/// Selector and length. L1 number and hash are at the same offsets in all.
const FORMATS: [([u8; 4], usize); 4] = [
    ([0x01, 0x5d, 0x8e, 0xb9], BEDROCK_LENGTH),
    ([0x44, 0x0a, 0x5e, 0x20], 164), // Ecotone
    ([0x09, 0x89, 0x99, 0xbe], 176), // Isthmus
    ([0x3d, 0xb6, 0xbe, 0x2b], 178), // Jovian
];
const BEDROCK_LENGTH: usize = 260;
const NUMBER_OFFSET: usize = 28;
const HASH_OFFSET: usize = 100;
/// Bedrock is ABI-encoded: the padding of its 64-bit numbers and its address must be zero.
const BEDROCK_PADDING: [(usize, usize); 4] = [(4, 24), (36, 24), (132, 24), (164, 12)];

/// Reads the L1 origin from call data of any known format.
///
/// # Errors
/// [`L1InfoError`] if selector and length belong to no known format, or a number is too large.
pub fn decode_l1_origin(data: &[u8]) -> Result<BlockId, L1InfoError> {
    let unknown = || L1InfoError::UnknownFormat {
        length: data.len(),
        selector: hex::encode(data.iter().take(4).copied().collect::<Vec<u8>>()),
    };
    let (_, length) = FORMATS
        .into_iter()
        .find(|(selector, length)| data.starts_with(selector) && data.len() == *length)
        .ok_or_else(unknown)?;
    if length == BEDROCK_LENGTH {
        for (start, count) in BEDROCK_PADDING {
            if data.iter().skip(start).take(count).any(|byte| *byte != 0) {
                return Err(L1InfoError::Overflow);
            }
        }
    }
    let number = word(data, NUMBER_OFFSET).map(u64::from_be_bytes).ok_or_else(unknown)?;
    let hash = word(data, HASH_OFFSET).map(B256::new).ok_or_else(unknown)?;
    Ok(BlockId { number, hash })
}

fn word<const N: usize>(data: &[u8], offset: usize) -> Option<[u8; N]> {
    data.get(offset..)?.first_chunk::<N>().copied()
}
