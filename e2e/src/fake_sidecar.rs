//! A sidecar that answers whatever a test wants, right or wrong.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use finality_core::{
    head::{HEAD_PATH, hex_number},
    headers,
};
use serde_json::json;
use tokio::sync::watch;

use crate::ports::Server;

/// The chain that it reports by default.
pub const CHAIN_ID: u64 = 22_266_222;

/// What it answers to a request for the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// A head report; polls wait until there is news.
    Head {
        /// Block number.
        number: u64,
        /// `ok`, `diverged`, …
        status: &'static str,
        /// The L2 chain.
        chain_id: u64,
    },
    /// 503: no head yet.
    NoHead,
    /// HTTP 200 with this body.
    Text(String),
    /// No answer, until this changes.
    Nothing,
}

impl Says {
    /// A usable head of the usual chain.
    #[must_use]
    pub const fn head(number: u64) -> Self {
        Self::Head { number, status: "ok", chain_id: CHAIN_ID }
    }

    fn is_news(&self, query: &HashMap<String, String>) -> bool {
        let Self::Head { number, status, .. } = self else { return true };
        let after = query.get("after").and_then(|after| after.parse().ok());
        after.is_none_or(|after: u64| *number > after)
            || query.get("status").is_none_or(|known| known != status)
    }
}

#[derive(Debug, Clone)]
struct Context {
    says: watch::Receiver<Says>,
    asked: Arc<AtomicU64>,
    waiting: Arc<AtomicU64>,
}

/// A question that is not answered yet.
struct Waiting(Arc<AtomicU64>);

impl Waiting {
    fn new(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The sidecar.
#[derive(Debug)]
pub struct FakeSidecar {
    server: Server,
    says: watch::Sender<Says>,
    asked: Arc<AtomicU64>,
    waiting: Arc<AtomicU64>,
}

impl FakeSidecar {
    /// Starts it.
    pub async fn start(says: Says) -> Self {
        let (sender, receiver) = watch::channel(says);
        let asked = Arc::new(AtomicU64::new(0));
        let waiting = Arc::new(AtomicU64::new(0));
        let context =
            Context { says: receiver, asked: Arc::clone(&asked), waiting: Arc::clone(&waiting) };
        let router = Router::new().route(HEAD_PATH, axum::routing::get(head)).with_state(context);
        Self { server: Server::start(router).await, says: sender, asked, waiting }
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Sets the answer from now on; open polls get it at once.
    pub fn say(&self, says: Says) {
        self.says.send_replace(says);
    }

    /// How many questions wait for news now.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::SeqCst)
    }

    /// How often it was asked.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn head(
    State(mut context): State<Context>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    context.asked.fetch_add(1, Ordering::SeqCst);
    let _waiting = Waiting::new(&context.waiting);
    let seconds = query.get("wait").and_then(|wait| wait.strip_suffix('s')?.parse().ok());
    let wait = Duration::from_secs(seconds.unwrap_or(0));
    let is_news = |says: &Says| *says != Says::Nothing && says.is_news(&query);
    // After the wait it answers in any case, changed or not.
    let in_time = tokio::time::timeout(wait, context.says.wait_for(is_news)).await.is_ok();
    let says = context.says.wait_for(|says| in_time || *says != Says::Nothing).await;
    let Ok(says) = says.map(|says| says.clone()) else {
        return StatusCode::GONE.into_response();
    };
    let marker = [(headers::SIDECAR, "test")];
    match says {
        Says::Head { number, status, chain_id } => {
            let report = json!({
                "number": number, "hex": hex_number(number), "hash": null, "source": "espresso",
                "mode": "espresso", "status": status, "espresso": null, "ethereum": null,
                "chain_id": chain_id, "updated_at": "2026-01-01T00:00:00Z", "confirmed": true,
            });
            (marker, report.to_string()).into_response()
        }
        Says::NoHead => (StatusCode::SERVICE_UNAVAILABLE, marker, "{}").into_response(),
        Says::Text(text) => (marker, text).into_response(),
        Says::Nothing => StatusCode::GONE.into_response(),
    }
}
