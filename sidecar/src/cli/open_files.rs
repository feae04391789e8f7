//! The limit of open files, compared with `max_connections`.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beside client connections: state file, dependencies, runtime.
const RESERVE: u64 = 128;

/// Raises the limit as far as allowed, and warns if it is still too low: connections that use the
/// last file would keep the state file from being written.
pub(super) fn raise_limit(max_connections: usize) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None means unlimited.
    let Some(soft) = current else { return };
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if raised.is_ok() { maximum.unwrap_or(u64::MAX) } else { soft };
    if limit < (max_connections as u64).saturating_add(RESERVE) {
        tracing::warn!(
            limit,
            max_connections,
            "the open-file limit is too low for max_connections: raise the limit or lower \
             max_connections"
        );
    }
}
