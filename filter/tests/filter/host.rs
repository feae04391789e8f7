//! A fake of the host: every function of the ABI that the filter imports, over state of the test's
//! own thread.
//!
//! A test's thread is one VM. Several root contexts in it are what several workers are to the
//! filter: each has its own poller, all share the data. The SDK panics on what a host must not do,
//! so this one keeps to what Envoy does: it knows its contexts, and no two calls have one token.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    slice,
};

unsafe extern "C" {
    /// The SDK's export, by which a host gets memory of the module.
    safe fn proxy_on_memory_allocate(size: usize) -> *mut u8;
}

/// A call to a cluster that the filter has sent.
#[derive(Debug, Clone)]
pub struct Call {
    pub cluster: String,
    pub headers: Vec<(String, String)>,
    pub timeout: u32,
    pub token: u32,
}

impl Call {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value.as_str())
    }
}

/// An answer that the filter has given in place of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u32,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// Which host calls fail.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    pub function: &'static str,
    pub status: u32,
    /// Only this call of the function, counted from 1; 0: each.
    pub nth: u32,
}

pub type Map = Vec<(String, Vec<u8>)>;

#[derive(Debug, Default)]
pub struct Host {
    pub nanoseconds: u64,
    pub tick_period: u32,
    pub log: Vec<(u32, String)>,
    pub configuration: Vec<u8>,
    pub request_headers: Map,
    pub request_trailers: Map,
    pub response_headers: Map,
    pub call_headers: Map,
    pub request_body: Vec<u8>,
    pub call_body: Vec<u8>,
    pub shared: BTreeMap<String, (Vec<u8>, u32)>,
    pub last_cas: u32,
    /// So many compare-and-swaps fail as if another worker had been faster.
    pub mismatches: u32,
    /// What another worker writes to the key of the head just before the next compare-and-swap
    /// there.
    pub overtaken_by: Option<Vec<u8>>,
    /// The polls.
    pub calls: Vec<Call>,
    /// The contexts of the VM, each with its root context; a root context has 0.
    pub contexts: BTreeMap<u32, u32>,
    /// The context on which host calls act.
    pub current: u32,
    /// The calls that requests have made.
    pub callouts: Vec<Call>,
    /// The tokens of all calls that were not answered.
    pub unanswered: BTreeSet<u32>,
    /// How often a held request was passed on.
    pub resumed: u32,
    pub replies: Vec<Reply>,
    pub metrics: Vec<(u32, String, u64)>,
    /// How often a metric was defined, known or not.
    pub definitions: usize,
    pub failure: Option<Failure>,
    /// How often each function was called.
    pub count: BTreeMap<&'static str, u32>,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
    static LAST_TOKEN: Cell<u32> = const { Cell::new(0) };
}

/// Looks at or changes the host.
pub fn host<R>(act: impl FnOnce(&mut Host) -> R) -> R {
    HOST.with(|host| act(&mut host.borrow_mut()))
}

impl Host {
    /// Counts a call and says with which status it fails, if it does.
    fn enter(&mut self, function: &'static str) -> u32 {
        let count = self.count.entry(function).or_default();
        *count += 1;
        match self.failure {
            Some(Failure { function: failing, status, nth })
                if failing == function && (nth == 0 || nth == *count) =>
            {
                status
            }
            _ => 0,
        }
    }

    /// Whether the current context is a request.
    fn in_request(&self) -> bool {
        self.contexts.get(&self.current).is_some_and(|root| *root != 0)
    }

    fn map(&mut self, map: u32) -> &mut Map {
        match map {
            0 => &mut self.request_headers,
            1 => &mut self.request_trailers,
            2 => &mut self.response_headers,
            6 => &mut self.call_headers,
            other => panic!("header map {other}"),
        }
    }

    fn buffer(&mut self, buffer: u32) -> &mut Vec<u8> {
        match buffer {
            0 => {
                assert!(self.in_request(), "a root context has no body");
                &mut self.request_body
            }
            4 => &mut self.call_body,
            7 => &mut self.configuration,
            other => panic!("buffer {other}"),
        }
    }

    /// The value of a metric as far as it was told, by its name without prefix.
    pub fn metric(&self, name: &str) -> u64 {
        let name = format!("finality_filter_{name}");
        let found = self.metrics.iter().find(|(_, defined, _)| *defined == name);
        found.unwrap_or_else(|| panic!("no metric {name}")).2
    }

