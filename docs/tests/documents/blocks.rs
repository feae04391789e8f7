//! Code blocks, and code in text.

use std::sync::LazyLock;

use finality_filter::config::Config;
use finality_sidecar::config::{CONFIG_VARIABLE, SETTINGS, Setting};
use serde_json::Value;

use crate::{
    assert_none, commands, metrics,
    page::{Block, files, pages, root},
};

/// Languages that are not checked here: pictures, and what the compiler or Helm checks.
const UNCHECKED: [&str; 5] = ["", "text", "rust", "mermaid", "gotemplate"];

fn problems(block: &Block) -> Vec<String> {
    let one = |problem: Option<String>| problem.into_iter().collect();
    match &*block.language {
        "sh" | "console" => commands::problems(&block.text),
        "json" => match serde_json::from_str::<Value>(&block.text) {
            Ok(value) => configurations(&value),
            Err(error) => vec![error.to_string()],
        },
        "yaml" => match serde_saphyr::from_multiple::<Value>(&block.text) {
            Ok(documents) => documents.iter().flat_map(configurations).collect(),
            Err(error) => vec![error.to_string()],
        },
        "toml" => one(sidecar_file(&block.text)),
        other if UNCHECKED.contains(&other) => Vec::new(),
        other => vec![format!("nothing checks blocks of {other:?}")],
    }
}

