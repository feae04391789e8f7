//! Rewrites a body while it streams, chunk by chunk, in bounded memory.
//!
//! Rules and parser are those of [`Rewriter::inspect`](super::Rewriter::inspect). The differences:
//!
//! - **Held bytes.** Only bytes that may still need to change are held back: an incomplete string
//!   that may become a tag, and everything from a tag whose request has not shown its `method` yet,
//!   up to [`Rules::max_held_bytes`](super::Rules::max_held_bytes).
//! - **Late verdicts.** When a body is refused, earlier bytes may already have been forwarded. All
//!   eligible tags in them have been replaced, and they are not a complete JSON value; the caller
//!   must not forward the rest. A body that cannot contain a tag is never refused.
//! - **Duplicate `method` members.** The first one decides. The body is refused at a later one with
//!   different rules.

use std::sync::Arc;

use super::{
    Id, Prepared, Refusal, jsonrpc,
    prefilter::Search,
    scan::{CutToken, Scanner, Span, Window},
    text::may_become_tag,
    token,
    walk::{LONGEST_METHOD, Reading, Walk},
};

/// Length of the pieces, in bytes, in which a chunk is scanned while the tail is needed.
const PIECE: usize = 4096;

/// The longest id, and the longest ids of a batch together, in bytes, that are kept for the
/// response.
const LONGEST_ID: usize = 256;
const LONGEST_IDS: usize = 8 * 1024;

/// The longest body, in bytes, whose offsets fit in 32 bits with room to spare. A longer body is
/// only searched, and refused if it may contain a tag.
const LONGEST_BODY: usize = 1 << 31;

/// A body that is rewritten while it streams.
///
/// [Push](Self::push) each chunk once; the returned [`ChunkRewrite`] tells what to forward. Forward
/// the last one only after [`finish`](Self::finish) has succeeded.
///
/// # In a proxy that buffers the chunk
///
/// Push the new bytes, [write](ChunkRewrite::write) the result, replace as many bytes at the front
/// of the proxy's buffer as `write` returned with what it wrote (if both are empty, leave the
/// buffer alone), and forward the buffer. Held bytes are kept in the stream, not in the buffer, so
/// chunks of any size fit; they come out with a later chunk. At the end of a JSON body none are
/// held, since bytes are only held inside an incomplete value. If [`finish`](Self::finish) returns
/// bytes, append them to the last chunk; if nothing can be appended any more, because trailers have
/// arrived, refuse the body as [`Refusal::Unparsable`].
///
/// Prefer [`inspect`](super::Rewriter::inspect) for a body that is short enough to hold: its
/// verdict is never late, and the response to a refused body has all ids.
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
    /// Whether the bytes so far may contain a tag.
    suspicious: bool,
    scanner: Scanner,
    walk: Walk,
    /// Set once the body cannot be scanned further: why it is refused if it may contain a tag.
    fault: Option<Refusal>,
    /// Bytes scanned.
    read: usize,
    /// How many may be scanned.
    longest: usize,
    /// The last bytes scanned that are still needed, because they are held or belong to an
    /// incomplete token.
    tail: Vec<u8>,
    /// How many of the last bytes are held.
    held: usize,
    ids: ShownIds,
}

/// The ids that the requests of a body have shown so far, as raw JSON.
#[derive(Debug, Default)]
struct ShownIds {
    /// Those of requests that have ended, each after a line feed, which no id contains.
    ended: Vec<u8>,
    /// That of the current request, and where it is.
    current: Option<(Id, Vec<u8>)>,
    /// Whether there were too many to keep.
    dropped: bool,
}

/// What to forward for a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the chunk must be forwarded as rewritten"]
pub struct ChunkRewrite {
    /// Bytes of earlier chunks that were held and are forwarded before the chunk.
    before: Vec<u8>,
    /// The tags, by their offsets in `before` and the chunk together.
    tags: Vec<Span>,
    /// How many bytes of `before` and the chunk together are forwarded, if the rest is held.
    end: Option<usize>,
}

impl ChunkRewrite {
    /// Number of tags that are replaced.
    #[must_use]
    pub const fn tags(&self) -> usize {
        self.tags.len()
    }

