//! Turns tokens into requests: finds the strings of a body that are eligible tags.
//!
//! Whether a string is eligible depends on the request's method, which may follow `params`. So
//! candidates are held until the method is known, or until their request ends. No bytes are kept,
//! so that a body can be walked in parts.

use super::{
    Id, Prepared, Refusal, Rules, Scope,
    scan::{Container, Span, Text, Tokens, Window},
    text::{Unescaped, is_tag, names, snake_case},
};
use crate::methods::{BLOCK_NUMBER, ParameterName, Position, RowId};

/// The longest method, in bytes as spelled in the body, that is looked up in the rules.
pub(super) const LONGEST_METHOD: usize = 1024;

/// The state of a walk over one body.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Number of open containers.
    depth: usize,
    area: Area,
    batch: bool,
    /// Number of elements of the batch so far.
    elements: usize,
    request: Request,
    /// Eligible tags, in order.
    pub(super) tags: Vec<Span>,
    /// Whether there was any, even if `tags` has been drained.
    tagged: bool,
    /// Candidates of the current request while its method is unknown.
    held: Vec<Candidate>,
    /// The most bytes between a candidate and the point where its method was known.
    pub(super) longest_hold: usize,
    /// Ids of the requests that have ended, in order.
    pub(super) ids: Vec<Id>,
    /// Whether a request with a candidate has several methods with different rules.
    ambiguous: bool,
    /// The method looked up last, since batches tend to repeat theirs.
    last_method: Option<(Vec<u8>, Treatment)>,
}

/// A walk that reads a part of the body.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub(super) walk: &'a mut Walk,
    pub(super) prepared: &'a Prepared,
    /// The part of the body that is available. It starts no later than any token that may matter.
    pub(super) window: Window<'a>,
}

/// Where in a body a token is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Area {
    /// Not in a request.
    #[default]
    Outside,
    /// In a request object itself, after the name of this member.
    Request(Member),
    /// Inside a container that is the value of a member other than `params`.
    OtherMember,
    /// Inside `params`.
    Params,
}

/// A member of a request object.
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
    /// Number of open containers, including its object.
    depth: usize,
    /// The rules for its first method.
    treatment: Option<Treatment>,
    /// Whether its `params` contain a candidate.
    candidates: bool,
    /// Whether another `method` member has different rules than the first.
    ambiguous: bool,
    id: Option<Id>,
    path: Path,
}

/// A position inside `params`.
#[derive(Debug, Clone, Copy, Default)]
struct Path {
    /// Number of open containers, including `params` itself.
    level: usize,
    /// Whether `params` is an array.
    positional: bool,
    /// Number of parameters begun so far.
    begun: usize,
    /// The name of the parameter, if `params` is an object and the method table mentions the name.
    name: Option<ParameterName>,
    /// The member of an object parameter, if the method table mentions its name: the index of the
    /// name in [`Prepared::members`].
    member: Option<u16>,
    /// Whether it is the block number of an object in that member.
    block_number: bool,
}

/// A string in `params` that is a tag.
#[derive(Debug)]
struct Candidate {
    span: Span,
    path: Path,
}

/// The rules for a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Treatment {
    /// Every string in `params` is eligible.
    Everywhere,
    /// Only strings at the positions of this row of the method table are eligible.
    At(RowId),
    /// No string is eligible.
    Nowhere,
}

impl Walk {
    /// Whether the body is a batch.
    pub(super) const fn is_batch(&self) -> bool {
        self.batch
    }

    /// Why the body is refused, as far as it has been read.
    pub(super) fn refusal(&self, rules: &Rules) -> Option<Refusal> {
        let limit = rules.max_batch_length;
        if self.ambiguous {
            Some(Refusal::AmbiguousMethod)
        } else if self.batch && self.tagged && self.elements > limit {
            Some(Refusal::BatchTooLong { limit })
        } else {
            None
        }
    }

    /// The id of the current request, if it has been read.
    pub(super) const fn id(&self) -> Option<Id> {
        self.request.id
    }

    /// Memory allocated, in bytes.
    pub(super) const fn memory(&self) -> usize {
        self.tags.capacity() * size_of::<Span>()
            + self.held.capacity() * size_of::<Candidate>()
            + self.ids.capacity() * size_of::<Id>()
    }

    /// Offset of the first candidate whose method is unknown.
    pub(super) fn held_from(&self) -> Option<usize> {
        self.held.first().map(|candidate| candidate.span.start)
    }

