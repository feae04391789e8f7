//! Rewriting a body while it passes, chunk by chunk, in constant memory.
//!
//! The rules, and the machine that applies them, are those of
//! [`Rewriter::inspect`](super::Rewriter::inspect). What is particular here:
//!
//! - **Held bytes.** What may still become a tag is held back: a string that a chunk cuts and that
//!   is so far the beginning of a tag, and everything from a tag on whose request has not shown its
//!   `method` yet, up to [`Rules::max_held_bytes`](super::Rules::max_held_bytes). Nothing else is
//!   ever held.
//! - **Late verdicts.** Bytes before a fault may have gone out when it is found. Every tag in them
//!   has been replaced, and they are not a complete JSON value; whoever refuses then must also keep
//!   the node from getting the rest. A body that may hold no tag is never refused.
//! - **Duplicate `method` members.** A tag is decided by the first one. If a later one would be
//!   treated differently the body is refused, then.

use std::sync::Arc;

use super::{
    Id, Prepared, Refusal, jsonrpc,
    prefilter::Search,
    scan::{CutToken, Scanner, Span, Window},
    token,
    walk::{LONGEST_METHOD, Reading, Walk},
};

/// How many bytes at a time follow a token that was cut, until it and what hangs on it are decided.
const PIECE: usize = 4096;

/// The longest id that is remembered for an answer.
const LONGEST_ID: usize = 256;

/// The longest body in which places can be told on any machine, in bytes. Beyond it only the search
/// goes on, and a body that may hold a tag is refused.
const LONGEST_BODY: usize = 1 << 31;

/// A body that is rewritten while it passes.
///
/// Each chunk is [pushed](Self::push) once; the [`Passage`] says what becomes of it. Before the
/// last one is let through, [`finish`](Self::finish) must have agreed.
///
/// # Use in a proxy that holds the chunk in a buffer of its own
///
/// Read the new bytes, push them, [write](Passage::write) the passage, and replace as many bytes at
/// the front of the buffer as it returned by what was written (0 and nothing written: leave the
/// buffer alone); then let the buffer go on. Held bytes are *in the stream*, no longer in the
/// buffer, so the buffer never grows and chunks of any size pass. They come out with the passage
/// that decides them. At the end of the body they need no buffer to go to either: bytes are held
/// only inside a JSON value that is not complete, so that at the end either none are held or the
/// body is not JSON. What [`finish`](Self::finish) returns then goes after the last chunk; where
/// nothing can be written any more (trailers have come), refuse as [`Refusal::Unparsable`] if it is
/// not empty.
///
/// A body that is short enough to be held as a whole is better
/// [inspected](super::Rewriter::inspect): its verdict is never late and it is refused with all its
/// ids.
///
/// ```
/// use finality_core::refusal::Refusal;
/// use finality_core::rewrite::{Rewriter, Rules, Stream};
///
/// fn forward(mut stream: Stream, chunks: &[&[u8]]) -> Result<Vec<u8>, Refusal> {
///     let mut forwarded = Vec::new();
///     for chunk in chunks {
///         let (mut buffer, mut out) = (chunk.to_vec(), Vec::new());
///         let replaced = stream.push(chunk)?.write(chunk, || Ok(100), &mut out)?;
///         buffer.splice(..replaced, out);
///         forwarded.extend(buffer);
///     }
///     forwarded.extend(stream.finish()?);
///     Ok(forwarded)
/// }
///
/// let rewriter = Rewriter::new(Rules::default())?;
/// let chunks = [&br#"{"method":"eth_getBalance","params":["0xabc","espr"#[..], br#"esso"]}"#];
/// let expected = br#"{"method":"eth_getBalance","params":["0xabc","0x64"]}"#.to_vec();
/// assert_eq!(forward(rewriter.stream(), &chunks), Ok(expected));
/// # Ok::<(), finality_core::rewrite::RulesError>(())
/// ```
#[derive(Debug)]
pub struct Stream {
    prepared: Arc<Prepared>,
    search: Search,
    /// Whether a tag may be in what has been read.
    suspicious: bool,
    scanner: Scanner,
    walk: Walk,
    /// Set when the body cannot be scanned further: refused for this, if it may hold a tag.
    fault: Option<Refusal>,
    /// Bytes read, until there was a fault.
    read: usize,
    /// How many may be.
    longest: usize,
    /// The last bytes read, as far as they are still needed: they are held, or a token begins in
    /// them.
    tail: Vec<u8>,
    /// How many of the last bytes are held.
    held: usize,
    /// The id, if the body is one request and shows it.
    id: Option<Vec<u8>>,
}

