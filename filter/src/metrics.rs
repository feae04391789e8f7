//! Metrics, kept by Envoy and summed over its workers.
//!
//! Metrics of proxy-wasm have no labels, so a reason is part of the name; `envoy/envoy.yaml` shows
//! how Envoy turns it into one. All names begin with `finality_filter_`.
//!
//! Host calls are expensive, so counts are kept here and flushed at the next tick. A VM that traps
//! loses what it had not flushed.

use std::{cell::Cell, rc::Rc};

use finality_core::{build, refusal::Refusal};

use crate::host::{Metric, MetricKind};

/// A counter; the name of its variant says what one increment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    Requests,
    BodiesRewritten,
    TagsReplaced,
    ObservedRewritten,
    ObservedTags,
    ObservedRefused,
    PassedUpgrade,
    PassedMethod,
    PassedNoBody,
    PassedContentType,
    PassedEncoded,
    PassedNoTag,
    PollsOk,
    PollsFailed,
    CalloutsOk,
    CalloutsFailed,
    AnswersChainId,
    AnswersLowerNumber,
    AnswersMalformed,
    AnswersNoMarker,
    AnswersHttpStatus,
}

/// The names of the counters, without prefix and `_total`; in the order of [`Counter`].
const NAMES: &[(Counter, &str)] = &[
    (Counter::Requests, "requests"),
    (Counter::BodiesRewritten, "bodies_rewritten"),
    (Counter::TagsReplaced, "tags_replaced"),
    (Counter::ObservedRewritten, "observed_rewritten"),
    (Counter::ObservedTags, "observed_tags"),
    (Counter::ObservedRefused, "observed_refused"),
    (Counter::PassedUpgrade, "passed_upgrade"),
    (Counter::PassedMethod, "passed_method"),
    (Counter::PassedNoBody, "passed_no_body"),
    (Counter::PassedContentType, "passed_content_type"),
    (Counter::PassedEncoded, "passed_encoded"),
    (Counter::PassedNoTag, "passed_no_tag"),
    (Counter::PollsOk, "polls_ok"),
    (Counter::PollsFailed, "polls_failed"),
    (Counter::CalloutsOk, "callouts_ok"),
    (Counter::CalloutsFailed, "callouts_failed"),
    (Counter::AnswersChainId, "answers_refused_chain_id"),
    (Counter::AnswersLowerNumber, "answers_refused_lower_number"),
    (Counter::AnswersMalformed, "answers_refused_malformed"),
    (Counter::AnswersNoMarker, "answers_refused_no_marker"),
    (Counter::AnswersHttpStatus, "answers_refused_http_status"),
];

/// The gauges, without prefix.
const HEAD_NUMBER: &str = "head_number";
const HEAD_CONTACT: &str = "head_contact_timestamp_seconds";

fn counter_name(name: &str) -> String {
    format!("finality_filter_{name}_total")
}

fn refusal_name(reason: &str) -> String {
    counter_name(&format!("refused_{reason}"))
}

fn gauge_name(name: &str) -> String {
    format!("finality_filter_{name}")
}

fn build_info_name() -> String {
    gauge_name(&format!("build_info_{}_{}", build::VERSION, build::COMMIT))
}

/// The names of all metrics, as defined in Envoy.
#[must_use]
pub fn names() -> Vec<String> {
    let counters = NAMES.iter().map(|(_, name)| counter_name(name));
    let refusals = Refusal::REASONS.into_iter().map(refusal_name);
    let gauges = [HEAD_NUMBER, HEAD_CONTACT].map(gauge_name);
    counters.chain(refusals).chain(gauges).chain([build_info_name()]).collect()
}

/// A counter of the host, and what was counted since the last flush.
#[derive(Debug)]
struct Count {
    metric: Option<Metric>,
    pending: Cell<u64>,
}

impl Count {
    fn define(name: &str) -> Self {
        let metric = Metric::define(MetricKind::Counter, name).ok();
        Self { metric, pending: Cell::new(0) }
    }

    fn add(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.pending.set(self.pending.get().saturating_add(count));
    }

    fn flush(&self) {
        let pending = self.pending.take();
        if let Some(metric) = self.metric
            && pending > 0
        {
            metric.add(pending);
        }
    }
}

thread_local! {
    /// A VM has one thread.
    static METRICS: Rc<Metrics> = Rc::new(Metrics::define());
}

/// The metrics of one VM.
#[derive(Debug)]
pub struct Metrics {
    counters: Vec<Count>,
    refusals: Vec<(&'static str, Count)>,
    head_number: Option<Metric>,
    head_contact: Option<Metric>,
}

impl Metrics {
    /// The metrics of this VM. They are defined once: a VM runs many configurations in turn, and
    /// the host keeps each definition as long as the VM.
    #[must_use]
    pub fn of_this_vm() -> Rc<Self> {
        METRICS.with(Rc::clone)
    }

    fn define() -> Self {
        let gauge = |name: String| Metric::define(MetricKind::Gauge, &name).ok();
        if let Some(info) = gauge(build_info_name()) {
            info.set(1);
        }
        Self {
            counters: NAMES.iter().map(|(_, name)| Count::define(&counter_name(name))).collect(),
            refusals: Refusal::REASONS
                .into_iter()
                .map(|reason| (reason, Count::define(&refusal_name(reason))))
                .collect(),
            head_number: gauge(gauge_name(HEAD_NUMBER)),
            head_contact: gauge(gauge_name(HEAD_CONTACT)),
        }
    }

    /// Counts one.
    pub fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Counts several.
    pub fn add(&self, counter: Counter, count: usize) {
        if let Some(counter) = self.counters.get(counter as usize) {
            counter.add(count);
        }
    }

    /// Counts a refused request.
    pub fn refused(&self, reason: &str) {
        if let Some((_, counter)) = self.refusals.iter().find(|(name, _)| *name == reason) {
            counter.add(1);
        }
    }

    /// Adds what was counted since the last flush to the host's counters.
    pub fn flush(&self) {
        self.counters
            .iter()
            .chain(self.refusals.iter().map(|(_, counter)| counter))
            .for_each(Count::flush);
    }

    /// Shows the head and the time of the last contact, in milliseconds since 1970.
    pub fn head(&self, number: u64, contact: u64) {
        if let Some(metric) = self.head_number {
            metric.set(number);
        }
        if let Some(metric) = self.head_contact {
            metric.set(contact / 1000);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_stand_in_the_order_of_their_names() {
        for (position, (counter, name)) in NAMES.iter().enumerate() {
            assert_eq!(*counter as usize, position, "{name}");
        }
        assert_eq!(NAMES.len(), Counter::AnswersHttpStatus as usize + 1);
    }
}
