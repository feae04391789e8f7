//! The limit of open files, shared between connections and the sidecar's own files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::api::server::EXCESS;

/// Files beside client connections: state file, dependencies, runtime, and connections beyond the
/// limit.
const RESERVE: u64 = 128 + EXCESS as u64;

/// Raises the limit as far as allowed, and returns how many of `max_connections` fit into it:
/// connections that use the last file would stop verification, and keep the state file from being
/// written.
pub(super) fn room_for(max_connections: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None means unlimited.
    let Some(soft) = current else { return max_connections };
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if raised.is_ok() { maximum.unwrap_or(u64::MAX) } else { soft };
    let room = limit.saturating_sub(RESERVE).max(limit / 4).max(1);
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if room < max_connections {
        tracing::warn!(
            limit,
            room,
            max_connections,
            "the open-file limit allows fewer connections than max_connections: raise the limit \
             or lower max_connections"
        );
    }
    room.min(max_connections)
}
