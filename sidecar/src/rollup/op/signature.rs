//! The signer of a payload of the namespace.

use alloy_primitives::keccak256;

use super::Signed;
use crate::rollup::{Rejected, SIGNATURE_LENGTH, recover};

/// Recovers the signer of `signature || body`, where the signature is over keccak256 of the body:
/// no prefix, no chain id, no domain.
///
/// # Errors
/// [`Rejected`] when the payload is too short or no key belongs to the signature.
pub fn recover_signer(payload: &[u8]) -> Result<Signed<'_>, Rejected> {
    let (signature, body) = payload
        .split_at_checked(SIGNATURE_LENGTH)
        .ok_or(Rejected::TooShort { length: payload.len() })?;
    Ok(Signed { signer: recover(signature, keccak256(body))?, body })
}
