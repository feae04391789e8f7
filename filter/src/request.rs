//! The life of one request: which bodies are inspected, how they are held, and what becomes of
//! them.

use std::rc::Rc;

use finality_core::{
    build,
    head::HeadQuery,
    headers, jsonrpc,
    refusal::{NoHead, Refusal},
    rewrite::{Inspection, Tagged},
};

use crate::{
    config::{ContentEncoding, Framing, Freshness},
    host::{self, Buffer, HeaderList, Headers, HostError, Level},
    metrics::Counter,
    plugin::Plugin,
    sidecar::{self, Answer},
    streaming::{LONGEST_HELD_BODY, Stop, Streaming},
    websocket::WebSocket,
};

/// The key of a WebSocket client that has none: 16 bytes in base64. Nobody looks at what the node
/// makes of it.
const WEBSOCKET_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA==";

/// What the host shall do with what it has of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Pass it on.
    Continue = 0,
    /// Keep it.
    Pause = 1,
}

/// Where a request stands.
#[derive(Debug)]
enum Phase {
    /// It goes to the node as it is, or as it was rewritten.
    Passing,
    /// Its body is being collected.
    Collecting,
    /// Its body is rewritten while it passes.
    Streaming(Box<Streaming>),
    /// It became a WebSocket connection.
    WebSocket(WebSocket),
    /// Its body is complete and has a tag; the sidecar was asked for the head by the call with this
    /// token.
    Asking(u32),
    /// It was answered here.
    Replied,
}

/// What the headers of a request decide.
enum Verdict {
    Pass(Counter),
    WebSocket,
    /// Its length as its headers say it, in bytes.
    Inspect(Option<usize>),
    Refuse(Refusal),
}

/// The headers that decide, each by its first value that is not empty.
#[derive(Debug, Default)]
struct Told<'a> {
    method: Option<&'a [u8]>,
    upgrade: Option<&'a [u8]>,
    content_type: Option<&'a [u8]>,
    content_encoding: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    sidecar: Option<&'a [u8]>,
}

impl<'a> Told<'a> {
    /// Each request passes here: one look at each header.
    fn read(list: &'a HeaderList) -> Self {
        let mut told = Self::default();
        for (name, value) in list.iter() {
            let header = match name {
                b":method" => &mut told.method,
                b"upgrade" => &mut told.upgrade,
                b"content-type" => &mut told.content_type,
                b"content-length" => &mut told.content_length,
                b"content-encoding" => &mut told.content_encoding,
                _ if name == headers::SIDECAR.as_bytes() => &mut told.sidecar,
                _ => continue,
            };
            if !value.is_empty() {
                header.get_or_insert(value);
            }
        }
        told
    }
}

/// One request.
#[derive(Debug)]
pub struct Request {
    plugin: Rc<Plugin>,
    phase: Phase,
    /// Whether the sidecar sent it, which wants to know if it reads its node through this filter.
    from_sidecar: bool,
    /// What its tags became.
    number: Option<u64>,
}

impl Request {
    /// A request that has just begun.
    #[must_use]
    pub fn new(plugin: Rc<Plugin>) -> Self {
        Self { plugin, phase: Phase::Passing, from_sidecar: false, number: None }
    }

    /// The headers have come.
    pub fn on_headers(&mut self, end: bool) -> Action {
        self.plugin.metrics.count(Counter::Requests);
        match self.judge(end) {
            Verdict::Pass(reason) => {
                self.plugin.metrics.count(reason);
                Action::Continue
            }
            Verdict::WebSocket => self.upgrade(),
            Verdict::Inspect(length) => self.collect(length),
            Verdict::Refuse(refusal) => self.refuse(&refusal, &jsonrpc::error_without_id(&refusal)),
        }
    }

    /// What to do with a request, by its headers. One that the host does not tell counts as absent,
    /// so that the body is inspected in doubt.
    fn judge(&mut self, end: bool) -> Verdict {
        let told = Headers::Request.all();
        let Told { method, upgrade, content_type, content_encoding, content_length, sidecar } =
            Told::read(&told);
        self.from_sidecar = sidecar.is_some();
        // Envoy keeps this header only where it really upgrades; an upgrade over HTTP/2 bears it,
        // too.
        if let Some(protocol) = upgrade {
            let is_websocket = protocol.trim_ascii().eq_ignore_ascii_case(b"websocket");
            return if is_websocket {
                Verdict::WebSocket
            } else {
                Verdict::Pass(Counter::PassedUpgrade)
            };
        }
        if method.is_some_and(|method| method != b"POST") {
            return Verdict::Pass(Counter::PassedMethod);
        }
        if end {
            return Verdict::Pass(Counter::PassedNoBody);
        }
        if content_type.is_some_and(|value| !may_be_json_rpc(value)) {
            return Verdict::Pass(Counter::PassedContentType);
        }
        if let Some(encoding) = content_encoding.and_then(encoding) {
            return match self.plugin.config.content_encoding {
                ContentEncoding::Pass => Verdict::Pass(Counter::PassedEncoded),
                ContentEncoding::Refuse => Verdict::Refuse(Refusal::Encoded { encoding }),
            };
        }
        let length = content_length
            .and_then(|value| std::str::from_utf8(value).ok()?.parse::<u64>().ok())
            .map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        if let (Some(length), Some(limit)) = (length, self.plugin.config.max_body_bytes)
            && length > limit
        {
            return Verdict::Refuse(Refusal::BodyTooLarge { limit });
        }
        Verdict::Inspect(length)
    }

