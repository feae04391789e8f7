//! HotShot headers, as far as an operator needs them: the age of HotShot's newest block, and the
//! L1 block that HotShot knows to be final.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

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
#[serde(untagged)]
enum Versioned {
    Wrapped { version: Wrapper, fields: Value },
    Bare(Value),
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

impl<'de> Deserialize<'de> for HotShotHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (version, value) = match Versioned::deserialize(deserializer)? {
            Versioned::Wrapped { version: Wrapper { version }, fields } => {
                ((version.major, version.minor), fields)
            }
            Versioned::Bare(fields) => ((0, 1), fields),
        };
        let fields = Fields::deserialize(&value).map_err(D::Error::custom)?;
        let table = STANDARD.decode(&fields.ns_table.bytes).map_err(D::Error::custom)?;
        let namespaces = NamespaceTable::decode(&table)
            .ok_or_else(|| D::Error::custom("the namespace table is malformed"))?;
        // A version with unknown fields is read all the same.
        let parts = HeaderParts::deserialize(&value).ok();
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
    use serde_json::json;

    use super::*;

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
            let header: HotShotHeader = serde_json::from_value(case["header"].clone()).unwrap();
            assert_eq!(header.height, fields["height"], "{name}");
            assert_eq!(header.timestamp, fields["timestamp"], "{name}");
            let commitment = fields["payload_commitment"].as_str().unwrap();
            assert!(commitment.starts_with(&format!("{}~", header.payload_commitment.tag)));
            let bare: HotShotHeader = serde_json::from_value(fields.clone()).unwrap();
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
        let read: HotShotHeader = serde_json::from_value(header).unwrap();
        let known: HotShotHeader = serde_json::from_value(cases()[0]["header"].clone()).unwrap();
        assert_eq!(read, HotShotHeader { commitment: None, ..known });
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
            assert!(serde_json::from_value::<HotShotHeader>(header).is_err(), "{member}");
        }
    }
}
