//! The real Envoy with the shipped configuration, of which only addresses, ports and the module's path
//! are replaced.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::client::{http, send};
use crate::ports::free_port;
use crate::process::Process;
use crate::wait::{PATIENCE, until};

/// How the filter keeps the length of a changed body right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// As shipped: headers are held and `content-length` is exact.
    #[default]
    Exact,
    /// `content-length` is dropped.
    Chunked,
}

/// What Envoy is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The program.
    pub program: PathBuf,
    /// The shipped configuration.
    pub configuration: PathBuf,
    /// The filter module.
    pub filter: PathBuf,
    /// Framing.
    pub framing: Framing,
    /// The tags; none means as shipped.
    pub tags: Vec<String>,
    /// Port of the node's execution RPC.
    pub node_port: u16,
    /// Port of the sidecar.
    pub sidecar_port: u16,
}

/// Envoy. It keeps its ports over restarts.
#[derive(Debug)]
pub struct Envoy {
    program: PathBuf,
    folder: PathBuf,
    configuration: PathBuf,
    port: u16,
    admin_port: u16,
    process: Mutex<Option<Process>>,
}

impl Envoy {
    /// An Envoy that is not running yet.
    ///
    /// # Panics
    /// When the shipped configuration lacks a text that is to be replaced.
    #[must_use]
    pub fn new(settings: &Settings, folder: &Path) -> Self {
        let (port, admin_port) = (free_port(), free_port());
        let shipped = std::fs::read_to_string(&settings.configuration).unwrap();
        let text = configure(&shipped, settings, port, admin_port);
        let configuration = folder.join("envoy.yaml");
        std::fs::write(&configuration, text).unwrap();
        Self {
            program: settings.program.clone(),
            folder: folder.into(),
            configuration,
            port,
            admin_port,
            process: Mutex::new(None),
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
        let process = Process::start("envoy", &self.program, arguments, &self.folder);
        *self.process.lock().unwrap() = Some(process);
        let ready = format!("http://127.0.0.1:{}/ready", self.admin_port);
        until("Envoy to be ready", PATIENCE, async || {
            if let Some(process) = self.process.lock().unwrap().as_mut()
                && let Some(status) = process.ended()
            {
                panic!("Envoy ended: {status}");
            }
            let answer = send(http().get(&ready)).await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
    }

    /// Stops Envoy (SIGTERM) and waits for its end.
    ///
    /// # Panics
    /// When it does not stop.
    pub async fn stop(&self) {
        let process = self.process.lock().unwrap().take();
        process.expect("Envoy was started").stop().await;
    }
}

fn configure(shipped: &str, settings: &Settings, port: u16, admin_port: u16) -> String {
    let mut text = shipped.to_owned();
    let mut replace = |from: &str, to: &str| {
        assert!(text.contains(from), "{from:?} does not occur in the shipped Envoy configuration");
        text = text.replace(from, to);
    };
    replace("0.0.0.0", "127.0.0.1");
    for (from, to) in [
        (8545, port),
        (9545, settings.node_port),
        (8090, settings.sidecar_port),
        (9901, admin_port),
    ] {
        // A marker in between, since a free port may look like one that is still to be replaced.
        replace(&format!("port_value: {from}"), &format!("port_value: @{to}"));
    }
    replace("port_value: @", "port_value: ");
    replace("/etc/envoy/finality_filter.wasm", &settings.filter.to_string_lossy());
    if settings.framing == Framing::Chunked {
        replace(r#""framing": "exact""#, r#""framing": "chunked""#);
        replace("allow_on_headers_stop_iteration: true", "allow_on_headers_stop_iteration: false");
    }
    if !settings.tags.is_empty() {
        let tags = serde_json::to_string(&settings.tags).unwrap();
        replace(r#""tags": ["espresso"]"#, &format!(r#""tags": {tags}"#));
    }
    text
}
