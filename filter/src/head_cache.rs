//! The head that all workers of one Envoy share: one entry of shared data.
//!
//! The number takes the maximum, by compare-and-swap; status and time of the last contact are the
//! last writer's. Within one store the generation counts before the number, so that a deliberate
//! reset is followed, and what was reported before it is not. The entry has its chain, and reports
//! about another chain are rejected. It outlives configurations: only another `cache_key` or a
//! restart of Envoy starts over.

use std::{cell::Cell, cmp::Ordering, time::Duration};

use finality_core::{
    head::{ReportedHead, Status},
    refusal::NoHead,
};
use thiserror::Error;

use crate::{
    fnv::fnv1a,
    host::{self, HostError, Version},
};

/// The head with its status and chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The block number that tags become.
    pub number: u64,
    /// Whether the node still has that block. `None`: the sidecar reports a status that this
    /// version does not know.
    pub status: Option<Status>,
    /// The L2 chain.
    pub chain_id: u64,
    /// When the sidecar last reported a head, in milliseconds since 1970.
    pub contact: u64,
    /// The head's generation in its store.
    pub generation: u64,
    /// The store by the hash of its name; zero if the sidecar names none.
    pub store: u64,
}

/// What a report changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update {
    /// The head as it was before.
    pub before: Option<Head>,
    /// The head as it is now.
    pub after: Head,
}

impl Update {
    /// Whether the number is new.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.before.is_none_or(|before| before.number < self.after.number)
    }
}

/// Why a report was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UpdateError {
    /// The report is about another chain than the entry.
    #[error(
        "the sidecar reports chain {reported}, expected {expected}: check sidecar_cluster and chain_id, or change cache_key"
    )]
    OtherChain {
        /// The chain of the entry or of the configuration.
        expected: u64,
        /// The chain of the report.
        reported: u64,
    },
    /// The store was reset since: the report is from a sidecar that does not know it yet.
    #[error("the sidecar reports generation {reported} of its store, which is at {known}")]
    EarlierGeneration {
        /// The generation of the entry.
        known: u64,
        /// The generation of the report.
        reported: u64,
    },
    /// The host refused it.
    #[error("shared data is not available: {0}")]
    Host(#[from] HostError),
}

impl Head {
    /// The head after a report: the larger number, the newer status and contact.
    ///
    /// # Errors
    /// [`UpdateError::OtherChain`].
    pub fn merge(
        before: Option<Self>,
        report: &ReportedHead<'_>,
        now: u64,
    ) -> Result<Self, UpdateError> {
        if let Some(Self { chain_id: expected, .. }) = before
            && expected != report.chain_id
        {
            return Err(UpdateError::OtherChain { expected, reported: report.chain_id });
        }
        let store = report.store.map_or(0, |store| fnv1a(store.as_bytes()));
        let floor = match before {
            Some(Self { store: known, generation, number, .. }) if known == store && store != 0 => {
                match generation.cmp(&report.generation) {
                    Ordering::Greater => {
                        let (known, reported) = (generation, report.generation);
                        return Err(UpdateError::EarlierGeneration { known, reported });
                    }
                    Ordering::Equal => number,
                    Ordering::Less => 0,
                }
            }
            before => before.map_or(0, |before| before.number),
        };
        Ok(Self {
            number: report.number.max(floor),
            status: report.status,
            chain_id: report.chain_id,
            contact: now,
            generation: report.generation,
            store,
        })
    }

    /// The number that tags become now.
    ///
    /// # Errors
    /// Why there is none: the status forbids it, or the last contact is more than `max_contact_age`
    /// away (zero: no limit). "Away" and not "ago", since the clock may have been set back.
    pub fn usable(self, now: u64, max_contact_age: Duration) -> Result<u64, NoHead> {
        let age = u128::from(now.abs_diff(self.contact));
        if !max_contact_age.is_zero() && age > max_contact_age.as_millis() {
            Err(NoHead::NoContact)
        } else {
            self.usable_status()
        }
    }

    /// The number that tags become right after the sidecar has answered.
    ///
    /// # Errors
    /// The status, if it forbids it.
    pub fn usable_status(self) -> Result<u64, NoHead> {
        match self.status {
            Some(status) if status.is_usable() => Ok(self.number),
            Some(status) => Err(NoHead::Status(status)),
            None => Err(NoHead::UnknownStatus),
        }
    }

    fn encode(self) -> [u8; 41] {
        let mut bytes = [0; 41];
        let Self { number, chain_id, contact, generation, store, .. } = self;
        let parts = [number, chain_id, contact, generation, store]
            .into_iter()
            .flat_map(u64::to_le_bytes)
            .chain([self.status_byte()]);
        bytes.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
        bytes
    }

