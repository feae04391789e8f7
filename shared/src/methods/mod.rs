//! Where a block may appear in the parameters of each method, and which methods are never
//! rewritten. Both are data, tested row by row against `data/block-tag-methods.csv`.

mod excluded;
#[cfg(test)]
mod rows;
mod table;

pub use excluded::ExcludedMethods;
pub(crate) use table::{BLOCK_NUMBER, MEMBERS};

/// A position in `params` where a block may appear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The parameter itself.
    Parameter {
        /// Its index in `params`.
        index: usize,
        /// Whether it may be an EIP-1898 object, whose `blockNumber` member then holds the tag.
        object: bool,
    },
    /// A member of an object parameter, such as a bound of a filter or a state context.
    Member {
        /// The parameter's index in `params`.
        index: usize,
        /// The member's name.
        name: &'static str,
        /// Whether the member may be an EIP-1898 object, whose `blockNumber` member then holds the
        /// tag.
        object: bool,
    },
}

/// The positions where a block may appear in the parameters of a method; empty if the method is not
/// in the table.
///
/// ```
/// use finality_core::methods::{Position, positions};
///
/// assert_eq!(positions("eth_call"), [Position::Parameter { index: 1, object: true }]);
/// assert_eq!(positions("eth_getLogs").len(), 2);
/// assert!(positions("eth_sendRawTransaction").is_empty());
/// ```
#[must_use]
pub fn positions(method: &str) -> &'static [Position] {
    match table::TABLE.binary_search_by_key(&method, |(name, _)| name) {
        Ok(at) => table::TABLE.get(at).map_or(&[], |(_, positions)| positions),
        Err(_) => &[],
    }
}
