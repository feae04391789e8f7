//! The life of one request: how its body is held and inspected, and what happens to it.

use std::rc::Rc;

use finality_core::{
    build,
    head::HeadQuery,
    headers, jsonrpc,
    refusal::{NoHead, Refusal},
    rewrite::{Inspection, Tagged},
};

use crate::{
    classify::{self, RequestHeaders, Verdict},
    config::{Framing, Freshness, Mode},
    host::{self, Buffer, Headers, HostError, Level},
    metrics::Counter,
    observing::{self, Observing},
    plugin::Plugin,
    sidecar::{self, Answer},
    streaming::{LONGEST_HELD_BODY, Stop, Streaming},
    websocket::WebSocket,
};

/// The key for a WebSocket client that has none: 16 bytes in base64. The node's answer to it is not
/// checked.
const WEBSOCKET_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA==";

/// What the host does with its part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Pass it on.
    Continue,
    /// Keep it.
    Pause,
}

/// The phase of a request.
#[derive(Debug)]
enum Phase {
    /// It goes to the node, rewritten or not.
    Passing,
    /// Its body is being collected.
    Collecting,
    /// It is refused as soon as a byte of a body comes.
    WithoutBody(Refusal),
    /// Its body is rewritten while it passes.
    Streaming(Box<Streaming>),
    /// Its body passes as it is, and is read.
    Observing(Box<Observing>),
    /// It became a WebSocket connection.
    WebSocket(WebSocket),
    /// Its body is complete and tagged; the sidecar was asked for the head.
    Asking,
    /// It was answered here.
    Replied,
}

/// One request.
#[derive(Debug)]
pub struct Request {
    plugin: Rc<Plugin>,
    phase: Phase,
    /// Whether the sidecar sent it, which detects whether it reads its node through this filter.
    from_sidecar: bool,
    /// What its tags became.
    number: Option<u64>,
    /// With `mode: observe`: what its tags would have become, or the reason of the refusal.
    observed: Option<String>,
}

impl Request {
    /// A request that has just begun.
    #[must_use]
    pub fn new(plugin: Rc<Plugin>) -> Self {
        Self { plugin, phase: Phase::Passing, from_sidecar: false, number: None, observed: None }
    }

    /// The headers have come.
    pub fn on_headers(&mut self, end: bool) -> Action {
        self.plugin.metrics.count(Counter::Requests);
        // No body, no tag: most GETs and preflights need no look at their headers.
        if end {
            self.plugin.metrics.count(Counter::PassedNoBody);
            return Action::Continue;
        }
        let list = match Headers::Request.all() {
            Ok(list) => list,
            Err(error) => return self.fail("headers cannot be read", error),
        };
        let headers = RequestHeaders::read(&list);
        self.from_sidecar = headers.sidecar.is_some();
        match headers.classify(&self.plugin.config) {
            Verdict::Pass(reason) => {
                self.plugin.metrics.count(reason);
                Action::Continue
            }
            Verdict::WebSocket if self.observes() => {
                self.plugin.metrics.count(Counter::PassedUpgrade);
                Action::Continue
            }
            Verdict::WebSocket => self.upgrade(headers.websocket_key.is_some()),
            Verdict::Inspect(_) if self.observes() => {
                self.phase = Phase::Observing(Box::new(Observing::new(&self.plugin.rewriter)));
                Action::Continue
            }
            Verdict::Inspect(length) => self.collect(length),
            Verdict::Refuse(refusal) => self.refuse(&refusal, &jsonrpc::error_without_id(&refusal)),
            Verdict::RefuseBody(refusal) => {
                self.phase = Phase::WithoutBody(refusal);
                self.wait(self.plugin.config.framing == Framing::Exact)
            }
        }
    }

    /// Whether it passes as it is, whatever is found.
    fn observes(&self) -> bool {
        self.plugin.config.mode == Mode::Observe
    }

    /// Waits for what follows, if that is needed for a refusal.
    fn wait(&self, needed: bool) -> Action {
        if needed && !self.observes() { Action::Pause } else { Action::Continue }
    }

