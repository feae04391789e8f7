//! Why an answer is bad: a closed set of reasons, to count by.

use strum::{EnumIter, IntoEnumIterator, IntoStaticStr};

use crate::HeaderError;

/// Why an answer is bad. None of these is a fault of the network, nor means "not yet".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    /// The header's table is none that consensus accepts.
    Table,
    /// The header cannot be read or is not the one that others have.
    Header,
    /// The namespace is shown where the table lacks it, or not where the table has it.
    Presence,
    /// A payload has another length than the table says.
    Length,
    /// A proof is of another form, place or tree.
    Path,
    /// Payload and path lead to another commitment.
    Commitment,
    /// A proof of wrong encoding proves nothing.
    WrongEncoding,
    /// A proof of wrong encoding of a version for which none is checked.
    WrongEncodingForm,
    /// The size of the committee is none, or is not borne out where it decides.
    CommitteeSize,
    /// Headers do not follow each other as the roots in them say.
    BlockTree,
    /// The chain is not that of the light client's root.
    Root,
    /// The protocol version is not known.
    UnsupportedVersion,
}

impl Reason {
    /// A stable name, for metrics and status.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.into()
    }

    /// All reasons.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::iter()
    }
}

impl HeaderError {
    /// The reason to count it by.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Table(_) => Reason::Table,
            Self::Version(_) => Reason::UnsupportedVersion,
            Self::Json(_)
            | Self::Encoding(_)
            | Self::Place { .. }
            | Self::Parts { .. }
            | Self::Dispersal { .. } => Reason::Header,
        }
    }
}
