//! Standard error, without waiting for its reader: a log that is not read must not stop the
//! sidecar.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait for the reader at most; further ones are dropped and counted.
const LINES: usize = 4096;
/// How long the end of the process waits for the reader.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// Writes lines in a thread of its own.
#[derive(Debug, Clone)]
pub struct Stderr {
    lines: SyncSender<Vec<u8>>,
    backlog: Arc<Backlog>,
}

#[derive(Debug, Default)]
struct Backlog {
    /// Lines that are not written yet.
    waiting: Mutex<usize>,
    written: Condvar,
    dropped: AtomicU64,
}

impl Stderr {
    /// Starts the thread, which ends with the process.
    pub(super) fn start() -> Self {
        let (lines, receiver) = sync_channel(LINES);
        let backlog = Arc::<Backlog>::default();
        let shared = Arc::clone(&backlog);
        std::thread::spawn(move || write_lines(&receiver, &shared, io::stderr()));
        Self { lines, backlog }
    }

    /// Waits until everything is written, for a second at most.
    pub fn flush(&self) {
        let mut waiting = self.backlog.waiting.lock();
        let written = &self.backlog.written;
        written.wait_while_for(&mut waiting, |waiting| *waiting > 0, FLUSH_LIMIT);
    }
}

fn write_lines(lines: &Receiver<Vec<u8>>, backlog: &Backlog, mut out: impl Write) {
    loop {
        let line = match lines.try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                let dropped = backlog.dropped.swap(0, Ordering::Relaxed);
                if dropped > 0 {
                    tracing::warn!(lines = dropped, "log lines were dropped: nothing read them");
                }
                let Ok(line) = lines.recv() else { return };
                line
            }
        };
        // There is nowhere else to report a failure.
        drop(out.write_all(&line));
        *backlog.waiting.lock() -= 1;
        backlog.written.notify_all();
    }
}

impl Write for &Stderr {
    /// Takes a whole line: the log writes each in one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Counted first, so that the thread never counts below zero.
        *self.backlog.waiting.lock() += 1;
        if self.lines.try_send(line.to_vec()).is_err() {
            *self.backlog.waiting.lock() -= 1;
            self.backlog.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}
