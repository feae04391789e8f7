//! The gate: everything that must hold before a change goes in.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    lint, manifests, package, process, reproduce, scenarios::Parts, tools::cache::Cache,
    workspace::Workspace,
};

/// Tests that passed and failed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
}

impl Counts {
    /// Adds what the last line of a test program says, if this is one.
    fn add(&mut self, line: &str) {
        let Some(result) = line.trim().strip_prefix("test result: ") else { return };
        let number = |unit: &str| {
            let words: Vec<_> = result.split([' ', ';']).collect();
            let place = words.iter().position(|word| *word == unit)?;
            words.get(place.checked_sub(1)?)?.parse::<u64>().ok()
        };
        self.passed += number("passed").unwrap_or(0);
        self.failed += number("failed").unwrap_or(0);
    }
}

enum Outcome {
    Passed,
    Skipped(&'static str),
    Failed(String),
}

struct Step {
    name: &'static str,
    took: Duration,
    outcome: Outcome,
}

#[derive(Default)]
struct Gate {
    steps: Vec<Step>,
    counts: Counts,
}

/// Runs every step, also after one has failed, so that one run shows all there is to repair.
///
/// # Errors
/// A step failed.
pub(crate) fn run(workspace: &Workspace, cache: &Cache, force_fallback: bool) -> Result<()> {
    let mut gate = Gate::default();
    gate.step("format", |_| lint::format(workspace, true));
    gate.step("clippy", |_| lint::clippy(workspace));
    gate.step("documentation", |_| lint::documentation(workspace));
    if lint::cargo_deny(cache).is_some() {
        gate.step("cargo-deny", |_| lint::deny(workspace, cache).map(|_| ()));
    } else {
        gate.skip("cargo-deny", "it is not installed");
    }
    let mut parts = None;
    gate.step("filter, sidecar and tools", |_| {
        parts = Some(Parts::prepare(workspace, cache, force_fallback)?);
        Ok(())
    });
    gate.step("tests", |counts| {
        process::step("tests");
        let mut cargo = workspace.cargo();
        if let Some(parts) = &parts {
            parts.tell(&mut cargo);
        }
        // Documentation examples are among them.
        run_tests(cargo.args(["test", "--workspace", "--no-fail-fast"]), counts)
    });
    gate.step("finality-core for others", |_| package::check(workspace, force_fallback, false));
    // Where nothing may be installed, only the page goes unseen.
    if let Some(parts) = &mut parts
        && let Err(error) = parts.find_chromium()
    {
        process::step(format_args!("{error:#}"));
        gate.skip("page in Chromium", "there is none");
    }
    match &parts {
        Some(parts) => {
            gate.step("reproducible module", |_| {
                process::step("the module, built a second time");
                reproduce::run(workspace, force_fallback)
            });
            gate.step("manifests", |_| manifests::run(workspace, cache, parts, false));
            gate.step("scenarios", |counts| {
                process::step("scenarios on a real Envoy");
                run_tests(&mut parts.scenarios(workspace), counts)
            });
        }
        None => {
            gate.skip("reproducible module", "a step before has failed");
            gate.skip("manifests", "a step before has failed");
            gate.skip("scenarios", "a step before has failed");
        }
    }
    gate.conclude()
}

impl Gate {
    fn step(&mut self, name: &'static str, run: impl FnOnce(&mut Counts) -> Result<()>) {
        let start = Instant::now();
        let outcome = match run(&mut self.counts) {
            Ok(()) => Outcome::Passed,
            Err(error) => {
                eprintln!("error: {error:#}");
                Outcome::Failed(format!("{error:#}"))
            }
        };
        self.steps.push(Step { name, took: start.elapsed(), outcome });
    }

    fn skip(&mut self, name: &'static str, why: &'static str) {
        self.steps.push(Step { name, took: Duration::ZERO, outcome: Outcome::Skipped(why) });
    }

    fn conclude(&self) -> Result<()> {
        println!();
        for Step { name, took, outcome } in &self.steps {
            let outcome = match outcome {
                Outcome::Passed => "passed",
                Outcome::Skipped(why) => &format!("skipped: {why}"),
                Outcome::Failed(why) => &format!("FAILED: {why}"),
            };
            println!("{name:<26} {:>4} s  {outcome}", took.as_secs());
        }
        let steps =
            self.steps.iter().filter(|step| matches!(step.outcome, Outcome::Failed(_))).count();
        println!("{}", summary(self.counts, steps));
        match steps {
            0 => Ok(()),
            1 => bail!("a step failed"),
            _ => bail!("{steps} steps failed"),
        }
    }
}

/// The last word. A step that failed without a failed test, such as a build, counts as one, so that
/// the line never says that nothing failed when something did.
fn summary(counts: Counts, failed_steps: usize) -> String {
    let Counts { passed, failed } = counts;
    let failed = if failed == 0 { failed_steps as u64 } else { failed };
    format!("{passed} passed, {failed} failed")
}

/// Runs tests with their output in view, and counts them.
fn run_tests(command: &mut Command, counts: &mut Counts) -> Result<()> {
    let mut written = Ok(());
    count_tests(command, counts, |line| {
        if written.is_ok() {
            written = process::pass_on(line);
        }
    })?;
    written.context("standard output")
}

fn count_tests(
    command: &mut Command,
    counts: &mut Counts,
    mut show: impl FnMut(&str),
) -> Result<()> {
    let ok = process::each_line(command, |line| {
        counts.add(line);
        show(line);
    })?;
    if !ok {
        bail!("a test failed or could not be built");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_test_programs_are_added_up() {
        let mut counts = Counts::default();
        counts.add("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.00s\n");
        counts.add(
            "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n",
        );
        counts.add("test a_name ... ok\n");
        counts.add("it printed: test result: ok. 99 passed\n");
        assert_eq!(counts, Counts { passed: 16, failed: 2 });
    }

    #[test]
    fn the_summary_never_hides_a_failed_step() {
        let counts = |passed, failed| Counts { passed, failed };
        assert_eq!(summary(counts(7, 0), 0), "7 passed, 0 failed");
        assert_eq!(summary(counts(7, 2), 1), "7 passed, 2 failed");
        assert_eq!(summary(counts(7, 0), 2), "7 passed, 2 failed");
    }

    #[test]
    fn a_failed_test_program_fails_its_step_and_is_counted() {
        let mut counts = Counts::default();
        let script = "echo 'test result: FAILED. 1 passed; 1 failed; 0 ignored'; exit 101";
        let mut shown = String::new();
        let tests = &mut Command::new("sh");
        let error = count_tests(tests.args(["-c", script]), &mut counts, |line| shown += line);
        assert!(shown.starts_with("test result: FAILED. 1 passed"));
        assert_eq!(error.unwrap_err().to_string(), "a test failed or could not be built");
        assert_eq!(counts, Counts { passed: 1, failed: 1 });
    }
}
