//! Child processes that never outlive us, not even when we are killed, and their folder.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{LazyLock, Mutex, mpsc},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::wait::{PATIENCE, until};

/// How much of a log is shown when something failed.
const LOG_TAIL_LINES: usize = 40;
const FOLDER_PREFIX: &str = "finality-devnet-";

type Spawned = io::Result<Child>;

/// The kernel sends the parent-death signal when the *thread* that spawned the child ends, so all
/// children come from one thread that lives as long as the process.
static SPAWNER: LazyLock<mpsc::Sender<(Command, mpsc::Sender<Spawned>)>> = LazyLock::new(|| {
    let (orders, inbox) = mpsc::channel::<(Command, mpsc::Sender<Spawned>)>();
    std::thread::Builder::new()
        .name("spawner".into())
        .spawn(move || {
            for (mut command, answer) in inbox {
                let _ = answer.send(command.spawn());
            }
        })
        .unwrap();
    orders
});

/// A running program. Dropping it kills the program and waits for its end; if that is because of a
/// panic, the end of its log is shown.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` with its output appended to `<folder>/<name>.log`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start<A: AsRef<OsStr>>(
        name: &str,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        folder: &Path,
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(arguments)
            .current_dir(folder)
            // No setting of the caller's environment may reach the programs.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder)
            // Ctrl-C in a terminal is for us alone; we stop the others.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        let (answer, spawned) = mpsc::channel();
        SPAWNER.send((command, answer)).unwrap();
        let child = spawned.recv().unwrap().unwrap_or_else(|error| {
            panic!("cannot start {name} by setpriv (of Debian's util-linux): {error}")
        });
        Self { name: name.into(), child, log }
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status if the program has ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Kills the program (SIGKILL) and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks the program to stop (SIGTERM) and waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn stop(&mut self) -> ExitStatus {
        let id = Pid::from_child(&self.child);
        let _ = kill_process(id, Signal::TERM);
        let what = format!("{} to end after SIGTERM", self.name);
        until(&what, PATIENCE, async || self.ended()).await
    }

    /// Waits until the program has done its work.
    ///
    /// # Panics
    /// When it fails, or does not end.
    pub async fn finish(mut self) {
        let what = format!("{} to end", self.name);
        let status = until(&what, PATIENCE, async || self.ended()).await;
        assert!(status.success(), "{} ended: {status}", self.name);
    }

    /// All that the program has printed.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let tail = self.log_tail();
        if std::thread::panicking() && !tail.is_empty() {
            eprintln!("----- the end of the log of {}\n{tail}\n", self.name);
        }
    }
}

/// A program that may be stopped and started again. It ends when this is dropped.
#[derive(Debug)]
pub struct Service {
    name: String,
    program: PathBuf,
    folder: PathBuf,
    process: Mutex<Option<Process>>,
}

impl Service {
    /// A program that is not running yet; its log and its files are in `folder`.
    #[must_use]
    pub fn new(name: &str, program: &Path, folder: &Path) -> Self {
        let process = Mutex::new(None);
        Self { name: name.into(), program: program.into(), folder: folder.into(), process }
    }

