//! Calls to the host: proxy-wasm ABI 0.2.1, each as a safe function that returns the host's
//! refusal.
//!
//! The public SDK panics on every host status that it does not expect, and a panic kills the
//! worker's VM. Here no status can do harm: whatever the host answers becomes a [`HostError`]. Only
//! what this filter needs is declared, so the module imports nothing else.

// Host calls pass pointers into this module's memory: the one place where that is done.
#![allow(unsafe_code)]

use std::{fmt, ptr, time::Duration};

/// A status other than 0 (ok), as the host gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostError(pub u32);

impl HostError {
    /// The host has no such entry.
    pub const NOT_FOUND: Self = Self(1);
    /// Another writer was faster; see [`set_shared_data`].
    pub const CAS_MISMATCH: Self = Self(8);
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            1 => "not found",
            2 => "bad argument",
            3 => "serialization failure",
            4 => "parse failure",
            6 => "invalid memory access",
            7 => "empty",
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

mod import {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        pub(super) fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
        pub(super) fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
        pub(super) safe fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
        pub(super) fn proxy_get_buffer_bytes(
            buffer: u32,
            start: usize,
            max_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_set_buffer_bytes(
            buffer: u32,
            start: usize,
            size: usize,
            data: *const u8,
            data_size: usize,
        ) -> u32;
        pub(super) fn proxy_get_header_map_pairs(
            map: u32,
            pairs: *mut *mut u8,
            pairs_size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_remove_header_map_value(
            map: u32,
            key: *const u8,
            key_size: usize,
        ) -> u32;
        pub(super) fn proxy_replace_header_map_value(
            map: u32,
            key: *const u8,
            key_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        pub(super) fn proxy_get_shared_data(
            key: *const u8,
            key_size: usize,
            value: *mut *mut u8,
            value_size: *mut usize,
            cas: *mut u32,
        ) -> u32;
        pub(super) fn proxy_set_shared_data(
            key: *const u8,
            key_size: usize,
            value: *const u8,
            value_size: usize,
            cas: u32,
        ) -> u32;
        pub(super) fn proxy_http_call(
            cluster: *const u8,
            cluster_size: usize,
            headers: *const u8,
            headers_size: usize,
            body: *const u8,
            body_size: usize,
            trailers: *const u8,
            trailers_size: usize,
            timeout_milliseconds: u32,
            token: *mut u32,
        ) -> u32;
        pub(super) safe fn proxy_set_effective_context(context: u32) -> u32;
        pub(super) safe fn proxy_continue_stream(stream: u32) -> u32;
        pub(super) fn proxy_send_local_response(
            status: u32,
            details: *const u8,
            details_size: usize,
            body: *const u8,
            body_size: usize,
            headers: *const u8,
            headers_size: usize,
            grpc_status: i32,
        ) -> u32;
        pub(super) fn proxy_define_metric(
            kind: u32,
            name: *const u8,
            name_size: usize,
            id: *mut u32,
        ) -> u32;
        pub(super) safe fn proxy_increment_metric(id: u32, offset: i64) -> u32;
        pub(super) safe fn proxy_record_metric(id: u32, value: u64) -> u32;
    }
}

const fn check(status: u32) -> Result<()> {
    if status == 0 { Ok(()) } else { Err(HostError(status)) }
}

/// Memory that the host asks this module for, to put an answer into. Null when there is none.
pub(crate) fn allocate(size: usize) -> *mut u8 {
    match std::alloc::Layout::from_size_align(size, 1) {
        // SAFETY: the layout is valid and not empty.
        Ok(layout) if size > 0 => unsafe { std::alloc::alloc(layout) },
        _ => ptr::null_mut(),
    }
}

/// Takes over bytes that the host put into memory from [`allocate`].
///
/// # Safety
/// `data` is null or came from [`allocate`] with exactly this size, and nobody else owns it.
unsafe fn take(data: *mut u8, size: usize) -> Vec<u8> {
    if data.is_null() || size == 0 {
        return Vec::new();
    }
    // SAFETY: by the contract above; the layout of a byte vector has alignment 1.
    unsafe { Vec::from_raw_parts(data, size, size) }
}

/// Level of a log line; the host may filter further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
    Critical = 5,
}

/// Writes a line to the host's log.
pub fn log(level: Level, message: &str) {
    // SAFETY: the message outlives the call. A log line that the host refuses is lost: nowhere to
    // say so.
    let _ = unsafe { import::proxy_log(level as u32, message.as_ptr(), message.len()) };
}

/// The wall clock, in nanoseconds since 1970; 0 when the host does not tell.
#[must_use]
pub fn now_nanoseconds() -> u64 {
    let mut nanoseconds = 0;
    // SAFETY: the pointer is to a live local.
    let status = unsafe { import::proxy_get_current_time_nanoseconds(&raw mut nanoseconds) };
    if status == 0 { nanoseconds } else { 0 }
}

/// The wall clock, in milliseconds since 1970; 0 when the host does not tell.
#[must_use]
pub fn now() -> u64 {
    now_nanoseconds() / 1_000_000
}

/// The period in which the host calls the tick callback of the current root context.
///
/// # Errors
/// What the host answers.
pub fn set_tick_period(period: Duration) -> Result<()> {
    check(import::proxy_set_tick_period_milliseconds(milliseconds(period)))
}

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// Bytes that the host holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buffer {
    /// Body of the current request, as far as it is buffered.
    RequestBody = 0,
    /// Body of the answer to a call; see [`dispatch`].
    CallResponseBody = 4,
    /// Configuration of the plugin.
    PluginConfiguration = 7,
}

/// The first `max_size` bytes of a buffer. Empty when the host has none.
///
/// # Errors
/// What the host answers.
pub fn buffer(buffer: Buffer, max_size: usize) -> Result<Vec<u8>> {
    let (mut data, mut size) = (ptr::null_mut(), 0);
    // SAFETY: the pointers are to live locals; the host fills memory that it got from `allocate`.
    let (status, bytes) = unsafe {
        let status = import::proxy_get_buffer_bytes(
            buffer as u32,
            0,
            max_size,
            &raw mut data,
            &raw mut size,
        );
        (status, take(data, size))
    };
    match check(status) {
        Err(HostError::NOT_FOUND) => Ok(Vec::new()),
        result => result.map(|()| bytes),
    }
}

/// Replaces the first `front` bytes of the buffered body of the current request; all of it where it
/// has no more.
///
/// # Errors
/// What the host answers; the body is then as it was.
pub fn replace_request_body(front: usize, body: &[u8]) -> Result<()> {
    // SAFETY: the body outlives the call.
    check(unsafe {
        import::proxy_set_buffer_bytes(
            Buffer::RequestBody as u32,
            0,
            front,
            body.as_ptr(),
            body.len(),
        )
    })
}

/// A map of headers that the host holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Headers {
    /// Of the current request.
    Request = 0,
    /// Trailers of the current request.
    RequestTrailers = 1,
    /// Of the current response.
    Response = 2,
    /// Of the answer to a call; see [`dispatch`].
    CallResponse = 6,
}

