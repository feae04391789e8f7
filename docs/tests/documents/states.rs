//! The codes of the head's state and of dependencies' errors: sidecar, runbook, alert rules,
//! dashboard and status page agree.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use finality_core::head::Status;
use finality_sidecar::{
    cli::check::Found,
    upstream::UpstreamError,
    verifier::{Person, Stall, StallKind},
};
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

/// The queries of the alerts.
fn alerts() -> BTreeMap<String, String> {
    let rules: Value =
        serde_saphyr::from_str(&read("envoy/kubernetes/chart/files/alerts.yaml")).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    let text = |value: &Value| value.as_str().map(str::to_owned);
    rules.filter_map(|rule| Some((text(&rule["alert"])?, text(&rule["expr"])?))).collect()
}

/// The states that a query selects by that operator.
fn selected(query: &str, operator: &str) -> Codes {
    let selector = format!(
        r#"(?:espresso_verifier_stalled\{{reason|espresso_head_status\{{status){operator}"([^"]*)""#
    );
    let found = Regex::new(&selector).unwrap();
    let found = found
        .captures_iter(query)
        .flat_map(|found| found[1].split('|').map(str::to_owned).collect::<Vec<_>>());
    found.collect()
}

/// The codes of the states in which a person is so needed.
fn with(person: Person) -> Codes {
    let kinds = StallKind::ALL.iter().filter(|kind| kind.person() == person);
    kinds.map(|kind| kind.code().to_owned()).collect()
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
fn what_check_finds_has_a_row_for_each_code() {
    let codes: Codes = Found::CODES.iter().map(|code| (*code).to_owned()).collect();
    let rows = table_of("docs/sidecar.md", "| found | meaning |");
    assert_eq!(rows.into_keys().collect::<Codes>(), codes);
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
fn the_runbook_says_which_states_need_a_person() {
    let word = |person| match person {
        Person::Unneeded => "no",
        Person::IfItLasts => "if it lasts",
        Person::Needed => "yes",
    };
    let rows = runbook();
    assert_eq!(StallKind::ALL.len(), rows.len());
    for kind in StallKind::ALL {
        let said = &rows[kind.code()];
        let (first, rest) = said.split_at(said.len().min(word(kind.person()).len()));
        assert_eq!(first, word(kind.person()), "{}", kind.code());
        assert!(rest.is_empty() || rest.starts_with([' ', ',']), "{}: {said}", kind.code());
    }
}

#[test]
fn states_that_need_a_person_have_an_alert_for_as_long_as_they_last() {
    let alerts = alerts();
    let mut covered = Codes::new();
    for name in ["FinalityNeedsPerson", "FinalityMismatch", "FinalityDiverged"] {
        let query = &alerts[name];
        // An event is over, and another condition may end, while the state lasts.
        for ending in ["increase(", "rate(", "unless", " and "] {
            assert!(!query.contains(ending), "{name}: {query}");
        }
        for code in selected(query, "=~?") {
            assert!(covered.insert(code.clone()), "two alerts for {code}");
        }
    }
    assert_eq!(covered, with(Person::Needed));
    assert_eq!(selected(&alerts["FinalityStalled"], "=~"), with(Person::IfItLasts));
}

#[test]
fn alerts_exclude_only_states_that_need_no_one() {
    let alerts = alerts();
    let no_one = with(Person::Unneeded);
    let excluded = selected(&alerts["FinalityHeadStandsStill"], "!~");
    assert_eq!(excluded, ["up_to_date", "advancing"].map(str::to_owned).into());
    assert!(no_one.is_superset(&excluded));
    // Those that it leaves out, after `unless`.
    let left_out = selected(&alerts["FinalityEspressoGone"], "=~");
    assert!(!left_out.is_empty() && no_one.is_superset(&left_out), "{left_out:?}");
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

/// From each alert, over the code that it names, to what mends it.
#[test]
fn the_runbook_leads_from_each_alert_by_code_to_the_mend() {
    let runbook = read("docs/runbook.md");
    let linked = links_of_alerts();
    let rows = table("| alert | where the code is |");
    assert_eq!(rows.keys().collect::<Vec<_>>(), linked.keys().collect::<Vec<_>>());
    let queries = alerts();
    for (alert, section) in &rows {
        assert!(section.ends_with(&format!("(#{})", linked[alert])), "{alert}: {section}");
        let row = runbook.lines().find(|line| line.starts_with(&format!("| `{alert}`"))).unwrap();
        let query = &queries[alert];
        let (states, excepted) = (selected(query, "=~?"), query.contains("unless"));
        // One that selects a state or two names them; one that selects more has them as a label.
        if !excepted && !states.is_empty() && states.len() < 3 && !query.contains("_source") {
            assert!(states.iter().all(|code| row.contains(&format!("`{code}`"))), "{row}");
        } else if states.len() > 2 && !alert.ends_with("Gone") {
            assert!(row.contains("the label `reason`"), "{row}");
        }
    }
    // Each code has what to do, in words or behind a link.
    for head in ["| code | meaning |", "| error | meaning |", "| reason | what to do |"] {
        let rows = runbook.lines().skip_while(|line| !line.starts_with(head)).skip(2);
        let mut count = 0;
        for row in rows.take_while(|line| line.starts_with('|')) {
            let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
            let what_to_do = if head.contains("code") { cells[2] } else { cells[cells.len() - 1] };
            assert!(!what_to_do.is_empty(), "{row}");
            count += 1;
        }
        assert!(count > 5, "{head}");
    }
}

/// The section of the runbook that each alert links to.
fn links_of_alerts() -> BTreeMap<String, String> {
    let rules: Value =
        serde_saphyr::from_str(&read("envoy/kubernetes/chart/files/alerts.yaml")).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    let link = |rule: &Value| {
        let url = rule["annotations"]["runbook_url"].as_str()?;
        Some((rule["alert"].as_str()?.to_owned(), url.split_once('#')?.1.to_owned()))
    };
    rules.filter_map(link).collect()
}

/// The colors of a panel that shows names, by name.
fn colors(dashboard: &Value, query: &str) -> BTreeMap<String, String> {
    let panels = dashboard["panels"].as_array().unwrap();
    let query = format!("{query} == 1");
    let asks = |panel: &&Value| {
        let asked = strings(&panel["targets"], "expr");
        asked.len() == 1 && asked[0].replace(r#"{instance=~"$sidecar"}"#, "") == query
    };
    let panel = panels.iter().find(asks).unwrap_or_else(|| panic!("{query}"));
    // Over a range of time, it would show each name that was ever true in it.
    assert_eq!(panel["targets"][0]["instant"], true, "{query}");
    assert_eq!((&panel["type"], &panel["options"]["textMode"]), (&"stat".into(), &"name".into()));
    let overrides = panel["fieldConfig"]["overrides"].as_array().unwrap().iter();
    let color = |rule: &Value| {
        assert_eq!(rule["matcher"]["id"], "byName");
        let name = rule["matcher"]["options"].as_str().unwrap().to_owned();
        (name, strings(&rule["properties"], "fixedColor").concat())
    };
    overrides.map(color).collect()
}

#[test]
fn the_dashboard_shows_states_in_the_color_of_what_they_mean() {
    let dashboard: Value =
        serde_json::from_str(&read("envoy/kubernetes/chart/files/dashboard.json")).unwrap();
    let states = StallKind::ALL.iter().map(|kind| {
        let color = match kind.person() {
            Person::Unneeded => "green",
            Person::IfItLasts => "yellow",
            Person::Needed => "red",
        };
        (kind.code().to_owned(), color.to_owned())
    });
    assert_eq!(colors(&dashboard, "espresso_verifier_stalled"), states.collect());
    let statuses = Status::ALL.iter().map(|status| {
        let color = match status {
            // It ends with the node's first answer.
            Status::NodeUnchecked => "yellow",
            status if status.is_usable() => "green",
            _ => "red",
        };
        (status.to_string(), color.to_owned())
    });
    assert_eq!(colors(&dashboard, "espresso_head_status"), statuses.collect());
    let sources = [("espresso", "green"), ("ethereum", "yellow")];
    let sources = sources.map(|(source, color)| (source.to_owned(), color.to_owned()));
    assert_eq!(colors(&dashboard, "espresso_head_source"), sources.into());
}

#[test]
fn the_status_page_shows_the_code_and_since_when() {
    let (view, page) =
        (read("sidecar/page/static/view.js"), read("sidecar/page/static/index.html"));
    for (member, id) in [("reason_code", "reason-code"), ("reason_since", "reason-since")] {
        assert!(view.contains(&format!("status.{member}")), "{member}");
        assert!(page.contains(&format!(r#"id="{id}""#)), "{id}");
    }
}
