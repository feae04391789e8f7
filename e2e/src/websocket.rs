//! WebSocket connections: the client's end, over HTTP/1.1 and over HTTP/2 (RFC 8441), and a node's
//! end, which sends every message back.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{Method, StatusCode, Version, header},
    response::{IntoResponse, Response},
};
use futures::{SinkExt, StreamExt};
use http_body_util::Empty;
use hyper::{ext::Protocol, upgrade::Upgraded};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, handshake::derive_accept_key, protocol::Role},
};

use crate::wait::{PATIENCE, until};

/// What a connection runs over.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// The version of HTTP that a connection starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http {
    /// An upgrade of HTTP/1.1.
    One,
    /// A stream of HTTP/2, by an extended CONNECT.
    Two,
}

/// A client's connection.
pub struct Connection(WebSocketStream<Box<dyn Transport>>);

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

impl Connection {
    /// Connects to a server at `http://host:port`.
    ///
    /// # Panics
    /// When the server takes no WebSocket.
    pub async fn open(http: Http, url: &str) -> Self {
        let authority = url.strip_prefix("http://").unwrap();
        match http {
            Http::One => Self::open_by_name(url, authority).await,
            Http::Two => over_http2(url, TcpStream::connect(authority).await.unwrap()).await,
        }
    }

    /// Connects over HTTP/1.1 to a server at `http://host:port`, by another name of its host.
    ///
    /// # Panics
    /// When the server takes no WebSocket.
    pub async fn open_by_name(url: &str, name: &str) -> Self {
        Self::open_at(url, name, "").await
    }

    /// Connects over HTTP/1.1 to a path, given without a slash in front.
    ///
    /// # Panics
    /// When the server takes no WebSocket.
    pub async fn open_path(url: &str, path: &str) -> Self {
        Self::open_at(url, url.strip_prefix("http://").unwrap(), path).await
    }

    async fn open_at(url: &str, name: &str, path: &str) -> Self {
        let stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
        let stream: Box<dyn Transport> = Box::new(stream);
        Self(client_async(format!("ws://{name}/{path}"), stream).await.unwrap().0)
    }

    /// Sends a message.
    ///
    /// # Panics
    /// When the connection has ended.
    pub async fn send(&mut self, message: Message) {
        self.0.send(message).await.unwrap();
    }

    /// Sends a message at which the server ends the connection, perhaps before the client has seen
    /// all of it leave. [`Connection::next`] tells how it ended.
    pub async fn send_last(&mut self, message: Message) {
        let _ = self.0.send(message).await;
    }

    /// Sends bytes as they are, whatever frames they are, and each by itself.
    ///
    /// # Panics
    /// When the connection has ended.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0.get_mut().write_all(&[*byte]).await.unwrap();
            self.0.get_mut().flush().await.unwrap();
        }
    }

    /// Sends bytes as they are, as far as the server takes them.
    pub async fn send_raw(&mut self, bytes: &[u8]) {
        let stream = self.0.get_mut();
        if stream.write_all(bytes).await.is_ok() {
            let _ = stream.flush().await;
        }
    }

    /// The next message; `None` or an error when the connection has ended.
    ///
    /// # Panics
    /// When nothing comes.
    pub async fn next(&mut self) -> Option<Result<Message, Error>> {
        tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a message or an end in time")
    }

    /// The next message, which must come.
    ///
    /// # Panics
    /// When the connection ends instead.
    pub async fn message(&mut self) -> Message {
        self.next().await.expect("a message").unwrap()
    }
}

async fn over_http2(url: &str, stream: TcpStream) -> Connection {
    let (mut requests, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    // It must not be used before it was offered.
    until("the server to offer extended CONNECT", PATIENCE, async || {
        connection.is_extended_connect_protocol_enabled().then_some(())
    })
    .await;
    tokio::spawn(connection);
    // As browsers do it: without a key, which HTTP/2 does not need.
    let request = Request::connect(format!("{url}/"))
        .extension(Protocol::from_static("websocket"))
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_EXTENSIONS, "permessage-deflate")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let response = requests.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!response.headers().contains_key(header::SEC_WEBSOCKET_EXTENSIONS));
    let stream = hyper::upgrade::on(response).await.unwrap();
    let stream: Box<dyn Transport> = Box::new(TokioIo::new(stream));
    Connection(WebSocketStream::from_raw_socket(stream, Role::Client, None).await)
}

/// The messages that a node got.
pub type Messages = Arc<Mutex<Vec<Message>>>;

/// Whether a request asks for a WebSocket connection.
#[must_use]
pub fn is_upgrade(request: &Request) -> bool {
    let upgrade = request.headers().get(header::UPGRADE);
    let protocol = request.extensions().get::<Protocol>();
    upgrade.is_some_and(|name| name == "websocket")
        || request.method() == Method::CONNECT
            && protocol.is_some_and(|name| name.as_str() == "websocket")
}

/// The server's end of a connection.
pub type Accepted = WebSocketStream<TokioIo<Upgraded>>;

/// Takes a connection of a client, and serves it. Over HTTP/1.1 it must have a key, as with any
/// node; over HTTP/2 one is answered if it came, as by another Envoy between this one and a node.
pub fn accept<F>(
    mut request: Request,
    serve: impl FnOnce(Accepted) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send,
{
    let mut answer = Response::builder();
    if let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) {
        answer = answer.header(header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()));
    } else if request.version() != Version::HTTP_2 {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let answer = match request.version() {
        Version::HTTP_2 => answer.status(StatusCode::OK),
        _ => answer
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, "websocket"),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(stream) = upgrade.await else { return };
        let stream = TokioIo::new(stream);
        serve(WebSocketStream::from_raw_socket(stream, Role::Server, None).await).await;
    });
    answer.body(Body::empty()).unwrap()
}

/// Notes each message of a client, and sends it back.
pub fn echo(request: Request, messages: Messages) -> Response {
    accept(request, async move |mut connection| {
        while let Some(Ok(message)) = connection.next().await {
            messages.lock().unwrap().push(message.clone());
            // Pings and closes are answered by the connection itself.
            if matches!(message, Message::Text(_) | Message::Binary(_))
                && connection.send(message).await.is_err()
            {
                return;
            }
        }
    })
}
