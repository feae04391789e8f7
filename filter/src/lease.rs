//! Elects the worker that polls the sidecar: one at a time, by a lease in shared data.
//!
//! Every worker and the main thread of Envoy tick, so without it N workers would mean N+1 pollers.
//! The lease also carries the back-off after failed polls, so that the workers share it instead of
//! each finding out on its own that the sidecar is down. Two holders at once are possible for a
//! moment and harmless: their heads take the maximum.

use std::time::Duration;

use crate::host::{self, HostError};

/// The lease in shared data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lease {
    /// The worker that polls; 0 means none before `until`.
    pub owner: u64,
    /// When it ends, in milliseconds since 1970.
    pub until: u64,
    /// Failed polls since the last success, by any worker.
    pub failures: u32,
}

/// How long leases last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Time between two ticks, and the pause after the first failed poll.
    pub tick: Duration,
    /// The longest pause after failed polls.
    pub backoff_max: Duration,
}

impl Terms {
    /// Life of a lease that is not renewed: three ticks.
    fn life(self) -> u64 {
        millis(self.tick.saturating_mul(3))
    }

    /// Pause after that many failed polls in a row: a tick, then twice as long each time.
    fn backoff(self, failures: u32) -> u64 {
        let doublings = failures.saturating_sub(1).min(31);
        millis(self.tick.saturating_mul(1 << doublings).min(self.backoff_max))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Lease {
    const NO_WORKER: u64 = 0;

    /// The lease after `me` has taken or renewed it; None if another worker holds it, or if no
    /// worker may poll yet.
    #[must_use]
    pub fn claim(self, me: u64, now: u64, terms: Terms) -> Option<Self> {
        let longest =
            if self.owner == Self::NO_WORKER { millis(terms.backoff_max) } else { terms.life() };
        // An end further ahead than any lease lasts was written before the clock was set back.
        let free = self.until <= now || self.until - now > longest;
        (free || self.owner == me).then_some(Self {
            owner: me,
            until: now.saturating_add(terms.life()),
            failures: self.failures,
        })
    }

    /// The lease after a poll by `me` has failed: released, and no worker polls before the pause is
    /// over. None if another worker holds it by now.
    #[must_use]
    pub fn give_up(self, me: u64, now: u64, terms: Terms) -> Option<Self> {
        let failures = self.failures.saturating_add(1);
        (self.owner == me).then(|| Self {
            owner: Self::NO_WORKER,
            until: now.saturating_add(terms.backoff(failures)),
            failures,
        })
    }

    /// The lease after a poll has succeeded; None if there were no failures.
    #[must_use]
    pub fn forget_failures(self) -> Option<Self> {
        (self.failures > 0).then_some(Self { failures: 0, ..self })
    }

    fn encode(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        let parts = self
            .owner
            .to_le_bytes()
            .into_iter()
            .chain(self.until.to_le_bytes())
            .chain(self.failures.to_le_bytes());
        bytes.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (owner, rest) = bytes.split_first_chunk()?;
        let (until, rest) = rest.split_first_chunk()?;
        let failures = rest.try_into().ok()?;
        Some(Self {
            owner: u64::from_le_bytes(*owner),
            until: u64::from_le_bytes(*until),
            failures: u32::from_le_bytes(failures),
        })
    }
}

/// A [`Lease`] in shared data, as one worker sees it.
#[derive(Debug)]
pub struct SharedLease {
    key: String,
    me: u64,
    terms: Terms,
}

impl SharedLease {
    /// The lease under `key` for the worker `me`, which must differ from all others and from 0.
    #[must_use]
    pub fn new(key: String, me: u64, terms: Terms) -> Self {
        Self { key, me: me.max(1), terms }
    }

    /// Creates a free lease if there is none; see [`host::seed_shared_data`].
    pub fn seed(&self) {
        host::seed_shared_data(&self.key, &Lease::default().encode());
    }

    /// Takes or renews the lease: whether this worker may poll, and after how many failures.
    #[must_use]
    pub fn claim(&self, now: u64) -> Option<u32> {
        self.change(|lease| lease.claim(self.me, now, self.terms)).map(|lease| lease.failures)
    }

    /// Releases the lease after a failed poll. Returns the number of failures in a row, if it was
    /// held.
    pub fn give_up(&self, now: u64) -> Option<u32> {
        self.change(|lease| lease.give_up(self.me, now, self.terms)).map(|lease| lease.failures)
    }

    /// Ends the back-off after a poll that succeeded. Returns whether there were failures before.
    pub fn forget_failures(&self) -> bool {
        self.change(Lease::forget_failures).is_some()
    }

    /// None if the rule makes no change or the host refuses.
    fn change(&self, rule: impl Fn(Lease) -> Option<Lease>) -> Option<Lease> {
        let changed: Result<_, Option<HostError>> =
            host::compare_and_swap(&self.key, &Lease::default().encode(), |bytes| {
                // An unreadable entry is no lease.
                let lease = Lease::decode(bytes).unwrap_or_default();
                let lease = rule(lease).ok_or(None)?;
                Ok((lease.encode().to_vec(), lease))
            });
        changed.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms =
        Terms { tick: Duration::from_secs(1), backoff_max: Duration::from_secs(30) };

    #[test]
    fn a_lease_is_kept_by_its_owner_and_free_for_others_once_it_ends() {
        let first = Lease::default().claim(1, 10_000, TERMS).unwrap();
        assert_eq!(first, Lease { owner: 1, until: 13_000, failures: 0 });
        assert_eq!(first.claim(2, 12_999, TERMS), None);
        assert_eq!(first.claim(1, 12_000, TERMS).unwrap().until, 15_000);
        assert_eq!(first.claim(2, 13_000, TERMS).unwrap().owner, 2);
    }

    #[test]
    fn a_lease_from_before_the_clock_was_set_back_is_ignored() {
        let lease = Lease { owner: 1, until: 1_000_000, failures: 0 };
        assert_eq!(lease.claim(2, 996_999, TERMS).unwrap().until, 999_999);
        assert_eq!(lease.claim(2, 997_000, TERMS), None, "three ticks ahead is a lease that lives");
        let paused = Lease { owner: 0, until: 1_000_000, failures: 9 };
        assert_eq!(paused.claim(2, 970_000, TERMS), None);
        assert!(paused.claim(2, 969_999, TERMS).is_some());
    }

    #[test]
    fn failures_double_the_pause_for_everybody_up_to_the_maximum() {
        let mut lease = Lease::default();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let now = lease.until;
            lease = lease.claim(7, now, TERMS).unwrap().give_up(7, now, TERMS).unwrap();
            assert_eq!(lease.claim(7, lease.until - 1, TERMS), None);
            assert_eq!(lease.claim(8, lease.until - 1, TERMS), None);
            pauses.push((lease.until - now) / 1000);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        let lease = lease.claim(8, lease.until, TERMS).unwrap();
        assert_eq!(lease.failures, 7);
        assert_eq!(lease.forget_failures().unwrap().failures, 0);
        assert_eq!(lease.forget_failures().unwrap().forget_failures(), None);
    }

    #[test]
    fn only_the_owner_gives_a_lease_up() {
        let lease = Lease { owner: 1, until: 13_000, failures: 0 };
        assert_eq!(lease.give_up(2, 12_000, TERMS), None);
    }

    #[test]
    fn the_written_form_is_read_back() {
        let lease = Lease { owner: u64::MAX - 1, until: 77, failures: 3 };
        assert_eq!(Lease::decode(&lease.encode()), Some(lease));
        assert_eq!(Lease::decode(&lease.encode()[1..]), None);
        assert_eq!(Lease::decode(&[0; 21]), None);
        assert_eq!(Lease::decode(b""), None);
    }

    #[test]
    fn no_number_overflows() {
        let terms = Terms { tick: Duration::MAX, backoff_max: Duration::MAX };
        let lease = Lease { owner: 1, until: u64::MAX, failures: u32::MAX };
        assert!(lease.claim(1, u64::MAX, terms).is_some());
        assert!(lease.give_up(1, u64::MAX, terms).is_some());
    }
}
