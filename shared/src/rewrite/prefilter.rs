//! The fast path: whether a body can contain a tag at all.

use memchr::memmem::Finder;

use super::text::code_unit;

/// Searches for the configured tags, prepared once.
///
/// A body spells a tag either plainly or with at least one of its characters escaped. Of JSON's
/// escapes, `\u` can spell any character and `\/` a slash; the others spell characters that no tag
/// may contain.
#[derive(Debug, Clone)]
pub(super) struct Prefilter {
    plain: Vec<Finder<'static>>,
    /// The UTF-16 code units of all tags, sorted.
    code_units: Vec<u16>,
}

impl Prefilter {
    pub(super) fn new(tags: &[String]) -> Self {
        let mut code_units = Vec::new();
        for unit in tags.iter().flat_map(|tag| tag.encode_utf16()) {
            if let Err(at) = code_units.binary_search(&unit) {
                code_units.insert(at, unit);
            }
        }
        let plain = tags.iter().map(|tag| Finder::new(tag).into_owned()).collect();
        Self { plain, code_units }
    }

    /// Whether a string of the body can be a tag. A false positive costs a walk over the body, a
    /// false negative would let a tag through.
    pub(super) fn may_hold_tag(&self, body: &[u8]) -> bool {
        self.holds_plain(body) || self.escapes(body) == Escapes::OfTag
    }

    fn holds_plain(&self, bytes: &[u8]) -> bool {
        self.plain.iter().any(|tag| tag.find(bytes).is_some())
    }

    /// What the escapes in these bytes spell. The first byte is not in the middle of one.
    fn escapes(&self, bytes: &[u8]) -> Escapes {
        let mut rest = bytes;
        while let Some(at) = memchr::memchr(b'\\', rest) {
            let escape = rest.get(at..).unwrap_or_default();
            // The byte after a backslash belongs to the escape, even if it is a backslash.
            let Some((kind, after)) = escape.get(1..).and_then(<[u8]>::split_first) else {
                return Escapes::Cut(escape.len());
            };
            let unit = match kind {
                b'u' if after.len() < 4 && after.iter().all(u8::is_ascii_hexdigit) => {
                    return Escapes::Cut(escape.len());
                }
                b'u' => after.first_chunk().and_then(code_unit),
                b'/' => Some(u16::from(b'/')),
                _ => None,
            };
            if unit.is_some_and(|unit| self.code_units.binary_search(&unit).is_ok()) {
                return Escapes::OfTag;
            }
            rest = after;
        }
        Escapes::Cut(0)
    }
}

/// What the escapes in some bytes spell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escapes {
    /// At least one character of a tag.
    OfTag,
    /// No character of a tag. The last bytes, this many, are an incomplete escape.
    Cut(usize),
}

/// [`Prefilter::may_hold_tag`] for a body that arrives in chunks.
#[derive(Debug, Clone, Default)]
pub(super) struct Search {
    /// The last bytes searched, one fewer than the longest tag has.
    end: Vec<u8>,
    /// The incomplete escape at the end.
    cut: Vec<u8>,
    found: bool,
}

impl Search {
    /// Searches the next chunk. Returns whether any chunk so far may contain a tag.
    pub(super) fn push(&mut self, prefilter: &Prefilter, chunk: &[u8]) -> bool {
        self.found =
            self.found || self.find_plain(prefilter, chunk) || self.find_escaped(prefilter, chunk);
        self.found
    }

    fn find_plain(&mut self, prefilter: &Prefilter, part: &[u8]) -> bool {
        let overlap =
            prefilter.plain.iter().map(|tag| tag.needle().len()).max().unwrap_or_default() - 1;
        self.end.extend_from_slice(part.get(..overlap).unwrap_or(part));
        if prefilter.holds_plain(&self.end) || prefilter.holds_plain(part) {
            return true;
        }
        if part.len() >= overlap {
            self.end.clear();
            self.end.extend_from_slice(part.get(part.len() - overlap..).unwrap_or_default());
        } else {
            self.end.drain(..self.end.len().saturating_sub(overlap));
        }
        false
    }

    fn find_escaped(&mut self, prefilter: &Prefilter, part: &[u8]) -> bool {
        let mut part = part;
        while !self.cut.is_empty() {
            let Some((&byte, rest)) = part.split_first() else { return false };
            if self.cut.len() >= 2 && !byte.is_ascii_hexdigit() {
                // An invalid escape: it spells nothing, and the byte is not part of it.
                self.cut.clear();
                break;
            }
            self.cut.push(byte);
            part = rest;
            match prefilter.escapes(&self.cut) {
                Escapes::OfTag => return true,
                Escapes::Cut(0) => self.cut.clear(),
                Escapes::Cut(_) => {}
            }
        }
        match prefilter.escapes(part) {
            Escapes::OfTag => true,
            Escapes::Cut(length) => {
                self.cut.extend_from_slice(part.get(part.len() - length..).unwrap_or_default());
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the chunks may contain a tag, searched in order.
    fn search<'a>(prefilter: &Prefilter, parts: impl IntoIterator<Item = &'a [u8]>) -> bool {
        let mut search = Search::default();
        parts.into_iter().fold(false, |_, part| search.push(prefilter, part))
    }

    #[test]
    fn the_answer_does_not_depend_on_the_chunks() {
        let prefilter = Prefilter::new(&["espresso".to_owned(), "a/\u{1f600}".to_owned()]);
        for body in [
            r#"["espresso"]"#,
            r"\u0065",
            r"\n\u0065",
            r"\\\u0065",
            r"\/",
            r"\u4e2d\u0072",
            r"\u00\u0065",
            r"\u\u0065",
            "espressespresso",
            "espresespress",
            r"\\u0065",
            r"\\\\u0065",
            r"\\/",
            r"\u006",
            r"\u00\\u0065",
            r"\",
        ] {
            let body = body.as_bytes();
            let whole = prefilter.may_hold_tag(body);
            assert_eq!(search(&prefilter, body.chunks(1)), whole, "{}", body.escape_ascii());
            for first in 0..=body.len() {
                for second in first..=body.len() {
                    let parts = [&body[..first], &body[first..second], &body[second..]];
                    assert_eq!(search(&prefilter, parts), whole, "{parts:?}");
                }
            }
        }
    }

    #[test]
    fn only_a_tag_or_an_escaped_character_of_one_needs_a_walk() {
        let prefilter = Prefilter::new(&["espresso".to_owned(), "a/\u{1f600}".to_owned()]);
        for body in [
            r#"["espresso"]"#,
            "xespressox",
            r"\u0065",
            r"\n\u0065",
            r"\\\u0065",
            r"\/",
            r"\uD83D",
            r"\uDE00",
            r"\u4e2d\u0072",
        ] {
            assert!(prefilter.may_hold_tag(body.as_bytes()), "{body}");
        }
        for body in [
            "",
            "espress",
            "Espresso",
            r"\u4e2d",
            r"\\u0065",
            r"\\/",
            r#"\n\"\b\t"#,
            r"\u006",
            r"\",
            r"\u",
            r"\u00zz",
            r"\u0045",
            "u0065 /",
        ] {
            assert!(!prefilter.may_hold_tag(body.as_bytes()), "{body}");
        }
        let plain = Prefilter::new(&["espresso".to_owned()]);
        assert!(!plain.may_hold_tag(br"https:\/\/"), "a slash is in no tag");
    }
}
