//! op-batcher, which posts the sequencer's blocks to L1.

use serde_json::json;

use super::{Site, op_geth::OpGeth, op_node::OpNode};
use crate::{client::Client, ports::free_port, process::Service, signer::Signer};

/// op-batcher. It keeps its port over restarts.
#[derive(Debug)]
pub struct OpBatcher {
    service: Service,
    arguments: Vec<String>,
    rpc: Client,
}

impl OpBatcher {
    /// One that is not running yet.
    pub(super) fn new(op_geth: &OpGeth, op_node: &OpNode, site: &Site<'_>) -> Self {
        let Site { stack, l1, folder, .. } = site;
        let port = free_port();
        let values = [
            ("l1-eth-rpc", l1.rpc().url().to_owned()),
            ("l2-eth-rpc", op_geth.rpc().url().to_owned()),
            ("rollup-rpc", op_node.rpc().url().to_owned()),
            ("private-key", Signer::unauthorized().key()),
            ("poll-interval", "500ms".into()),
            ("max-channel-duration", "1".into()),
            ("sub-safety-margin", "4".into()),
            ("num-confirmations", "1".into()),
            ("safe-abort-nonce-too-low-count", "3".into()),
            ("resubmission-timeout", "20s".into()),
            ("txmgr.receipt-query-interval", "500ms".into()),
            ("data-availability-type", "calldata".into()),
            ("throttle.unsafe-da-bytes-lower-threshold", "0".into()),
            ("rpc.addr", "127.0.0.1".into()),
            ("rpc.port", port.to_string()),
            ("log.level", "info".into()),
        ];
        let mut arguments: Vec<String> =
            values.into_iter().map(|(flag, value)| format!("--{flag}={value}")).collect();
        arguments.push("--rpc.enable-admin".into());
        let rpc = Client::new(format!("http://127.0.0.1:{port}"));
        Self { service: Service::new("op-batcher", &stack.op_batcher, folder), arguments, rpc }
    }

    /// Starts it and waits until it answers.
    pub async fn start(&self) {
        self.service.start(&self.arguments);
        // Any answer will do, also that there is no such method.
        self.service
            .answers(async || self.rpc.ask("rpc_modules", json!([])).await.ok().map(|_| ()))
            .await;
    }

    /// Starts it if it is not running.
    pub(super) async fn ensure_started(&self) {
        if !self.service.is_running() {
            self.start().await;
        }
    }

    /// Stops it. What it has not posted is not posted.
    pub fn stop(&self) {
        self.service.kill();
    }
}
