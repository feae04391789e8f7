//! Finds finality tags in a JSON-RPC request body and replaces them with a block number.
//!
//! A [`Rewriter`] is built once from [`Rules`]. [`Rewriter::inspect`] decides whether a body is
//! forwarded untouched, contains tags, or must be refused. Only the matched string tokens change,
//! no other byte. A body that is too long to hold is rewritten while it streams, by the same rules:
//! [`Rewriter::stream`].
//!
//! A tag is replaced where it is a JSON string *value* inside the `params` of a request, which is
//! the top-level object or an object in the top-level array, and equals a tag after unescaping.
//! ASCII case is ignored, since nodes built on alloy (reth, op-reth, Anvil) accept tags in any
//! case. Ambiguous bodies are read as follows:
//!
//! - Member names are matched as Go's `encoding/json` does: after unescaping, without case, with
//!   U+017F as `s` and U+212A as `k`. All of several `params` members are read; of several `id`
//!   members, the last one is used.
//! - Nodes differ in which of several `method` members they use. If the rules treat those methods
//!   differently, a request with a tag is refused. Members that are not strings are ignored. A
//!   request without a method is treated like one with an unknown method.
//! - Lone surrogates and bytes that are not UTF-8 are allowed inside strings: they cannot be part
//!   of a tag, and nodes differ in what they accept. Anything else that RFC 8259 forbids, including
//!   a byte order mark, makes a body that may contain a tag unparsable. A body that cannot contain
//!   a tag is not parsed at all.

mod prefilter;
mod rules;
mod scan;
mod stream;
mod text;
mod walk;

use std::{borrow::Cow, ops::Range, sync::Arc};

use crate::{head::push_hex_number, jsonrpc, refusal::Refusal};
use prefilter::Prefilter;
use scan::{Fault, Scanner, Span, Window};
use walk::{Reading, Walk};

pub use rules::{DEFAULT_MAX_BODY_BYTES, DEFAULT_MAX_HELD_BYTES, Rules, RulesError, Scope};
pub use stream::{ChunkRewrite, Stream};

/// Finds tags in bodies.
///
/// ```
/// use finality_core::refusal::{NoHead, Refusal};
/// use finality_core::rewrite::{Inspection, Rewriter, Rules};
///
/// let rewriter = Rewriter::new(Rules::default())?;
/// let body = br#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0xabc", "espresso"]}"#;
/// let Inspection::Tagged(tagged) = rewriter.inspect(body) else { unreachable!("it has a tag") };
///
/// // If there is a head, the tag becomes its number.
/// assert_eq!(
///     tagged.splice(body, 100),
///     br#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0xabc", "0x64"]}"#,
/// );
/// // If there is none, the request is refused.
/// let answer = tagged.refuse(body, &Refusal::NoHead(NoHead::Unknown));
/// assert!(answer.starts_with(br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32055,"#));
///
/// // A body that may contain a tag but is not JSON is refused whatever the head.
/// let truncated = br#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0xabc", "espresso""#;
/// let Inspection::Refused(denied) = rewriter.inspect(truncated) else { unreachable!("it is truncated") };
/// assert_eq!(denied.refusal, Refusal::Unparsable);
///
/// // Anything without a tag is forwarded untouched, even if it is not JSON.
/// assert!(matches!(rewriter.inspect(b"hello"), Inspection::Untouched));
/// # Ok::<(), finality_core::rewrite::RulesError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Rewriter {
    prepared: Arc<Prepared>,
}

/// What the inspections of all bodies share.
#[derive(Debug)]
struct Prepared {
    rules: Rules,
    /// The names of all members where a block may be.
    members: Vec<Cow<'static, str>>,
    prefilter: Prefilter,
    /// The length of the longest spelling of a tag, with every character escaped.
    longest_spelling: usize,
}

/// The verdict on a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspection {
    /// No tag is eligible: the body is forwarded byte for byte.
    Untouched,
    /// At least one tag is eligible: replace it if there is a usable head, refuse the body if not.
    Tagged(Tagged),
    /// The body may contain a tag but cannot be parsed, is ambiguous or exceeds a limit: refuse it
    /// whatever the head.
    Refused(Denied),
}

impl Rewriter {
    /// Builds a rewriter. Clones of it are cheap.
    ///
    /// # Errors
    /// [`RulesError`] if the rules are invalid.
    pub fn new(rules: Rules) -> Result<Self, RulesError> {
        rules.check()?;
        let prefilter = Prefilter::new(&rules.tags);
        let longest = rules.tags.iter().map(String::len).max().unwrap_or_default();
        let longest_spelling = longest * "\\u0000".len();
        let members = rules.block_parameters.members();
        Ok(Self { prepared: Arc::new(Prepared { rules, members, prefilter, longest_spelling }) })
    }

