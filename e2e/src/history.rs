//! Whether one head that only rises explains what everybody has seen of it.
//!
//! A register whose value only rises is linearizable if and only if
//!
//! - every value that was seen was written, by a write that began before it was seen; and
//! - whatever ended before something else began has no higher value.
//!
//! If so, the operations in the order of their values, the first write before the reads of its
//! value, are a sequence that real time does not contradict; so one pass over the operations in the
//! order of their beginnings decides exactly.

use std::collections::BTreeMap;

/// Generation and number of a head.
pub type Order = (u64, u64);

/// When something began or ended, in any unit.
pub type Time = u128;

/// What somebody did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Published a head. Without an end, nobody has acknowledged it: it may have happened.
    Write,
    /// Was shown a confirmed head.
    Read,
}

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// What was done.
    pub kind: Kind,
    /// When it began.
    pub begin: Time,
    /// When it was answered.
    pub end: Option<Time>,
    /// The head.
    pub value: Order,
}

/// A publication, as the engine keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The revision that the engine gave it.
    pub revision: u64,
    /// The head.
    pub value: Order,
    /// Its block.
    pub hash: String,
    /// Revision and block of the publication that it names as its predecessor.
    pub previous: Option<(u64, String)>,
}

/// What cannot be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A read of less than what was known before it began.
    Stale {
        /// The read.
        read: Operation,
        /// What was known.
        known: Order,
    },
    /// A write of less than what was known before it began.
    Overtaken {
        /// The write.
        write: Operation,
        /// What was known.
        known: Order,
    },
    /// A head that nobody had published when it was seen.
    Unwritten(Operation),
    /// An acknowledged publication that is not in the chain.
    Lost(Order),
    /// A publication that does not follow the one before it.
    Fork(Publication),
    /// A number that fell for somebody who was shown heads without confirmation.
    Fell {
        /// What was shown before.
        from: Order,
        /// What was shown then.
        to: Order,
    },
}

/// Checks every write and every confirmed read; `start` is the head before all of them.
///
/// # Errors
/// The first [`Fault`].
pub fn check_register(start: Order, operations: &[Operation]) -> Result<(), Fault> {
    let mut written: BTreeMap<Order, Time> = BTreeMap::from([(start, 0)]);
    for write in operations.iter().filter(|operation| operation.kind == Kind::Write) {
        let first = written.entry(write.value).or_insert(write.begin);
        *first = write.begin.min(*first);
    }
    let mut begun: Vec<_> = operations.iter().collect();
    begun.sort_by_key(|operation| operation.begin);
    let mut ended: Vec<_> = operations.iter().filter(|operation| operation.end.is_some()).collect();
    ended.sort_by_key(|operation| operation.end);
    let mut ended = ended.into_iter().peekable();
    let mut known = start;
    for operation in begun {
        while let Some(earlier) = ended.next_if(|earlier| earlier.end < Some(operation.begin)) {
            known = known.max(earlier.value);
        }
        match operation.kind {
            Kind::Read if operation.value < known => {
                return Err(Fault::Stale { read: *operation, known });
            }
            Kind::Write if operation.end.is_some() && operation.value < known => {
                return Err(Fault::Overtaken { write: *operation, known });
            }
            Kind::Read | Kind::Write => {}
        }
        let is_written = written.get(&operation.value);
        if is_written.is_none_or(|begin| operation.end.is_some_and(|end| *begin > end)) {
            return Err(Fault::Unwritten(*operation));
        }
    }
    Ok(())
}

/// Checks that publications are one branch, and that no acknowledged one is missing.
///
/// # Errors
/// The first [`Fault`].
pub fn check_chain(chain: &[Publication], operations: &[Operation]) -> Result<(), Fault> {
    for pair in chain.windows(2) {
        let [before, after] = pair else { continue };
        let names = after.previous.as_ref();
        let follows = names
            .is_some_and(|(revision, hash)| *revision == before.revision && *hash == before.hash);
        // Ethereum may name another block at the same number.
        if !follows || after.value < before.value {
            return Err(Fault::Fork(after.clone()));
        }
    }
    let acknowledged =
        |operation: &&Operation| operation.kind == Kind::Write && operation.end.is_some();
    let missing = operations
        .iter()
        .filter(acknowledged)
        .find(|write| !chain.iter().any(|publication| publication.value == write.value));
    missing.map_or(Ok(()), |write| Err(Fault::Lost(write.value)))
}

