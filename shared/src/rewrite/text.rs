//! Compares raw JSON strings with plain text, after unescaping and without allocating.

/// The bytes of a JSON string after unescaping. A lone surrogate becomes U+FFFD, as in Go; bytes
/// that are not UTF-8 are kept.
#[derive(Debug)]
pub(super) struct Unescaped<'a> {
    /// What remains between the quotes of a string that the scanner has accepted.
    raw: &'a [u8],
    /// The character of the latest escape, as UTF-8, of which the given range remains.
    pending: [u8; 4],
    pending_from: usize,
    pending_to: usize,
}

impl<'a> Unescaped<'a> {
    pub(super) const fn new(raw: &'a [u8]) -> Self {
        Self { raw, pending: [0; 4], pending_from: 0, pending_to: 0 }
    }

    /// Consumes four hex digits.
    fn code_unit(&mut self) -> Option<u32> {
        let (digits, rest) = self.raw.split_first_chunk::<4>()?;
        let unit = code_unit(digits)?;
        self.raw = rest;
        Some(unit.into())
    }

    /// The character of a `\u` escape, of which `\u` has been consumed.
    fn unicode(&mut self) -> char {
        let unit = self.code_unit().unwrap_or(0xfffd);
        if let 0xd800..0xdc00 = unit
            && let Some(rest) = self.raw.strip_prefix(b"\\u")
            && let Some(low @ 0xdc00..0xe000) =
                rest.first_chunk::<4>().and_then(code_unit).map(u32::from)
        {
            self.raw = rest.get(4..).unwrap_or_default();
            let code = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            return char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        }
        char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)
    }
}

impl Iterator for Unescaped<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if self.pending_from < self.pending_to {
            let byte = self.pending.get(self.pending_from).copied();
            self.pending_from += 1;
            return byte;
        }
        let (&byte, rest) = self.raw.split_first()?;
        self.raw = rest;
        if byte != b'\\' {
            return Some(byte);
        }
        let (&escape, rest) = self.raw.split_first()?;
        self.raw = rest;
        Some(match escape {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let character = self.unicode();
                self.pending_to = character.encode_utf8(&mut self.pending).len();
                self.pending_from = 1;
                self.pending.first().copied()?
            }
            other => other,
        })
    }
}

/// The value of four hex digits.
pub(super) fn code_unit(digits: &[u8; 4]) -> Option<u16> {
    digits.iter().try_fold(0, |unit: u16, &digit| {
        let value = char::from(digit).to_digit(16)?;
        Some((unit << 4) + u16::try_from(value).ok()?)
    })
}

/// A raw parameter name in snake case, if it is in snake or camel case and not too long to be
/// known.
pub(super) fn snake_case(raw: &[u8]) -> Option<String> {
    const LONGEST: usize = 32;
    let mut name = String::with_capacity(LONGEST);
    for byte in Unescaped::new(raw) {
        match byte {
            b'A'..=b'Z' => name.extend(['_', byte.to_ascii_lowercase().into()]),
            b'a'..=b'z' | b'0'..=b'9' | b'_' => name.push(byte.into()),
            _ => return None,
        }
        if name.len() > LONGEST {
            return None;
        }
    }
    Some(name)
}

/// Whether a raw string is the tag after unescaping, in any ASCII case.
pub(super) fn is_tag(raw: &[u8], escaped: bool, tag: &str) -> bool {
    if escaped {
        let lower_case = |byte: u8| byte.to_ascii_lowercase();
        Unescaped::new(raw).map(lower_case).eq(tag.bytes().map(lower_case))
    } else {
        raw == tag.as_bytes() || raw.eq_ignore_ascii_case(tag.as_bytes())
    }
}

/// Whether a raw string may be the beginning of a spelling of the tag: its characters before the
/// first escape are those of the tag, in any ASCII case.
pub(super) fn may_become_tag(raw: &[u8], tag: &str) -> bool {
    let plain = raw.split(|byte| *byte == b'\\').next().unwrap_or_default();
    tag.as_bytes().get(..plain.len()).is_some_and(|start| start.eq_ignore_ascii_case(plain))
}

/// Whether Go's `encoding/json` takes a raw member name for the field `name`, which is ASCII: it
/// unescapes the name and folds case, U+017F to `s` and U+212A to `k`.
pub(super) fn names(raw: &[u8], name: &str) -> bool {
    if raw == name.as_bytes() {
        return true;
    }
    // A letter takes at most the six bytes of an escape.
    if raw.len() < name.len() || raw.len() > 6 * name.len() {
        return false;
    }
    let mut bytes = Unescaped::new(raw);
    let folds = name.bytes().all(|letter| match bytes.next() {
        Some(0xc5) => letter.eq_ignore_ascii_case(&b's') && bytes.next() == Some(0xbf),
        Some(0xe2) => {
            letter.eq_ignore_ascii_case(&b'k')
                && bytes.next() == Some(0x84)
                && bytes.next() == Some(0xaa)
        }
        Some(byte) => byte.eq_ignore_ascii_case(&letter),
        None => false,
    });
    folds && bytes.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unescaped(raw: &str) -> String {
        String::from_utf8(Unescaped::new(raw.as_bytes()).collect()).unwrap()
    }

    #[test]
    fn surrogates_are_one_character_in_pairs_and_none_alone() {
        // The second sets bits in both halves.
        for (raw, text) in [
            (r"\ud800\udc00", "\u{10000}"),
            (r"\ud83d\ude00!", "\u{1f600}!"),
            (r"\uDBFF\uDFFF", "\u{10ffff}"),
            (r"\ud83d!", "\u{fffd}!"),
            (r"\ude00\ud83d", "\u{fffd}\u{fffd}"),
            (r"\ud83d\u0041", "\u{fffd}A"),
        ] {
            assert_eq!(unescaped(raw), text, "{raw}");
        }
    }

    #[test]
    fn names_are_known_in_both_cases_up_to_their_longest() {
        assert_eq!(snake_case(b"blockHash").as_deref(), Some("block_hash"));
        assert_eq!(snake_case(b"block_hash").as_deref(), Some("block_hash"));
        assert_eq!(snake_case(b"block-hash"), None);
        assert_eq!(snake_case("x".repeat(32).as_bytes()), Some("x".repeat(32)));
        assert_eq!(snake_case("x".repeat(33).as_bytes()), None);
        // The last capital takes two.
        assert_eq!(snake_case(format!("{}Xyz", "x".repeat(31)).as_bytes()), None);
    }

    #[test]
    fn members_have_the_names_that_go_takes() {
        let escaped: String = "params".bytes().map(|byte| format!(r"\u00{byte:02x}")).collect();
        for raw in ["params", "PaRaMs", "param\u{17f}", r"param\u017f", escaped.as_str()] {
            assert!(names(raw.as_bytes(), "params"), "{raw}");
        }
        assert!(names("\u{212a}ey".as_bytes(), "key"));
        // Other characters with some of the same bytes, and the right ones in the wrong place.
        for raw in ["param\u{17e}", "par\u{17f}ms", "para\u{212a}s", "param", "paramss"] {
            assert!(!names(raw.as_bytes(), "params"), "{raw}");
        }
        for raw in ["\u{212b}ey", "\u{216a}ey", "\u{217a}ey", "\u{17f}ey"] {
            assert!(!names(raw.as_bytes(), "key"), "{raw}");
        }
    }
}
