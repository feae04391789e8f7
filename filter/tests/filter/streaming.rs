//! Long bodies, which are rewritten while they pass.

use crate::{envoy::*, host::host};

const CHUNKED: &str = r#"{"sidecar_cluster":"s"}"#;

fn call(block: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0xabc","{block}"]}}"#)
}

/// A batch of some 220 KB: a tag in each tenth element, the first and the last included.
fn batch(tag: &str) -> String {
    let data = "x".repeat(300);
    let element = |number| if number % 10 == 0 { call(tag) } else { call(&data) };
    format!("[{}]", (0..=600).map(element).collect::<Vec<_>>().join(","))
}

/// Chunks of several sizes, with and without a separate end, with and without trailers.
fn shapes(body: &str) -> Vec<Request> {
    let mut shapes = vec![post(body)];
    shapes.extend([7, 1000, 65_537, 100_000].map(|size| post(body).chunked(size)));
    for shape in shapes.clone() {
        shapes.push(Request { separate_end: true, ..shape.clone() });
        shapes.push(Request { trailers: true, ..shape });
    }
    shapes
}

/// A call after so many spaces that the body has this length.
fn padded(call: &str, length: usize) -> String {
    format!("{}{call}", " ".repeat(length - call.len()))
}

#[test]
fn a_body_is_held_to_its_end_up_to_64_kib() {
    start(CHUNKED);
    for (length, passes) in [(65_536, false), (65_537, true)] {
        let body = padded(&call("espresso"), length);
        let length = length.to_string();
        let outcome = send(&post(&body).chunked(10_000).with("content-length", &length));
        assert_eq!(outcome.replied().0, 503);
        assert_eq!(!outcome.body.is_empty(), passes, "{length}");
    }
}

#[test]
fn the_limit_counts_what_has_passed() {
    start(r#"{"sidecar_cluster":"s","max_body_bytes":100000}"#);
    for (length, passes) in [(100_000, true), (100_001, false), (150_000, false)] {
        let outcome = send(&post(&padded(&call("latest"), length)).chunked(30_000));
        assert_eq!(outcome.complete, passes, "{length}");
    }
}

#[test]
fn what_is_held_when_trailers_come_is_refused() {
    start_with_head(CHUNKED, 100);
    for (end, passes) in [(r#""latest"]"#, true), (r#""late"#, true), (r#""espr"#, false)] {
        let body = format!(r#"{{"params":[{}{end}"#, " ".repeat(100_000));
        let outcome = send(&Request { trailers: true, ..post(&body).chunked(30_000) });
        assert_eq!(outcome.complete, passes, "{end}");
    }
    assert_eq!(metric("passed_no_tag_total"), 2);
    let body = padded(&call("espresso"), 100_000);
    assert!(send(&Request { trailers: true, ..post(&body).chunked(30_000) }).complete);
    assert!(send(&post(&body).chunked(30_000)).complete);
    assert!(send(&post(&padded(&call("latest"), 100_000)).chunked(30_000)).complete);
    let counts = ["bodies_rewritten_total", "tags_replaced_total", "passed_no_tag_total"];
    assert_eq!(counts.map(metric), [2, 2, 3]);
}

#[test]
fn every_cut_of_a_body_gives_the_same_bytes() {
    start_with_head(CHUNKED, 100);
    let (body, expected) = (batch("espresso"), batch("0x64"));
    let shapes = shapes(&body);
    for request in &shapes {
        let outcome = send(request);
        assert!(outcome.body() == expected, "{} chunks", request.chunks.len());
        assert!(outcome.header("content-length").is_empty());
    }
    let count = u64::try_from(shapes.len()).unwrap();
    assert_eq!(metric("bodies_rewritten_total"), count);
    assert_eq!(metric("tags_replaced_total"), 61 * count);
    for request in self::shapes(&batch("latest")) {
        assert!(send(&request).body() == batch("latest"));
    }
    assert_eq!(metric("passed_no_tag_total"), count);
}

#[test]
fn one_body_sees_one_head_and_the_response_tells_it() {
    start_with_head(CHUNKED, 100);
    let (body, expected) = (batch("espresso"), batch("0x64"));
    host(|host| {
        host.request_headers = post(&body).headers;
    });
    callbacks::create(7, ROOT);
    assert_eq!(callbacks::request_headers(7, 3, false), CONTINUE);
    let mut forwarded = Vec::new();
    let (first, second) = body.as_bytes().split_at(100_000);
    for (part, end, head) in [(first, false, 200), (second, true, 300)] {
        host(|host| {
            host.request_body = part.to_vec();
        });
        assert_eq!(callbacks::request_body(7, part.len(), end), CONTINUE);
        forwarded.append(&mut host(|host| std::mem::take(&mut host.request_body)));
        // A new head while the body passes.
        answer(ROOT, &report(head));
    }
    assert!(forwarded == expected.as_bytes());
    callbacks::response_headers(7);
    let head = host(|host| host.response_headers.last().cloned()).unwrap();
    assert_eq!(head, ("x-finality-head".to_owned(), b"100".to_vec()));
    callbacks::delete(7);
}

#[test]
fn a_refusal_comes_late_and_no_tag_goes_out_before_it() {
    let good = batch("espresso");
    let cut = good.strip_suffix(']').unwrap().to_owned();
    let held = format!(
        r#"{{"id":7,"params":["espresso","{}"],"method":"eth_call"}}"#,
        "x".repeat(300_000)
    );
    let late = format!(r#"{{"id":7,"params":["{}"],"method":1,"#, "x".repeat(70_000));
    let ambiguous =
        format!(r#"{late}"method":"eth_call","params":["espresso"],"method":"eth_sign"}}"#);
    for (configuration, body, status, reason, id) in [
        (CHUNKED, &cut, 400, "unparsable", "null"),
        (CHUNKED, &held, 413, "held_too_long", "7"),
        (CHUNKED, &ambiguous, 400, "ambiguous_method", "7"),
        (r#"{"sidecar_cluster":"s","max_batch_length":500}"#, &good, 413, "batch_too_long", "1"),
        (
            r#"{"sidecar_cluster":"s","max_body_bytes":150000}"#,
            &good,
            413,
            "body_too_large",
            "null",
        ),
    ] {
        start_with_head(configuration, 100);
        for request in shapes(body) {
            let outcome = send(&request);
            let chunks = request.chunks.len();
            assert!(!outcome.complete, "{reason}: forwarded, {chunks} chunks");
            let (got, answer) = outcome.replied();
            assert_eq!(got, status, "{reason}: {answer}");
            assert!(answer.contains(&format!(r#""reason":"{reason}""#)), "{answer}");
            assert!(
                answer.contains(&format!(r#""id":{id},"#)) || reason == "body_too_large",
                "{answer}"
            );
            let forwarded = String::from_utf8_lossy(&outcome.body);
            assert!(!forwarded.contains("\"espresso\""));
            assert!(outcome.response_header("x-finality-head").is_empty());
        }
    }
    in_new_vm(|| {
        start(CHUNKED);
        for request in shapes(&good) {
            let outcome = send(&request);
            assert_eq!(outcome.replied().0, 503);
            assert!(!String::from_utf8_lossy(&outcome.body).contains("espresso"));
        }
    });
}

#[test]
fn what_is_not_json_passes_as_it_came() {
    start_with_head(CHUNKED, 100);
    let garbage = "}{\"espr\\ ".repeat(20_000);
    for request in shapes(&garbage).into_iter().filter(|request| !request.trailers) {
        assert!(send(&request).body() == garbage);
    }
}
