//! Runs tests on a mutant, until the first that fails.

use std::{
    ffi::OsString,
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
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

/// Tests that wait all that time without using a processor wait for what never comes.
const IDLE: Duration = Duration::from_secs(30);

/// How long tests may take that have not been measured.
const FIRST: Duration = Duration::from_secs(600);

/// What counts as using it, in ticks of the system (hundredths of a second) within that time: a
/// timer that goes on ticking uses less.
const BUSY_TICKS: u64 = 10;

/// What notices a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    Failed,
    /// It neither passed nor failed in a time that is enough on a busy machine, or does nothing.
    Hung,
}

/// How tests are run, and how long they take without a mutant.
#[derive(Debug)]
pub(super) struct Trial {
    folder: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    /// For what tests leave behind that were ended.
    temporary: TempDir,
    /// What the run without a mutant wrote, and after what time since the line before.
    lines: Vec<(String, Duration)>,
    /// How long it may do nothing.
    idle: Duration,
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
        let temporary = tempfile::tempdir()?;
        let mut trial = Self { folder, environment, temporary, lines: Vec::new(), idle: IDLE };
        let mut last = Instant::now();
        let mut lines = Vec::new();
        let write_down = |line: &str| {
            let before = std::mem::replace(&mut last, Instant::now());
            lines.push((line.to_owned(), last.duration_since(before)));
        };
        if trial.run_within(words, FIRST, None, write_down)? != Outcome::Passed {
            bail!("the tests fail without a mutant: {words:?}");
        }
        trial.lines = lines;
        Ok(trial)
    }

    /// How long it took without a mutant.
    pub(super) fn usual(&self) -> Duration {
        self.lines.iter().map(|(_, time)| *time).sum()
    }

    /// How long each test took, if they ran one after the other.
    pub(super) fn times(&self) -> impl Iterator<Item = (&str, Duration)> {
        self.lines.iter().filter_map(|(line, time)| {
            let (name, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
            outcome.starts_with("ok").then_some((name, *time))
        })
    }

    /// Runs a command on the mutant of that number. It takes `usual` without it.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn run(
        &self,
        words: &[OsString],
        usual: Duration,
        mutant: usize,
    ) -> Result<Outcome> {
        self.run_within(words, usual, Some(mutant), |_| {})
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
        mut wrote: impl FnMut(&str),
    ) -> Result<Outcome> {
        let processor = (usual * 3).as_secs() + 5;
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

        let (done, ended) = mpsc::channel::<()>();
        let (patience, idle) = (usual * 10 + Duration::from_secs(60), self.idle);
        let watchdog = thread::spawn(move || {
            let hangs = hangs(group, &ended, patience, idle);
            if hangs {
                let _ = kill_process_group(group, Signal::KILL);
            }
            hangs
        });
        let mut lines = BufReader::new(output).split(b'\n').map_while(Result::ok);
        let failed = lines.any(|line| {
            let line = String::from_utf8_lossy(&line);
            wrote(&line);
            line.trim_end().ends_with("FAILED")
        });
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

/// Waits until a group of processes has ended, and returns false, or until it has run for longer
/// than `patience` or done nothing for `idle`.
fn hangs(group: Pid, ended: &Receiver<()>, patience: Duration, idle: Duration) -> bool {
    let started = Instant::now();
    let mut used = Some(0);
    while let Some(left) = patience.checked_sub(started.elapsed()) {
        if ended.recv_timeout(idle.min(left)) != Err(RecvTimeoutError::Timeout) {
            return false;
        }
        let before = std::mem::replace(&mut used, used_ticks(group));
        // Less than before is used once a process is gone that nobody has waited for.
        let more = used.zip(before).and_then(|(used, before)| used.checked_sub(before));
        if left > idle && more.is_some_and(|more| more < BUSY_TICKS) {
            return true;
        }
    }
    true
}

/// The processor time of a group of processes and of what they have waited for, where the system
/// shows it.
fn used_ticks(group: Pid) -> Option<u64> {
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let stats =
        processes.filter_map(|process| fs::read_to_string(process.path().join("stat")).ok());
    let group = group.as_raw_nonzero().to_string();
    let ticks = stats.filter_map(|stat| {
        // After the name, which may contain anything: state, parent, group, and from the 12th on
        // the times.
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let is_member = fields.get(2).is_some_and(|found| **found == group);
        let times = fields.get(11..15).filter(|_| is_member)?;
        Some(times.iter().filter_map(|time| time.parse::<u64>().ok()).sum::<u64>())
    });
    let mut ticks = ticks.peekable();
    ticks.peek()?;
    Some(ticks.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial() -> Trial {
        Trial {
            folder: "/".into(),
            environment: Vec::new(),
            temporary: tempfile::tempdir().unwrap(),
            lines: Vec::new(),
            idle: Duration::from_secs(1),
        }
    }

    fn outcome(script: &str) -> Outcome {
        let words = ["sh", "-c", script].map(OsString::from);
        trial().run(&words, Duration::ZERO, 1).unwrap()
    }

    #[test]
    fn what_waits_for_ever_hangs_and_what_works_does_not() {
        assert_eq!(outcome("sleep 1000"), Outcome::Hung);
        assert_eq!(outcome("sleep 1000 & wait"), Outcome::Hung);
        // Long enough for several looks at its processor time.
        let works = "end=$(($(date +%s) + 4)); while [ $(date +%s) -lt $end ]; do :; done";
        assert_eq!(outcome(works), Outcome::Passed);
        assert_eq!(outcome("echo test a ... FAILED; sleep 1000"), Outcome::Failed);
    }
}
