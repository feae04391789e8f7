//! Dispersal by the values of polynomials over the scalar field of BN254.

use alloy_primitives::B256;
use ark_bn254::Fr;
use ark_ff::{BigInteger, PrimeField};
use ark_poly::{EvaluationDomain, Radix2EvaluationDomain};

use crate::merkle::Tree;

/// Bytes that always fit into a field element.
const ELEMENT: usize = 31;
/// Ends the payload; zeros follow.
const END: u8 = 1;

pub(crate) const TREE: Tree = Tree::KECCAK_3;

/// The commitment to a payload in `count` shares, of which `threshold` recover it. None for numbers
/// that the field does not have.
pub(crate) fn commit(payload: &[u8], count: usize, threshold: usize) -> Option<B256> {
    let domain = Radix2EvaluationDomain::<Fr>::new(count)?;
    let polynomial = ELEMENT * threshold;
    let number = (payload.len() + 1).div_ceil(polynomial.max(1)) as u64;
    // Each share is the number of polynomials, and the value of each.
    let mut shares = vec![number.to_le_bytes().to_vec(); count];
    for index in 0..number as usize {
        let rest = payload.get(index * polynomial..).unwrap_or_default();
        let part = rest.get(..polynomial).unwrap_or(rest);
        let mut padded = part.to_vec();
        if part.len() < polynomial {
            padded.push(END);
        }
        let coefficients: Vec<Fr> =
            padded.chunks(ELEMENT).map(Fr::from_le_bytes_mod_order).collect();
        for (share, value) in shares.iter_mut().zip(domain.fft(&coefficients)) {
            share.extend(value.into_bigint().to_bytes_le());
        }
    }
    Some(TREE.root(shares.iter().map(|share| TREE.value(share))))
}
