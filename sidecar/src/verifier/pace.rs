//! When the parts of a round are due: no later than promised, and no more often than the chains
//! move. What streams say makes a part due earlier, and is looked up like anything else.

use std::time::Duration;

use tokio::time::Instant;

use super::ChainFacts;
use crate::{head::HeadBlock, rollup::Chain, telemetry::metrics::Target, upstream::News};

/// Looks at something between two of its changes, where no stream tells of them.
const LOOKS: u32 = 7;
/// The shortest pause between two looks at the same thing.
const SHORTEST: Duration = Duration::from_millis(50);
/// The pause after a HotShot block whose payload is late; it doubles.
const LATE: Duration = Duration::from_millis(100);
/// The cadence of Ethereum's blocks, than which none is taken to be longer.
const SLOT: Duration = Duration::from_secs(12);
/// Changes of which a stream may miss so many before it counts as silent.
const MISSED: u32 = 3;

/// When each part of a round was last done, and how often it must be.
#[derive(Debug)]
pub(super) struct Pace {
    /// The longest pause; if it is zero, everything is due in every round.
    longest: Duration,
    survey: Option<Instant>,
    l1: Option<Instant>,
    /// Why L1 is read again before the next L1 block is due.
    l1_hurry: bool,
    /// Whether the next batch waits for its L1 origin to be final.
    l1_awaited: bool,
    l1_woken: bool,
    /// When a stream last told of an L1 block.
    l1_heard: Option<Instant>,
    /// The same for as many as must agree: a single one may tell at any time but the right one.
    l1_agreed: Option<Instant>,
    l1_cadence: Duration,
    /// When the contract of the batchers last gave no answer.
    contract_failed: Option<Instant>,
    finality: Option<Instant>,
    finality_hurry: bool,
    /// HotShot's height.
    pub(super) height: Rhythm,
    /// When the payload of the next HotShot block is looked for again, and the pause after that.
    late: Option<(Instant, Duration)>,
    /// The block that the node did not have yet, and when it was asked.
    missed: Option<(u64, Instant)>,
    block_time: Duration,
    /// Whether the running round has come as far as to the feed.
    is_reading: bool,
    began: Instant,
}

impl Pace {
    pub(super) fn new(longest: Duration) -> Self {
        Self {
            longest,
            survey: None,
            l1: None,
            l1_hurry: false,
            l1_awaited: false,
            l1_woken: false,
            l1_heard: None,
            l1_agreed: None,
            l1_cadence: longest,
            contract_failed: None,
            finality: None,
            finality_hurry: false,
            height: Rhythm::default(),
            late: None,
            missed: None,
            block_time: longest,
            is_reading: false,
            began: Instant::now(),
        }
    }

    pub(super) fn begin_round(&mut self) {
        (self.is_reading, self.began) = (false, Instant::now());
    }

    /// Learns how often blocks come: on L2 if they are regular, and then on L1 by how far the
    /// head's L1 origin is from that of genesis.
    pub(super) fn learn(&mut self, chain: &ChainFacts, head: Option<HeadBlock>) {
        let Chain { genesis, genesis_l1, block_time, .. } = chain.chain;
        let Some((block_time, genesis_l1)) = block_time.zip(genesis_l1) else {
            return;
        };
        self.block_time = Duration::from_secs(block_time);
        let Some((head, origin)) = head.and_then(|head| Some((head, head.l1_origin?))) else {
            return;
        };
        let time = head.number.checked_sub(genesis.number);
        let time = time.and_then(|blocks| blocks.checked_mul(block_time));
        let blocks = origin.number.saturating_sub(genesis_l1.number);
        let millis = time.and_then(|time| time.saturating_mul(1000).checked_div(blocks));
        let cadence = millis.map_or(self.longest, Duration::from_millis);
        self.l1_cadence = cadence.min(SLOT).max(self.longest);
    }

    /// Tells streams how often blocks come.
    pub(super) fn tell(&self, news: &News) {
        news.is_at(Target::L1, 1, Some(self.l1_cadence));
        news.is_at(Target::Node, 1, Some(self.block_time));
    }

    /// A time, unless everything is always due.
    const fn after(&self, pause: Duration) -> Duration {
        if self.longest.is_zero() { Duration::ZERO } else { pause }
    }

    fn at(&self, last: Option<Instant>, pause: Duration) -> Instant {
        last.map_or(self.began, |last| last + self.after(pause))
    }

    /// When the node must be asked about the head at the latest, whatever streams say.
    fn survey_at(&self) -> Instant {
        self.at(self.survey, self.longest)
    }

    pub(super) fn survey_is_due(&self) -> bool {
        Instant::now() >= self.survey_at()
    }