    /// Whether a string that starts now may be a candidate.
    pub(super) const fn awaits_candidate(&self) -> bool {
        matches!(self.area, Area::Params | Area::Request(Member::Params))
    }

    fn begin_request(&mut self) {
        self.area = Area::Request(Member::Other);
        self.request = Request { depth: self.depth, ..Request::default() };
    }

    fn end_request(&mut self, end: usize, prepared: &Prepared) {
        self.area = Area::Outside;
        self.ids.extend(self.request.id.take());
        if !self.held.is_empty() {
            // A request without a method is treated like one with an unknown method.
            self.decide_held(Treatment::of(b"", prepared), end, prepared);
        }
        self.ambiguous |= self.request.candidates && self.request.ambiguous;
    }

    /// Decides the held candidates, at this offset of the body.
    fn decide_held(&mut self, treatment: Treatment, offset: usize, prepared: &Prepared) {
        if let Some(from) = self.held_from() {
            self.longest_hold = self.longest_hold.max(offset - from);
        }
        for candidate in std::mem::take(&mut self.held) {
            self.decide(treatment, candidate, prepared);
        }
    }

    fn decide(&mut self, treatment: Treatment, candidate: Candidate, prepared: &Prepared) {
        if treatment.covers(&candidate.path, prepared) {
            self.tagged = true;
            self.tags.push(candidate.span);
        }
    }

    /// A string or scalar outside of requests: an element of the batch, or the whole body.
    const fn other_element(&mut self) {
        if self.depth == 1 {
            self.elements += 1;
        }
    }
}

impl Reading<'_> {
    fn method(&mut self, method: Text) {
        let treatment = self.treatment(method);
        match self.walk.request.treatment {
            None => {
                self.walk.request.treatment = Some(treatment);
                self.walk.decide_held(treatment, method.span.end, self.prepared);
            }
            Some(first) => {
                self.walk.request.ambiguous |= !first.is_like(treatment, self.prepared);
            }
        }
    }

    /// The rules for a method.
    fn treatment(&mut self, method: Text) -> Treatment {
        let raw = method.raw(self.window).unwrap_or_default();
        let raw = if raw.len() > LONGEST_METHOD { b"" } else { raw };
        if let Some((last, treatment)) = &self.walk.last_method
            && last == raw
        {
            return *treatment;
        }
        let treatment = if method.escaped {
            Treatment::of(&Unescaped::new(raw).collect::<Vec<u8>>(), self.prepared)
        } else {
            Treatment::of(raw, self.prepared)
        };
        if !self.walk.batch {
            return treatment;
        }
        let (last, known) = self.walk.last_method.get_or_insert_with(|| (Vec::new(), treatment));
        last.clear();
        last.extend_from_slice(raw);
        *known = treatment;
        treatment
    }

    fn candidate(&mut self, text: Text) {
        let Some(raw) = text.raw(self.window) else { return };
        if !self.prepared.rules.tags.iter().any(|tag| is_tag(raw, text.escaped, tag)) {
            return;
        }
        let candidate = Candidate { span: text.span, path: self.walk.request.path };
        self.walk.request.candidates = true;
        match self.walk.request.treatment {
            Some(treatment) => self.walk.decide(treatment, candidate, self.prepared),
            None => self.walk.held.push(candidate),
        }
    }
}

