//! A dependency for tests: a real socket that gives one answer to everything.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Bytes, http::StatusCode, routing::post};
use parking_lot::Mutex;

use super::{Upstream, UpstreamOptions};
use crate::{
    redact::SecretUrl,
    telemetry::{Metrics, metrics::Target},
};

/// An endpoint that answers everything with this status and body, and counts.
pub(crate) struct Endpoint {
    pub(crate) upstream: Upstream,
    answer: Arc<Mutex<(StatusCode, &'static str)>>,
    asked: Arc<AtomicUsize>,
}

impl Endpoint {
    pub(crate) async fn new() -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let answer = Arc::new(Mutex::new((StatusCode::OK, r#"{"result":1}"#)));
        let asked = Arc::<AtomicUsize>::default();
        let (given, counted) = (Arc::clone(&answer), Arc::clone(&asked));
        let handler = async move |_: Bytes| {
            counted.fetch_add(1, Ordering::Relaxed);
            *given.lock()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = SecretUrl::parse(&format!("http://{}", listener.local_addr().unwrap()));
        let router = Router::new().route("/", post(handler));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let options = UpstreamOptions {
            request_timeout: Duration::from_secs(20),
            retry_interval: Duration::from_secs(600),
            metrics: Metrics::new(),
        };
        let upstream = Upstream::new(Target::Node, "node_execution_rpc", url.unwrap(), options);
        Self { upstream: upstream.unwrap(), answer, asked }
    }

    pub(crate) fn answers(&self, status: u16, body: &'static str) {
        *self.answer.lock() = (StatusCode::from_u16(status).unwrap(), body);
    }

    /// The number of requests since the last call.
    pub(crate) fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::Relaxed)
    }
}