    /// The rules that it was built from.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.prepared.rules
    }

    /// Decides what to do with a complete body. A body that cannot contain a tag is searched but
    /// not parsed.
    #[must_use]
    pub fn inspect(&self, body: &[u8]) -> Inspection {
        let Prepared { rules, prefilter, .. } = &*self.prepared;
        if !prefilter.may_hold_tag(body) {
            return Inspection::Untouched;
        }
        let mut walk = match self.walk(body, rules.max_depth) {
            Ok(walk) => walk,
            Err(Fault::Syntax) => return Denied::because(Refusal::Unparsable, None),
            Err(Fault::TooDeep) => return self.refuse_depth(body),
        };
        if let Some(refusal) = walk.refusal(rules) {
            Denied::because(refusal, Some(Ids::of(walk)))
        } else if walk.tags.is_empty() {
            Inspection::Untouched
        } else {
            let tags = std::mem::take(&mut walk.tags);
            Inspection::Tagged(Tagged { tags, ids: Ids::of(walk) })
        }
    }

    /// Refuses a body that is nested too deep. It is walked once more without the limit, for its
    /// ids.
    fn refuse_depth(&self, body: &[u8]) -> Inspection {
        match self.walk(body, usize::MAX) {
            Ok(walk) => {
                let limit = self.rules().max_depth;
                Denied::because(Refusal::TooDeep { limit }, Some(Ids::of(walk)))
            }
            Err(_) => Denied::because(Refusal::Unparsable, None),
        }
    }

    /// Whether a complete body is one JSON value, with or without tags.
    #[must_use]
    pub fn is_json(&self, body: &[u8]) -> bool {
        self.walk(body, usize::MAX).is_ok()
    }

    /// Walks a complete body.
    fn walk(&self, body: &[u8], max_depth: usize) -> Result<Walk, Fault> {
        let mut scanner = Scanner::new(max_depth);
        let mut walk = Walk::default();
        let window = Window { bytes: body, start: 0 };
        let mut reading = Reading { walk: &mut walk, prepared: &self.prepared, window };
        scanner.feed(body, &mut reading)?;
        scanner.finish(&mut reading)?;
        Ok(walk)
    }

    /// Starts to rewrite a body while it streams.
    #[must_use]
    pub fn stream(&self) -> Stream {
        Stream::new(Arc::clone(&self.prepared))
    }
}

impl Fault {
    /// Why a body that may contain a tag is refused.
    const fn refusal(self, rules: &Rules) -> Refusal {
        match self {
            Self::Syntax => Refusal::Unparsable,
            Self::TooDeep => Refusal::TooDeep { limit: rules.max_depth },
        }
    }
}

/// The eligible tags of a body, and the ids of its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged {
    /// The matched tokens, including the quotes, in order.
    tags: Vec<Span>,
    ids: Ids,
}

/// The ids of the requests in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ids {
    /// The body is not a batch. `None` if it has no id, as in a notification.
    One(Option<Id>),
    /// The body is a batch. Its notifications are left out.
    Batch(Vec<Id>),
}

impl Ids {
    fn of(mut walk: Walk) -> Self {
        if walk.is_batch() { Self::Batch(walk.ids) } else { Self::One(walk.ids.pop()) }
    }

    /// One error for each id, an array if the body is a batch.
    fn errors(&self, body: &[u8], refusal: &Refusal) -> Vec<u8> {
        match self {
            Self::One(None) => Vec::new(),
            Self::One(Some(id)) => jsonrpc::error(id.bytes(body), refusal),
            Self::Batch(ids) => jsonrpc::errors(ids.iter().map(|id| id.bytes(body)), refusal),
        }
    }
}

/// The id of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Id {
    /// A string, a number or a literal.
    Raw(Span),
    /// An object or an array, which is not a valid id: answered with `null`.
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
    /// Number of eligible tags, at least one.
    #[must_use]
    pub const fn tags(&self) -> usize {
        self.tags.len()
    }

    /// Byte ranges of the eligible tags in the body, including the quotes, in order.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        self.tags.iter().map(|tag| tag.start..tag.end)
    }

    /// The body with every eligible tag replaced by the number as a JSON-RPC quantity. `body` is
    /// the inspected one.
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

    /// The response if the tags cannot be replaced: one error for each request that has an id, in
    /// order, tagged or not, since the whole body is refused; an array if the body is a batch.
    /// Empty if there are only notifications. `body` is the inspected one.
    #[must_use]
    pub fn refuse(&self, body: &[u8], refusal: &Refusal) -> Vec<u8> {
        self.ids.errors(body, refusal)
    }

    /// What to send to the node in place of this body so that the node rejects it: one
    /// [`jsonrpc::unknown_call`] for each request that has an id, arranged as in [`Self::refuse`].
    #[must_use]
    pub fn unknown_calls(&self, body: &[u8], refusal: &Refusal) -> Vec<u8> {
        match &self.ids {
            Ids::One(None) => Vec::new(),
            Ids::One(Some(id)) => jsonrpc::unknown_call(id.bytes(body), refusal),
            Ids::Batch(ids) => jsonrpc::unknown_calls(ids.iter().map(|id| id.bytes(body)), refusal),
        }
    }
}

/// What replaces a tag, including the quotes.
fn token(number: u64) -> String {
    let mut token = String::with_capacity("\"0x\"".len() + 16);
    token.push('"');
    push_hex_number(&mut token, number);
    token.push('"');
    token
}

/// The most ids of a batch that is refused whatever the head: about 1 MB of errors.
const MOST_IDS: usize = 5000;

/// A body that is refused, whatever the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// Why.
    pub refusal: Refusal,
    /// `None` if the body is not JSON.
    ids: Option<Ids>,
}

impl Denied {
    const fn because(refusal: Refusal, ids: Option<Ids>) -> Inspection {
        Inspection::Refused(Self { refusal, ids })
    }

    /// The response: errors as in [`Tagged::refuse`], or one error with the id `null` if the body
    /// is not JSON, as JSON-RPC 2.0 (section 5.1) requires. A batch with more than 5,000 ids gets
    /// an array of one such error, since a response may be many times as long as the body. `body`
    /// is the inspected one.
    #[must_use]
    pub fn refuse(&self, body: &[u8]) -> Vec<u8> {
        match &self.ids {
            Some(Ids::Batch(ids)) if ids.len() > MOST_IDS => {
                jsonrpc::errors([jsonrpc::NULL], &self.refusal)
            }
            Some(ids) => ids.errors(body, &self.refusal),
            None => jsonrpc::error_without_id(&self.refusal),
        }
    }
}
