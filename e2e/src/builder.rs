//! How an Envoy with something around it is chosen before it starts: the options of Envoy, the same
//! for a whole devnet and for an edge, and the parts around it.

use std::path::Path;

use crate::envoy::{Framing, Options};

/// What is going to be started.
#[derive(Debug)]
pub struct Builder<P> {
    pub(crate) envoy: Options,
    pub(crate) parts: P,
}

impl<P> Builder<P> {
    pub(crate) fn new(parts: P) -> Self {
        Self { envoy: Options::default(), parts }
    }

    /// How the filter frames changed bodies.
    #[must_use]
    pub fn framing(mut self, framing: Framing) -> Self {
        self.envoy.framing = framing;
        self
    }

    /// The tags in the filter's configuration, instead of the shipped ones.
    #[must_use]
    pub fn tags(mut self, tags: &[&str]) -> Self {
        self.envoy.tags = tags.iter().map(ToString::to_string).collect();
        self
    }

    /// Replaces a text of the shipped configuration.
    #[must_use]
    pub fn edit(mut self, from: &str, to: &str) -> Self {
        self.envoy.edits.push((from.into(), to.into()));
        self
    }

    /// More members of the filter's configuration, as JSON text: `"freshness": "strict"`.
    #[must_use]
    pub fn filter(self, members: &str) -> Self {
        let tags = r#""tags": ["espresso"]"#;
        self.edit(tags, &format!("{tags}, {members}"))
    }

    /// Lets Envoy load another module.
    #[must_use]
    pub fn module(mut self, path: &Path) -> Self {
        self.envoy.module = Some(path.into());
        self
    }

    /// Lets Envoy speak HTTP/2 to the node.
    #[must_use]
    pub fn http2_to_node(self) -> Self {
        self.edit(
            "explicit_http_config: { http_protocol_options: {} }",
            "explicit_http_config: { http2_protocol_options: { allow_connect: true } }",
        )
    }

    /// Lifts the limit of a client, as which all requests of a test count.
    #[must_use]
    pub fn many_requests(self) -> Self {
        self.edit("max_tokens: 10000", "max_tokens: 1000000")
    }

    /// Lets one connection have many requests at once.
    #[must_use]
    pub fn many_streams(self) -> Self {
        self.edit("max_concurrent_streams: 100", "max_concurrent_streams: 1000")
    }

    /// Lets the listener be changed while Envoy runs; old ones are gone after a second.
    #[must_use]
    pub fn dynamic(mut self) -> Self {
        self.envoy.dynamic = true;
        let arguments = ["--drain-time-s", "1", "--drain-strategy", "immediate"];
        self.envoy.arguments.extend(arguments.map(String::from));
        self
    }

    /// Lets Envoy write its access log at once, not every ten seconds.
    #[must_use]
    pub fn access_log_at_once(mut self) -> Self {
        self.envoy.arguments.extend(["--file-flush-interval-msec", "20"].map(String::from));
        self
    }
}
