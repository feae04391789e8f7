//! Envoy's side of the callbacks, as far as the filter can tell: contexts, held headers, buffered
//! bodies, answers to polls.

use finality_core::headers;

use crate::host::{Call, Map, Reply, host};

/// The exports of the module, called as Envoy calls them.
pub mod callbacks {
    use crate::host::host;

    mod export {
        unsafe extern "C" {
            pub(super) safe fn _initialize();
            pub(super) safe fn proxy_on_vm_start(root: u32, size: usize) -> bool;
            pub(super) safe fn proxy_on_configure(root: u32, size: usize) -> bool;
            pub(super) safe fn proxy_on_context_create(context: u32, root: u32);
            pub(super) safe fn proxy_on_delete(context: u32);
            pub(super) safe fn proxy_on_tick(root: u32);
            pub(super) safe fn proxy_on_http_call_response(
                root: u32,
                token: u32,
                headers: usize,
                body: usize,
                trailers: usize,
            );
            pub(super) safe fn proxy_on_request_headers(
                context: u32,
                count: usize,
                end: bool,
            ) -> u32;
            pub(super) safe fn proxy_on_request_body(context: u32, size: usize, end: bool) -> u32;
            pub(super) safe fn proxy_on_request_trailers(context: u32, count: usize) -> u32;
            pub(super) safe fn proxy_on_response_headers(
                context: u32,
                count: usize,
                end: bool,
            ) -> u32;
        }
    }

    fn enter(context: u32) {
        host(|host| {
            assert!(host.contexts.contains_key(&context), "context {context} is gone");
            host.current = context;
        });
    }

    pub fn initialize() {
        export::_initialize();
    }

    pub fn vm_start(root: u32) -> bool {
        enter(root);
        export::proxy_on_vm_start(root, 0)
    }

    pub fn configure(root: u32, size: usize) -> bool {
        enter(root);
        export::proxy_on_configure(root, size)
    }

    /// A root context has no root.
    pub fn create(context: u32, root: u32) {
        host(|host| assert_eq!(host.contexts.insert(context, root), None, "it is there already"));
        enter(context);
        export::proxy_on_context_create(context, root);
    }

    pub fn delete(context: u32) {
        enter(context);
        export::proxy_on_delete(context);
        host(|host| host.contexts.remove(&context));
    }

    pub fn tick(root: u32) {
        enter(root);
        export::proxy_on_tick(root);
    }

    pub fn call_response(root: u32, token: u32, headers: usize, body: usize) {
        enter(root);
        export::proxy_on_http_call_response(root, token, headers, body, 0);
    }

    pub fn request_headers(context: u32, count: usize, end: bool) -> u32 {
        enter(context);
        export::proxy_on_request_headers(context, count, end)
    }

    pub fn request_body(context: u32, size: usize, end: bool) -> u32 {
        enter(context);
        export::proxy_on_request_body(context, size, end)
    }

    pub fn request_trailers(context: u32, count: usize) -> u32 {
        enter(context);
        export::proxy_on_request_trailers(context, count)
    }

    pub fn response_headers(context: u32) -> u32 {
        enter(context);
        export::proxy_on_response_headers(context, 1, false)
    }
}

pub const CONTINUE: u32 = 0;
pub const PAUSE: u32 = 1;

/// The root context of the first worker.
pub const ROOT: u32 = 1;

/// The context of requests.
pub const STREAM: u32 = 1000;

/// The configuration of most tests.
pub const CONFIG: &str = r#"{"sidecar_cluster":"finality_sidecar","framing":"exact"}"#;

/// Configures a worker. False when the filter refuses the configuration.
pub fn configure(root: u32, configuration: &str) -> bool {
    if !host(|host| host.contexts.contains_key(&root)) {
        callbacks::create(root, 0);
        assert!(callbacks::vm_start(root));
    }
    host(|host| host.configuration = configuration.as_bytes().to_vec());
    callbacks::configure(root, configuration.len())
}

