//! Where a block may appear in the parameters of each method, and which methods are never
//! rewritten. Both are data, tested row by row against `data/block-tag-methods.csv`.

mod excluded;
#[cfg(test)]
mod rows;
mod table;

use std::{borrow::Cow, str::FromStr};

use thiserror::Error;

use table::{MEMBERS, NAMES, TABLE};

pub use excluded::ExcludedMethods;
pub(crate) use table::BLOCK_NUMBER;

/// A position in `params` where a block may appear.
///
/// Configuration spells it `1`, the second parameter, or `0.fromBlock`, a member of the first:
///
/// ```
/// use finality_core::methods::Position;
///
/// assert_eq!("1".parse(), Ok(Position::Parameter { index: 1, object: true }));
/// let name = "fromBlock".into();
/// assert_eq!("0.fromBlock".parse(), Ok(Position::Member { index: 0, name, object: true }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
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
        name: Cow<'static, str>,
        /// Whether the member may be an EIP-1898 object, whose `blockNumber` member then holds the
        /// tag.
        object: bool,
    },
}

impl Position {
    /// The index of the parameter in `params`.
    #[must_use]
    pub const fn index(&self) -> usize {
        match self {
            Self::Parameter { index, .. } | Self::Member { index, .. } => *index,
        }
    }
}

/// A text that is not a [`Position`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0:?} is not a position: expected an index such as 1, or a member such as \"0.fromBlock\""
)]
pub struct InvalidPosition(pub String);

impl FromStr for Position {
    type Err = InvalidPosition;

    /// Reads the spelling of the configuration. The position may hold an EIP-1898 object.
    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let is_word = |text: &str, begins: fn(&u8) -> bool| {
            text.as_bytes().first().is_some_and(begins)
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let (index, name) = match text.split_once('.') {
            Some((index, name)) => (index, Some(name)),
            None => (text, None),
        };
        match (index.parse(), name) {
            (Ok(index), None) if is_word(text, u8::is_ascii_digit) => {
                Ok(Self::Parameter { index, object: true })
            }
            (Ok(index), Some(name)) if is_word(name, u8::is_ascii_alphabetic) => {
                Ok(Self::Member { index, name: Cow::Owned(name.to_owned()), object: true })
            }
            _ => Err(InvalidPosition(text.to_owned())),
        }
    }
}

/// The method table: where a block may appear in the parameters of each method. It has the shipped
/// rows, and those that an operator adds as `block_parameters`.
///
/// ```
/// use finality_core::methods::{MethodTable, Position};
///
/// let table = MethodTable::default();
/// assert_eq!(table.positions("eth_call"), [Position::Parameter { index: 1, object: true }]);
/// assert_eq!(table.positions("eth_getLogs").len(), 2);
/// assert!(table.positions("acme_call").is_empty());
///
/// let table = MethodTable::new([("acme_call".to_owned(), vec!["2".parse()?])]);
/// assert_eq!(table.positions("acme_call"), [Position::Parameter { index: 2, object: true }]);
/// # Ok::<(), finality_core::methods::InvalidPosition>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MethodTable {
    /// Rows that replace shipped ones, sorted by method.
    added: Vec<(String, Vec<Position>)>,
}

/// Identifies a row of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowId {
    Shipped(usize),
    Added(usize),
}

/// A row of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    pub(crate) positions: &'a [Position],
    /// The names of the parameters in order, separated by spaces.
    names: &'static str,
}

impl Row<'_> {
    const EMPTY: Self = Self { positions: &[], names: "" };

    /// The index of the parameter with this name, if it is known.
    pub(crate) fn index_of(&self, name: ParameterName) -> Option<usize> {
        let name = NAMES.get(usize::from(name.0))?;
        self.names.split(' ').position(|known| known == *name)
    }
}

impl MethodTable {
    /// The shipped table with additional rows. Positions for a method of the shipped table are
    /// added to its own.
    #[must_use]
    pub fn new(rows: impl IntoIterator<Item = (String, Vec<Position>)>) -> Self {
        // Not a map: its code would be 2% of the filter's module.
        let mut table = Self::default();
        for (method, positions) in rows {
            let at = table.added.binary_search_by(|(known, _)| known.cmp(&method));
            let at = at.unwrap_or_else(|at| {
                let shipped = table.positions(&method).to_vec();
                table.added.insert(at, (method, shipped));
                at
            });
            if let Some((_, known)) = table.added.get_mut(at) {
                known.extend(positions);
            }
        }
        table
    }

