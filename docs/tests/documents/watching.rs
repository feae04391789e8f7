//! Dashboard and alert rules: every query is valid and uses exported metrics only.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use finality_core::refusal::Refusal;
use promql_parser::{
    label::{MatchOp, Matcher},
    parser::{self, AggregateExpr, BinaryExpr, Expr, LabelModifier, VectorSelector},
};
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    assert_none, links,
    metrics::{Exported, exported},
    page::{pages, root},
};

/// Where the chart's `prometheusRule.repositoryUrl` goes.
const REPOSITORY: &str = "https://repository.example/";
/// What Prometheus records about each target.
const UP: &str = "up";
/// Labels that Prometheus and Kubernetes add to every series.
const TARGET_LABELS: [&str; 5] = ["job", "instance", "namespace", "pod", "cluster"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Rule {
    Alert(Alert),
    Recorded(Recorded),
}

/// A series that alerts use.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    record: String,
    expr: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Alert {
    alert: String,
    expr: String,
    r#for: Option<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

fn shipped(name: &str) -> String {
    fs::read_to_string(root().join("envoy/kubernetes/chart/files").join(name)).unwrap()
}

/// Problems in a query.
fn problems(query: &str, exported: &Exported) -> Vec<String> {
    match parser::parse(query) {
        Err(error) => vec![format!("{query}: {error}")],
        Ok(expression) => {
            let mut problems = Vec::new();
            let mut judge = Judge { exported, problems: &mut problems };
            judge.expression(&expression);
            problems.iter().map(|problem| format!("{query}: {problem}")).collect()
        }
    }
}

struct Judge<'a> {
    exported: &'a Exported,
    problems: &'a mut Vec<String>,
}

impl Judge<'_> {
    /// Checks an expression and returns the metrics in it.
    fn expression(&mut self, expression: &Expr) -> Vec<String> {
        match expression {
            Expr::VectorSelector(selector) => self.selector(selector),
            Expr::MatrixSelector(matrix) => self.selector(&matrix.vs),
            Expr::Aggregate(AggregateExpr { expr, modifier, .. }) => {
                let metrics = self.expression(expr);
                if let Some(LabelModifier::Include(labels) | LabelModifier::Exclude(labels)) =
                    modifier
                {
                    self.labels(&labels.labels, &metrics);
                }
                metrics
            }
            Expr::Binary(BinaryExpr { lhs, rhs, modifier, .. }) => {
                let mut metrics = self.expression(lhs);
                metrics.extend(self.expression(rhs));
                let matching = modifier.as_ref().and_then(|modifier| modifier.matching.as_ref());
                if let Some(matching) = matching {
                    self.labels(&matching.labels().labels, &metrics);
                }
                metrics
            }
            Expr::Call(call) => {
                call.args.args.iter().flat_map(|argument| self.expression(argument)).collect()
            }
            Expr::Paren(inner) => self.expression(&inner.expr),
            Expr::Unary(inner) => self.expression(&inner.expr),
            Expr::Subquery(inner) => self.expression(&inner.expr),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Vec::new(),
            Expr::Extension(_) => panic!("no parser makes it"),
        }
    }

    fn selector(&mut self, selector: &VectorSelector) -> Vec<String> {
        let Some(name) = &selector.name else {
            self.several_names(&selector.matchers.matchers);
            return Vec::new();
        };
        if name == UP {
            return Vec::new();
        }
        let Some(labels) = self.exported.get(name) else {
            self.problems.push(format!("nothing exports {name}"));
            return Vec::new();
        };
        for Matcher { op, name: label, value } in &selector.matchers.matchers {
            if TARGET_LABELS.contains(&label.as_str()) {
                continue;
            }
            let Some(values) = labels.get(label) else {
                self.problems.push(format!("{name} has no label {label}"));
                continue;
            };
            // Each alternative of a regular expression must be a value, too.
            let asked: Vec<&str> = match op {
                MatchOp::Equal | MatchOp::NotEqual => vec![value],
                MatchOp::Re(_) | MatchOp::NotRe(_) => value.split('|').collect(),
            };
            for value in asked.into_iter().filter(|value| !values.contains(*value)) {
                self.problems.push(format!("{label} of {name} is never {value}"));
            }
        }
        vec![name.clone()]
    }

    /// A selector of several metrics of the filter, whose names exist in every Envoy:
    /// `{__name__=~"prefix_(one|other)_suffix"}`.
    fn several_names(&mut self, matchers: &[Matcher]) {
        let [Matcher { op: MatchOp::Re(_), name, value }] = matchers else {
            return self.problems.push("a series without a name".into());
        };
        let parts = value.split_once('(').zip(value.split_once(')'));
        let (Some(((prefix, _), (_, suffix))), "__name__") = (parts, name.as_str()) else {
            return self.problems.push(format!("{name}=~{value} does not list names"));
        };
        let known = finality_filter::metrics::names();
        for one in value[prefix.len() + 1..value.len() - suffix.len() - 1].split('|') {
            let metric = format!("{prefix}{one}{suffix}");
            if !known.contains(&metric) {
                self.problems.push(format!("nothing exports {metric}"));
            }
        }
    }

    fn labels(&mut self, labels: &[String], metrics: &[String]) {
        for label in labels {
            let known = TARGET_LABELS.contains(&label.as_str())
                || metrics.iter().any(|name| self.exported[name].contains_key(label));
            if !known {
                self.problems.push(format!("none of {} has the label {label}", metrics.join(", ")));
            }
        }
    }
}