    pub(super) fn surveyed(&mut self) {
        self.survey = Some(Instant::now());
    }

    /// The head is another block now: it is checked first.
    pub(super) const fn survey_at_once(&mut self) {
        self.survey = None;
    }

    fn l1_at(&self) -> Instant {
        let told = if self.l1_awaited { self.l1_agreed } else { self.l1_heard };
        let told = told.is_some_and(|at| at.elapsed() < self.l1_cadence * MISSED);
        let pause = match (self.l1_hurry, told, self.l1_awaited) {
            (true, ..) => self.longest,
            (false, true, _) => self.l1_cadence * 2,
            (false, false, true) => (self.l1_cadence / LOOKS).max(self.longest),
            (false, false, false) => self.l1_cadence,
        };
        self.at(self.l1, pause)
    }

    pub(super) fn l1_is_due(&self) -> bool {
        self.l1_woken || Instant::now() >= self.l1_at()
    }

    /// L1 was read. `hurry` says whether something is missing that the next reading may bring.
    pub(super) fn l1_read(&mut self, hurry: bool) {
        (self.l1, self.l1_woken, self.l1_hurry) = (Some(Instant::now()), false, hurry);
    }

    /// Whether the next batch waits for its L1 origin to be final, as of this round.
    pub(super) const fn l1_awaited(&mut self, is_awaited: bool) {
        self.l1_awaited = is_awaited;
    }

    /// An answer of L1 is missing: another reading may find who has it.
    pub(super) const fn l1_unanswered(&mut self) {
        self.l1_hurry = true;
    }

    pub(super) fn l1_woken(&mut self) {
        (self.l1_woken, self.l1_heard) = (true, Some(Instant::now()));
    }

    pub(super) fn l1_agreed(&mut self) {
        self.l1_agreed = Some(Instant::now());
    }

    /// Whether the contract of the batchers may be asked, if it must.
    pub(super) fn contract_is_due(&self) -> bool {
        self.contract_failed.is_none_or(|at| Instant::now() >= at + self.after(self.longest))
    }

    pub(super) fn contract_read(&mut self, is_known: bool) {
        self.contract_failed = (!is_known).then(Instant::now);
    }

    fn finality_at(&self) -> Instant {
        let pause = if self.finality_hurry { self.longest } else { self.l1_cadence };
        self.at(self.finality, pause)
    }

    pub(super) fn finality_is_due(&self) -> bool {
        Instant::now() >= self.finality_at()
    }

    pub(super) fn finality_read(&mut self, hurry: bool) {
        (self.finality, self.finality_hurry) = (Some(Instant::now()), hurry);
    }

    /// L1 has decided something new.
    pub(super) const fn finality_at_once(&mut self) {
        self.finality = None;
    }

    fn height_at(&self) -> Instant {
        self.at(self.height.looked, self.height.pause(self.longest))
    }

    /// Whether HotShot's height is asked for.
    pub(super) fn height_is_due(&self) -> bool {
        self.height.woken.is_some() || Instant::now() >= self.height_at()
    }

    /// The round has come to the feed.
    pub(super) const fn reading(&mut self) {
        self.is_reading = true;
    }

    /// Whether the next HotShot block may be read: not while its payload is late.
    pub(super) fn payload_is_due(&self) -> bool {
        self.late.is_none_or(|(at, _)| Instant::now() >= at)
    }

    /// The service does not have the payload of the next block yet.
    pub(super) fn payload_is_late(&mut self) {
        let pause = self.late.map_or(LATE, |(_, pause)| pause).min(self.longest);
        self.late = Some((Instant::now() + pause, pause.saturating_mul(2)));
    }

    /// HotShot blocks were read.
    pub(super) const fn payload_came(&mut self) {
        self.late = None;
    }

    fn node_at(&self, asked: Instant) -> Instant {
        let pause = (self.block_time / LOOKS).max(SHORTEST).min(self.longest);
        asked + pause
    }

    /// Whether it is too early to ask again for a block that the node did not have, which is at
    /// `latest` now.
    pub(super) fn is_missed(&self, number: u64, latest: Option<u64>) -> bool {
        self.missed.is_some_and(|(missed, asked)| {
            missed == number
                && latest.is_none_or(|latest| latest < number)
                && Instant::now() < self.node_at(asked)
        })
    }

    /// The node did not have the next block.
    pub(super) fn missed(&mut self, number: u64) {
        self.missed = Some((number, Instant::now()));
    }

    /// Whether news of the node's blocks matter.
    pub(super) const fn waits_for_node(&self) -> bool {
        self.missed.is_some()
    }

    pub(super) const fn node_woken(&mut self) {
        self.missed = None;
    }

