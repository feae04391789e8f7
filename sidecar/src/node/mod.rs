//! The full node by its execution RPC.
//!
//! The node is the operator's own and is trusted for its blocks, but not for what is final: that is
//! judged by the rollup kind.

mod choice;
mod execution;

use std::{borrow::Cow, fmt};

use alloy_primitives::{Address, B256, Bytes};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, SeqAccess, Visitor},
};
use serde_json::json;

use crate::{
    eth::{BlockId, Header, Quantity, quantity},
    head::HeadBlock,
    upstream::{Call, UpstreamError, expect_number},
};

pub use execution::{Execution, Survey};

/// A block of the node, as far as a rollup kind reads it.
pub trait NodeBlock: DeserializeOwned + Send + Sync + 'static {
    /// Block number.
    fn number(&self) -> u64;

    /// Block hash.
    fn hash(&self) -> B256;
}

/// A block with its transactions, as far as a comparison by hash needs them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Block {
    /// Block number.
    #[serde(deserialize_with = "quantity")]
    pub number: u64,
    /// Block hash, as the node reports it.
    pub hash: B256,
    /// Hash of the parent.
    pub parent_hash: B256,
    /// Block time, seconds since the epoch.
    #[serde(deserialize_with = "quantity")]
    pub timestamp: u64,
    /// The transactions in order.
    #[serde(deserialize_with = "transactions")]
    pub transactions: Vec<Transaction>,
}

impl NodeBlock for Block {
    fn number(&self) -> u64 {
        self.number
    }

    fn hash(&self) -> B256 {
        self.hash
    }
}

/// More transactions than a block can have.
const MAX_TRANSACTIONS: usize = 64 * 1024;

/// The transactions, unless they are so many that they take more memory than the answer.
pub(crate) fn transactions<'de, D: Deserializer<'de>>(
    reader: D,
) -> Result<Vec<Transaction>, D::Error> {
    struct Bounded;

    impl<'de> Visitor<'de> for Bounded {
        type Value = Vec<Transaction>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "an array of at most {MAX_TRANSACTIONS} transactions")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
            let mut transactions = Vec::new();
            while let Some(transaction) = elements.next_element()? {
                if transactions.len() == MAX_TRANSACTIONS {
                    return Err(A::Error::invalid_length(MAX_TRANSACTIONS + 1, &self));
                }
                transactions.push(transaction);
            }
            Ok(transactions)
        }
    }

    reader.deserialize_seq(Bounded)
}

/// The text of a transaction's type, if it is short enough to be one.
fn kind<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<String>, D::Error> {
    let text = Option::<Cow<'de, str>>::deserialize(reader)?;
    Ok(text.filter(|text| text.len() <= "0x".len() + 16).map(Cow::into_owned))
}

/// A transaction of a [`Block`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Transaction {
    /// Transaction hash.
    pub hash: B256,
    /// The type as the node writes it, a hex quantity; some nodes omit it for legacy transactions.
    #[serde(rename = "type", default, deserialize_with = "kind")]
    pub kind: Option<String>,
    /// Call data.
    #[serde(default)]
    pub input: Bytes,
}

impl Transaction {
    /// Whether the node reports this type.
    #[must_use]
    pub fn is_type(&self, number: u8) -> bool {
        let digits = self.kind.as_deref().and_then(|kind| kind.strip_prefix("0x"));
        digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) == Some(number)
    }
}

/// The full node. There may be several endpoints.
#[derive(Debug, Clone)]
pub struct Node {
    execution: Execution,
}

impl Node {
    /// A node with these RPC endpoints.
    #[must_use]
    pub fn new(execution: impl Into<Execution>) -> Self {
        Self { execution: execution.into() }
    }

    /// What the node says at the beginning of a round; see [`Execution::survey`].
    ///
    /// # Errors
    /// [`UpstreamError`], as for every call here.
    pub async fn survey(
        &self,
        chain_id: Option<u64>,
        head: Option<HeadBlock>,
    ) -> Result<Survey, UpstreamError> {
        self.execution.survey(chain_id, head).await
    }

