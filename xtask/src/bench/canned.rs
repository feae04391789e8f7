//! A sidecar with its defaults that follows canned services, as the benchmark of the verifier has
//! them. A service shows its next block when it is told to.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::client::Connection;
use crate::{process, workspace::Workspace};

/// The two programs.
#[derive(Debug)]
pub(super) struct Programs {
    services: PathBuf,
    sidecar: PathBuf,
}

/// What cargo says of a program that it has built.
#[derive(Debug, Deserialize)]
struct Built {
    target: Named,
    executable: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

/// What the services say at their start.
#[derive(Debug, Deserialize)]
struct Served {
    url: String,
    /// The sidecar's arguments.
    arguments: Vec<String>,
}

/// The services and the sidecar. Dropping it ends both.
#[derive(Debug)]
pub(super) struct Canned {
    services: Child,
    sidecar: Child,
    url: String,
    /// Where the sidecar serves.
    pub(super) port: u16,
}

impl Programs {
    /// Builds them.
    ///
    /// # Errors
    /// They do not build.
    pub(super) fn build(workspace: &Workspace) -> Result<Self> {
        process::step("building the sidecar and the canned services");
        let mut cargo = workspace.cargo();
        cargo.args(["bench", "--package", "finality-sidecar", "--bench", "verifier"]);
        let lines = process::output(cargo.args(["--no-run", "--message-format=json"]))?;
        let built: Vec<Built> =
            lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let program = |name: &str| {
            let found = built.iter().find(|built| built.target.name == name);
            let found = found.with_context(|| format!("cargo has built no {name}"));
            found.map(|built| built.executable.clone())
        };
        Ok(Self { services: program("verifier")?, sidecar: program("finality-sidecar")? })
    }
}

impl Canned {
    /// Starts services with so many blocks, of which they show the first, and a sidecar.
    ///
    /// # Errors
    /// One of them does not start.
    pub(super) fn start(programs: &Programs, folder: &Path, blocks: u64) -> Result<Self> {
        let killed_with_us = |program: &Path| {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        };
        let mut services = killed_with_us(&programs.services)
            .args(["serve", &blocks.to_string(), "3", "0", "1", "0", "1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = services.stdout.as_mut().context("its output is piped")?;
        BufReader::new(output).read_line(&mut line)?;
        let Served { url, arguments } = serde_json::from_str(&line).context("canned services")?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let sidecar = killed_with_us(&programs.sidecar)
            .arg("run")
            .args(arguments)
            .arg(format!("--listen-addr=127.0.0.1:{port}"))
            // The name by which the filter asks for it.
            .arg("--allowed-hosts=sidecar")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("sidecar.log"))?)
            .spawn()?;
        Ok(Self { services, sidecar, url, port })
    }

    /// Shows the next block.
    ///
    /// # Errors
    /// The services have ended.
    pub(super) fn advance(&self) -> Result<()> {
        let (_, port) = self.url.rsplit_once(':').context("a port")?;
        let request = b"POST /advance HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n";
        let (status, _) = Connection::open(port.parse()?)?.send(request)?;
        ensure!(status == 200, "the services answer {status}");
        Ok(())
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        for child in [&mut self.services, &mut self.sidecar] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
