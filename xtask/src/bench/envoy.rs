//! An Envoy to be measured.

use std::{
    ffi::OsStr,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::client::Connection;

/// How long Envoy may take to start, also where each of its instructions is counted.
const PATIENCE: Duration = Duration::from_secs(600);
const STEP: Duration = Duration::from_millis(20);

/// What kind of Envoy to start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings<'a> {
    pub(super) program: &'a Path,
    /// What runs the program, with arguments: a program that counts.
    pub(super) wrapper: &'a [&'a OsStr],
    /// Where configuration and log go.
    pub(super) folder: &'a Path,
    /// The filter module in its chain.
    pub(super) module: Option<&'a Path>,
    /// The ports of the node and of the sidecar.
    pub(super) upstream: u16,
    pub(super) sidecar: u16,
    /// The number of workers.
    pub(super) concurrency: u32,
}

/// A running Envoy. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Envoy {
    child: Child,
    /// Where it takes requests.
    pub(super) port: u16,
}

impl Envoy {
    /// Starts one and waits until it takes requests.
    ///
    /// # Errors
    /// It does not start; its log is in the folder.
    pub(super) fn start(name: &str, settings: &Settings<'_>) -> Result<Self> {
        let Settings { program, wrapper, folder, module, upstream, sidecar, concurrency } =
            *settings;
        let configuration = folder.join(format!("{name}.json"));
        let admin = folder.join(format!("{name}.admin"));
        // One of that name may have been there before.
        let _ = fs::remove_file(&admin);
        fs::write(&configuration, configure(module, upstream, sidecar).to_string())?;
        let log = fs::File::create(folder.join(format!("{name}.log")))?;
        // Killed with us, also when we are killed.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .args(wrapper)
            .arg(program)
            .arg("--config-path")
            .arg(&configuration)
            .arg("--admin-address-path")
            .arg(&admin)
            .args([
                "--concurrency",
                &concurrency.to_string(),
                "--disable-hot-restart",
                "--log-level",
                "warning",
            ])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start `setpriv` (of Debian's util-linux)")?;
        let mut envoy = Self { child, port: 0 };
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = envoy.child.try_wait()? {
                let log = fs::read_to_string(folder.join(format!("{name}.log")))?;
                bail!("Envoy ended ({status}): {}", log.lines().last().unwrap_or_default());
            }
            if let Some(port) = listener_port(&admin) {
                envoy.port = port;
                return Ok(envoy);
            }
            thread::sleep(STEP);
        }
        bail!("Envoy ({name}) is not ready after {PATIENCE:?}")
    }

    /// Its process, or that of what runs it.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The CPU time that all its threads have taken.
    ///
    /// # Errors
    /// It has ended.
    pub(super) fn cpu(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let time = text.split(' ').next().and_then(|time| time.parse::<u64>().ok());
            nanoseconds += time.context("/proc/…/schedstat")?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The port on which requests are taken, once Envoy is ready.
fn listener_port(admin: &Path) -> Option<u16> {
    let address = fs::read_to_string(admin).ok()?;
    let port = address.trim().rsplit_once(':')?.1.parse().ok()?;
    let get = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\n\r\n");
        let (status, body) = Connection::open(port).ok()?.send(request.as_bytes()).ok()?;
        (status == 200).then(|| String::from_utf8_lossy(&body).into_owned())
    };
    get("/ready")?;
    let listeners = get("/listeners?format=text")?;
    let (_, port) = listeners.trim().rsplit_once(':')?;
    port.trim().parse().ok()
}

fn configure(module: Option<&Path>, upstream: u16, sidecar: u16) -> Value {
    let address =
        |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let cluster = |name: &str, port: u16| {
        json!({
            "name": name, "type": "STATIC", "connect_timeout": "10s",
            "load_assignment": {"cluster_name": name, "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": address(port)}}]},
            ]},
        })
    };
    let extension = "type.googleapis.com/envoy.extensions.filters";
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": format!("{extension}.http.router.v3.Router")},
    });
    let settings =
        json!({"sidecar_cluster": "sidecar", "framing": "exact", "max_batch_length": 5000});
    let wasm = module.map(|module| {
        json!({
            "name": "finality",
            "typed_config": {
                "@type": format!("{extension}.http.wasm.v3.Wasm"),
                "config": {
                    "name": "finality", "root_id": "finality", "failure_policy": "FAIL_RELOAD",
                    "allow_on_headers_stop_iteration": true,
                    "configuration": {
                        "@type": "type.googleapis.com/google.protobuf.StringValue",
                        "value": settings.to_string(),
                    },
                    "vm_config": {
                        "vm_id": "finality", "runtime": "envoy.wasm.runtime.v8",
                        "code": {"local": {"filename": module}},
                    },
                },
            },
        })
    });
    let filters: Vec<Value> = wasm.into_iter().chain([router]).collect();
    json!({
        "admin": {"address": address(0)},
        "static_resources": {
            "listeners": [{
                "name": "bench", "address": address(0),
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": {
                        "@type": format!("{extension}.network.http_connection_manager.v3.HttpConnectionManager"),
                        "stat_prefix": "bench",
                        "route_config": {"virtual_hosts": [{
                            "name": "bench", "domains": ["*"],
                            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}],
                        }]},
                        "http_filters": filters,
                    },
                }]}],
            }],
            "clusters": [cluster("upstream", upstream), cluster("sidecar", sidecar)],
        },
    })
}
