//! A way over TCP to a dependency. The dependency goes away, or hangs, where its program goes on.

use std::{io::ErrorKind, time::Duration};

use tokio::{
    io::{copy, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

use crate::ports::free_port;

/// Pause between two attempts to listen.
const RETRY: Duration = Duration::from_millis(10);

/// What becomes of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// They reach the dependency.
    Open,
    /// They are refused.
    Away,
    /// They are accepted, and nobody answers.
    Hangs,
    /// What is asked arrives, and no answer comes back.
    OneWay,
}

/// A port that leads to another one. The way ends when this is dropped.
#[derive(Debug)]
pub struct Link {
    port: u16,
    way: watch::Sender<Way>,
}

impl Default for Link {
    fn default() -> Self {
        Self { port: free_port(), way: watch::Sender::new(Way::Open) }
    }
}

impl Link {
    /// Leads to a URL of this machine from now on; answers the URL that leads there.
    ///
    /// # Panics
    /// When the URL has no port.
    #[must_use]
    pub fn to(&self, url: &str) -> String {
        let mut way = reqwest::Url::parse(url).unwrap();
        let target = way.port().unwrap();
        tokio::spawn(run(self.port, target, self.way.subscribe()));
        way.set_port(Some(self.port)).unwrap();
        way.to_string().trim_end_matches('/').into()
    }

    /// Changes the way. Open connections end.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn run(port: u16, target: u16, mut ways: watch::Receiver<Way>) {
    loop {
        let way = *ways.borrow_and_update();
        if way == Way::Away {
            if ways.changed().await.is_err() {
                return;
            }
            continue;
        }
        // A program that is just being started may still hold the listener of before.
        let listener = loop {
            match TcpListener::bind(("127.0.0.1", port)).await {
                Ok(listener) => break listener,
                Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error}"),
            }
            sleep(RETRY).await;
        };
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                changed = ways.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                accepted = listener.accept() => {
                    let (mut client, _) = accepted.unwrap();
                    connections.spawn(async move {
                        if way == Way::Hangs {
                            std::future::pending::<()>().await;
                        }
                        let server = TcpStream::connect(("127.0.0.1", target)).await;
                        if let Ok(mut server) = server {
                            if way == Way::OneWay {
                                drop(copy(&mut client, &mut server).await);
                                std::future::pending::<()>().await;
                            }
                            drop(copy_bidirectional(&mut client, &mut server).await);
                        }
                    });
                }
            }
        }
    }
}

/// The ways from the sidecar to its dependencies.
#[derive(Debug, Default)]
pub struct Links {
    /// To the node's execution RPC. Envoy has its own way.
    pub node: Link,
    /// To op-node.
    pub op_node: Link,
    /// To L1.
    pub l1: Link,
    /// To the parent chain of a Nitro chain.
    pub parent: Link,
    /// To the query service.
    pub query_service: Link,
}