    /// The status by its index among all statuses. A later version may know more of them.
    fn status_byte(self) -> u8 {
        let place = Status::ALL.iter().position(|status| Some(*status) == self.status);
        place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (number, rest) = bytes.split_first_chunk()?;
        let (chain_id, rest) = rest.split_first_chunk()?;
        let (contact, rest) = rest.split_first_chunk()?;
        let (generation, rest) = rest.split_first_chunk()?;
        let (store, rest) = rest.split_first_chunk()?;
        let [status] = rest else { return None };
        Some(Self {
            number: u64::from_le_bytes(*number),
            status: Status::ALL.get(usize::from(*status)).copied(),
            chain_id: u64::from_le_bytes(*chain_id),
            contact: u64::from_le_bytes(*contact),
            generation: u64::from_le_bytes(*generation),
            store: u64::from_le_bytes(*store),
        })
    }
}

/// The entry of shared data with the head, and a write guard beside it, by which a worker knows
/// whether its last reading is still current.
///
/// The guard counts the writers in progress. While there are any, the head is read each time, so
/// that no worker returns to an older head after another has seen a newer one. While there are
/// none, the guard is empty, and each change gives it a new version. The host returns an empty
/// entry without asking the module for memory, so reading the guard costs a quarter of reading the
/// head.
#[derive(Debug)]
pub struct HeadCache {
    key: String,
    guard: String,
    chain_id: Option<u64>,
    /// This worker's last reading, and the version of the empty guard before it.
    read: Cell<Option<(Version, Option<Head>)>>,
}

/// The entry before the first report.
const UNKNOWN: &[u8] = b"-";

/// The guard while there is no writer.
const NO_WRITERS: &[u8] = &[];

impl HeadCache {
    /// The entry under `key` with its guard, for one chain if it is known beforehand.
    #[must_use]
    pub fn new(key: String, guard: String, chain_id: Option<u64>) -> Self {
        Self { key, guard, chain_id, read: Cell::new(None) }
    }

    /// Creates entry and guard if there are none; see [`host::seed_shared_data`].
    pub fn seed(&self) {
        host::seed_shared_data(&self.key, UNKNOWN);
        host::seed_shared_data(&self.guard, NO_WRITERS);
    }

    /// The head, if one was ever reported.
    #[must_use]
    pub fn get(&self) -> Option<Head> {
        // Read before the head: a change between the two readings shows at the next one.
        let unchanging = host::shared_data(&self.guard)
            .ok()
            .flatten()
            .and_then(|(writers, version)| writers.is_empty().then_some(version));
        if let (Some(version), Some((then, head))) = (unchanging, self.read.get())
            && version == then
        {
            return head;
        }
        let (bytes, _) = host::shared_data(&self.key).ok()??;
        let head = Head::decode(&bytes);
        self.read.set(unchanging.map(|version| (version, head)));
        head
    }

    /// Applies a report.
    ///
    /// # Errors
    /// [`UpdateError`]; the entry is then unchanged.
    pub fn update(&self, report: &ReportedHead<'_>, now: u64) -> Result<Update, UpdateError> {
        if let Some(expected) = self.chain_id
            && expected != report.chain_id
        {
            return Err(UpdateError::OtherChain { expected, reported: report.chain_id });
        }
        self.change(|before| Head::merge(before, report, now))
    }

    /// Changes the head by a rule, under the write guard.
    fn change(
        &self,
        rule: impl Fn(Option<Head>) -> Result<Head, UpdateError>,
    ) -> Result<Update, UpdateError> {
        self.count_writers(|writers| writers.saturating_add(1))?;
        let changed = host::compare_and_swap(&self.key, UNKNOWN, |bytes| {
            let before = Head::decode(bytes);
            let after = rule(before)?;
            Ok((after.encode().to_vec(), Update { before, after }))
        });
        // A writer that stays counted makes reading slower, not wrong.
        let _ = self.count_writers(|writers| writers.saturating_sub(1));
        changed
    }

