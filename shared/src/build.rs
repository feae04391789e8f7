//! Build identity, the same in every artifact: `--version`, the first log line, metrics.

/// Version of the workspace, such as `0.1.0`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Abbreviated hash of the git commit, or `unknown` for a build outside a repository.
pub const COMMIT: &str = env!("FINALITY_COMMIT");
/// Target triple, such as `x86_64-unknown-linux-gnu`.
pub const TARGET: &str = env!("FINALITY_TARGET");
/// Version, commit and target in one line.
pub const LINE: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("FINALITY_COMMIT"),
    ", ",
    env!("FINALITY_TARGET"),
    ")"
);
