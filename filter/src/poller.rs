//! Keeps the head current: long polls to the sidecar, by the worker that holds the lease.

use std::{rc::Rc, time::Duration};

use finality_core::head::{HeadQuery, Status};

use crate::{
    head_cache::{Head, Update},
    host::{self, Level},
    lease::{SharedLease, Terms},
    metrics::Counter,
    plugin::Plugin,
    sidecar::{self, Answer, AskError},
};

/// The first tick comes early, so that tagged requests have a head soon after a start.
const FIRST_TICK: Duration = Duration::from_millis(10);

/// A poll that waits for its answer.
#[derive(Debug)]
struct Poll {
    token: u32,
    since: u64,
}

/// The poller of one plugin on one worker.
#[derive(Debug)]
pub struct Poller {
    plugin: Rc<Plugin>,
    lease: SharedLease,
    poll: Option<Poll>,
    ticking: bool,
    /// The last log line about the sidecar; empty while all is well.
    last_line: String,
    /// Whether a sidecar whose head is below the shared one has been logged.
    lower_told: bool,
}

impl Poller {
    /// Starts the ticks. The lease is only taken at a tick: a plugin may be configured just to
    /// validate its configuration.
    #[must_use]
    pub fn start(plugin: Rc<Plugin>, root: u32, configuration: &[u8]) -> Self {
        let terms =
            Terms { tick: plugin.config.poll_tick, backoff_max: plugin.config.poll_backoff_max };
        // Context ids repeat across workers, and one worker may have several: the two together
        // are unique.
        let me = host::now_nanoseconds().wrapping_add(u64::from(root));
        let lease = SharedLease::new(plugin.lease_key(configuration), me, terms);
        lease.seed();
        plugin.head.seed();
        if let Err(error) = host::set_tick_period(FIRST_TICK) {
            host::log(Level::Error, &format!("this worker cannot poll the sidecar: {error}"));
        }
        Self {
            plugin,
            lease,
            poll: None,
            ticking: false,
            last_line: String::new(),
            lower_told: false,
        }
    }

    /// The plugin that it polls for.
    #[must_use]
    pub fn plugin(&self) -> Rc<Plugin> {
        Rc::clone(&self.plugin)
    }

    /// A tick.
    pub fn on_tick(&mut self) {
        if !self.ticking {
            self.ticking = host::set_tick_period(self.plugin.config.poll_tick).is_ok();
        }
        self.poll(host::now());
    }

    /// Sends a poll if this worker holds the lease, which it renews, and no poll is in flight.
    fn poll(&mut self, now: u64) {
        let Some(failures) = self.lease.claim(now) else { return };
        let config = &self.plugin.config;
        // The host answers every poll in time. One that it forgot must not stop polling forever.
        let lost = milliseconds(config.poll_timeout.saturating_add(config.poll_tick));
        if self.poll.as_ref().is_some_and(|poll| now.saturating_sub(poll.since) <= lost) {
            return;
        }
        let head = self.plugin.head.get();
        // A long poll makes sense only if the last report is fresh, and if the request can name the
        // status whose change should end it.
        let fresh = |head: Head| now.abs_diff(head.contact) <= milliseconds(config.poll_timeout);
        let wait = failures == 0 && head.is_some_and(|head| head.status.is_some() && fresh(head));
        // Without a wait they change nothing, and an earlier sidecar may not know the status.
        let known = head.filter(|_| wait);
        let query = HeadQuery {
            after: known.map(|head| head.number),
            status: known.and_then(|head| head.status),
            wait_seconds: if wait { config.long_poll.as_secs() } else { 0 },
            confirm: false,
        };
        match sidecar::ask(&self.plugin, &query, config.poll_timeout) {
            Ok(token) => self.poll = Some(Poll { token, since: now }),
            Err(error) => {
                self.poll = None;
                self.on_failure(&error, now);
            }
        }
    }

    /// The answer to the call with that token.
    pub fn on_answer(&mut self, token: u32) {
        let Some(poll) = self.poll.take_if(|poll| poll.token == token) else { return };
        let now = host::now();
        match sidecar::read_answer(&self.plugin, now) {
            Ok(answer) => {
                self.on_success(&answer);
                // At once only if that cannot become a busy loop.
                let tick = milliseconds(self.plugin.config.poll_tick);
                let waited = now.saturating_sub(poll.since) >= tick;
                if matches!(answer, Answer::Head { update, .. } if update.is_raised() || waited) {
                    self.poll(now);
                }
            }
            Err(error) => self.on_failure(&error, now),
        }
    }

    fn on_success(&mut self, answer: &Answer) {
        self.plugin.metrics.count(Counter::PollsOk);
        if self.lease.forget_failures() {
            host::log(Level::Info, "the sidecar answers again");
        }
        match answer {
            Answer::NoHead => {
                const LINE: &str = "the sidecar has no head yet";
                if self.last_line != LINE {
                    host::log(Level::Info, LINE);
                    LINE.clone_into(&mut self.last_line);
                }
            }
            Answer::Head { reported, update: Update { before, after }, .. } => {
                self.last_line.clear();
                if *reported < after.number {
                    self.on_lower(*reported, after.number);
                }
                match before {
                    None => host::log(
                        Level::Info,
                        &format!("the head is {} on chain {}", after.number, after.chain_id),
                    ),
                    Some(before) if before.number > after.number => host::log(
                        Level::Warn,
                        &format!(
                            "the sidecar's store was reset: the head falls from {} to {}",
                            before.number, after.number
                        ),
                    ),
                    Some(before) if before.status != after.status => host::log(
                        if after.usable_status().is_ok() { Level::Info } else { Level::Warn },
                        &format!(
                            "the head's status changes from {} to {} at {}",
                            name(before.status),
                            name(after.status),
                            after.number
                        ),
                    ),
                    Some(_) => {}
                }
            }
        }
    }

    fn on_failure(&mut self, error: &AskError, now: u64) {
        self.plugin.metrics.count(Counter::PollsFailed);
        // Workers take turns failing: the first one logs it.
        let first = self.lease.give_up(now) == Some(1);
        let line = format!("poll failed: {error}");
        if first || !(self.last_line.is_empty() || self.last_line == line) {
            host::log(Level::Warn, &line);
        }
        self.last_line = line;
    }

    /// The sidecar reports less than the shared head: another sidecar, or one that has lost its
    /// store.
    fn on_lower(&mut self, reported: u64, number: u64) {
        if !self.lower_told {
            self.lower_told = true;
            host::log(
                Level::Warn,
                &format!(
                    "the sidecar reports {reported}, the head stays at {number}: if another store replaced its own on purpose, change cache_key or restart Envoy"
                ),
            );
        }
    }
}

fn name(status: Option<Status>) -> &'static str {
    status.map_or("one that this filter does not know", Status::as_str)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
