//! Which batches can follow a block. Pure.

use super::Facts;
use crate::head::HeadBlock;

/// Whether a batch can be confirmed as long as verification goes on from `tip`, now or later. The
/// L1 origin of a block is that of its parent or the one after it, so it cannot be further above
/// the tip's than the block is above the tip. The next block must have `timestamp`.
#[must_use]
pub(crate) fn can_follow(tip: &HeadBlock, timestamp: Option<u64>, facts: &Facts) -> bool {
    let Some(above) = facts.number.checked_sub(tip.number).filter(|above| *above > 0) else {
        return false;
    };
    let parent = above > 1
        || (timestamp == Some(facts.timestamp)
            && tip.hash.is_none_or(|hash| facts.parent_hash == hash));
    let origin = tip.l1_origin.is_none_or(|origin| {
        match facts.l1_origin.number.checked_sub(origin.number) {
            Some(0) => facts.l1_origin == origin,
            Some(later) => later <= above,
            None => false,
        }
    });
    parent && origin
}
