//! Free ports on 127.0.0.1, and servers on them.

use std::{
    collections::HashMap,
    env,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{LazyLock, Mutex},
};

use axum::Router;
use tokio::task::JoinHandle;

/// Below the range from which the kernel takes ports for outgoing connections: a port stays ours
/// while the program behind it is down and comes back.
const FIRST: u16 = 12_000;
const LAST: u16 = 30_000;

/// The ports of this process, each with a locked file: other devnets on this machine leave them
/// alone, also while nothing listens on them.
static TAKEN: LazyLock<Mutex<HashMap<u16, File>>> = LazyLock::new(Mutex::default);

/// A port that is free now, was not handed out before by this process, and is no other's that runs.
///
/// # Panics
/// When none is left.
#[must_use]
pub fn free_port() -> u16 {
    let (port, _) = listen();
    port
}

/// A port as [`free_port`] finds it, still bound: a program that is just being started elsewhere in
/// this process holds a listener for a moment after it is dropped here.
fn listen() -> (u16, TcpListener) {
    let mut taken = TAKEN.lock().unwrap();
    let span = u32::from(LAST - FIRST);
    let start = std::process::id().wrapping_mul(97) % span;
    for step in 0..span {
        let port = FIRST + u16::try_from((start + step) % span).unwrap();
        if taken.contains_key(&port) {
            continue;
        }
        if let Some(lock) = lock(port)
            && let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        {
            taken.insert(port, lock);
            return (port, listener);
        }
    }
    panic!("no free port between {FIRST} and {LAST}");
}

/// The lock of a port, unless another process holds it. It ends with the process.
fn lock(port: u16) -> Option<File> {
    let folder = env::temp_dir().join("finality-e2e-ports");
    fs::create_dir_all(&folder).unwrap();
    let file = File::create(folder.join(port.to_string())).ok()?;
    file.try_lock().is_ok().then_some(file)
}

/// An HTTP server of this process, stopped when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves `router` on a free port.
    ///
    /// # Panics
    /// When no port is left.
    #[expect(clippy::unused_async, reason = "it needs a runtime")]
    pub async fn start(router: Router) -> Self {
        let (port, listener) = listen();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Self { address, task }
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_handed_out_once_among_all_processes() {
        let port = free_port();
        assert_ne!(free_port(), port);
        assert!(lock(port).is_none(), "another process would take it");
    }
}
