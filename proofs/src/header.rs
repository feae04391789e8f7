//! The header of a HotShot block.

use alloy_primitives::B256;
use base64::DecodeError;
use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::{
    BlockTreeRoot, Link, NamespaceTable, TableError, TaggedBase64, UnsupportedVersion, Version,
    base64::decode_base64,
    bounded::read_list,
    commitment::{EncodedTable, HeaderParts},
    scheme::Scheme,
};

/// Why a header cannot be read, or proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// It is not the JSON of a header.
    #[error("header: {0}")]
    Json(String),
    /// Its table is not base64.
    #[error("namespace table: {0}")]
    Encoding(DecodeError),
    /// Its table is none that consensus accepts.
    #[error("namespace table: {0}")]
    Table(#[from] TableError),
    /// Its version is not known.
    #[error(transparent)]
    Version(#[from] UnsupportedVersion),
    /// Another header than the one that was asked for.
    #[error("header {given} in the place of {expected}")]
    Place {
        /// Its height.
        given: u64,
        /// The height that was asked for.
        expected: u64,
    },
    /// A part is missing or wrong that its version has.
    #[error("header {height}: a part is missing or malformed that version {version} has")]
    Parts {
        /// The header's height.
        height: u64,
        /// Its version.
        version: Version,
    },
    /// Its payload commitment is of another version.
    #[error("header {height}: a payload commitment {tag}~, version {version} has {expected}~")]
    Dispersal {
        /// The header's height.
        height: u64,
        /// The tag that it has.
        tag: String,
        /// Its version.
        version: Version,
        /// The tag that it should have.
        expected: &'static str,
    },
}

/// A header, with its commitment computed from everything that the commitment covers.
#[derive(Debug, Clone)]
pub struct Header {
    version: Version,
    height: u64,
    timestamp: u64,
    namespaces: NamespaceTable,
    payload_commitment: TaggedBase64,
    l1_finalized: Option<u64>,
    block_tree_root: Option<BlockTreeRoot>,
    scheme: Option<Scheme>,
    commitment: Option<B256>,
}

/// Version 0.1 has its fields at the top level, later ones beside their version.
#[derive(Deserialize)]
struct Versioned<'a> {
    version: Option<Wrapper>,
    #[serde(borrow)]
    fields: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Wrapper {
    #[serde(rename = "Version")]
    version: WireVersion,
}

#[derive(Deserialize)]
struct WireVersion {
    major: u64,
    minor: u64,
}

/// What every version has.
#[derive(Deserialize)]
struct Fields {
    height: u64,
    timestamp: u64,
    ns_table: EncodedTable,
    payload_commitment: TaggedBase64,
}

impl Header {
    /// Reads the answer of a query service. Headers of unknown versions are read, too, as far as
    /// all versions are alike: they have no commitment, and prove nothing.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn read(body: &[u8]) -> Result<Self, HeaderError> {
        Self::read_by(Scheme::of, body)
    }

    /// Reads the headers of the blocks `from..until`, each with its commitment.
    ///
    /// # Errors
    /// [`HeaderError`], also for those that prove nothing.
    pub fn read_range(body: &[u8], from: u64, until: u64) -> Result<Vec<Self>, HeaderError> {
        let texts: Vec<&RawValue> = read_list(body, until.saturating_sub(from))
            .map_err(|error| HeaderError::Json(error.to_string()))?;
        let read = |(expected, text): (u64, &RawValue)| {
            let header = Self::read(text.get().as_bytes())?;
            if header.height != expected {
                return Err(HeaderError::Place { given: header.height, expected });
            }
            header.committed().map(|_| header)
        };
        (from..).zip(texts).map(read).collect()
    }

    pub(crate) fn read_by(
        schemes: impl Fn(Version) -> Option<Scheme>,
        body: &[u8],
    ) -> Result<Self, HeaderError> {
        let words = |error: serde_json::Error| HeaderError::Json(error.to_string());
        let versioned: Versioned<'_> = serde_json::from_slice(body).map_err(words)?;
        let (version, text) = match versioned {
            Versioned { version: Some(Wrapper { version }), fields: Some(fields) } => {
                let WireVersion { major, minor } = version;
                (Version { major, minor }, fields.get().as_bytes())
            }
            _ => (Version { major: 0, minor: 1 }, body),
        };
        let scheme = schemes(version);
        let Some(parts) = serde_json::from_slice::<HeaderParts>(text).ok() else {
            let Fields { height, timestamp, ns_table, payload_commitment } =
                serde_json::from_slice(text).map_err(words)?;
            let namespaces = NamespaceTable::decode(&decoded(&ns_table)?)?;
            return Ok(Self {
                version,
                height,
                timestamp,
                namespaces,
                payload_commitment,
                l1_finalized: None,
                block_tree_root: None,
                scheme,
                commitment: None,
            });
        };
        let table = decoded(&parts.ns_table)?;
        Ok(Self {
            version,
            height: parts.height,
            timestamp: parts.timestamp,
            namespaces: NamespaceTable::decode(&table)?,
            l1_finalized: parts.l1_finalized.as_ref().map(|block| block.number),
            block_tree_root: BlockTreeRoot::decode(&parts.block_merkle_tree_root),
            scheme,
            commitment: scheme.and_then(|scheme| parts.commitment(&scheme, &table)),
            payload_commitment: parts.payload_commitment,
        })
    }

    /// The protocol version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// HotShot height.
    #[must_use]
    pub const fn height(&self) -> u64 {
        self.height
    }

    /// Block time, seconds since the epoch.
    #[must_use]
    pub const fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// The namespaces in the block.
    #[must_use]
    pub const fn namespaces(&self) -> &NamespaceTable {
        &self.namespaces
    }

    /// The commitment to the block's payload; the tag names the dispersal.
    #[must_use]
    pub const fn payload_commitment(&self) -> &TaggedBase64 {
        &self.payload_commitment
    }

    /// The number of the final L1 block that the header names. Part of the commitment: none of a
    /// header without one says nothing.
    #[must_use]
    pub const fn l1_finalized(&self) -> Option<u64> {
        self.l1_finalized
    }

    /// The root that the header names: of the tree of all headers before it.
    #[must_use]
    pub const fn block_tree_root(&self) -> Option<&BlockTreeRoot> {
        self.block_tree_root.as_ref()
    }

    /// The block's commitment; none for versions that are not known.
    #[must_use]
    pub const fn commitment(&self) -> Option<B256> {
        self.commitment
    }

    /// The block's commitment as services show it (`BLOCK~…`).
    #[must_use]
    pub fn tagged_commitment(&self) -> Option<TaggedBase64> {
        let commitment = self.commitment?;
        Some(TaggedBase64 { tag: "BLOCK".into(), value: commitment.to_vec() })
    }

    /// The commitment of a header whose version is known and whose parts are those of its version.
    ///
    /// # Errors
    /// [`HeaderError`] for any other.
    pub fn committed(&self) -> Result<B256, HeaderError> {
        let &Self { version, height, .. } = self;
        let scheme = self.scheme.ok_or(UnsupportedVersion(version))?;
        let expected = scheme.dispersal.tag();
        if self.payload_commitment.tag != expected {
            let tag = self.payload_commitment.tag.clone();
            return Err(HeaderError::Dispersal { height, tag, version, expected });
        }
        self.commitment.ok_or(HeaderError::Parts { height, version })
    }

    /// What the header says of its place in the chain.
    ///
    /// # Errors
    /// [`HeaderError`] for a header that proves nothing.
    pub fn link(&self) -> Result<Link, HeaderError> {
        let &Self { height, version, block_tree_root: root, .. } = self;
        Ok(Link { height, version, commitment: self.committed()?, root })
    }

    /// The header's scheme, if this build can prove a payload by it.
    pub(crate) fn scheme(&self) -> Result<Scheme, UnsupportedVersion> {
        let built_in = self.scheme.filter(|scheme| scheme.dispersal.is_built_in());
        built_in.ok_or(UnsupportedVersion(self.version))
    }
}

