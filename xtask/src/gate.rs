//! The gate: the checks that every change must pass.

use std::{
    fmt::Display,
    process::Command,
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};

use crate::{
    dist, lint,
    manifests::{self, Helm, Kustomize, Validator},
    package, process, reproduce,
    scenarios::Artifacts,
    tools::{
        cache::Cache,
        crates::CARGO_DENY,
        linters::TYPOS,
        op_stack::{self, OpStack},
        promtool::PROMTOOL,
    },
    workspace::Workspace,
};

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
}

impl Counts {
    /// Adds the counts of a line such as `test result: ok. 1 passed; …`; ignores other lines.
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
    Skipped(String),
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

/// Runs every step, even after a failure, so that one run reports everything.
///
/// # Errors
/// A step failed.
pub(crate) fn run(workspace: &Workspace, cache: &Cache, force_fallback: bool) -> Result<()> {
    thread::scope(|scope| {
        // What must be built is built in the background, mostly while scenarios wait.
        let cargo_deny = scope.spawn(|| CARGO_DENY.find(cache));
        let validator = scope.spawn(|| Validator::find(cache));
        let op_stack = scope.spawn(|| OpStack::find(workspace, cache));
        let mut gate = Gate::default();
        let artifacts = steps(&mut gate, workspace, cache, force_fallback);
        gate.real_scenarios(workspace, artifacts, || joined(op_stack));
        gate.step_with("schemas", joined(validator), |it| manifests::schemas(workspace, it));
        let cargo_deny = joined(cargo_deny);
        let advisories = match &cargo_deny {
            Ok(program) => lint::fetch_advisories(workspace, program).map(|()| program.clone()),
            Err(_) => Err(anyhow!("they need cargo-deny")),
        };
        gate.step_with("cargo-deny", cargo_deny, |program| lint::deny(workspace, program));
        gate.step_with("advisories", advisories, |program| lint::advisories(workspace, program));
        gate.conclude()
    })
}

fn joined<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| Err(anyhow!("its setup panicked")))
}

fn steps(
    gate: &mut Gate,
    workspace: &Workspace,
    cache: &Cache,
    force_fallback: bool,
) -> Option<Artifacts> {
    gate.step("format", |_| lint::format(workspace, true));
    gate.step("clippy", |_| lint::clippy(workspace));
    gate.step("documentation", |_| lint::documentation(workspace));
    gate.step_with("spelling", TYPOS.find(cache), |typos| lint::spelling(workspace, &typos.path));
    gate.step_with("chart", Helm::find(cache), |helm| {
        manifests::chart(workspace, cache, helm, false)
    });
    gate.step_with("kustomize component", Kustomize::find(cache), |kustomize| {
        manifests::component(workspace, kustomize, false)
    });
    gate.step_with("alert rules", PROMTOOL.find(cache), |promtool| {
        manifests::alerts(workspace, &promtool.path)
    });
    let mut artifacts = None;
    gate.step("filter, sidecar and tools", |_| {
        artifacts = Some(Artifacts::prepare(workspace, cache, force_fallback)?);
        Ok(())
    });
    gate.step("tests", |counts| {
        process::step("tests");
        let mut cargo = workspace.cargo();
        if let Some(artifacts) = &artifacts {
            artifacts.pass_to(&mut cargo);
        }
        run_tests(cargo.args(["test", "--workspace", "--no-fail-fast"]), counts)
    });
    gate.step("packages of crates", |_| package::check(workspace, force_fallback, false));
    if let Some(artifacts) = &mut artifacts
        && let Err(error) = artifacts.find_chromium()
    {
        process::step(format_args!("{error:#}"));
        gate.skip("page in Chromium", "Chromium is missing");
    }
    if let Some(artifacts) = &mut artifacts
        && let Err(error) = artifacts.find_promtool(cache)
    {
        gate.skip("fault drills", format_args!("{error:#}"));
    }
    match &artifacts {
        Some(artifacts) => {
            gate.step("reproducible module", |_| {
                process::step("building the module a second time");
                reproduce::run(workspace, force_fallback)
            });
            gate.step("manifests", |_| manifests::check(workspace, cache, artifacts));
            if process::find_in_path("dpkg-deb").is_some() {
                gate.step("Debian package", |_| dist::check(workspace, artifacts));
            } else {
                gate.skip("Debian package", "dpkg-deb is missing");
            }
            gate.step("scenarios", |counts| {
                process::step("scenarios on a real Envoy");
                run_tests(&mut artifacts.scenarios(workspace), counts)
            });
        }
        None => {
            gate.skip("reproducible module", "an earlier step failed");
            gate.skip("manifests", "an earlier step failed");
            gate.skip("Debian package", "an earlier step failed");
            gate.skip("scenarios", "an earlier step failed");
        }
    }
    artifacts
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

    fn skip(&mut self, name: &'static str, why: impl Display) {
        let outcome = Outcome::Skipped(why.to_string());
        self.steps.push(Step { name, took: Duration::ZERO, outcome });
    }

    /// The scenarios on op-geth and op-node, where there is a Go that builds them.
    fn real_scenarios(
        &mut self,
        workspace: &Workspace,
        artifacts: Option<Artifacts>,
        op_stack: impl FnOnce() -> Result<OpStack>,
    ) {
        const NAME: &str = "scenarios on op-geth";
        if let Err(error) = op_stack::find_go() {
            return self.skip(NAME, format_args!("{error:#}"));
        }
        let Some(mut artifacts) = artifacts else {
            return self.skip(NAME, "an earlier step failed");
        };
        self.step(NAME, |counts| {
            artifacts.use_op_stack(op_stack()?);
            process::step("scenarios on op-geth and op-node");
            run_tests(&mut artifacts.real_scenarios(workspace, &[]), counts)
        });
    }

    /// Runs a step that needs a tool, or skips it if the tool is missing.
    fn step_with<T>(
        &mut self,
        name: &'static str,
        tool: Result<T>,
        run: impl FnOnce(&T) -> Result<()>,
    ) {
        match tool {
            Ok(tool) => self.step(name, |_| run(&tool)),
            Err(error) => self.skip(name, format_args!("{error:#}")),
        }
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

/// The last line. If steps failed without a failed test, such as a build, they are counted instead:
/// the line must not say that nothing failed.
fn summary(counts: Counts, failed_steps: usize) -> String {
    let Counts { passed, failed } = counts;
    let failed = if failed == 0 { failed_steps as u64 } else { failed };
    format!("{passed} passed, {failed} failed")
}

/// Runs tests, shows their output and counts them.
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
    fn failed_tests_are_counted_and_fail_their_step() {
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
