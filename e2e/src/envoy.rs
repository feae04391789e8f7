//! The real Envoy with the shipped configuration; only addresses, ports and the module's path are
//! replaced.

use std::path::{Path, PathBuf};

use crate::{
    client::{http, send},
    ports::free_port,
    process::Service,
    tools::Tools,
    wait::{PATIENCE, until},
};

/// How the filter keeps the length of a changed body right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// As shipped: `content-length` is dropped, and long bodies are rewritten while they pass.
    #[default]
    Chunked,
    /// Headers and bodies are held, and `content-length` is exact.
    Exact,
}

/// How the shipped configuration is changed, and how Envoy runs.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Framing.
    pub framing: Framing,
    /// The tags; none means as shipped.
    pub tags: Vec<String>,
    /// Another filter module.
    pub module: Option<PathBuf>,
    /// Texts of the shipped configuration and their replacements. A port that must not be replaced
    /// any more is written `@12345`.
    pub edits: Vec<(String, String)>,
    /// More arguments for the program.
    pub arguments: Vec<String>,
    /// Whether the listener comes from a file of its own, so that it can be changed while Envoy
    /// runs.
    pub dynamic: bool,
}

/// Envoy. It keeps its ports over restarts.
#[derive(Debug)]
pub struct Envoy {
    service: Service,
    folder: PathBuf,
    configuration: PathBuf,
    arguments: Vec<String>,
    port: u16,
    admin_port: u16,
}

impl Envoy {
    /// An Envoy in front of the node's port and beside the sidecar's, not running yet.
    ///
    /// # Panics
    /// When a tool is missing, or the shipped configuration lacks a text that is to be replaced.
    #[must_use]
    pub fn new(options: Options, node_port: u16, sidecar_port: u16, folder: &Path) -> Self {
        let tools = Tools::from_env().unwrap_or_else(|error| panic!("{error}"));
        let (port, admin_port) = (free_port(), free_port());
        let ports = [(8545, port), (9545, node_port), (8090, sidecar_port), (9901, admin_port)];
        let shipped = std::fs::read_to_string(&tools.envoy_yaml).unwrap();
        let text = configure(shipped, &options, &tools.filter, &ports);
        let configuration = folder.join("envoy.yaml");
        let text = if options.dynamic {
            let (bootstrap, listener) = listener_apart(&text, &folder.join(LISTENERS));
            std::fs::write(folder.join(LISTENERS), listener).unwrap();
            bootstrap
        } else {
            text
        };
        std::fs::write(&configuration, text).unwrap();
        Self {
            service: Service::new("envoy", &tools.envoy, folder),
            folder: folder.into(),
            configuration,
            arguments: options.arguments,
            port,
            admin_port,
        }
    }

    /// Where clients send their requests.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts Envoy with two workers and waits until it takes requests.
    ///
    /// # Panics
    /// When it ends instead.
    pub async fn start(&self) {
        let configuration = self.configuration.to_string_lossy();
        let arguments = [
            "--config-path",
            &configuration,
            "--concurrency",
            "2",
            "--disable-hot-restart",
            "--log-level",
            "warning",
            "--component-log-level",
            "wasm:info",
        ];
        let arguments = arguments.into_iter().chain(self.arguments.iter().map(String::as_str));
        self.service.start(arguments);
        let ready = format!("http://127.0.0.1:{}/ready", self.admin_port);
        self.service
            .answers(async || {
                let answer = send(http().get(&ready)).await.ok()?;
                (answer.status == 200).then_some(())
            })
            .await;
    }