    /// Whether news of HotShot's blocks and of L1's matter: they do not while something keeps the
    /// rounds from coming as far as to the feed.
    pub(super) const fn waits_for_blocks(&self) -> bool {
        self.is_reading
    }

    /// When the next round begins if nothing is told before.
    pub(super) fn next_round(&self) -> Instant {
        let last = self.began + self.longest;
        if !self.is_reading {
            return last;
        }
        let late = self.late.map(|(at, _)| at);
        let missed = self.missed.map(|(_, asked)| self.node_at(asked));
        let times = [self.survey_at(), self.l1_at(), self.finality_at(), self.height_at()];
        // What was due and not done has no use now.
        let times = times.into_iter().chain(late).chain(missed).filter(|at| *at > self.began);
        let earliest = times.min().unwrap_or(last).min(last);
        let earliest = earliest.max(self.began + SHORTEST.min(self.longest));
        earliest.min(self.survey_at().max(self.began))
    }
}

/// How often something moves, by the looks at it.
#[derive(Debug, Default)]
pub(super) struct Rhythm {
    looked: Option<Instant>,
    /// When a look last found that it had moved; at first, when it was first looked at.
    moved: Option<Instant>,
    /// The time between two of its steps.
    cadence: Option<Duration>,
    /// Since when a stream says that it has moved.
    woken: Option<Instant>,
    /// Whether the last move was found because a stream told of it. A stream that lies or is late
    /// replaces no looks.
    is_told: bool,
    /// Whether a stream told of a move that the last look did not find: it may be ahead of what is
    /// looked at, which one more look will tell.
    is_early: bool,
}

impl Rhythm {
    /// The time between two steps, if it is known.
    pub(super) const fn cadence(&self) -> Option<Duration> {
        self.cadence
    }

    /// A stream says that it has moved.
    pub(super) fn wake(&mut self) {
        self.woken.get_or_insert_with(Instant::now);
    }

    /// A look found that it had moved by so many steps since the last one.
    pub(super) fn looked(&mut self, steps: u64) {
        let now = Instant::now();
        let was_told = self.woken.take().is_some();
        self.looked = Some(now);
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        if steps == 0 {
            self.moved.get_or_insert(now);
            self.is_early = was_told;
            return;
        }
        if let Some(moved) = self.moved {
            let step = (now.duration_since(moved) / steps).clamp(SHORTEST, 5 * SLOT);
            self.cadence = Some(self.cadence.map_or(step, |known| (known * 3 + step) / 4));
        }
        (self.moved, self.is_told, self.is_early) = (Some(now), was_told, false);
    }

    /// A look failed.
    pub(super) fn failed(&mut self) {
        (self.looked, self.woken, self.is_told) = (Some(Instant::now()), None, false);
    }

