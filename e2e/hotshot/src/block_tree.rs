//! The tree over the commitments of all headers.

use std::cmp::Ordering;

use alloy_primitives::B256;
use serde_json::{Value, json};
use sha3::{Digest, Sha3_256};

use crate::{rescue, text::tagged_base64};

const ARITY: u64 = 3;
const HEIGHT: usize = 32;

/// The tree, which grows by one leaf for each block.
#[derive(Debug, Clone)]
pub struct BlockTree {
    commitments: Vec<B256>,
    /// The nodes whose leaves are all there, the leaves first.
    levels: [Vec<B256>; HEIGHT + 1],
}

impl Default for BlockTree {
    fn default() -> Self {
        Self { commitments: Vec::new(), levels: [const { Vec::new() }; HEIGHT + 1] }
    }
}

impl BlockTree {
    /// The number of leaves.
    #[must_use]
    pub fn leaves(&self) -> u64 {
        self.commitments.len() as u64
    }

    /// The commitments of the headers.
    #[must_use]
    pub fn commitments(&self) -> &[B256] {
        &self.commitments
    }

    /// Adds the commitment of the next header.
    pub fn push(&mut self, commitment: B256) {
        self.commitments.push(commitment);
        let mut node = hash(&[commitment]);
        for level in &mut self.levels {
            level.push(node);
            match level.as_chunks::<3>() {
                ([.., group], []) => node = hash(group),
                _ => return,
            }
        }
    }

    /// The tree as it was with that many leaves.
    fn at(&self, leaves: u64) -> Past<'_> {
        let mut past = Past { tree: self, leaves, edge: [B256::ZERO; HEIGHT + 1] };
        for level in 1..=HEIGHT {
            // The path of the next leaf: a node with none before it is not there.
            past.edge[level] = match past.children(level, leaves / width(level)) {
                [B256::ZERO, ..] => B256::ZERO,
                children => hash(&children),
            };
        }
        past
    }

    /// The root over the first headers, this many, as a header names it.
    #[must_use]
    pub fn root(&self, leaves: u64) -> [u8; 48] {
        let mut out = [0; 48];
        out[..32].copy_from_slice(self.at(leaves).edge[HEIGHT].as_slice());
        out[32..40].copy_from_slice(&(HEIGHT as u64).to_le_bytes());
        out[40..].copy_from_slice(&leaves.to_le_bytes());
        out
    }

    /// That root as the light client on L1 has it.
    #[must_use]
    pub fn light_client_root(&self, leaves: u64) -> B256 {
        rescue::hash(&self.root(leaves))
    }

    /// The path of the header at a height to the root over the first headers, this many: the
    /// answer of `block-state/{leaves}/{height}`.
    ///
    /// # Panics
    /// When the header is not among them.
    #[must_use]
    pub fn path(&self, leaves: u64, height: u64) -> Value {
        assert!(height < leaves && leaves <= self.leaves(), "no header {height} among {leaves}");
        let past = self.at(leaves);
        let position = tagged_base64("FIELD", &height.to_le_bytes());
        let elem = self.commitments[usize::try_from(height).unwrap()];
        let leaf = json!({"Leaf": {
            "value": field(hash(&[elem])), "pos": position, "elem": field(elem),
        }});
        let branch = |level: usize| {
            let children = past.children(level, height / width(level)).map(|child| match child {
                B256::ZERO => json!("Empty"),
                // Their spelling.
                child => json!({"ForgettenSubtree": {"value": field(child)}}),
            });
            json!({"Branch": {"value": field(B256::ZERO), "children": children}})
        };
        let proof: Vec<Value> = std::iter::once(leaf).chain((1..=HEIGHT).map(branch)).collect();
        json!({"pos": position, "proof": proof})
    }
}

/// The tree as it was.
struct Past<'a> {
    tree: &'a BlockTree,
    leaves: u64,
    /// The nodes above the place of the next leaf.
    edge: [B256; HEIGHT + 1],
}

impl Past<'_> {
    /// The children of a node.
    fn children(&self, level: usize, index: u64) -> [B256; 3] {
        std::array::from_fn(|child| self.node(level - 1, ARITY * index + child as u64))
    }

    fn node(&self, level: usize, index: u64) -> B256 {
        match index.cmp(&(self.leaves / width(level))) {
            Ordering::Less => self.tree.levels[level][usize::try_from(index).unwrap()],
            Ordering::Equal => self.edge[level],
            Ordering::Greater => B256::ZERO,
        }
    }
}

