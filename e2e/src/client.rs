//! A JSON-RPC client that shows an answer as it came: status, headers, bytes.

use std::{fmt, sync::LazyLock, time::Duration};

use axum::body::Bytes;
use finality_core::headers;
use futures::StreamExt;
use http_body::Frame;
use http_body_util::StreamBody;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::wait::PATIENCE;

/// One HTTP client for the whole process, without proxy and with a limit for each request.
static HTTP: LazyLock<reqwest::Client> = LazyLock::new(|| {
    // The workspace builds reqwest without a default for TLS; building a client needs one
    // nevertheless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(20))
        // Servers here are killed and restarted on the same port: never reuse a dead connection.
        .pool_idle_timeout(Duration::from_secs(2))
        .build()
        .unwrap()
});

/// The HTTP client.
#[must_use]
pub fn http() -> &'static reqwest::Client {
    &HTTP
}

/// A client that speaks HTTP/2 from the first byte.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn http2() -> reqwest::Client {
    LazyLock::force(&HTTP);
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .http2_prior_knowledge()
        .build()
        .unwrap()
}

/// A request body in pieces of that size, without a length, and with a trailer if wanted.
#[must_use]
pub fn pieces(body: &[u8], size: usize, trailer: bool) -> reqwest::Body {
    let mut frames: Vec<_> =
        body.chunks(size).map(|piece| Frame::data(Bytes::copy_from_slice(piece))).collect();
    if trailer {
        let mut map = HeaderMap::new();
        map.insert("x-trailer", HeaderValue::from_static("1"));
        frames.push(Frame::trailers(map));
    }
    let frames = frames.into_iter().map(Ok::<_, std::convert::Infallible>);
    reqwest::Body::wrap(StreamBody::new(futures::stream::iter(frames)))
}

/// A request body that begins like this and never ends.
#[must_use]
pub fn unending(body: Bytes) -> reqwest::Body {
    let first = futures::stream::iter([Ok::<_, std::convert::Infallible>(Frame::data(body))]);
    reqwest::Body::wrap(StreamBody::new(first.chain(futures::stream::pending())))
}

/// A JSON-RPC endpoint.
#[derive(Debug, Clone)]
pub struct Client {
    url: String,
}

/// An HTTP answer as it came.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
}

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq)]
pub enum CallError {
    /// No HTTP answer.
    Transport(String),
    /// An HTTP answer that is no JSON-RPC response.
    NotJsonRpc {
        /// HTTP status.
        status: u16,
        /// The body, as text.
        body: String,
    },
    /// A JSON-RPC error.
    Rpc {
        /// HTTP status.
        status: u16,
        /// The `error` member.
        error: Value,
    },
}

impl CallError {
    /// The JSON-RPC error code, if it is a JSON-RPC error.
    #[must_use]
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::Rpc { error, .. } => error["code"].as_i64(),
            _ => None,
        }
    }

    /// `data.reason` of an error that the filter made.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Rpc { error, .. } => error["data"]["reason"].as_str(),
            _ => None,
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => write!(f, "no answer: {error}"),
            Self::NotJsonRpc { status, body } => write!(f, "HTTP {status}: {body}"),
            Self::Rpc { status, error } => write!(f, "HTTP {status}: {error}"),
        }
    }
}

impl Answer {
    /// The decimal number of the `x-finality-head` header, if there is one.
    ///
    /// # Panics
    /// When the header is no number.
    #[must_use]
    pub fn head(&self) -> Option<u64> {
        let value = self.headers.get(headers::HEAD)?;
        Some(value.to_str().unwrap().parse().expect("x-finality-head is a number"))
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in answer {:?}", self.text()))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `result` member, or why there is none.
    ///
    /// # Errors
    /// [`CallError`] when the answer is an error or no JSON-RPC response.
    pub fn result(&self) -> Result<Value, CallError> {
        let not_json_rpc = || CallError::NotJsonRpc { status: self.status, body: self.text() };
        let value: Value = serde_json::from_slice(&self.body).map_err(|_| not_json_rpc())?;
        // A refused batch gets the same error for each of its calls.
        let mut value = match value {
            Value::Array(mut answers) if !answers.is_empty() => answers.swap_remove(0),
            value => value,
        };
        if let Some(error) = value.get_mut("error") {
            return Err(CallError::Rpc { status: self.status, error: error.take() });
        }
        value.get_mut("result").map(Value::take).ok_or_else(not_json_rpc)
    }
}

impl Client {
    /// A client of the endpoint at `url`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into() }
    }

    /// The endpoint.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Posts these very bytes as `application/json`.
    ///
    /// # Errors
    /// [`CallError::Transport`] when there is no answer.
    pub async fn post(&self, body: impl Into<Vec<u8>>) -> Result<Answer, CallError> {
        let request = http().post(&self.url).header(CONTENT_TYPE, "application/json");
        send(request.body(body.into())).await
    }

    /// One call; the whole answer.
    ///
    /// # Errors
    /// [`CallError::Transport`] when there is no answer.
    pub async fn ask(&self, method: &str, params: Value) -> Result<Answer, CallError> {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.post(call.to_string()).await
    }

    /// One call; its result.
    ///
    /// # Errors
    /// [`CallError`] when there is none.
    pub async fn try_call(&self, method: &str, params: Value) -> Result<Value, CallError> {
        self.ask(method, params).await?.result()
    }

    /// One call that must succeed.
    ///
    /// # Panics
    /// When it does not.
    pub async fn call(&self, method: &str, params: Value) -> Value {
        let asked = params.to_string();
        match self.try_call(method, params).await {
            Ok(result) => result,
            Err(error) => panic!("{method}{asked} at {}: {error}", self.url),
        }
    }
}

/// Sends a request and reads the whole answer.
///
/// # Errors
/// [`CallError::Transport`] when there is no complete answer.
pub async fn send(request: reqwest::RequestBuilder) -> Result<Answer, CallError> {
    let transport = |error: reqwest::Error| CallError::Transport(format!("{error:?}"));
    let response = request.send().await.map_err(transport)?;
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let body = response.bytes().await.map_err(transport)?.to_vec();
    Ok(Answer { status, headers, body })
}

/// Sends these bytes to `http://host:port` and reads until the server ends the connection.
///
/// # Panics
/// When there is no connection, or no end.
pub async fn raw(url: &str, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(PATIENCE, read).await.expect("an end in time").unwrap();
    answer
}

/// A number as JSON-RPC writes it.
#[must_use]
pub fn hex(number: u64) -> String {
    finality_core::head::hex_number(number)
}

/// Reads a hex quantity.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn quantity(value: &Value) -> u64 {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x"));
    u64::from_str_radix(digits.unwrap_or_else(|| panic!("{value} is no quantity")), 16).unwrap()
}

/// Reads a 32-byte hash.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn hash(value: &Value) -> alloy_primitives::B256 {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("{value} is no hash"))
}
