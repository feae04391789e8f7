//! What is asked of one L1 endpoint. A trait, so that voting can be tested without sockets.

use std::fmt;

use alloy_primitives::{Address, B256, Bytes};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};
use serde_json::json;

use super::State;
use crate::{
    eth::{BlockId, Header, Quantity, quantity},
    upstream::{Call, Upstream, UpstreamError, expect_number},
};

type Answer<T> = Result<T, UpstreamError>;

/// An event of a contract.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Log {
    /// The block that has it.
    #[serde(deserialize_with = "quantity")]
    pub block_number: u64,
    /// Its place in that block.
    #[serde(deserialize_with = "quantity")]
    pub log_index: u64,
    /// Signature and indexed arguments.
    pub topics: Vec<B256>,
    /// The other arguments.
    pub data: Bytes,
}

#[derive(Deserialize)]
struct Timed {
    #[serde(deserialize_with = "quantity")]
    timestamp: u64,
}

/// Which chain an endpoint is, and what it has there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The chain id.
    pub chain_id: u64,
    /// The number of its latest block.
    pub latest: u64,
    /// Its blocks with the numbers that were asked for.
    pub blocks: Vec<Option<BlockId>>,
}

/// From two numbers and blocks.
impl<'de> Deserialize<'de> for Look {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Results;

        impl<'de> Visitor<'de> for Results {
            type Value = Look;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("two numbers and blocks")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut results: A) -> Result<Look, A::Error> {
                let mut number = || match results.next_element()? {
                    Some(Quantity(number)) => Ok(number),
                    None => Err(A::Error::invalid_length(2, &self)),
                };
                let (chain_id, latest) = (number()?, number()?);
                let mut blocks = Vec::new();
                while let Some(block) = results.next_element::<Option<Header>>()? {
                    blocks.push(block.map(BlockId::from));
                }
                Ok(Look { chain_id, latest, blocks })
            }
        }

        reader.deserialize_seq(Results)
    }
}

/// One L1 endpoint. A clone is a handle to the same one.
pub trait Endpoint: Clone + Send + Sync + 'static {
    /// The chain id.
    fn chain_id(&self) -> impl Future<Output = Answer<u64>> + Send;
    /// The number of the latest block.
    fn latest(&self) -> impl Future<Output = Answer<u64>> + Send;
    /// The newest final block, if there is one.
    fn finalized(&self) -> impl Future<Output = Answer<Option<BlockId>>> + Send;
    /// The block with a number, if the endpoint has it.
    fn block_at(&self, number: u64) -> impl Future<Output = Answer<Option<BlockId>>> + Send;
    /// Which chain it is and what it has, in one request.
    fn look(&self, numbers: Vec<u64>) -> impl Future<Output = Answer<Look>> + Send;
    /// The return data of a contract's view function, by call data, all in one request. Fails if
    /// one of them does.
    fn views(
        &self,
        contract: Address,
        data: &[String],
        state: State,
    ) -> impl Future<Output = Answer<Vec<Bytes>>> + Send;
    /// The time of a block, seconds since the epoch.
    fn timestamp(&self, hash: B256) -> impl Future<Output = Answer<u64>> + Send;
    /// The events of a contract with this signature, in the blocks `from..=until`.
    fn logs(
        &self,
        contract: Address,
        signature: B256,
        from: u64,
        until: u64,
    ) -> impl Future<Output = Answer<Vec<Log>>> + Send;
    /// Shows in the status that the endpoint's answers are not used, and why.
    fn reject(&self, error: &UpstreamError);
}

impl Endpoint for Upstream {
    async fn chain_id(&self) -> Answer<u64> {
        let Quantity(id) = self.call("eth_chainId", json!([])).await?;
        Ok(id)
    }

    async fn latest(&self) -> Answer<u64> {
        let Quantity(number) = self.call("eth_blockNumber", json!([])).await?;
        Ok(number)
    }

    async fn finalized(&self) -> Answer<Option<BlockId>> {
        self.block_id(json!("finalized")).await
    }

    /// By the `hash` member: recomputing it would fail with every fork that adds a header field.
    async fn block_at(&self, number: u64) -> Answer<Option<BlockId>> {
        self.block_id_at(number).await
    }

    async fn look(&self, numbers: Vec<u64>) -> Answer<Look> {
        let block = |number: &u64| {
            Call::new("eth_getBlockByNumber", json!([format!("{number:#x}"), false]))
        };
        let first = ["eth_chainId", "eth_blockNumber"].map(|method| Call::new(method, json!([])));
        let calls: Vec<_> = first.into_iter().chain(numbers.iter().map(block)).collect();
        let look: Look = self.batch(&calls).await?;
        for (number, block) in numbers.iter().zip(&look.blocks) {
            expect_number(*number, block.map(|block| block.number))?;
        }
        Ok(look)
    }

    async fn views(&self, contract: Address, data: &[String], state: State) -> Answer<Vec<Bytes>> {
        let block = match state {
            State::Of(block) => json!({"blockHash": block.hash}),
            State::Latest => json!("latest"),
        };
        let call =
            |data: &String| Call::new("eth_call", json!([{"to": contract, "data": data}, block]));
        match data {
            [only] => {
                let Call { method, params } = call(only);
                Ok(vec![self.call(method, params).await?])
            }
            several => self.batch(&several.iter().map(call).collect::<Vec<_>>()).await,
        }
    }

    async fn timestamp(&self, hash: B256) -> Answer<u64> {
        let block: Option<Timed> = self.call("eth_getBlockByHash", json!([hash, false])).await?;
        let missing = || UpstreamError::Distrusted(format!("it does not have block {hash}"));
        block.map(|block| block.timestamp).ok_or_else(missing)
    }

    async fn logs(
        &self,
        contract: Address,
        signature: B256,
        from: u64,
        until: u64,
    ) -> Answer<Vec<Log>> {
        let filter = json!({
            "address": contract,
            "topics": [signature],
            "fromBlock": format!("{from:#x}"),
            "toBlock": format!("{until:#x}"),
        });
        self.call("eth_getLogs", json!([filter])).await
    }

    fn reject(&self, error: &UpstreamError) {
        self.blame(error);
    }
}
