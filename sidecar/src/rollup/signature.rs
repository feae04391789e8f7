//! Signatures as Go's and Ethereum's code makes them.

use alloy_primitives::{Address, B256};
use secp256k1::{
    Message, PublicKey,
    ecdsa::{RecoverableSignature, RecoveryId},
};

use super::Rejected;

/// Length of a signature: r (32), s (32), recovery id (1).
pub const SIGNATURE_LENGTH: usize = 65;

#[cfg(test)]
thread_local! {
    /// How many signatures the thread has recovered.
    pub(crate) static RECOVERIES: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Recovers the signer of a digest. As in Go, the recovery id is raw (27 and 28 are refused) and a
/// high s is accepted, so that one message may appear under two signatures.
///
/// # Errors
/// [`Rejected`] when the signature is too short or no key belongs to it.
pub fn recover(signature: &[u8], digest: B256) -> Result<Address, Rejected> {
    #[cfg(test)]
    RECOVERIES.set(RECOVERIES.get() + 1);
    let (id, compact) = signature.split_last().ok_or(Rejected::TooShort { length: 0 })?;
    let recovery_id =
        RecoveryId::try_from(i32::from(*id)).map_err(|_| Rejected::RecoveryId(*id))?;
    let key = RecoverableSignature::from_compact(compact, recovery_id)
        .and_then(|signature| signature.recover(Message::from_digest(digest.0)))
        .map_err(|_| Rejected::Unrecoverable)?;
    Ok(address(&key))
}

/// The address of a key: the last 20 bytes of keccak256 of the uncompressed key without its first
/// byte.
fn address(key: &PublicKey) -> Address {
    Address::from_raw_public_key(key.serialize_uncompressed().split_at(1).1)
}