/// What becomes of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the chunk goes on only as its passage says"]
pub struct Passage {
    /// Bytes of earlier chunks that were held and now go on, before the chunk.
    before: Vec<u8>,
    /// The tags in those bytes and the chunk, by their places in the two together.
    tags: Vec<Span>,
    /// How much of the two together goes on. The rest is held.
    end: usize,
    /// Whether the rest is empty.
    all: bool,
}

impl Passage {
    /// How many tags are replaced.
    #[must_use]
    pub const fn tags(&self) -> usize {
        self.tags.len()
    }

    /// Writes what goes on: `out` is appended to, and takes the place of as many bytes at the front
    /// of the chunk as are returned; the rest of the chunk goes on as it came. `chunk` is the one
    /// that was pushed. The number is asked for only when there are tags.
    ///
    /// # Errors
    /// Those of `number`; nothing has been written then.
    pub fn write<E>(
        &self,
        chunk: &[u8],
        number: impl FnOnce() -> Result<u64, E>,
        out: &mut Vec<u8>,
    ) -> Result<usize, E> {
        let value = match self.tags.as_slice() {
            [] => String::new(),
            _ => token(number()?),
        };
        let mut from = 0;
        for tag in &self.tags {
            self.copy(from, tag.start, chunk, out);
            out.extend_from_slice(value.as_bytes());
            from = tag.end;
        }
        // The end of the chunk need not be written when all of it goes on.
        let to = if self.all { from.max(self.before.len()) } else { self.end };
        self.copy(from, to, chunk, out);
        Ok(if self.all { to - self.before.len() } else { chunk.len() })
    }

    /// Appends a part of the held bytes and the chunk together.
    fn copy(&self, from: usize, to: usize, chunk: &[u8], out: &mut Vec<u8>) {
        let before = self.before.len();
        out.extend_from_slice(self.before.get(from..to.min(before)).unwrap_or_default());
        let (from, to) = (from.saturating_sub(before), to.saturating_sub(before));
        out.extend_from_slice(chunk.get(from..to).unwrap_or_default());
    }
}

impl Stream {
    pub(super) fn new(prepared: Arc<Prepared>) -> Self {
        let scanner = Scanner::new(prepared.rules.max_depth);
        Self {
            prepared,
            search: Search::default(),
            suspicious: false,
            scanner,
            walk: Walk::default(),
            fault: None,
            read: 0,
            longest: LONGEST_BODY,
            tail: Vec::new(),
            held: 0,
            id: None,
        }
    }

    /// How many of the last bytes pushed are held: they go on with a later passage.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }

    /// Reads the next chunk, of any length.
    ///
    /// # Errors
    /// The reason for which the body is refused. Nothing may be pushed after it.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Passage, Refusal> {
        if !self.suspicious {
            self.suspicious = self.search.push(&self.prepared.prefilter, chunk);
        }
        if self.fault.is_none() && chunk.len() > self.longest - self.read {
            self.fault = Some(Refusal::BodyTooLarge { limit: self.longest });
        }
        let chunk_start = self.read;
        let tail_start = chunk_start - self.tail.len();
        let held_start = chunk_start - self.held;
        let held = held_start - tail_start..chunk_start - tail_start;
        self.scan(chunk, tail_start);
        self.check()?;
        if self.fault.is_some() {
            // It can hold no tag so far: everything goes on.
            let before = self.tail.get(held).unwrap_or_default().to_vec();
            self.tail.clear();
            self.held = 0;
            let end = before.len() + chunk.len();
            return Ok(Passage { before, tags: Vec::new(), end, all: true });
        }

