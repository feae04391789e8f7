//! One log line for each change of state.
//!
//! A dependency that is down fails in every round; an operator wants to read that once, then
//! occasionally with a count, then that it works again.

use std::time::{Duration, Instant};

/// Decides which occurrences of a repeated failure are logged.
#[derive(Debug)]
pub struct LogThrottle {
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
    /// Nothing: it was logged recently.
    Nothing,
    /// The first failure, or a failure with another text.
    Failed,
    /// It still fails.
    StillFailing {
        /// Failures since the last line, this one included.
        times: u64,
        /// Time since the first one.
        since: Duration,
    },
    /// It works again.
    Recovered {
        /// Time since the first failure.
        after: Duration,
    },
}

impl Default for LogThrottle {
    /// Repeats a line once a minute.
    fn default() -> Self {
        Self::new(Duration::from_secs(60))
    }
}

impl LogThrottle {
    /// Repeats the line of a lasting failure once in `interval`.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self { interval, failure: None }
    }

    /// A failure at `now`; the text should name the kind of failure and nothing that differs each
    /// time.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_logged_first_then_at_intervals_then_its_end() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut throttle = LogThrottle::default();
        assert_eq!(throttle.worked(at(0)), Line::Nothing);
        assert_eq!(throttle.failed("refused", at(1)), Line::Failed);
        assert_eq!(throttle.failed("refused", at(2)), Line::Nothing);
        assert_eq!(throttle.failed("refused", at(60)), Line::Nothing);
        let since = Duration::from_secs(60);
        assert_eq!(throttle.failed("refused", at(61)), Line::StillFailing { times: 3, since });
        assert_eq!(throttle.failed("refused", at(62)), Line::Nothing);
        assert_eq!(throttle.failed("timed out", at(63)), Line::Failed);
        assert_eq!(throttle.worked(at(70)), Line::Recovered { after: Duration::from_secs(69) });
        assert_eq!(throttle.worked(at(71)), Line::Nothing);
        assert_eq!(throttle.failed("timed out", at(72)), Line::Failed);
    }

    #[test]
    fn a_clock_that_goes_back_does_no_harm() {
        let start = Instant::now();
        let mut throttle = LogThrottle::new(Duration::from_secs(1));
        throttle.failed("x", start + Duration::from_secs(5));
        assert_eq!(throttle.failed("x", start), Line::Nothing);
        assert_eq!(throttle.worked(start), Line::Recovered { after: Duration::ZERO });
    }
}