    /// Changes the listener of an Envoy with the option `dynamic`: `from` becomes `to`. Waits until
    /// Envoy has taken or refused it. True when it was taken.
    ///
    /// # Panics
    /// When the listener has no such text.
    pub async fn push(&self, from: &str, to: &str) -> bool {
        let path = self.folder.join(LISTENERS);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from:?} does not occur in the listener");
        let counts = async || {
            let taken = self.stat("listener_manager.lds.update_success").await;
            (taken, self.stat("listener_manager.lds.update_rejected").await)
        };
        let before = counts().await;
        // Envoy looks at the file when another one is moved there.
        let new = self.folder.join("new-listeners.yaml");
        std::fs::write(&new, text.replace(from, to)).unwrap();
        std::fs::rename(&new, &path).unwrap();
        until("Envoy to look at the new listener", PATIENCE, async || {
            let now = counts().await;
            (now != before).then_some(now.0 > before.0)
        })
        .await
    }

    /// Waits until no old listener and none of its modules is left.
    pub async fn drained(&self) {
        // One module to copy from, one for the main thread, one for each of the two workers.
        const MODULES: u64 = 4;
        until("old listeners to be gone", PATIENCE, async || {
            let draining = self.stat("listener_manager.total_listeners_draining").await;
            let modules = self.stat("wasm.envoy.wasm.runtime.v8.active").await;
            (draining == 0 && modules == MODULES).then_some(())
        })
        .await;
    }

    /// The value of a statistic; 0 for one that does not exist (yet).
    ///
    /// # Panics
    /// When Envoy does not answer.
    pub async fn stat(&self, name: &str) -> u64 {
        let url = format!("http://127.0.0.1:{}/stats?usedonly&filter=^{name}$", self.admin_port);
        let text = send(http().get(url)).await.unwrap().text();
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok();
        text.lines().find_map(value).unwrap_or(0)
    }

    /// The value of one of the filter's metrics, by its name without prefix.
    pub async fn filter_stat(&self, name: &str) -> u64 {
        self.stat(&format!("wasmcustom.finality_filter_{name}")).await
    }

    /// All statistics in the form of Prometheus.
    ///
    /// # Panics
    /// When Envoy does not answer.
    pub async fn prometheus(&self) -> String {
        let url = format!("http://127.0.0.1:{}/stats/prometheus", self.admin_port);
        send(http().get(url)).await.unwrap().text()
    }

    /// The memory that the process has in use, in KiB.
    ///
    /// # Panics
    /// When it is not running.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.service.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// All that Envoy has printed.
    ///
    /// # Panics
    /// When it is not running.
    #[must_use]
    pub fn log(&self) -> String {
        self.service.log()
    }

    /// Lets Envoy hang until [`Self::resume`].
    pub fn pause(&self) {
        self.service.pause();
    }

    /// Lets a hanging Envoy go on.
    pub fn resume(&self) {
        self.service.resume();
    }

    /// Stops Envoy (SIGTERM) and waits for its end.
    ///
    /// # Panics
    /// When it does not stop.
    pub async fn stop(&self) {
        self.service.stop().await;
    }
}

/// The file with the listener, in the folder of an Envoy with the option `dynamic`.
const LISTENERS: &str = "listeners.yaml";

/// Takes the listener out of a configuration, which then watches `path` for it.
fn listener_apart(text: &str, path: &Path) -> (String, String) {
    let (before, rest) = text.split_once("  listeners:\n").unwrap();
    let (listener, after) = rest.split_once("\n  clusters:\n").unwrap();
    let watch = format!(
        "node: {{ id: test, cluster: test }}\ndynamic_resources:\n  lds_config:\n    path_config_source: {{ path: {} }}\n",
        path.display()
    );
    let name = "  - name: json_rpc\n";
    let kind = r#""@type": type.googleapis.com/envoy.config.listener.v3.Listener"#;
    assert!(listener.starts_with(name));
    let listener = listener.replacen(name, &format!("  - {kind}\n    name: json_rpc\n"), 1);
    (format!("{watch}{before}  clusters:\n{after}"), format!("resources:\n{listener}\n"))
}

fn configure(
    mut text: String,
    options: &Options,
    shipped_filter: &Path,
    ports: &[(u16, u16)],
) -> String {
    let mut replace = |from: &str, to: &str| {
        assert!(text.contains(from), "{from:?} does not occur in the shipped Envoy configuration");
        text = text.replace(from, to);
    };
    for (from, to) in &options.edits {
        replace(from, to);
    }
    replace("0.0.0.0", "127.0.0.1");
    for (from, to) in ports {
        // A marker in between, since a free port may look like one that is still to be replaced.
        replace(&format!("port_value: {from}"), &format!("port_value: @{to}"));
    }
    replace("port_value: @", "port_value: ");
    let filter = options.module.as_deref().unwrap_or(shipped_filter);
    replace("/etc/envoy/finality_filter.wasm", &filter.to_string_lossy());
    if options.framing == Framing::Exact {
        let cluster = r#""sidecar_cluster": "finality_sidecar","#;
        replace(cluster, &format!(r#"{cluster} "framing": "exact","#));
        let policy = "                failure_policy: FAIL_RELOAD\n";
        let held = "                allow_on_headers_stop_iteration: true\n";
        replace(policy, &format!("{policy}{held}"));
    }
    if !options.tags.is_empty() {
        let tags = serde_json::to_string(&options.tags).unwrap();
        replace(r#""tags": ["espresso"]"#, &format!(r#""tags": {tags}"#));
    }
    text
}