/// Checks what one Envoy was shown, in order.
///
/// # Errors
/// [`Fault::Fell`].
pub fn check_rising(shown: &[Order]) -> Result<(), Fault> {
    let fell = shown.windows(2).find(|pair| pair[1] < pair[0]);
    fell.map_or(Ok(()), |pair| Err(Fault::Fell { from: pair[0], to: pair[1] }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Order = (0, 0);

    fn write(begin: Time, end: Time, number: u64) -> Operation {
        Operation { kind: Kind::Write, begin, end: Some(end), value: (0, number) }
    }

    fn read(begin: Time, end: Time, number: u64) -> Operation {
        Operation { kind: Kind::Read, ..write(begin, end, number) }
    }

    fn publication(revision: u64, number: u64, previous: Option<u64>) -> Publication {
        Publication {
            revision,
            value: (0, number),
            hash: format!("{revision:x}"),
            previous: previous.map(|revision| (revision, format!("{revision:x}"))),
        }
    }

    #[test]
    fn what_overlaps_may_be_seen_in_any_order() {
        let operations =
            [write(10, 20, 5), read(11, 12, 0), read(11, 13, 5), read(14, 15, 5), read(30, 31, 5)];
        assert_eq!(check_register(START, &operations), Ok(()));
        // A write without an answer may have happened, long after its beginning.
        let unknown = Operation { end: None, ..write(40, 0, 7) };
        let operations = [write(10, 20, 5), unknown, read(50, 51, 5), read(60, 61, 7)];
        assert_eq!(check_register(START, &operations), Ok(()));
    }

    #[test]
    fn planted_stale_reads_are_found() {
        let after_a_write = [write(10, 20, 5), read(21, 30, 0)];
        assert!(matches!(check_register(START, &after_a_write), Err(Fault::Stale { .. })));
        let after_a_read = [write(10, 40, 5), read(12, 14, 5), read(15, 16, 0)];
        assert!(matches!(check_register(START, &after_a_read), Err(Fault::Stale { .. })));
        let of_an_earlier_generation =
            [Operation { value: (1, 3), ..write(10, 20, 0) }, read(21, 22, 0)];
        let checked = check_register(START, &of_an_earlier_generation);
        assert!(matches!(checked, Err(Fault::Stale { .. })));
    }

    #[test]
    fn planted_values_that_nobody_had_written_are_found() {
        let read_early = [write(10, 20, 5), read(1, 2, 5)];
        assert!(matches!(check_register(START, &read_early), Err(Fault::Unwritten(_))));
        let never = [write(10, 20, 5), read(30, 31, 6)];
        assert!(matches!(check_register(START, &never), Err(Fault::Unwritten(_))));
    }

    #[test]
    fn planted_lost_writes_and_forks_are_found() {
        let chain =
            [publication(3, 5, None), publication(4, 6, Some(3)), publication(9, 8, Some(4))];
        let writes = [write(1, 2, 5), write(3, 4, 6), write(5, 6, 8)];
        assert_eq!(check_chain(&chain, &writes), Ok(()));
        let more = [write(1, 2, 5), write(3, 4, 7)];
        assert_eq!(check_chain(&chain, &more), Err(Fault::Lost((0, 7))));
        let overwritten = [write(1, 2, 7), write(3, 4, 6)];
        assert!(matches!(check_register(START, &overwritten), Err(Fault::Overtaken { .. })));
        let fork =
            [publication(3, 5, None), publication(4, 6, Some(3)), publication(9, 8, Some(3))];
        assert_eq!(check_chain(&fork, &[]), Err(Fault::Fork(fork[2].clone())));
        let lower = [publication(3, 5, None), publication(4, 4, Some(3))];
        assert!(matches!(check_chain(&lower, &[]), Err(Fault::Fork(_))));
    }

    #[test]
    fn planted_falls_within_an_envoy_are_found() {
        assert_eq!(check_rising(&[(0, 1), (0, 1), (0, 4), (1, 2)]), Ok(()));
        let fell = check_rising(&[(0, 1), (0, 4), (0, 3)]);
        assert_eq!(fell, Err(Fault::Fell { from: (0, 4), to: (0, 3) }));
    }

    /// Every history that an honest register gives is accepted, and every one in which a read is
    /// moved down below what had ended before it is not.
    #[test]
    fn honest_histories_pass_and_the_same_with_one_lie_do_not() {
        let mut seed = 7_u64;
        let mut draw = |limit: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
            (seed >> 33) % limit
        };
        for _ in 0..200 {
            let mut operations = Vec::new();
            let (mut now, mut value) = (100, 0);
            for _ in 0..50 {
                now += 1 + u128::from(draw(5));
                let (before, after) = (u128::from(draw(9)), u128::from(draw(9)));
                if draw(3) == 0 {
                    value += 1 + draw(3);
                    operations.push(write(now - before, now + after, value));
                } else {
                    operations.push(read(now - before, now + after, value));
                }
            }
            assert_eq!(check_register(START, &operations), Ok(()));
            operations.push(read(now + 100, now + 101, value.saturating_sub(1)));
            if value > 0 {
                assert!(check_register(START, &operations).is_err());
            }
        }
    }
}
