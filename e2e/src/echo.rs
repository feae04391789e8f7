//! A node that answers with what it got: the body as it came, its framing as headers; over
//! WebSocket, the message. Like geth it refuses host names that it does not know.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    ports::Server,
    vhosts,
    websocket::{self, Messages},
};

/// Response header: the content-length of the request, or `none`.
pub const LENGTH: &str = "x-echo-length";
/// Response header: the method of the request.
pub const METHOD: &str = "x-echo-method";
/// Response header: the trailers of the request, as text; absent without any.
pub const TRAILERS: &str = "x-echo-trailers";

/// Request header: a header for the answer, as `name: value`; may be repeated.
pub const ANSWER: &str = "x-echo-answer";

/// Path: the answer waits for [`Echo::release`].
pub const HELD: &str = "/held";

/// A request as it reached the node, complete or not.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Path and query.
    pub path: String,
    /// Headers.
    pub headers: HeaderMap,
    /// The bytes of the body that came.
    pub body: Vec<u8>,
    /// Whether the body came to its end.
    pub complete: bool,
}

#[derive(Debug, Clone, Default)]
struct Log {
    requests: Arc<Mutex<Vec<Seen>>>,
    messages: Messages,
    released: watch::Sender<bool>,
}

/// The node, over HTTP/1.1 and HTTP/2 with prior knowledge.
#[derive(Debug)]
pub struct Echo {
    server: Server,
    log: Log,
}

impl Echo {
    /// Starts it.
    pub async fn start() -> Self {
        let log = Log::default();
        let router = Router::new().fallback(answer).with_state(log.clone());
        Self { server: Server::start(router).await, log }
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// What reached it since the last call of this.
    ///
    /// # Panics
    /// When a request panicked.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.log.requests.lock().unwrap())
    }

    /// The whole requests since the last call. One that was refused may end here after the client
    /// has its refusal.
    ///
    /// # Panics
    /// As [`Self::take_seen`].
    pub fn take_complete(&self) -> Vec<Seen> {
        self.take_seen().into_iter().filter(|seen| seen.complete).collect()
    }

    /// Lets it answer what waits, and all that comes.
    pub fn release(&self) {
        self.log.released.send_replace(true);
    }

    /// What reached it over WebSocket since the last call of this.
    ///
    /// # Panics
    /// When a connection panicked.
    pub fn take_messages(&self) -> Vec<Message> {
        std::mem::take(&mut *self.log.messages.lock().unwrap())
    }
}

async fn answer(State(log): State<Log>, request: Request) -> Response {
    if let Some(refusal) = vhosts::refusal(request.uri(), request.headers()) {
        return refusal;
    }
    let mut seen = Seen {
        path: request.uri().path_and_query().map_or_else(String::new, ToString::to_string),
        headers: request.headers().clone(),
        body: Vec::new(),
        complete: true,
    };
    if websocket::is_upgrade(&request) {
        log.requests.lock().unwrap().push(seen);
        return websocket::echo(request, log.messages);
    }
    let (head, mut body) = request.into_parts();
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        match frame.map(|frame| frame.into_data().map_err(|frame| frame.into_trailers())) {
            Ok(Ok(data)) => seen.body.extend_from_slice(&data),
            Ok(Err(map)) => trailers = map.ok().map(|map| format!("{map:?}")),
            Err(_) => {
                seen.complete = false;
                break;
            }
        }
    }
    if seen.path == HELD {
        // The sender is in the log.
        let _ = log.released.subscribe().wait_for(|released| *released).await;
    }
    let (complete, body) = (seen.complete, seen.body.clone());
    log.requests.lock().unwrap().push(seen);
    if !complete {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let mut response = Response::new(Body::from(body));
    let answer = response.headers_mut();
    let none = header::HeaderValue::from_static("none");
    answer.insert(LENGTH, head.headers.get(header::CONTENT_LENGTH).cloned().unwrap_or(none));
    answer.insert(METHOD, head.method.as_str().parse().unwrap());
    for wanted in head.headers.get_all(ANSWER) {
        let (name, value) = wanted.to_str().unwrap().split_once(": ").unwrap();
        answer.append(name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap());
    }
    if let Some(kind) = head.headers.get(header::CONTENT_TYPE) {
        answer.insert(header::CONTENT_TYPE, kind.clone());
    }
    if let Some(trailers) = trailers {
        answer.insert(TRAILERS, trailers.parse().unwrap());
    }
    response
}