    /// What an observed request would have become.
    fn observed(&mut self, outcome: Result<Option<u64>, Refusal>) {
        self.phase = Phase::Passing;
        self.observed = match outcome {
            Ok(number) => number.map(|number| number.to_string()),
            Err(refusal) => {
                self.plugin.metrics.count(Counter::ObservedRefused);
                Some(refusal.reason().to_owned())
            }
        };
    }

    /// The headers of an upgrade are never held: nothing follows them.
    fn upgrade(&mut self, has_key: bool) -> Action {
        // A client over HTTP/2 sends no key, and Envoy adds none. Without one, a node over HTTP/1.1
        // refuses.
        if !has_key {
            let _ = Headers::Request.set("sec-websocket-key", WEBSOCKET_KEY);
        }
        // Compression must not be negotiated: compressed messages cannot be read.
        match Headers::Request.remove("sec-websocket-extensions") {
            Ok(()) => {
                self.phase = Phase::WebSocket(WebSocket::new(Rc::clone(&self.plugin)));
                Action::Continue
            }
            Err(error) => self.fail("WebSocket extensions cannot be declined", error),
        }
    }

    fn collect(&mut self, length: Option<usize>) -> Action {
        // A body that will not be held to its end is not held at all: a chunk may be as long as the
        // host's buffer, and must not exceed it together with held ones.
        self.phase = if length.is_some_and(|length| self.streams(length)) {
            Phase::Streaming(Box::new(Streaming::new(&self.plugin.rewriter)))
        } else {
            Phase::Collecting
        };
        match self.plugin.config.framing {
            // The headers go first, before the length of the body is known.
            Framing::Chunked => match Headers::Request.remove("content-length") {
                Ok(()) => Action::Continue,
                Err(error) => self.fail("content-length cannot be removed", error),
            },
            Framing::Exact => Action::Pause,
        }
    }

    /// Whether a body of at least this many bytes is rewritten while it passes.
    fn streams(&self, length: usize) -> bool {
        self.plugin.config.streams() && length > LONGEST_HELD_BODY
    }

    /// A chunk of the body has arrived. If the body is held, `size` bytes of it are buffered.
    pub fn on_body(&mut self, size: usize, end: bool) -> Action {
        match &mut self.phase {
            Phase::Passing => Action::Continue,
            Phase::Replied | Phase::Asking => Action::Pause,
            Phase::Streaming(_) => {
                self.stream(|streaming, plugin| streaming.pass(plugin, end), end)
            }
            Phase::Observing(observing) => {
                match observing.read(&self.plugin) {
                    Ok(()) if end => {
                        let outcome = observing.end(&self.plugin, false);
                        self.observed(outcome);
                    }
                    Ok(()) => {}
                    Err(refusal) => self.observed(Err(refusal)),
                }
                Action::Continue
            }
            Phase::WebSocket(connection) => match connection.pass() {
                Ok(()) => Action::Continue,
                Err(error) => self.fail("WebSocket frames cannot be exchanged", error),
            },
            Phase::WithoutBody(refusal) => match (size, end) {
                (0, true) => self.pass_without_body(),
                (0, false) => self.wait(true),
                _ => {
                    let refusal = refusal.clone();
                    self.refuse(&refusal, &jsonrpc::error_without_id(&refusal))
                }
            },
            Phase::Collecting => {
                if let Some(limit) = self.plugin.config.max_body_bytes
                    && size > limit
                {
                    let refusal = Refusal::BodyTooLarge { limit };
                    return self.refuse(&refusal, &jsonrpc::error_without_id(&refusal));
                }
                if self.streams(size) {
                    self.phase = Phase::Streaming(Box::new(Streaming::new(&self.plugin.rewriter)));
                    return self.stream(|streaming, plugin| streaming.pass(plugin, end), end);
                }
                if end { self.settle() } else { Action::Pause }
            }
        }
    }

