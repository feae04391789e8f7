//! One op-node.

use std::path::PathBuf;

use alloy_primitives::B256;
use serde_json::{Value, json};

use super::{Site, op_geth::OpGeth};
use crate::{
    client::Client,
    l1::FINALITY_DEPTH,
    ports::free_port,
    process::Service,
    rollup::OriginPolicy,
    wait::{PATIENCE, until},
};

/// The key with which the sequencer signs the blocks that it sends to its peers.
pub(super) const SEQUENCER_KEY: &str =
    "ccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc1";
/// Instead of the default bootnodes, whose names would be looked up: a node that nobody runs.
const BOOTNODE: &str = "enode://31bf7c0772c2897cce0e146c97c319919bc2303a69a58c52ee544a771e75ddc6d26909c0209c03ae2157efd2f6eb23cd3b3bd8bdddf26ae36872ad46a2b0e26a@127.0.0.1:9";

/// A peer of the network of op-nodes: its key, its id (`op-node p2p priv2id`) and its port.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    key: &'static str,
    id: &'static str,
    port: u16,
}

impl Peer {
    /// The sequencer.
    pub(super) fn sequencer() -> Self {
        Self {
            key: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1",
            id: "16Uiu2HAmUzzh6FrwE7F8yZzGaUvfjSGccSSr3XgjZYJce9d7bh25",
            port: free_port(),
        }
    }

    /// The full node.
    pub(super) fn full_node() -> Self {
        Self {
            key: "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb1",
            id: "16Uiu2HAmExBjKExrqJHKjYZeKomL5u8ng3HQtrrVHRRipLvhBrnb",
            port: free_port(),
        }
    }
}

/// An op-node. It keeps its ports over restarts.
#[derive(Debug)]
pub struct OpNode {
    service: Service,
    arguments: Vec<String>,
    safe_head_database: PathBuf,
    port: u16,
    rpc: Client,
}

impl OpNode {
    /// One that is not running yet, beside this op-geth, and a sequencer if it has an origin
    /// policy.
    pub(super) fn new(
        name: &str,
        sequencer: Option<OriginPolicy>,
        (own, other): (Peer, Peer),
        op_geth: &OpGeth,
        site: &Site<'_>,
    ) -> Self {
        let Site { stack, files, l1, folder } = site;
        let port = free_port();
        let values = [
            ("l1", l1.rpc().url().to_owned()),
            ("l1.rpckind", "standard".into()),
            ("l1.beacon", "http://127.0.0.1:9".into()),
            ("l1.http-poll-interval", "200ms".into()),
            ("l1.epoch-poll-interval", "300ms".into()),
            ("l2", format!("http://127.0.0.1:{}", op_geth.engine_port())),
            ("l2.jwt-secret", files.jwt.to_string_lossy().into_owned()),
            ("rollup.config", files.rollup.to_string_lossy().into_owned()),
            ("rollup.l1-chain-config", files.l1.to_string_lossy().into_owned()),
            ("rpc.addr", "127.0.0.1".into()),
            ("rpc.port", port.to_string()),
            ("p2p.listen.ip", "127.0.0.1".into()),
            ("p2p.listen.tcp", own.port.to_string()),
            ("p2p.listen.udp", own.port.to_string()),
            ("p2p.priv.raw", own.key.into()),
            ("p2p.peerstore.path", "memory".into()),
            ("p2p.discovery.path", "memory".into()),
            ("p2p.bootnodes", BOOTNODE.into()),
            ("p2p.static", format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", other.port, other.id)),
            ("verifier.l1-confs", "0".into()),
            ("metrics.enabled", "false".into()),
            ("log.level", "info".into()),
        ];
        let mut arguments: Vec<String> =
            values.into_iter().map(|(flag, value)| format!("--{flag}={value}")).collect();
        let flags = ["--l1.beacon.ignore", "--rpc.enable-admin", "--p2p.no-discovery"];
        arguments.extend(flags.map(String::from));
        if let Some(policy) = sequencer {
            let distance = match policy {
                OriginPolicy::Finalized => FINALITY_DEPTH,
                OriginPolicy::Latest => 0,
            };
            arguments.push("--sequencer.enabled".into());
            arguments.push(format!("--sequencer.l1-confs={distance}"));
            arguments.push(format!("--p2p.sequencer.key={SEQUENCER_KEY}"));
        }
        Self {
            service: Service::new(name, &stack.op_node, folder),
            arguments,
            safe_head_database: folder.join(format!("{name}-safe-heads")),
            port,
            rpc: Client::new(format!("http://127.0.0.1:{port}")),
        }
    }

    /// Its RPC.
    #[must_use]
    pub fn rpc(&self) -> &Client {
        &self.rpc
    }

    /// The port of its RPC.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it and waits until it answers. `more` are arguments for this start alone.
    pub async fn start(&self, more: &[&str]) {
        let more = more.iter().map(ToString::to_string);
        self.service.start(self.arguments.iter().cloned().chain(more));
        self.service
            .answers(async || {
                self.rpc.try_call("optimism_rollupConfig", json!([])).await.ok().map(|_| ())
            })
            .await;
    }

    /// Lets the sequencer begin on its genesis block, once it has a peer that listens.
    pub(super) async fn begin(&self, genesis: B256) {
        until("the full node to listen to the sequencer", PATIENCE, async || {
            let peers = self.rpc.call("opp2p_peerStats", json!([])).await;
            let topics = ["blocksTopic", "blocksTopicV2", "blocksTopicV3", "blocksTopicV4"];
            topics.iter().all(|topic| peers[topic].as_u64() > Some(0)).then_some(())
        })
        .await;
        // It says no until it has seen its own execution client.
        until("the sequencer to begin", PATIENCE, async || {
            self.rpc.try_call("admin_startSequencer", json!([genesis])).await.ok()
        })
        .await;
    }

    /// The argument that makes it keep a safe-head database.
    #[must_use]
    pub fn with_safe_head_database(&self) -> String {
        format!("--safedb.path={}", self.safe_head_database.display())
    }

    /// Stops it cleanly (SIGTERM).
    pub async fn stop(&self) {
        self.service.stop().await;
    }

    /// Stops it uncleanly (SIGKILL).
    pub fn kill(&self) {
        self.service.kill();
    }

    /// `optimism_syncStatus`, if it answers.
    pub async fn sync_status(&self) -> Option<Value> {
        self.rpc.try_call("optimism_syncStatus", json!([])).await.ok()
    }

    /// The number of a block of the sync status, such as `finalized_l2`.
    pub async fn reading(&self, name: &str) -> Option<u64> {
        self.sync_status().await?[name]["number"].as_u64()
    }
}
