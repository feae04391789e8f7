//! What enough replicas have verified.

use std::time::Duration;

use finality_core::head::Source;
use serde::Serialize;
use tokio::time::Instant;

use super::{HeadBlock, Shared, Stop};
use crate::{
    head::verified::Verified,
    store::{
        StoreId,
        engine::{Engine, Published, Quorum, Report},
    },
};

/// The least time between two readings of the reports.
const SPACING: Duration = Duration::from_millis(20);

/// A replica that lives, as `/v1/status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplicaReport {
    /// The id of its state file.
    pub replica: StoreId,
    /// The newest block that it has verified.
    pub verified: u64,
    /// How many blocks it is behind the furthest one.
    pub behind: u64,
}

/// What was last read of the reports.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) reports: Vec<Report>,
    at: Option<Instant>,
}

/// What a quorum allows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// This block may be published, if it is above what is.
    Block(HeadBlock, Source),
    /// Nothing new yet.
    Nothing,
    /// Nothing: too few replicas live, or too many have verified another branch.
    Short,
}

impl Shared {
    fn counts(&self) -> bool {
        self.quorum != Quorum::One
    }

    /// Tells the other replicas what this one has verified, where they count it.
    pub(super) async fn tell(&self, engine: &dyn Engine) -> Result<(), Stop> {
        let is_told = self.counts() && !self.view.shown().unproven;
        let verified = self.verified.borrow().block.filter(|_| is_told);
        if let Some((HeadBlock { number, hash: Some(hash), l1_origin }, source)) = verified {
            let replica = self.id;
            engine.report(&Report { replica, number, hash, l1_origin, source }).await?;
        }
        Ok(())
    }

    /// Reads what the others have told, if it matters now.
    pub(super) async fn hear(&self, engine: &dyn Engine, matters: bool) -> Result<(), Stop> {
        if !self.counts() {
            return Ok(());
        }
        let (is_ahead, last) = {
            let state = self.state.lock().await;
            let published = state.published.as_ref().map(|published| published.head.number);
            let verified = self.verified.borrow().block.map(|(block, _)| block.number);
            (verified > published, state.heard.at)
        };
        if !matters && !is_ahead {
            return Ok(());
        }
        if let Some(last) = last {
            tokio::time::sleep_until(last + SPACING).await;
        }
        let at = Some(Instant::now());
        let reports = engine.reports().await?;
        let heard = Heard { reports, at };
        let verified = self.verified.borrow().clone();
        let mut state = self.state.lock().await;
        state.heard = heard;
        let reports = &state.heard.reports;
        let allowed = allowed(self.quorum, self.id, &verified, reports, state.published.as_ref());
        let furthest = reports.iter().map(|report| report.number).max().unwrap_or_default();
        let mut course = self.course.lock();
        let shown = reports.iter().map(|report| ReplicaReport {
            replica: report.replica,
            verified: report.number,
            behind: furthest.saturating_sub(report.number),
        });
        course.replicas = shown.collect();
        course.is_short = allowed == Allowed::Short;
        Ok(())
    }
}

/// The newest block that enough replicas have verified, by what this one has verified itself:
/// reports of another branch do not count.
pub(super) fn allowed(
    quorum: Quorum,
    own: StoreId,
    verified: &Verified,
    reports: &[Report],
    published: Option<&Published>,
) -> Allowed {
    let Some((block, source)) = verified.block.filter(|(block, _)| block.hash.is_some()) else {
        return Allowed::Nothing;
    };
    if quorum == Quorum::One {
        return Allowed::Block(block, source);
    }
    let mut counted = vec![(block, source)];
    let mut undecided = 0_usize;
    let others = reports.iter().filter(|report| report.replica != own);
    for Report { number, hash, l1_origin, source, .. } in others.clone() {
        let is_published = published.is_some_and(|published| *number <= published.head.number);
        let found = verified.path.below(block, *number);
        if is_published || found == Some(*hash) {
            let (number, hash, l1_origin) = (*number, Some(*hash), *l1_origin);
            counted.push((HeadBlock { number, hash, l1_origin }, *source));
        } else if found.is_none() {
            // Above what this replica has verified, or below where it began.
            undecided = undecided.saturating_add(1);
        }
    }
    let needed = match quorum {
        Quorum::One => 1,
        Quorum::Of(count) => count,
        Quorum::All => others.count().saturating_add(1),
    };
    counted.sort_by_key(|(block, _)| std::cmp::Reverse(block.number));
    match counted.get(needed.saturating_sub(1)) {
        Some((block, source)) => Allowed::Block(*block, *source),
        None if counted.len().saturating_add(undecided) < needed => Allowed::Short,
        None => Allowed::Nothing,
    }
}
