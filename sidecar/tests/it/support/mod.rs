//! What several tests need.

pub(crate) mod api;
pub(crate) mod canned;
pub(crate) mod command;
pub(crate) mod http;
pub(crate) mod process;

use std::time::Duration;

/// Nothing takes nearly as long; a longer wait is a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
