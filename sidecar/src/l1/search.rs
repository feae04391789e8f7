//! A search among blocks in a row, from one that is probably near.

/// The search for the first block of which something is true, as it is of all later ones.
#[derive(Debug)]
pub(super) struct Search {
    /// It is this one or a later one,
    first: u64,
    /// and not above this one.
    end: u64,
    next: u64,
    /// How far the next look goes while it is known on one side only.
    step: u64,
    /// Whether a block was seen on both sides.
    is_between: [bool; 2],
}

impl Search {
    /// Begins at a block; there is none above the last one.
    pub(super) const fn new(near: u64, last: u64) -> Self {
        let next = if near < last { near } else { last };
        let end = last.saturating_add(1);
        Self { first: 0, end, next, step: 1, is_between: [false; 2] }
    }

    /// The block to look at; none once it is found.
    pub(super) const fn next(&self) -> Option<u64> {
        if self.first < self.end { Some(self.next) } else { None }
    }

    /// The block that is looked for, once it is found; the one after the last if there is none.
    pub(super) const fn found(&self) -> u64 {
        self.first
    }

    /// Whether it is true of the block.
    pub(super) fn saw(&mut self, is_true: bool) {
        let [is_above, is_below] = &mut self.is_between;
        if is_true {
            (self.end, *is_below) = (self.next, true);
        } else {
            (self.first, *is_above) = (self.next.saturating_add(1), true);
        }
        self.next = match self.is_between {
            [true, true] => self.first.midpoint(self.end),
            [true, false] => self.first.saturating_add(self.step - 1).min(self.end - 1),
            [false, _] => self.end.saturating_sub(self.step).max(self.first),
        };
        self.step = self.step.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The first block from `first` on, and how many were looked at.
    fn found(first: u64, near: u64, last: u64) -> (u64, u64) {
        let (mut search, mut looks) = (Search::new(near, last), 0);
        while let Some(at) = search.next() {
            assert!(at <= last);
            looks += 1;
            assert!(looks < 200, "it does not end");
            search.saw(at >= first);
        }
        (search.found(), looks)
    }

    proptest! {
        #[test]
        fn it_is_found_wherever_it_is_looked_for(
            last in 0_u64..1_000, first in 0_u64..1_002, near in 0_u64..1_100,
        ) {
            prop_assert_eq!(found(first, near, last).0, first.min(last + 1));
        }
    }

    #[test]
    fn what_is_near_is_found_soon() {
        const LAST: u64 = 400_000_000;
        for near in [0, 7, LAST / 2, LAST] {
            assert_eq!(found(near, near, LAST), (near, if near == 0 { 1 } else { 2 }));
            for distance in [1_u64, 10, 1_000, 100_000] {
                let most = 2 * u64::from(u64::BITS - distance.leading_zeros()) + 2;
                for first in [near.saturating_sub(distance), (near + distance).min(LAST + 1)] {
                    let (block, looks) = found(first, near, LAST);
                    assert_eq!(block, first);
                    assert!(looks <= most, "{looks} from {near} to {first}");
                }
            }
        }
        // However far it is.
        assert!(found(1, LAST, LAST).1 <= 60 && found(LAST, 0, LAST).1 <= 60);
        assert_eq!(found(u64::MAX, u64::MAX, u64::MAX).0, u64::MAX);
    }
}
