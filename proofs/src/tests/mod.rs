//! The whole check against the vectors, and against blocks that are made here.

mod block_tree;
mod encoder;
mod erasure;
mod namespace;
mod wrong_encoding;

use serde_json::Value;

fn namespace_vectors() -> Value {
    serde_json::from_str(include_str!("../../testdata/proofs_namespace.json")).unwrap()
}

fn block_tree_vectors() -> Value {
    serde_json::from_str(include_str!("../../testdata/proofs_block_tree.json")).unwrap()
}

fn unsettled_vectors() -> Value {
    serde_json::from_str(include_str!("../../testdata/proofs_v7.json")).unwrap()
}
