//! The positions of head and node in the last hour, for the chart of the status page.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use serde::{Serialize, Serializer, ser::SerializeTuple};
use tokio::time::MissedTickBehavior;

/// Time between two samples.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// How many samples are kept: an hour of them.
pub const CAPACITY: usize = 720;

/// L2 block numbers at one moment; what is not known is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Positions {
    /// The head.
    pub head: Option<u64>,
    /// The node's latest block.
    pub latest: Option<u64>,
    /// The node's last reading of `finalized`.
    pub finalized: Option<u64>,
}

/// The positions at a time. In JSON `[unix seconds, head, latest, finalized]`, since there are
/// many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// The positions.
    pub positions: Positions,
}

impl Serialize for Sample {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Positions { head, latest, finalized } = self.positions;
        let mut tuple = serializer.serialize_tuple(4)?;
        tuple.serialize_element(&self.at.as_second())?;
        for number in [head, latest, finalized] {
            tuple.serialize_element(&number)?;
        }
        tuple.end()
    }
}

/// The samples of the last hour. It never grows beyond [`CAPACITY`].
#[derive(Debug, Default)]
pub struct History(Mutex<VecDeque<Sample>>);

impl History {
    /// Adds a sample; the oldest one makes room. After a clock that stepped back, what would lie in
    /// the future is forgotten, so that times always rise. A sample that knows nothing is not worth
    /// its place.
    pub fn push(&self, sample: Sample) {
        if sample.positions == Positions::default() {
            return;
        }
        let mut samples = self.samples();
        while samples.back().is_some_and(|last| last.at >= sample.at) {
            samples.pop_back();
        }
        if samples.len() == CAPACITY {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// A copy, oldest first.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Sample> {
        self.samples().iter().copied().collect()
    }

    fn samples(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.0.lock()
    }

    /// Takes a sample in each interval, forever.
    pub async fn record(self: Arc<Self>, positions: impl Fn() -> Positions) {
        let mut clock = tokio::time::interval(INTERVAL);
        clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            clock.tick().await;
            self.push(Sample { at: Timestamp::now(), positions: positions() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: i64) -> Sample {
        let number = u64::try_from(second).ok();
        let positions = Positions { head: number, latest: number, finalized: None };
        Sample { at: Timestamp::from_second(second).unwrap(), positions }
    }

    #[test]
    fn the_oldest_makes_room() {
        let history = History::default();
        for second in 0..2000 {
            history.push(sample(second));
        }
        let samples = history.snapshot();
        assert_eq!(samples.len(), CAPACITY);
        assert_eq!((samples[0], samples[CAPACITY - 1]), (sample(1280), sample(1999)));
    }

    #[test]
    fn times_rise_also_when_the_clock_steps_back() {
        let history = History::default();
        for second in [10, 20, 30, 20, 25] {
            history.push(sample(second));
        }
        assert_eq!(history.snapshot(), [sample(10), sample(20), sample(25)]);
    }

    #[test]
    fn a_sample_is_a_short_array_and_one_that_knows_nothing_is_none() {
        assert_eq!(serde_json::to_string(&sample(7)).unwrap(), "[7,7,7,null]");
        let history = History::default();
        history.push(Sample { at: Timestamp::now(), positions: Positions::default() });
        assert!(history.snapshot().is_empty());
    }
}
