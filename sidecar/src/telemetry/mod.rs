//! Log and metrics.

pub mod log;
pub mod metrics;
pub mod quiet;

pub use metrics::Metrics;
