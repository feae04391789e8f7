//! The fast path: whether a body can contain a tag at all.

use wide::u8x16;

use super::text::code_unit;

/// Searches for the configured tags, prepared once.
///
/// A body spells a tag either plainly, in any ASCII case, or with at least one of its characters
/// escaped. Of JSON's escapes, `\u` can spell any character and `\/` a slash; the others spell
/// characters that no tag may contain.
#[derive(Debug, Clone)]
pub(super) struct Prefilter {
    plain: Vec<Plain>,
    /// The UTF-16 code units of all tags in both cases. Few, and only looked through for escapes;
    /// a sorted list would cost the module the code of a sort.
    code_units: Vec<u16>,
}

impl Prefilter {
    pub(super) fn new(tags: &[String]) -> Self {
        let mut code_units = Vec::new();
        for tag in tags {
            code_units.extend(tag.to_ascii_lowercase().encode_utf16());
            code_units.extend(tag.to_ascii_uppercase().encode_utf16());
        }
        Self { plain: tags.iter().map(|tag| Plain::new(tag)).collect(), code_units }
    }

    /// Whether a string of the body can be a tag. A false positive costs a walk over the body, a
    /// false negative would let a tag through.
    pub(super) fn may_hold_tag(&self, body: &[u8]) -> bool {
        self.holds_plain(body) || self.escapes(body) == Escapes::OfTag
    }

    fn holds_plain(&self, bytes: &[u8]) -> bool {
        self.plain.iter().any(|tag| tag.is_in(bytes))
    }

    fn longest(&self) -> usize {
        self.plain.iter().map(|tag| tag.text.len()).max().unwrap_or_default()
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
            if unit.is_some_and(|unit| self.code_units.contains(&unit)) {
                return Escapes::OfTag;
            }
            rest = after;
        }
        Escapes::Cut(0)
    }
}

/// A search for one tag, spelled plainly in any ASCII case.
///
/// It looks for two bytes of the tag at their distance, in vectors. The searches of the crate
/// memchr are for exact bytes and would have to run once for each spelling in upper and lower case.
#[derive(Debug, Clone)]
struct Plain {
    text: Vec<u8>,
    /// The two bytes, and their offsets in the tag.
    bytes: [u8; 2],
    offsets: [usize; 2],
}

/// Lengths of a block, for long bodies and for short ones. There is one check for hits in a block.
const LONG_BLOCK: usize = 256;
const SHORT_BLOCK: usize = 32;
const VECTOR: usize = 16;

/// Letters and digits, from the most common in JSON-RPC bodies to rarer ones; others are rare.
const COMMON: &[u8] = b"0123456789abcdefthosrnmlipu";

/// All bits but the one in which the cases of an ASCII letter differ.
const WITHOUT_CASE: u8 = !0x20;

impl Plain {
    /// Chooses the two rarest bytes of the tag, which is not empty.
    fn new(tag: &str) -> Self {
        let text = tag.as_bytes().to_ascii_lowercase();
        let rarity =
            |byte| COMMON.iter().position(|common| *common == byte).unwrap_or(COMMON.len());
        // The first of the rarest.
        let rarest = |other_than: Option<usize>| {
            let bytes = text.iter().copied().enumerate();
            let bytes = bytes.filter(|(at, _)| Some(*at) != other_than);
            bytes.min_by_key(|(_, byte)| std::cmp::Reverse(rarity(*byte)))
        };
        let first = rarest(None).unwrap_or_default();
        let second = rarest(Some(first.0)).unwrap_or(first);
        Self { text, bytes: [first.1, second.1], offsets: [first.0, second.0] }
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        let starts = (bytes.len() + 1).saturating_sub(self.text.len());
        match starts {
            LONG_BLOCK.. => self.is_in_blocks::<LONG_BLOCK>(bytes, starts),
            SHORT_BLOCK.. => self.is_in_blocks::<SHORT_BLOCK>(bytes, starts),
            _ => (0..starts).any(|at| self.starts_at(bytes, at)),
        }
    }

    /// Searches block by block. `starts`, the number of offsets where the tag may start, is at
    /// least `LENGTH`.
    fn is_in_blocks<const LENGTH: usize>(&self, bytes: &[u8], starts: usize) -> bool {
        let [first, second] =
            self.offsets.map(|offset| bytes.get(offset..offset + starts).unwrap_or_default());
        let blocks = first.as_chunks().0.iter().zip(second.as_chunks().0);
        for (start, (first, second)) in (0..).step_by(LENGTH).zip(blocks) {
            if self.may_start_in::<LENGTH>(first, second)
                && self.starts_in_block(bytes, start, first, second)
            {
                return true;
            }
        }
        // The last block overlaps the one before.
        let last = first.last_chunk().zip(second.last_chunk());
        last.is_some_and(|(first, second)| {
            self.may_start_in::<LENGTH>(first, second)
                && self.starts_in_block(bytes, starts - LENGTH, first, second)
        })
    }

