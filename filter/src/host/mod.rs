//! Calls to the host, in types of our own. Beside [`contexts`](crate::contexts), this is the only
//! module that names the SDK.
//!
//! The SDK returns the refusals that it expects and panics on any other. Each function here says
//! why Envoy gives no other, read in `context.cc` of Envoy and `exports.cc` of
//! proxy-wasm-cpp-host. Two refusals are the same everywhere: "invalid memory access" is about
//! pointers, and the SDK passes none that is outside this module; and a call that
//! `capability_restriction_config` forbids is an internal failure, so that list must be complete
//! (`docs/filter.md`).

mod headers;
mod shared_data;

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use proxy_wasm::{
    hostcalls,
    types::{BufferType, LogLevel, MetricType, Status},
};

pub use self::{
    headers::{HeaderList, Headers},
    shared_data::{Version, compare_and_swap, seed_shared_data, set_shared_data, shared_data},
};

/// A status other than 0 (ok), as the host gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostError(pub u32);

impl HostError {
    /// Another writer was faster; see [`set_shared_data`].
    pub const CAS_MISMATCH: Self = Self(Status::CasMismatch as u32);
}

impl From<Status> for HostError {
    fn from(status: Status) -> Self {
        Self(status as u32)
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            1 => "not found",
            2 => "bad argument",
            6 => "invalid memory access",
            8 => "compare-and-swap mismatch",
            10 => "internal failure",
            12 => "unimplemented",
            other => return write!(f, "host status {other}"),
        };
        f.write_str(name)
    }
}

impl std::error::Error for HostError {}

/// Result of a host call.
pub type Result<T> = std::result::Result<T, HostError>;

/// Level of a log line; the host may filter further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Info,
    Warn,
    Error,
}

/// Writes a line to the host's log. Envoy accepts every line of a known level.
pub fn log(level: Level, message: &str) {
    let level = match level {
        Level::Info => LogLevel::Info,
        Level::Warn => LogLevel::Warn,
        Level::Error => LogLevel::Error,
    };
    let _ = hostcalls::log(level, message);
}

/// The wall clock, in nanoseconds since 1970. Envoy always knows it.
#[must_use]
pub fn now_nanoseconds() -> u64 {
    since_1970().map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// The wall clock, in milliseconds since 1970.
#[must_use]
pub fn now() -> u64 {
    since_1970().map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn since_1970() -> Option<Duration> {
    hostcalls::get_current_time().ok()?.duration_since(UNIX_EPOCH).ok()
}

/// Sets the period in which the host calls the tick callback of the current root context. Envoy
/// takes any.
///
/// # Errors
/// The host's error.
pub fn set_tick_period(period: Duration) -> Result<()> {
    Ok(hostcalls::set_tick_period(within_u32_milliseconds(period))?)
}

/// The SDK cuts longer durations to the lower 32 bits.
fn within_u32_milliseconds(duration: Duration) -> Duration {
    duration.min(Duration::from_millis(u32::MAX.into()))
}

/// Bytes that the host holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buffer {
    /// Body of the current request, as far as it is buffered.
    RequestBody,
    /// Body of the answer to a call; see [`dispatch`].
    CallResponseBody,
    /// Configuration of the plugin.
    PluginConfiguration,
}

/// The first `max_size` bytes of a buffer; none where Envoy has no such buffer. Envoy's "bad
/// argument" is for a range that overflows, and this one begins at 0.
///
/// # Errors
/// The host's error.
pub fn buffer(buffer: Buffer, max_size: usize) -> Result<Vec<u8>> {
    let buffer = match buffer {
        Buffer::RequestBody => BufferType::HttpRequestBody,
        Buffer::CallResponseBody => BufferType::HttpCallResponseBody,
        Buffer::PluginConfiguration => BufferType::PluginConfiguration,
    };
    Ok(hostcalls::get_buffer(buffer, 0, max_size)?.unwrap_or_default())
}

/// Replaces the first `front` bytes of the buffered body of the current request; all of it where it
/// has no more. Envoy's "bad argument" is for a change inside the body, or where there is no body
/// at all: the caller has just read bytes of it.
///
/// # Errors
/// The host's error; the body is then unchanged.
pub fn replace_request_body(front: usize, body: &[u8]) -> Result<()> {
    Ok(hostcalls::set_buffer(BufferType::HttpRequestBody, 0, front, body)?)
}

/// Sends a request without a body to a cluster. The answer always comes, with the token returned
/// here, to the context that sends; after `timeout` as an answer with status 504 that the host
/// makes up. It is lost when that context is gone by then. Envoy refuses a cluster that it does not
/// know ("bad argument") or cannot reach ("internal failure"), and both are returned. Its tokens
/// differ within a VM, which the SDK relies on.
///
/// # Errors
/// The host's error.
pub fn dispatch(cluster: &str, headers: &[(&str, &str)], timeout: Duration) -> Result<u32> {
    let timeout = within_u32_milliseconds(timeout);
    Ok(hostcalls::dispatch_http_call(cluster, headers.to_vec(), None, Vec::new(), timeout)?)
}

/// Resumes the current request. Envoy accepts it for every HTTP stream.
///
/// # Errors
/// The host's error.
pub fn resume_request() -> Result<()> {
    Ok(hostcalls::resume_http_request()?)
}

/// Answers the current request in place of the node. Envoy accepts any answer, and sends none if
/// the client is gone.
///
/// # Errors
/// The host's error.
pub fn reply(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Result<()> {
    Ok(hostcalls::send_http_response(status.into(), headers.to_vec(), Some(body))?)
}

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// It only rises.
    Counter,
    /// It is set.
    Gauge,
}

/// A metric of the host, the same for all workers that define the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric(u32);

impl Metric {
    /// Defines a metric. Envoy accepts every name.
    ///
    /// # Errors
    /// The host's error.
    pub fn define(kind: MetricKind, name: &str) -> Result<Self> {
        let kind = match kind {
            MetricKind::Counter => MetricType::Counter,
            MetricKind::Gauge => MetricType::Gauge,
        };
        Ok(Self(hostcalls::define_metric(kind, name)?))
    }

    /// Adds to a counter. If the host refuses, only the count is lost.
    pub fn add(self, count: u64) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let _ = hostcalls::increment_metric(self.0, count);
    }

    /// Sets a gauge. If the host refuses, the old value stays.
    pub fn set(self, value: u64) {
        let _ = hostcalls::record_metric(self.0, value);
    }
}
