//! The namespaces of a block, and where each lies in its payload.

use std::{collections::BTreeSet, ops::Range};

use thiserror::Error;

/// The longest payload of a block that is read, in bytes.
const LONGEST_PAYLOAD: u32 = 64 * 1024 * 1024;

/// The namespaces of a block and where each ends in its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceTable {
    /// Namespace id and end offset, in the order of the table.
    entries: Vec<(u32, u32)>,
}

/// Why bytes are not the table of a block that nodes accept.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TableError {
    /// The length is not that of the count.
    #[error("{length} bytes for a count of {count}")]
    Length {
        /// The bytes.
        length: usize,
        /// The count at their begin.
        count: u32,
    },
    /// There is no count.
    #[error("no count")]
    NoCount,
    /// A namespace stands there twice.
    #[error("namespace {0} stands there twice")]
    Repeated(u32),
    /// A namespace ends where the one before does, or earlier; the first one at zero.
    #[error("namespace {0} is empty or ends before it begins")]
    Order(u32),
    /// The payload would be too long.
    #[error("a payload of {0} bytes")]
    TooLong(u32),
}

impl NamespaceTable {
    /// Reads `u32 count`, then per namespace `u32 id, u32 end offset`, all little endian.
    ///
    /// # Errors
    /// [`TableError`] for what consensus does not let into a block.
    pub fn decode(bytes: &[u8]) -> Result<Self, TableError> {
        let (count, rest) = bytes.split_first_chunk::<4>().ok_or(TableError::NoCount)?;
        let count = u32::from_le_bytes(*count);
        let (pairs, tail) = rest.as_chunks::<8>();
        if !tail.is_empty() || count as usize != pairs.len() {
            return Err(TableError::Length { length: bytes.len(), count });
        }
        let number = |bytes: &[u8]| bytes.first_chunk().copied().map(u32::from_le_bytes);
        let (mut entries, mut ids) = (Vec::with_capacity(pairs.len()), BTreeSet::new());
        let mut begin = 0;
        for pair in pairs {
            let (id, end) = pair.split_at(4);
            let (id, end) = (number(id).unwrap_or_default(), number(end).unwrap_or_default());
            if !ids.insert(id) {
                return Err(TableError::Repeated(id));
            }
            if end <= begin {
                return Err(TableError::Order(id));
            }
            entries.push((id, end));
            begin = end;
        }
        if begin > LONGEST_PAYLOAD {
            return Err(TableError::TooLong(begin));
        }
        Ok(Self { entries })
    }

    /// Namespace id and end offset, in the order of the table.
    #[must_use]
    pub fn entries(&self) -> &[(u32, u32)] {
        &self.entries
    }

    /// Whether the block has anything in a namespace.
    #[must_use]
    pub fn contains(&self, namespace: u32) -> bool {
        self.find(namespace).is_some()
    }

    /// Where a namespace stands in the table, and its bytes in the payload.
    pub(crate) fn find(&self, namespace: u32) -> Option<(u64, Range<u32>)> {
        let mut begin = 0;
        for (index, (id, end)) in (0..).zip(&self.entries) {
            if *id == namespace {
                return Some((index, begin..*end));
            }
            begin = *end;
        }
        None
    }

    /// How many namespaces there are.
    pub(crate) const fn count(&self) -> u64 {
        self.entries.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde_json::Value;

    use super::*;

    fn table(entries: &[(u32, u32)]) -> Vec<u8> {
        let numbers = entries.iter().flat_map(|(id, end)| [*id, *end]);
        let numbers = std::iter::once(entries.len() as u32).chain(numbers);
        numbers.flat_map(u32::to_le_bytes).collect()
    }

    #[test]
    fn the_tables_of_the_vectors_are_read() {
        let vectors: Value =
            serde_json::from_str(include_str!("../testdata/espresso_headers.json")).unwrap();
        for case in vectors["ns_tables"].as_array().unwrap() {
            let bytes = STANDARD.decode(case["base64"].as_str().unwrap()).unwrap();
            let entries: Vec<(u32, u32)> = serde_json::from_value(case["entries"].clone()).unwrap();
            let table = NamespaceTable::decode(&bytes).unwrap();
            assert_eq!(table.entries(), entries);
            for (id, _) in entries {
                assert!(table.contains(id) && !table.contains(id + 1));
            }
            assert!(NamespaceTable::decode(&[&bytes[..], &[0]].concat()).is_err());
        }
    }

    #[test]
    fn a_namespace_lies_between_two_ends() {
        let table = NamespaceTable::decode(&table(&[(7, 3), (5, 10)])).unwrap();
        assert_eq!(table.find(7), Some((0, 0..3)));
        assert_eq!(table.find(5), Some((1, 3..10)));
        assert_eq!(table.find(6), None);
    }

    #[test]
    fn what_consensus_does_not_accept_is_refused() {
        let refused = |bytes: &[u8]| NamespaceTable::decode(bytes).unwrap_err();
        assert_eq!(refused(&[0, 0, 0]), TableError::NoCount);
        assert_eq!(refused(&[1, 0, 0, 0]), TableError::Length { length: 4, count: 1 });
        assert_eq!(refused(&table(&[(7, 3), (7, 10)])), TableError::Repeated(7));
        assert_eq!(refused(&table(&[(7, 0)])), TableError::Order(7));
        assert_eq!(refused(&table(&[(7, 3), (8, 3)])), TableError::Order(8));
        assert_eq!(refused(&table(&[(7, 3), (8, 2)])), TableError::Order(8));
        let longest = LONGEST_PAYLOAD;
        assert!(NamespaceTable::decode(&table(&[(7, longest)])).is_ok());
        assert_eq!(refused(&table(&[(7, longest + 1)])), TableError::TooLong(longest + 1));
        assert!(NamespaceTable::decode(&table(&[])).is_ok());
    }
}
