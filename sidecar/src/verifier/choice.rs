//! Chooses the candidates for the next block, if any. Pure: L1's answers are inputs.

use super::{candidates::Candidates, stall::Stall};
use crate::{
    head::HeadBlock,
    l1::View,
    rollup::{BatchOf, Judgment, OutOfPlay, Position, Rollup, Waiting},
};

/// A candidate for the next block, and where it is.
pub type Candidate<'a, R> = (Position, &'a BatchOf<R>);

/// The next number's outcome.
pub enum Choice<'a, R: Rollup> {
    /// Compare this one with the node's block. If it does not prove the block, one of its copies
    /// may.
    Chosen(Position, &'a BatchOf<R>),
    /// The block below must be read first.
    Below,
    /// This must be asked first. If it is open nevertheless, it may be of no matter once dropped
    /// candidates are read again from that height.
    Ask(R::Question, Option<u64>),
    /// Candidates were dropped because the budget was full: read again from this height first.
    Reread(u64),
    /// Nothing to decide on yet.
    Stalled(Stall),
}

impl<R: Rollup> std::fmt::Debug for Choice<'_, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Chosen(position, batch) => write!(f, "Chosen({position:?}, {batch:?})"),
            Self::Below => f.write_str("Below"),
            Self::Ask(question, reread) => write!(f, "Ask({question:?}, {reread:?})"),
            Self::Reread(height) => write!(f, "Reread({height})"),
            Self::Stalled(stall) => write!(f, "Stalled({stall:?})"),
        }
    }
}

/// The first candidates, with their copies, of which it is not known yet whether they decide.
struct Undecided<'a, R: Rollup> {
    copies: Vec<Candidate<'a, R>>,
    waiting: Option<Waiting>,
    /// Asked first: what the best of the copies needs.
    question: Option<(&'a BatchOf<R>, R::Question)>,
    /// Asked after that: the answer for another batch may tell of these.
    question_of_others: Option<R::Question>,
    /// Another batch, which may come first, stands before the next copy.
    is_behind: bool,
}

impl<'a, R: Rollup> Undecided<'a, R> {
    fn new(copies: Vec<Candidate<'a, R>>) -> Self {
        Self { copies, waiting: None, question: None, question_of_others: None, is_behind: false }
    }

    /// Takes the verdict on one more candidate. Returns whether that one is chosen.
    fn take(
        &mut self,
        rollup: &R,
        (position, batch): Candidate<'a, R>,
        verdict: Judgment<R::Question>,
    ) -> bool {
        let is_copy = self.copies.iter().any(|(of_copy, _)| *of_copy == position);
        let is_better = |(best, _): &(&BatchOf<R>, _)| rollup.prefers(batch, best);
        match verdict {
            Judgment::Out(_) => return false,
            Judgment::Decides if is_copy => return !self.is_behind,
            Judgment::Waits(waiting) if is_copy => _ = self.waiting.get_or_insert(waiting),
            Judgment::Ask(question) if is_copy => {
                if self.question.as_ref().is_none_or(is_better) {
                    self.question = Some((batch, question));
                }
            }
            Judgment::Ask(question) => {
                self.is_behind = true;
                self.question_of_others.get_or_insert(question);
            }
            Judgment::Decides | Judgment::Waits(_) => self.is_behind = true,
        }
        false
    }

    /// A copy that decides may be among the dropped, if there are any.
    fn outcome(self, number: u64, reread: Option<u64>) -> Choice<'a, R> {
        let question = self.question.map(|(_, question)| question).or(self.question_of_others);
        match (question, reread, self.waiting) {
            (Some(question), ..) => Choice::Ask(question, reread),
            (None, Some(height), _) => Choice::Reread(height),
            (None, None, Some(waiting)) => Choice::Stalled(Stall::of(number, waiting)),
            (None, None, None) => Choice::Stalled(Stall::AwaitingBatch { number }),
        }
    }
}

/// Chooses among the candidates for the block after `tip`. One of which nothing is known yet holds
/// back what is behind it, but not its own copies.
pub fn choose<'a, R: Rollup>(
    rollup: &R,
    candidates: &'a Candidates<R>,
    tip: &HeadBlock,
    below: Option<&R::Below>,
    l1: &View,
) -> Choice<'a, R> {
    let Some(number) = tip.number.checked_add(1) else {
        return Choice::Stalled(Stall::AwaitingBatch { number: tip.number });
    };
    let dropped = candidates.dropped_for(number);
    let mut undecided: Option<Undecided<'a, R>> = None;
    let (mut other_fork, mut orphaned_origin, mut unauthorized) = (0_usize, 0_usize, 0_usize);
    for candidate @ (position, batch) in candidates.of(number) {
        if let Some(dropped) = dropped.filter(|dropped| *dropped <= position) {
            match undecided {
                Some(_) => break,
                None => return Choice::Reread(dropped.height),
            }
        }
        let Some(below) = below else { return Choice::Below };
        match (rollup.judge(tip, below, batch, l1), &mut undecided) {
            (Judgment::Decides, None) => return Choice::Chosen(position, batch),
            (Judgment::Out(OutOfPlay::OtherFork), _) => other_fork += 1,
            (Judgment::Out(OutOfPlay::Orphaned), _) => orphaned_origin += 1,
            (Judgment::Out(OutOfPlay::Unauthorized), _) => unauthorized += 1,
            (verdict, None) => {
                let has_copies = rollup.are_copies(batch, batch);
                let mut first = Undecided::new(match has_copies {
                    true => copies_of(rollup, candidates, candidate),
                    false => vec![candidate],
                });
                first.take(rollup, candidate, verdict);
                if !has_copies {
                    return first.outcome(number, None);
                }
                undecided = Some(first);
            }
            (verdict, Some(undecided)) => {
                if undecided.take(rollup, candidate, verdict) {
                    return Choice::Chosen(position, batch);
                }
            }
        }
    }
    match (undecided, dropped) {
        (Some(undecided), dropped) => {
            undecided.outcome(number, dropped.map(|dropped| dropped.height))
        }
        (None, Some(dropped)) => Choice::Reread(dropped.height),
        (None, None) if other_fork + orphaned_origin + unauthorized > 0 => {
            Choice::Stalled(Stall::CompetingFork {
                number,
                other_fork,
                orphaned_origin,
                unauthorized,
            })
        }
        (None, None) => Choice::Stalled(Stall::AwaitingBatch { number }),
    }
}

/// The candidates that stand or fall with the chosen one, and with each other; the chosen one is
/// the first.
pub fn copies_of<'a, R: Rollup>(
    rollup: &R,
    candidates: &'a Candidates<R>,
    chosen: Candidate<'a, R>,
) -> Vec<Candidate<'a, R>> {
    let number = crate::rollup::Facts::number(&chosen.1.facts);
    let mut rest: Vec<_> =
        candidates.of(number).filter(|(position, _)| *position != chosen.0).collect();
    let mut copies = vec![chosen];
    let mut seen = 0;
    while let Some((_, known)) = copies.get(seen).copied() {
        rest.retain(|(position, other)| {
            let is_copy = rollup.are_copies(known, other);
            if is_copy {
                copies.push((*position, other));
            }
            !is_copy
        });
        seen += 1;
    }
    copies
}
