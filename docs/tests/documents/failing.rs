//! What Envoy does when the module fails: restart it, in every shipped configuration whose API has
//! that.

use std::fs;

use crate::{assert_none, page::root};

/// Where a module is configured, and how often. Envoy Gateway's API has no restart; there,
/// `failOpen` must be false.
const SHIPPED: [(&str, &str, usize); 6] = [
    ("envoy/envoy.yaml", "failure_policy: FAIL_RELOAD", 1),
    ("envoy/istio/ingress-gateway.yaml", "failStrategy: FAIL_RELOAD", 1),
    ("envoy/istio/per-pod.yaml", "failStrategy: FAIL_RELOAD", 1),
    ("envoy/kubernetes/chart/values.yaml", "failStrategy: FAIL_RELOAD", 1),
    ("envoy/envoy-gateway/policy.yaml", "failOpen: false", 1),
    ("envoy/kubernetes/chart/templates/filter-envoy-gateway.yaml", "failOpen: false", 1),
];

/// What configures a module in a file that is not a test's.
const MODULE: [&str; 3] =
    ["filename: /etc/envoy/finality_filter.wasm", "kind: WasmPlugin", "kind: EnvoyExtensionPolicy"];

#[test]
fn shipped_configurations_restart_the_module() {
    let mut problems = Vec::new();
    for (file, policy, count) in SHIPPED {
        let text = fs::read_to_string(root().join(file)).unwrap();
        if text.matches(policy).count() != count {
            problems.push(format!("{file}: `{policy}` is expected {count} times"));
        }
    }
    let known = |file: &str| SHIPPED.iter().any(|(known, ..)| *known == file);
    let mut folders = vec![root().join("envoy")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let file = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if file.ends_with(".yaml") && !file.contains("/tests/") && !known(&file) {
                let text = fs::read_to_string(&path).unwrap();
                let configures = MODULE.iter().any(|name| text.contains(name));
                // The chart's template takes the strategy from its values.
                if configures && !text.contains("failStrategy: {{ .failStrategy }}") {
                    problems.push(format!("{file}: configures a module and is not in the list"));
                }
            }
        }
    }
    assert_none(&problems);
}
