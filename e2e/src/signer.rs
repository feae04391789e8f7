//! Signers of payloads and of transactions, with keys that everybody knows.

use alloy_primitives::{Address, B256, Signature, U256, keccak256};
use secp256k1::{Message, SecretKey, ecdsa::RecoverableSignature};

/// The private keys of Anvil's first development accounts.
const DEVELOPMENT_KEYS: [&str; 4] = [
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
];

/// A private key.
#[derive(Debug, Clone, Copy)]
pub struct Signer {
    key: SecretKey,
}

impl Signer {
    /// The authorized batcher.
    #[must_use]
    pub fn batcher() -> Self {
        Self::development(0)
    }

    /// A signer without authority over batches; on L1, the account of op-batcher, on L2, of a user
    /// who comes late.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::development(1)
    }

    /// The batcher's next key; on L2, the account [`SENDER`](crate::accounts::SENDER).
    #[must_use]
    pub fn successor() -> Self {
        Self::development(2)
    }

    /// The key of the account [`CALLER`](crate::accounts::CALLER).
    #[must_use]
    pub fn caller() -> Self {
        Self::development(3)
    }

    /// The signer with this private key.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn new(key: &str) -> Self {
        let key: B256 = key.parse().unwrap();
        Self { key: SecretKey::from_secret_bytes(key.0).unwrap() }
    }

    fn development(index: usize) -> Self {
        Self::new(DEVELOPMENT_KEYS[index])
    }

    /// The private key in hex, without 0x.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{:x}", B256::from(self.key.to_secret_bytes()))
    }

    /// The signer's address.
    #[must_use]
    pub fn address(&self) -> Address {
        let public = self.key.public_key().serialize_uncompressed();
        Address::from_slice(&keccak256(&public[1..])[12..])
    }

    /// The signature of a hash.
    #[must_use]
    pub fn sign_hash(&self, hash: B256) -> Signature {
        let message = Message::from_digest(hash.0);
        let signature = RecoverableSignature::sign_ecdsa_recoverable(message, &self.key);
        let (recovery, bytes) = signature.serialize_compact();
        let word = |half: &[u8]| U256::from_be_slice(half);
        Signature::new(word(&bytes[..32]), word(&bytes[32..]), recovery.to_u8() == 1)
    }

    /// A batcher's payload: signature and body.
    #[must_use]
    pub fn sign(&self, body: &[u8]) -> Vec<u8> {
        [&self.sign_digest(keccak256(body))[..], body].concat()
    }

    /// The signature of a hash in bytes.
    #[must_use]
    pub fn sign_digest(&self, digest: B256) -> [u8; 65] {
        let signature = self.sign_hash(digest);
        let mut bytes = [0; 65];
        bytes[..32].copy_from_slice(&signature.r().to_be_bytes::<32>());
        bytes[32..64].copy_from_slice(&signature.s().to_be_bytes::<32>());
        bytes[64] = signature.v().into();
        bytes
    }
}

/// Who signed a hash.
///
/// # Panics
/// When nobody did.
#[must_use]
pub fn recover(signature: &Signature, hash: B256) -> Address {
    let (r, s) = (signature.r().to_be_bytes::<32>(), signature.s().to_be_bytes::<32>());
    let recovery = i32::from(signature.v()).try_into().unwrap();
    let signature = RecoverableSignature::from_compact(&[r, s].concat(), recovery).unwrap();
    let public = signature.recover(Message::from_digest(hash.0)).unwrap();
    Address::from_slice(&keccak256(&public.serialize_uncompressed()[1..])[12..])
}
