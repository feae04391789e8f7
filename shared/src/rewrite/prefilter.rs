//! The fast path: whether a tag can occur in a body at all.

use memchr::memmem::Finder;

use super::text::code_unit;

/// Searches that were prepared once for the configured tags.
///
/// A tag stands in a body either as its own bytes, or with at least one of its characters escaped. Of the
/// escapes of JSON, `\u` can spell any character and `\/` a slash; the others spell characters that no tag
/// may have.
#[derive(Debug, Clone)]
pub(super) struct Prefilter {
    plain: Vec<Finder<'static>>,
    /// UTF-16 code units of all tags.
    code_units: Vec<u16>,
}

impl Prefilter {
    pub(super) fn new(tags: &[String]) -> Self {
        let mut code_units: Vec<u16> = tags.iter().flat_map(|tag| tag.encode_utf16()).collect();
        code_units.sort_unstable();
        code_units.dedup();
        let plain = tags.iter().map(|tag| Finder::new(tag).into_owned()).collect();
        Self { plain, code_units }
    }

    /// Whether one of the tags can be a string of the body. A false yes costs a walk, a false no would
    /// let a tag through.
    pub(super) fn may_hold_tag(&self, body: &[u8]) -> bool {
        self.plain.iter().any(|tag| tag.find(body).is_some()) || self.may_spell_tag(body)
    }

    /// Whether an escape spells a character of a tag.
    fn may_spell_tag(&self, body: &[u8]) -> bool {
        let mut rest = body;
        while let Some(at) = memchr::memchr(b'\\', rest) {
            // The byte after a backslash belongs to it, also when it is another backslash.
            let Some((escape, after)) = rest.get(at + 1..).and_then(<[u8]>::split_first) else {
                return false;
            };
            let unit = match escape {
                b'u' => after.first_chunk().and_then(code_unit),
                b'/' => Some(u16::from(b'/')),
                _ => None,
            };
            if unit.is_some_and(|unit| self.code_units.binary_search(&unit).is_ok()) {
                return true;
            }
            rest = after;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_tag_or_an_escape_that_can_spell_one_needs_a_walk() {
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
