//! The real sidecar as a process that can be killed and started again.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

use alloy_primitives::Address;
use finality_core::head::{HEAD_PATH, HeadReport};
use serde_json::Value;

use crate::{
    client::{Answer, CallError, http, send},
    ports::free_port,
    process::Service,
    wait::{PATIENCE, until},
};

/// Pause between two rounds of the verifier; short, since scenarios wait for rounds.
const VERIFICATION_INTERVAL: &str = "100ms";
const REQUEST_TIMEOUT: &str = "2s";

/// The sidecar's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The program.
    pub program: PathBuf,
    /// Execution RPC of the full node.
    pub node_execution_rpc: String,
    /// op-node RPC of the full node.
    pub node_consensus_rpc: Option<String>,
    /// L1.
    pub l1_rpc: String,
    /// HotShot's query services.
    pub query_service_url: String,
    /// The light client on L1.
    pub light_client_address: Address,
    /// Other flags and their values.
    pub more: Vec<(&'static str, String)>,
}

/// The sidecar. It keeps its port and its store over restarts.
#[derive(Debug)]
pub struct Sidecar {
    settings: Settings,
    /// Flags that got another value since.
    changed: Mutex<Vec<(&'static str, String)>>,
    port: u16,
    folder: PathBuf,
    service: Service,
}

impl Sidecar {
    /// A sidecar that is not running yet.
    #[must_use]
    pub fn new(settings: Settings, folder: &Path) -> Self {
        let service = Service::new("sidecar", &settings.program, folder);
        let (changed, port) = (Mutex::default(), free_port());
        Self { settings, changed, port, folder: folder.into(), service }
    }

    /// What it is told at its start.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a path of its HTTP API.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Stops the process and starts it with another setting, by the name of its flag.
    pub async fn restart_with(&self, flag: &'static str, value: &str) {
        self.stop().await;
        let mut changed = self.changed.lock().unwrap().clone();
        changed.retain(|(known, _)| *known != flag);
        changed.push((flag, value.to_owned()));
        *self.changed.lock().unwrap() = changed;
        self.start().await;
    }

    /// Starts the process, without waiting for anything.
    ///
    /// # Panics
    /// When it is running already.
    pub fn spawn(&self) {
        self.service.start(self.arguments("run", &[]));
    }

