//! The log, on standard error: one event per change of state.

use std::io::IsTerminal;

use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::Targets, layer::SubscriberExt, reload,
    util::SubscriberInitExt,
};

use super::{Traces, stderr::Stderr};

/// Format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// One line of text for each event.
    Text,
    /// One JSON object for each event.
    Json,
}

/// A running log.
#[derive(Debug, Clone)]
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    configured: String,
    stderr: Stderr,
}

impl Log {
    /// The level set by SIGUSR1: everything but single steps.
    const VERBOSE: &str = "debug";

    /// Logs more until [`Self::restore`].
    pub fn raise(&self) {
        self.set(Self::VERBOSE);
        tracing::info!(log_level = Self::VERBOSE, "log level changed");
    }

    /// Logs as configured.
    pub fn restore(&self) {
        tracing::info!(log_level = self.configured, "log level changed");
        self.set(&self.configured);
    }

    /// Waits until everything is written, but not for long if nothing reads it.
    pub fn flush(&self) {
        self.stderr.flush();
    }

    fn set(&self, level: &str) {
        // It fails only if the log is gone.
        drop(self.filter.reload(EnvFilter::new(level)));
    }
}

/// Starts the log of this process, and its traces if they are enabled. `level` is a level or a list
/// of filter directives, already validated; traces ignore it. A second call has no effect.
pub fn start(level: &str, format: Format, traces: Option<&Traces>) -> Log {
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        Format::Auto => !terminal,
        Format::Text => false,
        Format::Json => true,
    };
    let stderr = Stderr::start();
    let layer = tracing_subscriber::fmt::layer().with_writer(stderr.clone());
    let layer = if json {
        layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    } else {
        layer.with_ansi(terminal).boxed()
    };
    let spans = traces.map(|traces| {
        let ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), tracing::Level::DEBUG);
        tracing_opentelemetry::layer().with_tracer(traces.tracer()).with_filter(ours)
    });
    let (filter, handle) = reload::Layer::new(EnvFilter::new(level));
    let registry = tracing_subscriber::registry().with(layer.with_filter(filter));
    // It fails only if a log was started before, as in tests.
    drop(registry.with(spans).try_init());
    Log { filter: handle, configured: level.to_owned(), stderr }
}
