//! Rescue over the scalar field of BN254, as the light client hashes a root.

use std::sync::LazyLock;

use alloy_primitives::{U256, uint};

/// State words, of which the last is never written to nor shown.
const WIDTH: usize = 4;
const RATE: usize = 3;
/// Each round raises every word to the power of 1/5, then to that of 5.
const ROUNDS: usize = 12;
/// Bytes that always fit into a field element.
const ELEMENT: usize = 31;

type State = [U256; WIDTH];
type Matrix = [State; WIDTH];

const MODULUS: U256 =
    uint!(0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001_U256);
const FIFTH: U256 = uint!(0x26b6a528b427b35493736af8679aad17535cb9d394945a0dcfe7f7a98ccccccd_U256);
const MIX: Matrix = [
    [
        uint!(0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593efffc2f8_U256),
        uint!(0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593efdace85_U256),
        uint!(0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593dd16ac1f_U256),
        uint!(0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f58aa128b6c5_U256),
    ],
    [
        uint!(0x0000000000000000000000000000000000000000000000000000000000004c2c_U256),
        uint!(0x00000000000000000000000000000000000000000000000000000000002e2dc7_U256),
        uint!(0x000000000000000000000000000000000000000000000000000000001774c89c_U256),
        uint!(0x0000000000000000000000000000000000000000000000000000000b8adfc3ee_U256),
    ],
    [
        uint!(0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593effff043_U256),
        uint!(0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593eff6b465_U256),
        uint!(0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593eb4d80ec_U256),
        uint!(0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f591a0dfb455_U256),
    ],
    [
        uint!(0x000000000000000000000000000000000000000000000000000000000000009c_U256),
        uint!(0x0000000000000000000000000000000000000000000000000000000000004f52_U256),
        uint!(0x0000000000000000000000000000000000000000000000000000000000270a5c_U256),
        uint!(0x000000000000000000000000000000000000000000000000000000001317d0fb_U256),
    ],
];
/// The first round key, and the affine map that leads from one injection to the next.
const FIRST_KEY: State = [
    uint!(0x204ef5195a249af9f0ecafa3e5d186d6318a5af08a0ceb9731351045082151d3_U256),
    uint!(0x00d525fbb687d48648b6a0ffbf1c9e97be39cff22d46aa165c3278a5dd953d6f_U256),
    uint!(0x10b1159c4fdead8c4e6ba55d1bc8338364a6c05eef88185f72da1f178b613ea4_U256),
    uint!(0x0823fa86ed409e6816795278dac56b0e475e16c412fb04ee260bb3b55db81736_U256),
];
const INJECTION_MATRIX: Matrix = [
    [
        uint!(0x117606d62daeae6d6a3f0e637a79c344a989488cdfd3ca89755563258aafb0a9_U256),
        uint!(0x1901c89ff6847817d8e8667976b66a033289ce565b6a5ba51d69ebc6da4f77c1_U256),
        uint!(0x2438d16b1f81f2b93d129361b193261392eb236ea2590928fd6bb3759cb08e47_U256),
        uint!(0x2aaf20b05555cce430e192c8c30e54ee810664c032a81c464073abec45e71b07_U256),
    ],
    [
        uint!(0x1ee43f726a85c5f8aa571bb990ea55d129f486154a1c918034d9808e27a4bbb3_U256),
        uint!(0x0836503dcfdb1e73d4e3cedbf588cb88616d98269e1c509208a8ae7a5593eea1_U256),
        uint!(0x0387d5da625580ebd37b5603c64c79a2b657d03523962458ec8d68b7050d5d1b_U256),
        uint!(0x03fd3bb2a98df15f7807015138f49e854ea51cb8b4a2fe1eb147751e614f5dfa_U256),
    ],
    [
        uint!(0x1a8654d20e751abd36c22f84550f614a0ebfc0b96a3ef7d595081e5c4f39c637_U256),
        uint!(0x076cafb06e64e9d500015d06331f0dd8831c007720c2288aab241c89ddbd00d6_U256),
        uint!(0x2e4960d685e5ed81666b3dfcfbcaabb1a2f29a86b44a008fc949638379003c12_U256),
        uint!(0x2b7b90c90534ab78aaf288d7e1a4764eda3b985cb9c8b3ecfc4c3326f060ed0e_U256),
    ],
    [
        uint!(0x1ea67e39f8315bebcb49345986cb4f2ace1fcd8523194900652f7d279323a34d_U256),
        uint!(0x2adb1999cc0e5da7a1cc772202ca53943544a8951957543b2e68711999ce16f8_U256),
        uint!(0x2ed6283492d6becc4faee1a287600c31102684b99a82f4f2cff120b3afb5a019_U256),
        uint!(0x262368b956c278f574cd78efff0773237f80ce1af2e5fc86a45fa1ef5f1599f1_U256),
    ],
];
const INJECTION: State = [
    uint!(0x20f747fcc3748df30c7af30e45cd6e52eaf14fe4b2f62562717dcc60d62e9efe_U256),
    uint!(0x16adac14a3e43f5f24cf77a45f67995f9d1b9865386518b3d21a786c4103299e_U256),
    uint!(0x00e2a67fc24bd3a24456b08705a6ec9b2565746d1f41550092553e0b5a4096c9_U256),
    uint!(0x2fe500ccb91d7af7e2534bad5715386c96e395212ce1f9d6cdfc0934537a7408_U256),
];

