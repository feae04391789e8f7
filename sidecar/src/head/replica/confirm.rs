//! Confirmed answers: the head as of a moment after the question.

use std::{sync::Arc, time::Duration};

use finality_core::head::HeadReport;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{Reset, Shared, Stop};
use crate::store::engine::Engine;

/// The least time between the beginnings of two readings, which all who wait share.
const SPACING: Duration = Duration::from_millis(2);
/// The longest wait for a confirmation.
const LIMIT: Duration = Duration::from_secs(1);
/// Questions that may wait.
const WAITING: usize = 8192;

/// Someone who waits for a confirmation.
pub(super) type Question = oneshot::Sender<Option<Arc<HeadReport>>>;

/// Asks for confirmed heads.
#[derive(Debug, Clone)]
pub struct Confirmations(mpsc::Sender<Question>);

impl Confirmations {
    pub(super) fn new() -> (Self, mpsc::Receiver<Question>) {
        let (questions, asked) = mpsc::channel(WAITING);
        (Self(questions), asked)
    }

    /// The head, if it is what all replicas published last, as of a moment after this call.
    pub async fn confirm(&self) -> Option<Arc<HeadReport>> {
        let (question, answer) = oneshot::channel();
        self.0.try_send(question).ok()?;
        tokio::time::timeout(LIMIT, answer).await.ok()?.ok()?
    }
}

impl Shared {
    /// Answers all who wait with one reading.
    pub(super) async fn answer(
        &self,
        engine: &dyn Engine,
        mut questions: mpsc::Receiver<Question>,
    ) -> Result<(), Reset> {
        let mut waiting = Vec::new();
        let mut began = Instant::now();
        while questions.recv_many(&mut waiting, WAITING).await > 0 {
            tokio::time::sleep_until(began + SPACING).await;
            while let Ok(question) = questions.try_recv() {
                waiting.push(question);
            }
            began = Instant::now();
            let confirmed = self.confirmed(engine).await?;
            for question in waiting.drain(..) {
                // Whoever has gone needs no answer.
                let _ = question.send(confirmed.clone());
            }
        }
        std::future::pending().await
    }

    async fn confirmed(&self, engine: &dyn Engine) -> Result<Option<Arc<HeadReport>>, Reset> {
        let before = self.state.lock().await.seen;
        let observed = match engine.load().await {
            Ok(reading) => self.observe(&reading, before).await.map(|same| (same, reading)),
            Err(error) => Err(Stop::Engine(error)),
        };
        match observed {
            Ok((true, reading)) => {
                // The head may have moved on since: it is what the reading showed, or later.
                let report = self.view.report();
                let number = reading.published.map_or(0, |published| published.head.number);
                Ok(report.filter(|report| report.number >= number))
            }
            Ok((false, _)) => Ok(None),
            Err(Stop::Engine(error)) => {
                self.note(&error);
                Ok(None)
            }
            Err(Stop::Reset(reset)) => Err(reset),
        }
    }
}