#[test]
fn every_alert_uses_exported_metrics_and_links_to_the_runbook() {
    let file: RuleFile = serde_saphyr::from_str(&shipped("alerts.yaml")).unwrap();
    let pages = pages();
    let mut found = Vec::new();
    let mut names = Vec::new();
    let mut known = exported().clone();
    let is_duration = Regex::new("^[1-9][0-9]*[smh]$").unwrap();
    assert!(file.groups.iter().all(|group| !group.name.is_empty()));
    for rule in file.groups.iter().flat_map(|group| &group.rules) {
        let rule = match rule {
            Rule::Alert(alert) => alert,
            Rule::Recorded(Recorded { record, expr }) => {
                found.extend(problems(expr, &known));
                let labels = labels_of(expr, &known);
                known.insert(record.clone(), labels);
                continue;
            }
        };
        let mut wrong = |text: String| found.push(format!("{}: {text}", rule.alert));
        problems(&rule.expr, &known).into_iter().for_each(&mut wrong);
        let severity = rule.labels.get("severity").map(String::as_str);
        if !matches!(severity, Some("critical" | "warning")) || rule.labels.len() != 1 {
            wrong("the only label must be severity, critical or warning".into());
        }
        for annotation in ["summary", "description"] {
            if rule.annotations.get(annotation).is_none_or(String::is_empty) {
                wrong(format!("it has no {annotation}"));
            }
        }
        let runbook = rule.annotations.get("runbook_url").map(String::as_str);
        match runbook.and_then(|url| url.strip_prefix(REPOSITORY)) {
            Some(target) if target.starts_with("docs/runbook.md#") => {
                if let Some(problem) = links::problem_from_top(target, &pages) {
                    wrong(problem);
                }
            }
            _ => wrong(format!("the runbook is {runbook:?}")),
        }
        if rule.r#for.as_ref().is_some_and(|time| !is_duration.is_match(time)) {
            wrong(format!("for: {:?} is no duration", rule.r#for));
        }
        names.push(&rule.alert);
    }
    let cases = root().join("envoy/kubernetes/tests/monitoring/alerts.yaml");
    let cases = fs::read_to_string(cases).unwrap();
    for name in &names {
        let fires = format!("labels: ALERTS{{alertname=\"{name}\", alertstate=\"firing\"");
        if !cases.contains(&fires) {
            found.push(format!("{name} fires in no case of promtool"));
        }
    }
    assert_none(&found);
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a name occurs twice");
    assert!(count >= 12, "only {count} rules");
}

/// The labels of the metrics in a query, which a recorded series keeps.
fn labels_of(query: &str, exported: &Exported) -> BTreeMap<String, BTreeSet<String>> {
    let expression = parser::parse(query).unwrap();
    let mut judge = Judge { exported, problems: &mut Vec::new() };
    let metrics = judge.expression(&expression);
    metrics.iter().flat_map(|name| exported[name].clone()).collect()
}

/// In a mesh, reasons are parts of names and not labels.
#[test]
fn no_alert_needs_the_labels_that_only_the_shipped_envoy_extracts() {
    let file: RuleFile = serde_saphyr::from_str(&shipped("alerts.yaml")).unwrap();
    let names = Regex::new(r"\bfinality_filter_\w+").unwrap();
    let plain = finality_filter::metrics::names();
    let mut recorded = 0;
    for rule in file.groups.iter().flat_map(|group| &group.rules) {
        match rule {
            Rule::Recorded(Recorded { expr, .. }) => {
                let reasons = Refusal::REASONS.join("|");
                let names = format!("__name__=~\"finality_filter_refused_({reasons})_total\"");
                assert!(expr.contains(&names), "{expr}");
                recorded += 1;
            }
            Rule::Alert(Alert { alert, expr, .. }) => {
                for name in names.find_iter(expr) {
                    assert!(plain.iter().any(|known| known == name.as_str()), "{alert}: {expr}");
                }
            }
        }
    }
    assert_eq!(recorded, 1);
}

#[test]
fn every_alert_of_a_sidecar_names_its_chain() {
    let file: RuleFile = serde_saphyr::from_str(&shipped("alerts.yaml")).unwrap();
    let group = file.groups.iter().find(|group| group.name == "finality-sidecar").unwrap();
    for rule in &group.rules {
        let Rule::Alert(Alert { alert, expr, .. }) = rule else { continue };
        // One that is away exports nothing.
        let is_away = alert.starts_with("FinalitySidecar");
        assert_eq!(expr.contains("espresso_chain_info"), !is_away, "{alert}");
    }
}

/// All strings under that key, anywhere in a document.
pub(crate) fn strings<'a>(value: &'a Value, key: &str) -> Vec<&'a str> {
    match value {
        Value::Object(members) => {
            let own = members.get(key).and_then(Value::as_str);
            own.into_iter()
                .chain(members.values().flat_map(|member| strings(member, key)))
                .collect()
        }
        Value::Array(elements) => {
            elements.iter().flat_map(|element| strings(element, key)).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn every_panel_uses_exported_metrics() {
    let dashboard: Value = serde_json::from_str(&shipped("dashboard.json")).unwrap();
    let mut found = Vec::new();
    let panels = dashboard["panels"].as_array().unwrap();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let title = panel["title"].as_str().unwrap();
        let mut wrong = |text: String| found.push(format!("{title}: {text}"));
        let queries = strings(&panel["targets"], "expr");
        if queries.is_empty() || panel["description"].as_str().is_none_or(str::is_empty) {
            wrong("a panel needs a query and a description".into());
        }
        for query in queries {
            // Grafana's variables.
            let query = query
                .replace("$__rate_interval", "5m")
                .replace("$sidecar", ".*")
                .replace("$envoy", ".*");
            if query.contains('$') {
                wrong(format!("{query} has an unknown variable"));
            }
            problems(&query, exported()).into_iter().for_each(&mut wrong);
        }
    }
    // The variables that list sidecars and Envoys.
    let values = Regex::new(r"^label_values\((\w+), instance\)$").unwrap();
    let mut variables = Vec::new();
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if variable["type"] == "query" {
            variables.push(variable["name"].as_str().unwrap());
            let query = variable["definition"].as_str().unwrap();
            let metric = &values.captures(query).unwrap_or_else(|| panic!("{query}"))[1];
            found.extend(problems(metric, exported()));
        }
    }
    assert_eq!(variables, ["sidecar", "envoy"]);
    assert_none(&found);
    let asked: Vec<_> = strings(&dashboard["panels"], "expr");
    for metric in exported().keys().filter(|name| !name.ends_with("_info")) {
        let family =
            metric.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count");
        assert!(asked.iter().any(|query| query.contains(family)), "no panel shows {metric}");
    }
}