/// The key of every step: what the permutation makes of the constants.
static KEYS: LazyLock<Vec<State>> = LazyLock::new(|| {
    let mut injection = plus(times(&INJECTION_MATRIX, FIRST_KEY), INJECTION);
    let mut keys = vec![FIRST_KEY];
    let mut key = FIRST_KEY;
    for step in 0..2 * ROUNDS {
        key = plus(times(&MIX, power(key, step)), injection);
        injection = plus(times(&INJECTION_MATRIX, injection), INJECTION);
        keys.push(key);
    }
    keys
});

/// The hash of a few bytes, of which at most two elements are made.
pub(crate) fn hash(bytes: &[u8]) -> U256 {
    let elements = bytes.chunks(ELEMENT).map(U256::from_le_slice);
    // A one ends the input, and zeros fill it.
    let input = elements.chain([U256::ONE]).chain(std::iter::repeat(U256::ZERO)).take(RATE);
    let mut state = State::default();
    state.iter_mut().zip(input).for_each(|(word, element)| *word = element);
    let [first, ..] = permuted(state);
    first
}

fn permuted(state: State) -> State {
    let mut keys = KEYS.iter();
    let first = keys.next().copied().unwrap_or_default();
    keys.enumerate()
        .fold(plus(state, first), |state, (step, key)| plus(times(&MIX, power(state, step)), *key))
}

fn power(state: State, step: usize) -> State {
    let exponent = if step.is_multiple_of(2) { FIFTH } else { U256::from(5) };
    state.map(|word| word.pow_mod(exponent, MODULUS))
}

fn times(matrix: &Matrix, state: State) -> State {
    matrix.map(|row| {
        row.iter().zip(state).fold(U256::ZERO, |sum, (factor, word)| {
            sum.add_mod(factor.mul_mod(word, MODULUS), MODULUS)
        })
    })
}

fn plus(state: State, other: State) -> State {
    let mut sum = state;
    sum.iter_mut().zip(other).for_each(|(word, other)| *word = word.add_mod(other, MODULUS));
    sum
}

#[cfg(test)]
mod tests {
    use alloy_primitives::hex;
    use serde_json::Value;
    use sha2::{Digest, Sha256};

    use super::*;

    fn vectors() -> Value {
        let vectors: Value =
            serde_json::from_str(include_str!("../testdata/proofs_block_tree.json")).unwrap();
        vectors["rescue_bn254_scalar"].clone()
    }

    #[test]
    fn the_permutation_of_zero_is_the_published_one() {
        let expected = vectors()["permutation_of_zero"].clone();
        let words = permuted(State::default()).map(|word| word.to_string());
        assert_eq!(serde_json::json!(words), expected);
    }

    #[test]
    fn the_round_keys_are_the_published_ones() {
        let bytes: Vec<u8> =
            KEYS.iter().flatten().flat_map(|word| word.to_le_bytes::<32>()).collect();
        let expected = vectors()["round_keys_sha256_le32"].clone();
        assert_eq!(hex::encode(Sha256::digest(bytes)), expected.as_str().unwrap());
    }
}