    /// The positions where a block may appear in the parameters of a method; empty if the method is
    /// not in the table.
    #[must_use]
    pub fn positions(&self, method: &str) -> &[Position] {
        self.find(method).map_or(&[], |id| self.row(id).positions)
    }

    /// The methods of the additional rows.
    pub(crate) fn added(&self) -> impl Iterator<Item = &str> {
        self.added.iter().map(|(method, _)| method.as_str())
    }

    pub(crate) fn find(&self, method: &str) -> Option<RowId> {
        let added = self.added.binary_search_by(|(known, _)| known.as_str().cmp(method));
        added.map(RowId::Added).ok().or_else(|| find_shipped(method).map(RowId::Shipped))
    }

    /// A row that was found in this table.
    pub(crate) fn row(&self, id: RowId) -> Row<'_> {
        match id {
            RowId::Shipped(at) => shipped(at),
            RowId::Added(at) => self.added.get(at).map_or(Row::EMPTY, |(method, positions)| Row {
                positions,
                names: find_shipped(method).map_or("", |at| shipped(at).names),
            }),
        }
    }

    /// The names of all members that the rows mention.
    pub(crate) fn members(&self) -> Vec<Cow<'static, str>> {
        let mut members = MEMBERS.map(Cow::Borrowed).to_vec();
        for position in self.added.iter().flat_map(|(_, positions)| positions) {
            if let Position::Member { name, .. } = position
                && !members.contains(name)
            {
                members.push(name.clone());
            }
        }
        members
    }
}

fn find_shipped(method: &str) -> Option<usize> {
    TABLE.binary_search_by_key(&method, |(known, ..)| known).ok()
}

fn shipped(at: usize) -> Row<'static> {
    TABLE.get(at).map_or(Row::EMPTY, |(_, positions, names)| Row { positions, names })
}

/// The names of a method's parameters in order, in snake case, as nodes that use jsonrpsee (reth,
/// op-reth) take them by name. Empty if they are not known.
///
/// ```
/// use finality_core::methods::parameter_names;
///
/// assert_eq!(parameter_names("eth_getBalance").collect::<Vec<_>>(), ["address", "block_number"]);
/// assert_eq!(parameter_names("acme_call").count(), 0);
/// ```
pub fn parameter_names(method: &str) -> impl Iterator<Item = &'static str> {
    let names = find_shipped(method).map_or("", |at| shipped(at).names);
    names.split(' ').filter(|name| !name.is_empty())
}

/// A parameter name that the table mentions: its index in [`NAMES`], so that it takes one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ParameterName(u8);

impl ParameterName {
    /// `name` is in snake case.
    pub(crate) fn find(name: &str) -> Option<Self> {
        NAMES.binary_search(&name).ok().and_then(|at| at.try_into().ok()).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_configured() {
        let member =
            |name: &'static str| Position::Member { index: 12, name: name.into(), object: true };
        assert_eq!("12.block".parse(), Ok(member("block")));
        assert_eq!("12.a1".parse(), Ok(member("a1")));
        for text in [
            "",
            "-1",
            "+1",
            "1.",
            "1.a.b",
            ".a",
            "a",
            "1. a",
            "1.5",
            "1._",
            "1.é",
            "99999999999999999999",
        ] {
            assert_eq!(text.parse::<Position>(), Err(InvalidPosition(text.to_owned())));
        }
    }

    #[test]
    fn added_rows_extend_the_shipped_table() {
        let position = |text: &str| text.parse::<Position>().unwrap();
        let table = MethodTable::new([
            ("b_call".to_owned(), vec![position("0")]),
            ("eth_call".to_owned(), vec![position("3"), position("4.at")]),
            ("a_call".to_owned(), vec![position("1.at")]),
            ("b_call".to_owned(), vec![position("2.toBlock")]),
        ]);
        assert_eq!(table.positions("a_call"), [position("1.at")]);
        assert_eq!(table.positions("b_call"), [position("0"), position("2.toBlock")]);
        assert_eq!(table.positions("eth_call"), [position("1"), position("3"), position("4.at")]);
        assert_eq!(table.positions("eth_getCode"), [position("1")]);
        assert_eq!(table.positions("c_call"), []);
        assert_eq!(table.added().collect::<Vec<_>>(), ["a_call", "b_call", "eth_call"]);
        assert_eq!(table.members().len(), MEMBERS.len() + 1);
        let row = table.row(table.find("eth_call").unwrap());
        let index = |name| row.index_of(ParameterName::find(name).unwrap());
        assert_eq!((index("block_number"), index("block_id")), (Some(1), None));
        assert_eq!(ParameterName::find("at"), None);
    }
}
