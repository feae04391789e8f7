//! A drill as Prometheus would have seen it, in a time of its own.
//!
//! Prometheus scrapes by the clock, and alerts wait for minutes. A phase of a drill is two scrapes
//! between which something has happened. Here it is stretched over minutes: a counter goes on as it
//! did between the two, a time that moved is now, any other value is that of the second scrape.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, process::Command};

use serde_json::{Value, json};

/// What is kept of a scrape.
const NAMES: [&str; 4] =
    ["espresso_", "process_", "finality_filter_", "envoy_cluster_upstream_rq_active_overflow"];

/// What sidecar and Envoy export at a moment; none of one that does not answer.
#[derive(Debug, Clone, Default)]
pub struct Scrape {
    /// The sidecar's `/metrics`.
    pub sidecar: Option<String>,
    /// Envoy's `/stats/prometheus`.
    pub envoy: Option<String>,
}

/// The phases so far.
#[derive(Debug, Default)]
pub struct Recording {
    minutes: u64,
    series: BTreeMap<String, Series>,
    tests: Vec<Value>,
}

/// A series in promtool's notation.
#[derive(Debug, Default)]
struct Series {
    values: String,
    /// The minute after its last value.
    until: u64,
    /// Its last value as it was scraped, and as it is shown; none while it is not exported.
    last: Option<(f64, f64)>,
}

impl Series {
    fn missing_until(&mut self, minute: u64) {
        if self.until < minute && self.last.take().is_some() {
            self.values.push_str(" stale");
            self.until += 1;
        }
        if self.until < minute {
            write!(self.values, " _x{}", minute - self.until).unwrap();
            self.until = minute;
        }
    }

    /// From `first` on, another `step` each minute.
    fn goes_on(&mut self, first: f64, step: f64, minutes: u64, scraped: f64) {
        let steps = minutes - 1;
        write!(self.values, " {first}+{step}x{steps}").unwrap();
        self.until += minutes;
        self.last = Some((scraped, step.mul_add(steps as f64, first)));
    }

    fn add(&mut self, name: &str, before: f64, after: f64, minutes: u64) {
        let is = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
        if is(&["_total", "_bucket", "_count", "_sum"]) {
            let first = match self.last {
                Some((scraped, shown)) if scraped <= before => shown + before - scraped,
                // The program was started again.
                _ => before,
            };
            self.goes_on(first, after - before, minutes, after);
        } else if is(&["_timestamp_seconds", "_start_time_seconds"]) {
            let now = self.until as f64 * 60.0;
            match self.last {
                _ if after > before => self.goes_on(now, 60.0, minutes, after),
                Some((scraped, shown)) if scraped == after => {
                    self.goes_on(shown, 0.0, minutes, after);
                }
                // 0 is never.
                _ => self.goes_on(if after == 0.0 { 0.0 } else { now }, 0.0, minutes, after),
            }
        } else {
            self.goes_on(after, 0.0, minutes, after);
        }
    }
}

/// The values of a scrape, by name and labels.
fn values(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| NAMES.iter().any(|name| line.starts_with(name)));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(key, value)| (key, number(value)))
        .collect()
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("{text} is no value"))
}

/// Name and labels with those that Prometheus adds.
fn labeled(key: &str, job: &str) -> String {
    let (name, labels) = key.split_once('{').unwrap_or((key, "}"));
    let labels = labels.trim_end_matches('}');
    let comma = if labels.is_empty() { "" } else { "," };
    format!("{name}{{{labels}{comma}job=\"{job}\",instance=\"{job}\"}}")
}

