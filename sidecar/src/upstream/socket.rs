//! A kept WebSocket connection on which a dependency tells of what is new ([`News`](super::News)).

use std::time::Duration;

use finality_core::headers;
use futures::{SinkExt as _, Stream, StreamExt as _};
use reqwest::{StatusCode, Upgraded};
use tokio::{task::JoinHandle, time::Instant};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
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
/// A connection that tells nothing for so long, or for ten changes, is opened anew: a subscription
/// may end while what carries it is kept alive.
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
    Silent,
    Flooded,
    Refused,
    TooEarly,
}

impl Upstream {
    /// Listens to what the dependency tells, on a connection that is opened again whenever it ends.
    pub fn listen(&self, mut channel: Channel, mut listener: Listener) -> JoinHandle<()> {
        let upstream = self.clone();
        tokio::spawn(async move {
            let mut pauses = Pauses(FIRST_PAUSE);
            loop {
                let started = Instant::now();
                let end = upstream.follow(&mut channel, &mut listener).await;
                listener.ended();
                let (target, url) = (upstream.inner.target.as_str(), upstream.url());
                tracing::debug!(dependency = target, %url, ?end, "stream ended");
                tokio::time::sleep(pauses.after(end, started.elapsed())).await;
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
        heed(&mut socket, &mut channel.read, listener).await
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

/// The pause before the next attempt, if it ends as soon as the last one did.
#[derive(Debug)]
struct Pauses(Duration);

impl Pauses {
    fn after(&mut self, end: End, lasted: Duration) -> Duration {
        let pause = match end {
            End::TooEarly => Duration::from_millis(100),
            End::Refused => REFUSED_FOR,
            End::Flooded => LONGEST_PAUSE,
            End::Silent => FIRST_PAUSE,
            End::Broken if lasted > LONGEST_PAUSE => FIRST_PAUSE,
            End::Broken => self.0,
        };
        let is_first = end == End::TooEarly || lasted > LONGEST_PAUSE;
        self.0 = if is_first { FIRST_PAUSE } else { (self.0 * 2).min(LONGEST_PAUSE) };
        pause
    }
}

/// Passes on what comes, until it ends, is too much, or tells nothing for long.
async fn heed<S>(socket: &mut S, read: &mut Read, listener: &mut Listener) -> End
where
    S: Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
{
    let (mut second, mut messages) = (Instant::now(), 0_u32);
    let mut last = Instant::now();
    loop {
        let silence = SILENCE.max(listener.cadence().saturating_mul(10));
        let message = tokio::select! {
            message = socket.next() => message,
            () = listener.alone() => continue,
            () = tokio::time::sleep_until(last + silence) => return End::Silent,
        };
        let now = Instant::now();
        if now.duration_since(second) >= Duration::from_secs(1) {
            (second, messages) = (now, 0);
        }
        messages += 1;
        if messages > FLOOD {
            return End::Flooded;
        }
        let heard = match &message {
            Some(Ok(Message::Text(text))) => read(text.as_bytes()),
            Some(Ok(Message::Binary(bytes))) => read(bytes),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return End::Broken,
            Some(Ok(_)) => Heard::Nothing,
        };
        match heard {
            Heard::Height(height) => {
                last = now;
                listener.told(height);
            }
            Heard::Nothing => {}
            Heard::Refusal => return End::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc::{UnboundedSender, unbounded};

    use super::*;
    use crate::{
        telemetry::{Metrics, metrics::Target},
        upstream::News,
    };

    type Sent = Result<Message, tungstenite::Error>;

    /// A connection that is heeded, and the news that it tells.
    fn connection(cadence: Duration) -> (UnboundedSender<Sent>, News, JoinHandle<End>) {
        let news = News::default();
        news.is_at(Target::Node, 1, Some(cadence));
        let mut listener = news.listener(Target::Node, 1, Metrics::new());
        let (sender, mut socket) = unbounded();
        let heeding = tokio::spawn(async move {
            let mut read = |bytes: &[u8]| match std::str::from_utf8(bytes).unwrap() {
                "nothing" => Heard::Nothing,
                "refused" => Heard::Refusal,
                height => Heard::Height(height.parse().unwrap()),
            };
            heed(&mut socket, &mut read, &mut listener).await
        });
        (sender, news, heeding)
    }

    fn tells(height: u64) -> Sent {
        Ok(Message::text(height.to_string()))
    }

    #[tokio::test(start_paused = true)]
    async fn more_messages_in_a_second_than_any_chain_has_end_a_stream() {
        let second = Duration::from_secs(1);
        let (sender, news, heeding) = connection(second);
        for height in 1..=20 {
            for _ in 1..FLOOD {
                sender.unbounded_send(Ok(Message::text("nothing"))).unwrap();
            }
            sender.unbounded_send(tells(height)).unwrap();
            tokio::time::sleep(second).await;
            assert!(news.take(Target::Node), "{height}");
        }
        assert!(!heeding.is_finished());
        for _ in 0..=FLOOD {
            sender.unbounded_send(Ok(Message::Ping(Vec::new().into()))).unwrap();
        }
        assert_eq!(heeding.await.unwrap(), End::Flooded);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_tells_nothing_for_long_ends_though_the_connection_lives() {
        for (cadence, silence) in [(1, SILENCE), (12, Duration::from_secs(120))] {
            let (sender, _, heeding) = connection(Duration::from_secs(cadence));
            for height in 1..=20 {
                tokio::time::sleep(silence - Duration::from_secs(1)).await;
                sender.unbounded_send(tells(height)).unwrap();
            }
            let last = Instant::now();
            let pings = tokio::spawn(async move {
                for _ in 0..100 {
                    drop(sender.unbounded_send(Ok(Message::Ping(Vec::new().into()))));
                    tokio::time::sleep(Duration::from_secs(10)).await;
                }
            });
            assert_eq!(heeding.await.unwrap(), End::Silent);
            assert_eq!(last.elapsed(), silence);
            pings.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_closes_or_refuses_ends() {
        let refuses = Message::text("refused");
        for (message, end) in [(Message::Close(None), End::Broken), (refuses, End::Refused)] {
            let (sender, _, heeding) = connection(SILENCE);
            sender.unbounded_send(Ok(message)).unwrap();
            assert_eq!(heeding.await.unwrap(), end);
        }
    }

    #[test]
    fn what_ends_soon_is_opened_again_more_and_more_rarely() {
        let mut pauses = Pauses(FIRST_PAUSE);
        let seconds = |pauses: &mut Pauses, end| pauses.after(end, FIRST_PAUSE).as_secs();
        let broken: Vec<_> = (0..8).map(|_| seconds(&mut pauses, End::Broken)).collect();
        assert_eq!(broken, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(seconds(&mut pauses, End::Flooded), 60);
        assert_eq!(seconds(&mut pauses, End::Refused), 600);
        assert_eq!(seconds(&mut pauses, End::Silent), 1, "a chain may stand still");
        assert_eq!(seconds(&mut pauses, End::Broken), 60);
        assert_eq!(pauses.after(End::Broken, LONGEST_PAUSE * 2), FIRST_PAUSE);
        assert_eq!(seconds(&mut pauses, End::Broken), 1);
    }
}