    /// The headers of an upgrade are never held: nothing else would come.
    fn upgrade(&mut self) -> Action {
        // A client over HTTP/2 sends no key, and Envoy makes none up. Without one, a node over
        // HTTP/1.1 refuses.
        if let [None] = Headers::Request.all().get(["sec-websocket-key"]) {
            let _ = Headers::Request.set("sec-websocket-key", WEBSOCKET_KEY);
        }
        // Compression must not be agreed on: what is compressed cannot be read.
        match Headers::Request.remove("sec-websocket-extensions") {
            Ok(()) => {
                self.phase = Phase::WebSocket(WebSocket::new(Rc::clone(&self.plugin)));
                Action::Continue
            }
            Err(error) => self.fail("WebSocket extensions cannot be declined", error),
        }
    }

    fn collect(&mut self, length: Option<usize>) -> Action {
        // A body that will not be held to its end is not held at all: a part that comes upon held
        // ones must not take the host beyond its buffer, and may be as long as that alone.
        self.phase = if length.is_some_and(|length| self.streams(length)) {
            Phase::Streaming(Box::new(Streaming::new(&self.plugin.rewriter)))
        } else {
            Phase::Collecting
        };
        match self.plugin.config.framing {
            // The headers go ahead, before it is known how long the body will be.
            Framing::Chunked => match Headers::Request.remove("content-length") {
                Ok(()) => Action::Continue,
                Err(error) => self.fail("content-length cannot be removed", error),
            },
            Framing::Exact => Action::Pause,
        }
    }

    /// Whether a body that is at least this long, in bytes, is rewritten while it passes.
    fn streams(&self, length: usize) -> bool {
        self.plugin.config.streams() && length > LONGEST_HELD_BODY
    }

