//! Log and metrics.

mod gauges;
pub mod log;
pub mod metrics;
pub mod quiet;

pub use metrics::Metrics;