impl Headers {
    /// All headers, by one call: each call costs more than a look at what it brings. Empty when the
    /// host does not tell.
    #[must_use]
    pub fn all(self) -> HeaderList {
        let (mut data, mut size) = (ptr::null_mut(), 0);
        // SAFETY: the locals outlive the call; the host fills memory that it got from `allocate`.
        let (status, pairs) = unsafe {
            let status =
                import::proxy_get_header_map_pairs(self as u32, &raw mut data, &raw mut size);
            (status, take(data, size))
        };
        HeaderList(if status == 0 { pairs } else { Vec::new() })
    }

    /// Sets a header: whatever values it had are gone.
    ///
    /// # Errors
    /// What the host answers.
    pub fn set(self, name: &str, value: &str) -> Result<()> {
        // SAFETY: name and value outlive the call.
        check(unsafe {
            import::proxy_replace_header_map_value(
                self as u32,
                name.as_ptr(),
                name.len(),
                value.as_ptr(),
                value.len(),
            )
        })
    }

    /// Removes all values of a header, if there are any.
    ///
    /// # Errors
    /// What the host answers.
    pub fn remove(self, name: &str) -> Result<()> {
        // SAFETY: the name outlives the call.
        let status = unsafe {
            import::proxy_remove_header_map_value(self as u32, name.as_ptr(), name.len())
        };
        match check(status) {
            Err(HostError::NOT_FOUND) => Ok(()),
            result => result,
        }
    }
}

