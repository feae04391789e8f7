//! The scanner against `serde_json`, and against itself with the bytes cut into chunks.

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};
use serde::de::IgnoredAny;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Event {
    Open(Container),
    Close(usize),
    Name(Text),
    String(Text),
    Scalar(Span),
}

impl Tokens for Vec<Event> {
    fn open(&mut self, container: Container) {
        self.push(Event::Open(container));
    }
    fn close(&mut self, end: usize) {
        self.push(Event::Close(end));
    }
    fn name(&mut self, text: Text) {
        self.push(Event::Name(text));
    }
    fn string(&mut self, text: Text) {
        self.push(Event::String(text));
    }
    fn scalar(&mut self, span: Span) {
        self.push(Event::Scalar(span));
    }
}

/// Scans chunks in order.
fn scan<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Event>, Fault> {
    let mut scanner = Scanner::new(64);
    let mut events = Vec::new();
    for chunk in chunks {
        scanner.feed(chunk, &mut events)?;
    }
    scanner.finish(&mut events)?;
    Ok(events)
}

/// Bytes that are JSON or almost JSON.
fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    let pieces = select(
        &[
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            " ",
            "\n",
            "\"a\"",
            "\"a\":",
            "\"\"",
            "\"\\u00e9\\n\\\\\"",
            "\"\\ud800\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"",
            "\\",
            "0",
            "-0",
            "-",
            "01",
            "1.5",
            "1.",
            ".5",
            "1e5",
            "1E+05",
            "1e",
            "e-",
            "true",
            "false",
            "null",
            "nul",
            "\u{b}",
            "\"\t\"",
            "\u{e9}",
            "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"",
            "[{\"a\":[1,\"b\"]},",
            "{\"a\":{\"b\":",
            "]}",
            "}}",
        ][..],
    );
    let soup = vec(pieces, 0..12).prop_map(|pieces| pieces.concat().into_bytes());
    let value = (any::<u64>(), any::<bool>(), "[ -~]{0,90}").prop_map(|(number, word, text)| {
        serde_json::json!([{ &text: [number, word, { "x": text }] }, -1.5e-9, null, []])
            .to_string()
            .into_bytes()
    });
    let damage = prop_oneof![3 => select(&b"{}[],:\"\\01-.e \n"[..]), 1 => any::<u8>()];
    let damaged = (value.clone(), any::<Index>(), damage).prop_map(|(mut body, at, byte)| {
        let at = at.index(body.len());
        body[at] = byte;
        body
    });
    prop_oneof![soup, value, damaged]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn accepts_what_serde_accepts(body in nearly_json()) {
        // For an ignored value, serde_json checks numbers, escapes and control characters, but
        // neither surrogates nor UTF-8.
        let accepted = serde_json::from_slice::<IgnoredAny>(&body).is_ok();
        prop_assert_eq!(scan([&body[..]]).is_ok(), accepted, "{}", String::from_utf8_lossy(&body));
    }

    #[test]
    fn tokens_do_not_depend_on_the_chunks(body in nearly_json(), cuts in vec(any::<Index>(), 0..6)) {
        let whole = scan([&body[..]]);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        prop_assert_eq!(&scan(cuts.windows(2).map(|cut| &body[cut[0]..cut[1]])), &whole);
        prop_assert_eq!(&scan(body.chunks(1)), &whole);
    }
}

#[test]
fn tokens_are_reported_by_their_offsets() {
    let body = br#" {"a":[1,"b\n"],"":{}} "#;
    let text = |start, end, escaped| Text { span: Span { start, end }, escaped };
    assert_eq!(
        scan([&body[..]]).unwrap(),
        [
            Event::Open(Container::Object),
            Event::Name(text(2, 5, false)),
            Event::Open(Container::Array),
            Event::Scalar(Span { start: 7, end: 8 }),
            Event::String(text(9, 14, true)),
            Event::Close(15),
            Event::Name(text(16, 18, false)),
            Event::Open(Container::Object),
            Event::Close(21),
            Event::Close(22),
        ]
    );
    assert_eq!(text(9, 14, true).raw(Window { bytes: body, start: 0 }), Some(&br"b\n"[..]));
}

#[test]
fn strings_are_checked_at_every_offset() {
    for length in 0..200 {
        for at in 0..length {
            for (byte, accepted) in [(b'x', true), (0x1f, false), (0x7f, true), (0xff, true)] {
                let mut body = vec![b'a'; length + 2];
                (body[0], body[length + 1]) = (b'"', b'"');
                body[at + 1] = byte;
                assert_eq!(scan([&body[..]]).is_ok(), accepted, "{byte:#x} at {at} of {length}");
            }
        }
    }
}

#[test]
fn depth_is_limited() {
    let nested = |depth| [vec![b'['; depth], vec![b']'; depth]].concat();
    assert!(scan([&nested(64)[..]]).is_ok());
    assert_eq!(scan([&nested(65)[..]]), Err(Fault::TooDeep));
}

#[test]
fn the_grammar_is_that_of_rfc_8259() {
    for body in [
        "0",
        "-0",
        "10",
        "0.10",
        "-1.5e-9",
        "1E+05",
        "0e0",
        "true",
        "false",
        "null",
        "\"\"",
        " [ ] ",
        "\t{\r}\n",
        "[[],{}]",
        r#"{"":{"a":[1]}}"#,
        r#""\"\\\/\b\f\n\r\t\u00eF""#,
        r#""\ud800""#,
        "\"\u{7f}\u{e9}\"",
    ] {
        assert!(scan([body.as_bytes()]).is_ok(), "{body}");
    }
    for body in [
        "",
        " ",
        "01",
        "-01",
        "-",
        "+1",
        ".5",
        "1.",
        "1.e5",
        "1e",
        "1e+",
        "[-]",
        "[1.]",
        "[1e]",
        "[1e+]",
        "0x1",
        "1 2",
        "NaN",
        "tru",
        "trxe",
        "[nulk]",
        "truex",
        "nulll",
        "True",
        "[",
        "]",
        "{",
        "}",
        "[1}",
        r#"{"a":1]"#,
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1,,2]",
        "[1:2]",
        "{,}",
        "{1:2}",
        r#"{"a"}"#,
        r#"{"a" 1}"#,
        r#"{"a":}"#,
        r#"{"a":1,}"#,
        r#"{"a":1 "b":2}"#,
        r#"{"a"::1}"#,
        "[]]",
        "[][]",
        "\"a",
        r#""\x""#,
        r#""\u12""#,
        r#""\u12g4""#,
        r#""\"#,
        "'a'",
        "\"\n\"",
        "\"\0\"",
        "\u{b}1",
        "\u{a0}1",
        "\u{feff}1",
        "/**/1",
    ] {
        assert_eq!(scan([body.as_bytes()]), Err(Fault::Syntax), "{body}");
        assert_eq!(scan(body.as_bytes().chunks(1)), Err(Fault::Syntax), "{body}");
    }
}
