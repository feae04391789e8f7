//! What this replica has verified by itself, as the task that publishes sees it.

use std::{collections::BTreeMap, sync::Arc};

use alloy_primitives::B256;
use finality_core::head::Source;
use parking_lot::Mutex;

use super::HeadBlock;
use crate::store::Identity;

/// Hashes that are kept: as many blocks as a head may be behind the verified one and still be
/// recognized without the node.
const KEPT: usize = 4096;

/// What this replica has verified by itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Verified {
    /// The chain, once it is known.
    pub(super) identity: Option<Identity>,
    /// The newest verified block, which is in the state file.
    pub(super) block: Option<(HeadBlock, Source)>,
    /// The newest block that Ethereum has finalized, as the node was admitted to say.
    pub(super) finalized: Option<HeadBlock>,
    /// How it came to the newest block.
    pub(super) path: Path,
}

/// The hashes of verified blocks without a gap, each the parent of the next.
#[derive(Debug, Clone, Default)]
pub(super) struct Path(Arc<Mutex<BTreeMap<u64, B256>>>);

impl Path {
    /// A block that follows the one before it.
    pub(super) fn step(&self, number: u64, hash: B256) {
        let mut hashes = self.0.lock();
        hashes.split_off(&number);
        let last = hashes.last_key_value().map(|(last, _)| last.saturating_add(1));
        if last != Some(number) {
            hashes.clear();
        }
        hashes.insert(number, hash);
        while hashes.len() > KEPT {
            hashes.pop_first();
        }
    }

    /// The path is at this block. If it does not lead there, it begins there.
    pub(super) fn arrive(&self, block: HeadBlock) {
        let mut hashes = self.0.lock();
        if hashes.get(&block.number).copied() != block.hash {
            hashes.clear();
            hashes.extend(block.hash.map(|hash| (block.number, hash)));
        }
        if let Some(above) = block.number.checked_add(1) {
            hashes.split_off(&above);
        }
    }

    /// The hash at a number on the way to a block, if the path passes both now: it is another one
    /// as soon as Ethereum has decided otherwise.
    pub(super) fn below(&self, block: HeadBlock, number: u64) -> Option<B256> {
        let hashes = self.0.lock();
        let passes = block.hash.is_some() && hashes.get(&block.number).copied() == block.hash;
        hashes.get(&number).copied().filter(|_| passes && number <= block.number)
    }

    /// The hash at a number, if the path passes it.
    pub(super) fn hash_at(&self, number: u64) -> Option<B256> {
        self.0.lock().get(&number).copied()
    }
}
