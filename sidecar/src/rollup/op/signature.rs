//! The signer of a payload of the namespace.

use alloy_primitives::{Address, keccak256};
use secp256k1::{
    Message, PublicKey,
    ecdsa::{RecoverableSignature, RecoveryId},
};

use super::Signed;
use crate::rollup::Rejected;

/// Length of the signature before the signed body: r (32), s (32), recovery id (1).
pub const SIGNATURE_LENGTH: usize = 65;

/// Recovers the signer of `signature || body`, where the signature is over keccak256 of the body:
/// no prefix, no chain id, no domain. As in Go, the recovery id is raw (27 and 28 are refused) and
/// a high s is accepted, so that one batch may appear under two signatures.
///
/// # Errors
/// [`Rejected`] when the payload is too short or no key belongs to the signature.
pub fn recover_signer(payload: &[u8]) -> Result<Signed<'_>, Rejected> {
    let (signature, body) = payload
        .split_at_checked(SIGNATURE_LENGTH)
        .ok_or(Rejected::TooShort { length: payload.len() })?;
    let (id, compact) =
        signature.split_last().ok_or(Rejected::TooShort { length: payload.len() })?;
    let recovery_id =
        RecoveryId::try_from(i32::from(*id)).map_err(|_| Rejected::RecoveryId(*id))?;
    let key = RecoverableSignature::from_compact(compact, recovery_id)
        .and_then(|signature| signature.recover(Message::from_digest(keccak256(body).0)))
        .map_err(|_| Rejected::Unrecoverable)?;
    Ok(Signed { signer: address(&key), body })
}

/// The address of a key: the last 20 bytes of keccak256 of the uncompressed key without its first
/// byte.
fn address(key: &PublicKey) -> Address {
    Address::from_raw_public_key(key.serialize_uncompressed().split_at(1).1)
}
