//! The codes of the head's state and of dependencies' errors: sidecar, runbook, alert rules,
//! dashboard and status page agree.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use finality_sidecar::{upstream::UpstreamError, verifier::Stall};
use regex::Regex;
use serde_json::Value;

use crate::{page::root, watching::strings};

type Codes = BTreeSet<String>;

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn codes() -> Codes {
    Stall::CODES.iter().map(|code| (*code).to_owned()).collect()
}

/// The runbook's table of states: whether each code needs a person.
fn runbook() -> BTreeMap<String, String> {
    table("| code | meaning |")
}

/// The runbook's table with that head: the last cell by the code in the first.
fn table(head: &str) -> BTreeMap<String, String> {
    table_of("docs/runbook.md", head)
}

fn table_of(page: &str, head: &str) -> BTreeMap<String, String> {
    let page = read(page);
    let rows = page.lines().skip_while(|line| !line.starts_with(head)).skip(2);
    let mut table = BTreeMap::new();
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let code = cells[1].trim_matches('`').to_owned();
        let previous = table.insert(code, cells[cells.len() - 2].to_owned());
        assert_eq!(previous, None, "{row}");
    }
    table
}

/// The codes that the rules exclude or name, by alert.
fn alerts() -> BTreeMap<String, Codes> {
    let rules: Value =
        serde_saphyr::from_str(&read("envoy/kubernetes/chart/files/alerts.yaml")).unwrap();
    let stalled = Regex::new(r#"espresso_verifier_stalled\{reason!~"([^"]*)"\} == 1"#).unwrap();
    let mut found = BTreeMap::new();
    for group in rules["groups"].as_array().unwrap() {
        for rule in group["rules"].as_array().unwrap() {
            let query = rule["expr"].as_str().unwrap();
            if query.contains("espresso_verifier_stalled") {
                let excluded = &stalled.captures(query).unwrap_or_else(|| panic!("{query}"))[1];
                let excluded = excluded.split('|').map(str::to_owned).collect();
                found.insert(rule["alert"].as_str().unwrap().to_owned(), excluded);
            }
        }
    }
    found
}

#[test]
fn the_runbook_has_a_row_for_each_code() {
    assert_eq!(runbook().into_keys().collect::<Codes>(), codes());
}

#[test]
fn the_runbook_has_a_row_for_each_error_of_a_dependency() {
    let codes: Codes = UpstreamError::CODES.iter().map(|code| (*code).to_owned()).collect();
    assert_eq!(table("| error | meaning |").into_keys().collect::<Codes>(), codes);
}

#[test]
fn what_to_know_beforehand_has_a_row_for_each() {
    let rows = table_of("docs/filter.md", "| who | what happens | what to do |");
    for (who, what_to_do) in [
        ("toBlock", "`x-finality-head`"),
        ("content-length", "`framing: exact`"),
        ("proxy_100_continue", "off"),
        ("internal_redirect_policy", "node"),
    ] {
        let row = rows.iter().find(|(row, _)| row.contains(who));
        assert!(row.is_some_and(|(_, advice)| advice.contains(what_to_do)), "{who}");
    }
}

#[test]
fn alerts_exclude_states_that_need_no_one() {
    let alerts = alerts();
    let harmless: Codes = ["up_to_date", "advancing"].map(str::to_owned).into();
    assert_eq!(alerts["FinalityHeadStandsStill"], harmless);
    let rows = runbook().into_iter().filter(|(_, person)| person == "no");
    let no_one: Codes = rows.map(|(code, _)| code).collect();
    assert_eq!(alerts["FinalityStalled"], no_one);
    assert!(no_one.is_superset(&harmless) && no_one.is_subset(&codes()), "{no_one:?}");
}

#[test]
fn the_dashboard_shows_every_code() {
    let dashboard: Value =
        serde_json::from_str(&read("envoy/kubernetes/chart/files/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let shows = |panel: &&Value| {
        let queries = strings(&panel["targets"], "expr");
        queries == [r#"espresso_verifier_stalled{instance=~"$sidecar"} == 1"#]
    };
    let panel = panels.iter().find(shows).expect("a panel that leaves out no code");
    assert_eq!(strings(panel, "legendFormat"), ["{{reason}}"]);
    assert_eq!(panel["options"]["textMode"], "name");
}

#[test]
fn the_status_page_shows_the_code() {
    let view = read("sidecar/page/static/view.js");
    assert!(view.contains("status.reason_code"));
    assert!(read("sidecar/page/static/index.html").contains(r#"id="reason-code""#));
}
