//! Runs tests on a mutant, until the first that fails.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use super::embed::VARIABLE;
use crate::workspace::forget_outer_cargo;

/// How much address space a process may take, in KiB: a mutant may allocate without end.
const MEMORY: u64 = 8 << 20;

/// Limits processor time, so that an endless loop ends early and a busy machine fails no test.
const LIMITED: &str = "ulimit -t \"$1\" && ulimit -v \"$2\" && shift 2 && exec \"$@\"";

/// What notices a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    Failed,
    /// It neither passed nor failed in a time that is enough on a busy machine.
    Hung,
}

/// Test programs that run one after the other.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) commands: Vec<Vec<OsString>>,
    pub(super) folder: PathBuf,
    pub(super) environment: Vec<(&'static str, OsString)>,
    /// How long they take without a mutant.
    usual: Duration,
}

impl Trial {
    /// Runs the tests without a mutant.
    ///
    /// # Errors
    /// They fail.
    pub(super) fn new(
        commands: Vec<Vec<OsString>>,
        folder: PathBuf,
        environment: Vec<(&'static str, OsString)>,
    ) -> Result<Self> {
        let started = Instant::now();
        let mut trial = Self { commands, folder, environment, usual: Duration::from_secs(600) };
        if trial.run(None)? != Outcome::Passed {
            bail!("the tests fail without a mutant: {:?}", trial.commands);
        }
        trial.usual = started.elapsed();
        Ok(trial)
    }

    /// Runs the tests on the mutant of that number.
    ///
    /// # Errors
    /// They cannot be started.
    pub(super) fn run(&self, mutant: Option<usize>) -> Result<Outcome> {
        for command in &self.commands {
            let outcome = self.run_one(command, mutant)?;
            if outcome != Outcome::Passed {
                return Ok(outcome);
            }
        }
        Ok(Outcome::Passed)
    }

    fn run_one(&self, words: &[OsString], mutant: Option<usize>) -> Result<Outcome> {
        let processor = (self.usual * 3).as_secs() + 5;
        let mut command = Command::new("sh");
        forget_outer_cargo(&mut command);
        command.args(["-c", LIMITED, "sh", &processor.to_string(), &MEMORY.to_string()]);
        command.args(words).current_dir(&self.folder);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        // Shrinking a failure takes long and shows nothing here.
        command.env("PROPTEST_MAX_SHRINK_ITERS", "0").env_remove(VARIABLE);
        command.envs(mutant.map(|number| (VARIABLE, number.to_string())));
        // A group of its own, so that what the tests have started ends with them.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("cannot start `sh`")?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("no group")?;
        let output = child.stdout.take().context("no output")?;

        let (done, waiting) = mpsc::channel::<()>();
        let patience = self.usual * 10 + Duration::from_secs(120);
        let watchdog = thread::spawn(move || {
            let hangs = waiting.recv_timeout(patience) == Err(RecvTimeoutError::Timeout);
            if hangs {
                let _ = kill_process_group(group, Signal::KILL);
            }
            hangs
        });
        let failed = BufReader::new(output)
            .split(b'\n')
            .map_while(Result::ok)
            .any(|line| line.trim_ascii_end().ends_with(b"FAILED"));
        drop(done);
        let hangs = watchdog.join().unwrap_or_default();
        // Also if it has passed: a process that a test left behind.
        if failed {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let status = child.wait()?;
        let _ = kill_process_group(group, Signal::KILL);
        Ok(match (hangs, failed || !status.success()) {
            (true, _) => Outcome::Hung,
            (false, true) => Outcome::Failed,
            (false, false) => Outcome::Passed,
        })
    }
}