/// Problems in the configurations of a document: the filter's, as an object or as text; settings of
/// the sidecar in values of the chart; the filter's block in an Envoy configuration.
fn configurations(value: &Value) -> Vec<String> {
    let parsed = |text: &str| Config::parse(text.as_bytes()).err().map(|error| error.to_string());
    match value {
        Value::Object(members) if members.contains_key("sidecar_cluster") => {
            parsed(&value.to_string()).into_iter().collect()
        }
        Value::Object(members) => {
            let mut problems: Vec<_> = members.values().flat_map(configurations).collect();
            for place in ["settings", "secretSettings"] {
                let settings = members.get(place).and_then(Value::as_object);
                let names = settings.into_iter().flat_map(|settings| settings.keys());
                problems.extend(names.filter_map(|name| unknown_setting(name)));
            }
            if value["name"] == "finality" && members.contains_key("typed_config") {
                problems.extend(unlike_the_shipped(value, shipped_filter(), "finality"));
            }
            problems
        }
        Value::Array(elements) => elements.iter().flat_map(configurations).collect(),
        Value::String(text) if text.contains("\"sidecar_cluster\"") => {
            parsed(text).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

fn unknown_setting(name: &str) -> Option<String> {
    Setting::named(name).is_none().then(|| format!("the sidecar has no setting {name}"))
}

/// The filter's block in the shipped Envoy configuration.
fn shipped_filter() -> &'static Value {
    static SHIPPED: LazyLock<Value> = LazyLock::new(|| {
        let text = std::fs::read_to_string(root().join("envoy/envoy.yaml")).unwrap();
        let envoy: Value = serde_saphyr::from_str(&text).unwrap();
        let manager = &envoy["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0];
        let filters = manager["typed_config"]["http_filters"].as_array().unwrap();
        filters.iter().find(|filter| filter["name"] == "finality").unwrap().clone()
    });
    &SHIPPED
}

/// Differences between a block and the shipped one, except for the filter's own configuration and
/// the location of the module.
fn unlike_the_shipped(shown: &Value, shipped: &Value, place: &str) -> Vec<String> {
    let Value::Object(members) = shown else {
        let same = shown == shipped;
        return if same { vec![] } else { vec![format!("{place} is {shipped} in envoy.yaml")] };
    };
    let own = ["configuration", "code"];
    let members = members.iter().filter(|(key, _)| !own.contains(&key.as_str()));
    members
        .flat_map(|(key, value)| match shipped.get(key) {
            Some(shipped) => unlike_the_shipped(value, shipped, &format!("{place}.{key}")),
            None => vec![format!("envoy.yaml has no {place}.{key}")],
        })
        .collect()
}

/// A TOML block is a configuration file of the sidecar.
fn sidecar_file(text: &str) -> Option<String> {
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => return Some(toml::de::Error::to_string(&error)),
    };
    table.keys().find_map(|name| unknown_setting(name))
}

/// Code in text that names a command, variable or metric that does not exist.
fn problem_of_span(text: &str) -> Option<String> {
    let variable = text.strip_prefix("FINALITY_").map(|_| text.split(['=', ' ']).next());
    if let Some(Some(variable)) = variable
        && !is_variable(variable)
    {
        return Some(format!("there is no variable {variable}"));
    }
    let command = text.split_whitespace().find(|word| !word.starts_with("FINALITY_"));
    if text.contains(' ') && matches!(command, Some("finality-sidecar" | "cargo" | "just")) {
        return commands::problem_of_mention(text);
    }
    metrics::problem_of_name(text)
}

/// Whether the code reads that environment variable.
fn is_variable(name: &str) -> bool {
    static CODE: LazyLock<String> = LazyLock::new(|| {
        let files = files(|name| name.ends_with(".rs"));
        // Skips the examples of wrong names below.
        let files = files.iter().filter(|path| !path.starts_with(root().join("docs")));
        files.map(|path| std::fs::read_to_string(path).unwrap()).collect()
    });
    name == CONFIG_VARIABLE
        || name.ends_with('…')
        || SETTINGS.iter().any(|setting| setting.variable() == name)
        || CODE.contains(&format!("\"{name}\""))
}

#[test]
fn every_code_block_is_valid() {
    let mut found = Vec::new();
    for page in pages() {
        for block in &page.blocks {
            let place = page.at(block.line);
            found.extend(problems(block).iter().map(|problem| format!("{place}: {problem}")));
        }
    }
    assert_none(&found);
}

#[test]
fn commands_variables_and_metrics_in_text_exist() {
    let mut found = Vec::new();
    for page in pages() {
        for span in &page.spans {
            let problem = problem_of_span(&span.text);
            found.extend(
                problem.map(|text| format!("{}: {}: {text}", page.at(span.line), span.text)),
            );
        }
    }
    assert_none(&found);
}

#[test]
fn an_invalid_block_is_found() {
    let of = |language: &str, text: &str| {
        problems(&Block { line: 1, language: language.into(), text: text.into() })
    };
    for (language, right, wrong) in [
        ("json", r#"{"sidecar_cluster":"s"}"#, r#"{"sidecar_cluster":"s","tag":[]}"#),
        ("json", "[1]", "[1"),
        ("yaml", "value: '{\"sidecar_cluster\": \"s\"}'", "value: '{\"sidecar_cluster\": 1}'"),
        ("yaml", "pluginConfig: {sidecar_cluster: s}", "pluginConfig: {sidecar_cluster: s, x: 1}"),
        ("yaml", "a: 1\n---\nb: [2]\n", "a: 1\n---\nb: [2\n"),
        ("yaml", "settings: {log_level: info}", "settings: {log_levl: info}"),
        (
            "yaml",
            "- name: finality\n  typed_config: {config: {failure_policy: FAIL_RELOAD}}",
            "- name: finality\n  typed_config: {config: {failure_policy: FAIL_OPEN}}",
        ),
        (
            "yaml",
            "- name: finality\n  typed_config: {config: {vm_config: {vm_id: finality}}}",
            "- name: finality\n  typed_config: {vm_config: {vm_id: finality}}",
        ),
        ("toml", "log_level = \"info\"", "log_levl = \"info\""),
        ("sh", "cargo xtask test", "cargo xtask tets"),
        ("", "anything", ""),
    ] {
        assert_eq!(of(language, right), Vec::<String>::new(), "{right}");
        assert_eq!(of(language, wrong).len(), usize::from(!wrong.is_empty()), "{wrong}");
    }
    assert_eq!(of("yml", "a: 1").len(), 1);
}

#[test]
fn a_wrong_name_in_text_is_found() {
    for right in [
        "cargo xtask e2e NAME",
        "finality-sidecar store reset --to N",
        "finality-sidecar run …",
        "FINALITY_LISTEN_ADDR",
        "FINALITY_NO_CACHE=1 cargo xtask filter",
        "finality-sidecar store reset --to NUMBER",
        "espresso_head_lag_blocks",
        "espresso_…",
        "espresso",
    ] {
        assert_eq!(problem_of_span(right), None, "{right}");
    }
    for wrong in [
        "cargo xtask tets",
        "finality-sidecar stor",
        "FINALITY_LISTEN",
        "espresso_head_lag",
        "FINALITY_NO_CACHE=1 cargo xtask fliter",
    ] {
        assert!(problem_of_span(wrong).is_some(), "{wrong}");
    }
}
