//! A chain of blocks.

use std::sync::Arc;

use crate::{
    block::{Block, Circumstances, Namespace},
    block_tree::BlockTree,
    header,
};

/// The blocks from genesis on, and the tree over their headers.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    blocks: Vec<Arc<Block>>,
    tree: BlockTree,
}

impl Chain {
    /// How many blocks there are.
    #[must_use]
    pub fn height(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// The blocks.
    #[must_use]
    pub fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    /// The tree over their headers.
    #[must_use]
    pub fn tree(&self) -> &BlockTree {
        &self.tree
    }

    /// Adds a block.
    pub fn push(&mut self, circumstances: Circumstances, namespaces: Vec<Namespace>) {
        let height = self.height();
        let block = Block::new(height, circumstances, namespaces, self.tree.root(height));
        self.tree.push(header::commitment(&block.header()));
        self.blocks.push(Arc::new(block));
    }

    /// Forgets all blocks but the first, this many.
    pub fn truncate(&mut self, blocks: usize) {
        let headers = self.tree.commitments()[..blocks].to_vec();
        self.blocks.truncate(blocks);
        self.tree = BlockTree::default();
        headers.into_iter().for_each(|header| self.tree.push(header));
    }
}
