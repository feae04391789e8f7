//! What stands behind Envoy: an upstream that reads each body and answers at once, and a sidecar
//! with a head.

use std::{
    io::{BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};

use super::client::read_head;

/// The head that the sidecar reports at first.
pub(super) const HEAD: u64 = 0x0123_4567;

/// How long the sidecar keeps a long poll waiting: the filter's `long_poll`.
const LONG_POLL: Duration = Duration::from_secs(25);

/// How long to wait for a poll to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server on a port of its own, with a thread for each connection. It ends with the process.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) port: u16,
    shared: Arc<Shared>,
}

/// What a sidecar was asked.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    /// How often it was asked for the head.
    pub(super) questions: u64,
    /// The most long polls that waited at once.
    pub(super) most_waiting: usize,
}

#[derive(Debug)]
struct State {
    last_body: Vec<u8>,
    head: u64,
    waiting: usize,
    asked: Asked,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// The head or the number of polls that wait has changed.
    changed: Condvar,
}

impl Server {
    pub(super) fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let state =
            State { last_body: Vec::new(), head: HEAD, waiting: 0, asked: Asked::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let server = Self { port, shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // A connection that ends in an error shows at the client.
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Ok(server)
    }

    /// The body that was read last.
    pub(super) fn last_body(&self) -> Vec<u8> {
        self.shared.state().last_body.clone()
    }

    /// Reports another head from now on, to polls that wait at once.
    pub(super) fn set_head(&self, head: u64) {
        self.shared.state().head = head;
        self.shared.changed.notify_all();
    }

    /// Waits until a long poll waits for news.
    ///
    /// # Errors
    /// None comes.
    pub(super) fn wait_for_poll(&self) -> Result<()> {
        let state = self.shared.state();
        let nobody = |state: &mut State| state.waiting == 0;
        let waited = self.shared.changed.wait_timeout_while(state, PATIENCE, nobody);
        let waited = waited.unwrap_or_else(PoisonError::into_inner);
        ensure!(!waited.1.timed_out(), "the filter does not poll the sidecar");
        Ok(())
    }

    /// What it was asked so far.
    pub(super) fn asked(&self) -> Asked {
        self.shared.state().asked
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to a question for the head.
    fn report(&self, question: &str) -> String {
        let mut state = self.state();
        state.asked.questions += 1;
        if let Some(known) = after(question) {
            state.waiting += 1;
            state.asked.most_waiting = state.asked.most_waiting.max(state.waiting);
            self.changed.notify_all();
            let no_news = |state: &mut State| state.head <= known;
            let waited = self.changed.wait_timeout_while(state, LONG_POLL, no_news);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.waiting -= 1;
        }
        report(state.head)
    }
}

/// The head that a long poll knows; the wait of others is none.
fn after(question: &str) -> Option<u64> {
    let (_, query) = question.split(' ').nth(1)?.split_once('?')?;
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name));
    value("wait=").filter(|wait| *wait != "0s")?;
    value("after=")?.parse().ok()
}

fn serve(stream: TcpStream, shared: &Shared) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(64 * 1024, stream);
    let mut body = Vec::new();
    while let Some(head) = read_head(&mut stream)? {
        head.read_body(&mut stream, &mut body)?;
        let answer = if head.first_line.starts_with("GET /v1/head") {
            shared.report(&head.first_line)
        } else {
            std::mem::swap(&mut shared.state().last_body, &mut body);
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
fn report(head: u64) -> String {
    let head = serde_json::json!({
        "number": head, "hex": format!("{head:#x}"), "hash": null, "source": "espresso",
        "mode": "espresso", "status": "ok", "espresso": null, "ethereum": null, "chain_id": 1,
        "updated_at": "2026-01-01T00:00:00.000Z",
    });
    head.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_poll_is_told_from_other_questions() {
        assert_eq!(after("GET /v1/head?after=7&status=ok&wait=25s HTTP/1.1"), Some(7));
        assert_eq!(after("GET /v1/head?after=7&status=ok HTTP/1.1"), None);
        assert_eq!(after("GET /v1/head?after=7&wait=0s HTTP/1.1"), None);
        assert_eq!(after("GET /v1/head HTTP/1.1"), None);
    }
}