    /// Another worker sets the values of these keys, and all others to what they are.
    pub fn set_shared(&mut self, key: &str, value: &[u8]) {
        for (name, (found, version)) in &mut self.shared {
            self.last_cas += 1;
            *version = self.last_cas;
            if name.contains(key) {
                *found = value.to_vec();
            }
        }
    }
}

fn bytes<'a>(data: *const u8, size: usize) -> &'a [u8] {
    if size == 0 { &[] } else { unsafe { slice::from_raw_parts(data, size) } }
}

fn text(data: *const u8, size: usize) -> String {
    String::from_utf8(bytes(data, size).to_vec()).expect("UTF-8")
}

/// Hands bytes over as the host does: in memory that it asks the module for.
fn give(value: &[u8], data: *mut *mut u8, size: *mut usize) {
    unsafe {
        *size = value.len();
        *data = if value.is_empty() {
            std::ptr::null_mut()
        } else {
            let memory = proxy_on_memory_allocate(value.len());
            assert!(!memory.is_null());
            std::ptr::copy_nonoverlapping(value.as_ptr(), memory, value.len());
            memory
        };
    }
}

fn pairs(data: *const u8, size: usize) -> Vec<(String, String)> {
    let mut data = bytes(data, size);
    let mut word = || {
        let (word, rest) = data.split_first_chunk::<4>().expect("four bytes");
        data = rest;
        u32::from_le_bytes(*word) as usize
    };
    let count = word();
    let sizes: Vec<_> = (0..count).map(|_| (word(), word())).collect();
    let mut take = |size: usize| {
        let (text, rest) = data.split_at(size);
        let (zero, rest) = rest.split_first().expect("a zero byte");
        assert_eq!(*zero, 0);
        data = rest;
        String::from_utf8(text.to_vec()).expect("UTF-8")
    };
    let pairs = sizes.into_iter().map(|(name, value)| (take(name), take(value))).collect();
    assert!(data.is_empty());
    pairs
}

/// Defines functions of the ABI: each is counted, fails where the test wants it to, or does its
/// work.
macro_rules! host_functions {
    ($(fn $name:ident($($argument:ident: $type:ty),* $(,)?) $work:block)*) => {
        /// Names of all functions that the filter imports.
        pub const FUNCTIONS: &[&str] = &[$(stringify!($name)),*];

        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name($($argument: $type),*) -> u32 {
                let status = host(|host| host.enter(stringify!($name)));
                if status != 0 {
                    return status;
                }
                $work
            }
        )*
    };
}