    /// The trailers have arrived: with them, no chunk of the body is marked as the last one.
    pub fn on_trailers(&mut self) -> Action {
        match self.phase {
            Phase::Passing | Phase::WebSocket(_) => return Action::Continue,
            Phase::Replied | Phase::Asking => return Action::Pause,
            Phase::WithoutBody(_) => return self.pass_without_body(),
            Phase::Streaming(_) | Phase::Collecting | Phase::Observing(_) => {}
        }
        let compressed = match Headers::RequestTrailers.all() {
            Ok(trailers) => classify::was_compressed(&trailers),
            Err(error) => return self.fail("trailers cannot be read", error),
        };
        match &mut self.phase {
            Phase::Observing(observing) => {
                let outcome = observing.end(&self.plugin, compressed);
                self.observed(outcome);
                Action::Continue
            }
            Phase::Streaming(_) => {
                self.stream(|streaming, plugin| streaming.end_by_trailers(plugin, compressed), true)
            }
            _ if compressed => self.settle_decompressed(),
            _ => self.settle(),
        }
    }

    /// No byte of a body has come.
    fn pass_without_body(&mut self) -> Action {
        self.plugin.metrics.count(Counter::PassedNoBody);
        self.phase = Phase::Passing;
        Action::Continue
    }

    /// Passes a chunk of a streamed body.
    fn stream(
        &mut self,
        pass: impl FnOnce(&mut Streaming, &Plugin) -> Result<(), Stop>,
        end: bool,
    ) -> Action {
        let Phase::Streaming(streaming) = &mut self.phase else { return Action::Continue };
        let passed = pass(streaming, &self.plugin);
        self.number = streaming.number();
        match passed {
            Ok(()) => {
                if end {
                    self.phase = Phase::Passing;
                }
                Action::Continue
            }
            Err(Stop::Refused(refusal, answer)) => self.refuse(&refusal, &answer),
            Err(Stop::Host(what, error)) => self.fail(what, error),
        }
    }

    /// The headers of the response have come.
    pub fn on_response_headers(&self) {
        let name = &self.plugin.config.head_header;
        if let Some(number) = self.number
            && !name.is_empty()
        {
            // Without the header, the answer is still right.
            let _ = Headers::Response.set(name, &number.to_string());
        }
        if let Some(observed) = &self.observed {
            let _ = Headers::Response.set(observing::HEADER, observed);
        }
        if self.from_sidecar {
            let _ = Headers::Response.set(headers::FILTER, build::VERSION);
        }
    }

    /// The body went through a decompressor, which forwards what it could read of a broken one.
    fn settle_decompressed(&mut self) -> Action {
        let read = host::buffer(Buffer::RequestBody, usize::MAX);
        match read.map(|body| self.plugin.rewriter.is_json(&body)) {
            Ok(true) => self.settle(),
            Ok(false) => {
                self.refuse(&Refusal::Unparsable, &jsonrpc::error_without_id(&Refusal::Unparsable))
            }
            Err(error) => self.fail("body cannot be read", error),
        }
    }

    /// The body is complete, and not too long: all of it has passed [`Self::on_body`].
    fn settle(&mut self) -> Action {
        self.inspect(|request, body, tagged| match request.plugin.config.freshness {
            Freshness::Cached => {
                let number = request.plugin.cached_number();
                request.rewrite(body, tagged, number)
            }
            Freshness::Strict => request.ask(body, tagged),
        })
    }

    /// Looks for tags in the whole body, and continues with `on_tags` if there are any.
    fn inspect(&mut self, on_tags: impl FnOnce(&mut Self, &[u8], &Tagged) -> Action) -> Action {
        let body = match host::buffer(Buffer::RequestBody, usize::MAX) {
            Ok(body) => body,
            Err(error) => return self.fail("body cannot be read", error),
        };
        if body.is_empty() {
            return self.pass_without_body();
        }
        match self.plugin.rewriter.inspect(&body) {
            Inspection::Untouched => {
                self.plugin.metrics.count(Counter::PassedNoTag);
                self.phase = Phase::Passing;
                Action::Continue
            }
            Inspection::Tagged(tagged) => on_tags(self, &body, &tagged),
            Inspection::Refused(denied) => self.refuse(&denied.refusal, &denied.refuse(&body)),
        }
    }

