//! What streams say may have changed. It carries no trust: whoever is woken looks it up as always,
//! and looks without being woken, too.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use crate::telemetry::{Metrics, metrics::Target};

/// How long the other streams have to tell the same.
pub(crate) const OTHERS: Duration = Duration::from_millis(100);

/// Heights that are remembered as passed on.
const REMEMBERED: usize = 16;

/// News of each dependency; clones share state.
#[derive(Debug, Clone, Default)]
pub struct News(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    bell: Notify,
    node: Topic,
    l1: Topic,
    query: Topic,
}

#[derive(Debug, Default)]
struct Topic {
    is_new: AtomicBool,
    /// Whether as many streams as must agree have told of the same.
    is_agreed: AtomicBool,
    /// Milliseconds between two changes, by what was looked up; zero while that is not known.
    cadence: AtomicU64,
    /// What a stream should begin with.
    from: AtomicU64,
    /// What each stream said last.
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    by_stream: Vec<u64>,
    /// Heights that were passed on, and whether enough streams had told them: what a single one
    /// tells of them is not new then. It may have been too early, so that enough streams are.
    passed_on: VecDeque<(u64, bool)>,
}

impl Told {
    /// Notes what a stream tells, and says whether as many have told as much as are `needed`; none
    /// if it has told it before.
    fn note(&mut self, stream: usize, height: u64, needed: usize) -> Option<bool> {
        let before = std::mem::replace(self.by_stream.get_mut(stream)?, height);
        if before == height {
            return None;
        }
        if height < before {
            // Other blocks with the same numbers.
            self.passed_on.retain(|(passed, _)| *passed < height);
        }
        Some(self.by_stream.iter().filter(|told| **told >= height).count() >= needed)
    }

    /// Whether a height was passed on, by enough streams or by any.
    fn is_passed_on(&self, height: u64, by_enough: bool) -> bool {
        let mut passed_on = self.passed_on.iter().filter(|(passed, _)| *passed == height);
        passed_on.any(|(_, of_enough)| *of_enough || !by_enough)
    }

    fn pass_on(&mut self, height: u64, by_enough: bool) {
        if self.passed_on.len() == REMEMBERED {
            self.passed_on.pop_front();
        }
        self.passed_on.push_back((height, by_enough));
    }
}

impl News {
    fn topic(&self, target: Target) -> Option<&Topic> {
        match target {
            Target::Node => Some(&self.0.node),
            Target::L1 => Some(&self.0.l1),
            Target::Query => Some(&self.0.query),
            Target::Consensus | Target::Parent => None,
        }
    }

    /// Whether something is said to be new, once.
    #[must_use]
    pub fn take(&self, target: Target) -> bool {
        self.topic(target).is_some_and(|topic| topic.is_new.swap(false, Ordering::AcqRel))
    }

    /// Whether as many streams as must agree have told of the same, once.
    #[must_use]
    pub fn take_agreed(&self, target: Target) -> bool {
        self.topic(target).is_some_and(|topic| topic.is_agreed.swap(false, Ordering::AcqRel))
    }

    /// Returns when something of these is said to be new, which it then still is.
    pub async fn wait(&self, targets: &[Target]) {
        loop {
            let bell = self.0.bell.notified();
            let topics = targets.iter().filter_map(|target| self.topic(*target));
            if topics.into_iter().any(|topic| topic.is_new.load(Ordering::Acquire)) {
                return;
            }
            bell.await;
        }
    }

    /// Says that something is new, as many streams as must agree.
    pub fn ring(&self, target: Target) {
        if let Some(topic) = self.topic(target) {
            topic.is_agreed.store(true, Ordering::Release);
        }
        self.wake(target);
    }

    fn wake(&self, target: Target) {
        let Some(topic) = self.topic(target) else { return };
        topic.is_new.store(true, Ordering::Release);
        self.0.bell.notify_one();
    }