/// How many leaves a node of that level has.
fn width(level: usize) -> u64 {
    ARITY.pow(u32::try_from(level).unwrap())
}

fn hash(parts: &[B256]) -> B256 {
    let mut hasher = Sha3_256::new();
    parts.iter().for_each(|part| hasher.update(part));
    B256::from_slice(&hasher.finalize())
}

fn field(value: B256) -> String {
    tagged_base64("FIELD", value.as_slice())
}

#[cfg(test)]
mod tests {
    use alloy_primitives::U256;

    use super::*;
    use crate::{text::untagged_hash, vectors};

    fn recorded() -> (Value, BlockTree) {
        let vectors = vectors::block_tree();
        let mut tree = BlockTree::default();
        for block in vectors["recorded_0_5_chain"].as_array().unwrap() {
            tree.push(untagged_hash(block["header_commitment"].as_str().unwrap()));
        }
        (vectors, tree)
    }

    #[test]
    fn roots_agree_with_the_vectors() {
        let (vectors, tree) = recorded();
        for (height, block) in vectors["recorded_0_5_chain"].as_array().unwrap().iter().enumerate()
        {
            let root = tagged_base64("MERKLE_COMM", &tree.root(height as u64));
            assert_eq!(root, block["block_merkle_tree_root"]);
        }
        let state = vectors["light_client_state_height_5"]["block_comm_root"].to_string();
        let state: U256 = state.trim_matches('"').parse().unwrap();
        assert_eq!(tree.light_client_root(5), B256::from(state));
    }

    /// Each path leads to the root over any number of headers.
    #[test]
    fn paths_lead_to_the_root() {
        let mut tree = BlockTree::default();
        (0..30_u8).for_each(|byte| tree.push(B256::repeat_byte(byte + 1)));
        for leaves in 1..=30 {
            for height in 0..leaves {
                let path = tree.path(leaves, height);
                let [leaf, branches @ ..] = path["proof"].as_array().unwrap().as_slice() else {
                    panic!("{path}")
                };
                assert_eq!(branches.len(), HEIGHT);
                let elem = untagged_hash(leaf["Leaf"]["elem"].as_str().unwrap());
                let (mut node, mut position) = (hash(&[elem]), height as usize);
                for branch in branches {
                    let children = branch["Branch"]["children"].as_array().unwrap();
                    let children: Vec<B256> = children
                        .iter()
                        .map(|child| match child["ForgettenSubtree"]["value"].as_str() {
                            Some(value) => untagged_hash(value),
                            None => B256::ZERO,
                        })
                        .collect();
                    assert_eq!(children[position % 3], node);
                    node = hash(&children);
                    position /= 3;
                }
                assert_eq!(node.0, tree.root(leaves)[..32]);
            }
        }
    }

    /// The form of a recorded path: its nodes are those that ours has.
    #[test]
    fn paths_have_the_form_of_a_recorded_one() {
        let vectors = vectors::block_tree();
        let recorded = &vectors["devnet_proof"]["proof"];
        let mut tree = BlockTree::default();
        (0..44_u8).for_each(|byte| tree.push(B256::repeat_byte(byte + 1)));
        let path = tree.path(44, 1);
        assert_eq!(path["pos"], recorded["pos"]);
        assert_eq!(path["proof"][0]["Leaf"]["pos"], recorded["proof"][0]["Leaf"]["pos"]);
        let shape = |path: &Value| -> Vec<Vec<String>> {
            let keys = |node: &Value| match node {
                Value::Object(members) => members.keys().cloned().collect::<Vec<_>>().join(","),
                other => other.to_string(),
            };
            let nodes = path["proof"].as_array().unwrap().iter();
            let children = |node: &Value| {
                let node = &node.as_object().unwrap().values().next().unwrap();
                let children = node["children"].as_array().cloned().unwrap_or_default();
                [keys(node)].into_iter().chain(children.iter().map(keys)).collect()
            };
            nodes.map(children).collect()
        };
        assert_eq!(shape(&path), shape(recorded));
    }
}