    /// Asks the sidecar. The host keeps the body meanwhile: the module's memory is never returned,
    /// and many bodies may wait.
    fn ask(&mut self, body: &[u8], tagged: &Tagged) -> Action {
        let timeout = self.plugin.config.freshness_timeout;
        let query = HeadQuery { confirm: true, ..HeadQuery::default() };
        match sidecar::ask(&self.plugin, &query, timeout) {
            Ok(_) => {
                self.phase = Phase::Asking;
                Action::Pause
            }
            Err(_) => {
                self.plugin.metrics.count(Counter::CalloutsFailed);
                self.rewrite(body, tagged, Err(NoHead::Unconfirmed))
            }
        }
    }

    /// The answer for which this request has waited.
    pub fn on_answer(&mut self) {
        let answer = sidecar::read_answer(&self.plugin, host::now());
        self.plugin.metrics.count(match answer {
            Ok(_) => Counter::CalloutsOk,
            Err(_) => Counter::CalloutsFailed,
        });
        let number = match answer {
            // The larger of the shared head and the answer. A status that forbids it says more.
            Ok(Answer::Head { update, confirmed, .. }) => {
                let number = update.after.usable_status();
                if confirmed { number } else { number.and(Err(NoHead::Unconfirmed)) }
            }
            Ok(Answer::NoHead) => Err(NoHead::Unknown),
            // The poller logs what is wrong with the sidecar.
            Err(_) => Err(NoHead::Unconfirmed),
        };
        let action = self.inspect(|request, body, tagged| request.rewrite(body, tagged, number));
        if action == Action::Continue
            && let Err(error) = host::resume_request()
        {
            self.fail("request cannot be resumed", error);
        }
    }

    fn rewrite(&mut self, body: &[u8], tagged: &Tagged, number: Result<u64, NoHead>) -> Action {
        let number = match number {
            Ok(number) => number,
            Err(reason) => {
                let refusal = Refusal::NoHead(reason);
                return self.refuse(&refusal, &tagged.refuse(body, &refusal));
            }
        };
        let rewritten = tagged.splice(body, number);
        if let Err(error) = self.replace(&rewritten) {
            return self.fail("body cannot be replaced", error);
        }
        self.plugin.metrics.count(Counter::BodiesRewritten);
        self.plugin.metrics.add(Counter::TagsReplaced, tagged.tags());
        self.number = Some(number);
        self.phase = Phase::Passing;
        Action::Continue
    }

    /// Replaces the body, and sets its length if the headers still wait.
    fn replace(&self, body: &[u8]) -> host::Result<()> {
        if self.plugin.config.framing == Framing::Exact {
            Headers::Request.set("content-length", &body.len().to_string())?;
        }
        host::replace_request_body(usize::MAX, body)
    }

    /// Answers in place of the node.
    fn refuse(&mut self, refusal: &Refusal, body: &[u8]) -> Action {
        if self.observes() {
            self.observed(Err(refusal.clone()));
            return Action::Continue;
        }
        self.plugin.metrics.refused(refusal.reason());
        self.reply(refusal.http_status(), body)
    }

    /// A host call failed: a tag may be left in the body, so it must not reach the node.
    fn fail(&mut self, what: &str, error: HostError) -> Action {
        host::log(Level::Error, &format!("request not inspected: {what}: {error}"));
        self.refuse(&Refusal::HostFailure, &jsonrpc::error_without_id(&Refusal::HostFailure))
    }

    fn reply(&mut self, status: u16, body: &[u8]) -> Action {
        self.phase = Phase::Replied;
        self.number = None;
        let headers: &[_] =
            if body.is_empty() { &[] } else { &[("content-type", "application/json")] };
        if let Err(error) = host::reply(status, headers, body) {
            host::log(Level::Error, &format!("request cannot be answered: {error}"));
        }
        Action::Pause
    }
}
