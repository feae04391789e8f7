//! From tokens to requests: which strings of a body are tags where it counts.
//!
//! Whether a string counts hangs on the request's method, which may stand after `params`; so candidates
//! are held until their request ends.

use std::borrow::Cow;

use super::scan::{Container, Span, Text, Tokens};
use super::text::{Unescaped, equals, names};
use super::{Denied, Id, Ids, Inspection, Rules, Scope, Tagged};
use crate::methods::{Position, positions};
use crate::refusal::Refusal;

/// The member of an EIP-1898 object that holds a tag or a number.
const BLOCK_NUMBER: &str = "blockNumber";

/// The state of a walk over one body.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    rules: &'a Rules,
    body: &'a [u8],
    /// Open containers.
    depth: usize,
    area: Area,
    batch: bool,
    /// Elements of the batch so far.
    elements: usize,
    request: Request,
    /// Tags found, in order.
    tags: Vec<Span>,
    /// Strings of the current request that are spelled like a tag and stand in `params`.
    held: Vec<Candidate>,
    /// Ids found, in order.
    ids: Vec<Id>,
    ambiguous: bool,
    /// The method looked up last; batches tend to repeat theirs.
    last_method: Option<(Text, Treatment)>,
}

/// The area of a body in which a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Area {
    /// Not in a request.
    Outside,
    /// Directly in a request object, after the name of this member.
    Request(Member),
    /// Inside a container that is the value of another member than `params`.
    OtherMember,
    /// Inside `params`.
    Params,
}

/// What a member of a request object is to the rewriter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Params,
    Method,
    Id,
    Other,
}

/// What is known about the current request.
#[derive(Debug, Default)]
struct Request {
    /// Open containers when its object has been opened.
    depth: usize,
    method: Option<Text>,
    /// Whether another `method` member is treated differently than the first.
    ambiguous: bool,
    id: Option<Id>,
    path: Path,
}

/// A place inside `params`.
#[derive(Debug, Clone, Copy, Default)]
struct Path {
    /// Open containers, `params` itself included.
    level: usize,
    /// Whether `params` is an array.
    positional: bool,
    /// Values of `params` begun so far.
    begun: usize,
    /// The member of the parameter, if that is an object.
    member: Option<Text>,
    /// The member of that member, if that is an object.
    inner: Option<Text>,
}

/// A string that is spelled like a tag.
#[derive(Debug)]
struct Candidate {
    span: Span,
    path: Path,
}

/// What the rules say of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Treatment {
    /// Any string in `params` counts.
    Everywhere,
    /// Only strings at these positions count.
    At(&'static [Position]),
    /// No string counts.
    Never,
}

impl<'a> Walk<'a> {
    pub(super) fn new(rules: &'a Rules, body: &'a [u8]) -> Self {
        Self {
            rules,
            body,
            depth: 0,
            area: Area::Outside,
            batch: false,
            elements: 0,
            request: Request::default(),
            tags: Vec::new(),
            held: Vec::new(),
            ids: Vec::new(),
            ambiguous: false,
            last_method: None,
        }
    }

    /// What to do with the body, once it has been scanned to its end.
    pub(super) fn verdict(mut self) -> Inspection {
        if self.ambiguous {
            return Denied::because(Refusal::AmbiguousMethod);
        }
        if self.tags.is_empty() {
            return Inspection::Untouched;
        }
        let limit = self.rules.max_batch_length;
        if self.batch && self.elements > limit {
            return Denied::because(Refusal::BatchTooLong { limit });
        }
        let ids = if self.batch { Ids::Batch(self.ids) } else { Ids::One(self.ids.pop()) };
        Inspection::Tagged(Tagged { tags: self.tags, ids })
    }

    fn begin_request(&mut self) {
        self.area = Area::Request(Member::Other);
        self.request = Request { depth: self.depth, ..Request::default() };
    }

    fn end_request(&mut self) {
        self.area = Area::Outside;
        self.ids.extend(self.request.id);
        if self.held.is_empty() {
            return;
        }
        self.ambiguous |= self.request.ambiguous;
        let treatment = self.treatment(self.request.method);
        let body = self.body;
        let counting = self
            .held
            .iter()
            .filter(|candidate| treatment.counts(&candidate.path, body))
            .map(|candidate| candidate.span);
        self.tags.extend(counting);
        self.held.clear();
    }

    fn method(&mut self, method: Text) {
        match self.request.method {
            None => self.request.method = Some(method),
            Some(first) => {
                self.request.ambiguous |=
                    self.treatment(Some(first)) != self.treatment(Some(method));
            }
        }
    }

