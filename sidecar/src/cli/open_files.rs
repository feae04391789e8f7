//! The system's limit of open files, against the connections that are allowed.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the sidecar needs beside its clients' connections: state file, dependencies, runtime.
const RESERVE: u64 = 128;

/// Raises the limit as far as this user may, and says so when it is still too low: connections that
/// take the last file would keep the state file from being written.
pub(super) fn raise_limit(max_connections: usize) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // An unlimited number is none.
    let Some(soft) = current else { return };
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if raised.is_ok() { maximum.unwrap_or(u64::MAX) } else { soft };
    if limit < (max_connections as u64).saturating_add(RESERVE) {
        tracing::warn!(
            limit,
            max_connections,
            "the limit of open files is too low for max_connections: raise it, or lower max_connections"
        );
    }
}
