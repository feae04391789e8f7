//! Traces by OTLP over HTTP, off unless the standard `OTEL_…` variables name an endpoint.
//!
//! Spans stand for rounds of the verifier, requests to dependencies and requests to `/v1/…`. The
//! context of a trace comes in and goes out as W3C `traceparent`. An exporter that fails is said in
//! the log and disturbs nothing else.

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
    trace::{SdkTracer, SdkTracerProvider},
};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::runtime::Handle;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::quiet::{Line, Quiet};
use crate::redact;

const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
/// The protocol that there is, and the standard's default.
const PROTOCOL: &str = "http/protobuf";
/// The service, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` names it.
const SERVICE: &str = "finality-sidecar";
/// Limit for one export beside the standard's own, which bounds the whole.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why there are no traces though an endpoint is given.
#[derive(Debug, Error)]
pub enum TracesError {
    /// A protocol that is not built in.
    #[error("{variable} must be {PROTOCOL}, or not set")]
    Protocol {
        /// The variable.
        variable: &'static str,
    },
    /// Another variable is wrong; which one is not said, since its text may hold a secret.
    #[error(
        "the OTEL_EXPORTER_OTLP_… variables make no exporter: look at endpoint, headers and timeout"
    )]
    Exporter,
    /// There is no HTTP client.
    #[error("no HTTP client can be made")]
    Client,
}

/// Traces that are sent.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Traces as the environment asks for them, if it does; what is sent is sent on `runtime`.
    pub fn from_environment(
        variable: impl Fn(&str) -> Option<String>,
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
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.with_attribute(version).build())
            .build();
        Ok(Some(Self(provider)))
    }

    /// The maker of spans.
    pub(super) fn tracer(&self) -> SdkTracer {
        self.0.tracer(SERVICE)
    }

    /// Sends what is left, for `limit` at most. It blocks, and needs the runtime meanwhile.
    pub fn shut_down(&self, limit: Duration) {
        // What could not be sent was said by the client.
        drop(self.0.shutdown_with_timeout(limit));
    }
}

/// The span of a request from outside goes on with the trace of its `traceparent`, if it has one.
pub fn continue_trace(span: &Span, headers: &HeaderMap) {
    let context = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    // It fails when there are no traces.
    drop(span.set_parent(context));
}

/// The headers that let a dependency go on with the trace of the current span; none without traces.
#[must_use]
pub fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    let context = Span::current().context();
    TraceContextPropagator::new().inject_context(&context, &mut HeaderInjector(&mut headers));
    headers
}

/// Sends spans by the HTTP client that everything else uses, from whatever thread.
struct Client {
    http: reqwest::Client,
    runtime: Handle,
    quiet: Mutex<Quiet>,
}

impl Client {
    fn new(runtime: Handle) -> Result<Self, TracesError> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).referer(false).build();
        Ok(Self { http: http.map_err(|_| TracesError::Client)?, runtime, quiet: Mutex::default() })
    }

    fn log(&self, error: Option<&str>) {
        let mut quiet = self.quiet.lock();
        let line = match error {
            Some(error) => quiet.failed(error, Instant::now()),
            None => quiet.worked(Instant::now()),
        };
        let error = error.unwrap_or_default();
        match line {
            Line::Nothing => {}
            Line::Failed => tracing::warn!(error, "traces cannot be sent (OTEL_EXPORTER_OTLP_…)"),
            Line::StillFailing { times, since } => {
                tracing::warn!(error, times, ?since, "traces still cannot be sent");
            }
            Line::Recovered { after } => tracing::info!(?after, "traces are sent again"),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// Sends a request; of the answer only the status counts.
async fn send(http: reqwest::Client, request: Request<Bytes>) -> Result<u16, String> {
    // No error's own text: the endpoint and its headers may hold secrets.
    let (parts, body) = request.into_parts();
    // From a text: user info becomes a header only then, else the collector misses it and the log
    // has it.
    let request = http.request(parts.method, parts.uri.to_string());
    let sent = request.headers(parts.headers).body(body).send().await;
    let answer = sent.map_err(|error| redact::describe(&error))?;
    Ok(answer.status().as_u16())
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // The caller is a thread without a runtime.
        let sent = self.runtime.spawn(send(self.http.clone(), request)).await?;
        match &sent {
            Ok(200..=299) => self.log(None),
            Ok(status) => self.log(Some(&format!("HTTP status {status}"))),
            Err(error) => self.log(Some(error)),
        }
        Ok(Response::builder().status(sent?).body(Bytes::new())?)
    }
}