    fn count_writers(&self, change: impl Fn(u32) -> u32) -> Result<(), UpdateError> {
        host::compare_and_swap(&self.guard, NO_WRITERS, |bytes| {
            let writers = change(bytes.try_into().map_or(0, u32::from_le_bytes));
            let value =
                if writers == 0 { NO_WRITERS.to_vec() } else { writers.to_le_bytes().to_vec() };
            Ok((value, ()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: ReportedHead<'_> = ReportedHead {
        number: 10,
        status: Some(Status::Ok),
        chain_id: 1,
        generation: 0,
        store: None,
        confirmed: false,
    };

    const HEAD: Head = Head {
        number: 10,
        status: Some(Status::Ok),
        chain_id: 1,
        contact: 1_000_000,
        generation: 0,
        store: 0,
    };

    #[test]
    fn the_number_takes_the_maximum_and_the_rest_the_latest() {
        let first = Head::merge(None, &ReportedHead { number: 0, ..REPORT }, 5).unwrap();
        assert_eq!(first, Head { number: 0, contact: 5, ..HEAD });
        for (reported, number, status) in [
            (11, 11, Some(Status::Pruned)),
            (9, 10, Some(Status::Diverged)),
            (12, 12, None),
            (0, 10, None),
        ] {
            let report = ReportedHead { number: reported, status, ..REPORT };
            let expected = Head { number, status, contact: 7, ..HEAD };
            assert_eq!(Head::merge(Some(HEAD), &report, 7), Ok(expected));
        }
    }

    #[test]
    fn another_chain_is_refused() {
        assert_eq!(
            Head::merge(Some(HEAD), &ReportedHead { chain_id: 2, ..REPORT }, 7),
            Err(UpdateError::OtherChain { expected: 1, reported: 2 })
        );
    }

    /// A reset lowers the number in its own store alone, and for good.
    #[test]
    fn within_one_store_the_generation_counts_before_the_number() {
        let from = |store, generation, number| ReportedHead { number, generation, store, ..REPORT };
        let merge = |head, report: &ReportedHead<'_>| Head::merge(Some(head), report, 7);
        let first = Head::merge(None, &from(Some("a"), 1, 10), 5).unwrap();
        let reset = merge(first, &from(Some("a"), 2, 8)).unwrap();
        assert_eq!((reset.number, reset.generation), (8, 2));
        assert_eq!(
            merge(reset, &from(Some("a"), 1, 10)),
            Err(UpdateError::EarlierGeneration { known: 2, reported: 1 })
        );
        assert_eq!(merge(reset, &from(Some("a"), 2, 7)).unwrap().number, 8);
        // Another store, or an earlier sidecar: nothing follows from its generation.
        for (store, generation) in [(Some("b"), 0), (Some("b"), 9), (None, 0), (None, 9)] {
            let other = merge(reset, &from(store, generation, 7)).unwrap();
            assert_eq!((other.number, other.generation), (8, generation));
            assert_eq!(merge(other, &from(Some("a"), 2, 7)).unwrap().number, 8);
            assert_eq!(merge(other, &from(None, 10, 7)).unwrap().number, 8, "no store, no order");
        }
    }

    #[test]
    fn a_head_is_usable_by_status_and_contact() {
        let age = Duration::from_secs(300);
        assert_eq!(HEAD.usable(1_300_000, age), Ok(10));
        assert_eq!(HEAD.usable(1_300_001, age), Err(NoHead::NoContact));
        assert_eq!(HEAD.usable(u64::MAX, Duration::ZERO), Ok(10), "zero: never too old");
        assert_eq!(HEAD.usable(700_000, age), Ok(10), "a clock set back a little");
        assert_eq!(HEAD.usable(699_999, age), Err(NoHead::NoContact), "and too much");
        for (status, usable) in [
            (Some(Status::Ok), Ok(10)),
            (Some(Status::Pruned), Ok(10)),
            (Some(Status::Diverged), Err(NoHead::Status(Status::Diverged))),
            (Some(Status::NodeBehind), Err(NoHead::Status(Status::NodeBehind))),
            (Some(Status::NodeUnchecked), Err(NoHead::Status(Status::NodeUnchecked))),
            (Some(Status::CutOff), Err(NoHead::Status(Status::CutOff))),
            (None, Err(NoHead::UnknownStatus)),
        ] {
            assert_eq!(Head { status, ..HEAD }.usable(1_000_000, age), usable);
        }
    }

    #[test]
    fn the_written_form_is_read_back() {
        for status in Status::ALL.into_iter().map(Some).chain([None]) {
            let head = Head { status, number: u64::MAX, generation: 3, store: 4, ..HEAD };
            assert_eq!(Head::decode(&head.encode()), Some(head));
        }
        assert_eq!(Head::decode(UNKNOWN), None);
        assert_eq!(Head::decode(b""), None);
        assert_eq!(Head::decode(&[200; 41]).unwrap().status, None, "of a later version");
        assert_eq!(Head::decode(&[0; 42]), None);
    }
}
