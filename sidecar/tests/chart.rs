//! The chart knows the settings of the code.

#![allow(clippy::unwrap_used, reason = "test code: a failure is a panic with its place")]

use finality_sidecar::config::SETTINGS;

#[test]
fn the_chart_knows_every_setting_but_those_that_it_sets_itself() {
    let path = "/../envoy/kubernetes/chart/values.schema.json";
    let schema = std::fs::read_to_string(format!("{}{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    let known = schema.pointer("/definitions/settings/properties").unwrap().as_object().unwrap();
    let mut known: Vec<_> = known.keys().map(String::as_str).collect();
    known.extend(["listen_addr", "store_path"]);
    known.sort_unstable();
    let mut settings: Vec<_> = SETTINGS.iter().map(|setting| setting.name).collect();
    settings.sort_unstable();
    assert_eq!(known, settings, "values.schema.json and the settings of the code");
}