impl Tokens for Reading<'_> {
    fn open(&mut self, container: Container) {
        self.walk.depth += 1;
        match self.walk.area {
            Area::Outside => {
                match self.walk.depth {
                    1 => self.walk.batch = container == Container::Array,
                    2 => self.walk.elements += 1,
                    // Arrays inside a batch contain no requests.
                    _ => return,
                }
                if container == Container::Object {
                    self.walk.begin_request();
                }
            }
            Area::Request(Member::Params) => {
                self.walk.area = Area::Params;
                self.walk.request.path =
                    Path { level: 1, positional: container == Container::Array, ..Path::default() };
            }
            Area::Request(member) => {
                if member == Member::Id {
                    self.walk.request.id = Some(Id::Invalid);
                }
                self.walk.area = Area::OtherMember;
            }
            Area::OtherMember => {}
            Area::Params => self.walk.request.path.open(),
        }
    }

    fn close(&mut self, end: usize) {
        match self.walk.area {
            Area::Outside => {}
            Area::Request(_) => self.walk.end_request(end, self.prepared),
            Area::OtherMember | Area::Params => {
                self.walk.request.path.level = self.walk.request.path.level.saturating_sub(1);
                if self.walk.depth == self.walk.request.depth + 1 {
                    self.walk.area = Area::Request(Member::Other);
                }
            }
        }
        self.walk.depth -= 1;
    }

    fn name(&mut self, text: Text) {
        match self.walk.area {
            Area::Request(_) => {
                self.walk.area =
                    Area::Request(Member::of(text.raw(self.window).unwrap_or_default()))
            }
            Area::Params if self.prepared.rules.scope == Scope::BlockParameters => {
                let raw = text.raw(self.window).unwrap_or_default();
                self.walk.request.path.name(raw, self.prepared);
            }
            Area::Params | Area::Outside | Area::OtherMember => {}
        }
    }

    fn string(&mut self, text: Text) {
        match self.walk.area {
            Area::Params => {
                self.walk.request.path.value();
                self.candidate(text);
            }
            Area::Request(Member::Params) => {
                self.walk.request.path = Path::default();
                self.candidate(text);
            }
            Area::Request(Member::Method) => self.method(text),
            Area::Request(Member::Id) => self.walk.request.id = Some(Id::Raw(text.span)),
            Area::Request(Member::Other) | Area::OtherMember => {}
            Area::Outside => self.walk.other_element(),
        }
    }

    fn scalar(&mut self, span: Span) {
        match self.walk.area {
            Area::Params => self.walk.request.path.value(),
            Area::Request(Member::Id) => self.walk.request.id = Some(Id::Raw(span)),
            Area::Request(_) | Area::OtherMember => {}
            Area::Outside => self.walk.other_element(),
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
    /// A value starts.
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
            3 => self.block_number = false,
            _ => {}
        }
    }

    fn name(&mut self, raw: &[u8], prepared: &Prepared) {
        match self.level {
            1 => self.name = snake_case(raw).and_then(|name| ParameterName::find(&name)),
            2 => {
                let mut members = (0..).zip(&prepared.members);
                self.member = members.find(|(_, member)| names(raw, member)).map(|(at, _)| at);
            }
            3 => self.block_number = names(raw, BLOCK_NUMBER),
            _ => {}
        }
    }

    /// Whether this is the position, or the block number of an EIP-1898 object there, in whatever
    /// parameter it is.
    fn fits(&self, position: &Position, prepared: &Prepared) -> bool {
        let is_in = |name: &str| {
            let member = self.member.and_then(|at| prepared.members.get(usize::from(at)));
            member.is_some_and(|member| member == name)
        };
        match (position, self.level) {
            (Position::Parameter { .. }, 1) => true,
            (Position::Parameter { object: true, .. }, 2) => is_in(BLOCK_NUMBER),
            (Position::Member { name, .. }, 2) => is_in(name),
            (Position::Member { name, object: true, .. }, 3) => is_in(name) && self.block_number,
            _ => false,
        }
    }
}

impl Treatment {
    /// `method` is unescaped.
    fn of(method: &[u8], prepared: &Prepared) -> Self {
        let rules = &prepared.rules;
        // All methods in the rules are valid UTF-8.
        let method = std::str::from_utf8(method).unwrap_or_default();
        match rules.scope {
            Scope::Params if rules.excluded.contains(method) => Self::Nowhere,
            Scope::Params => Self::Everywhere,
            Scope::BlockParameters if rules.excluded.extra_contains(method) => Self::Nowhere,
            Scope::BlockParameters => {
                rules.block_parameters.find(method).map_or(Self::Nowhere, Self::At)
            }
        }
    }

    fn covers(self, path: &Path, prepared: &Prepared) -> bool {
        let Self::At(row) = self else { return self == Self::Everywhere };
        let row = prepared.rules.block_parameters.row(row);
        let index = match path.name {
            _ if path.positional => path.begun.checked_sub(1),
            Some(name) => row.index_of(name),
            None => None,
        };
        let fits = |position: &Position| path.fits(position, prepared);
        match index {
            Some(index) => row.positions.iter().any(|at| at.index() == index && fits(at)),
            // The node knows which parameter this is, but we do not.
            None => path.level == 1 || row.positions.iter().any(fits),
        }
    }

    /// Whether the same strings are eligible.
    fn is_like(self, other: Self, prepared: &Prepared) -> bool {
        let table = &prepared.rules.block_parameters;
        match (self, other) {
            (Self::At(one), Self::At(other)) => table.row(one) == table.row(other),
            _ => self == other,
        }
    }
}