    /// Whether the two blocks have the two bytes at the same place, in any case.
    fn may_start_in<const LENGTH: usize>(
        &self,
        first: &[u8; LENGTH],
        second: &[u8; LENGTH],
    ) -> bool {
        let mut least = u8x16::MAX;
        for (first, second) in first.as_chunks().0.iter().zip(second.as_chunks().0) {
            least = least.min(self.difference(first, second));
        }
        least.simd_eq(u8x16::ZERO).any()
    }

    /// Zero where the two vectors have the two bytes at the same place, in any case.
    fn difference(&self, first: &[u8; VECTOR], second: &[u8; VECTOR]) -> u8x16 {
        let [wanted_first, wanted_second] = self.bytes.map(u8x16::splat);
        let difference =
            (u8x16::new(*first) ^ wanted_first) | (u8x16::new(*second) ^ wanted_second);
        difference & u8x16::splat(WITHOUT_CASE)
    }

    /// Whether the tag starts where the two blocks have the two bytes; they are for the offsets
    /// from `start` on.
    fn starts_in_block<const LENGTH: usize>(
        &self,
        bytes: &[u8],
        start: usize,
        first: &[u8; LENGTH],
        second: &[u8; LENGTH],
    ) -> bool {
        let vectors = first.as_chunks().0.iter().zip(second.as_chunks().0);
        (start..).step_by(VECTOR).zip(vectors).any(|(start, (first, second))| {
            let mut hits = self.difference(first, second).simd_eq(u8x16::ZERO).to_bitmask();
            while hits != 0 {
                if self.starts_at(bytes, start + hits.trailing_zeros() as usize) {
                    return true;
                }
                hits &= hits - 1;
            }
            false
        })
    }

    fn starts_at(&self, bytes: &[u8], at: usize) -> bool {
        let text = bytes.get(at..at + self.text.len());
        text.is_some_and(|text| text.eq_ignore_ascii_case(&self.text))
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

    /// Memory allocated, in bytes.
    pub(super) const fn memory(&self) -> usize {
        self.end.capacity() + self.cut.capacity()
    }

    fn find_plain(&mut self, prefilter: &Prefilter, part: &[u8]) -> bool {
        let overlap = prefilter.longest() - 1;
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
            "espressESPRESSO",
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
    fn memory_is_that_of_both_ends_of_a_chunk() {
        let prefilter = Prefilter::new(&["espresso".to_owned()]);
        let mut search = Search::default();
        assert_eq!(search.memory(), 0);
        assert!(!search.push(&prefilter, br"espress\u00"));
        // Seven bytes may begin a tag, and four are half an escape.
        assert!((11..64).contains(&search.memory()), "{}", search.memory());
    }

    #[test]
    fn a_tag_is_found_at_every_offset_of_bodies_of_every_length() {
        for tag in ["espresso", "a/\u{1f600}", "x", "zw"] {
            let prefilter = Prefilter::new(&[tag.to_owned()]);
            for length in (0..130).chain(250..=300).chain(510..=530) {
                // Parts of the tags are everywhere.
                let mut body = b"espra/yz ".repeat(length / 9 + 1);
                body.truncate(length);
                assert!(!prefilter.holds_plain(&body), "{tag} in {length} bytes");
                for at in 0..(length + 1).saturating_sub(tag.len()) {
                    let mut body = body.clone();
                    let text = if at % 2 == 0 { tag.to_owned() } else { tag.to_ascii_uppercase() };
                    body[at..at + tag.len()].copy_from_slice(text.as_bytes());
                    assert!(prefilter.holds_plain(&body), "{tag} at {at} of {length}");
                    if tag.len() > 1 {
                        body[at + 1] = b'*';
                        assert!(!prefilter.holds_plain(&body), "{tag} broken at {at} of {length}");
                    }
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
            "ESPRESSO",
            "eSPresSo",
            "A/\u{1f600}",
            r"\u0065",
            r"\u0045",
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
            "Espress0",
            "esp\u{212a}resso",
            r"\u4e2d",
            r"\\u0065",
            r"\\/",
            r#"\n\"\b\t"#,
            r"\u006",
            r"\",
            r"\u",
            r"\u00zz",
            r"\u0025",
            "u0065 /",
        ] {
            assert!(!prefilter.may_hold_tag(body.as_bytes()), "{body}");
        }
        let plain = Prefilter::new(&["espresso".to_owned()]);
        assert!(!plain.may_hold_tag(br"https:\/\/"), "a slash is in no tag");
    }
}
