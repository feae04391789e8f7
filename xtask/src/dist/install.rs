//! Checks an installation of the sidecar: its unit, its files, and that it starts and stops.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::SIDECAR;
use crate::process;

/// The highest exposure that `systemd-analyze security` may give the unit, of 100.
const EXPOSURE: &str = "--threshold=20";
/// How long the sidecar may take to serve.
const LIMIT: Duration = Duration::from_secs(60);

/// Checks the installation under `root`.
///
/// # Errors
/// The unit is invalid or too permissive, a file is missing, or the sidecar does not start or stop.
pub(super) fn check(root: &Path) -> Result<()> {
    let unit = root.join(format!("lib/systemd/system/{SIDECAR}.service"));
    let text = fs::read_to_string(&unit)?;
    match process::find_in_path("systemd-analyze") {
        Some(systemd_analyze) => {
            let analyze = |arguments: &[&str]| {
                let mut command = Command::new(&systemd_analyze);
                command.args(arguments).arg(format!("--root={}", root.display()));
                process::output(command.arg(format!("{SIDECAR}.service")))
            };
            analyze(&["security", "--offline=true", EXPOSURE]).context("systemd-analyze")?;
        }
        None => process::step("the unit is not checked: there is no systemd-analyze"),
    }
    for path in [
        format!("usr/share/man/man1/{SIDECAR}.1.gz"),
        format!("usr/share/bash-completion/completions/{SIDECAR}"),
    ] {
        fs::metadata(root.join(&path)).with_context(|| path)?;
    }
    start(root, &text)
}

/// Runs what the unit runs, with its variables, until it serves.
fn start(root: &Path, unit: &str) -> Result<()> {
    let values = |key: &str| {
        let key = format!("{key}=");
        unit.lines().filter_map(move |line| line.strip_prefix(&key).map(str::to_owned))
    };
    let inside = |path: &str| match path.strip_prefix('/') {
        Some(path) => root.join(path).display().to_string(),
        None => path.to_owned(),
    };
    let words = values("ExecStart").next().context("the unit has no ExecStart")?;
    let words: Vec<_> = words.split_whitespace().map(inside).collect();
    let (program, arguments) = words.split_first().context("ExecStart is empty")?;
    let mut sidecar = Command::new(program);
    sidecar.args(arguments).env_clear();
    for variable in values("Environment") {
        let (name, value) = variable.split_once('=').context("a variable has a value")?;
        sidecar.env(name, inside(value));
    }
    for folder in values("StateDirectory") {
        fs::create_dir_all(root.join("var/lib").join(folder))?;
    }
    // Where nothing listens: the sidecar serves before it reaches anything.
    for name in ["NODE_EXECUTION_RPC", "NODE_CONSENSUS_RPC", "L1_RPC", "QUERY_SERVICE_URL"] {
        sidecar.env(format!("FINALITY_{name}"), "http://127.0.0.1:1");
    }
    sidecar.env("FINALITY_INITIAL_HOTSHOT_HEIGHT", "1");
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    sidecar.env("FINALITY_LISTEN_ADDR", address.to_string());
    let mut child = sidecar.spawn().context("the installed sidecar cannot be started")?;
    let served = wait_until_live(&mut child, address);
    let stopped = process::output(Command::new("kill").args(["-TERM", &child.id().to_string()]));
    let status = child.wait()?;
    served?;
    stopped?;
    if !status.success() {
        bail!("the installed sidecar ended with {status}");
    }
    Ok(())
}

fn wait_until_live(child: &mut Child, address: SocketAddr) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < LIMIT {
        if let Some(status) = child.try_wait()? {
            bail!("the installed sidecar ended with {status}");
        }
        if is_live(address).unwrap_or(false) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    bail!("the installed sidecar does not serve /livez")
}

fn is_live(address: SocketAddr) -> Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}
