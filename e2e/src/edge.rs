//! The real Envoy with the filter, between a node that records what it gets and a sidecar that
//! answers what a test wants.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    client::{Answer, CallError, Client},
    echo::Echo,
    envoy::{self, Envoy, Framing},
    fake_sidecar::{FakeSidecar, Says},
    process,
    tools::Tools,
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

/// What kind of edge to start.
#[derive(Debug, Clone)]
pub struct Builder {
    framing: Framing,
    says: Says,
    edits: Vec<(String, String)>,
    arguments: Vec<String>,
    dynamic: bool,
    node: Option<u16>,
    module: Option<PathBuf>,
}

impl Builder {
    /// How the filter frames changed bodies.
    #[must_use]
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// The sidecar's first answer.
    #[must_use]
    pub fn says(mut self, says: Says) -> Self {
        self.says = says;
        self
    }

    /// More members of the filter's configuration, as JSON text: `"freshness": "strict"`.
    #[must_use]
    pub fn filter(self, members: &str) -> Self {
        let tags = r#""tags": ["espresso"],"#;
        self.edit(tags, &format!("{tags} {members},"))
    }

    /// Replaces a text of the shipped configuration.
    #[must_use]
    pub fn edit(mut self, from: &str, to: &str) -> Self {
        self.edits.push((from.into(), to.into()));
        self
    }

    /// Puts Envoy in front of another node, at that port.
    #[must_use]
    pub fn node(mut self, port: u16) -> Self {
        self.node = Some(port);
        self
    }

    /// Lets Envoy load another module.
    #[must_use]
    pub fn module(mut self, path: &Path) -> Self {
        self.module = Some(path.into());
        self
    }

    /// Lets Envoy speak HTTP/2 to the node.
    #[must_use]
    pub fn http2_to_node(self) -> Self {
        let node = "  - name: full_node\n    type: STRICT_DNS\n";
        let options = concat!(
            "    typed_extension_protocol_options:\n",
            "      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n",
            r#"        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"#,
            "\n        explicit_http_config: { http2_protocol_options: { allow_connect: true } }\n",
        );
        self.edit(node, &format!("{node}{options}"))
    }

    /// Lets the listener be changed while Envoy runs; old ones are gone after a second.
    #[must_use]
    pub fn dynamic(mut self) -> Self {
        self.dynamic = true;
        let arguments = ["--drain-time-s", "1", "--drain-strategy", "immediate"];
        self.arguments.extend(arguments.map(String::from));
        self
    }

    /// Lets Envoy write its access log at once, not every ten seconds.
    #[must_use]
    pub fn access_log_at_once(mut self) -> Self {
        self.arguments.extend(["--file-flush-interval-msec", "20"].map(String::from));
        self
    }

    /// Starts everything. Nothing is waited for but that Envoy takes requests.
    ///
    /// # Panics
    /// When a part does not start.
    pub async fn start(self) -> Edge {
        let tools = Tools::from_env().unwrap_or_else(|error| panic!("{error}"));
        let folder = process::folder();
        let node = Echo::start().await;
        let sidecar = FakeSidecar::start(self.says).await;
        let envoy = Envoy::new(
            &envoy::Settings {
                program: tools.envoy,
                configuration: tools.envoy_yaml,
                filter: self.module.unwrap_or(tools.filter),
                framing: self.framing,
                tags: Vec::new(),
                node_port: self.node.unwrap_or_else(|| node.port()),
                sidecar_port: sidecar.port(),
                edits: self.edits,
                arguments: self.arguments,
                dynamic: self.dynamic,
            },
            folder.path(),
        );
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
    pub fn builder() -> Builder {
        Builder {
            framing: Framing::default(),
            says: Says::head(100),
            edits: Vec::new(),
            arguments: Vec::new(),
            dynamic: false,
            node: None,
            module: None,
        }
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