/// Runs something in a VM of its own, on a host of its own.
pub fn in_new_vm<R: Send>(act: impl FnOnce() -> R + Send) -> R {
    let result = std::thread::scope(|scope| scope.spawn(act).join());
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Ends all that runs in the VM, requests first.
fn stop() {
    let contexts = host(|host| host.contexts.clone());
    let (roots, requests): (Vec<_>, Vec<_>) =
        contexts.into_iter().partition(|(_, root)| *root == 0);
    requests.into_iter().chain(roots).for_each(|(context, _)| callbacks::delete(context));
}

/// The wall clock at the start, in nanoseconds since 1970.
pub const START: u64 = 1_800_000_000_000_000_000;

/// Configures the first worker; what ran before in this VM is over.
pub fn start(configuration: &str) {
    stop();
    host(|host| host.nanoseconds = START);
    callbacks::initialize();
    assert!(configure(ROOT, configuration), "{:?}", host(|host| host.log.pop()));
}

/// Configures the first worker and lets it learn a head.
pub fn start_with_head(configuration: &str, number: u64) {
    start(configuration);
    tick(ROOT);
    answer(ROOT, &report(number));
}

pub fn pass(milliseconds: u64) {
    host(|host| host.nanoseconds += milliseconds * 1_000_000);
}

pub fn tick(root: u32) {
    callbacks::tick(root);
}

/// A second passes, then a tick.
pub fn next_tick(root: u32) {
    pass(1000);
    tick(root);
}

/// The value of a metric, by its name without prefix.
pub fn metric(name: &str) -> u64 {
    // At the end of any root context the filter flushes what it has counted.
    const OTHER_ROOT: u32 = 999;
    callbacks::create(OTHER_ROOT, 0);
    callbacks::delete(OTHER_ROOT);
    host(|host| host.metric(name))
}

/// How many polls were sent so far.
pub fn polls() -> usize {
    host(|host| host.calls.len())
}

pub fn last_poll() -> Call {
    host(|host| host.calls.last().cloned()).expect("a poll")
}

/// Whether the last poll waits for its answer.
pub fn polling() -> bool {
    host(|host| host.calls.last().is_some_and(|call| host.unanswered.contains(&call.token)))
}

/// An answer to a poll.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: &'static str,
    pub marker: bool,
    pub body: String,
}

/// The sidecar's report of a usable head.
pub fn report(number: u64) -> Answer {
    report_of(number, "ok", 22_266_222)
}

pub fn report_of(number: u64, status: &str, chain_id: u64) -> Answer {
    let body = format!(
        r#"{{"number":{number},"hex":"0x{number:x}","hash":null,"source":"espresso","mode":"espresso","status":"{status}","espresso":null,"ethereum":null,"chain_id":{chain_id},"updated_at":"2026-01-01T00:00:00Z","confirmed":true}}"#
    );
    Answer { status: "200", marker: true, body }
}

/// What Envoy says when nobody listens.
pub fn unreachable() -> Answer {
    Answer { status: "503", marker: false, body: "upstream connect error".to_owned() }
}

/// An answer that ends within its body: Envoy then hands over nothing of it.
pub fn broken_off() -> Answer {
    Answer { status: "", marker: false, body: String::new() }
}

pub fn no_head() -> Answer {
    let body = r#"{"error":"no_head","reason":"starting"}"#.to_owned();
    Answer { status: "503", marker: true, body }
}

/// Answers the last poll.
pub fn answer(root: u32, answer: &Answer) {
    answer_to(root, last_poll().token, answer);
}

/// Answers a call: a poll, or what a request of that worker has asked.
pub fn answer_to(root: u32, token: u32, answer: &Answer) {
    host(|host| {
        assert!(host.unanswered.remove(&token), "no call waits for an answer with token {token}");
        host.call_headers.clear();
        if !answer.status.is_empty() {
            host.call_headers.push((":status".to_owned(), answer.status.into()));
        }
        if answer.marker {
            host.call_headers.push((headers::SIDECAR.to_owned(), b"0.1.0".to_vec()));
        }
        host.call_body = answer.body.clone().into();
    });
    let count = host(|host| host.call_headers.len());
    callbacks::call_response(root, token, count, answer.body.len());
}

/// A request as a client sends it.
#[derive(Debug, Clone)]
pub struct Request {
    pub headers: Map,
    pub chunks: Vec<Vec<u8>>,
    /// HTTP/1.1 bodies end by a callback of their own, without new bytes.
    pub separate_end: bool,
    pub trailers: bool,
}

/// A POST of JSON with a content-length.
pub fn post(body: &str) -> Request {
    Request {
        headers: Vec::new(),
        chunks: vec![body.as_bytes().to_vec()],
        separate_end: false,
        trailers: false,
    }
    .with(":method", "POST")
    .with("content-type", "application/json")
    .with("content-length", &body.len().to_string())
}

impl Request {
    /// With another header, in place of one of that name.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.headers.push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(key, _)| key != name);
        self
    }

    /// Its body in pieces of that size, without a content-length.
    pub fn chunked(mut self, size: usize) -> Self {
        let body = self.chunks.concat();
        self.chunks = body.chunks(size).map(<[u8]>::to_vec).collect();
        self.without("content-length")
    }

    pub fn without_body(mut self) -> Self {
        self.chunks.clear();
        self.without("content-length")
    }
}