impl Recording {
    /// Adds a phase that lasts so long, at whose end exactly these alerts fire.
    pub fn phase(&mut self, minutes: u64, before: &Scrape, after: &Scrape, firing: &[&str]) {
        for (job, before, after) in
            [("sidecar", &before.sidecar, &after.sidecar), ("envoy", &before.envoy, &after.envoy)]
        {
            let is_up = f64::from(u8::from(after.is_some()));
            self.add(labeled("up", job), "up", is_up, is_up, minutes);
            let Some(after) = after else { continue };
            let before = before.as_deref().map(values).unwrap_or_default();
            for (key, value) in values(after) {
                let name = key.split('{').next().unwrap_or_default();
                let earlier = before.get(key).copied().unwrap_or(value);
                self.add(labeled(key, job), name, earlier, value, minutes);
            }
        }
        self.minutes += minutes;
        for series in self.series.values_mut() {
            series.missing_until(self.minutes);
        }
        let fire = |alert: &&str| json!({"labels": format!("{{alertname={alert:?}}}"), "value": 1});
        self.tests.push(json!({
            "expr": r#"group by (alertname) (ALERTS{alertstate="firing"})"#,
            "eval_time": format!("{}m", self.minutes - 1),
            "exp_samples": firing.iter().map(fire).collect::<Vec<_>>(),
        }));
    }

    fn add(&mut self, key: String, name: &str, before: f64, after: f64, minutes: u64) {
        let series = self.series.entry(key).or_default();
        series.missing_until(self.minutes);
        series.add(name, before, after, minutes);
    }

    /// Expects a query to have had an answer at some time, or none at any.
    pub fn query(&mut self, query: &str, is_answered: bool) {
        let samples = if is_answered { json!([{"labels": "{}", "value": 1}]) } else { json!([]) };
        self.tests.push(json!({
            // promtool holds 10,000 samples at once.
            "expr": format!("group(count_over_time(({query})[{}m:30m]))", self.minutes),
            "eval_time": format!("{}m", self.minutes - 1),
            "exp_samples": samples,
        }));
    }

    /// Lets promtool evaluate rules and queries.
    ///
    /// # Errors
    /// What promtool says, if an alert or a query is not as expected.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn judge(&self, promtool: &Path, rules: &Path, folder: &Path) -> Result<(), String> {
        let series = self.series.iter();
        let series =
            series.map(|(key, series)| json!({"series": key, "values": series.values.trim()}));
        let test = json!({
            "rule_files": [rules],
            "evaluation_interval": "1m",
            "tests": [{
                "interval": "1m",
                "input_series": series.collect::<Vec<_>>(),
                "promql_expr_test": self.tests,
            }],
        });
        let file = folder.join("recording.yaml");
        std::fs::write(&file, test.to_string()).unwrap();
        let output = Command::new(promtool).args(["test", "rules"]).arg(&file).output().unwrap();
        if output.status.success() {
            return Ok(());
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Err(text(&output.stdout) + &text(&output.stderr))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape(lines: &str) -> Scrape {
        Scrape { sidecar: Some(lines.into()), envoy: None }
    }

    #[test]
    fn phases_are_stretched_and_what_is_not_exported_is_missing() {
        let mut recording = Recording::default();
        let (before, after) = (
            scrape(
                "espresso_a_total{x=\"1\"} 2\nespresso_b 7\nespresso_c_timestamp_seconds 100\nother 1",
            ),
            scrape("espresso_a_total{x=\"1\"} 5\nespresso_b 8\nespresso_c_timestamp_seconds 101"),
        );
        recording.phase(10, &before, &after, &[]);
        recording.phase(5, &Scrape::default(), &Scrape::default(), &["Away"]);
        // Started again.
        let again = scrape("espresso_a_total{x=\"1\"} 1\nespresso_c_timestamp_seconds 101");
        recording.phase(5, &again, &again, &[]);
        let shown = |name: &str| {
            let labels = if name.contains("_a_") { "x=\"1\"," } else { "" };
            let key = format!("{name}{{{labels}job=\"sidecar\",instance=\"sidecar\"}}");
            recording.series[&key].values.trim().to_owned()
        };
        assert_eq!(shown("espresso_a_total"), "2+3x9 stale _x4 1+0x4");
        assert_eq!(shown("espresso_b"), "8+0x9 stale _x4 _x5");
        assert_eq!(shown("espresso_c_timestamp_seconds"), "0+60x9 stale _x4 900+0x4");
        assert_eq!(shown("up"), "1+0x9 0+0x4 1+0x4");
        assert_eq!(recording.series.len(), 5, "{recording:?}");
        assert_eq!(recording.tests[1]["exp_samples"][0]["labels"], "{alertname=\"Away\"}");
    }
}
