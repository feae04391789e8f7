//! The identity of this build, the same in every artifact: `--version`, first log line, metric.

/// The version of the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit it was built from, abbreviated, or `unknown`.
pub const COMMIT: &str = env!("FINALITY_COMMIT");
/// The target triple it was built for.
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
