//! JSON-RPC calls over HTTP.

use alloy_primitives::bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};

use super::{LONGEST_BLOCK, Question, Upstream, UpstreamError};
use crate::{
    eth::{BlockId, Header},
    telemetry::metrics::Purpose,
};

/// A call of a method.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: &'static str,
    /// Its parameters.
    pub params: Value,
}

impl Call {
    /// A call.
    #[must_use]
    pub const fn new(method: &'static str, params: Value) -> Self {
        Self { method, params }
    }

    /// What it is for.
    pub(super) fn purpose(&self) -> Purpose {
        purpose(self.method, &self.params)
    }
}

fn purpose(method: &str, params: &Value) -> Purpose {
    match method {
        "eth_chainId" => Purpose::ChainId,
        "eth_blockNumber" => Purpose::Latest,
        "eth_getBlockByNumber" if params.get(0) == Some(&json!("finalized")) => Purpose::Finalized,
        "eth_getBlockByNumber" if params.get(1) == Some(&json!(true)) => Purpose::Block,
        "eth_getBlockByNumber" | "eth_getBlockByHash" => Purpose::Hash,
        "eth_call" => Purpose::Contract,
        "eth_getLogs" => Purpose::Logs,
        "optimism_rollupConfig" => Purpose::Config,
        "optimism_syncStatus" => Purpose::SyncStatus,
        "optimism_safeHeadAtL1Block" => Purpose::SafeHead,
        _ => Purpose::Other,
    }
}

#[derive(Serialize)]
pub(super) struct Request<'a> {
    jsonrpc: &'a str,
    id: u64,
    method: &'a str,
    params: &'a Value,
}

impl<'a> Request<'a> {
    pub(super) const fn new(id: u64, method: &'a str, params: &'a Value) -> Self {
        Self { jsonrpc: "2.0", id, method, params }
    }
}

#[derive(Deserialize)]
pub(super) struct Answer<'a> {
    /// Ours are numbers.
    #[serde(default, deserialize_with = "number")]
    pub(super) id: Option<u64>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    error: Option<RpcError>,
}

impl<'a> Answer<'a> {
    /// The result, or the error object.
    pub(super) fn result(self) -> Result<&'a RawValue, UpstreamError> {
        match (self.error, self.result) {
            (Some(RpcError { code, message }), _) => Err(UpstreamError::Rpc { code, message }),
            (None, Some(result)) => Ok(result),
            (None, None) => Err(UpstreamError::Malformed("neither result nor error".into())),
        }
    }
}

/// A number; none for anything else.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = <&RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(text.get()).ok())
}

#[derive(Deserialize)]
struct RpcError {
    code: i64,
    #[serde(default)]
    message: String,
}

/// Keeps `null` apart from a missing member: a null result is an answer.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Whether an error object, by its code and message, says that there is nothing to tell.
pub type Absent = fn(i64, &str) -> bool;

/// A JSON-RPC endpoint. A trait, so that what is done with several can be tested without sockets.
pub trait JsonRpc: Clone + Send + Sync + 'static {
    /// See [`Upstream::call_optional`].
    fn call_optional<T: DeserializeOwned + Send>(
        &self,
        method: &'static str,
        params: Value,
        absent: Absent,
    ) -> impl Future<Output = Result<Option<T>, UpstreamError>> + Send;
    /// Calls a method whose answer may be a long block ([`LONGEST_BLOCK`]), since no other long one
    /// is read meanwhile.
    fn call_alone<T: DeserializeOwned + Send>(
        &self,
        method: &'static str,
        params: Value,
    ) -> impl Future<Output = Result<T, UpstreamError>> + Send;
    /// See [`Upstream::batch`].
    fn batch<T: DeserializeOwned + Send>(
        &self,
        calls: Vec<Call>,
    ) -> impl Future<Output = Result<T, UpstreamError>> + Send;
    /// Shows in the status that the endpoint's answers are not used, and why.
    fn reject(&self, error: &UpstreamError);
}

impl JsonRpc for Upstream {
    async fn call_optional<T: DeserializeOwned + Send>(
        &self,
        method: &'static str,
        params: Value,
        absent: Absent,
    ) -> Result<Option<T>, UpstreamError> {
        Self::call_optional(self, method, params, absent).await
    }

    async fn call_alone<T: DeserializeOwned + Send>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<T, UpstreamError> {
        let question = Question { limit: LONGEST_BLOCK, ..Question::SMALL };
        self.ask(method, params, question, |body| read_answer(method, body)).await
    }

    async fn batch<T: DeserializeOwned + Send>(
        &self,
        calls: Vec<Call>,
    ) -> Result<T, UpstreamError> {
        Self::batch(self, &calls).await
    }

    fn reject(&self, error: &UpstreamError) {
        self.blame(error);
    }
}

impl Upstream {
    /// Calls a JSON-RPC method.
    ///
    /// # Errors
    /// [`UpstreamError`]; an error object of the answer is [`UpstreamError::Rpc`].
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: Value,
    ) -> Result<T, UpstreamError> {
        let question = Question::of_method(method);
        self.ask(method, params, question, |body| read_answer(method, body)).await
    }

    /// Calls a method whose error object may say that there is nothing to tell, as `absent` judges
    /// by its code and message. Then the endpoint has answered, and is not at fault.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn call_optional<T: DeserializeOwned>(
        &self,
        method: &str,
        params: Value,
        absent: Absent,
    ) -> Result<Option<T>, UpstreamError> {
        let question = Question::of_method(method);
        self.ask(method, params, question, |body| match read_answer(method, body) {
            Err(UpstreamError::Rpc { code, message }) if absent(code, &message) => Ok(None),
            answer => answer.map(Some),
        })
        .await
    }

    async fn ask<T>(
        &self,
        method: &str,
        params: Value,
        question: Question,
        read: impl FnOnce(&Bytes) -> Result<T, UpstreamError>,
    ) -> Result<T, UpstreamError> {
        let body = Request::new(1, method, &params);
        let url = self.url();
        let request = self.inner.client.post(url.expose().clone()).json(&body);
        let purpose = purpose(method, &params);
        self.send((method, &[purpose]), (request, &url), question, read).await
    }

    /// Number and hash of a block by number or tag; none if the endpoint does not have it.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn block_id(&self, block: Value) -> Result<Option<BlockId>, UpstreamError> {
        let header: Option<Header> =
            self.call("eth_getBlockByNumber", json!([block, false])).await?;
        Ok(header.map(BlockId::from))
    }

    /// The block with a number; none if the endpoint does not have it.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn block_id_at(&self, number: u64) -> Result<Option<BlockId>, UpstreamError> {
        let block = self.block_id(json!(format!("{number:#x}"))).await?;
        expect_number(number, block.map(|block| block.number))?;
        Ok(block)
    }
}

fn read_answer<T: DeserializeOwned>(method: &str, body: &[u8]) -> Result<T, UpstreamError> {
    let malformed =
        |error: serde_json::Error| UpstreamError::Malformed(format!("{method}: {error}"));
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(malformed)?;
    serde_json::from_str(answer.result()?.get()).map_err(malformed)
}

/// Checks that the answer to a question about one block is that block.
pub(crate) fn expect_number(asked: u64, answered: Option<u64>) -> Result<(), UpstreamError> {
    match answered {
        Some(answered) if answered != asked => Err(UpstreamError::Malformed(format!(
            "asked for block {asked}, the answer is block {answered}"
        ))),
        _ => Ok(()),
    }
}
