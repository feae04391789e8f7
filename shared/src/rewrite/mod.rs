//! Finding finality tags in a JSON-RPC request body and splicing a block number in their place.
//!
//! A [`Rewriter`] is prepared once from [`Rules`]; [`Rewriter::inspect`] says of a body whether it
//! goes to the node untouched, holds tags, or must be refused. Only the matched string tokens ever
//! change. A body too long to be held is rewritten while it passes, by the same rules:
//! [`Rewriter::stream`].
//!
//! A match is a JSON string *value* inside `params` of a request (the top-level object, or an
//! object that is an element of the top-level array) that equals a tag after unescaping, exactly.
//! How ambiguous bodies are read:
//!
//! - The names `params`, `method` and `id` are compared as Go's JSON does: after unescaping,
//!   without case, U+017F as `s` and U+212A as `k`. Duplicate `params`: all of them count.
//!   Duplicate `id`: the last one.
//! - Duplicate `method` members: nodes differ in which one they obey. If the rules treat the
//!   methods of a request with a tag alike, nothing hangs on it; otherwise the body is refused.
//!   Methods that are not strings count for nothing, and a request without a method is treated as
//!   one of an unknown method.
//! - Strings may hold lone surrogates and bytes that are not UTF-8: the node judges them, they
//!   cannot be part of a tag. Anything else that RFC 8259 forbids, a byte order mark included,
//!   makes a body that may hold a tag unparsable; one that cannot hold a tag is not looked at.

mod prefilter;
mod rules;
mod scan;
mod stream;
mod text;
mod walk;

use std::{ops::Range, sync::Arc};

use crate::{head::push_hex_number, jsonrpc, refusal::Refusal};
use prefilter::Prefilter;
use scan::{Fault, Scanner, Span, Window};
use walk::{Reading, Walk};

pub use rules::{DEFAULT_MAX_BODY_BYTES, DEFAULT_MAX_HELD_BYTES, Rules, RulesError, Scope};
pub use stream::{Passage, Stream};

/// Finds tags in bodies by the rules that it was prepared for.
///
/// ```
/// use finality_core::refusal::{NoHead, Refusal};
/// use finality_core::rewrite::{Inspection, Rewriter, Rules};
///
/// let rewriter = Rewriter::new(Rules::default())?;
/// let body = br#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0xabc", "espresso"]}"#;
/// let Inspection::Tagged(tagged) = rewriter.inspect(body) else { unreachable!("there is a tag") };
///
/// // With a head, the tag becomes its number.
/// assert_eq!(
///     tagged.splice(body, 100),
///     br#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0xabc", "0x64"]}"#,
/// );
/// // Without one, the request is refused.
/// let answer = tagged.refuse(body, &Refusal::NoHead(NoHead::Unknown));
/// assert!(answer.starts_with(br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32055,"#));
///
/// // A body that may hold a tag but cannot be read is refused whatever the head.
/// let cut = br#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0xabc", "espresso""#;
/// let Inspection::Refused(denied) = rewriter.inspect(cut) else { unreachable!("it is cut") };
/// assert_eq!(denied.refusal, Refusal::Unparsable);
///
/// // Anything without a tag is left alone, also what is not JSON.
/// assert!(matches!(rewriter.inspect(b"hello"), Inspection::Untouched));
/// # Ok::<(), finality_core::rewrite::RulesError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Rewriter {
    prepared: Arc<Prepared>,
}

/// What all bodies share.
#[derive(Debug)]
struct Prepared {
    rules: Rules,
    prefilter: Prefilter,
    /// The longest way to spell a tag, every byte of it escaped.
    longest_spelling: usize,
}

/// What a body holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspection {
    /// No tag where it counts: the very bytes are forwarded.
    Untouched,
    /// At least one tag: spliced when there is a head, refused when not.
    Tagged(Tagged),
    /// The body may hold a tag but cannot be read as one that does, or is beyond a limit: refused
    /// whatever the head.
    Refused(Denied),
}

impl Rewriter {
    /// Prepares a rewriter.
    ///
    /// # Errors
    /// [`RulesError`] when the rules cannot be meant.
    pub fn new(rules: Rules) -> Result<Self, RulesError> {
        rules.check()?;
        let prefilter = Prefilter::new(&rules.tags);
        let longest = rules.tags.iter().map(String::len).max().unwrap_or_default();
        let longest_spelling = longest * "\\u0000".len();
        Ok(Self { prepared: Arc::new(Prepared { rules, prefilter, longest_spelling }) })
    }

