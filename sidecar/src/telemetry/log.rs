//! Log set-up: one event per change of state, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::{
    EnvFilter, Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt,
};

use super::Traces;

/// Form of the log on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// One line of text for each event.
    Text,
    /// One JSON object for each event.
    Json,
}

/// Starts the log of this process, and its traces if there are any. `level` is a level or filter
/// directives, checked with the configuration; it does not matter to traces. A second call has no effect.
pub fn start(level: &str, format: Format, traces: Option<&Traces>) {
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        Format::Auto => !terminal,
        Format::Text => false,
        Format::Json => true,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = if json {
        layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    } else {
        layer.with_ansi(terminal).boxed()
    };
    let spans = traces.map(|traces| {
        let ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), tracing::Level::DEBUG);
        tracing_opentelemetry::layer().with_tracer(traces.tracer()).with_filter(ours)
    });
    let registry = tracing_subscriber::registry().with(layer.with_filter(EnvFilter::new(level)));
    // It fails only when a log was started before, as in tests.
    drop(registry.with(spans).try_init());
}
