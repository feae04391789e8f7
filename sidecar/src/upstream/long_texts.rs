//! Long texts in a JSON text.

use std::ops::Range;

use memchr::{memchr, memchr2};

use super::SMALL;

/// The members with long texts that we read.
const MEMBERS: [&[u8]; 3] = [b"input", b"payload", b"ns_payload"];

/// Empties long texts in a JSON text while it arrives, except where we read one. An error of serde
/// repeats a text that is in the wrong place, several times as long; and nothing else in an answer
/// can make it hold much more than the answer's own length.
#[derive(Debug, Default)]
pub(super) struct LongTexts {
    /// The last text, without its quotes.
    last: Range<usize>,
    /// Where the one after that begins, behind its first quote.
    start: Option<usize>,
    /// Up to where quotes were looked for.
    seen: usize,
}

impl LongTexts {
    /// Goes on where the body ended before.
    pub(super) fn empty(&mut self, body: &mut [u8]) {
        while self.step(body).is_some() {}
    }

    /// Goes to the next quote or escape; none if it has not arrived yet.
    fn step(&mut self, body: &mut [u8]) -> Option<()> {
        let unseen = body.get(self.seen..)?;
        let found = match self.start {
            None => memchr(b'"', unseen),
            Some(_) => memchr2(b'"', b'\\', unseen),
        };
        let Some(found) = found else {
            self.seen = body.len();
            return None;
        };
        let is_escape = unseen.get(found) == Some(&b'\\');
        let at = self.seen + found;
        self.seen = if is_escape { at + 2 } else { at + 1 };
        match self.start {
            None => self.start = Some(at + 1),
            Some(_) if is_escape => {}
            Some(start) => {
                let text = start..at;
                if text.len() > SMALL && !self.is_read(body, start) {
                    let text = body.get_mut(start..=at)?;
                    text.fill(b' ');
                    text.first_mut().into_iter().for_each(|first| *first = b'"');
                }
                (self.last, self.start) = (text, None);
            }
        }
        Some(())
    }

    /// Whether the last text names a member that we read, and its text begins here.
    fn is_read(&self, body: &[u8], start: usize) -> bool {
        let name = body.get(self.last.clone()).unwrap_or_default();
        // One quote before, one behind.
        let between = body.get(self.last.end + 1..start - 1).unwrap_or_default();
        MEMBERS.contains(&name) && between.trim_ascii() == b":"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(text: &str) -> String {
        let mut body = text.as_bytes().to_vec();
        LongTexts::default().empty(&mut body);
        // As it arrives, the same.
        for length in [1, 7, 4096] {
            let (mut texts, mut pieces) = (LongTexts::default(), Vec::new());
            for piece in text.as_bytes().chunks(length) {
                pieces.extend(piece);
                texts.empty(&mut pieces);
            }
            assert_eq!(pieces, body, "{length}");
        }
        let text = std::str::from_utf8(&body).unwrap();
        text.chars().filter(|char| *char != ' ').collect()
    }

    #[test]
    fn long_texts_are_emptied_except_where_they_are_read() {
        let long = "x".repeat(SMALL + 1);
        let escaped = format!("{}\\\"", "\\\\".repeat(SMALL));
        for text in [&long, &escaped] {
            for name in ["input", "payload", "ns_payload"] {
                let body = format!(r#"[{{"a":1,"{name}":"{text}","b":"short"}}]"#);
                assert_eq!(dropped(&body), body, "{name}");
            }
            for (body, left) in [
                (format!(r#""{text}""#), r#""""#),
                (format!(r#"{{"hash":"{text}"}}"#), r#"{"hash":""}"#),
                (format!(r#"{{"input":["{text}",1]}}"#), r#"{"input":["",1]}"#),
                (format!(r#"{{"{text}" : "x"}}"#), r#"{"":"x"}"#),
                (format!(r#"{{"input":"x","a":"{text}"}}"#), r#"{"input":"x","a":""}"#),
                (format!(r#"{{"inputs":"{text}"}}"#), r#"{"inputs":""}"#),
            ] {
                assert_eq!(dropped(&body), left);
            }
        }
        let fitting = format!(r#"["{}"]"#, "x".repeat(SMALL));
        assert_eq!(dropped(&fitting), fitting);
        // What is no JSON is left to the decoder.
        for body in ["", "\"", "\"\\", "{\"a", "]]\"\"\""] {
            assert_eq!(dropped(body), body);
        }
    }
}
