//! Instructions of an Envoy per request, counted by valgrind's callgrind: times on a busy machine
//! hide small changes, instructions do not.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    client::Connection,
    envoy::{Envoy, Settings},
};
use crate::process;

/// Requests before anything is counted, for caches and connections.
const WARM_UP: usize = 50;

/// Requests that are counted together, and how often.
const REQUESTS: usize = 100;
const PARTS: usize = 5;

/// How long the idle Envoy is counted.
const IDLE: Duration = Duration::from_secs(5);

/// An Envoy whose instructions are counted.
pub(super) struct Counted {
    pub(super) envoy: Envoy,
    /// Where callgrind writes its counts, each to a file with the next number.
    output: PathBuf,
    written: u32,
    /// Instructions per second while there are no requests.
    idle: f64,
}

impl Counted {
    /// Starts one.
    ///
    /// # Errors
    /// It does not start.
    pub(super) fn start(valgrind: &Path, name: &str, settings: &Settings<'_>) -> Result<Self> {
        let output = settings.folder.join(format!("{name}.callgrind"));
        let argument = format!("--callgrind-out-file={}", output.display());
        let wrapper = [valgrind.as_os_str(), OsStr::new("--tool=callgrind"), OsStr::new(&argument)];
        let envoy = Envoy::start(name, &Settings { wrapper: &wrapper, ..*settings })?;
        Ok(Self { envoy, output, written: 0, idle: 0.0 })
    }

    /// Counts what the Envoy does on its own, from which each request is then told apart.
    ///
    /// # Errors
    /// callgrind does not say.
    pub(super) fn settle(&mut self) -> Result<()> {
        self.since_last()?;
        let start = Instant::now();
        thread::sleep(IDLE);
        self.idle = self.since_last()? / start.elapsed().as_secs_f64();
        Ok(())
    }

    /// Instructions per request, the median of several counts.
    ///
    /// # Errors
    /// A request is not answered with 200, or callgrind does not say.
    pub(super) fn per_request(&mut self, request: &[u8]) -> Result<f64> {
        let mut connection = Connection::open(self.envoy.port)?;
        let mut send = |count: usize| -> Result<()> {
            for _ in 0..count {
                let (status, _) = connection.send(request)?;
                ensure!(status == 200, "answered with {status}");
            }
            Ok(())
        };
        send(WARM_UP)?;
        let mut counts = Vec::new();
        for _ in 0..PARTS {
            self.since_last()?;
            let start = Instant::now();
            send(REQUESTS)?;
            let idle = self.idle * start.elapsed().as_secs_f64();
            counts.push((self.since_last()? - idle) / REQUESTS as f64);
        }
        counts.sort_unstable_by(f64::total_cmp);
        counts.get(PARTS / 2).copied().context("there are counts")
    }

    /// Instructions since this was last asked.
    fn since_last(&mut self) -> Result<f64> {
        let id = self.envoy.id().to_string();
        process::output(Command::new("callgrind_control").args(["--dump=part", &id]))
            .context("callgrind_control")?;
        self.written += 1;
        let file = format!("{}.{}", self.output.display(), self.written);
        let text = fs::read_to_string(&file).with_context(|| file.clone())?;
        let totals = text.lines().find_map(|line| line.strip_prefix("totals: "));
        let totals = totals.with_context(|| format!("{file} has no totals"))?;
        fs::remove_file(&file)?;
        Ok(totals.trim().parse()?)
    }
}
