//! What operators see of the filter: the access log, and the metrics that the shipped dashboard
//! and alerts use.

use finality_e2e::{
    edge::{Edge, tagged, untagged},
    fake_sidecar::Says,
    wait::{PATIENCE, until},
};
use serde_json::{Value, json};

/// The lines of the access log so far.
fn access_log(edge: &Edge) -> Vec<Value> {
    let log = edge.envoy.log();
    log.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(Value::is_object)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_access_log_shows_the_number_that_tags_became() {
    let edge = Edge::builder().access_log_at_once().start().await;
    edge.resolves_to(Ok(100)).await;
    let before = access_log(&edge).len();
    edge.sidecar.say(Says::head(12_345));
    edge.resolves_to(Ok(12_345)).await;
    let answer = edge.client().post(untagged()).await.unwrap();
    assert_eq!(answer.status, 200);
    let with_head = |line: &Value| line["head"] == json!("12345");
    let lines = until("both lines of the access log", PATIENCE, async || {
        let lines = access_log(&edge).split_off(before);
        let without = |line: &Value| line["head"].is_null() && line["status"] == 200;
        let is_whole = lines.iter().any(without) && lines.iter().any(with_head);
        is_whole.then_some(lines)
    })
    .await;
    let line = lines.iter().find(|line| with_head(line)).unwrap();
    assert_eq!((&line["method"], &line["status"]), (&json!("POST"), &json!(200)));
    assert_eq!(line["received_bytes"], json!(tagged().len()));
    assert!(line["request_id"].is_string() && line["time"].is_string(), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_metrics_are_those_that_dashboard_and_alerts_use() {
    let edge = Edge::builder().says(Says::NoHead).start().await;
    edge.resolves_to(Err("no_head")).await;
    let value_in = |text: &str, series: &str| -> Option<f64> {
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    };
    // Counters are flushed at the next tick.
    let text = until("the refusal in the metrics", PATIENCE, async || {
        let text = edge.envoy.prometheus().await;
        let series = r#"finality_filter_refused_total{finality_reason="no_head"}"#;
        value_in(&text, series).is_some_and(|count| count >= 1.0).then_some(text)
    })
    .await;
    let value = |series: &str| value_in(&text, series);
    // No contact yet is 0, so that the alert sees it.
    assert_eq!(value("finality_filter_head_contact_timestamp_seconds{}"), Some(0.0), "{text}");
    for name in finality_filter::metrics::names() {
        // The reason is a label, and so are version and commit.
        let reason = ["passed", "answers_refused", "refused"].iter().find_map(|kind| {
            let reason = name.strip_prefix(&format!("finality_filter_{kind}_"))?;
            let reason = reason.strip_suffix("_total")?;
            Some(format!(r#"finality_filter_{kind}_total{{finality_reason="{reason}"}}"#))
        });
        let build = name.strip_prefix("finality_filter_build_info_").map(|info| {
            let (version, commit) = info.rsplit_once('_').unwrap();
            format!(
                r#"finality_filter_build_info{{finality_commit="{commit}",finality_version="{version}"}}"#
            )
        });
        let series = reason.or(build).unwrap_or_else(|| format!("{name}{{}}"));
        assert!(value(&series).is_some(), "{series} is not in\n{text}");
    }
}
