//! Code blocks and code inside text.

use std::sync::LazyLock;

use finality_filter::config::Config;
use finality_sidecar::config::{CONFIG_VARIABLE, SETTINGS, Setting};
use serde_json::Value;

use crate::{
    assert_none, commands, metrics,
    page::{Block, files, pages, root},
};

/// Blocks of these are not judged: pictures, and what is the compiler's business.
const NOT_JUDGED: [&str; 4] = ["", "text", "rust", "mermaid"];

fn problems(block: &Block) -> Vec<String> {
    let one = |problem: Option<String>| problem.into_iter().collect();
    match &*block.language {
        "sh" | "console" => commands::problems(&block.text),
        "json" => match serde_json::from_str::<Value>(&block.text) {
            Ok(value) => filters(&value),
            Err(error) => vec![error.to_string()],
        },
        "yaml" => match serde_saphyr::from_multiple::<Value>(&block.text) {
            Ok(documents) => documents.iter().flat_map(filters).collect(),
            Err(error) => vec![error.to_string()],
        },
        "toml" => one(sidecar_file(&block.text)),
        other if NOT_JUDGED.contains(&other) => Vec::new(),
        other => vec![format!("blocks of {other:?} are not judged by anything")],
    }
}

/// What is wrong with the filter's configurations in a document, as an object or as its text.
fn filters(value: &Value) -> Vec<String> {
    let parsed = |text: &str| Config::parse(text.as_bytes()).err().map(|error| error.to_string());
    match value {
        Value::Object(members) if members.contains_key("sidecar_cluster") => {
            parsed(&value.to_string()).into_iter().collect()
        }
        Value::Object(members) => members.values().flat_map(filters).collect(),
        Value::Array(elements) => elements.iter().flat_map(filters).collect(),
        Value::String(text) if text.contains("\"sidecar_cluster\"") => {
            parsed(text).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// A TOML block is a configuration file of the sidecar.
fn sidecar_file(text: &str) -> Option<String> {
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => return Some(toml::de::Error::to_string(&error)),
    };
    let unknown = table.keys().find(|name| Setting::named(name).is_none())?;
    Some(format!("the sidecar has no setting {unknown}"))
}

/// What is wrong with code inside text: a command, a variable or a metric that does not exist.
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

/// Whether something reads that environment variable: a setting, or a word in the code.
fn is_variable(name: &str) -> bool {
    static CODE: LazyLock<String> = LazyLock::new(|| {
        let files = files(|name| name.ends_with(".rs"));
        // Not the examples of wrong names below.
        let files = files.iter().filter(|path| !path.starts_with(root().join("docs")));
        files.map(|path| std::fs::read_to_string(path).unwrap()).collect()
    });
    name == CONFIG_VARIABLE
        || name.ends_with('…')
        || SETTINGS.iter().any(|setting| setting.variable() == name)
        || CODE.contains(&format!("\"{name}\""))
}

#[test]
fn every_block_of_code_is_right() {
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
fn commands_variables_and_metrics_inside_text_exist() {
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
fn a_wrong_block_is_found() {
    let of = |language: &str, text: &str| {
        problems(&Block { line: 1, language: language.into(), text: text.into() })
    };
    for (language, right, wrong) in [
        ("json", r#"{"sidecar_cluster":"s"}"#, r#"{"sidecar_cluster":"s","tag":[]}"#),
        ("json", "[1]", "[1"),
        ("yaml", "value: '{\"sidecar_cluster\": \"s\"}'", "value: '{\"sidecar_cluster\": 1}'"),
        ("yaml", "pluginConfig: {sidecar_cluster: s}", "pluginConfig: {sidecar_cluster: s, x: 1}"),
        ("yaml", "a: 1\n---\nb: [2]\n", "a: 1\n---\nb: [2\n"),
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
fn a_wrong_word_inside_text_is_found() {
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
