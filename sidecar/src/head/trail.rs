//! Where reading HotShot would have gone on from earlier heads: the Go proxy goes back to its safe
//! block, which may be far below the head, and needs a height below the next batch.

/// How many positions are kept. When Ethereum does not finalize for long, they are further apart.
const CAPACITY: usize = 64;

/// Numbers of heads, each with a HotShot height at or above which were all batches above it.
#[derive(Debug, Default)]
pub(super) struct Trail {
    positions: Vec<(u64, u64)>,
    /// The result so far. What is below some block's batches stays below later ones.
    below: Option<u64>,
}

impl Trail {
    /// Goes on from an earlier result.
    pub(super) const fn new(below: Option<u64>) -> Self {
        Self { positions: Vec::new(), below }
    }

    /// Adds a head and where reading would go on from it.
    pub(super) fn add(&mut self, number: u64, height: u64) {
        // Reading went back: batches below the earlier heights were missed.
        self.positions.retain(|(_, known)| *known <= height);
        let below = self.below.map(|known| known.min(height.saturating_sub(1)));
        self.below = below.filter(|height| *height > 0);
        self.positions.retain(|(known, _)| *known < number);
        self.positions.push((number, height));
        if self.positions.len() > CAPACITY {
            self.thin_out();
        }
    }

    /// Removes the one nearest to its predecessor, but neither the first nor the last.
    fn thin_out(&mut self) {
        let inner = self.positions.len().saturating_sub(2);
        let gaps = self.positions.iter().zip(self.positions.iter().skip(1)).take(inner);
        let gaps = gaps.map(|((before, _), (after, _))| after.saturating_sub(*before));
        if let Some((index, _)) = gaps.enumerate().min_by_key(|(_, gap)| *gap) {
            self.positions.remove(index.saturating_add(1));
        }
    }

    /// A height below all batches above a finalized block: none while it is not known, or zero.
    pub(super) fn height_below(&mut self, finalized: Option<u64>) -> Option<u64> {
        let Some(finalized) = finalized else { return self.below };
        let count = self.positions.partition_point(|(number, _)| *number <= finalized);
        if let Some(last) = count.checked_sub(1) {
            self.positions.drain(..last);
            let height = self.positions.first().map_or(0, |(_, height)| height.saturating_sub(1));
            self.below = self.below.max(Some(height).filter(|height| *height > 0));
        }
        self.below
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_height_is_below_the_batches_above_ethereum_s_finality() {
        let mut trail = Trail::new(None);
        assert_eq!(trail.height_below(None), None);
        for number in 1..=100 {
            trail.add(number, 1000 + number);
        }
        assert_eq!(trail.height_below(None), None, "nothing is final yet");
        assert_eq!(trail.positions.len(), CAPACITY);
        let height = trail.height_below(Some(50)).unwrap();
        assert!((1000 + 40..1000 + 50).contains(&height), "{height}");
        assert_eq!(trail.height_below(Some(500)), Some(1099), "never above the head's");
        assert_eq!(trail.height_below(Some(10)), Some(1099));
    }

    #[test]
    fn an_earlier_result_is_kept_until_something_better_is_known() {
        let mut trail = Trail::new(Some(70));
        assert_eq!(trail.height_below(None), Some(70));
        trail.add(9, 90);
        assert_eq!(trail.height_below(Some(8)), Some(70));
        assert_eq!(trail.height_below(Some(9)), Some(89));
        // Reading went back to find what was missed.
        trail.add(10, 60);
        assert_eq!(trail.height_below(Some(8)), Some(59));
        trail.add(11, 1);
        assert_eq!(trail.height_below(Some(11)), None, "the Go proxy takes no zero");
    }

    proptest! {
        /// Whatever the heads were, the height is not above what any head below the finalized
        /// block allows.
        #[test]
        fn it_is_never_too_high(steps in prop::collection::vec((1..5_u64, 0..9_u64), 1..200), finalized in 0..600_u64) {
            let mut trail = Trail::new(None);
            let (mut number, mut height, mut allowed) = (0, 1, None);
            for (blocks, heights) in steps {
                number += blocks;
                height += heights;
                trail.add(number, height);
                if number <= finalized {
                    allowed = Some(height - 1);
                }
            }
            prop_assert!(trail.height_below(Some(finalized)) <= allowed);
            prop_assert!(trail.positions.len() <= CAPACITY);
        }
    }
}
