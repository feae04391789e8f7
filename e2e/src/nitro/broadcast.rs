//! The sequencer's feed, as a node serves it over WebSocket: first what it has, then what is new.

use std::sync::{Arc, Mutex};

use axum::{Router, extract::Request, routing::any};
use futures::{SinkExt, StreamExt};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

use super::feed::FeedMessage;
use crate::{
    ports::Server,
    websocket::{self, Accepted},
};

/// The feed.
#[derive(Debug)]
pub struct Broadcast {
    server: Server,
    backlog: Backlog,
    news: watch::Sender<()>,
}

type Backlog = Arc<Mutex<Vec<String>>>;

impl Broadcast {
    /// Serves a feed without messages.
    pub async fn start() -> Self {
        let (backlog, news) = (Backlog::default(), watch::Sender::new(()));
        let (messages, told) = (Arc::clone(&backlog), news.clone());
        let accept = async move |request: Request| {
            let (messages, told) = (Arc::clone(&messages), told.subscribe());
            websocket::accept(request, move |connection| tell(connection, messages, told))
        };
        Self { server: Server::start(Router::new().fallback(any(accept))).await, backlog, news }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url().replace("http://", "ws://")
    }

    /// Adds a message.
    pub fn add(&self, message: &FeedMessage) {
        self.backlog.lock().unwrap().push(message.json());
        self.news.send_replace(());
    }
}

async fn tell(mut connection: Accepted, backlog: Backlog, mut news: watch::Receiver<()>) {
    let mut told = 0;
    loop {
        news.mark_unchanged();
        let new = backlog.lock().unwrap()[told..].to_vec();
        if !new.is_empty() {
            told += new.len();
            let text = format!("{{\"version\":1,\"messages\":[{}]}}", new.join(","));
            if connection.send(Message::text(text)).await.is_err() {
                return;
            }
            continue;
        }
        tokio::select! {
            changed = news.changed() => if changed.is_err() { return },
            message = connection.next() => if !matches!(message, Some(Ok(_))) { return },
        }
    }
}
