//! The tables of `docs/filter.md`, row by row.

use crate::envoy::*;

const PAGE: &str = include_str!("../../../docs/filter.md");
const TAGGED: &str = r#"{"id":1,"method":"eth_call","params":["espresso"]}"#;

/// The rows of the table under a heading, as cells.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let section = PAGE.split("\n## ").find(|section| section.starts_with(&format!("{heading}\n")));
    let lines = section.expect("a section").lines().filter(|line| line.starts_with('|'));
    let cells = |line: &'static str| {
        let line = line.strip_prefix('|').unwrap().strip_suffix('|').unwrap();
        line.split('|').map(strip_space).collect()
    };
    lines.skip(2).map(cells).collect()
}

/// Cells are surrounded by one space; more belong to their code.
fn strip_space(cell: &str) -> &str {
    cell.strip_prefix(' ').unwrap_or(cell).strip_suffix(' ').unwrap_or_default()
}

fn code(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`')
}

/// The bytes that a body in a cell stands for.
fn bytes(cell: &str) -> Vec<u8> {
    let mut parts = code(cell).unwrap_or_default().split('‹');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (special, rest) = part.split_once('›').expect("a closing mark");
        match special.split_once('×') {
            Some((count, text)) => bytes.extend(text.repeat(count.parse().unwrap()).bytes()),
            None => bytes.push(u8::from_str_radix(special, 16).unwrap()),
        }
        bytes.extend(rest.bytes());
    }
    bytes
}

/// A refusal as the page shows it.
fn refusal(outcome: &Outcome) -> String {
    let (status, body) = outcome.replied();
    let between = |from: &str, to: char| {
        let (_, rest) = body.split_once(from).expect("a JSON-RPC error");
        rest.split(to).next().unwrap_or_default().to_owned()
    };
    format!("{status} {} `{}`", between(r#""code":"#, ','), between(r#""reason":""#, '"'))
}

fn configuration(framing: &str, freshness: &str) -> String {
    format!(r#"{{"sidecar_cluster":"s","framing":"{framing}","freshness":"{freshness}"}}"#)
}

/// Sends a body in several shapes and checks what node and client get.
fn check(request: impl Fn(&[u8]) -> Request, row: &[&str]) {
    let &[what, body, node, client] = row else { panic!("{row:?}") };
    let body = bytes(body);
    let whole = request(&body);
    let mut shapes = vec![whole.clone(), Request { trailers: true, ..whole.clone() }];
    // Byte by byte where that is a matter of milliseconds.
    let size = if body.len() < 10_000 { 1 } else { 1000 };
    shapes.push(whole.chunked(size));
    let expected = match node {
        "nothing" => client.split('`').nth(1),
        "the same" => None,
        _ => Some("100"),
    };
    observe(&shapes, what, &body, expected);
    for framing in ["exact", "chunked"] {
        start_with_head(&configuration(framing, "cached"), 100);
        for request in &shapes {
            let outcome = send(request);
            if node == "nothing" {
                assert_eq!(refusal(&outcome), client, "{what}");
                assert!(!outcome.complete, "{what}");
            } else {
                assert_eq!(client, "the node's answer");
                let expected = if node == "the same" { body.clone() } else { bytes(node) };
                assert!(outcome.complete, "{what}: {outcome:?}");
                let shown = String::from_utf8_lossy(&outcome.body);
                assert_eq!(outcome.body, expected, "{what}: {shown:.1000}");
                let head = outcome.response_header("x-finality-head");
                assert_eq!(head.is_empty(), node == "the same", "{what}");
            }
        }
    }
}

/// With `mode: observe`, everything passes, and the client is told what would have become of it.
fn observe(shapes: &[Request], what: &str, body: &[u8], expected: Option<&str>) {
    for framing in ["exact", "chunked"] {
        start_with_head(
            &format!(r#"{{"sidecar_cluster":"s","framing":"{framing}","mode":"observe"}}"#),
            100,
        );
        for request in shapes {
            let outcome = send(request);
            assert!(outcome.complete && outcome.reply.is_none(), "{what}: {outcome:?}");
            assert_eq!(outcome.headers.as_ref(), Some(&request.headers), "{what}");
            assert!(outcome.body == body, "{what}");
            let told = outcome.response_header("x-finality-observed");
            assert_eq!(told.first().map(String::as_str), expected, "{what}");
            assert!(outcome.response_header("x-finality-head").is_empty(), "{what}");
        }
    }
}

fn post_of(body: &[u8]) -> Request {
    let request = post("").with("content-length", &body.len().to_string());
    Request { chunks: vec![body.to_vec()], ..request }
}

#[test]
fn by_the_body() {
    let rows = rows("By the body");
    assert!(rows.len() > 25);
    for row in rows {
        check(post_of, &row);
    }
}

#[test]
fn by_the_headers() {
    let rows = rows("By the headers");
    assert!(rows.len() > 8);
    for row in rows {
        let headers: Vec<_> = code(row[0]).expect("headers").split("`, `").collect();
        let request = |body: &[u8]| {
            headers.iter().fold(post_of(body), |request, header| {
                let (name, value) = header.rsplit_once(": ").expect("name and value");
                request.with(name, value)
            })
        };
        check(request, &row);
    }
}

#[test]
fn by_the_head() {
    let rows = rows("By the head");
    assert!(rows.len() > 8);
    for row in rows {
        let &[sidecar, cached, strict] = row.as_slice() else { panic!("{row:?}") };
        for (freshness, expected) in [("cached", cached), ("strict", strict)] {
            for framing in ["exact", "chunked"] {
                in_new_vm(|| by_one_head(&configuration(framing, freshness), sidecar, expected));
            }
        }
    }
}

/// What becomes of a tag after the sidecar has said this.
fn by_one_head(configuration: &str, sidecar: &str, expected: &str) {
    start(configuration);
    tick(ROOT);
    let words: Vec<_> = sidecar.split(", after ").collect();
    if words.len() > 1 {
        answer(ROOT, &report(words[1].parse().unwrap()));
        next_tick(ROOT);
    }
    let says = says(words[0]);
    answer(ROOT, &says);
    if words[0].ends_with("for 301 s") {
        pass(301_000);
    }
    let outcome = send_and_answer(ROOT, &post(TAGGED), &says, &[]);
    match code(expected) {
        Some(hex) => assert_eq!(outcome.body(), TAGGED.replace("espresso", hex), "{sidecar}"),
        None => assert_eq!(refusal(&outcome), expected, "{sidecar}"),
    }
    let untagged = TAGGED.replace("espresso", "latest");
    assert_eq!(send(&post(&untagged)).body(), untagged, "{sidecar}");
}

/// The answer that words of the page stand for.
fn says(words: &str) -> Answer {
    match words {
        "has never answered" | "cannot be reached" | "was silent for 301 s" => unreachable(),
        "has no head yet" | "has no head for 301 s" => no_head(),
        "reports another chain" => report_of(200, "ok", 1),
        _ => {
            let (status, number) = words.split_once(" at ").expect("a status and a number");
            report_of(number.parse().unwrap(), code(status).unwrap(), 22_266_222)
        }
    }
}