    /// Starts it, without waiting for anything.
    ///
    /// # Panics
    /// When it is running already, or cannot be started.
    pub fn start<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) {
        let mut process = self.process.lock().unwrap();
        assert!(process.is_none(), "{} is running already", self.name);
        *process = Some(Process::start(&self.name, &self.program, arguments, &self.folder));
    }

    /// Waits until it answers, which `probe` finds out.
    ///
    /// # Panics
    /// When it ends instead, or does not answer.
    pub async fn answers(&self, mut probe: impl AsyncFnMut() -> Option<()>) {
        until(&format!("{} to answer", self.name), PATIENCE, async || {
            self.assert_running();
            probe().await
        })
        .await;
    }

    fn assert_running(&self) {
        let mut process = self.process.lock().unwrap();
        let process = process.as_mut().unwrap_or_else(|| panic!("{} was not started", self.name));
        if let Some(status) = process.ended() {
            panic!("{} ended: {status}", self.name);
        }
    }

    /// Whether it was started, and neither killed nor stopped since.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.lock().unwrap().is_some()
    }

    /// Its exit status if it was started and has ended by itself since.
    ///
    /// # Panics
    /// When its state cannot be read.
    #[must_use]
    pub fn ended(&self) -> Option<ExitStatus> {
        self.process.lock().unwrap().as_mut()?.ended()
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub fn kill(&self) {
        // Dropping kills and waits.
        drop(self.process.lock().unwrap().take());
    }

    /// Asks it to stop (SIGTERM) and waits for its end.
    ///
    /// # Panics
    /// When it was not started, or does not end.
    pub async fn stop(&self) -> ExitStatus {
        let process = self.process.lock().unwrap().take();
        process.unwrap_or_else(|| panic!("{} was not started", self.name)).stop().await
    }

    /// Lets it do nothing until it is resumed (SIGSTOP).
    ///
    /// # Panics
    /// When it is not running.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after a pause.
    ///
    /// # Panics
    /// When it is not running.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.lock().unwrap();
        let process = process.as_ref().unwrap_or_else(|| panic!("{} was not started", self.name));
        kill_process(Pid::from_child(&process.child), signal).unwrap();
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it is not running.
    #[must_use]
    pub fn id(&self) -> u32 {
        let process = self.process.lock().unwrap();
        process.as_ref().unwrap_or_else(|| panic!("{} was not started", self.name)).id()
    }

    /// All that it has printed, over all its starts.
    ///
    /// # Panics
    /// When it is not running.
    #[must_use]
    pub fn log(&self) -> String {
        let process = self.process.lock().unwrap();
        process.as_ref().unwrap_or_else(|| panic!("{} was not started", self.name)).log()
    }
}

/// A new folder for one devnet, removed when dropped. Folders that a killed devnet left are removed
/// too.
///
/// # Panics
/// When the folder cannot be made.
#[must_use]
pub fn folder() -> TempDir {
    static SWEEP: LazyLock<()> = LazyLock::new(sweep);
    LazyLock::force(&SWEEP);
    let prefix = format!("{FOLDER_PREFIX}{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir().unwrap()
}

/// Copies the logs of a scenario that failed to where `FINALITY_E2E_LOGS` says, if it does.
pub fn keep_logs(folder: &Path) {
    let Some(all) = std::env::var_os("FINALITY_E2E_LOGS") else { return };
    let scenario = std::thread::current().name().unwrap_or("unknown").replace("::", "-");
    let kept = PathBuf::from(all).join(scenario);
    let copy = || -> io::Result<()> {
        std::fs::create_dir_all(&kept)?;
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if let (Some("log"), Some(name)) =
                (path.extension().and_then(OsStr::to_str), path.file_name())
            {
                std::fs::copy(&path, kept.join(name))?;
            }
        }
        Ok(())
    };
    match copy() {
        Ok(()) => eprintln!("all logs: {}", kept.display()),
        Err(error) => eprintln!("the logs are lost: {error}"),
    }
}

/// Removes the folders whose owner is gone.
fn sweep() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(FOLDER_PREFIX))
            .and_then(|rest| rest.split('-').next())
            .and_then(|id| id.parse::<u32>().ok());
        if owner.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_process_logs_stops_and_dies() {
        let folder = folder();
        let script = "echo hello; exec sleep 1000";
        let mut first =
            Process::start("first", Path::new("/bin/sh"), ["-c", script], folder.path());
        until("a log line", Duration::from_secs(5), async || {
            first.log().contains("hello").then_some(())
        })
        .await;
        assert!(first.ended().is_none());
        assert!(!first.stop().await.success());

        let second = Process::start("second", Path::new("/bin/sleep"), ["1000"], folder.path());
        let alive = PathBuf::from(format!("/proc/{}", second.id()));
        assert!(alive.exists());
        drop(second);
        assert!(!alive.exists());
    }
}
