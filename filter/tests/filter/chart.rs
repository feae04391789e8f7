//! The chart knows the keys of the code.

use finality_filter::config::reference::KEYS;

#[test]
fn the_chart_knows_every_key() {
    let path = "/../envoy/kubernetes/chart/values.schema.json";
    let schema = std::fs::read_to_string(format!("{}{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    let known = schema.pointer("/definitions/filterConfig/properties").unwrap();
    let mut known: Vec<_> = known.as_object().unwrap().keys().map(String::as_str).collect();
    known.sort_unstable();
    let mut keys: Vec<_> = KEYS.iter().map(|key| key.name).collect();
    keys.sort_unstable();
    assert_eq!(known, keys, "values.schema.json and the keys of the code");
}
