//! Every setting of the sidecar.

mod url;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use alloy_primitives::Address;

pub use url::SecretUrl;

use crate::telemetry::log::Format;

/// The effective settings of `run`.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the HTTP API listens.
    pub listen_addr: SocketAddr,
    /// The full node's execution RPC.
    pub node_execution_rpc: SecretUrl,
    /// The full node's consensus RPC (op-node).
    pub node_consensus_rpc: SecretUrl,
    /// The L1 RPC.
    pub l1_rpc: SecretUrl,
    /// The HotShot query service.
    pub query_service_url: SecretUrl,
    /// The light client contract on L1.
    pub light_client_address: Option<Address>,
    /// Who may sign batches; at least one.
    pub batcher_addresses: Vec<Address>,
    /// The Espresso namespace, if it is not the chain id.
    pub namespace: Option<u32>,
    /// Where reading HotShot begins when neither store nor light client knows.
    pub initial_hotshot_height: Option<u64>,
    /// The state file.
    pub store_path: PathBuf,
    /// Pause between two rounds of the verifier when there is no work.
    pub verification_interval: Duration,
    /// Limit of one request to a dependency.
    pub request_timeout: Duration,
    /// Longest `wait` of `/v1/head`.
    pub long_poll_limit: Duration,
    /// Time between not ready and no longer accepting, at shutdown.
    pub shutdown_delay: Duration,
    /// Limit for finishing what is in flight, at shutdown.
    pub shutdown_limit: Duration,
    /// Age of the head above which `/readyz` fails, if any.
    pub ready_max_age: Option<Duration>,
    /// Connections that the HTTP API holds at once.
    pub max_connections: usize,
    /// Log level or filter directives.
    pub log_level: String,
    /// Form of the log.
    pub log_format: Format,
}