    /// Tells streams how often something changes, and where it is now.
    pub fn is_at(&self, target: Target, height: u64, cadence: Option<Duration>) {
        let Some(topic) = self.topic(target) else { return };
        topic.from.store(height, Ordering::Relaxed);
        let millis = cadence.map_or(0, |cadence| cadence.as_millis());
        topic.cadence.store(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Where a stream should begin.
    pub(crate) fn from(&self, target: Target) -> u64 {
        self.topic(target).map_or(0, |topic| topic.from.load(Ordering::Relaxed))
    }

    /// How often something changes.
    pub(crate) fn cadence(&self, target: Target) -> Duration {
        let millis = self.topic(target).map_or(0, |topic| topic.cadence.load(Ordering::Relaxed));
        Duration::from_millis(if millis == 0 { 1000 } else { millis })
    }

    /// What a stream says from now on; `needed` streams must say the same for it to count at once.
    #[must_use]
    pub fn listener(&self, target: Target, needed: usize, metrics: Metrics) -> Listener {
        let stream = self.topic(target).map_or(0, |topic| {
            let told = &mut topic.told.lock().by_stream;
            told.push(0);
            told.len() - 1
        });
        let bucket = Bucket { tokens: BURST, filled: Instant::now() };
        Listener { news: self.clone(), target, stream, needed, pending: None, bucket, metrics }
    }
}

/// How many news of one stream may come at once.
const BURST: u32 = 3;

/// Tokens per change: blocks do not come evenly, and a stream without tokens would be late with
/// each of them.
const PER_CHANGE: u32 = 2;

/// Lets news pass: twice as many as there are changes, and a few at once.
#[derive(Debug)]
struct Bucket {
    tokens: u32,
    filled: Instant,
}

impl Bucket {
    /// Takes a token, or says when there is one.
    fn take(&mut self, cadence: Duration) -> Result<(), Instant> {
        let each = cadence.max(Duration::from_millis(10)) / PER_CHANGE;
        let now = Instant::now();
        while self.tokens < BURST && self.filled + each <= now {
            (self.tokens, self.filled) = (self.tokens + 1, self.filled + each);
        }
        if self.tokens == BURST {
            self.filled = now;
        }
        self.tokens = self.tokens.checked_sub(1).ok_or(self.filled + each)?;
        Ok(())
    }
}

/// One stream's part in the news.
#[derive(Debug)]
pub struct Listener {
    news: News,
    target: Target,
    stream: usize,
    needed: usize,
    /// The newest that only this stream has told so far, and until when the others may; no height
    /// if it is told then in any case.
    pending: Option<(Option<u64>, Instant)>,
    bucket: Bucket,
    metrics: Metrics,
}

impl Listener {
    /// The stream tells a height. It counts at once if enough streams have told as much.
    pub(crate) fn told(&mut self, height: u64) {
        let Some(topic) = self.news.topic(self.target) else { return };
        let (by_enough, is_known) = {
            let mut told = topic.told.lock();
            let Some(by_enough) = told.note(self.stream, height, self.needed) else { return };
            // A look at L1 does not tell whether it was too early: one for each block is enough.
            let again = by_enough && self.target == Target::Query;
            (by_enough, told.is_passed_on(height, again))
        };
        if by_enough {
            topic.is_agreed.store(true, Ordering::Release);
        }
        // What was looked up is not new.
        if is_known || height < self.from() {
            return;
        }
        if by_enough {
            return self.ring(Some((height, true)));
        }
        self.pending = Some(match self.pending {
            Some((None, until)) => (None, until),
            Some((_, until)) => (Some(height), until),
            None => (Some(height), Instant::now() + OTHERS),
        });
    }

    /// Returns when the others have had their time, if something waits for them.
    pub(crate) async fn alone(&mut self) {
        match self.pending {
            Some((_, until)) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
        let Some((height, _)) = self.pending.take() else { return };
        let is_passed_on = |height| {
            let topic = self.news.topic(self.target);
            topic.is_some_and(|topic| topic.told.lock().is_passed_on(height, false))
        };
        if !height.is_some_and(is_passed_on) {
            self.ring(height.map(|height| (height, false)));
        }
    }

    /// Rings, or will as soon as this stream may again: for a height, and whether enough have told
    /// it.
    fn ring(&mut self, told: Option<(u64, bool)>) {
        match self.bucket.take(self.cadence()) {
            Ok(()) => {
                self.pending = None;
                if let Some((topic, (height, by_enough))) = self.news.topic(self.target).zip(told) {
                    topic.told.lock().pass_on(height, by_enough);
                }
                self.metrics.woken(self.target);
                self.news.wake(self.target);
            }
            Err(until) => self.pending = Some((None, until)),
        }
    }

    /// How often something changes, by what was looked up.
    pub(crate) fn cadence(&self) -> Duration {
        self.news.cadence(self.target)
    }

    /// Where the stream should begin.
    pub(crate) fn from(&self) -> u64 {
        self.news.from(self.target)
    }

    /// The stream has ended: what it told counts for nothing any more.
    pub(crate) fn ended(&mut self) {
        self.pending = None;
        if let Some(topic) = self.news.topic(self.target)
            && let Some(own) = topic.told.lock().by_stream.get_mut(self.stream)
        {
            *own = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const CADENCE: Duration = Duration::from_secs(2);

    fn listeners<const N: usize>(needed: usize) -> (News, [Listener; N]) {
        let news = News::default();
        news.is_at(Target::Query, 10, Some(CADENCE));
        let listener = |_| news.listener(Target::Query, needed, Metrics::new());
        (news.clone(), std::array::from_fn(listener))
    }

    fn rang(news: &News) -> bool {
        news.take(Target::Query)
    }

    #[tokio::test(start_paused = true)]
    async fn news_count_at_once_when_enough_streams_tell_them() {
        let (news, [mut first, mut second, mut third]) = listeners(2);
        first.told(11);
        assert!(!rang(&news));
        second.told(11);
        assert!(rang(&news) && !rang(&news));
        third.told(11);
        assert!(!rang(&news), "nothing new");
        second.told(12);
        second.alone().await;
        assert!(rang(&news), "the others had their time");
        // One that claims anything hides nothing: the next honest one is enough.
        third.told(u64::MAX);
        assert!(!rang(&news));
        first.told(13);
        assert!(rang(&news));
        // What ended says nothing any more.
        third.ended();
        first.told(14);
        assert!(!rang(&news));
        second.told(14);
        assert!(rang(&news));
        first.alone().now_or_never();
        assert!(!rang(&news), "the others have told it meanwhile");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_claims_any_height_mutes_no_other() {
        let (news, [mut first, mut second, mut liar]) = listeners(1);
        liar.told(u64::MAX);
        assert!(rang(&news));
        for height in 11..100 {
            tokio::time::advance(CADENCE).await;
            first.told(height);
            assert!(rang(&news), "{height}");
            second.told(height);
            assert!(!rang(&news), "{height} is not new");
        }
        // The node goes back, and has other blocks.
        for height in [97, 98] {
            tokio::time::advance(CADENCE).await;
            first.told(height);
            assert!(rang(&news), "{height} again");
        }
    }

    /// A service that is ahead of the others, or lies.
    #[tokio::test(start_paused = true)]
    async fn what_one_stream_tells_too_early_is_told_again_by_the_others() {
        let (news, [mut first, mut second, mut third]) = listeners(2);
        first.told(11);
        first.alone().await;
        assert!(rang(&news));
        tokio::time::advance(CADENCE / 2).await;
        second.told(11);
        assert!(rang(&news), "the look for the first one may have been too early");
        third.told(11);
        third.alone().now_or_never();
        assert!(!rang(&news), "once");
        // A look has found it meanwhile.
        first.told(12);
        first.alone().await;
        assert!(rang(&news));
        news.is_at(Target::Query, 13, Some(CADENCE));
        second.told(12);
        assert!(!rang(&news));
        second.told(13);
        third.told(13);
        assert!(rang(&news));
    }

    /// Each look at L1 costs, and hardly any finds something new.
    #[tokio::test(start_paused = true)]
    async fn of_l1_each_block_is_told_once_and_whether_the_others_agree() {
        let news = News::default();
        news.is_at(Target::L1, 1, Some(CADENCE));
        let mut listeners = [(); 2].map(|()| news.listener(Target::L1, 2, Metrics::new()));
        let [first, second] = &mut listeners;
        for height in 11..20 {
            tokio::time::advance(CADENCE).await;
            first.told(height);
            first.alone().await;
            assert!(news.take(Target::L1) && !news.take_agreed(Target::L1), "{height}");
            if height > 15 {
                second.told(height);
                assert!(!news.take(Target::L1) && news.take_agreed(Target::L1), "{height}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_blocks_at_once_the_second_is_told_though_the_others_end() {
        let (news, [mut first, mut second]) = listeners(2);
        first.told(11);
        second.told(11);
        assert!(rang(&news));
        first.told(12);
        second.ended();
        first.alone().await;
        assert!(rang(&news));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_floods_is_heard_a_few_times_and_then_once_per_change() {
        let (news, [mut only]) = listeners(1);
        let mut heard = 0;
        for height in 0..10_000_u64 {
            tokio::time::advance(Duration::from_millis(2)).await;
            only.told(height);
            only.alone().now_or_never();
            heard += u32::from(rang(&news));
        }
        let most = 10 * PER_CHANGE + BURST;
        assert!((10..=most).contains(&heard), "{heard} in ten changes");
    }

    #[tokio::test(start_paused = true)]
    async fn blocks_that_come_unevenly_are_all_heard_at_once() {
        let (news, [mut only]) = listeners(1);
        for height in 11..1_000_u64 {
            let share = [50, 150, 90, 60, 140, 110][height as usize % 6];
            tokio::time::advance(CADENCE * share / 100).await;
            only.told(height);
            assert!(rang(&news), "{height}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn news_are_waited_for_by_what_they_are_of() {
        let news = News::default();
        news.ring(Target::Node);
        assert!(news.wait(&[Target::Query, Target::L1]).now_or_never().is_none());
        assert!(news.wait(&[Target::Node]).now_or_never().is_some());
        let waits = tokio::spawn({
            let news = news.clone();
            async move { news.wait(&[Target::L1]).await }
        });
        tokio::task::yield_now().await;
        news.ring(Target::L1);
        waits.await.unwrap();
        assert!(news.take(Target::L1) && !news.take(Target::L1));
    }
}
