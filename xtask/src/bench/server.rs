//! What stands behind Envoy: an upstream that reads each body and answers at once, and a sidecar with one head.

use std::{
    io::{BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::Result;

use super::client::read_head;

/// The head that the sidecar reports.
pub(super) const HEAD: u64 = 0x0123_4567;

/// How long the sidecar keeps a long poll waiting.
const LONG_POLL: Duration = Duration::from_secs(20);

/// A server on a port of its own, with a thread for each connection. It ends with the process.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) port: u16,
    last_body: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    pub(super) fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let last_body = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&last_body);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let last_body = Arc::clone(&shared);
                // A connection that ends in an error shows at the client.
                thread::spawn(move || serve(stream, &last_body));
            }
        });
        Ok(Self { port, last_body })
    }

    /// The body that was read last.
    pub(super) fn last_body(&self) -> Vec<u8> {
        self.last_body.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(stream: TcpStream, last_body: &Mutex<Vec<u8>>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(64 * 1024, stream);
    let mut body = Vec::new();
    while let Some(head) = read_head(&mut stream)? {
        head.read_body(&mut stream, &mut body)?;
        let answer = if head.first_line.starts_with("GET /v1/head") {
            if head.first_line.contains("after=") {
                thread::sleep(LONG_POLL);
            }
            report()
        } else {
            std::mem::swap(
                &mut *last_body.lock().unwrap_or_else(PoisonError::into_inner),
                &mut body,
            );
            "{}".to_owned()
        };
        let length = answer.len();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-finality-sidecar: bench";
        let answer = format!("{head}\r\ncontent-length: {length}\r\n\r\n{answer}");
        stream.get_mut().write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// What the sidecar answers to `GET /v1/head`.
fn report() -> String {
    let head = serde_json::json!({
        "number": HEAD, "hex": format!("{HEAD:#x}"), "hash": null, "source": "espresso",
        "mode": "espresso", "status": "ok", "espresso": null, "ethereum": null, "chain_id": 1,
        "updated_at": "2026-01-01T00:00:00.000Z",
    });
    head.to_string()
}
