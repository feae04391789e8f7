//! Dispersal by a Reed-Solomon code over GF(2^16), whose first shards are the data.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use reed_solomon_simd::rate::{DefaultRateDecoder, DefaultRateEncoder, RateDecoder, RateEncoder};

use crate::{erasure::Arithmetic, merkle::Tree};

/// Ends the payload; zeros follow.
const END: u8 = 1;

pub(crate) const TREE: Tree = Tree::BLAKE3_4;

/// The commitment to a payload in `count` shards, of which `threshold` recover it. None for numbers
/// that the code does not have.
pub(crate) fn commit(payload: &[u8], count: usize, threshold: usize) -> Option<B256> {
    let parity = count.checked_sub(threshold)?;
    let length = (payload.len() + 1).div_ceil(threshold.max(1)).next_multiple_of(2);
    // Only the shards with padding are copied.
    let full = payload.len() / length;
    let (whole, rest) = payload.split_at_checked(full * length)?;
    let mut padded = rest.to_vec();
    padded.push(END);
    padded.resize(threshold.checked_sub(full)? * length, 0);
    let data = || whole.chunks_exact(length).chain(padded.chunks_exact(length));
    let value = |shard: &[u8]| TREE.value(shard);
    if parity == 0 {
        return Some(TREE.root(data().map(value)));
    }
    let arithmetic = Arithmetic::of(count);
    let encoder = DefaultRateEncoder::new(threshold, parity, length, arithmetic, None);
    let mut encoder = encoder.ok()?;
    for shard in data() {
        encoder.add_original_shard(shard).ok()?;
    }
    let encoded = encoder.encode().ok()?;
    Some(TREE.root(data().chain(encoded.recovery_iter()).map(value)))
}

/// The payload that shards of equal length, by position, decode to: as many as the threshold, of
/// `count`. None when no payload has such shards.
pub(crate) fn recover(shards: &BTreeMap<u32, &[u8]>, count: usize) -> Option<Vec<u8>> {
    let threshold = shards.len();
    let length = shards.values().next()?.len();
    if length == 0 || length % 2 == 1 || shards.values().any(|shard| shard.len() != length) {
        return None;
    }
    let (parity, arithmetic) = (count.checked_sub(threshold)?.max(1), Arithmetic::of(count));
    let decoder = DefaultRateDecoder::new(threshold, parity, length, arithmetic, None);
    let mut decoder = decoder.ok()?;
    for (position, shard) in shards {
        match (*position as usize).checked_sub(threshold) {
            None => decoder.add_original_shard(*position as usize, shard).ok()?,
            Some(parity) => decoder.add_recovery_shard(parity, shard).ok()?,
        }
    }
    let decoded = decoder.decode().ok()?;
    let mut payload = Vec::with_capacity(threshold * length);
    for position in 0..threshold {
        let given = shards.get(&u32::try_from(position).ok()?).copied();
        payload.extend_from_slice(given.or_else(|| decoded.restored_original(position))?);
    }
    let end = payload.iter().rposition(|byte| *byte != 0)?;
    (payload.get(end) == Some(&END)).then(|| {
        payload.truncate(end);
        payload
    })
}
