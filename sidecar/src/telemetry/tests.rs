use std::time::Duration;

use finality_core::head::{Source, Status};
use jiff::Timestamp;

use super::metrics::*;
use crate::config::Setting;

#[test]
fn what_is_not_known_is_not_exported() {
    let text = Metrics::new().render();
    for name in ["espresso_head_", "espresso_node_", "espresso_l1_", "espresso_hotshot_height"] {
        assert!(!text.contains(name), "{name}");
    }
    assert!(text.contains("espresso_verifier_batches_total{result=\"confirmed\"} 0"));
    assert!(text.contains("espresso_build_info{version="));
    assert!(text.ends_with("# EOF\n"));
}

/// Otherwise the first event would be no increase.
#[test]
fn counters_exist_before_their_first_event() {
    let metrics = Metrics::new();
    metrics.query_services(2);
    metrics.proven_services(2);
    let text = metrics.render();
    for line in [
        "espresso_verifier_batches_total{result=\"mismatch\"} 0",
        "espresso_verifier_contradictions_total 0",
        "espresso_verifier_resets_total{reason=\"keys\"} 0",
        "espresso_verifier_rejected_payloads_total{reason=\"signer\"} 0",
        "espresso_store_writes_total{result=\"error\"} 0",
        "espresso_store_refused_regressions_total 0",
        "espresso_upstream_requests_total{target=\"l1\",outcome=\"timeout\"} 0",
        "espresso_query_service_faults_total{service=\"2\",fault=\"outvoted\"} 0",
        "espresso_query_service_bad_answers_total{service=\"2\",reason=\"commitment\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    let kinds =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"));
    for name in kinds.filter(|name| *name != "espresso_http_requests") {
        let has_series = text.lines().any(|line| line.starts_with(&format!("{name}_total")));
        assert!(has_series, "{name} has no series");
    }
}

/// A quantile lies anywhere in its bucket: one from 1 s to 5 s draws rounds of 2 s at 5 s.
#[test]
fn buckets_fit_what_they_measure() {
    let timeout = Setting::named("request_timeout").and_then(|setting| setting.default).unwrap();
    let timeout = humantime::parse_duration(timeout).unwrap().as_secs_f64();
    for (buckets, known) in [(&REQUEST_BUCKETS[..], timeout), (&ROUND_BUCKETS[..], 2.0)] {
        assert!(
            buckets.windows(2).all(|pair| pair[0] < pair[1] && pair[1] <= 2.0 * pair[0] + 1e-9)
        );
        assert!(buckets.contains(&known), "{known}");
        assert!(buckets[0] <= 0.005 && *buckets.last().unwrap() >= 2.0 * timeout);
    }
}

/// The chain is a label of its own, empty while it is unknown: alerts join with it.
#[test]
fn the_chain_has_a_series_before_it_is_known() {
    let metrics = Metrics::new();
    metrics.standing(Standing { stalls: &["starting"], stall: "starting", ..Standing::default() });
    assert!(metrics.render().contains("espresso_chain_info{chain_id=\"\"} 1\n"));
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
        chain_id: Some(901),
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
    let types: Vec<_> =
        filled.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
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
                assert!(help.starts_with("One ") && name.ends_with("_seconds"), "{name}: {help}");
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
        "espresso_chain_info{chain_id=\"901\"} 1",
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
