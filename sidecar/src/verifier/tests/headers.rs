//! The headers of the world's HotShot blocks, each made once.

use std::{collections::BTreeMap, ops::Range};

use alloy_primitives::{B256, U256, keccak256};
use espresso_proofs::{Chain, Link, Version};

/// A HotShot block: its payloads.
pub(super) type HotshotBlock = Vec<Vec<u8>>;

/// The chain before each of so many blocks is kept.
const EVERY: usize = 256;

/// What was made of the blocks that were seen last.
#[derive(Default)]
pub(super) struct HeadersMade {
    blocks: Vec<HotshotBlock>,
    commitments: Vec<B256>,
    chains: Vec<Chain>,
    /// What the light client keeps of a root, which takes long to compute.
    roots: BTreeMap<B256, U256>,
}

impl HeadersMade {
    /// The chain below a height.
    pub(super) fn chain(&mut self, blocks: &[HotshotBlock], height: u64) -> Chain {
        let height = blocks.len().min(height as usize);
        self.reach(&blocks[..height]);
        self.chain_below(height)
    }

    /// The light client's root below a height.
    pub(super) fn light_client_root(&mut self, blocks: &[HotshotBlock], height: u64) -> U256 {
        let root = self.chain(blocks, height).tree().root();
        *self.roots.entry(root.hash).or_insert_with(|| root.light_client_root())
    }

    /// What the headers of a range of the blocks say of their place in the chain.
    pub(super) fn links(&mut self, blocks: &[HotshotBlock], range: Range<usize>) -> Vec<Link> {
        self.reach(&blocks[..range.end]);
        let mut chain = self.chain_below(range.start);
        let link = |commitment: &B256| {
            let (height, root) = (chain.height(), chain.tree().root());
            chain.append(*commitment);
            let version = Version { major: 0, minor: 6 };
            Link { height, version, commitment: *commitment, root: Some(root) }
        };
        self.commitments[range].iter().map(link).collect()
    }

    fn chain_below(&self, height: usize) -> Chain {
        let mut chain = self.chains.get(height / EVERY).cloned().unwrap_or_default();
        let rest = &self.commitments[chain.height() as usize..height];
        rest.iter().for_each(|commitment| chain.append(*commitment));
        chain
    }

    fn reach(&mut self, blocks: &[HotshotBlock]) {
        let same = self.blocks.iter().zip(blocks).take_while(|(made, block)| made == block);
        let same = same.count();
        if same == blocks.len() {
            return;
        }
        self.blocks.truncate(same);
        self.commitments.truncate(same);
        self.chains.truncate(same / EVERY + 1);
        let mut chain = self.chain_below(same);
        for block in &blocks[same..] {
            let before = chain.last().unwrap_or_default();
            let commitment = keccak256([before.as_slice(), &block.concat()].concat());
            self.blocks.push(block.clone());
            self.commitments.push(commitment);
            if self.chains.is_empty() {
                self.chains.push(Chain::new());
            }
            chain.append(commitment);
            if self.blocks.len().is_multiple_of(EVERY) {
                self.chains.push(chain.clone());
            }
        }
    }
}
