//! Every setting of the sidecar: what it is ([`SETTINGS`]), where its value comes from ([`Values`])
//! and what it must look like ([`Config`]).

mod file;
mod gather;
mod go_proxy;
mod parse;
mod problem;
mod reader;
mod settings;
mod value;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use alloy_primitives::Address;

use self::reader::Reader;
use crate::{batchers::BatcherSource, redact::SecretUrl, store::Record, telemetry::log::Format};

pub use self::{
    gather::{CONFIG_VARIABLE, Values},
    go_proxy::{NAMES as GO_PROXY_NAMES, Name as GoProxyName, old_flags},
    problem::{Problem, Problems},
    settings::{SETTINGS, Setting},
    value::{Source, Value},
};

/// The effective settings of `run`.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the HTTP API listens.
    pub listen_addr: SocketAddr,
    /// The full node's execution RPC; at least one.
    pub node_execution_rpc: Vec<SecretUrl>,
    /// The full node's consensus RPC (op-node); at least one.
    pub node_consensus_rpc: Vec<SecretUrl>,
    /// L1 RPCs; at least one.
    pub l1_rpc: Vec<SecretUrl>,
    /// The HotShot query services; at least one.
    pub query_service_url: Vec<SecretUrl>,
    /// The light client contract on L1.
    pub light_client_address: Option<Address>,
    /// Where it is told who may sign batches.
    pub batchers: BatcherSource,
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

impl Config {
    /// Parses and checks all values.
    ///
    /// # Errors
    /// Every problem, not only the first.
    pub fn from_values(values: &Values) -> Result<Self, Problems> {
        let mut reader = Reader::new(values);
        let listen_addr = reader.value("listen_addr", parse::socket_address);
        let node_execution_rpc = reader.value("node_execution_rpc", parse::urls);
        let node_consensus_rpc = reader.value("node_consensus_rpc", parse::urls);
        let l1_rpc = reader.value("l1_rpc", parse::urls);
        let query_service_url = reader.value("query_service_url", parse::urls);
        let light_client_address = reader.optional("light_client_address", parse::address);
        let authenticator = reader.optional("batch_authenticator_address", parse::address);
        let batchers = match reader.optional("batcher_addresses", parse::tenures) {
            Some(_) if authenticator.is_some() => {
                reader.refuse(
                    "batcher_addresses",
                    "give either this or batch_authenticator_address, not both",
                );
                None
            }
            Some(tenures) => Some(BatcherSource::Fixed(tenures)),
            None => Some(BatcherSource::Contract(authenticator)),
        };
        let namespace = reader.optional("namespace", parse::namespace);
        let initial_hotshot_height = reader.optional("initial_hotshot_height", parse::height);
        let store_path = reader.value("store_path", parse::path);
        let verification_interval = reader.value("verification_interval", parse::pause);
        let request_timeout = reader.value("request_timeout", parse::pause);
        let long_poll_limit = reader.value("long_poll_limit", parse::pause);
        let shutdown_delay = reader.value("shutdown_delay", parse::duration);
        let shutdown_limit = reader.value("shutdown_limit", parse::duration);
        let ready_max_age = reader.optional("ready_max_age", parse::pause);
        let max_connections = reader.value("max_connections", parse::count);
        let log_level = reader.value("log_level", parse::log_level);
        let log_format = reader.value("log_format", parse::log_format);
        // Every value was looked at, so that all problems are known; a missing one is among them.
        reader.finish(|| {
            Some(Self {
                listen_addr: listen_addr?,
                node_execution_rpc: node_execution_rpc?,
                node_consensus_rpc: node_consensus_rpc?,
                l1_rpc: l1_rpc?,
                query_service_url: query_service_url?,
                light_client_address,
                batchers: batchers?,
                namespace,
                initial_hotshot_height,
                store_path: store_path?,
                verification_interval: verification_interval?,
                request_timeout: request_timeout?,
                long_poll_limit: long_poll_limit?,
                shutdown_delay: shutdown_delay?,
                shutdown_limit: shutdown_limit?,
                ready_max_age,
                max_connections: max_connections?,
                log_level: log_level?,
                log_format: log_format?,
            })
        })
    }
}

impl Config {
    /// Checks that something tells where reading HotShot begins: the stored record, the light
    /// client or the configuration.
    ///
    /// # Errors
    /// One problem that names the settings.
    pub fn check_start_position(&self, record: Option<&Record>) -> Result<(), Problems> {
        let stored = record.and_then(|record| record.restart_height);
        if stored.is_some()
            || self.light_client_address.is_some()
            || self.initial_hotshot_height.is_some()
        {
            return Ok(());
        }
        let mut problems = Problems::default();
        problems.add(Problem::of(
            "light_client_address",
            None,
            "missing: nothing tells where reading HotShot begins; give light_client_address or \
             initial_hotshot_height (the state file has no position)",
        ));
        Err(problems)
    }
}

/// The state file alone, for commands that need nothing else.
///
/// # Errors
/// Problems of the sources or of that value.
pub fn store_path(values: &Values) -> Result<PathBuf, Problems> {
    let mut reader = Reader::new(values);
    let path = reader.value("store_path", parse::path);
    reader.finish(|| path)
}

/// All effective values as TOML, with the source of each, after the notes; what may hold a secret
/// is masked.
#[must_use]
pub fn describe(values: &Values) -> String {
    let mut text: String = values.notes().map(|note| format!("# Note: {note}\n")).collect();
    for setting in SETTINGS {
        let line = match values.get(setting.name) {
            None if setting.required => format!("# {} is missing", setting.name),
            None => format!("# {} is not set", setting.name),
            Some(value) => {
                let all_urls = parse::list(&value.text).all(|text| SecretUrl::parse(text).is_ok());
                let shown = |text: &str| match SecretUrl::parse(text) {
                    _ if !setting.secret => toml_string(text),
                    // A comma in user info may have made a host of what stands before it.
                    Ok(url) if all_urls => toml_string(&url.to_string()),
                    _ => toml_string("…"),
                };
                let shown = if setting.list {
                    let elements: Vec<_> = parse::list(&value.text).map(shown).collect();
                    format!("[{}]", elements.join(", "))
                } else {
                    shown(&value.text)
                };
                let source = value.source.describe(setting.name);
                let by = if value.references.is_empty() { "" } else { ", by " };
                let references = value.references.join(" and ");
                format!("{} = {shown} # {source}{by}{references}", setting.name)
            }
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn toml_string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests;