    /// Appends to `out` what replaces the first bytes of the chunk, and returns the number of those
    /// bytes; the rest of the chunk is forwarded unchanged. `chunk` is the one that was pushed.
    /// `number` is called only if there are tags.
    ///
    /// # Errors
    /// Those of `number`. Nothing has been written then.
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
        // What follows the last tag need not be written if nothing is held.
        let to = self.end.unwrap_or(from.max(self.before.len()));
        self.copy(from, to, chunk, out);
        Ok(if self.end.is_some() { chunk.len() } else { to - self.before.len() })
    }

    /// Appends a range of `before` and the chunk together.
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
            ids: ShownIds::default(),
        }
    }

    /// How many of the last bytes pushed are held until a later chunk.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }

    /// Reads the next chunk, of any length.
    ///
    /// # Errors
    /// Why the body is refused. Do not push anything after that.
    pub fn push(&mut self, chunk: &[u8]) -> Result<ChunkRewrite, Refusal> {
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
            // There is no tag so far, and no later one can be eligible: forward everything.
            let before = self.tail.get(held).unwrap_or_default().to_vec();
            self.tail.clear();
            self.held = 0;
            return Ok(ChunkRewrite { before, tags: Vec::new(), end: None });
        }

        // If a needed token began before the chunk, the tail has all of the chunk.
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
        Ok(ChunkRewrite { before, tags, end: (self.held > 0).then(|| place(held_from)) })
    }

    /// Ends the body. Returns the bytes that are still held, which are forwarded after the last
    /// chunk. There are none unless the body is not JSON.
    ///
    /// # Errors
    /// Why the body is refused.
    pub fn finish(&mut self) -> Result<&[u8], Refusal> {
        if self.fault.is_none() {
            // What can end here is a number, whose text nobody reads.
            let window = Window { bytes: &[], start: self.read };
            let prepared = &*self.prepared;
            let mut reading = Reading { walk: &mut self.walk, prepared, window };
            let scanned = self.scanner.finish(&mut reading);
            self.fault = scanned.err().map(|fault| fault.refusal(&prepared.rules));
        }
        self.check()?;
        Ok(self.tail.get(self.tail.len() - self.held..).unwrap_or_default())
    }

    /// Whether the [finished](Self::finish) body is one JSON value. True if it exceeds a limit,
    /// since it is not scanned further.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.fault != Some(Refusal::Unparsable)
    }

    /// The response to a refused body: an error for each request that has shown its id so far, an
    /// array if the body is a batch. The id is `null` where none can be given: if no id was shown,
    /// if the ids exceed 8 KiB or one of them 256 bytes, or if the body is not JSON.
    #[must_use]
    pub fn refuse(&self, refusal: &Refusal) -> Vec<u8> {
        let mut ids: Vec<&[u8]> = self.ids.shown().collect();
        if !self.walk.is_batch() {
            return jsonrpc::error(ids.pop().unwrap_or(jsonrpc::NULL), refusal);
        }
        if *refusal == Refusal::Unparsable {
            return jsonrpc::error_without_id(refusal);
        }
        if ids.is_empty() {
            ids.push(jsonrpc::NULL);
        }
        jsonrpc::errors(ids, refusal)
    }

    /// How much memory the stream has allocated, in bytes: for a few hundred held bytes at most
    /// some kilobytes, for [`Rules::max_held_bytes`](super::Rules::max_held_bytes) of tags a
    /// multiple of that.
    #[must_use]
    pub const fn memory(&self) -> usize {
        self.search.memory()
            + self.scanner.memory()
            + self.walk.memory()
            + self.ids.ended.capacity()
            + self.tail.capacity()
    }

    /// Scans a chunk. While the tail is needed, the chunk is appended to it piece by piece, so that
    /// its tokens are in one window; the rest is scanned in place.
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
            let prepared = &*self.prepared;
            let mut reading = Reading { walk: &mut self.walk, prepared, window };
            if let Err(fault) = self.scanner.feed(part, &mut reading) {
                self.fault = Some(fault.refusal(&prepared.rules));
            }
            self.ids.read(&mut self.walk, window);
            self.read += part.len();
            rest = after;
        }
    }

    /// Checks whether the bytes so far are refused.
    fn check(&self) -> Result<(), Refusal> {
        let rules = &self.prepared.rules;
        if let Some(refusal) = &self.fault
            && self.suspicious
        {
            return Err(refusal.clone());
        }
        if let Some(refusal) = self.walk.refusal(rules) {
            return Err(refusal);
        }
        let held = self.walk.held_from().map_or(0, |from| self.read - from);
        if self.walk.longest_hold.max(held) > rules.max_held_bytes {
            return Err(Refusal::HeldTooLong { limit: rules.max_held_bytes });
        }
        Ok(())
    }

    /// Offset of the first byte that must be kept, because it is held or starts an incomplete token
    /// that may matter.
    fn needed_from(&self) -> Option<usize> {
        let longest = self.prepared.longest_spelling.max(LONGEST_METHOD) + 2;
        let token = self.scanner.cut_token().map(|token| token.start);
        self.walk.held_from().or(token.filter(|start| self.read - start <= longest))
    }

    /// Offset of the first byte that must be held. `needed` are the bytes from
    /// [`Self::needed_from`] on.
    fn held_from(&self, needed: &[u8]) -> Option<usize> {
        let may_be_tag = |token: &CutToken| {
            let raw = needed.get(needed.len().checked_sub(self.read - token.start)? + 1..)?;
            // Once false it stays false as the string grows: forwarded bytes cannot be held again.
            let may_be = raw.len() <= self.prepared.longest_spelling
                && self.prepared.rules.tags.iter().any(|tag| may_become_tag(raw, tag));
            may_be.then_some(token.start)
        };
        self.walk.held_from().or_else(|| {
            let token = self.scanner.cut_token()?;
            if token.value && self.walk.awaits_candidate() { may_be_tag(&token) } else { None }
        })
    }
}

