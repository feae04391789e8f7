//! Chooses the next batch, and reads and asks what must be known for that.

use tokio::time::Instant;

use super::{
    Choice, FeedSource, L1Source, NodeSource, Stall, Verifier, choose,
    confirmation::{Halt, ROUND_LENGTH, found},
};
use crate::{
    head::HeadBlock,
    l1::View,
    rollup::{BatchOf, Position, Rollup, Waiting},
};

/// How much is asked for one block in a walk: what is final meanwhile must not wait for more.
const MOST_QUESTIONS: usize = 16;

/// What was asked for one block in a walk.
pub(super) struct Asked<Q> {
    questions: Vec<Q>,
    since: Instant,
}

impl<Q> Default for Asked<Q> {
    fn default() -> Self {
        Self { questions: Vec::new(), since: Instant::now() }
    }
}

impl<Q: PartialEq> Asked<Q> {
    /// Whether one more may be asked: the first one always, others not once it takes long.
    fn may_ask(&self, question: &Q) -> bool {
        self.questions.is_empty()
            || self.questions.len() < MOST_QUESTIONS
                && self.since.elapsed() < ROUND_LENGTH
                && !self.questions.contains(question)
    }
}

impl<R: Rollup, N: NodeSource<R::Block>, L: L1Source, F: FeedSource> Verifier<R, N, L, F> {
    /// Chooses the batch for the block after `tip`, and reads and asks what must be known for that.
    /// Nothing is asked twice: what is open again at once is waited for.
    pub(super) async fn decide(
        &self,
        tip: &HeadBlock,
        below: &mut Option<R::Below>,
        l1: &mut View,
    ) -> Result<(Position, BatchOf<R>), Halt> {
        let mut asked = Asked::default();
        loop {
            match choose(&*self.rollup, &self.candidates, tip, below.as_ref(), l1) {
                Choice::Chosen(position, batch) => return Ok((position, *batch)),
                Choice::Below => {
                    let read = self.rollup.below(tip, &self.node).await;
                    *below = Some(found(tip.number, read)?);
                }
                Choice::Ask(question, reread) => {
                    let number = tip.number.saturating_add(1);
                    let open = self.ask_once(&mut asked, question, l1).await;
                    open.map_err(|waiting| match reread {
                        Some(height) => Halt::Reread(height),
                        None => Halt::Stalled(Stall::of(number, waiting)),
                    })?;
                }
                Choice::Reread(height) => return Err(Halt::Reread(height)),
                Choice::Stalled(stall) => return Err(Halt::Stalled(stall)),
            }
        }
    }

    /// Asks, unless it was asked before, or too much was.
    pub(super) async fn ask_once(
        &self,
        asked: &mut Asked<R::Question>,
        question: R::Question,
        l1: &mut View,
    ) -> Result<(), Waiting> {
        if !asked.may_ask(&question) {
            return Err(self.rollup.unanswered(&question));
        }
        asked.questions.push(question.clone());
        self.rollup.ask(question, &self.l1, l1).await;
        Ok(())
    }
}