#[test]
fn panels_do_not_overlap() {
    let dashboard: Value = serde_json::from_str(&shipped("dashboard.json")).unwrap();
    let mut taken = BTreeMap::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let number = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(number("x") + number("w") <= 24, "{} is too wide", panel["title"]);
        for x in number("x")..number("x") + number("w") {
            for y in number("y")..number("y") + number("h") {
                let other = taken.insert((x, y), panel["title"].clone());
                assert_eq!(other, None, "{} lies on another panel", panel["title"]);
            }
        }
        assert_eq!(panel["datasource"]["uid"].as_str().unwrap_or("${datasource}"), "${datasource}");
    }
}

#[test]
fn a_query_for_unknown_metrics_is_found() {
    let right = r#"sum by (instance, result) (rate(espresso_verifier_batches_total{result=~"confirmed|mismatch", job="x"}[5m])) > 0"#;
    assert_eq!(problems(right, exported()), Vec::<String>::new());
    for wrong in [
        "sum(espresso_head)",
        "espresso_head_lag_blocks > ",
        r#"espresso_head_status{status="gone"}"#,
        r#"espresso_head_status{state="ok"}"#,
        r#"rate(espresso_verifier_batches_total{result=~"confirmed|mismatched"}[5m])"#,
        "sum by (target) (espresso_head_lag_blocks)",
        "espresso_head_lag_blocks - ignoring (kind) espresso_head_block_number",
        r#"finality_filter_refused_no_head_total"#,
        r#"{job="x"}"#,
        r#"{__name__=~"finality_filter_refused_(no_head|nothing)_total"}"#,
    ] {
        assert_eq!(problems(wrong, exported()).len(), 1, "{wrong}");
    }
}
