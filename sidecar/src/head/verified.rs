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
pub(super) struct Path(Arc<Mutex<Steps>>);

#[derive(Debug, Default)]
struct Steps {
    hashes: BTreeMap<u64, B256>,
    /// The node was not asked for the blocks up to here since the start, or since it was behind.
    unseen: Option<u64>,
}

impl Path {
    /// The stored block, where it begins.
    pub(super) fn begin(&self, block: HeadBlock) {
        self.arrive(block);
        self.forget_seen();
    }

    /// What the node has shown so far says nothing of what it has now.
    pub(super) fn forget_seen(&self) {
        let mut steps = self.0.lock();
        let last = steps.hashes.last_key_value().map(|(last, _)| *last);
        steps.unseen = steps.unseen.max(last);
    }

    /// A block that follows the one before it.
    pub(super) fn step(&self, number: u64, hash: B256) {
        let hashes = &mut self.0.lock().hashes;
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
        let hashes = &mut self.0.lock().hashes;
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
        let hashes = &self.0.lock().hashes;
        let passes = block.hash.is_some() && hashes.get(&block.number).copied() == block.hash;
        hashes.get(&number).copied().filter(|_| passes && number <= block.number)
    }

    /// Whether the node has shown this block, and was not behind since.
    pub(super) fn has_seen(&self, number: u64, hash: B256) -> bool {
        let steps = self.0.lock();
        let is_new = steps.unseen.is_none_or(|unseen| number > unseen);
        is_new && steps.hashes.get(&number) == Some(&hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(fork: u8, number: u64) -> B256 {
        let mut bytes = [fork; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        bytes.into()
    }

    fn block(fork: u8, number: u64) -> HeadBlock {
        HeadBlock { number, hash: Some(hash(fork, number)), l1_origin: None }
    }

    /// From a stored block 5 to block 8.
    fn path() -> Path {
        let path = Path::default();
        path.begin(block(0, 5));
        for number in 6..=8 {
            path.step(number, hash(0, number));
        }
        path
    }

    #[test]
    fn a_path_leads_from_the_stored_block_to_those_that_were_verified_since() {
        let path = path();
        for number in 5..=8 {
            assert_eq!(path.below(block(0, 8), number), Some(hash(0, number)));
            assert_eq!(path.has_seen(number, hash(0, number)), number > 5);
        }
        assert_eq!(path.below(block(0, 8), 4), None);
        assert_eq!(path.below(block(0, 7), 8), None, "it is not below");
        assert_eq!(path.below(block(1, 8), 7), None, "another branch");
        let unknown = HeadBlock { hash: None, ..block(0, 9) };
        assert_eq!(path.below(unknown, 7), None);
        path.step(10, hash(0, 10));
        assert_eq!(path.below(block(0, 10), 8), None, "there is a gap");
    }

    #[test]
    fn what_ethereum_has_decided_against_was_not_seen() {
        let path = path();
        path.arrive(block(0, 8));
        assert_eq!(path.below(block(0, 8), 5), Some(hash(0, 5)), "it leads there");
        path.arrive(block(1, 8));
        assert!(!path.has_seen(8, hash(0, 8)));
        assert_eq!(path.below(block(0, 8), 7), None);
        assert_eq!(path.below(block(1, 8), 7), None);
        path.step(9, hash(1, 9));
        assert_eq!(path.below(block(1, 9), 8), Some(hash(1, 8)));
    }
}