    /// The chain id.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn chain_id(&self) -> Result<u64, UpstreamError> {
        let Quantity(id) = self.execution.call("eth_chainId", json!([])).await?;
        Ok(id)
    }

    /// The number of the latest block.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn latest(&self) -> Result<u64, UpstreamError> {
        let Quantity(number) = self.execution.call("eth_blockNumber", json!([])).await?;
        Ok(number)
    }

    /// The hash of the block with a number; none if the node does not have it.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn hash_at(&self, number: u64) -> Result<Option<B256>, UpstreamError> {
        let block = self.header(json!(format!("{number:#x}"))).await?;
        expect_number(number, block.map(|block| block.number))?;
        Ok(block.map(|block| block.hash))
    }

    /// The hash of the block with a number, if it is at or below the latest one: after an unclean
    /// stop, geth still has others.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn hash_up_to_latest(&self, number: u64) -> Result<Option<B256>, UpstreamError> {
        let calls = vec![
            Call::new("eth_getBlockByNumber", json!([format!("{number:#x}"), false])),
            Call::new("eth_blockNumber", json!([])),
        ];
        let (block, Quantity(latest)): (Option<Header>, _) = self.execution.batch(calls).await?;
        expect_number(number, block.map(|block| block.number))?;
        Ok(block.filter(|_| number <= latest).map(|block| block.hash))
    }

    /// The block with a number; none if the node does not have it.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn block<B: NodeBlock>(&self, number: u64) -> Result<Option<B>, UpstreamError> {
        match self.short_block(number).await {
            Err(UpstreamError::TooLarge { .. }) => {
                let params = json!([format!("{number:#x}"), true]);
                let block = self.execution.call_alone("eth_getBlockByNumber", params).await?;
                of_number(number, block)
            }
            answer => answer,
        }
    }

    /// The block with a number, if it is short enough to be read beside others.
    ///
    /// # Errors
    /// [`UpstreamError`]; [`UpstreamError::TooLarge`] for a long one.
    pub async fn short_block<B: NodeBlock>(&self, number: u64) -> Result<Option<B>, UpstreamError> {
        let params = json!([format!("{number:#x}"), true]);
        of_number(number, self.execution.call("eth_getBlockByNumber", params).await?)
    }

    /// The block with a number, if it is short enough to be read beside others, and the number of
    /// the latest block, read after it, in one request.
    ///
    /// # Errors
    /// As [`Self::short_block`].
    pub async fn block_and_latest<B: NodeBlock>(
        &self,
        number: u64,
    ) -> Result<(Option<B>, u64), UpstreamError> {
        let calls = vec![
            Call::new("eth_getBlockByNumber", json!([format!("{number:#x}"), true])),
            Call::new("eth_blockNumber", json!([])),
        ];
        let (block, Quantity(latest)) = self.execution.batch(calls).await?;
        Ok((of_number(number, block)?, latest))
    }

    /// The block that the node calls `finalized`; none when it says that it has none, by null or by
    /// an error object that says so. Another error object says nothing.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn finalized(&self) -> Result<Option<BlockId>, UpstreamError> {
        // geth: -32000 "finalized block not found"; Nethermind and Erigon name it likewise.
        let absent = |_: i64, message: &str| message.to_ascii_lowercase().contains("not found");
        let params = json!(["finalized", false]);
        let block: Option<Option<Header>> =
            self.execution.call_optional("eth_getBlockByNumber", params, absent).await?;
        Ok(block.flatten().map(BlockId::from))
    }

    /// The return data of a contract's view function in the node's present state.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn view(&self, contract: Address, data: Bytes) -> Result<Bytes, UpstreamError> {
        let call = json!([{"to": contract, "data": data}, "latest"]);
        self.execution.call("eth_call", call).await
    }

    async fn header(&self, block: serde_json::Value) -> Result<Option<Header>, UpstreamError> {
        self.execution.call("eth_getBlockByNumber", json!([block, false])).await
    }
}

fn of_number<B: NodeBlock>(number: u64, block: Option<B>) -> Result<Option<B>, UpstreamError> {
    expect_number(number, block.as_ref().map(NodeBlock::number))?;
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_compared_as_numbers() {
        let of = |kind: Option<&str>| Transaction {
            hash: B256::ZERO,
            kind: kind.map(str::to_owned),
            input: Bytes::new(),
        };
        assert!(of(Some("0x7e")).is_type(0x7e));
        assert!(of(Some("0x7E")).is_type(0x7e));
        for kind in [None, Some("0x2"), Some("7e"), Some("0x17e"), Some("")] {
            assert!(!of(kind).is_type(0x7e), "{kind:?}");
        }
    }

    #[tokio::test]
    async fn a_block_above_the_latest_one_is_not_counted() {
        drop(rustls::crypto::ring::default_provider().install_default());
        let answers = async |body: String| {
            let calls: Vec<serde_json::Value> = serde_json::from_str(&body).unwrap();
            let answer = |call: &serde_json::Value| {
                let result = match call["method"].as_str() {
                    Some("eth_blockNumber") => json!("0x5"),
                    _ => json!({"number": call["params"][0], "hash": B256::repeat_byte(7),
                        "parentHash": B256::ZERO, "timestamp": "0x1"}),
                };
                json!({"jsonrpc": "2.0", "id": call["id"], "result": result})
            };
            serde_json::to_string(&calls.iter().map(answer).collect::<Vec<_>>()).unwrap()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(answers);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let url = crate::redact::SecretUrl::parse(&url).unwrap();
        let options = crate::upstream::UpstreamOptions {
            request_timeout: std::time::Duration::from_secs(20),
            retry_interval: std::time::Duration::from_secs(1),
            metrics: crate::telemetry::Metrics::new(),
        };
        let target = crate::telemetry::metrics::Target::Node;
        let upstream = crate::upstream::Upstream::new(target, "node_execution_rpc", url, options);
        let upstream = upstream.unwrap();
        let node = Node::new(upstream);
        for (number, found) in [(4, true), (5, true), (6, false)] {
            assert_eq!(node.hash_up_to_latest(number).await.unwrap().is_some(), found, "{number}");
        }
    }

    #[test]
    fn a_block_without_what_the_comparison_needs_is_an_error() {
        let good = json!({"number": "0x1", "hash": B256::ZERO, "parentHash": B256::ZERO,
            "timestamp": "0x5", "transactions": [], "unknown": 1});
        assert!(serde_json::from_value::<Block>(good.clone()).is_ok());
        let many = |count: usize| {
            let mut block = good.clone();
            block["transactions"] = json!(vec![json!({"hash": B256::ZERO}); count]);
            serde_json::from_value::<Block>(block)
        };
        assert_eq!(many(MAX_TRANSACTIONS).unwrap().transactions.len(), MAX_TRANSACTIONS);
        assert!(many(MAX_TRANSACTIONS + 1).is_err());
        for member in ["number", "hash", "parentHash", "timestamp", "transactions"] {
            let mut block = good.clone();
            block.as_object_mut().unwrap().remove(member);
            assert!(serde_json::from_value::<Block>(block).is_err(), "{member}");
        }
    }
}
