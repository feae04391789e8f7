//! `mode: observe`, beyond what the tables of `docs/filter.md` show: every row of them is also run
//! in this mode (`verdicts.rs`).

use finality_filter::observing::{HEADER, NOTICE};

use crate::{
    envoy::*,
    host::{Failure, host},
};

const OBSERVE: &str = r#"{"sidecar_cluster":"s","mode":"observe"}"#;
const TAGGED: &str = r#"{"id":1,"method":"eth_call","params":[{},"espresso","espresso"]}"#;

fn told(outcome: &Outcome) -> Vec<String> {
    outcome.response_header(HEADER)
}

#[test]
fn the_log_tells_it_at_the_start() {
    let noticed = || host(|host| host.log.iter().any(|(_, line)| line == NOTICE));
    start(CONFIG);
    assert!(!noticed());
    start(OBSERVE);
    assert!(noticed());
}

#[test]
fn it_is_counted_apart_from_what_happens() {
    start(OBSERVE);
    assert_eq!(told(&send(&post(TAGGED))), ["no_head"]);
    tick(ROOT);
    answer(ROOT, &report(100));
    assert_eq!(told(&send(&post(TAGGED))), ["100"]);
    answer_next(&report_of(101, "diverged", 1));
    assert_eq!(told(&send(&post(&TAGGED.replace("espresso", "latest")))), Vec::<String>::new());
    // A node's own header of that name is replaced where there is something to tell.
    let outcome = send_to(ROOT, &post(TAGGED), &[(HEADER, "7")]);
    assert_eq!(told(&outcome), ["100"]);
    for (name, count) in [
        ("observed_rewritten_total", 2),
        ("observed_tags_total", 4),
        ("observed_refused_total", 1),
        ("passed_no_tag_total", 1),
        ("bodies_rewritten_total", 0),
        ("tags_replaced_total", 0),
        ("refused_no_head_total", 0),
    ] {
        assert_eq!(metric(name), count, "{name}");
    }
}

#[test]
fn a_body_from_a_decompressor_is_told_like_another_one_if_it_is_json() {
    start_with_head(OBSERVE, 100);
    let name = "x-envoy-decompressor-gzip-compressed-bytes".to_owned();
    host(|host| host.request_trailers = vec![(name, "20".into())]);
    for (body, outcome) in [(TAGGED, "100"), (&TAGGED[..TAGGED.len() - 1], "unparsable")] {
        let request = Request { trailers: true, ..post(body) };
        assert_eq!(told(&send(&request)), [outcome]);
    }
}

/// Another chain's report, which changes nothing.
fn answer_next(report: &Answer) {
    if polling() {
        answer(ROOT, report);
    }
}

#[test]
fn long_bodies_pass_as_they_come() {
    start_with_head(OBSERVE, 100);
    let call = |block: &str| format!(r#"{{"id":1,"method":"eth_call","params":[{{}},"{block}"]}}"#);
    let filling = call(&"x".repeat(1000));
    let mut batch = vec![filling; 200];
    batch.push(call("espresso"));
    let body = format!("[{}]", batch.join(","));
    for size in [1000, 65_537, 1_000_000] {
        let request = post(&body).chunked(size);
        let outcome = send(&request);
        assert_eq!(outcome.body(), body);
        assert_eq!(told(&outcome), ["100"]);
    }
}

#[test]
fn a_websocket_connection_keeps_its_extensions_and_its_messages() {
    start_with_head(OBSERVE, 100);
    let request = Request { chunks: vec![TAGGED.as_bytes().to_vec()], ..post("") }
        .with(":method", "GET")
        .with("upgrade", "websocket")
        .with("sec-websocket-extensions", "permessage-deflate");
    let outcome = send(&request);
    assert_eq!((outcome.headers.as_ref(), outcome.body()), (Some(&request.headers), TAGGED));
    assert_eq!(metric("passed_upgrade_total"), 1);
}

#[test]
fn nothing_is_refused_when_the_host_fails() {
    start_with_head(OBSERVE, 100);
    host(|host| {
        host.failure = Some(Failure { function: "proxy_get_header_map_pairs", status: 8, nth: 0 });
    });
    for request in [post(TAGGED), Request { trailers: true, ..post(TAGGED) }] {
        assert_eq!(send(&request).body(), TAGGED);
    }
}
