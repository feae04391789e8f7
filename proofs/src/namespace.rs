//! The contents of one namespace in one HotShot block.

use std::{fmt, iter};

use alloy_primitives::B256;

/// The contents of a namespace in one HotShot block: payloads, as its posters sent them.
#[derive(Clone, Default)]
pub struct NamespaceBlock {
    /// What holds the payloads.
    bytes: Vec<u8>,
    /// Where each begins and ends in it.
    ranges: Vec<(u32, u32)>,
}

impl NamespaceBlock {
    /// Reads a namespace's bytes in the payload of a block: `u32` count, as many `u32` end offsets,
    /// then the bodies, all little endian.
    ///
    /// Whoever makes the block chooses these bytes, and nodes read some meaning into any: so does
    /// this, the same. Missing offsets do not count, bodies begin behind as many offsets as are
    /// declared, and each is cut to what is there. They may overlap.
    #[must_use]
    pub fn of_payload(payload: Vec<u8>) -> Self {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let ranges = payload.split_first_chunk::<4>().map(|(declared, rest)| {
            let declared = u32::from_le_bytes(*declared);
            let bodies = u64::from(declared) * 4 + 4;
            let offsets = rest.as_chunks::<4>().0.iter().map(|end| u32::from_le_bytes(*end));
            let offsets = offsets.take(declared as usize);
            let place = |offset: u32| {
                let place = (bodies + u64::from(offset)).min(u64::from(length));
                u32::try_from(place).unwrap_or(length)
            };
            let begins = iter::once(0).chain(offsets.clone());
            let range = |(begin, end)| (place(begin).min(place(end)), place(end));
            begins.zip(offsets).map(range).collect()
        });
        Self { bytes: payload, ranges: ranges.unwrap_or_default() }
    }

    /// Payloads that follow each other, by where each ends.
    pub(crate) fn one_after_the_other(bytes: Vec<u8>, ends: &[u32]) -> Self {
        let begins = iter::once(0).chain(ends.iter().copied());
        Self { bytes, ranges: begins.zip(ends.iter().copied()).collect() }
    }

    /// The payloads in order.
    pub fn payloads(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.ranges.len()).map(|index| self.payload(index).unwrap_or_default())
    }

    /// A payload by its index.
    #[must_use]
    pub fn payload(&self, index: usize) -> Option<&[u8]> {
        let (begin, end) = *self.ranges.get(index)?;
        self.bytes.get(usize::try_from(begin).ok()?..usize::try_from(end).ok()?)
    }

    /// Whether there are no payloads.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The bytes that are held for the payloads.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.bytes.len()
    }

    /// What two blocks share if they have the same payloads.
    #[must_use]
    pub fn digest(&self) -> B256 {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.ranges.len().to_le_bytes());
        self.payloads().for_each(|payload| _ = hasher.update(&payload.len().to_le_bytes()));
        self.payloads().for_each(|payload| _ = hasher.update(payload));
        B256::from(*hasher.finalize().as_bytes())
    }
}

impl PartialEq for NamespaceBlock {
    /// By the payloads alone, whatever holds them.
    fn eq(&self, other: &Self) -> bool {
        self.payloads().eq(other.payloads())
    }
}

impl Eq for NamespaceBlock {}

impl<P: AsRef<[u8]>> FromIterator<P> for NamespaceBlock {
    /// A block with these payloads, as far as they fit into 4 GiB.
    fn from_iter<I: IntoIterator<Item = P>>(payloads: I) -> Self {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for payload in payloads {
            bytes.extend_from_slice(payload.as_ref());
            ends.extend(u32::try_from(bytes.len()));
        }
        Self::one_after_the_other(bytes, &ends)
    }
}

impl fmt::Debug for NamespaceBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamespaceBlock").field("ranges", &self.ranges).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde_json::Value;

    use super::*;

    #[test]
    fn any_bytes_are_read_as_nodes_read_them() {
        let vectors: Value =
            serde_json::from_str(include_str!("../testdata/proofs_namespace.json")).unwrap();
        let cases = vectors["payload_decoding"]["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 10);
        let bytes = |text: &Value| STANDARD.decode(text.as_str().unwrap()).unwrap();
        for case in cases {
            let block = NamespaceBlock::of_payload(bytes(&case["ns_payload"]));
            let expected: Vec<_> =
                case["transactions"].as_array().unwrap().iter().map(bytes).collect();
            assert!(block.payloads().eq(expected.iter()), "{}", case["name"]);
            assert_eq!(block, expected.iter().collect(), "{}", case["name"]);
            assert_eq!(block.digest(), expected.iter().collect::<NamespaceBlock>().digest());
        }
    }

    #[test]
    fn blocks_differ_by_their_payloads_and_where_they_are_cut() {
        let block = |payloads: &[&str]| payloads.iter().collect::<NamespaceBlock>();
        assert_ne!(block(&["ab"]), block(&["a", "b"]));
        assert_ne!(block(&["ab"]).digest(), block(&["a", "b"]).digest());
        assert_ne!(block(&[""]), block(&[]));
    }
}