impl ShownIds {
    /// Keeps the ids that a walk has shown in this window.
    fn read(&mut self, walk: &mut Walk, window: Window<'_>) {
        for id in walk.ids.drain(..) {
            self.show(id, window);
            let Some((_, id)) = self.current.take() else { continue };
            if self.dropped || self.ended.len() + id.len() >= LONGEST_IDS {
                self.dropped = true;
                self.ended = Vec::new();
            } else {
                self.ended.push(b'\n');
                self.ended.extend(id);
            }
        }
        match walk.id() {
            Some(id) => self.show(id, window),
            None => self.current = None,
        }
    }

    /// Keeps the id that the current request has shown, in this window or an earlier one.
    fn show(&mut self, id: Id, window: Window<'_>) {
        if self.current.as_ref().is_some_and(|(known, _)| *known == id) {
            return;
        }
        let bytes = match id {
            // A token that is too long for the window is too long to be kept.
            Id::Raw(span) => window.get(span).filter(|bytes| bytes.len() <= LONGEST_ID),
            Id::Invalid => None,
        };
        self.current = Some((id, bytes.unwrap_or(jsonrpc::NULL).to_vec()));
    }

    fn shown(&self) -> impl Iterator<Item = &[u8]> {
        let ended = self.ended.split(|byte| *byte == b'\n').skip(1);
        let current = self.current.iter().map(|(_, id)| id.as_slice());
        ended.chain(current.filter(|_| !self.dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Rewriter, Rules},
        *,
    };
    use crate::methods::ExcludedMethods;

    #[test]
    fn a_body_beyond_the_longest_is_forwarded_only_without_a_tag() {
        let stream = || {
            let mut stream = Rewriter::new(Rules::default()).unwrap().stream();
            stream.longest = 40;
            stream
        };
        let push = |stream: &mut Stream, chunk: &str| {
            let rewrite = stream.push(chunk.as_bytes())?;
            let mut out = Vec::new();
            let replaced = rewrite.write(chunk.as_bytes(), || Ok(1), &mut out)?;
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

        let mut whole = stream();
        let body = r#"{"method":"m","params":["espresso"   ]}"#;
        assert_eq!((body.len(), push(&mut whole, body).is_ok()), (39, true));
        assert!(push(&mut whole, " ").is_ok());
        assert_eq!(push(&mut whole, " "), beyond);
    }

    #[test]
    fn what_is_kept_of_tags_and_ids_counts_as_memory() {
        let tags = vec![r#""espresso""#; 100].join(",");
        let mut replaced = Rewriter::new(Rules::default()).unwrap().stream();
        let body = format!(r#"{{"method":"m","params":[{tags}]}}"#);
        assert_eq!(replaced.push(body.as_bytes()).map(|rewrite| rewrite.tags()), Ok(100));
        assert!(replaced.walk.memory() >= 100 * size_of::<Span>());

        let mut held = Rewriter::new(Rules::default()).unwrap().stream();
        let body = format!(r#"{{"params":[{tags}]"#);
        assert_eq!(held.push(body.as_bytes()).map(|rewrite| rewrite.tags()), Ok(0));
        assert!(held.walk.memory() >= 100 * size_of::<Span>());
        assert!(held.memory() >= held.walk.memory() + held.held());

        let mut batch = Rewriter::new(Rules::default()).unwrap().stream();
        let body = format!("[{}]", vec![r#"{"id":1,"method":"m"}"#; 100].join(","));
        assert!(batch.push(body.as_bytes()).is_ok());
        assert!(batch.walk.memory() >= 100 * size_of::<Id>());
    }

    #[test]
    fn the_longest_method_is_read_although_its_chunk_ends_before_its_quote() {
        let excluded = ExcludedMethods::new(true, ["vault_*".to_owned()]);
        let rules = Rules { excluded, ..Rules::default() };
        let mut stream = Rewriter::new(rules).unwrap().stream();
        let name = format!("vault_{}", "x".repeat(LONGEST_METHOD - "vault_".len()));
        let tags = |rewrite: ChunkRewrite| rewrite.tags();
        assert_eq!(stream.push(format!(r#"{{"method":"{name}"#).as_bytes()).map(tags), Ok(0));
        assert_eq!(stream.push(br#"","params":["espresso"]}"#).map(tags), Ok(0));
        assert_eq!(stream.held(), 0);
    }

    #[test]
    fn what_is_held_at_the_end_of_a_broken_body_is_forwarded() {
        let mut stream = Rewriter::new(Rules::default()).unwrap().stream();
        let body = br#"{"method":"m","params":["es"#;
        let rewrite = stream.push(body).unwrap();
        let mut out = Vec::new();
        assert_eq!(rewrite.write(body, || Err(()), &mut out), Ok(body.len()));
        assert_eq!(stream.held(), 3);
        assert_eq!(out, br#"{"method":"m","params":["#);
        assert_eq!(stream.finish().unwrap(), b"\"es");
        assert!(!stream.is_json());
    }
}
