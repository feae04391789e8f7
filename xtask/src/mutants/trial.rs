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
use tempfile::TempDir;

use super::embed::CHOSEN;
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

/// How tests are run, and how long they take.
#[derive(Debug)]
pub(super) struct Trial {
    folder: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    /// For what tests leave behind that were ended.
    temporary: TempDir,
    /// The time without a mutant.
    usual: Duration,
}

impl Trial {
    /// Runs a command without a mutant.
    ///
    /// # Errors
    /// It fails.
    pub(super) fn new(
        folder: PathBuf,
        environment: Vec<(&'static str, OsString)>,
        words: &[OsString],
    ) -> Result<Self> {
        let started = Instant::now();
        let temporary = tempfile::tempdir()?;
        let mut trial = Self { folder, environment, temporary, usual: Duration::ZERO };
        if trial.run_within(words, Duration::from_secs(600), None)? != Outcome::Passed {
            bail!("the tests fail without a mutant: {words:?}");
        }
        trial.usual = started.elapsed();
        Ok(trial)
    }

    /// Runs a command on the mutant of that number. It has `share` of the tests that were measured.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn run(&self, words: &[OsString], share: f64, mutant: usize) -> Result<Outcome> {
        self.run_within(words, self.usual.mul_f64(share), Some(mutant))
    }

    /// Later runs have another variable.
    pub(super) fn without(mut self, variable: &str) -> Self {
        self.environment.retain(|(name, _)| *name != variable);
        self
    }

    fn run_within(
        &self,
        words: &[OsString],
        usual: Duration,
        mutant: Option<usize>,
    ) -> Result<Outcome> {
        let processor = (usual * 4).as_secs() + 10;
        let mut command = Command::new("sh");
        forget_outer_cargo(&mut command);
        command.args(["-c", LIMITED, "sh", &processor.to_string(), &MEMORY.to_string()]);
        command.args(words).current_dir(&self.folder);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env("TMPDIR", self.temporary.path());
        // Shrinking a failure takes long and shows nothing here.
        command.env("PROPTEST_MAX_SHRINK_ITERS", "0").env_remove(CHOSEN);
        command.envs(mutant.map(|number| (CHOSEN, number.to_string())));
        // A group of its own, so that what the tests have started ends with them.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("cannot start `sh`")?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("no group")?;
        let output = child.stdout.take().context("no output")?;

        let (done, waiting) = mpsc::channel::<()>();
        let patience = usual * 10 + Duration::from_secs(60);
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
        if failed {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let status = child.wait()?;
        // What a test has left behind.
        let _ = kill_process_group(group, Signal::KILL);
        Ok(match (hangs, failed || !status.success()) {
            (true, _) => Outcome::Hung,
            (false, true) => Outcome::Failed,
            (false, false) => Outcome::Passed,
        })
    }
}