        // The tail has taken up all of the chunk, if a token is cut that began before it.
        let needed_from = self.needed_from().unwrap_or(self.read);
        let needed = match needed_from.checked_sub(chunk_start) {
            Some(from) => chunk.get(from..),
            None => self.tail.get(needed_from - tail_start..),
        };
        let held_from = self.held_from(needed.unwrap_or_default()).unwrap_or(self.read);
        let before = if held_from > held_start {
            self.tail.get(held).unwrap_or_default().to_vec()
        } else {
            Vec::new()
        };
        match needed_from.checked_sub(chunk_start) {
            Some(from) => {
                self.tail.clear();
                self.tail.extend_from_slice(chunk.get(from..).unwrap_or_default());
            }
            None => drop(self.tail.drain(..needed_from - tail_start)),
        }
        self.held = self.read - held_from;
        let place = |place: usize| place - held_start;
        let tags = self.walk.tags.drain(..);
        let tags = tags.map(|tag| Span { start: place(tag.start), end: place(tag.end) }).collect();
        Ok(Passage { before, tags, end: place(held_from), all: self.held == 0 })
    }

    /// The body has ended. Returns what is still held, which goes on after everything else:
    /// nothing, unless the body is not JSON and holds no tag.
    ///
    /// # Errors
    /// The reason for which the body is refused.
    pub fn finish(&mut self) -> Result<&[u8], Refusal> {
        if self.fault.is_none() {
            let window = Window { bytes: &self.tail, start: self.read - self.tail.len() };
            let rules = &self.prepared.rules;
            let mut reading = Reading { walk: &mut self.walk, rules, window };
            let scanned = self.scanner.finish(&mut reading);
            self.fault = scanned.err().map(|fault| fault.refusal(rules));
        }
        self.check()?;
        Ok(self.tail.get(self.tail.len() - self.held..).unwrap_or_default())
    }

    /// Whether what was read until it was [finished](Self::finish) is one JSON value, as far as the
    /// limits let that be told.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.fault != Some(Refusal::Unparsable)
    }

    /// The answer to a body that is refused: one error object. It has the id of the request if the
    /// body is a single one and has shown its id (of at most 256 bytes) already, else `null`: the
    /// ids of a batch are not kept.
    #[must_use]
    pub fn refuse(&self, refusal: &Refusal) -> Vec<u8> {
        match &self.id {
            Some(id) => jsonrpc::error(id, refusal),
            None => jsonrpc::error_without_id(refusal),
        }
    }

    /// Scans a chunk. While something in the tail is undecided the tail takes the bytes up, in
    /// pieces, so that no token is cut; the rest is scanned where it is.
    fn scan(&mut self, chunk: &[u8], tail_start: usize) {
        let mut rest = chunk;
        while self.fault.is_none() && !rest.is_empty() {
            let decided = self.needed_from().is_none();
            let (part, after) =
                if decided { (rest, &[][..]) } else { rest.split_at(rest.len().min(PIECE)) };
            let window = if decided {
                Window { bytes: part, start: self.read }
            } else {
                self.tail.extend_from_slice(part);
                Window { bytes: &self.tail, start: tail_start }
            };
            let rules = &self.prepared.rules;
            let mut reading = Reading { walk: &mut self.walk, rules, window };
            if let Err(fault) = self.scanner.feed(part, &mut reading) {
                self.fault = Some(fault.refusal(rules));
            }
            if self.walk.is_batch() {
                self.walk.ids.clear();
            } else {
                remember_id(&mut self.id, self.walk.id(), window);
            }
            self.read += part.len();
            rest = after;
        }
    }

    /// Whether what was read so far is refused.
    fn check(&self) -> Result<(), Refusal> {
        let rules = &self.prepared.rules;
        if let Some(refusal) = &self.fault
            && self.suspicious
        {
            return Err(refusal.clone());
        }
        if self.walk.ambiguous {
            return Err(Refusal::AmbiguousMethod);
        }
        if self.walk.is_too_long(rules) {
            return Err(Refusal::BatchTooLong { limit: rules.max_batch_length });
        }
        let held = self.walk.held_from().map_or(0, |from| self.read - from);
        if self.walk.longest_hold.max(held) > rules.max_held_bytes {
            return Err(Refusal::HeldTooLong { limit: rules.max_held_bytes });
        }
        Ok(())
    }

    /// The first byte that must be kept: it is held, or a token that may matter begins there.
    fn needed_from(&self) -> Option<usize> {
        let longest = self.prepared.longest_spelling.max(LONGEST_METHOD) + 2;
        let token = self.scanner.cut_token().map(|token| token.start);
        self.walk.held_from().or(token.filter(|start| self.read - start <= longest))
    }

    /// The first byte that must be held. `needed` are the last bytes, from the first that must be
    /// kept.
    fn held_from(&self, needed: &[u8]) -> Option<usize> {
        let may_be_tag = |token: &CutToken| {
            let raw = needed.get(needed.len().checked_sub(self.read - token.start)? + 1..)?;
            // Once it is no it stays no, however the string goes on: what was let go cannot be held
            // again.
            let plain = raw.split(|byte| *byte == b'\\').next().unwrap_or_default();
            let spells = raw.len() <= self.prepared.longest_spelling
                && self.prepared.rules.tags.iter().any(|tag| tag.as_bytes().starts_with(plain));
            spells.then_some(token.start)
        };
        self.walk.held_from().or_else(|| {
            let token = self.scanner.cut_token()?;
            if token.value && self.walk.awaits_candidate() { may_be_tag(&token) } else { None }
        })
    }
}

