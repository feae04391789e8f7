//! HotShot headers, as far as an operator needs them: the age of HotShot's newest block, and the
//! L1 block that HotShot knows to be final.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{NamespaceTable, TaggedBase64, commitment::HeaderParts};

/// The part of a header that every version has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotShotHeader {
    /// HotShot height.
    pub height: u64,
    /// Block time, seconds since the epoch.
    pub timestamp: u64,
    /// The namespaces in the block.
    pub namespaces: NamespaceTable,
    /// Commitment to the block's payload; the tag names the dispersal scheme.
    pub payload_commitment: TaggedBase64,
    /// The block's own commitment, recomputed from the header; none for versions before 0.3 and
    /// after 0.6.
    pub commitment: Option<TaggedBase64>,
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
    version: Version,
}

#[derive(Deserialize)]
struct Version {
    major: u64,
    minor: u64,
}

#[derive(Deserialize)]
struct Fields {
    height: u64,
    timestamp: u64,
    ns_table: EncodedTable,
    payload_commitment: TaggedBase64,
}

#[derive(Deserialize)]
struct EncodedTable {
    bytes: String,
}

impl HotShotHeader {
    /// Reads the answer of a query service.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        let words = |error: serde_json::Error| error.to_string();
        let versioned: Versioned<'_> = serde_json::from_slice(body).map_err(words)?;
        let (version, text) = match versioned {
            Versioned { version: Some(Wrapper { version }), fields: Some(fields) } => {
                ((version.major, version.minor), fields.get().as_bytes())
            }
            _ => ((0, 1), body),
        };
        let fields: Fields = serde_json::from_slice(text).map_err(words)?;
        let table = STANDARD.decode(&fields.ns_table.bytes).map_err(|error| error.to_string())?;
        let namespaces =
            NamespaceTable::decode(&table).ok_or("the namespace table is malformed")?;
        // A version with unknown fields is read all the same.
        let parts = serde_json::from_slice::<HeaderParts>(text).ok();
        Ok(Self {
            height: fields.height,
            timestamp: fields.timestamp,
            namespaces,
            payload_commitment: fields.payload_commitment,
            commitment: parts.and_then(|parts| parts.commitment(version, &table)),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(header: &Value) -> Result<HotShotHeader, String> {
        HotShotHeader::read(header.to_string().as_bytes())
    }

    fn cases() -> Vec<Value> {
        let vectors: Value =
            serde_json::from_str(include_str!("../../testdata/espresso_headers.json")).unwrap();
        vectors["cases"].as_array().unwrap().clone()
    }

    #[test]
    fn headers_of_every_version_are_read() {
        assert!(!cases().is_empty());
        for case in cases() {
            let fields = &case["header"]["fields"];
            let name = &case["name"];
            let header = read(&case["header"]).unwrap();
            assert_eq!(header.height, fields["height"], "{name}");
            assert_eq!(header.timestamp, fields["timestamp"], "{name}");
            let commitment = fields["payload_commitment"].as_str().unwrap();
            assert!(commitment.starts_with(&format!("{}~", header.payload_commitment.tag)));
            let bare = read(fields).unwrap();
            let expected = HotShotHeader { commitment: None, ..header };
            assert_eq!(bare, expected, "{name}: version 0.1 has no wrapper");
        }
    }

    #[test]
    fn a_newer_version_is_read_with_the_known_shape() {
        let mut header = cases()[0]["header"].clone();
        header["version"]["Version"]["minor"] = json!(99);
        header["fields"]["new_member"] = json!({});
        header["fields"]["l1_finalized"] = Value::Null;
        let known = read(&cases()[0]["header"]).unwrap();
        assert_eq!(read(&header).unwrap(), HotShotHeader { commitment: None, ..known });
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
}
