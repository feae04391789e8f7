//! The test vectors.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

pub(crate) fn namespace_range() -> Value {
    parse(include_str!("../../../proofs/testdata/namespace_range.json"))
}

pub(crate) fn headers() -> Value {
    parse(include_str!("../../../proofs/testdata/espresso_headers.json"))
}

pub(crate) fn namespace() -> Value {
    parse(include_str!("../../../proofs/testdata/proofs_namespace.json"))
}

pub(crate) fn block_tree() -> Value {
    parse(include_str!("../../../proofs/testdata/proofs_block_tree.json"))
}

/// The bytes of a base64 text.
pub(crate) fn bytes(text: &Value) -> Vec<u8> {
    STANDARD.decode(text.as_str().unwrap()).unwrap()
}
