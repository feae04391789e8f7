//! One Anvil process.

use std::path::Path;

use serde_json::json;

use crate::{
    client::Client,
    process::Process,
    tools,
    wait::{PATIENCE, until},
};

/// A running Anvil that mines only on request.
#[derive(Debug)]
pub struct Anvil {
    /// Kept so that it lives as long as this.
    _process: Process,
    rpc: Client,
}

impl Anvil {
    /// Starts Anvil on `port` and waits until it answers. `genesis_time` is in seconds.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start(
        name: &str,
        port: u16,
        chain_id: u64,
        genesis_time: u64,
        more: &[&str],
        folder: &Path,
    ) -> Self {
        let numbers = [port.to_string(), chain_id.to_string(), genesis_time.to_string()];
        let mut arguments = vec!["--host", "127.0.0.1", "--no-mining", "--quiet"];
        arguments.extend(["--port", &numbers[0], "--chain-id", &numbers[1]]);
        arguments.extend(["--timestamp", &numbers[2]]);
        arguments.extend(more);
        let mut process = Process::start(
            name,
            &tools::anvil().unwrap_or_else(|error| panic!("{error}")),
            arguments,
            folder,
        );
        let rpc = Client::new(format!("http://127.0.0.1:{port}"));
        until(&format!("{name} to answer"), PATIENCE, async || {
            if let Some(status) = process.ended() {
                panic!("{name} ended: {status}");
            }
            rpc.try_call("eth_chainId", json!([])).await.ok()
        })
        .await;
        Self { _process: process, rpc }
    }

    /// Its RPC, without a proxy in front.
    #[must_use]
    pub fn rpc(&self) -> &Client {
        &self.rpc
    }
}
