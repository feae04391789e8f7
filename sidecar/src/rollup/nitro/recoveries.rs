//! Signatures by known signers, so that none is recovered again for each of its copies: one
//! signature of the feed covers many.

use std::{collections::HashMap, sync::Arc};

use alloy_primitives::{Address, B256};
use parking_lot::Mutex;

use crate::rollup::{Rejected, SIGNATURE_LENGTH, recover};

/// How many are kept, and once more as many: as many as a payload has messages.
const KEPT: usize = super::MAX_MESSAGES;

/// A digest, and a signature over it.
type Key = (B256, [u8; SIGNATURE_LENGTH]);

/// The signers that were recovered last. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Recoveries(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    recent: HashMap<Key, Address>,
    /// What was kept before: it makes room for the recent ones.
    older: HashMap<Key, Address>,
}

impl Recoveries {
    /// The signer of a digest. It is kept if it `is_known`: what strangers post leaves nothing
    /// behind, and crowds nothing out.
    ///
    /// # Errors
    /// As [`recover`].
    pub(super) fn signer(
        &self,
        digest: B256,
        signature: &[u8],
        is_known: impl Fn(&Address) -> bool,
    ) -> Result<Address, Rejected> {
        let key = signature.try_into().ok().map(|signature| (digest, signature));
        let kept = key.and_then(|key| self.0.lock().get(&key));
        if let Some(signer) = kept {
            return Ok(signer);
        }
        let signer = recover(signature, digest)?;
        if let Some(key) = key.filter(|_| is_known(&signer)) {
            self.0.lock().insert(key, signer);
        }
        Ok(signer)
    }
}

impl Kept {
    fn get(&self, key: &Key) -> Option<Address> {
        self.recent.get(key).or_else(|| self.older.get(key)).copied()
    }

    fn insert(&mut self, key: Key, signer: Address) {
        if self.recent.len() >= KEPT {
            // Their room is used again: growing anew each time would leave holes in memory.
            std::mem::swap(&mut self.recent, &mut self.older);
            self.recent.clear();
        }
        self.recent.insert(key, signer);
    }
}
