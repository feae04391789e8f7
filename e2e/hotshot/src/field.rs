//! The scalar field of BN254.

use alloy_primitives::{U256, uint};

/// Its order.
pub(crate) const ORDER: U256 =
    uint!(21888242871839275222246405745257275088548364400416034343698204186575808495617_U256);
/// Generates all elements but zero.
const GENERATOR: U256 = uint!(5_U256);

pub(crate) fn add(a: U256, b: U256) -> U256 {
    a.add_mod(b, ORDER)
}

pub(crate) fn mul(a: U256, b: U256) -> U256 {
    a.mul_mod(b, ORDER)
}

pub(crate) fn pow(base: U256, exponent: U256) -> U256 {
    base.pow_mod(exponent, ORDER)
}

/// The powers of a root of unity of that order, a power of two, from 1 on.
pub(crate) fn roots_of_unity(order: usize) -> impl Iterator<Item = U256> {
    let root = pow(GENERATOR, (ORDER - U256::ONE) / U256::from(order));
    std::iter::successors(Some(U256::ONE), move |power| Some(mul(*power, root)))
}

/// The value of a polynomial, whose coefficients begin with the constant one.
pub(crate) fn evaluate(coefficients: &[U256], point: U256) -> U256 {
    coefficients.iter().rfold(U256::ZERO, |sum, coefficient| add(mul(sum, point), *coefficient))
}
