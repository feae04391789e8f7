//! The metrics of `/metrics`, in OpenMetrics text.

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use super::{
    gauges::Gauges,
    labels::{
        BadAnswerLabels, CallLabels, HttpLabels, QueryFaultLabels, ReasonLabel, ResultLabel,
        TargetLabel, UpstreamLabels,
    },
    process::Process,
};

pub use super::{
    gauges::{HeadFacts, Standing},
    labels::{BatchResult, Outcome, Purpose, QueryFault, Target},
};

/// Seconds of a request: from a node next door to `request_timeout`, 10 s by default. A quantile is
/// drawn up to the end of its bucket, so each ends at most at twice the one before.
pub(super) const REQUEST_BUCKETS: [f64; 17] = [
    0.001, 0.002, 0.004, 0.0075, 0.015, 0.03, 0.06, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0,
    20.0,
];
/// Seconds of a round: from one without work to one that waits for dependencies. A round that works
/// ends after 2 s.
pub(super) const ROUND_BUCKETS: [f64; 15] =
    [0.005, 0.01, 0.02, 0.04, 0.075, 0.15, 0.3, 0.6, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 20.0];

/// Why the reading position goes back.
const RESETS: [&str; 5] = ["contradiction", "dropped", "keys", "light_client", "overtaken"];
/// The checks that refuse a payload, as `Rejected::reason` names them.
const REJECTED: [&str; 4] = ["signature", "signer", "structure", "consistency"];

struct Inner {
    registry: Registry,
    gauges: Gauges,
    events: Events,
}

/// What is counted and timed as it happens.
struct Events {
    batches: Family<ResultLabel, Counter>,
    rejected: Family<ReasonLabel, Counter>,
    ticks: Histogram,
    resets: Family<ReasonLabel, Counter>,
    contradictions: Counter,
    light_client_contradictions: Counter,
    store_writes: Family<ResultLabel, Counter>,
    refused_regressions: Counter,
    upstream_requests: Family<UpstreamLabels, Counter>,
    upstream_durations: Family<TargetLabel, Histogram, fn() -> Histogram>,
    upstream_calls: Family<CallLabels, Counter>,
    wakeups: Family<TargetLabel, Counter>,
    query_faults: Family<QueryFaultLabels, Counter>,
    bad_answers: Family<BadAnswerLabels, Counter>,
    http_requests: Family<HttpLabels, Counter>,
    long_polls: Gauge,
}

impl Events {
    fn new() -> Self {
        Self {
            batches: Family::default(),
            rejected: Family::default(),
            ticks: Histogram::new(ROUND_BUCKETS),
            resets: Family::default(),
            contradictions: Counter::default(),
            light_client_contradictions: Counter::default(),
            store_writes: Family::default(),
            refused_regressions: Counter::default(),
            upstream_requests: Family::default(),
            upstream_durations: Family::new_with_constructor(|| Histogram::new(REQUEST_BUCKETS)),
            upstream_calls: Family::default(),
            wakeups: Family::default(),
            query_faults: Family::default(),
            bad_answers: Family::default(),
            http_requests: Family::default(),
            long_polls: Gauge::default(),
        }
    }

    fn register(&self, registry: &mut Registry) {
        registry.register(
            "verifier_batches",
            "One for each decision about an authenticated batch",
            self.batches.clone(),
        );
        registry.register(
            "verifier_rejected_payloads",
            "One for each payload in the namespace that is not a batch of ours, by the check that refused it",
            self.rejected.clone(),
        );
        registry.register_with_unit(
            "verifier_tick_duration",
            "One round of the verifier, from reading HotShot to the saved head",
            Unit::Seconds,
            self.ticks.clone(),
        );
        registry.register(
            "verifier_resets",
            "One for each time that the reading position went back",
            self.resets.clone(),
        );
        registry.register(
            "verifier_contradictions",
            "One for each time that Ethereum finalized another block than the confirmed one",
            self.contradictions.clone(),
        );
        registry.register(
            "verifier_light_client_contradictions",
            "One for each time that the light client on L1 contradicted what was read of HotShot",
            self.light_client_contradictions.clone(),
        );
        registry.register(
            "store_writes",
            "One for each attempt to save the head",
            self.store_writes.clone(),
        );
        registry.register(
            "store_refused_regressions",
            "One for each record that the store refused because its number was below the stored one",
            self.refused_regressions.clone(),
        );
        registry.register(
            "upstream_requests",
            "One for each request to a dependency, retries included",
            self.upstream_requests.clone(),
        );
        registry.register_with_unit(
            "upstream_request_duration",
            "One request to a dependency, from sending it to the end of the answer",
            Unit::Seconds,
            self.upstream_durations.clone(),
        );
        registry.register(
            "upstream_calls",
            "One for each call to a dependency, each member of a batch included, by what it is for",
            self.upstream_calls.clone(),
        );
        registry.register(
            "verifier_wakeups",
            "One for each time that the streams of a dependency said that there is something new",
            self.wakeups.clone(),
        );
        registry.register(
            "query_service_faults",
            "One for each fault of a query service, by its place in query_service_url",
            self.query_faults.clone(),
        );
        registry.register(
            "query_service_bad_answers",
            "One for each answer of a query service that its proof does not bear out, by what is wrong",
            self.bad_answers.clone(),
        );
        registry.register(
            "http_requests",
            "One for each answer of the HTTP API",
            self.http_requests.clone(),
        );
        registry.register(
            "http_long_polls",
            "Requests for the head that are waiting for news, usually one per Envoy",
            self.long_polls.clone(),
        );
    }

