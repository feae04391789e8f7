//! The answer of a query service for a namespace in a block, and its proof.

use std::{borrow::Cow, ops::Range};

use alloy_primitives::B256;
use serde::{Deserialize, Deserializer, de::Error as _};
use thiserror::Error;

use crate::{
    Header, HeaderError, NamespaceBlock, PathError, Reason, UnsupportedVersion,
    base64::decode_base64,
    bounded::read_list,
    committee::{CommitteeSizeError, ProvenSize, check_size},
    merkle::Path,
    scheme::{Dispersal, Scheme},
    wrong_encoding::{WrongEncoding, WrongEncodingError},
};

/// What a service says of a namespace in a block. The transactions that it lists beside the proof
/// are not looked at.
#[derive(Debug, Deserialize)]
pub struct Answer {
    proof: Option<Proof>,
}

/// The form depends on the dispersal.
#[derive(Debug, Deserialize)]
enum Proof {
    V1(Opening),
    V2(Opening),
    V1IncorrectEncoding(serde::de::IgnoredAny),
    V2IncorrectEncoding(Box<WrongEncoding>),
}

/// The namespace's bytes in the payload, and the path from their commitment to the block's.
#[derive(Debug, Deserialize)]
struct Opening {
    ns_index: u64,
    #[serde(deserialize_with = "base64")]
    ns_payload: Vec<u8>,
    ns_proof: String,
}

/// What an answer was found to prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// The block has nothing in the namespace: its table says so.
    Absent,
    /// The block has these bytes in the namespace.
    Opened(ProvenSize),
    /// The namespace was dispersed so that no payload belongs to its commitment: for every node it
    /// is empty.
    WronglyEncoded,
}

/// Why an answer proves nothing. Each is a step of the check, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NamespaceError {
    /// The header proves nothing.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// This build has no proofs for the header's version.
    #[error(transparent)]
    Version(#[from] UnsupportedVersion),
    /// The table lacks the namespace, the answer has a proof of it.
    #[error("a proof of a namespace that the block's table lacks")]
    NotInTable,
    /// The table has the namespace, the answer has no proof of it.
    #[error("no proof of a namespace that the block's table has")]
    NoProof,
    /// The proof is of another dispersal.
    #[error("a proof of another form than that of version {0}")]
    Form(crate::Version),
    /// The proof is of another place in the table.
    #[error("a proof of namespace number {given} in the table, not of {expected}")]
    Index {
        /// The place in the proof.
        given: u64,
        /// The place in the table.
        expected: u64,
    },
    /// The payload has another length than the table says.
    #[error("{given} bytes, the table says {expected}")]
    Length {
        /// The length of the payload.
        given: usize,
        /// The length by the table.
        expected: u32,
    },
    /// The size of the committee is none, or is not borne out where it decides.
    #[error(transparent)]
    CommitteeSize(#[from] CommitteeSizeError),
    /// The path is none of the tree over the namespaces.
    #[error("path to the payload commitment: {0}")]
    Path(#[from] PathError),
    /// Payload and path lead to another commitment.
    #[error("the payload is not that of the block's commitment")]
    Commitment,
    /// The proof of wrong encoding proves nothing.
    #[error("proof of wrong encoding: {0}")]
    WrongEncoding(#[from] WrongEncodingError),
    /// Proofs of wrong encoding of this dispersal are not checked.
    #[error("a proof of wrong encoding of version {0}, of which none is checked")]
    WrongEncodingForm(crate::Version),
}

impl NamespaceError {
    /// The reason to count it by.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Header(error) => error.reason(),
            Self::Version(_) => Reason::UnsupportedVersion,
            Self::NotInTable | Self::NoProof => Reason::Presence,
            Self::Form(_) | Self::Index { .. } | Self::Path(_) => Reason::Path,
            Self::Length { .. } => Reason::Length,
            Self::CommitteeSize(_) => Reason::CommitteeSize,
            Self::Commitment => Reason::Commitment,
            Self::WrongEncoding(WrongEncodingError::Length { .. }) => Reason::Length,
            Self::WrongEncoding(_) => Reason::WrongEncoding,
            Self::WrongEncodingForm(_) => Reason::WrongEncodingForm,
        }
    }
}

impl Answer {
    /// Reads the answer for one block.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(body).map_err(|error| error.to_string())
    }

    /// Reads the answer for `count` blocks.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read_range(body: &[u8], count: u64) -> Result<Vec<Self>, String> {
        read_list(body, count).map_err(|error| error.to_string())
    }

    /// Reads a proof of wrong encoding from the routes that answer with nothing else.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read_proof(body: &[u8]) -> Result<Self, String> {
        let proof = serde_json::from_slice(body).or_else(|error| {
            // Without its form, or like one among others.
            let bare = serde_json::from_slice(body).map(Proof::V2IncorrectEncoding);
            bare.or_else(|_| Self::read(body).ok().and_then(|answer| answer.proof).ok_or(error))
        });
        Ok(Self { proof: Some(proof.map_err(|error| error.to_string())?) })
    }

    /// The answer for a block whose table lacks the namespace: its header says it all.
    #[must_use]
    pub const fn absent() -> Self {
        Self { proof: None }
    }

    /// Whether there is a proof. For a namespace that the table has, a service without an ordinary
    /// proof has none here, and one of wrong encoding elsewhere.
    #[must_use]
    pub const fn has_proof(&self) -> bool {
        self.proof.is_some()
    }

    /// Whether the answer claims that the namespace is wrongly encoded.
    #[must_use]
    pub const fn claims_wrong_encoding(&self) -> bool {
        matches!(self.proof, Some(Proof::V1IncorrectEncoding(_) | Proof::V2IncorrectEncoding(_)))
    }

    /// Checks the answer against a header.
    ///
    /// `committee_size` is the total weight of the committee. No ordinary proof fits another one;
    /// a proof of wrong encoding does, so there it must be borne out by proofs of `witnesses`.
    ///
    /// # Errors
    /// [`NamespaceError`]: the answer proves nothing. [`NamespaceError::Commitment`] is also what a
    /// true answer gets with another size than the committee's.
    pub fn check(
        &self,
        header: &Header,
        namespace: u32,
        committee_size: u32,
        witnesses: &[ProvenSize],
    ) -> Result<Evidence, NamespaceError> {
        let block = header.committed()?;
        let Some((index, range)) = header.namespaces().find(namespace) else {
            return if self.proof.is_none() {
                Ok(Evidence::Absent)
            } else {
                Err(NamespaceError::NotInTable)
            };
        };
        let scheme = header.scheme()?;
        let place = Place { header, scheme, index, range, committee_size };
        let claimed =
            ProvenSize { size: committee_size, namespace, height: header.height(), block };
        match (self.proof.as_ref().ok_or(NamespaceError::NoProof)?, scheme.dispersal) {
            (Proof::V1(opening), Dispersal::AvidM) | (Proof::V2(opening), Dispersal::AvidmGf2) => {
                place.check(opening)?;
                Ok(Evidence::Opened(claimed))
            }
            (Proof::V2IncorrectEncoding(proof), Dispersal::AvidmGf2) => {
                check_size(committee_size)?;
                claimed.is_borne_out_by(witnesses)?;
                place.is_at(proof.index())?;
                let commitment = proof.commitment()?;
                place.leads_to_block(commitment, &proof.path()?)?;
                proof.check(commitment, committee_size, place.threshold(), place.length())?;
                Ok(Evidence::WronglyEncoded)
            }
            (Proof::V1IncorrectEncoding(_), Dispersal::AvidM) => {
                Err(NamespaceError::WrongEncodingForm(header.version()))
            }
            _ => Err(NamespaceError::Form(header.version())),
        }
    }

    /// The transactions of the namespace, by what the answer was found to prove.
    #[must_use]
    pub fn into_block(self, evidence: &Evidence) -> NamespaceBlock {
        match (self.proof, evidence) {
            (Some(Proof::V1(opening) | Proof::V2(opening)), Evidence::Opened(_)) => {
                NamespaceBlock::of_payload(opening.ns_payload)
            }
            _ => NamespaceBlock::default(),
        }
    }
}

