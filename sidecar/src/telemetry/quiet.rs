//! One log line for each change of state.
//!
//! A dependency that is down fails on every tick; an operator wants to read it once, then now and then
//! with a count, then that it is back.

use std::time::{Duration, Instant};

/// Decides which occurrences of a repeated failure are worth a line.
#[derive(Debug)]
pub struct Quiet {
    interval: Duration,
    failure: Option<Failure>,
}

#[derive(Debug)]
struct Failure {
    text: String,
    first: Instant,
    logged: Instant,
    unlogged: u64,
}

/// What to log about an occurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Nothing: it was said a moment ago.
    Nothing,
    /// The first failure, or a failure with another text.
    Failed,
    /// Still failing: so many times since the last line, for so long in all.
    StillFailing {
        /// Failures since the last line, this one included.
        times: u64,
        /// Time since the first one.
        since: Duration,
    },
    /// It works again, after so long.
    Recovered {
        /// Time since the first failure.
        after: Duration,
    },
}

impl Default for Quiet {
    /// Repeats a line once a minute.
    fn default() -> Self {
        Self::new(Duration::from_secs(60))
    }
}

impl Quiet {
    /// Repeats a line for a failure that lasts once in `interval`.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self { interval, failure: None }
    }

    /// A failure at `now`; the text should name the kind of failure and hold nothing that changes each time.
    pub fn failed(&mut self, text: &str, now: Instant) -> Line {
        match &mut self.failure {
            Some(failure) if failure.text == text => {
                failure.unlogged = failure.unlogged.saturating_add(1);
                if now.saturating_duration_since(failure.logged) < self.interval {
                    return Line::Nothing;
                }
                failure.logged = now;
                let times = std::mem::take(&mut failure.unlogged);
                Line::StillFailing { times, since: now.saturating_duration_since(failure.first) }
            }
            other => {
                let first = other.as_ref().map_or(now, |failure| failure.first);
                *other = Some(Failure { text: text.to_owned(), first, logged: now, unlogged: 0 });
                Line::Failed
            }
        }
    }

    /// A success at `now`.
    pub fn worked(&mut self, now: Instant) -> Line {
        match self.failure.take() {
            Some(failure) => {
                Line::Recovered { after: now.saturating_duration_since(failure.first) }
            }
            None => Line::Nothing,
        }
    }
}
