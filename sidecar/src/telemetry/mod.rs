//! Log, metrics and traces.

mod encode;
mod gauges;
mod labels;
pub mod log;
pub mod metrics;
mod process;
mod stderr;
pub mod throttle;
pub mod traces;

pub use metrics::Metrics;
pub use traces::Traces;

#[cfg(test)]
mod tests;
