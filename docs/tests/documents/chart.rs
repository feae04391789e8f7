//! The chart's schema of values has every setting of the code.

use std::collections::BTreeSet;

use finality_filter::config::reference::KEYS;
use finality_sidecar::config::SETTINGS;

use crate::page::root;

/// The names below a definition of the schema.
fn known(definition: &str) -> BTreeSet<String> {
    let path = root().join("envoy/kubernetes/chart/values.schema.json");
    let schema: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let properties = schema.pointer(&format!("/definitions/{definition}/properties")).unwrap();
    properties.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_chart_knows_every_setting_but_those_that_it_sets_itself() {
    let mut known = known("settings");
    known.extend(["listen_addr", "store_path"].map(str::to_owned));
    let settings = SETTINGS.iter().map(|setting| setting.name.to_owned()).collect();
    assert_eq!(known, settings, "values.schema.json and the settings of the code");
}

#[test]
fn the_chart_knows_every_key() {
    let keys = KEYS.iter().map(|key| key.name.to_owned()).collect();
    assert_eq!(known("filterConfig"), keys, "values.schema.json and the keys of the code");
}