    /// Makes the series that are known in advance: one that is absent until its first event hides
    /// that event from rate().
    fn create_known(&self) {
        for result in BatchResult::ALL {
            drop(self.batches.get_or_create(&ResultLabel { result: result.as_str() }));
        }
        for reason in RESETS {
            drop(self.resets.get_or_create(&ReasonLabel { reason }));
        }
        for reason in REJECTED {
            drop(self.rejected.get_or_create(&ReasonLabel { reason }));
        }
        for result in ["ok", "error"] {
            drop(self.store_writes.get_or_create(&ResultLabel { result }));
        }
        for target in Target::ALL {
            for purpose in Purpose::of(target) {
                drop(self.upstream_calls.get_or_create(&CallLabels::of(target, *purpose)));
            }
            let target = target.as_str();
            drop(self.wakeups.get_or_create(&TargetLabel { target }));
            drop(self.upstream_durations.get_or_create(&TargetLabel { target }));
            for outcome in Outcome::ALL.map(Outcome::as_str) {
                drop(self.upstream_requests.get_or_create(&UpstreamLabels { target, outcome }));
            }
        }
    }
}

/// The sidecar's metrics. A clone is a handle to the same ones.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero. What is not known yet, such as the head, is not exported at all.
    #[must_use]
    pub fn new() -> Self {
        let mut all = Registry::default();
        all.register_collector(Box::new(Process::new()));
        let registry = all.sub_registry_with_prefix("espresso");
        let gauges = Gauges::default();
        registry.register_collector(Box::new(gauges.clone()));
        registry.register(
            "build",
            "The build: one series, always 1",
            Info::new([
                ("version", finality_core::build::VERSION),
                ("commit", finality_core::build::COMMIT),
                ("target", finality_core::build::TARGET),
            ]),
        );
        let events = Events::new();
        events.register(registry);
        events.create_known();
        Self(Arc::new(Inner { registry: all, gauges, events }))
    }

    /// The positions of head and node, all of one moment.
    pub fn standing(&self, standing: Standing) {
        self.0.gauges.facts().standing = standing;
    }

    /// The block that the full node calls finalized, if there is one.
    pub fn node_finalized(&self, number: Option<u64>) {
        self.0.gauges.facts().node_finalized = number;
    }

    /// L1's newest final block.
    pub fn l1_finalized(&self, number: u64) {
        self.0.gauges.facts().l1_finalized = Some(number);
    }

    /// HotShot heights: read up to `seen`; the query service has reached `latest`.
    pub fn hotshot_heights(&self, seen: u64, latest: u64) {
        self.0.gauges.facts().hotshot = Some((seen, latest));
    }

    /// A decision about a batch.
    pub fn batch(&self, result: BatchResult) {
        self.0.events.batches.get_or_create(&ResultLabel { result: result.as_str() }).inc();
    }

    /// How many batches ended so since the start.
    #[must_use]
    pub fn batches(&self, result: BatchResult) -> u64 {
        self.0.events.batches.get_or_create(&ResultLabel { result: result.as_str() }).get()
    }

    /// Counts payloads in the namespace that are not batches of ours; `reason` names the check.
    pub fn rejected(&self, reason: &'static str, count: u64) {
        self.0.events.rejected.get_or_create(&ReasonLabel { reason }).inc_by(count);
    }

    /// How far a long catch-up with HotShot is, if one is under way: the part of the way that is
    /// done, from 0 to 1, and the seconds left, if known.
    pub fn catch_up(&self, catch_up: Option<(f64, Option<u64>)>) {
        self.0.gauges.facts().catch_up = catch_up;
    }

    /// A round of the verifier that took so long.
    pub fn tick(&self, duration: Duration) {
        self.0.events.ticks.observe(duration.as_secs_f64());
    }

    /// The reading position went back.
    pub fn reset(&self, reason: &'static str) {
        self.0.events.resets.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// An attempt to save the head.
    pub fn store_write(&self, ok: bool) {
        let result = if ok { "ok" } else { "error" };
        self.0.events.store_writes.get_or_create(&ResultLabel { result }).inc();
    }

    /// The store refused a number below the stored one.
    pub fn refused_regression(&self) {
        self.0.events.refused_regressions.inc();
    }

    /// A request to a dependency ended.
    pub fn upstream(&self, target: Target, outcome: Outcome, duration: Duration) {
        let (target, outcome) = (target.as_str(), outcome.as_str());
        self.0.events.upstream_requests.get_or_create(&UpstreamLabels { target, outcome }).inc();
        self.0
            .events
            .upstream_durations
            .get_or_create(&TargetLabel { target })
            .observe(duration.as_secs_f64());
    }

    /// A call to a dependency is sent, alone or in a batch.
    pub fn upstream_call(&self, target: Target, purpose: Purpose) {
        self.0.events.upstream_calls.get_or_create(&CallLabels::of(target, purpose)).inc();
    }

    /// The streams of a dependency said that there is something new.
    pub fn woken(&self, target: Target) {
        self.0.events.wakeups.get_or_create(&TargetLabel { target: target.as_str() }).inc();
    }

    /// A query service failed, was outvoted, late or behind; `index` is its place in the setting,
    /// from 0.
    pub fn query_fault(&self, index: usize, fault: QueryFault) {
        let service = index as u64 + 1;
        let fault = fault.as_str();
        self.0.events.query_faults.get_or_create(&QueryFaultLabels { service, fault }).inc();
    }

    /// A query service gave an answer that its proof does not bear out; `index` is its place in the
    /// setting, from 0.
    pub fn bad_answer(&self, index: usize, reason: &'static str) {
        let service = index as u64 + 1;
        self.0.events.bad_answers.get_or_create(&BadAnswerLabels { service, reason }).inc();
    }

    /// The answers of so many query services are proven: their series exist before their first bad
    /// one.
    pub fn proven_services(&self, count: usize) {
        for service in 1..=count as u64 {
            for reason in espresso_proofs::Reason::all().map(espresso_proofs::Reason::code) {
                drop(self.0.events.bad_answers.get_or_create(&BadAnswerLabels { service, reason }));
            }
        }
    }

    /// The light client contradicted what was read of HotShot.
    pub fn light_client_contradiction(&self) {
        self.0.events.light_client_contradictions.inc();
    }

    /// The HotShot heights up to which what moved the head was compared with the light client, and
    /// up to which that is known.
    pub fn proven_heights(&self, audited: Option<u64>, light_client: Option<u64>) {
        self.0.gauges.facts().proven = [("audited", audited), ("light_client", light_client)];
    }

    /// The HotShot height since which the hash of each block is proven.
    pub fn block_proof(&self, hash_since: Option<u64>) {
        self.0.gauges.facts().hash_since = hash_since;
    }

    /// Ethereum finalized another block than the confirmed one.
    pub fn contradiction(&self) {
        self.0.events.contradictions.inc();
    }

    /// There are so many query services: their series exist before their first fault.
    pub fn query_services(&self, count: usize) {
        for service in 1..=count as u64 {
            for fault in QueryFault::ALL.map(QueryFault::as_str) {
                drop(
                    self.0.events.query_faults.get_or_create(&QueryFaultLabels { service, fault }),
                );
            }
        }
    }

    /// The HTTP API answered.
    pub fn http_request(&self, path: &'static str, code: u16) {
        self.0.events.http_requests.get_or_create(&HttpLabels { path, code }).inc();
    }

    /// A request for the head waits, until the returned value is dropped.
    #[must_use]
    pub fn long_poll(&self) -> LongPoll {
        self.0.events.long_polls.inc();
        LongPoll(self.0.events.long_polls.clone())
    }

    /// All metrics in OpenMetrics text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &self.0.registry) {
            Ok(()) => text,
            // Writing to a String does not fail; a collector that does is a bug shown as no
            // metrics.
            Err(fmt::Error) => String::from("# EOF\n"),
        }
    }
}

/// A request for the head that waits.
#[derive(Debug)]
pub struct LongPoll(Gauge);

impl Drop for LongPoll {
    fn drop(&mut self) {
        self.0.dec();
    }
}
