//! Free ports on 127.0.0.1, and servers on them.

use std::{
    collections::HashSet,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{LazyLock, Mutex},
};

use axum::Router;
use tokio::task::JoinHandle;

/// Below the range from which the kernel takes ports for outgoing connections: a port stays ours
/// while the program behind it is down and comes back.
const FIRST: u16 = 12_000;
const LAST: u16 = 30_000;

static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A port that is free now and was not handed out before by this process.
///
/// # Panics
/// When none is left.
#[must_use]
pub fn free_port() -> u16 {
    let mut taken = TAKEN.lock().unwrap();
    let span = u32::from(LAST - FIRST);
    let start = std::process::id().wrapping_mul(97) % span;
    for step in 0..span {
        let port = FIRST + u16::try_from((start + step) % span).unwrap();
        if !taken.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            taken.insert(port);
            return port;
        }
    }
    panic!("no free port between {FIRST} and {LAST}");
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
    /// When the port cannot be bound.
    pub async fn start(router: Router) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
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