    /// The pause until the next look. Where a stream told of the last move and is not silent, one
    /// look per step is enough.
    fn pause(&self, longest: Duration) -> Duration {
        let cadence = self.cadence.unwrap_or(longest);
        if self.is_told && self.moved.is_some_and(|moved| moved.elapsed() < cadence * MISSED) {
            let soon = if self.is_early { (cadence / 10).max(SHORTEST) } else { cadence };
            return soon.min(SLOT);
        }
        // By then, at the last look, it had stood still for so long.
        let stood = self.looked.zip(self.moved).map(|(looked, moved)| looked - moved);
        let stood = stood.unwrap_or_default();
        // It does not move again at once. What stands still is looked at less and less often.
        let early = (cadence * 2 / 5).saturating_sub(stood);
        let pause = if early.is_zero() { (cadence / 10).max(stood / (2 * LOOKS)) } else { early };
        pause.max(SHORTEST).min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(1);
    const STEP: Duration = Duration::from_secs(2);

    /// One that has moved every two seconds for long.
    async fn steady(is_told: bool) -> Rhythm {
        let mut rhythm = Rhythm::default();
        for _ in 0..20 {
            tokio::time::advance(STEP).await;
            if is_told {
                rhythm.wake();
            }
            rhythm.looked(1);
        }
        rhythm
    }

    #[tokio::test(start_paused = true)]
    async fn without_streams_there_are_seven_looks_per_step_and_fewer_while_nothing_moves() {
        let mut rhythm = steady(false).await;
        assert_eq!((rhythm.cadence(), rhythm.pause(LONGEST)), (Some(STEP), STEP * 2 / 5));
        tokio::time::advance(STEP * 2 / 5).await;
        rhythm.looked(0);
        assert_eq!(rhythm.pause(LONGEST), STEP / 10);
        tokio::time::advance(STEP * 10).await;
        rhythm.looked(0);
        assert_eq!(rhythm.pause(LONGEST), LONGEST);
        rhythm.looked(10);
        assert!(rhythm.pause(LONGEST) < LONGEST);

        // Of something that moves each two seconds, but for a quarter of a second.
        let started = Instant::now();
        let (mut looks, mut moves, mut waited) = (0_u32, 0_u64, Duration::ZERO);
        let move_at = |moves: u64| STEP * moves as u32 + Duration::from_millis(moves * 97 % 250);
        let mut rhythm = Rhythm::default();
        while moves < 1000 {
            let elapsed = started.elapsed();
            let now = (moves..).take_while(|moves| move_at(moves + 1) <= elapsed).count() as u64;
            if now > 0 && moves > 20 {
                waited += elapsed - move_at(moves + now);
            }
            moves += now;
            rhythm.looked(now);
            looks += 1;
            tokio::time::advance(rhythm.pause(LONGEST)).await;
        }
        assert!((6500..=7300).contains(&looks), "{looks}");
        assert!(waited / 980 <= STEP / 18, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_replaces_looks_only_while_it_tells_of_what_they_find() {
        let rhythm = steady(true).await;
        assert_eq!(rhythm.pause(LONGEST), STEP);
        // It tells too early.
        let mut early = steady(true).await;
        tokio::time::advance(STEP).await;
        early.wake();
        early.looked(0);
        assert_eq!(early.pause(LONGEST), STEP / 10);
        tokio::time::advance(STEP / 10).await;
        early.looked(0);
        assert_eq!(early.pause(LONGEST), STEP, "once");
        // It is silent.
        tokio::time::advance(STEP * MISSED).await;
        assert!(rhythm.pause(LONGEST) < STEP);
        // It is late: a look has found what it should have told.
        let mut rhythm = steady(true).await.late();
        assert_eq!(rhythm.pause(LONGEST), STEP * 2 / 5);
        rhythm.wake();
        rhythm.looked(0);
        assert_eq!(rhythm.pause(LONGEST), STEP * 2 / 5, "it lies");
        rhythm.wake();
        rhythm.looked(1);
        assert!(rhythm.pause(Duration::MAX) > STEP * 2 / 5, "it is right again");
    }

    impl Rhythm {
        fn late(mut self) -> Self {
            self.looked(1);
            self.cadence = Some(STEP);
            self
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_streams_say_the_node_is_asked_once_per_longest_pause() {
        let mut pace = Pace::new(LONGEST);
        for step in 0..100 {
            pace.begin_round();
            if pace.survey_is_due() {
                pace.surveyed();
            }
            pace.reading();
            pace.height.wake();
            pace.height.looked(step % 2);
            pace.l1_woken();
            pace.l1_read(false);
            assert!(pace.next_round() <= pace.survey_at());
            assert!(pace.survey_at() <= Instant::now() + LONGEST);
            tokio::time::advance(Duration::from_millis(70)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn l1_is_read_once_per_block_and_more_often_while_its_finality_is_waited_for() {
        let mut pace = Pace::new(LONGEST);
        pace.l1_cadence = SLOT;
        pace.begin_round();
        let mut next = |awaited, told| {
            pace.l1_read(false);
            pace.l1_awaited(awaited);
            if told > 0 {
                pace.l1_woken();
                pace.l1_read(false);
            }
            if told > 1 {
                pace.l1_agreed();
            }
            pace.l1_at() - Instant::now()
        };
        assert_eq!(next(false, 0), SLOT);
        assert_eq!(next(true, 0), SLOT / LOOKS);
        assert_eq!(next(true, 1), SLOT / LOOKS, "a single one may lie");
        assert_eq!(next(false, 1), SLOT * 2);
        assert_eq!(next(true, 2), SLOT * 2, "the streams tell when");
        tokio::time::advance(SLOT * MISSED).await;
        let mut next = || {
            pace.l1_read(false);
            pace.l1_at() - Instant::now()
        };
        assert_eq!(next(), SLOT / LOOKS, "it is silent");
        // Nor more often than every round is due.
        pace.l1_cadence = LONGEST;
        pace.l1_read(false);
        assert_eq!(pace.l1_at() - Instant::now(), LONGEST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_payload_that_is_late_is_looked_for_again_soon_and_then_more_rarely() {
        let mut pace = Pace::new(LONGEST);
        let mut looks = 0;
        for _ in 0..300 {
            if pace.payload_is_due() {
                looks += 1;
                pace.payload_is_late();
            }
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        // After 0, 100, 300, 700, 1500 and 2500 ms.
        assert_eq!(looks, 6);
        pace.payload_came();
        assert!(pace.payload_is_due());
    }
}