    /// What the rules say of a method; a request without one is treated as one of an unknown method.
    fn treatment(&mut self, method: Option<Text>) -> Treatment {
        let Some(method) = method else {
            return Treatment::of("", self.rules);
        };
        let raw = method.raw(self.body);
        if let Some((last, treatment)) = self.last_method
            && last.raw(self.body) == raw
        {
            return treatment;
        }
        let name: Cow<'_, [u8]> = if method.escaped {
            Unescaped::new(raw).collect::<Vec<u8>>().into()
        } else {
            raw.into()
        };
        // No method that the rules know holds bytes that are not UTF-8.
        let treatment = Treatment::of(std::str::from_utf8(&name).unwrap_or_default(), self.rules);
        self.last_method = Some((method, treatment));
        treatment
    }

    fn candidate(&mut self, text: Text) {
        let raw = text.raw(self.body);
        if self.rules.tags.iter().any(|tag| equals(raw, text.escaped, tag)) {
            self.held.push(Candidate { span: text.span, path: self.request.path });
        }
    }

    /// A value that is no container begins outside of requests: an odd element of the batch, or the body.
    const fn odd_value(&mut self) {
        if self.depth == 1 {
            self.elements += 1;
        }
    }
}

impl Tokens for Walk<'_> {
    fn open(&mut self, container: Container) {
        self.depth += 1;
        match self.area {
            Area::Outside => {
                match self.depth {
                    1 => self.batch = container == Container::Array,
                    2 => self.elements += 1,
                    // Nested arrays of a batch are not requests.
                    _ => return,
                }
                if container == Container::Object {
                    self.begin_request();
                }
            }
            Area::Request(Member::Params) => {
                self.area = Area::Params;
                self.request.path =
                    Path { level: 1, positional: container == Container::Array, ..Path::default() };
            }
            Area::Request(member) => {
                if member == Member::Id {
                    self.request.id = Some(Id::Invalid);
                }
                self.area = Area::OtherMember;
            }
            Area::OtherMember => {}
            Area::Params => self.request.path.open(),
        }
    }

    fn close(&mut self) {
        match self.area {
            Area::Outside => {}
            Area::Request(_) => self.end_request(),
            Area::OtherMember | Area::Params => {
                self.request.path.level = self.request.path.level.saturating_sub(1);
                if self.depth == self.request.depth + 1 {
                    self.area = Area::Request(Member::Other);
                }
            }
        }
        self.depth -= 1;
    }

    fn name(&mut self, text: Text) {
        match self.area {
            Area::Request(_) => self.area = Area::Request(Member::of(text.raw(self.body))),
            Area::Params => self.request.path.name(text),
            Area::Outside | Area::OtherMember => {}
        }
    }

    fn string(&mut self, text: Text) {
        match self.area {
            Area::Params => {
                self.request.path.value();
                self.candidate(text);
            }
            Area::Request(Member::Params) => {
                self.request.path = Path::default();
                self.candidate(text);
            }
            Area::Request(Member::Method) => self.method(text),
            Area::Request(Member::Id) => self.request.id = Some(Id::Raw(text.span)),
            Area::Request(Member::Other) | Area::OtherMember => {}
            Area::Outside => self.odd_value(),
        }
    }

    fn scalar(&mut self, span: Span) {
        match self.area {
            Area::Params => self.request.path.value(),
            Area::Request(Member::Id) => self.request.id = Some(Id::Raw(span)),
            Area::Request(_) | Area::OtherMember => {}
            Area::Outside => self.odd_value(),
        }
    }
}

impl Member {
    fn of(raw: &[u8]) -> Self {
        match raw {
            b"jsonrpc" => Self::Other,
            b"method" => Self::Method,
            b"params" => Self::Params,
            b"id" => Self::Id,
            _ if names(raw, "params") => Self::Params,
            _ if names(raw, "method") => Self::Method,
            _ if names(raw, "id") => Self::Id,
            _ => Self::Other,
        }
    }
}

impl Path {
    /// A value that is no container.
    const fn value(&mut self) {
        if self.level == 1 {
            self.begun += 1;
        }
    }

    fn open(&mut self) {
        self.value();
        self.level += 1;
        match self.level {
            2 => self.member = None,
            3 => self.inner = None,
            _ => {}
        }
    }

    const fn name(&mut self, text: Text) {
        match self.level {
            2 => self.member = Some(text),
            3 => self.inner = Some(text),
            _ => {}
        }
    }
}

impl Treatment {
    fn of(method: &str, rules: &Rules) -> Self {
        if rules.never.contains(method) {
            return Self::Never;
        }
        match rules.scope {
            Scope::Params => Self::Everywhere,
            Scope::BlockParameters => Self::At(positions(method)),
        }
    }

    fn counts(self, path: &Path, body: &[u8]) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Never => false,
            Self::At(positions) => positions.iter().any(|position| is_at(position, path, body)),
        }
    }
}

/// Whether a path leads to the position, or to the block number in an EIP-1898 object there.
fn is_at(position: &Position, path: &Path, body: &[u8]) -> bool {
    let is = |text: Option<Text>, name| text.is_some_and(|text| names(text.raw(body), name));
    let (Position::Parameter { index, .. } | Position::Member { index, .. }) = *position;
    if !path.positional || path.begun != index + 1 {
        return false;
    }
    match (*position, path.level) {
        (Position::Parameter { .. }, 1) => true,
        (Position::Parameter { object: true, .. }, 2) => is(path.member, BLOCK_NUMBER),
        (Position::Member { name, .. }, 2) => is(path.member, name),
        (Position::Member { name, object: true, .. }, 3) => {
            is(path.member, name) && is(path.inner, BLOCK_NUMBER)
        }
        _ => false,
    }
}
