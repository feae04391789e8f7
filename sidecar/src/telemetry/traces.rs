//! Traces by OTLP over HTTP, off unless the standard `OTEL_…` variables name an endpoint.
//!
//! There are spans for verification rounds, requests to dependencies and requests to `/v1/…`, for a
//! share of the traces (`trace_sample_ratio`) unless `OTEL_TRACES_SAMPLER` says otherwise. Trace
//! context is received and sent as W3C `traceparent`. A failing exporter is logged and affects
//! nothing else.

use std::{
    fmt,
    time::{Duration, Instant},
};

use axum::http::HeaderMap;
use opentelemetry::{KeyValue, propagation::TextMapPropagator, trace::TracerProvider};
use opentelemetry_http::{
    Bytes, HeaderExtractor, HeaderInjector, HttpClient, HttpError, Request, Response,
};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracer, SdkTracerProvider},
};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::runtime::Handle;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::throttle::{Line, LogThrottle};
use crate::redact;

const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
/// The only supported protocol, which is also the standard's default.
const PROTOCOL: &str = "http/protobuf";
/// The standard variable that chooses what is sampled.
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
/// The service name, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` has one.
const SERVICE: &str = "finality-sidecar";
/// Timeout of one request; the standard's own limit bounds an export.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why traces are disabled although an endpoint is set.
#[derive(Debug, Error)]
pub enum TracesError {
    /// An unsupported protocol.
    #[error("{variable} must be {PROTOCOL} or unset")]
    Protocol {
        /// The variable that names it.
        variable: &'static str,
    },
    /// Another variable is invalid; the exporter's own error may hold a secret.
    #[error("invalid OTEL_EXPORTER_OTLP_… variable: check endpoint, headers and timeout")]
    Exporter,
    /// The HTTP client cannot be created.
    #[error("cannot create an HTTP client")]
    Client,
}

/// Traces that are exported.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Traces as configured in the environment, if they are; they are sent on `runtime`. Of those
    /// that begin here, `share` is sampled; one that a client has begun follows its decision.
    pub fn from_environment(
        variable: impl Fn(&str) -> Option<String>,
        share: f64,
        runtime: Handle,
    ) -> Result<Option<Self>, TracesError> {
        let variable = |name: &str| variable(name).filter(|text| !text.trim().is_empty());
        let is_off = variable("OTEL_SDK_DISABLED")
            .is_some_and(|text| text.eq_ignore_ascii_case("true"))
            || variable("OTEL_TRACES_EXPORTER").is_some_and(|exporter| exporter != "otlp");
        if is_off || ENDPOINTS.iter().all(|name| variable(name).is_none()) {
            return Ok(None);
        }
        let protocol = PROTOCOLS.iter().find_map(|name| Some((*name, variable(name)?)));
        if let Some((variable, protocol)) = protocol
            && protocol != PROTOCOL
        {
            return Err(TracesError::Protocol { variable });
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new(runtime)?)
            .build()
            .map_err(|_| TracesError::Exporter)?;
        let mut resource = Resource::builder();
        let attributes = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        if variable("OTEL_SERVICE_NAME").is_none() && !attributes.contains("service.name=") {
            resource = resource.with_service_name(SERVICE);
        }
        let version = KeyValue::new("service.version", finality_core::build::VERSION);
        let mut provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.with_attribute(version).build());
        if variable(SAMPLER).is_none() {
            let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share)));
            provider = provider.with_sampler(sampler);
        }
        Ok(Some(Self(provider.build())))
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.0.tracer(SERVICE)
    }

    /// Sends remaining spans, for at most `limit`. It blocks, and needs the runtime.
    pub fn shut_down(&self, limit: Duration) {
        // The client has logged a failure.
        drop(self.0.shutdown_with_timeout(limit));
    }
}

/// The name of a span for a `GET` of that path: without its numbers, so that names stay few.
#[must_use]
pub fn name_of_path(path: &str) -> String {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = path.split('/').map(|part| if is_number(part) { "{number}" } else { part });
    format!("GET {}", parts.collect::<Vec<_>>().join("/"))
}

/// Makes the span of an incoming request a child of its `traceparent`, if it has one.
pub fn continue_trace(span: &Span, headers: &HeaderMap) {
    let context = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    // It fails if traces are disabled.
    drop(span.set_parent(context));
}

/// The headers that pass the current trace on to a dependency; none if traces are disabled.
#[must_use]
pub fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    let context = Span::current().context();
    TraceContextPropagator::new().inject_context(&context, &mut HeaderInjector(&mut headers));
    headers
}

/// Sends spans with the HTTP client that everything else uses, from any thread.
struct Client {
    http: reqwest::Client,
    runtime: Handle,
    throttle: Mutex<LogThrottle>,
}

impl Client {
    fn new(runtime: Handle) -> Result<Self, TracesError> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).referer(false).build();
        Ok(Self {
            http: http.map_err(|_| TracesError::Client)?,
            runtime,
            throttle: Mutex::default(),
        })
    }

    fn log(&self, error: Option<&str>) {
        let mut throttle = self.throttle.lock();
        let line = match error {
            Some(error) => throttle.failed(error, Instant::now()),
            None => throttle.worked(Instant::now()),
        };
        let error = error.unwrap_or_default();
        match line {
            Line::Nothing => {}
            Line::Failed => tracing::warn!(error, "cannot export traces (OTEL_EXPORTER_OTLP_…)"),
            Line::StillFailing { times, since } => {
                tracing::warn!(error, times, ?since, "still cannot export traces");
            }
            Line::Recovered { after } => tracing::info!(?after, "exporting traces again"),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// Sends a request and returns the status.
async fn send(http: reqwest::Client, request: Request<Bytes>) -> Result<u16, String> {
    // Never the error's own text: the endpoint and its headers may hold secrets.
    let (parts, body) = request.into_parts();
    // Parsed from text, so that user info becomes a header: else the collector misses it and the
    // log shows it.
    let request = http.request(parts.method, parts.uri.to_string());
    let sent = request.headers(parts.headers).body(body).send().await;
    let answer = sent.map_err(|error| redact::describe(&error))?;
    Ok(answer.status().as_u16())
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // The caller's thread has no runtime.
        let sent = self.runtime.spawn(send(self.http.clone(), request)).await?;
        match &sent {
            Ok(200..=299) => self.log(None),
            Ok(status) => self.log(Some(&format!("HTTP status {status}"))),
            Err(error) => self.log(Some(error)),
        }
        Ok(Response::builder().status(sent?).body(Bytes::new())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_path_has_no_numbers() {
        assert_eq!(
            name_of_path("availability/block/17/20/namespace/7"),
            "GET availability/block/{number}/{number}/namespace/{number}"
        );
        assert_eq!(name_of_path("status/block-height"), "GET status/block-height");
    }
}
