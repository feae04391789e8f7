//! Which execution endpoint answers a round.

use std::{cmp::Reverse, time::Duration};

use tokio::time::Instant;

/// An endpoint this many blocks ahead takes over at once.
const FAR: u64 = 10;
/// One that is less far ahead, or as far and earlier in the setting, takes over once it has been so
/// for this long: nodes get the same block at slightly different times.
const SETTLED: Duration = Duration::from_secs(10);

/// What an endpoint of the right chain said in this round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// Its place in the setting.
    pub(super) index: usize,
    /// Its latest block.
    pub(super) latest: u64,
    /// Whether it has the head's block, at or below its latest one.
    pub(super) has_head: bool,
}

impl Seen {
    const fn rank(&self) -> (bool, u64, Reverse<usize>) {
        (self.has_head, self.latest, Reverse(self.index))
    }
}

/// The endpoint in use.
#[derive(Debug, Default)]
pub(super) struct Choice {
    current: usize,
    /// Since when another endpoint has been better without a break.
    outdone: Option<Instant>,
}

impl Choice {
    pub(super) const fn current(&self) -> usize {
        self.current
    }

    /// Chooses among the endpoints that answered; none if there are none. One that did not answer
    /// is left at once.
    pub(super) fn choose(&mut self, seen: &[Seen], now: Instant) -> Option<Seen> {
        let best = *seen.iter().max_by_key(|seen| seen.rank())?;
        let current = seen.iter().find(|seen| seen.index == self.current);
        if let Some(current) = current {
            let since = match best.index == current.index {
                true => None,
                false => Some(self.outdone.unwrap_or(now)),
            };
            let is_far = best.has_head != current.has_head
                || best.latest.saturating_sub(current.latest) > FAR;
            let is_settled = since.is_some_and(|since| now.duration_since(since) >= SETTLED);
            if !is_far && !is_settled {
                self.outdone = since;
                return Some(*current);
            }
        }
        *self = Self { current: best.index, outdone: None };
        Some(best)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const fn seen(index: usize, latest: u64) -> Seen {
        Seen { index, latest, has_head: true }
    }

    /// The endpoint that is in use after each reading, one second after the other.
    fn used(readings: impl IntoIterator<Item = Vec<Seen>>) -> Vec<usize> {
        let mut choice = Choice::default();
        let start = Instant::now();
        let rounds = readings.into_iter().zip(0..);
        let at = |second| start + Duration::from_secs(second);
        rounds.map(|(seen, second)| choice.choose(&seen, at(second)).unwrap().index).collect()
    }

    #[test]
    fn after_a_failure_the_first_endpoint_is_used_again() {
        let mut rounds = vec![vec![seen(0, 100), seen(1, 100)]; 3];
        rounds.push(vec![seen(1, 100)]);
        rounds.extend(vec![vec![seen(0, 100), seen(1, 100)]; 12]);
        let used = used(rounds);
        assert_eq!(used[..4], [0, 0, 0, 1]);
        assert_eq!(used[4..14], [1; 10], "not at once");
        assert_eq!(used[14..], [0, 0]);
    }

    #[test]
    fn one_that_lags_far_or_lacks_the_head_is_left_at_once() {
        let wiped = vec![Seen { has_head: false, ..seen(0, 200) }, seen(1, 100)];
        assert_eq!(used([vec![seen(0, 100), seen(1, 110)]]), [0]);
        assert_eq!(used([vec![seen(0, 100), seen(1, 111)]]), [1]);
        assert_eq!(used([wiped]), [1]);
    }

    #[test]
    fn one_that_is_a_block_late_now_and_then_stays() {
        let rounds =
            (0..100).map(|round| vec![seen(0, 100 + round), seen(1, 100 + round + round % 2)]);
        assert_eq!(used(rounds), [0; 100]);
        let late = (0..20).map(|round| vec![seen(0, 100 + round), seen(1, 101 + round)]);
        let used = used(late);
        assert_eq!((used[9], used[10]), (0, 1), "always a block late");
    }

    #[test]
    fn without_an_answer_there_is_none() {
        let mut choice = Choice::default();
        assert_eq!(choice.choose(&[seen(1, 5)], Instant::now()).unwrap().index, 1);
        assert_eq!(choice.choose(&[], Instant::now()), None);
        assert_eq!(choice.current(), 1);
    }

    proptest! {
        #[test]
        fn the_one_in_use_answers_has_the_head_if_any_has_and_is_never_far_behind(
            rounds in vec(vec(prop::option::of((0..30_u64, any::<bool>())), 1..4), 1..40),
            pause in 0..8_u64,
        ) {
            let mut choice = Choice::default();
            let mut now = Instant::now();
            for round in rounds {
                let seen: Vec<_> = round.iter().enumerate().filter_map(|(index, seen)| {
                    seen.map(|(latest, has_head)| Seen { index, latest, has_head })
                }).collect();
                now += Duration::from_secs(pause);
                let Some(chosen) = choice.choose(&seen, now) else {
                    prop_assert!(seen.is_empty());
                    continue;
                };
                prop_assert!(seen.contains(&chosen));
                prop_assert_eq!(chosen.has_head, seen.iter().any(|seen| seen.has_head));
                let peers = seen.iter().filter(|seen| seen.has_head == chosen.has_head);
                let highest = peers.map(|seen| seen.latest).max().unwrap();
                prop_assert!(highest - chosen.latest <= FAR);
            }
        }
    }
}
