//! Basic types of Ethereum, for L1 and L2 alike.

use alloy_primitives::B256;
use serde::{Deserialize, Deserializer, Serialize, de::Error};

/// Number and hash of a block, on L1 or L2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlockId {
    /// Block number.
    pub number: u64,
    /// Block hash.
    pub hash: B256,
}

impl std::fmt::Display for BlockId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.number, self.hash)
    }
}

/// Number and hash of a block, as `eth_getBlockByNumber` gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Header {
    #[serde(deserialize_with = "quantity")]
    pub(crate) number: u64,
    pub(crate) hash: B256,
}

impl From<Header> for BlockId {
    fn from(header: Header) -> Self {
        Self { number: header.number, hash: header.hash }
    }
}

/// A hex quantity of JSON-RPC.
#[derive(Deserialize)]
pub(crate) struct Quantity(#[serde(deserialize_with = "quantity")] pub(crate) u64);

/// A hex quantity of JSON-RPC that fits 64 bits.
pub(crate) fn quantity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    text.strip_prefix("0x")
        .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| D::Error::custom(format_args!("{text:?} is not a 64-bit hex quantity")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_strict() {
        let read = |text: &str| serde_json::from_str::<Quantity>(text).map(|Quantity(n)| n);
        assert_eq!(read("\"0x0\"").unwrap(), 0);
        assert_eq!(read("\"0xffffffffffffffff\"").unwrap(), u64::MAX);
        for text in
            ["\"\"", "\"0x\"", "\"0x+1\"", "\"0x10000000000000000\"", "\"12\"", "12", "null"]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
