//! Dispersal by a Reed-Solomon code over GF(2^16), whose first shards are the data.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use reed_solomon_simd::rate::{DefaultRateDecoder, DefaultRateEncoder, RateDecoder, RateEncoder};

use crate::{erasure::Arithmetic, merkle::Tree};

/// Ends the payload; zeros follow.
const END: u8 = 1;

pub(crate) const TREE: Tree = Tree::BLAKE3_4;

/// The bytes that are coded at once, in all shards: a long payload is coded piece by piece.
const AT_ONCE: usize = 4 * 1024 * 1024;
/// The code works on so many bytes of each shard by themselves.
const CHUNK: usize = 64;

/// The commitment to a payload in `count` shards, of which `threshold` recover it. None for numbers
/// that the code does not have.
pub(crate) fn commit(payload: &[u8], count: usize, threshold: usize) -> Option<B256> {
    commit_by(payload, count, threshold, AT_ONCE)
}

/// The same, with so many bytes at once.
pub(crate) fn commit_by(
    payload: &[u8],
    count: usize,
    threshold: usize,
    at_once: usize,
) -> Option<B256> {
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
    let piece = piece(length, count, at_once);
    let arithmetic = Arithmetic::of(count);
    let encoder = DefaultRateEncoder::new(threshold, parity, piece, arithmetic, None);
    let mut encoder = encoder.ok()?;
    if piece == length {
        for shard in data() {
            encoder.add_original_shard(shard).ok()?;
        }
        let encoded = encoder.encode().ok()?;
        return Some(TREE.root(data().chain(encoded.recovery_iter()).map(value)));
    }
    let mut hashers = vec![blake3::Hasher::new(); parity];
    for begin in (0..length).step_by(piece) {
        let end = length.min(begin + piece);
        if end - begin < piece {
            encoder.reset(threshold, parity, end - begin).ok()?;
        }
        for shard in data() {
            encoder.add_original_shard(shard.get(begin..end)?).ok()?;
        }
        let encoded = encoder.encode().ok()?;
        hashers.iter_mut().zip(encoded.recovery_iter()).for_each(|(hasher, piece)| {
            hasher.update(piece);
        });
    }
    let recovery = hashers.iter().map(|hasher| B256::from(*hasher.finalize().as_bytes()));
    Some(TREE.root(data().map(value).chain(recovery)))
}

/// The bytes of each shard that are coded at once.
fn piece(length: usize, count: usize, at_once: usize) -> usize {
    (at_once / count.max(1) / CHUNK).max(1).saturating_mul(CHUNK).min(length)
}

/// The payload that shards of equal length, by position, decode to: as many as the threshold, of
/// `count`. None when no payload has such shards.
pub(crate) fn recover(shards: &BTreeMap<u32, &[u8]>, count: usize) -> Option<Vec<u8>> {
    recover_by(shards, count, AT_ONCE)
}

/// The same, with so many bytes at once.
pub(crate) fn recover_by(
    shards: &BTreeMap<u32, &[u8]>,
    count: usize,
    at_once: usize,
) -> Option<Vec<u8>> {
    let threshold = shards.len();
    let length = shards.values().next()?.len();
    if length == 0 || length % 2 == 1 || shards.values().any(|shard| shard.len() != length) {
        return None;
    }
    let (parity, arithmetic) = (count.checked_sub(threshold)?.max(1), Arithmetic::of(count));
    let piece = piece(length, count, at_once);
    let decoder = DefaultRateDecoder::new(threshold, parity, piece, arithmetic, None);
    let mut decoder = decoder.ok()?;
    let mut payload = vec![0; threshold * length];
    for begin in (0..length).step_by(piece) {
        let end = length.min(begin + piece);
        if end - begin < piece {
            decoder.reset(threshold, parity, end - begin).ok()?;
        }
        for (position, shard) in shards {
            let part = shard.get(begin..end)?;
            match (*position as usize).checked_sub(threshold) {
                None => decoder.add_original_shard(*position as usize, part).ok()?,
                Some(parity) => decoder.add_recovery_shard(parity, part).ok()?,
            }
        }
        let decoded = decoder.decode().ok()?;
        for (position, whole) in (0_u32..).zip(payload.chunks_exact_mut(length)) {
            let given = shards.get(&position).and_then(|shard| shard.get(begin..end));
            let part = given.or_else(|| decoded.restored_original(position as usize))?;
            whole.get_mut(begin..end)?.copy_from_slice(part);
        }
    }
    let end = payload.iter().rposition(|byte| *byte != 0)?;
    (payload.get(end) == Some(&END)).then(|| {
        payload.truncate(end);
        payload
    })
}
