//! The HTTP API.

use std::{sync::Arc, time::Duration};

use finality_core::head::HeadReport;
use tokio::sync::watch;

use crate::telemetry::Metrics;

/// What the API asks about the sidecar beside the head.
pub trait StatusSource: Send + Sync {
    /// The body of `/v1/status`, an object.
    fn status(&self) -> serde_json::Value;
    /// In words: why there is no head, or why it stands still.
    fn reason(&self) -> String;
    /// Whether the verifier still does its rounds.
    fn verifier_alive(&self) -> bool;
    /// Whether the last write of the store succeeded.
    fn store_writable(&self) -> bool;
}

/// How far the sidecar is on its way down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Serving,
    /// Not ready any more, but everything is still answered.
    Draining,
    /// No new connections; long polls are answered at once.
    Closing,
}

/// What the handlers share.
#[derive(Clone)]
pub struct ApiState {
    /// The published head.
    pub head: watch::Receiver<Option<Arc<HeadReport>>>,
    /// Everything else that can be asked.
    pub status: Arc<dyn StatusSource>,
    /// The metrics.
    pub metrics: Metrics,
    /// How far the shutdown is.
    pub phase: watch::Receiver<Phase>,
    /// Longest `wait` of `/v1/head`.
    pub long_poll_limit: Duration,
    /// Age of the head above which `/readyz` fails, if any.
    pub ready_max_age: Option<Duration>,
}

impl std::fmt::Debug for ApiState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiState")
    }
}
