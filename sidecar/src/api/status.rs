//! The body of `/v1/status`: everything an operator needs when the head does not advance.

use std::{fmt, sync::Arc};

use finality_core::head::HeadReport;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::Serialize;

use super::history::Positions;
use crate::{
    telemetry::{Metrics, metrics::BatchResult},
    upstream::DependencyReport,
    verifier::{Board, Findings},
};

/// Why the head does not advance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// One of [`Stall::CODES`](crate::verifier::Stall::CODES).
    pub code: &'static str,
    /// The same in words.
    pub text: String,
}

/// What the API asks about the sidecar beside the head.
pub trait StatusSource: Send + Sync {
    /// The body of `/v1/status`, an object.
    fn status(&self) -> serde_json::Value;
    /// Why there is no head, or why it does not advance.
    fn reason(&self) -> Reason;
    /// Ends when the head or the code of the reason changes after this call.
    fn changed(&self) -> BoxFuture<'static, ()>;
    /// Whether the verifier still does its rounds.
    fn verifier_alive(&self) -> bool;
    /// Whether the last write of the store succeeded.
    fn store_writable(&self) -> bool;
}

/// What became of batches since the start, as in `espresso_verifier_batches_total`.
#[derive(Debug, Clone, Copy, Serialize)]
struct BatchCounts {
    confirmed: u64,
    mismatch: u64,
    undecided: u64,
    skipped: u64,
}

impl BatchCounts {
    fn read(metrics: &Metrics) -> Self {
        Self {
            confirmed: metrics.batches(BatchResult::Confirmed),
            mismatch: metrics.batches(BatchResult::Mismatch),
            undecided: metrics.batches(BatchResult::Undecided),
            skipped: metrics.batches(BatchResult::Skipped),
        }
    }
}

type Dependencies = Box<dyn Fn() -> Vec<DependencyReport> + Send + Sync>;

/// The status of a verifier, its head and its dependencies.
pub struct StatusReader {
    board: Arc<Board>,
    metrics: Metrics,
    dependencies: Dependencies,
    started_at: Timestamp,
}

impl fmt::Debug for StatusReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusReader").field("board", &self.board).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Report<'a> {
    /// When this was said, and when the process began.
    at: Timestamp,
    started_at: Timestamp,
    reason: String,
    reason_code: &'static str,
    /// Since when that is the code.
    reason_since: Timestamp,
    head: Option<&'a HeadReport>,
    #[serde(flatten)]
    findings: &'a Findings,
    batches: BatchCounts,
    dependencies: Vec<DependencyReport>,
    build: &'a str,
}

impl StatusReader {
    /// Reads the verifier's board, the metrics that are shown too, and the dependencies.
    pub fn new(
        board: Arc<Board>,
        metrics: Metrics,
        dependencies: impl Fn() -> Vec<DependencyReport> + Send + Sync + 'static,
    ) -> Self {
        let dependencies = Box::new(dependencies);
        Self { board, metrics, dependencies, started_at: Timestamp::now() }
    }

    /// The positions of head and node.
    #[must_use]
    pub fn positions(&self) -> Positions {
        let findings = self.board.findings();
        let Findings { head, node, .. } = &*findings;
        let head = head.as_ref().map(|head| head.number);
        Positions { head, latest: node.latest, finalized: node.finalized.map(|block| block.number) }
    }
}

impl StatusSource for StatusReader {
    fn status(&self) -> serde_json::Value {
        let findings = self.board.findings();
        let report = Report {
            at: Timestamp::now(),
            started_at: self.started_at,
            reason: findings.stall.to_string(),
            reason_code: findings.stall.code(),
            reason_since: findings.since,
            head: findings.head.as_deref(),
            findings: &findings,
            batches: BatchCounts::read(&self.metrics),
            dependencies: (self.dependencies)(),
            build: finality_core::build::LINE,
        };
        serde_json::to_value(report)
            .unwrap_or_else(|error| serde_json::json!({"error": error.to_string()}))
    }

    fn reason(&self) -> Reason {
        let stall = &self.board.findings().stall;
        Reason { code: stall.code(), text: stall.to_string() }
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let mut findings = self.board.subscribe();
        Box::pin(async move {
            if findings.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }

    fn verifier_alive(&self) -> bool {
        self.board.verifier_alive()
    }

    fn store_writable(&self) -> bool {
        self.board.findings().last_store_error.is_none()
    }
}
