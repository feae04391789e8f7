//! The metrics of `/metrics`, in OpenMetrics text.
//!
//! Every label comes from a closed set: never a URL, never a text from the wire.

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use super::{gauges::Gauges, process::Process};

pub use super::gauges::{HeadFacts, Standing};

/// What became of a batch that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BatchResult {
    /// It equals the node's block.
    Confirmed,
    /// The node's block of that number is another one.
    Mismatch,
    /// Its L1 origin is not final yet, or L1 gave no answer.
    Undecided,
    /// It cannot be the next block: another fork, or an L1 origin that Ethereum did not keep.
    Skipped,
}

impl BatchResult {
    const ALL: [Self; 4] = [Self::Confirmed, Self::Mismatch, Self::Undecided, Self::Skipped];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Mismatch => "mismatch",
            Self::Undecided => "undecided",
            Self::Skipped => "skipped",
        }
    }
}

/// A dependency of the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// The full node's execution RPC.
    Node,
    /// The full node's consensus RPC.
    Consensus,
    /// A HotShot query service.
    Query,
    /// The L1 RPC.
    L1,
}

impl Target {
    /// Every target.
    pub const ALL: [Self; 4] = [Self::Node, Self::Consensus, Self::Query, Self::L1];

    /// The name in metrics and status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Consensus => "consensus",
            Self::Query => "query",
            Self::L1 => "l1",
        }
    }
}

/// How a request to a dependency ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A usable answer.
    Ok,
    /// The dependency does not have it yet.
    NotYet,
    /// No answer in time.
    Timeout,
    /// No connection, an error status, an error object or an answer that makes no sense.
    Error,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Ok, Self::NotYet, Self::Timeout, Self::Error];

    /// The name in metrics and traces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotYet => "not_yet",
            Self::Timeout => "timeout",
            Self::Error => "error",
        }
    }
}

/// What was wrong with one of several query services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueryFault {
    /// No usable answer.
    Error,
    /// Another answer than the majority's.
    Outvoted,
    /// Slower than the others.
    Late,
    /// Far behind the others.
    Behind,
}

