//! A kept WebSocket connection on which a dependency tells of what is new ([`News`](super::News)).

use std::time::Duration;

use finality_core::headers;
use futures::{SinkExt as _, StreamExt as _};
use reqwest::{StatusCode, Upgraded};
use tokio::{task::JoinHandle, time::Instant};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::client::generate_key,
        protocol::{Role, WebSocketConfig},
    },
};

use super::{Listener, Upstream};

/// The longest message, in bytes: a header of HotShot's with a long table.
pub const LONGEST_NEWS: usize = 256 * 1024;
/// Messages per second beyond which a stream is left alone for a while.
const FLOOD: u32 = 200;
/// The pause before the first new attempt; it doubles with each that ends soon.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The pause after the dependency has refused: it offers no stream there.
const REFUSED_FOR: Duration = Duration::from_secs(600);
/// A connection without a message for so long, or for ten changes, is opened anew.
const SILENCE: Duration = Duration::from_secs(30);

/// What a message tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// There is a block with this number.
    Height(u64),
    /// Nothing of use.
    Nothing,
    /// That there will be no news.
    Refusal,
}

/// How to ask a dependency for its news, and how to read them.
pub struct Channel {
    /// The path below the dependency's URL, by the height to begin with; none while it is too
    /// early.
    pub path: fn(u64) -> Option<String>,
    /// What is said first.
    pub hello: Option<&'static str>,
    /// Reads a message.
    pub read: Box<Read>,
}

/// Reads a message.
type Read = dyn FnMut(&[u8]) -> Heard + Send;

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("hello", &self.hello).finish_non_exhaustive()
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Broken,
    Flooded,
    Refused,
    TooEarly,
}

impl Upstream {
    /// Listens to what the dependency tells, on a connection that is opened again whenever it ends.
    pub fn listen(&self, mut channel: Channel, mut listener: Listener) -> JoinHandle<()> {
        let upstream = self.clone();
        tokio::spawn(async move {
            let mut pause = FIRST_PAUSE;
            loop {
                let started = Instant::now();
                let end = upstream.follow(&mut channel, &mut listener).await;
                listener.ended();
                let (target, url) = (upstream.inner.target.as_str(), upstream.url());
                tracing::debug!(dependency = target, %url, ?end, "stream ended");
                let lasted = started.elapsed() > LONGEST_PAUSE;
                let next = match end {
                    End::TooEarly => Duration::from_millis(100),
                    End::Refused => REFUSED_FOR,
                    End::Flooded => LONGEST_PAUSE,
                    End::Broken if lasted => FIRST_PAUSE,
                    End::Broken => pause,
                };
                pause = if lasted { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
                if end == End::TooEarly {
                    pause = FIRST_PAUSE;
                }
                tokio::time::sleep(next).await;
            }
        })
    }

    /// Opens a connection and passes on what comes, until it ends.
    async fn follow(&self, channel: &mut Channel, listener: &mut Listener) -> End {
        let Some(path) = (channel.path)(listener.from()) else { return End::TooEarly };
        let opened = tokio::time::timeout(self.inner.options.request_timeout, self.open(&path));
        let mut socket = match opened.await {
            Ok(Ok(socket)) => socket,
            Ok(Err(end)) => return end,
            Err(_) => return End::Broken,
        };
        if let Some(hello) = channel.hello
            && socket.send(Message::text(hello)).await.is_err()
        {
            return End::Broken;
        }
        let (mut second, mut messages) = (Instant::now(), 0_u32);
        let mut last = Instant::now();
        loop {
            let silence = SILENCE.max(listener.cadence().saturating_mul(10));
            let message = tokio::select! {
                message = socket.next() => message,
                () = listener.alone() => continue,
                () = tokio::time::sleep_until(last + silence) => return End::Broken,
            };
            last = Instant::now();
            if last.duration_since(second) >= Duration::from_secs(1) {
                (second, messages) = (last, 0);
            }
            messages += 1;
            if messages > FLOOD {
                return End::Flooded;
            }
            let heard = match &message {
                Some(Ok(Message::Text(text))) => (channel.read)(text.as_bytes()),
                Some(Ok(Message::Binary(bytes))) => (channel.read)(bytes),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return End::Broken,
                Some(Ok(_)) => Heard::Nothing,
            };
            match heard {
                Heard::Height(height) => listener.told(height),
                Heard::Nothing => {}
                Heard::Refusal => return End::Refused,
            }
        }
    }

    /// Upgrades a connection, over HTTP/1.1 and with the same TLS as requests.
    async fn open(&self, path: &str) -> Result<WebSocketStream<Upgraded>, End> {
        let mut url = self.url().expose().clone();
        if !path.is_empty() {
            let base = url.path().trim_end_matches('/').to_owned();
            url.set_path(&format!("{base}/{path}"));
        }
        let request = self.inner.client.get(url);
        let request = request
            .header(headers::SIDECAR, finality_core::build::VERSION)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", generate_key());
        let response = request.send().await.map_err(|_| End::Broken)?;
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => {}
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Err(End::Broken);
            }
            _ => return Err(End::Refused),
        }
        let connection = response.upgrade().await.map_err(|_| End::Broken)?;
        // No extension is offered, compression included.
        let limits = WebSocketConfig::default()
            .read_buffer_size(4 * 1024)
            .max_message_size(Some(LONGEST_NEWS))
            .max_frame_size(Some(LONGEST_NEWS));
        Ok(WebSocketStream::from_raw_socket(connection, Role::Client, Some(limits)).await)
    }
}