    /// A part of the body has come. Where the body is held, `size` bytes of it are buffered by now.
    pub fn on_body(&mut self, size: usize, end: bool) -> Action {
        match &mut self.phase {
            Phase::Passing => Action::Continue,
            Phase::Replied | Phase::Asking(_) => Action::Pause,
            Phase::Streaming(_) => {
                self.stream(|streaming, plugin| streaming.pass(plugin, end), end)
            }
            Phase::WebSocket(connection) => match connection.pass() {
                Ok(()) => Action::Continue,
                Err(error) => self.fail("WebSocket frames cannot be exchanged", error),
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

    /// The trailers have come: with them, no part of the body is marked as the last one.
    pub fn on_trailers(&mut self) -> Action {
        match &mut self.phase {
            Phase::Passing | Phase::WebSocket(_) => Action::Continue,
            Phase::Replied | Phase::Asking(_) => Action::Pause,
            Phase::Streaming(_) => self.stream(
                |streaming, plugin| streaming.end_by_trailers(plugin, was_compressed()),
                true,
            ),
            Phase::Collecting if was_compressed() => self.settle_decompressed(),
            Phase::Collecting => self.settle(),
        }
    }

    /// Lets a part of a body pass that is rewritten on its way.
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
    pub fn on_response_headers(&mut self) -> Action {
        let name = &self.plugin.config.head_header;
        if let Some(number) = self.number
            && !name.is_empty()
        {
            // A client that gets no number back has a right answer all the same.
            let _ = Headers::Response.set(name, &number.to_string());
        }
        if self.from_sidecar {
            let _ = Headers::Response.set(headers::FILTER, build::VERSION);
        }
        Action::Continue
    }

    /// The body went through a decompressor, which lets pass what it could read of one that is
    /// broken.
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

    /// Looks for tags in the whole body, and goes on by `on_tags` where there are some.
    fn inspect(&mut self, on_tags: impl FnOnce(&mut Self, &[u8], &Tagged) -> Action) -> Action {
        let body = match host::buffer(Buffer::RequestBody, usize::MAX) {
            Ok(body) => body,
            Err(error) => return self.fail("body cannot be read", error),
        };
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

    /// Asks the sidecar. The body is left to the host meanwhile: memory of this module would never
    /// be given back, and many bodies may wait.
    fn ask(&mut self, body: &[u8], tagged: &Tagged) -> Action {
        let timeout = self.plugin.config.freshness_timeout;
        match sidecar::ask(&self.plugin, &HeadQuery::default(), timeout) {
            Ok(token) => {
                self.phase = Phase::Asking(token);
                Action::Pause
            }
            Err(_) => {
                self.plugin.metrics.count(Counter::CalloutsFailed);
                self.rewrite(body, tagged, Err(NoHead::Unconfirmed))
            }
        }
    }

    /// Whether it waits for the answer to the call with that token.
    #[must_use]
    pub fn asks(&self, token: u32) -> bool {
        matches!(self.phase, Phase::Asking(asked) if asked == token)
    }

    /// The answer for which this request, of that context, has waited.
    pub fn on_answer(&mut self, context: u32) {
        let answer = sidecar::read_answer(&self.plugin, host::now());
        self.plugin.metrics.count(match answer {
            Ok(_) => Counter::CalloutsOk,
            Err(_) => Counter::CalloutsFailed,
        });
        let number = match answer {
            // The larger of the two: of what was told before and of the answer.
            Ok(Answer::Head { update, .. }) => update.after.usable_status(),
            Ok(Answer::NoHead) => Err(NoHead::Unknown),
            // The poller says in the log what is wrong with the sidecar.
            Err(_) => Err(NoHead::Unconfirmed),
        };
        if let Err(error) = host::set_current_context(context) {
            // Neither an answer nor the way to the node is possible: Envoy ends what stays idle.
            return host::log(Level::Error, &format!("request cannot be gone on with: {error}"));
        }
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

    /// Replaces the body, and says its length where the headers still wait.
    fn replace(&self, body: &[u8]) -> host::Result<()> {
        if self.plugin.config.framing == Framing::Exact {
            Headers::Request.set("content-length", &body.len().to_string())?;
        }
        host::replace_request_body(usize::MAX, body)
    }

    /// Answers in place of the node.
    fn refuse(&mut self, refusal: &Refusal, body: &[u8]) -> Action {
        self.plugin.metrics.refused(refusal.reason());
        self.reply(refusal.http_status(), body)
    }

    /// The host does not do its part: a tag may be left in the body, so it must not reach the node.
    fn fail(&mut self, what: &str, error: HostError) -> Action {
        host::log(Level::Error, &format!("request refused: {what}: {error}"));
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

/// Whether a body of this content-type may be JSON-RPC that a node reads.
fn may_be_json_rpc(content_type: &[u8]) -> bool {
    if content_type == b"application/json" {
        return true;
    }
    let end = content_type.iter().position(|byte| matches!(byte, b';' | b','));
    let media_type = content_type.get(..end.unwrap_or(content_type.len())).unwrap_or_default();
    let media_type = media_type.trim_ascii().to_ascii_lowercase();
    media_type.is_empty()
        || media_type.ends_with(b"+json")
        || [
            b"application/json".as_slice(),
            b"application/json-rpc",
            b"application/jsonrequest",
            b"text/json",
            b"text/plain",
        ]
        .contains(&media_type.as_slice())
}

/// Whether Envoy's decompressor stands in front and had a body to read. It says how much in a
/// trailer that it adds, whose name bears that of its library as the configuration calls it.
fn was_compressed() -> bool {
    Headers::RequestTrailers.all().iter().any(|(name, bytes)| {
        name.starts_with(b"x-envoy-decompressor-")
            && name.ends_with(b"-compressed-bytes")
            && bytes != b"0"
    })
}

/// The first coding of a content-encoding that changes the body, as text short enough to echo.
fn encoding(content_encoding: &[u8]) -> Option<String> {
    const ECHOED: usize = 32;
    let coding = content_encoding
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .find(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))?;
    Some(String::from_utf8_lossy(coding).chars().take(ECHOED).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_by_any_name_is_inspected() {
        for content_type in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json-rpc",
            "application/jsonrequest",
            "application/vnd.api+json;v=1",
            "text/json",
            "text/plain",
            "TEXT/PLAIN ; charset=x",
            " application/json",
            "application/json,text/html",
            "; charset=utf-8",
        ] {
            assert!(may_be_json_rpc(content_type.as_bytes()), "{content_type}");
        }
        for content_type in [
            "application/grpc",
            "application/grpc+proto",
            "application/x-www-form-urlencoded",
            "application/octet-stream",
            "text/html; x=application/json",
            "application/json5",
            "json",
            "\u{fffd}",
        ] {
            assert!(!may_be_json_rpc(content_type.as_bytes()), "{content_type}");
        }
    }

    #[test]
    fn only_codings_that_change_the_body_count() {
        for value in ["identity", "Identity", "", " , identity,"] {
            assert_eq!(encoding(value.as_bytes()), None, "{value}");
        }
        assert_eq!(encoding(b"gzip").as_deref(), Some("gzip"));
        assert_eq!(encoding(b"identity, br").as_deref(), Some("br"));
        assert_eq!(encoding(b"\xff\xfe").as_deref(), Some("\u{fffd}\u{fffd}"));
        assert_eq!(encoding(&[b'x'; 1000]).map(|text| text.len()), Some(32));
    }
}
