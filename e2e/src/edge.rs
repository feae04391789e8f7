//! The real Envoy with the filter, between a node that records what it gets and a sidecar that
//! answers what a test wants.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    builder::Builder,
    client::{Answer, CallError, Client},
    echo::Echo,
    envoy::Envoy,
    fake_sidecar::{FakeSidecar, Says},
    process,
    wait::{PATIENCE, until},
};

/// Envoy, the node behind it and the sidecar beside it.
#[derive(Debug)]
pub struct Edge {
    /// Envoy.
    pub envoy: Envoy,
    /// The sidecar.
    pub sidecar: FakeSidecar,
    /// The node.
    pub node: Echo,
    _folder: TempDir,
}

/// What stands around Envoy.
#[derive(Debug)]
pub struct Parts {
    says: Says,
    node: Option<u16>,
}

impl Builder<Parts> {
    /// The sidecar's first answer.
    #[must_use]
    pub fn says(mut self, says: Says) -> Self {
        self.parts.says = says;
        self
    }

    /// Puts Envoy in front of another node, at that port.
    #[must_use]
    pub fn node(mut self, port: u16) -> Self {
        self.parts.node = Some(port);
        self
    }

    /// Starts everything. Nothing is waited for but that Envoy takes requests.
    ///
    /// # Panics
    /// When a part does not start.
    pub async fn start(self) -> Edge {
        let folder = process::folder();
        let node = Echo::start().await;
        let sidecar = FakeSidecar::start(self.parts.says).await;
        let node_port = self.parts.node.unwrap_or_else(|| node.port());
        let envoy = Envoy::new(self.envoy, node_port, sidecar.port(), folder.path());
        envoy.start().await;
        Edge { envoy, sidecar, node, _folder: folder }
    }
}

/// A request with these parameters.
#[must_use]
pub fn call(params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": "eth_getBalance", "params": params}).to_string()
}

/// A request with a tag.
#[must_use]
pub fn tagged() -> String {
    call(&json!(["0xabc", "espresso"]))
}

/// A request without one.
#[must_use]
pub fn untagged() -> String {
    call(&json!(["0xabc", "latest"]))
}

impl Edge {
    /// An edge of the ordinary kind with a head at 100, to be changed before it starts.
    #[must_use]
    pub fn builder() -> Builder<Parts> {
        Builder::new(Parts { says: Says::head(100), node: None })
    }

    /// A client.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.envoy.url())
    }

    /// What a tag becomes: the number, or the reason of the refusal.
    ///
    /// # Panics
    /// When the node got something else than the answer shows.
    pub async fn resolve(&self) -> Result<u64, String> {
        resolve(&self.client()).await
    }

    /// Waits until a tag becomes that.
    pub async fn resolves_to(&self, wanted: Result<u64, &str>) {
        until(&format!("a tag to become {wanted:?}"), PATIENCE, async || {
            let found = self.resolve().await;
            (found.as_ref().copied().map_err(String::as_str) == wanted).then_some(())
        })
        .await;
    }
}

/// What a tag becomes through an Envoy: the number, or the reason of the refusal.
///
/// # Errors
/// The reason.
///
/// # Panics
/// When the answer is neither.
pub async fn resolve(client: &Client) -> Result<u64, String> {
    let answer = client.post(tagged()).await.unwrap();
    outcome(&answer)
}

/// The number that a tag became by the echo of the node, or the reason of the refusal.
///
/// # Errors
/// The reason.
///
/// # Panics
/// When the answer is neither.
pub fn outcome(answer: &Answer) -> Result<u64, String> {
    if let Err(CallError::Rpc { error, status }) = answer.result() {
        assert_eq!((status, error["code"].as_i64()), (503, Some(-32055)), "{error}");
        return Err(error["data"]["reason"].as_str().unwrap().to_owned());
    }
    let number = answer.head().unwrap_or_else(|| panic!("no head: {}", answer.text()));
    assert_eq!(answer.text(), tagged().replace("espresso", &crate::client::hex(number)));
    Ok(number)
}