/// Keeps the id that a request has shown, if it was in this window.
fn remember_id(id: &mut Option<Vec<u8>>, shown: Option<Id>, window: Window<'_>) {
    match shown {
        Some(Id::Raw(span)) => {
            if let Some(bytes) = window.get(span) {
                *id = (bytes.len() <= LONGEST_ID).then(|| bytes.to_vec());
            }
        }
        Some(Id::Invalid) => *id = None,
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Rewriter, Rules},
        *,
    };

    #[test]
    fn a_body_beyond_all_measure_passes_only_without_a_tag() {
        let stream = || {
            let mut stream = Rewriter::new(Rules::default()).unwrap().stream();
            stream.longest = 40;
            stream
        };
        let push = |stream: &mut Stream, chunk: &str| {
            let passage = stream.push(chunk.as_bytes())?;
            let mut out = Vec::new();
            let replaced = passage.write(chunk.as_bytes(), || Ok(1), &mut out)?;
            out.extend_from_slice(&chunk.as_bytes()[replaced..]);
            Ok(String::from_utf8(out).unwrap())
        };
        let beyond = Err(Refusal::BodyTooLarge { limit: 40 });

        let mut untagged = stream();
        assert_eq!(push(&mut untagged, r#"{"params":["es"#).unwrap(), r#"{"params":["#);
        let long = "x".repeat(30);
        assert_eq!(push(&mut untagged, &long).unwrap(), format!("\"es{long}"));
        assert_eq!(push(&mut untagged, &long).unwrap(), long);
        assert_eq!(push(&mut untagged, "es").unwrap(), "es");
        assert_eq!(push(&mut untagged, "presso"), beyond);

        let mut tagged = stream();
        assert!(push(&mut tagged, r#"{"method":"m","params":["espresso""#).is_ok());
        assert_eq!(push(&mut tagged, &long), beyond);
    }
}