host_functions! {
    fn proxy_log(level: u32, message: *const u8, size: usize) {
        host(|host| host.log.push((level, text(message, size))));
        0
    }

    fn proxy_get_current_time_nanoseconds(time: *mut u64) {
        unsafe { *time = host(|host| host.nanoseconds) };
        0
    }

    fn proxy_set_tick_period_milliseconds(period: u32) {
        host(|host| host.tick_period = period);
        0
    }

    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        max_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) {
        assert_eq!(start, 0);
        let value = host(|host| host.buffer(buffer).clone());
        give(&value[..value.len().min(max_size)], data, size);
        0
    }

    fn proxy_set_buffer_bytes(
        buffer: u32,
        start: usize,
        size: usize,
        data: *const u8,
        data_size: usize,
    ) {
        host(|host| {
            assert_eq!(start, 0, "not the front");
            let buffer = host.buffer(buffer);
            let front = size.min(buffer.len());
            buffer.splice(..front, bytes(data, data_size).iter().copied());
        });
        0
    }

    fn proxy_get_header_map_pairs(map: u32, pairs: *mut *mut u8, pairs_size: *mut usize) {
        let map = host(|host| host.map(map).clone());
        let word = |size: usize| u32::try_from(size).expect("short").to_le_bytes();
        let mut bytes = word(map.len()).to_vec();
        for (name, value) in &map {
            bytes.extend([word(name.len()), word(value.len())].concat());
        }
        for (name, value) in &map {
            bytes.extend([name.as_bytes(), b"\0", value, b"\0"].concat());
        }
        give(&bytes, pairs, pairs_size);
        0
    }

    fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) {
        let key = text(key, key_size);
        host(|host| host.map(map).retain(|(name, _)| *name != key));
        0
    }

    fn proxy_replace_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) {
        let header = (text(key, key_size), bytes(value, value_size).to_vec());
        host(|host| {
            let map = host.map(map);
            map.retain(|(name, _)| *name != header.0);
            map.push(header);
        });
        0
    }

    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
        cas: *mut u32,
    ) {
        match host(|host| host.shared.get(&text(key, key_size)).cloned()) {
            Some((found, version)) => {
                give(&found, value, value_size);
                unsafe { *cas = version };
                0
            }
            None => 1,
        }
    }

    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
        cas: u32,
    ) {
        host(|host| {
            let key = text(key, key_size);
            if key.contains(" head ") && let Some(other) = host.overtaken_by.take() {
                host.last_cas += 1;
                host.shared.insert(key.clone(), (other, host.last_cas));
            }
            let current = host.shared.get(&key).map_or(0, |(_, version)| *version);
            if cas != 0 && host.mismatches > 0 {
                host.mismatches -= 1;
                return 8;
            }
            if cas != 0 && cas != current {
                return 8;
            }
            host.last_cas += 1;
            host.shared.insert(key, (bytes(value, value_size).to_vec(), host.last_cas));
            0
        })
    }

    fn proxy_http_call(
        cluster: *const u8,
        cluster_size: usize,
        headers: *const u8,
        headers_size: usize,
        _body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout: u32,
        token: *mut u32,
    ) {
        assert_eq!(body_size, 0);
        assert!(pairs(trailers, trailers_size).is_empty());
        host(|host| {
            let number = LAST_TOKEN.get() + 1;
            LAST_TOKEN.set(number);
            host.unanswered.insert(number);
            let in_request = host.in_request();
            let calls = if in_request { &mut host.callouts } else { &mut host.calls };
            calls.push(Call {
                cluster: text(cluster, cluster_size),
                headers: pairs(headers, headers_size),
                timeout,
                token: number,
            });
            unsafe { *token = number };
        });
        0
    }

    fn proxy_set_effective_context(context: u32) {
        host(|host| {
            if !host.contexts.contains_key(&context) {
                return 2;
            }
            host.current = context;
            0
        })
    }

    fn proxy_continue_stream(stream: u32) {
        assert_eq!(stream, 0, "not the request");
        assert!(host(|host| host.in_request()));
        host(|host| host.resumed += 1);
        0
    }

    fn proxy_send_local_response(
        status: u32,
        _details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) {
        assert_eq!((details_size, grpc_status), (0, -1));
        let reply = Reply {
            status,
            headers: pairs(headers, headers_size),
            body: text(body, body_size),
        };
        host(|host| {
            assert!(host.in_request(), "a root context has nobody to answer");
            host.replies.push(reply);
        });
        0
    }

    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) {
        host(|host| {
            let name = text(name, name_size);
            host.definitions += 1;
            let known = host.metrics.iter().position(|(_, defined, _)| *defined == name);
            let position = known.unwrap_or_else(|| {
                host.metrics.push((kind, name, 0));
                host.metrics.len() - 1
            });
            unsafe { *id = u32::try_from(position).expect("few metrics") };
        });
        0
    }

    fn proxy_increment_metric(id: u32, offset: i64) {
        host(|host| {
            let (kind, name, value) = &mut host.metrics[id as usize];
            assert_eq!(*kind, 0, "{name} is no counter");
            *value = value.checked_add_signed(offset).expect("a count");
        });
        0
    }

    fn proxy_record_metric(id: u32, value: u64) {
        host(|host| {
            let (kind, name, current) = &mut host.metrics[id as usize];
            assert_eq!(*kind, 1, "{name} is no gauge");
            *current = value;
        });
        0
    }
}

/// Functions that the SDK's default methods call, and the filter does not.
macro_rules! unused_host_functions {
    ($($name:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name() -> u32 {
                panic!(concat!(stringify!($name), " is not among the imports of the module"))
            }
        )*
    };
}

unused_host_functions! {
    proxy_add_header_map_value
    proxy_call_foreign_function
    proxy_close_stream
    proxy_dequeue_shared_queue
    proxy_done
    proxy_enqueue_shared_queue
    proxy_get_header_map_value
    proxy_get_property
    proxy_get_status
    proxy_grpc_call
    proxy_grpc_cancel
    proxy_grpc_close
    proxy_grpc_send
    proxy_grpc_stream
    proxy_register_shared_queue
    proxy_resolve_shared_queue
    proxy_set_header_map_pairs
    proxy_set_property
}
