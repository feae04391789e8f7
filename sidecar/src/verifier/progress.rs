//! The progress of a long catch-up.

use std::{collections::VecDeque, time::Duration};

use serde::Serialize;
use tokio::time::Instant;

/// A catch-up is long from this many HotShot blocks on.
const LONG: u64 = 2_000;
/// The pause between two log lines.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// The number of recent observations for the rate.
const OBSERVATIONS: usize = 32;
/// The pause between two observations.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// A catch-up, as of now.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CatchUp {
    /// HotShot blocks left to read.
    pub blocks_left: u64,
    /// The progress since it began, from 0 to 100.
    pub percent: f64,
    /// The recent rate in HotShot blocks per second; none at first.
    pub blocks_per_second: Option<f64>,
    /// Seconds left at that rate; none while the cursor does not move.
    pub seconds_left: Option<u64>,
}

/// Watches the cursor approach the height.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Where the catch-up began, if one is under way.
    started: Option<u64>,
    observed: VecDeque<(Instant, u64)>,
    logged: Option<Instant>,
}

impl Progress {
    /// The cursor is at `cursor` of `height` at `now`. None if it is near enough.
    pub(super) fn observe(&mut self, cursor: u64, height: u64, now: Instant) -> Option<CatchUp> {
        let left = height.saturating_sub(cursor);
        if self.started.is_none() && left < LONG || left == 0 {
            if self.started.is_some() {
                tracing::info!(height, "caught up with HotShot");
                *self = Self::default();
            }
            return None;
        }
        // The cursor may have gone back.
        let started = *self.started.insert(self.started.map_or(cursor, |start| start.min(cursor)));
        let due = |last: &(Instant, u64)| now.duration_since(last.0) >= SAMPLE_INTERVAL;
        if self.observed.back().is_none_or(due) {
            if self.observed.len() == OBSERVATIONS {
                self.observed.pop_front();
            }
            self.observed.push_back((now, cursor));
        }
        let rate = self.observed.front().and_then(|(then, at)| {
            let seconds = now.duration_since(*then).as_secs_f64();
            (seconds > 0.0).then(|| cursor.saturating_sub(*at) as f64 / seconds)
        });
        let done = cursor.saturating_sub(started) as f64;
        let catch_up = CatchUp {
            blocks_left: left,
            percent: 100.0 * done / (done + left as f64),
            blocks_per_second: rate,
            seconds_left: rate.filter(|rate| *rate > 0.0).map(|rate| (left as f64 / rate) as u64),
        };
        if self.logged.is_none_or(|logged| now.duration_since(logged) >= LOG_INTERVAL) {
            self.logged = Some(now);
            tracing::info!(
                cursor,
                height,
                percent = format_args!("{:.1}", catch_up.percent),
                blocks_per_second = rate.map(|rate| rate as u64),
                seconds_left = catch_up.seconds_left,
                "catching up with HotShot"
            );
        }
        Some(catch_up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tip_of_hotshot_is_no_catch_up() {
        let mut progress = Progress::default();
        for cursor in [0, 10, LONG] {
            assert_eq!(progress.observe(cursor, cursor + LONG - 1, Instant::now()), None);
        }
    }

    #[test]
    fn percentage_rate_and_time_left_follow_the_cursor() {
        let mut progress = Progress::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let first = progress.observe(1_000, 11_000, start).unwrap();
        assert_eq!((first.blocks_left, first.percent), (10_000, 0.0));
        assert_eq!((first.blocks_per_second, first.seconds_left), (None, None));
        let later = progress.observe(6_000, 11_000, at(5)).unwrap();
        assert_eq!((later.percent, later.blocks_per_second), (50.0, Some(1_000.0)));
        assert_eq!(later.seconds_left, Some(5));
        // HotShot grows meanwhile, and the end counts although it is near.
        let end = progress.observe(11_000, 12_000, at(10)).unwrap();
        assert_eq!(end.seconds_left, Some(1));
        assert_eq!(progress.observe(12_000, 12_000, at(11)), None);
        assert_eq!(progress.observe(12_000, 12_001, at(12)), None, "it is over");
    }

    #[test]
    fn the_rate_is_that_of_late_and_a_standstill_has_no_end() {
        let mut progress = Progress::default();
        let start = Instant::now();
        let mut last = None;
        for second in 0..100 {
            let cursor = if second < 50 { second * 100 } else { 5_000 };
            last = progress.observe(cursor, 1_000_000, start + Duration::from_secs(second));
        }
        let last = last.unwrap();
        assert_eq!((last.blocks_per_second, last.seconds_left), (Some(0.0), None));
    }

    #[test]
    fn a_reader_that_goes_back_begins_there() {
        let mut progress = Progress::default();
        let start = Instant::now();
        progress.observe(5_000, 10_000, start).unwrap();
        let back = progress.observe(1_000, 10_000, start + Duration::from_secs(2)).unwrap();
        assert_eq!((back.percent, back.blocks_per_second), (0.0, Some(0.0)));
    }
}
