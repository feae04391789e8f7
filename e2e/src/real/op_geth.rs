//! One op-geth.

use std::path::PathBuf;

use alloy_primitives::B256;
use serde_json::json;

use super::{Files, Site};
use crate::{
    block::CHAIN_ID,
    client::{Client, hash},
    ports::free_port,
    process::{Process, Service},
};

/// What a node is for.
#[derive(Debug, Clone)]
pub enum Role {
    /// It builds the blocks, and keeps all states.
    Sequencer,
    /// It follows, with op-geth's defaults; it gets missing blocks from the sequencer's op-geth and
    /// sends it transactions.
    FullNode {
        /// The execution RPC of the sequencer.
        sequencer: Client,
    },
}

/// An op-geth. It keeps its ports and its data over restarts.
#[derive(Debug)]
pub struct OpGeth {
    service: Service,
    program: PathBuf,
    role: Role,
    name: String,
    folder: PathBuf,
    files: Files,
    ports: Ports,
    rpc: Client,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    http: u16,
    ws: u16,
    engine: u16,
    p2p: u16,
}

impl OpGeth {
    /// One that is not running yet and has no data.
    pub(super) fn new(name: &str, role: Role, site: &Site<'_>) -> Self {
        let Site { stack, files, folder, .. } = site;
        let http = free_port();
        // Clients of the full node come by one port, through Envoy.
        let ws = if matches!(role, Role::Sequencer) { free_port() } else { http };
        let ports = Ports { http, ws, engine: free_port(), p2p: free_port() };
        Self {
            service: Service::new(name, &stack.op_geth, folder),
            program: stack.op_geth.clone(),
            role,
            name: name.into(),
            folder: folder.to_path_buf(),
            files: (*files).clone(),
            ports,
            rpc: Client::new(format!("http://127.0.0.1:{}", ports.http)),
        }
    }

    /// Its execution RPC, without anything in front.
    #[must_use]
    pub fn rpc(&self) -> &Client {
        &self.rpc
    }

    /// The port of its execution RPC over HTTP.
    #[must_use]
    pub fn http_port(&self) -> u16 {
        self.ports.http
    }

    /// The port of its execution RPC over WebSocket; at the sequencer of nothing else.
    #[must_use]
    pub fn ws_port(&self) -> u16 {
        self.ports.ws
    }

    /// The port of the Engine API, which wants a token.
    #[must_use]
    pub fn engine_port(&self) -> u16 {
        self.ports.engine
    }

    fn data(&self) -> PathBuf {
        self.folder.join(format!("{}-data", self.name))
    }

    /// Writes the genesis block into an empty data folder.
    pub(super) async fn init(&self) {
        let data = self.data();
        let mut arguments = vec!["--datadir".into(), data.into_os_string(), "init".into()];
        arguments.extend(self.state_scheme().map(Into::into));
        arguments.push(self.files.genesis.clone().into_os_string());
        let name = format!("{}-init", self.name);
        Process::start(&name, &self.program, arguments, &self.folder).finish().await;
    }

    fn state_scheme(&self) -> Option<&'static str> {
        matches!(self.role, Role::Sequencer).then_some("--state.scheme=hash")
    }

    /// Starts it and waits until it answers. `more` are arguments for this start alone.
    pub async fn start(&self, more: &[&str]) {
        let values = [
            ("datadir", self.data().to_string_lossy().into_owned()),
            ("networkid", CHAIN_ID.to_string()),
            ("http.addr", "127.0.0.1".into()),
            ("http.port", self.ports.http.to_string()),
            ("http.api", "eth,net,web3,debug,txpool,admin".into()),
            ("ws.addr", "127.0.0.1".into()),
            ("ws.port", self.ports.ws.to_string()),
            ("ws.api", "eth,net,web3,debug,txpool,admin".into()),
            ("authrpc.addr", "127.0.0.1".into()),
            ("authrpc.port", self.ports.engine.to_string()),
            ("authrpc.jwtsecret", self.files.jwt.to_string_lossy().into_owned()),
            ("port", self.ports.p2p.to_string()),
            ("nat", "none".into()),
            ("netrestrict", "127.0.0.0/8".into()),
            ("maxpeers", "5".into()),
            ("cache", "64".into()),
            ("verbosity", "3".into()),
        ];
        let mut arguments: Vec<String> =
            values.into_iter().map(|(flag, value)| format!("--{flag}={value}")).collect();
        let flags = ["--http", "--ws", "--ipcdisable", "--nodiscover"];
        arguments.extend(flags.map(String::from));
        arguments.push("--rollup.disabletxpoolgossip".into());
        match &self.role {
            Role::Sequencer => arguments.push("--gcmode=archive".into()),
            Role::FullNode { sequencer } => {
                arguments.push(format!("--rollup.sequencerhttp={}", sequencer.url()));
            }
        }
        if !more.iter().any(|argument| argument.starts_with("--syncmode")) {
            arguments.push("--syncmode=full".into());
        }
        arguments.extend(self.state_scheme().map(String::from));
        arguments.extend(more.iter().map(ToString::to_string));
        self.service.start(arguments);
        self.service
            .answers(async || self.rpc.try_call("eth_chainId", json!([])).await.ok().map(|_| ()))
            .await;
        if let Role::FullNode { sequencer } = &self.role {
            let enode = sequencer.call("admin_nodeInfo", json!([])).await["enode"].clone();
            self.rpc.call("admin_addPeer", json!([enode])).await;
        }
    }

    /// Stops it cleanly (SIGTERM).
    pub async fn stop(&self) {
        self.service.stop().await;
    }

    /// Stops it uncleanly (SIGKILL): what it has not written is lost.
    pub fn kill(&self) {
        self.service.kill();
    }

    /// Removes its data, while it is stopped, and writes the genesis block again.
    ///
    /// # Panics
    /// When the data cannot be removed.
    pub async fn wipe(&self) {
        std::fs::remove_dir_all(self.data()).unwrap();
        self.init().await;
    }

    /// Hash of the genesis block.
    pub(super) async fn genesis_hash(&self) -> B256 {
        hash(&self.rpc.call("eth_getBlockByNumber", json!(["0x0", false])).await["hash"])
    }
}