/// What became of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The headers that went to the node.
    pub headers: Option<Map>,
    /// The bytes of the body that went to the node.
    pub body: Vec<u8>,
    /// Whether all of it went to the node.
    pub complete: bool,
    pub reply: Option<Reply>,
    /// The headers of the response, as the client gets them.
    pub response: Map,
}

impl Outcome {
    pub fn body(&self) -> &str {
        assert!(self.complete, "not forwarded: {self:?}");
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    pub fn header(&self, name: &str) -> Vec<String> {
        values(self.headers.as_ref().expect("headers that were forwarded"), name)
    }

    pub fn response_header(&self, name: &str) -> Vec<String> {
        values(&self.response, name)
    }

    /// Status and body of the answer that the filter gave.
    pub fn replied(&self) -> (u32, &str) {
        assert!(!self.complete, "forwarded: {self:?}");
        let reply = self.reply.as_ref().expect("a reply");
        (reply.status, &reply.body)
    }
}

fn values(map: &Map, name: &str) -> Vec<String> {
    let text = |value: &Vec<u8>| String::from_utf8(value.clone()).expect("UTF-8");
    map.iter().filter(|(key, _)| key == name).map(|(_, value)| text(value)).collect()
}

pub fn send(request: &Request) -> Outcome {
    send_to(ROOT, request, &[])
}

/// Sends a request through the filter on a worker. The node answers with these headers.
pub fn send_to(root: u32, request: &Request, response: &[(&str, &str)]) -> Outcome {
    send_and_answer(root, request, &unreachable(), response)
}

/// Sends a request through the filter on a worker. What it asks the sidecar is answered like that.
pub fn send_and_answer(
    root: u32,
    request: &Request,
    callout: &Answer,
    response: &[(&str, &str)],
) -> Outcome {
    host(|host| {
        host.callouts.clear();
        host.request_headers.clone_from(&request.headers);
        host.request_body.clear();
        host.replies.clear();
    });
    callbacks::create(STREAM, root);
    let mut outcome = Outcome::default();
    run(STREAM, request, &mut outcome);
    answer_callout(root, callout, &mut outcome);
    outcome.reply = host(|host| host.replies.first().cloned());
    assert!(host(|host| host.replies.len()) <= 1, "answered twice");
    let mut map: Map = match &outcome.reply {
        Some(reply) => {
            reply.headers.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect()
        }
        None => vec![],
    };
    map.extend(response.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())));
    host(|host| host.response_headers = map);
    assert_eq!(callbacks::response_headers(STREAM), CONTINUE);
    outcome.response = host(|host| host.response_headers.clone());
    callbacks::delete(STREAM);
    outcome
}

/// Answers what the request has asked the sidecar, if it waits for that.
fn answer_callout(root: u32, callout: &Answer, outcome: &mut Outcome) {
    if outcome.complete || replied() {
        return;
    }
    let Some(token) = host(|host| host.callouts.last().map(|call| call.token)) else { return };
    let before = host(|host| host.resumed);
    answer_to(root, token, callout);
    if host(|host| host.resumed) > before && !replied() {
        forward(outcome);
        outcome.complete = true;
    }
}

fn replied() -> bool {
    host(|host| !host.replies.is_empty())
}

/// What was held goes to the node.
fn forward(outcome: &mut Outcome) {
    host(|host| {
        outcome.headers.get_or_insert_with(|| host.request_headers.clone());
        outcome.body.append(&mut host.request_body);
    });
}

/// Drives the request callbacks; stops where the filter answers by itself.
fn run(stream: u32, request: &Request, outcome: &mut Outcome) {
    let end = request.chunks.is_empty() && !request.trailers && !request.separate_end;
    let mut action = callbacks::request_headers(stream, request.headers.len(), end);
    if replied() {
        assert_eq!(action, PAUSE, "passed on and answered");
        return;
    }
    if action == CONTINUE {
        forward(outcome);
    }
    let mut chunks = request.chunks.clone();
    if request.separate_end {
        chunks.push(Vec::new());
    }
    let last = chunks.len().wrapping_sub(1);
    for (position, mut chunk) in chunks.into_iter().enumerate() {
        let size = host(|host| {
            host.request_body.append(&mut chunk);
            host.request_body.len()
        });
        let end = position == last && !request.trailers;
        action = callbacks::request_body(stream, size, end);
        if replied() {
            assert_eq!(action, PAUSE, "passed on and answered");
            return;
        }
        if action == CONTINUE {
            forward(outcome);
        }
    }
    if request.trailers {
        action = callbacks::request_trailers(stream, 1);
        if replied() {
            assert_eq!(action, PAUSE, "passed on and answered");
            return;
        }
        if action == CONTINUE {
            forward(outcome);
        }
    }
    outcome.complete = action == CONTINUE;
}
