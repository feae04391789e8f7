//! Log, metrics and traces.

mod gauges;
pub mod log;
pub mod metrics;
pub mod quiet;
pub mod traces;

pub use metrics::Metrics;
pub use traces::Traces;