/// Headers that the host has told, in the ABI's form (see `pairs`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderList(Vec<u8>);

impl HeaderList {
    /// The first values of these headers that are not empty.
    #[must_use]
    pub fn get<const N: usize>(&self, names: [&str; N]) -> [Option<&[u8]>; N] {
        let mut found = [None; N];
        self.find(&names, &mut found);
        found
    }

    fn find<'a>(&'a self, names: &[&str], found: &mut [Option<&'a [u8]>]) {
        for (name, value) in self.iter().filter(|(_, value)| !value.is_empty()) {
            let mut wanted = names.iter().zip(found.iter_mut());
            if let Some((_, found)) = wanted.find(|(wanted, _)| wanted.as_bytes() == name) {
                found.get_or_insert(value);
            }
        }
    }

    /// Names and values; what does not keep to the form is left out.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let (count, rest) = self.0.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
        let sizes = word(*count).saturating_mul(8);
        let (sizes, mut texts) = rest.split_at_checked(sizes).unwrap_or_default();
        let mut text = move |size: &[u8; 4]| {
            let (text, rest) = texts.split_at_checked(word(*size))?;
            texts = rest.get(1..)?;
            Some(text)
        };
        let (sizes, _) = sizes.as_chunks::<4>();
        let (sizes, _) = sizes.as_chunks::<2>();
        sizes.iter().map_while(move |[name, value]| Some((text(name)?, text(value)?)))
    }
}

fn word(bytes: [u8; 4]) -> usize {
    usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
}

/// The version of a value in shared data, for compare-and-swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version(u32);

/// A value of the data that all workers of this Envoy share, and its version.
///
/// # Errors
/// What the host answers; a key that was never set is `Ok(None)`.
pub fn shared_data(key: &str) -> Result<Option<(Vec<u8>, Version)>> {
    let (mut data, mut size, mut cas) = (ptr::null_mut(), 0, 0);
    // SAFETY: key and locals outlive the call; the host fills memory that it got from `allocate`.
    let (status, value) = unsafe {
        let status = import::proxy_get_shared_data(
            key.as_ptr(),
            key.len(),
            &raw mut data,
            &raw mut size,
            &raw mut cas,
        );
        (status, take(data, size))
    };
    match check(status) {
        Err(HostError::NOT_FOUND) => Ok(None),
        result => result.map(|()| Some((value, Version(cas)))),
    }
}

/// Sets shared data if it still has that version, or unconditionally without one.
///
/// The host has no "create if absent": seed a key without a version, only after [`shared_data`] has
/// returned nothing and only where nobody else can be seeding it.
///
/// # Errors
/// [`HostError::CAS_MISMATCH`] when another writer was faster, or what else the host answers.
pub fn set_shared_data(key: &str, value: &[u8], version: Option<Version>) -> Result<()> {
    // SAFETY: key and value outlive the call.
    check(unsafe {
        import::proxy_set_shared_data(
            key.as_ptr(),
            key.len(),
            value.as_ptr(),
            value.len(),
            version.map_or(0, |version| version.0),
        )
    })
}

/// Puts a first value into shared data where there is none. To be called while a plugin is
/// configured: Envoy does that on its main thread before any worker, so that this write cannot undo
/// another one.
pub fn seed_shared_data(key: &str, first: &[u8]) {
    if matches!(shared_data(key), Ok(None)) {
        let _ = set_shared_data(key, first, None);
    }
}