fn decoded(table: &EncodedTable) -> Result<Vec<u8>, HeaderError> {
    decode_base64(&table.bytes).map_err(HeaderError::Encoding)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(header: &Value) -> Result<Header, HeaderError> {
        Header::read(header.to_string().as_bytes())
    }

    fn cases() -> Vec<Value> {
        let vectors: Value =
            serde_json::from_str(include_str!("../testdata/espresso_headers.json")).unwrap();
        vectors["cases"].as_array().unwrap().clone()
    }

    fn tagged(header: &Header) -> Option<String> {
        header.tagged_commitment().map(|commitment| commitment.to_string())
    }

    #[test]
    fn headers_of_every_version_are_read() {
        assert!(!cases().is_empty());
        for case in cases() {
            let fields = &case["header"]["fields"];
            let name = &case["name"];
            let header = read(&case["header"]).unwrap();
            assert_eq!(header.height(), fields["height"], "{name}");
            assert_eq!(header.timestamp(), fields["timestamp"], "{name}");
            assert_eq!(header.payload_commitment().to_string(), fields["payload_commitment"]);
            let bare = read(fields).unwrap();
            assert_eq!(bare.height(), header.height(), "{name}: version 0.1 has no wrapper");
            assert_eq!((bare.version().minor, bare.commitment()), (1, None), "{name}");
        }
    }

    #[test]
    fn headers_have_the_commitments_of_the_vectors() {
        let mut recomputed = 0;
        for case in cases() {
            let header = read(&case["header"]).unwrap();
            if case["recomputed_here"] == true {
                assert_eq!(tagged(&header).as_deref(), case["block_commitment"].as_str());
                let mut other = case["header"].clone();
                other["fields"]["l1_head"] = json!(1);
                assert_ne!(read(&other).unwrap().commitment(), header.commitment());
                recomputed += 1;
            } else {
                assert_eq!(header.commitment(), None, "{}", case["name"]);
            }
        }
        assert_eq!(recomputed, 4);
    }

    #[test]
    fn a_newer_version_is_read_with_the_known_shape() {
        let mut header = cases()[0]["header"].clone();
        header["version"]["Version"]["minor"] = json!(99);
        header["fields"]["new_member"] = json!({});
        header["fields"]["l1_finalized"] = Value::Null;
        let known = read(&cases()[0]["header"]).unwrap();
        let header = read(&header).unwrap();
        assert_eq!(header.height(), known.height());
        assert_eq!(header.namespaces(), known.namespaces());
        let unsupported = UnsupportedVersion(Version { major: 0, minor: 99 });
        assert_eq!(header.committed(), Err(unsupported.into()));
    }

    #[test]
    fn a_range_has_the_headers_that_were_asked_for() {
        let vectors: Value =
            serde_json::from_str(include_str!("../testdata/proofs_block_tree.json")).unwrap();
        let chain = vectors["recorded_0_5_chain"].as_array().unwrap();
        let headers: Vec<Value> = chain.iter().map(|block| block["header"].clone()).collect();
        let read = |headers: &[Value], from, until| {
            Header::read_range(json!(headers).to_string().as_bytes(), from, until)
        };
        assert_eq!(read(&headers[2..5], 2, 5).unwrap().len(), 3);
        assert!(matches!(read(&headers[2..5], 2, 6), Err(HeaderError::Json(_))));
        assert!(matches!(read(&headers[2..5], 2, 4), Err(HeaderError::Json(_))));
        let place = HeaderError::Place { given: 2, expected: 1 };
        assert_eq!(read(&headers[2..5], 1, 4).unwrap_err(), place);
        let mut unknown = headers[2..5].to_vec();
        unknown[1]["version"]["Version"]["minor"] = json!(7);
        let refused = read(&unknown, 2, 5).unwrap_err();
        assert_eq!(refused.reason().code(), "unsupported_version");
    }

    #[test]
    fn a_damaged_header_is_refused() {
        let good = &cases()[0]["header"];
        for (member, value) in [
            ("height", json!("42")),
            ("timestamp", Value::Null),
            ("ns_table", json!({"bytes": "AQ=="})),
            ("payload_commitment", json!("AvidMCommit~AAAA")),
        ] {
            let mut header = good.clone();
            header["fields"][member] = value;
            assert!(read(&header).is_err(), "{member}");
        }
    }

    #[test]
    fn a_header_without_a_part_of_its_version_is_not_committed() {
        let newest = cases().into_iter().rfind(|case| case["recomputed_here"] == true).unwrap();
        for member in ["builder_commitment", "leader_counts", "timestamp_millis", "fee_info"] {
            let mut header = newest["header"].clone();
            header["fields"].as_object_mut().unwrap().remove(member);
            let refused = read(&header).unwrap().committed();
            assert!(matches!(refused, Err(HeaderError::Parts { .. })), "{member}: {refused:?}");
        }
    }

    #[test]
    fn the_tag_of_the_payload_commitment_is_that_of_the_version() {
        let newest = cases().into_iter().rfind(|case| case["recomputed_here"] == true).unwrap();
        let mut header = newest["header"].clone();
        let value = read(&header).unwrap().payload_commitment().value.clone();
        let other = TaggedBase64 { tag: "AvidMCommit".into(), value };
        header["fields"]["payload_commitment"] = json!(other.to_string());
        let refused = read(&header).unwrap().committed();
        assert!(matches!(refused, Err(HeaderError::Dispersal { .. })), "{refused:?}");
    }
}
