//! Every series that sidecar and filter export, as Prometheus scrapes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::LazyLock,
    time::Duration,
};

use finality_core::head::{Source, Status};
use finality_sidecar::{
    telemetry::metrics::{BatchResult, HeadFacts, Metrics, Outcome, QueryFault, Standing, Target},
    verifier::Stall,
};
use regex::Regex;
use serde_json::Value;

use crate::page::root;

/// Metric, label, values.
pub(crate) type Exported = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

static EXPORTED: LazyLock<Exported> = LazyLock::new(|| {
    let mut exported = Exported::new();
    sidecar(&mut exported);
    filter(&mut exported);
    envoy(&mut exported);
    exported
});

/// All metrics by their names in queries.
pub(crate) fn exported() -> &'static Exported {
    &EXPORTED
}

/// The sidecar's metrics after every kind of event.
fn sidecar(exported: &mut Exported) {
    let metrics = Metrics::new();
    metrics.standing(Standing {
        head: Some(HeadFacts {
            number: 2,
            source: Source::Espresso,
            status: Status::Ok,
            updated: jiff::Timestamp::UNIX_EPOCH,
        }),
        node_latest: Some(3),
        lag: Some(1),
        stall: "awaiting_batch",
        stalls: Stall::CODES,
        chain_id: Some(901),
    });
    metrics.node_finalized(Some(2));
    metrics.l1_finalized(1);
    metrics.hotshot_heights(4, 5);
    metrics.proven_heights(Some(3), Some(4));
    metrics.block_proof(Some(2));
    metrics.catch_up(Some((0.5, Some(1))));
    metrics.batch(BatchResult::Confirmed);
    metrics.rejected("signature", 1);
    metrics.tick(Duration::ZERO);
    metrics.reset("keys");
    metrics.contradiction();
    metrics.light_client_contradiction();
    metrics.store_write(true);
    metrics.refused_regression();
    metrics.upstream(Target::L1, Outcome::Ok, Duration::ZERO);
    for fault in [QueryFault::Error, QueryFault::Outvoted, QueryFault::Late, QueryFault::Behind] {
        metrics.query_fault(0, fault);
    }
    metrics.bad_answer(0, "commitment");
    metrics.http_request("/v1/head", 200);
    let text = metrics.render();
    let sample = Regex::new(r"^(\w+)(?:\{(.*)\})? \S+$").unwrap();
    let label = Regex::new(r#"(\w+)="([^"]*)""#).unwrap();
    let mut samples = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let parts = sample.captures(line).unwrap_or_else(|| panic!("{line}"));
        let labels = exported.entry(parts[1].to_owned()).or_default();
        for pair in label.captures_iter(parts.get(2).map_or("", |labels| labels.as_str())) {
            labels.entry(pair[1].to_owned()).or_default().insert(pair[2].to_owned());
        }
        samples += 1;
    }
    assert!(samples > 50, "only {samples} samples in\n{text}");
}

/// What Envoy itself counts about its clusters, which `edge_limits` finds in a real one.
fn envoy(exported: &mut Exported) {
    let shipped = fs::read_to_string(root().join("envoy/envoy.yaml")).unwrap();
    let shipped: Value = serde_saphyr::from_str(&shipped).unwrap();
    let clusters = shipped["static_resources"]["clusters"].as_array().unwrap().iter();
    let names = clusters.map(|cluster| cluster["name"].as_str().unwrap().to_owned());
    let labels = BTreeMap::from([("envoy_cluster_name".to_owned(), names.collect())]);
    exported.insert("envoy_cluster_upstream_rq_active_overflow".to_owned(), labels);
}

/// The filter's metrics with the labels that Envoy extracts by the shipped configuration.
fn filter(exported: &mut Exported) {
    let shipped = fs::read_to_string(root().join("envoy/envoy.yaml")).unwrap();
    let shipped: Value = serde_saphyr::from_str(&shipped).unwrap();
    let rules: Vec<_> = shipped["stats_config"]["stats_tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| {
            let text = |key: &str| rule[key].as_str().unwrap();
            (text("tag_name"), Regex::new(text("regex")).unwrap())
        })
        .collect();
    for name in finality_filter::metrics::names() {
        let full = format!("wasmcustom.{name}");
        // Envoy removes the first group from the name; the second one is the label's value.
        let mut labels = BTreeMap::new();
        let mut cuts = Vec::new();
        for (tag, regex) in &rules {
            if let Some(found) = regex.captures(&full) {
                labels.insert((*tag).to_owned(), found[2].to_owned());
                cuts.push(found.get(1).unwrap().range());
            }
        }
        cuts.sort_by_key(|cut| std::cmp::Reverse(cut.start));
        let mut shown = full;
        for cut in cuts {
            shown.replace_range(cut, "");
        }
        let known =
            exported.entry(shown.strip_prefix("wasmcustom.").unwrap().to_owned()).or_default();
        for (label, value) in labels {
            known.entry(label).or_default().insert(value);
        }
    }
}

/// The problem of a word that looks like a metric. An ellipsis or angle brackets may end the word
/// early, and labels may follow.
pub(crate) fn problem_of_name(word: &str) -> Option<String> {
    // A setting of the Go proxy, and file names.
    let other = word == "espresso_tag" || word.contains('.');
    let ours = ["espresso_", "finality_filter_"].iter().any(|prefix| word.starts_with(prefix));
    if other || !ours {
        return None;
    }
    let name = word.split(['{', '…', '<']).next().unwrap_or_default();
    let is_whole = name.len() == word.len() || word[name.len()..].starts_with('{');
    let plain = finality_filter::metrics::names();
    let mut known = exported().keys().chain(&plain);
    let exists = known.any(|known| if is_whole { known == name } else { known.starts_with(name) });
    (!exists).then(|| format!("there is no metric {word}"))
}

#[test]
fn sidecar_and_filter_export_metrics_with_labels() {
    let exported = exported();
    let values = |metric: &str, label: &str| -> Vec<&str> {
        exported[metric][label].iter().map(String::as_str).collect()
    };
    assert_eq!(
        values("espresso_hotshot_height", "kind"),
        ["audited", "hash_since", "latest", "light_client", "seen"]
    );
    assert_eq!(values("espresso_verifier_batches_total", "result").len(), 4);
    assert!(values("espresso_verifier_tick_duration_seconds_bucket", "le").contains(&"+Inf"));
    assert!(values("finality_filter_refused_total", "finality_reason").contains(&"no_head"));
    assert!(
        values("finality_filter_answers_refused_total", "finality_reason").contains(&"chain_id")
    );
    assert_eq!(values("finality_filter_build_info", "finality_version").len(), 1);
    assert!(exported["finality_filter_requests_total"].is_empty());
}