/// Changes shared data by a rule, which says what the value becomes and what to return; anew when
/// another writer was faster, up to 16 times. Where there is no value, `first` is put there.
///
/// # Errors
/// Those of the rule; [`HostError::CAS_MISMATCH`] when the others were always faster, or what else
/// the host answers. The value is then as it was.
pub fn compare_and_swap<R, E: From<HostError>>(
    key: &str,
    first: &[u8],
    rule: impl Fn(&[u8]) -> std::result::Result<(Vec<u8>, R), E>,
) -> std::result::Result<R, E> {
    const ATTEMPTS: usize = 16;
    for _ in 0..ATTEMPTS {
        let Some((before, version)) = shared_data(key)? else {
            seed_shared_data(key, first);
            continue;
        };
        let (after, result) = rule(&before)?;
        match set_shared_data(key, &after, Some(version)) {
            Ok(()) => return Ok(result),
            Err(HostError::CAS_MISMATCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(HostError::CAS_MISMATCH.into())
}

/// Sends a request without a body to a cluster. The answer comes by the callback for HTTP calls
/// with the token returned here, always: after `timeout` as an answer with status 504 that the host
/// makes up. It comes to the root context, also where a request has asked, and even if that request
/// is gone by then.
///
/// # Errors
/// What the host answers, for instance "bad argument" for a cluster that it does not know.
pub fn dispatch(cluster: &str, headers: &[(&str, &str)], timeout: Duration) -> Result<u32> {
    let (headers, trailers) = (pairs(headers), pairs(&[]));
    let mut token = 0;
    // SAFETY: all that is pointed to outlives the call.
    check(unsafe {
        import::proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            ptr::null(),
            0,
            trailers.as_ptr(),
            trailers.len(),
            milliseconds(timeout),
            &raw mut token,
        )
    })?;
    Ok(token)
}

/// Makes another context the current one, until the callback returns.
///
/// # Errors
/// What the host answers, for instance "bad argument" for a context that is gone.
pub fn set_current_context(context: u32) -> Result<()> {
    check(import::proxy_set_effective_context(context))
}

/// Passes on what was held of the current request.
///
/// # Errors
/// What the host answers.
pub fn resume_request() -> Result<()> {
    const REQUEST: u32 = 0;
    check(import::proxy_continue_stream(REQUEST))
}

/// Answers the current request in place of the node.
///
/// # Errors
/// What the host answers.
pub fn reply(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Result<()> {
    const NO_GRPC_STATUS: i32 = -1;
    let headers = pairs(headers);
    // SAFETY: all that is pointed to outlives the call.
    check(unsafe {
        import::proxy_send_local_response(
            u32::from(status),
            ptr::null(),
            0,
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            NO_GRPC_STATUS,
        )
    })
}

/// What kind of metric the host shall keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// It only rises.
    Counter = 0,
    /// It is set.
    Gauge = 1,
}

/// A metric of the host, the same for all workers that define the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric(u32);

impl Metric {
    /// Defines a metric.
    ///
    /// # Errors
    /// What the host answers.
    pub fn define(kind: MetricKind, name: &str) -> Result<Self> {
        let mut id = 0;
        // SAFETY: name and local outlive the call.
        check(unsafe {
            import::proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id)
        })?;
        Ok(Self(id))
    }

    /// Adds to a counter. A host that refuses loses the count, nothing else.
    pub fn add(self, count: u64) {
        let _ = import::proxy_increment_metric(self.0, i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Sets a gauge. A host that refuses keeps the old value.
    pub fn set(self, value: u64) {
        let _ = import::proxy_record_metric(self.0, value);
    }
}

/// The ABI's form of a header map: count, the sizes, then each name and value with a zero byte.
fn pairs(map: &[(&str, &str)]) -> Vec<u8> {
    let word = |size: usize| u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&word(map.len()));
    for (name, value) in map {
        bytes.extend_from_slice(&word(name.len()));
        bytes.extend_from_slice(&word(value.len()));
    }
    for (name, value) in map {
        for text in [name, value] {
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_written_as_the_abi_wants_them() {
        assert_eq!(pairs(&[]), [0, 0, 0, 0]);
        assert_eq!(
            pairs(&[("a", "bc"), ("d", "")]),
            b"\x02\0\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\0\0\0\0a\0bc\0d\0\0"
        );
    }

    #[test]
    fn maps_are_read_as_the_abi_writes_them() {
        let list = HeaderList(pairs(&[("a", ""), ("a", "bc"), ("b", "\0"), ("a", "d")]));
        assert_eq!(list.get(["b", "a", "c", ""]), [Some(&b"\0"[..]), Some(b"bc"), None, None]);
        assert_eq!(HeaderList(pairs(&[])).get(["a"]), [None]);
        for end in 0..list.0.len() {
            let cut = HeaderList(list.0[..end].to_vec());
            assert!(cut.get(["d"]) == [None] && cut.iter().count() < 4, "{end}");
        }
        assert_eq!(HeaderList(vec![0xff; 40]).iter().count(), 0);
    }

    #[test]
    fn memory_for_nothing_or_too_much_is_null() {
        assert!(allocate(0).is_null());
        assert!(allocate(usize::MAX).is_null());
    }
}