    /// The rules it was prepared for.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.prepared.rules
    }

    /// Says what to do with a body. A body that cannot hold a tag is searched once and not parsed.
    #[must_use]
    pub fn inspect(&self, body: &[u8]) -> Inspection {
        let Prepared { rules, prefilter, .. } = &*self.prepared;
        if !prefilter.may_hold_tag(body) {
            return Inspection::Untouched;
        }
        let mut walk = match self.walk(body) {
            Ok(walk) => walk,
            Err(fault) => return Denied::because(fault.refusal(rules)),
        };
        if walk.ambiguous {
            return Denied::because(Refusal::AmbiguousMethod);
        }
        if walk.is_too_long(rules) {
            return Denied::because(Refusal::BatchTooLong { limit: rules.max_batch_length });
        }
        if walk.tags.is_empty() {
            return Inspection::Untouched;
        }
        let ids = if walk.is_batch() { Ids::Batch(walk.ids) } else { Ids::One(walk.ids.pop()) };
        Inspection::Tagged(Tagged { tags: walk.tags, ids })
    }

    /// Whether a body is one JSON value, with or without tags; one that is nested too deeply to
    /// tell counts as such.
    #[must_use]
    pub fn is_json(&self, body: &[u8]) -> bool {
        !matches!(self.walk(body), Err(Fault::Syntax))
    }

    fn walk(&self, body: &[u8]) -> Result<Walk, Fault> {
        let rules = self.rules();
        let mut scanner = Scanner::new(rules.max_depth);
        let mut walk = Walk::default();
        let window = Window { bytes: body, start: 0 };
        let mut reading = Reading { walk: &mut walk, rules, window };
        scanner.feed(body, &mut reading)?;
        scanner.finish(&mut reading)?;
        Ok(walk)
    }

    /// Begins to rewrite a body while it passes, by the same rules.
    #[must_use]
    pub fn stream(&self) -> Stream {
        Stream::new(Arc::clone(&self.prepared))
    }
}

impl Fault {
    /// What a body that may hold a tag is refused for.
    const fn refusal(self, rules: &Rules) -> Refusal {
        match self {
            Self::Syntax => Refusal::Unparsable,
            Self::TooDeep => Refusal::TooDeep { limit: rules.max_depth },
        }
    }
}

/// The tags of a body, by their places in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged {
    /// The matched tokens, quotes included, in order.
    tags: Vec<Span>,
    ids: Ids,
}

/// The ids of a body's requests, by their places in it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ids {
    /// The body is one request; `None` when it is a notification.
    One(Option<Id>),
    /// The body is a batch; its notifications are not in it.
    Batch(Vec<Id>),
}

/// The id of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Id {
    /// A string, a number or a literal, by its place.
    Raw(Span),
    /// An object or an array, which cannot be an id: answered with `null`.
    Invalid,
}

impl Id {
    fn bytes(self, body: &[u8]) -> &[u8] {
        match self {
            Self::Raw(span) => body.get(span.start..span.end).unwrap_or_default(),
            Self::Invalid => b"null",
        }
    }
}

impl Tagged {
    /// How many tags there are; never zero.
    #[must_use]
    pub const fn tags(&self) -> usize {
        self.tags.len()
    }

    /// Where the tags stand in the body, in bytes, quotes included, in order.
    pub fn places(&self) -> impl Iterator<Item = Range<usize>> {
        self.tags.iter().map(|tag| tag.start..tag.end)
    }

    /// The body with every tag replaced by the number, as minimal lower-case hex. `body` is the one
    /// that was inspected.
    #[must_use]
    pub fn splice(&self, body: &[u8], number: u64) -> Vec<u8> {
        let value = token(number);
        let mut spliced = Vec::with_capacity(body.len() + self.tags.len() * value.len());
        let mut from = 0;
        for tag in &self.tags {
            spliced.extend_from_slice(body.get(from..tag.start).unwrap_or_default());
            spliced.extend_from_slice(value.as_bytes());
            from = tag.end;
        }
        spliced.extend_from_slice(body.get(from..).unwrap_or_default());
        spliced
    }

    /// The answer when the tags cannot be replaced: one error for each request that has an id, in
    /// order, tagged or not, since the whole body is refused; in an array if the body is a batch.
    /// Empty when there are only notifications. `body` is the one that was inspected.
    #[must_use]
    pub fn refuse(&self, body: &[u8], refusal: &Refusal) -> Vec<u8> {
        match &self.ids {
            Ids::One(None) => Vec::new(),
            Ids::One(Some(id)) => jsonrpc::error(id.bytes(body), refusal),
            Ids::Batch(ids) => jsonrpc::errors(ids.iter().map(|id| id.bytes(body)), refusal),
        }
    }

    /// What goes to the node in place of this body, so that the node refuses it:
    /// [`jsonrpc::unknown_call`] for each request that has an id, as in [`Self::refuse`].
    #[must_use]
    pub fn unknown(&self, body: &[u8], refusal: &Refusal) -> Vec<u8> {
        match &self.ids {
            Ids::One(None) => Vec::new(),
            Ids::One(Some(id)) => jsonrpc::unknown_call(id.bytes(body), refusal),
            Ids::Batch(ids) => jsonrpc::unknown_calls(ids.iter().map(|id| id.bytes(body)), refusal),
        }
    }
}

/// What takes the place of a tag, quotes included.
fn token(number: u64) -> String {
    let mut token = String::with_capacity("\"0x\"".len() + 16);
    token.push('"');
    push_hex_number(&mut token, number);
    token.push('"');
    token
}

/// A body that is refused whatever the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// Why.
    pub refusal: Refusal,
}

impl Denied {
    const fn because(refusal: Refusal) -> Inspection {
        Inspection::Refused(Self { refusal })
    }

    /// The answer: one error object whose id is `null`, since the ids of a body that was not read
    /// to its end cannot all be told. `body` is the one that was inspected.
    #[must_use]
    pub fn body(&self, _body: &[u8]) -> Vec<u8> {
        jsonrpc::error_without_id(&self.refusal)
    }
}