impl QueryFault {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Outvoted => "outvoted",
            Self::Late => "late",
            Self::Behind => "behind",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueryFaultLabels {
    service: u64,
    fault: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TargetLabel {
    target: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    target: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HttpLabels {
    path: &'static str,
    code: u16,
}

/// Seconds: from a local store write to a query service under load.
const DURATION_BUCKETS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

fn durations() -> Histogram {
    Histogram::new(DURATION_BUCKETS)
}

struct Inner {
    registry: Registry,
    gauges: Gauges,
    batches: Family<ResultLabel, Counter>,
    rejected: Family<ReasonLabel, Counter>,
    ticks: Histogram,
    resets: Family<ReasonLabel, Counter>,
    contradictions: Counter,
    store_writes: Family<ResultLabel, Counter>,
    refused_regressions: Counter,
    upstream_requests: Family<UpstreamLabels, Counter>,
    upstream_durations: Family<TargetLabel, Histogram>,
    query_faults: Family<QueryFaultLabels, Counter>,
    http_requests: Family<HttpLabels, Counter>,
    long_polls: Gauge,
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
        macro_rules! registered {
            ($name:literal, $help:literal, $metric:expr) => {{
                let metric = $metric;
                registry.register($name, $help, metric.clone());
                metric
            }};
        }
        let batches = registered!(
            "verifier_batches",
            "One for each decision about an authenticated batch",
            Family::<ResultLabel, Counter>::default()
        );
        let rejected = registered!(
            "verifier_rejected_payloads",
            "One for each payload in the namespace that is not a batch of ours, by the check that refused it",
            Family::<ReasonLabel, Counter>::default()
        );
        let ticks = durations();
        registry.register_with_unit(
            "verifier_tick_duration",
            "One round of the verifier, from reading HotShot to the saved head",
            Unit::Seconds,
            ticks.clone(),
        );
        let resets = registered!(
            "verifier_resets",
            "One for each time that the reading position went back",
            Family::<ReasonLabel, Counter>::default()
        );
        let contradictions = registered!(
            "verifier_contradictions",
            "One for each time that Ethereum finalized another block than the confirmed one",
            Counter::default()
        );
        let store_writes = registered!(
            "store_writes",
            "One for each attempt to save the head",
            Family::<ResultLabel, Counter>::default()
        );
        let refused_regressions = registered!(
            "store_refused_regressions",
            "One for each record that the store refused since its number was below the stored one",
            Counter::default()
        );
        let upstream_requests = registered!(
            "upstream_requests",
            "One for each request to a dependency, retries included",
            Family::<UpstreamLabels, Counter>::default()
        );
        let upstream_durations =
            Family::<TargetLabel, Histogram>::new_with_constructor(durations as fn() -> Histogram);
        registry.register_with_unit(
            "upstream_request_duration",
            "One request to a dependency, from sending it to the end of the answer",
            Unit::Seconds,
            upstream_durations.clone(),
        );
        let query_faults = registered!(
            "query_service_faults",
            "One for each fault of a query service, by its place in query_service_url",
            Family::<QueryFaultLabels, Counter>::default()
        );
        let http_requests = registered!(
            "http_requests",
            "One for each answer of the HTTP API",
            Family::<HttpLabels, Counter>::default()
        );
        let long_polls = registered!(
            "http_long_polls",
            "Requests for the head that wait for news now, one of each Envoy as a rule",
            Gauge::default()
        );
        // A series that is absent until the first event hides that event from rate().
        for result in BatchResult::ALL {
            drop(batches.get_or_create(&ResultLabel { result: result.as_str() }));
        }
        for result in ["ok", "error"] {
            drop(store_writes.get_or_create(&ResultLabel { result }));
        }
        for target in Target::ALL.map(Target::as_str) {
            drop(upstream_durations.get_or_create(&TargetLabel { target }));
            for outcome in Outcome::ALL.map(Outcome::as_str) {
                drop(upstream_requests.get_or_create(&UpstreamLabels { target, outcome }));
            }
        }
        Self(Arc::new(Inner {
            registry: all,
            gauges,
            batches,
            rejected,
            ticks,
            resets,
            contradictions,
            store_writes,
            refused_regressions,
            upstream_requests,
            upstream_durations,
            query_faults,
            http_requests,
            long_polls,
        }))
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
        self.0.batches.get_or_create(&ResultLabel { result: result.as_str() }).inc();
    }

    /// How many batches ended so since the start.
    #[must_use]
    pub fn batches(&self, result: BatchResult) -> u64 {
        self.0.batches.get_or_create(&ResultLabel { result: result.as_str() }).get()
    }

    /// Counts payloads in the namespace that are not batches of ours; `reason` names the check.
    pub fn rejected(&self, reason: &'static str, count: u64) {
        self.0.rejected.get_or_create(&ReasonLabel { reason }).inc_by(count);
    }

    /// How far a long catch-up with HotShot is, if one is under way: the part of the way that is
    /// done, from 0 to 1, and the seconds left, if known.
    pub fn catch_up(&self, catch_up: Option<(f64, Option<u64>)>) {
        self.0.gauges.facts().catch_up = catch_up;
    }

    /// A round of the verifier that took so long.
    pub fn tick(&self, duration: Duration) {
        self.0.ticks.observe(duration.as_secs_f64());
    }

    /// The reading position went back.
    pub fn reset(&self, reason: &'static str) {
        self.0.resets.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// An attempt to save the head.
    pub fn store_write(&self, ok: bool) {
        let result = if ok { "ok" } else { "error" };
        self.0.store_writes.get_or_create(&ResultLabel { result }).inc();
    }

    /// The store refused a number below the stored one.
    pub fn refused_regression(&self) {
        self.0.refused_regressions.inc();
    }

    /// A request to a dependency ended.
    pub fn upstream(&self, target: Target, outcome: Outcome, duration: Duration) {
        let (target, outcome) = (target.as_str(), outcome.as_str());
        self.0.upstream_requests.get_or_create(&UpstreamLabels { target, outcome }).inc();
        self.0
            .upstream_durations
            .get_or_create(&TargetLabel { target })
            .observe(duration.as_secs_f64());
    }

    /// A query service failed, was outvoted, late or behind; `index` is its place in the setting,
    /// from 0.
    pub fn query_fault(&self, index: usize, fault: QueryFault) {
        let service = index as u64 + 1;
        let fault = fault.as_str();
        self.0.query_faults.get_or_create(&QueryFaultLabels { service, fault }).inc();
    }

    /// Ethereum finalized another block than the confirmed one.
    pub fn contradiction(&self) {
        self.0.contradictions.inc();
    }

    /// The HTTP API answered.
    pub fn http_request(&self, path: &'static str, code: u16) {
        self.0.http_requests.get_or_create(&HttpLabels { path, code }).inc();
    }

    /// A request for the head waits, until the returned value is dropped.
    #[must_use]
    pub fn long_poll(&self) -> LongPoll {
        self.0.long_polls.inc();
        LongPoll(self.0.long_polls.clone())
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

#[cfg(test)]
mod tests {
    use finality_core::head::{Source, Status};
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn what_is_not_known_is_not_exported() {
        let text = Metrics::new().render();
        for name in ["espresso_head_", "espresso_node_", "espresso_l1_", "espresso_hotshot_height"]
        {
            assert!(!text.contains(name), "{name}");
        }
        assert!(text.contains("espresso_verifier_batches_total{result=\"confirmed\"} 0"));
        assert!(text.contains("espresso_build_info{version="));
        assert!(text.ends_with("# EOF\n"));
    }

    /// The text of metrics that have seen every kind of event.
    fn filled(metrics: &Metrics) -> String {
        metrics.standing(Standing {
            head: Some(HeadFacts {
                number: u64::MAX,
                source: Source::Ethereum,
                status: Status::NodeBehind,
                updated: Timestamp::from_millisecond(1_500).unwrap(),
            }),
            node_latest: Some(u64::MAX - 3),
            lag: Some(0),
            stall: "node_behind",
            stalls: &["node_behind", "up_to_date"],
        });
        metrics.node_finalized(Some(5));
        metrics.l1_finalized(6);
        metrics.hotshot_heights(7, 9);
        metrics.batch(BatchResult::Mismatch);
        metrics.rejected("signature", 1);
        metrics.catch_up(Some((0.25, Some(3))));
        metrics.tick(Duration::from_millis(20));
        metrics.reset("keys");
        metrics.contradiction();
        metrics.store_write(false);
        metrics.refused_regression();
        metrics.upstream(Target::Query, Outcome::NotYet, Duration::from_millis(3));
        metrics.query_fault(1, QueryFault::Outvoted);
        metrics.http_request("/v1/head", 503);
        metrics.render()
    }

    /// What a counter or a histogram counts is said in the words "one for each".
    #[test]
    fn every_metric_says_what_one_increment_means() {
        let filled = filled(&Metrics::new());
        let types: Vec<_> = filled
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
            .collect();
        assert!(types.len() > 20, "{types:?}");
        for (name, kind) in types {
            let help = filled
                .lines()
                .find_map(|line| line.strip_prefix(&format!("# HELP {name} ")))
                .unwrap_or_else(|| panic!("{name} has no help"));
            let ours = name.starts_with("espresso_") || name.starts_with("process_");
            assert!(ours, "{name}");
            assert!(help.len() > 20, "{name}: {help}");
            match kind {
                "counter" => assert!(help.starts_with("One for each "), "{name}: {help}"),
                "histogram" => {
                    assert!(
                        help.starts_with("One ") && name.ends_with("_seconds"),
                        "{name}: {help}"
                    );
                }
                "gauge" | "info" => assert!(!help.starts_with("One"), "{name}: {help}"),
                other => panic!("{name} is a {other}"),
            }
        }
    }

    #[test]
    fn every_event_is_counted_under_its_documented_name() {
        let text = filled(&Metrics::new());
        for line in [
            "espresso_head_block_number 18446744073709551615",
            "espresso_head_updated_timestamp_seconds 1.5",
            "espresso_head_source{source=\"ethereum\"} 1",
            "espresso_head_source{source=\"espresso\"} 0",
            "espresso_head_status{status=\"node_behind\"} 1",
            "espresso_head_status{status=\"ok\"} 0",
            "espresso_node_latest_block_number 18446744073709551612",
            "espresso_node_finalized_block_number 5",
            "espresso_l1_finalized_block_number 6",
            "espresso_head_lag_blocks 0",
            "espresso_verifier_stalled{reason=\"node_behind\"} 1",
            "espresso_verifier_stalled{reason=\"up_to_date\"} 0",
            "espresso_hotshot_height{kind=\"seen\"} 7",
            "espresso_hotshot_height{kind=\"latest\"} 9",
            "espresso_hotshot_catch_up_ratio 0.25",
            "espresso_hotshot_catch_up_remaining_seconds 3.0",
            "espresso_verifier_batches_total{result=\"mismatch\"} 1",
            "espresso_verifier_rejected_payloads_total{reason=\"signature\"} 1",
            "espresso_verifier_tick_duration_seconds_count 1",
            "espresso_verifier_resets_total{reason=\"keys\"} 1",
            "espresso_verifier_contradictions_total 1",
            "espresso_store_writes_total{result=\"error\"} 1",
            "espresso_store_refused_regressions_total 1",
            "espresso_upstream_requests_total{target=\"query\",outcome=\"not_yet\"} 1",
            "espresso_upstream_request_duration_seconds_count{target=\"query\"} 1",
            "espresso_query_service_faults_total{service=\"2\",fault=\"outvoted\"} 1",
            "espresso_http_requests_total{path=\"/v1/head\",code=\"503\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