    /// What `check` finds with its settings, some of them changed.
    ///
    /// # Panics
    /// When it answers no report.
    pub async fn check(&self, changed: &[(&'static str, String)]) -> Value {
        let mut command = tokio::process::Command::new(&self.settings.program);
        command.env_clear().current_dir(&self.folder).args(self.arguments("check", changed));
        let ended = command.args(["--json", "--count=0s"]).output().await.unwrap();
        serde_json::from_slice(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"))
    }

    /// A command with its settings.
    fn arguments(&self, command: &str, changed: &[(&'static str, String)]) -> Vec<String> {
        let settings = &self.settings;
        let mut more = self.changed.lock().unwrap().clone();
        more.retain(|(known, _)| changed.iter().all(|(flag, _)| flag != known));
        more.extend(changed.iter().cloned());
        let is_set = |more: &[(&str, String)], flag: &str| more.iter().any(|(set, _)| *set == flag);
        let others = settings.more.iter().filter(|(flag, _)| !is_set(&more, flag));
        let others: Vec<_> = others.cloned().collect();
        more.extend(others);
        let store = self.store();
        let values = [
            ("--listen-addr", format!("127.0.0.1:{}", self.port)),
            ("--node-execution-rpc", settings.node_execution_rpc.clone()),
            ("--l1-rpc", settings.l1_rpc.clone()),
            ("--query-service-url", settings.query_service_url.clone()),
            ("--light-client-address", settings.light_client_address.to_string()),
            ("--store-path", store.to_string_lossy().into_owned()),
            ("--verification-interval", VERIFICATION_INTERVAL.into()),
            ("--request-timeout", REQUEST_TIMEOUT.into()),
            ("--log-format", "text".into()),
        ];
        let mut arguments = vec![command.to_owned()];
        let consensus = settings.node_consensus_rpc.clone();
        let values = values.into_iter().chain(consensus.map(|url| ("--node-consensus-rpc", url)));
        let values = values.filter(|(flag, _)| !is_set(&more, flag));
        arguments.extend(values.flat_map(|(flag, value)| [flag.to_owned(), value]));
        arguments.extend(more.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]));
        arguments
    }

    /// Starts the process and waits until it answers.
    ///
    /// # Panics
    /// When it ends instead.
    pub async fn start(&self) {
        self.spawn();
        self.service
            .answers(async || {
                let answer = self.get("/livez").await.ok()?;
                (answer.status == 200).then_some(())
            })
            .await;
    }

    /// Waits until the process ends by itself; answers its exit code.
    pub async fn ends(&self) -> Option<i32> {
        until("the sidecar to end", PATIENCE, async || self.service.ended()).await.code()
    }

    /// Kills the process (SIGKILL).
    pub fn kill(&self) {
        self.service.kill();
    }

    /// Asks the process to stop (SIGTERM) and waits for its end.
    ///
    /// # Panics
    /// When it does not stop, or not with success.
    pub async fn stop(&self) {
        let status = self.service.stop().await;
        assert!(status.success(), "the sidecar ended: {status}");
    }

    /// Lets the process hang until [`Self::resume`].
    pub fn pause(&self) {
        self.service.pause();
    }

    /// Lets a hanging process go on.
    pub fn resume(&self) {
        self.service.resume();
    }

    /// Its state file.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.folder.join("finality-store.json")
    }

    /// GET of a path.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Result<Answer, CallError> {
        send(http().get(self.url(path))).await
    }

    /// The head, if the sidecar runs and has one.
    ///
    /// # Panics
    /// When the answer is no head report.
    pub async fn head(&self) -> Option<HeadReport> {
        let answer = self.get(HEAD_PATH).await.ok()?;
        (answer.status == 200).then(|| HeadReport::parse(&answer.body).unwrap())
    }

    /// `/v1/status`.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn status(&self) -> Value {
        self.get("/v1/status").await.unwrap().json()
    }

    /// Waits until it gives that reason, by its code; answers the whole status.
    pub async fn reason(&self, code: &str) -> Value {
        until(&format!("the reason {code}"), PATIENCE, async || {
            let status = self.status().await;
            (status["reason_code"] == code).then_some(status)
        })
        .await
    }

    /// The value of a series of `/metrics`, such as
    /// `espresso_verifier_batches_total{result="mismatch"}`; None while it is not exported or
    /// the sidecar does not answer.
    pub async fn metric(&self, series: &str) -> Option<f64> {
        let answer = self.get("/metrics").await.ok()?;
        let text = answer.text();
        let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
        text.lines().find_map(value)
    }

    /// How many batches were `confirmed`, `mismatch`, `undecided` or `skipped`.
    ///
    /// # Panics
    /// When the sidecar does not export it.
    pub async fn batches(&self, result: &str) -> f64 {
        let series = format!("espresso_verifier_batches_total{{result=\"{result}\"}}");
        self.metric(&series).await.unwrap_or_else(|| panic!("{series} is not exported"))
    }

    /// Waits until the verifier has begun and ended at least one round after this call.
    pub async fn full_round(&self) {
        const ROUNDS: &str = "espresso_verifier_tick_duration_seconds_count";
        let now =
            until("the verifier's rounds", PATIENCE, async || self.metric(ROUNDS).await).await;
        // The round that is under way now does not count.
        until("a round of the verifier", PATIENCE, async || {
            self.metric(ROUNDS).await.filter(|rounds| *rounds >= now + 2.0)
        })
        .await;
    }
}
