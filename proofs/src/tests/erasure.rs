//! The arithmetic with the small table gives what that of the crate gives.

use proptest::prelude::*;
use reed_solomon_simd::{
    ReedSolomonEncoder,
    engine::DefaultEngine,
    rate::{DefaultRateDecoder, DefaultRateEncoder, RateDecoder, RateEncoder},
};

use super::encoder;
use crate::{
    avidm_gf2::{commit_by, recover_by},
    erasure::Arithmetic,
};

fn arithmetics(count: usize) -> [Arithmetic; 2] {
    [Arithmetic::of(count), Arithmetic::Default(DefaultEngine::new())]
}

/// Shards that are different everywhere.
fn shards(threshold: usize, length: usize, seed: usize) -> Vec<Vec<u8>> {
    let byte = |place: usize| (place.wrapping_mul(0x9e37_79b1) >> 11) as u8;
    let shard = |shard: usize| (0..length).map(|at| byte((shard * length + at) ^ seed)).collect();
    (0..threshold).map(shard).collect()
}

/// Encodes, loses as many shards as may be lost, and decodes.
fn agree(threshold: usize, parity: usize, length: usize, seed: usize) {
    let data = shards(threshold, length, seed);
    let mut encoder = ReedSolomonEncoder::new(threshold, parity, length).unwrap();
    data.iter().for_each(|shard| encoder.add_original_shard(shard).unwrap());
    let encoded = encoder.encode().unwrap();
    let expected: Vec<_> = encoded.recovery_iter().map(<[u8]>::to_vec).collect();
    let count = threshold + parity;
    for arithmetic in arithmetics(count) {
        let encoder = DefaultRateEncoder::new(threshold, parity, length, arithmetic, None);
        let mut encoder = encoder.unwrap();
        data.iter().for_each(|shard| encoder.add_original_shard(shard).unwrap());
        let encoded = encoder.encode().unwrap();
        assert!(encoded.recovery_iter().eq(&expected), "{threshold} of {count}, {length}");
    }
    let lost = threshold.min(parity);
    for arithmetic in arithmetics(count) {
        let decoder = DefaultRateDecoder::new(threshold, parity, length, arithmetic, None);
        let mut decoder = decoder.unwrap();
        for (index, shard) in data.iter().enumerate().skip(lost) {
            decoder.add_original_shard(index, shard).unwrap();
        }
        for (index, shard) in expected.iter().enumerate().skip(parity - lost) {
            decoder.add_recovery_shard(index, shard).unwrap();
        }
        let decoded = decoder.decode().unwrap();
        for (index, shard) in data.iter().enumerate().take(lost) {
            assert_eq!(decoded.restored_original(index), Some(&**shard), "{index} of {count}");
        }
    }
}

#[test]
fn every_size_of_committee_is_encoded_as_the_crate_does() {
    for count in (2..=40_usize).chain([63, 64, 65, 100, 255, 256, 257, 1_000, 1_001, 4_096]) {
        for threshold in [count.div_ceil(3), count / 2, 1, count - 1] {
            agree(threshold, count - threshold, 66, count);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn codes_of_any_form_agree(
        threshold in 1..600_usize,
        parity in 1..600_usize,
        length in (1..200_usize).prop_map(|half| 2 * half),
        seed in any::<usize>(),
    ) {
        agree(threshold, parity, length, seed);
    }
}

#[test]
fn a_payload_is_committed_to_alike_piece_by_piece() {
    for (count, threshold) in [(2, 1), (10, 4), (10, 9), (100, 34)] {
        for length in [0, 1, 63, 640, 5_000, 20_001] {
            let payload =
                shards(1, length.max(1), count).concat().split_off(length.max(1) - length);
            let whole = commit_by(&payload, count, threshold, usize::MAX);
            assert!(whole.is_some());
            for at_once in [0, 1_000, 10_000, 100_000] {
                let pieces = commit_by(&payload, count, threshold, at_once);
                assert_eq!(pieces, whole, "{length} bytes in {count}, {at_once} at once");
            }
        }
    }
}

#[test]
fn shards_are_decoded_alike_piece_by_piece() {
    for count in [1_usize, 2, 4, 10, 100] {
        let threshold = count.div_ceil(3);
        for length in [0, 1, 63, 640, 5_000, 20_001] {
            let payload = shards(1, length + 1, count).concat().split_off(1);
            let encoded = encoder::shards(&payload, count, encoder::honest);
            // The first ones, the last ones, and some of both.
            for lost in [0, count - threshold, threshold / 2] {
                let known = (0..).zip(&encoded).skip(lost).take(threshold);
                let known = known.map(|(position, shard)| (position, &**shard)).collect();
                for at_once in [0, 1_000, 10_000, usize::MAX] {
                    let decoded = recover_by(&known, count, at_once);
                    assert_eq!(decoded.as_ref(), Some(&payload), "{length} in {count}, {at_once}");
                }
            }
        }
    }
}
