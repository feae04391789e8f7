//! The Rescue hash over the scalar field of BN254, by which the light client contract on L1 knows a
//! block tree.

use std::sync::LazyLock;

use alloy_primitives::{B256, U256};
use serde_json::Value;

use crate::field::{add, mul, pow};

const WIDTH: usize = 4;
const RATE: usize = 3;
const STEPS: usize = 24;
/// The bytes that become one field element.
const CHUNK: usize = 31;

type State = [U256; WIDTH];
type Matrix = [State; WIDTH];

/// A decimal number, perhaps in quotes.
fn number(text: &Value) -> U256 {
    text.to_string().trim_matches('"').parse().unwrap()
}

struct Constants {
    alpha: U256,
    alpha_inverse: U256,
    mds: Matrix,
    round_keys: Vec<State>,
}

static CONSTANTS: LazyLock<Constants> = LazyLock::new(|| {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../proofs/testdata/proofs_block_tree.json"))
            .unwrap();
    let constants = &vectors["rescue_bn254_scalar"];
    let state = |value: &Value| -> State { std::array::from_fn(|at| number(&value[at])) };
    let matrix = |name: &str| -> Matrix { std::array::from_fn(|at| state(&constants[name][at])) };
    let (alpha, alpha_inverse) = (number(&constants["alpha"]), number(&constants["alpha_inverse"]));
    let mds = matrix("mds");

    // The keys are the states of a permutation without keys, to which constants are added.
    let step = matrix("constants_matrix");
    let added = state(&constants["constants_constant"]);
    let mut key = state(&constants["initial_constant"]);
    let mut injected = key;
    let mut round_keys = vec![key];
    for round in 0..STEPS {
        let exponent = if round % 2 == 0 { alpha_inverse } else { alpha };
        injected = sum(product(&step, injected), added);
        key = sum(product(&mds, key.map(|word| pow(word, exponent))), injected);
        round_keys.push(key);
    }
    Constants { alpha, alpha_inverse, mds, round_keys }
});

fn sum(a: State, b: State) -> State {
    std::array::from_fn(|at| add(a[at], b[at]))
}

fn product(matrix: &Matrix, state: State) -> State {
    matrix.map(|row| row.into_iter().zip(state).fold(U256::ZERO, |sum, (a, b)| add(sum, mul(a, b))))
}

fn permute(state: State) -> State {
    let Constants { alpha, alpha_inverse, mds, round_keys } = &*CONSTANTS;
    let (first, rest) = round_keys.split_first().unwrap();
    rest.iter().enumerate().fold(sum(state, *first), |state, (round, key)| {
        let exponent = if round % 2 == 0 { alpha_inverse } else { alpha };
        sum(product(mds, state.map(|word| pow(word, *exponent))), *key)
    })
}

/// The hash of up to 61 bytes, as a word on L1.
///
/// # Panics
/// When there are more.
#[must_use]
pub fn hash(bytes: &[u8]) -> B256 {
    let chunks = bytes.chunks(CHUNK).map(U256::from_le_slice);
    let mut state = [U256::ZERO; WIDTH];
    let mut words = chunks.chain([U256::ONE]);
    state[..RATE].fill_with(|| words.next().unwrap_or_default());
    assert_eq!(words.next(), None, "more than one permutation");
    permute(state)[0].into()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::{text::untagged, vectors};

    #[test]
    fn permutation_and_keys_agree_with_the_vectors() {
        let vectors = vectors::block_tree();
        let expected = &vectors["rescue_bn254_scalar"];
        let zero = permute([U256::ZERO; WIDTH]);
        assert_eq!(
            zero.as_slice(),
            expected["permutation_of_zero"]
                .as_array()
                .unwrap()
                .iter()
                .map(number)
                .collect::<Vec<_>>()
        );
        let keys = CONSTANTS.round_keys.as_flattened().iter();
        let keys: Vec<u8> = keys.flat_map(|key| key.to_le_bytes::<32>()).collect();
        let digest = alloy_primitives::hex::encode(Sha256::digest(&keys));
        assert_eq!(digest, expected["round_keys_sha256_le32"]);
    }

    #[test]
    fn roots_have_the_hashes_of_the_vectors() {
        let vectors = vectors::block_tree();
        let recorded = &vectors["recorded_0_5_chain"][5]["block_merkle_tree_root"];
        let devnet = &vectors["devnet_proof"];
        for (root, expected) in [
            (recorded, &vectors["light_client_state_height_5"]["block_comm_root"]),
            (&devnet["block_merkle_tree_root"], &devnet["light_client_root"]),
        ] {
            let hash = hash(&untagged(root.as_str().unwrap()));
            assert_eq!(hash, B256::from(number(expected)));
        }
    }
}
