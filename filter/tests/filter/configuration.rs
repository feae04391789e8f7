//! What is taken as a configuration, and what a refused one says.

use finality_core::build;

use crate::{
    envoy::{CONFIG, ROOT, callbacks, configure, start},
    host::host,
};

#[test]
fn a_good_configuration_starts_the_ticks_and_defines_the_metrics() {
    start(CONFIG);
    host(|host| {
        assert_eq!(host.tick_period, 10, "the first tick comes early");
        assert!(host.log[0].1.contains(build::LINE), "{:?}", host.log);
        assert_eq!(host.log.len(), 1);
        assert_eq!(host.metric(&format!("build_info_{}_{}", build::VERSION, build::COMMIT)), 1);
        assert!(host.calls.is_empty(), "no poll while a configuration is only tried");
    });
}

#[test]
fn many_configurations_of_a_vm_define_the_metrics_once() {
    start(CONFIG);
    let definitions = host(|host| (host.definitions, host.metrics.len()));
    for root in 2..50 {
        assert!(configure(root, &format!(r#"{{"sidecar_cluster":"s","max_depth":{root}}}"#)));
        assert_eq!(host(|host| (host.definitions, host.metrics.len())), definitions);
    }
}

#[test]
fn a_bad_configuration_is_refused_with_one_line_that_names_the_key() {
    callbacks::initialize();
    for (configuration, expected) in [
        ("", "not JSON text"),
        ("[]", "not a JSON object"),
        ("{}", "sidecar_cluster is required"),
        (r#"{"sidecar_cluster":"s","sidecar":"x"}"#, r#"unknown key "sidecar""#),
        (r#"{"sidecar_cluster":"s","tags":[]}"#, "tags"),
        (r#"{"sidecar_cluster":"s","framing":"both"}"#, r#"framing must be "chunked" or "exact""#),
    ] {
        host(|host| host.log.clear());
        assert!(!configure(ROOT, configuration), "{configuration}");
        host(|host| {
            let lines: Vec<_> = host.log.iter().filter(|(level, _)| *level >= 3).collect();
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert!(lines[0].1.starts_with("configuration rejected: "), "{lines:?}");
            assert!(lines[0].1.contains(expected), "{lines:?}");
        });
    }
}

#[test]
fn a_refused_configuration_leaves_the_one_before_in_place() {
    start(CONFIG);
    assert!(!configure(2, "{}"));
    crate::envoy::tick(ROOT);
    crate::envoy::tick(2);
    assert_eq!(crate::envoy::polls(), 1);
}