/// A namespace in a block, and what its commitments depend on.
struct Place<'a> {
    header: &'a Header,
    scheme: Scheme,
    /// The namespace's number in the table.
    index: u64,
    /// Its bytes in the block's payload.
    range: Range<u32>,
    committee_size: u32,
}

impl Place<'_> {
    /// The shares that recover the payload.
    fn threshold(&self) -> u32 {
        (self.scheme.threshold)(self.committee_size)
    }

    /// The length of the namespace's payload.
    const fn length(&self) -> u32 {
        self.range.end - self.range.start
    }

    /// Whether a proof is of this namespace.
    const fn is_at(&self, given: u64) -> Result<(), NamespaceError> {
        if given == self.index {
            return Ok(());
        }
        Err(NamespaceError::Index { given, expected: self.index })
    }

    fn check(&self, opening: &Opening) -> Result<(), NamespaceError> {
        let &Self { ref scheme, committee_size, .. } = self;
        self.is_at(opening.ns_index)?;
        let (given, expected) = (opening.ns_payload.len(), self.length());
        if given != expected as usize {
            return Err(NamespaceError::Length { given, expected });
        }
        check_size(committee_size)?;
        let path = Path::parse(&opening.ns_proof)?;
        let commitment =
            scheme.dispersal.commit(&opening.ns_payload, committee_size, self.threshold());
        self.leads_to_block(commitment.ok_or(NamespaceError::Commitment)?, &path)
    }

    /// Whether a path leads from the commitment of the namespace to that of the block.
    fn leads_to_block(&self, commitment: B256, path: &Path) -> Result<(), NamespaceError> {
        let leaves = self.header.namespaces().count() + u64::from(self.scheme.binding_leaf);
        let tree = self.scheme.dispersal.tree();
        let root = tree.root_by(path, commitment, self.index, leaves)?;
        let expected = self.header.payload_commitment();
        if expected.value == root.as_slice() { Ok(()) } else { Err(NamespaceError::Commitment) }
    }
}

fn base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let Text(text) = Text::deserialize(deserializer)?;
    decode_base64(&text).map_err(D::Error::custom)
}
