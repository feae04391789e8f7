//! Which requests are inspected, what reaches the node, and what a client is told.

use finality_core::{build, headers};

use crate::{
    envoy::*,
    host::{Reply, host},
};

pub const TAGGED: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0xabc", "espresso"]}"#;
pub const REWRITTEN: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0xabc", "0x64"]}"#;
pub const UNTAGGED: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0xabc", "latest"]}"#;
pub const CHUNKED: &str = r#"{"sidecar_cluster":"finality_sidecar"}"#;

pub fn config(members: &str) -> String {
    format!(r#"{{"sidecar_cluster":"finality_sidecar","framing":"exact",{members}}}"#)
}

pub fn refused(reason: &str) -> u64 {
    metric(&format!("refused_{reason}_total"))
}

pub fn passed(reason: &str) -> u64 {
    metric(&format!("passed_{reason}_total"))
}

fn no_head_error(id: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32055,"message":"no finality head is known yet: retry later","data":{{"reason":"no_head"}}}}}}"#
    )
}

/// All shapes in which a body can arrive.
pub fn shapes(body: &str) -> Vec<Request> {
    let mut shapes = vec![post(body), post(body).chunked(7), post(body).chunked(1)];
    for shape in shapes.clone() {
        shapes.push(Request { separate_end: true, ..shape });
    }
    for shape in shapes.clone() {
        shapes.push(Request { trailers: true, ..shape });
    }
    shapes
}

#[test]
fn exact_framing_holds_the_headers_and_corrects_the_length() {
    start_with_head(CONFIG, 100);
    for request in shapes(TAGGED) {
        let outcome = send(&request);
        assert_eq!(outcome.body(), REWRITTEN, "{request:?}");
        let length = REWRITTEN.len().to_string();
        assert_eq!(outcome.header("content-length"), [length], "{request:?}");
    }
}

#[test]
fn chunked_framing_drops_the_length_and_lets_the_headers_go() {
    start_with_head(CHUNKED, 100);
    for body in [TAGGED, UNTAGGED] {
        for request in shapes(body) {
            let outcome = send(&request);
            let expected = if body == TAGGED { REWRITTEN } else { UNTAGGED };
            assert_eq!(outcome.body(), expected, "{request:?}");
            assert!(outcome.header("content-length").is_empty());
        }
    }
}

#[test]
fn a_body_without_a_tag_is_not_touched_and_reads_no_shared_data() {
    start_with_head(CONFIG, 100);
    let before = host(|host| host.count["proxy_get_shared_data"]);
    for request in shapes(UNTAGGED) {
        let outcome = send(&request);
        assert_eq!(outcome.body(), UNTAGGED);
        let length = request.headers.iter().filter(|(name, _)| name == "content-length").count();
        assert_eq!(outcome.header("content-length").len(), length);
        assert!(outcome.response.is_empty());
    }
    host(|host| {
        assert_eq!(host.count["proxy_get_shared_data"], before);
        assert!(!host.count.contains_key("proxy_set_buffer_bytes"));
    });
    assert_eq!(passed("no_tag"), 12);
}

#[test]
fn the_response_tells_the_number_only_where_a_tag_became_it() {
    start_with_head(CONFIG, 100);
    let node = [("x-finality-head", "7"), ("content-type", "application/json")];
    let outcome = send_to(ROOT, &post(TAGGED), &node);
    assert_eq!(outcome.response_header("x-finality-head"), ["100"]);
    let outcome = send_to(ROOT, &post(UNTAGGED), &node);
    assert_eq!(outcome.response_header("x-finality-head"), ["7"], "the node's own business");
}

#[test]
fn the_response_header_can_be_renamed_or_switched_off() {
    start_with_head(&config(r#""head_header":"X-Block""#), 100);
    assert_eq!(send(&post(TAGGED)).response_header("x-block"), ["100"]);
    assert!(configure(2, &config(r#""head_header":"""#)));
    let outcome = send_to(2, &post(TAGGED), &[]);
    assert_eq!(outcome.body(), REWRITTEN);
    assert!(outcome.response.is_empty());
}

#[test]
fn no_header_is_added_for_the_node() {
    start_with_head(CONFIG, 100);
    let get = Request { chunks: vec![], ..post("").with(":method", "GET") };
    for request in [post(TAGGED), post(UNTAGGED), get] {
        let outcome = send(&request.clone().with("x-other", "1"));
        assert!(outcome.response_header(headers::FILTER).is_empty());
        let headers = outcome.headers.expect("headers that were forwarded");
        let sent = |name: &String| request.headers.iter().any(|(other, _)| other == name);
        assert!(headers.iter().all(|(name, _)| sent(name) || name == "x-other"), "{headers:?}");
    }
}

#[test]
fn the_sidecar_is_told_that_it_reads_through_the_filter() {
    start(CONFIG);
    for (request, forwarded) in [(post(UNTAGGED), true), (post(TAGGED), false)] {
        let outcome = send(&request.with(headers::SIDECAR, "0.1.0"));
        assert_eq!(outcome.complete, forwarded);
        assert_eq!(outcome.response_header(headers::FILTER), [build::VERSION]);
    }
}

#[test]
fn what_was_counted_is_told_at_the_next_tick_and_at_the_end() {
    start_with_head(CONFIG, 100);
    let requests = || host(|host| host.metric("requests_total"));
    let delete: fn(u32) = |root| callbacks::delete(root);
    for end in [tick, delete] {
        let before = requests();
        send(&post(UNTAGGED));
        send(&post(TAGGED));
        assert_eq!(requests(), before);
        end(ROOT);
        assert_eq!(requests(), before + 2);
    }
}

#[test]
fn the_host_is_called_no_more_than_needed() {
    const BYTES: [(&str, u32); 2] =
        [("proxy_get_buffer_bytes", 1), ("proxy_get_header_map_pairs", 1)];
    let no_length = ("proxy_remove_header_map_value", 1);
    for (framing, request, calls) in [
        ("exact", post(UNTAGGED), vec![]),
        ("chunked", post(UNTAGGED), vec![no_length]),
        (
            "exact",
            post(TAGGED),
            vec![
                ("proxy_get_current_time_nanoseconds", 1),
                // Not the head, which has not changed.
                ("proxy_get_shared_data", 1),
                ("proxy_replace_header_map_value", 2),
                ("proxy_set_buffer_bytes", 1),
            ],
        ),
    ] {
        start_with_head(&config(&format!(r#""framing":"{framing}""#)), 100);
        assert!(send(&request).complete);
        host(|host| host.count.clear());
        assert!(send(&request).complete);
        let count = host(|host| std::mem::take(&mut host.count));
        assert_eq!(count, BYTES.into_iter().chain(calls).collect(), "{framing}");
    }
}

#[test]
fn a_request_that_ends_with_its_headers_costs_no_host_call() {
    start(CONFIG);
    for method in ["GET", "OPTIONS", "POST"] {
        host(|host| host.count.clear());
        assert!(send(&post("").with(":method", method).without_body()).complete);
        assert_eq!(host(|host| host.count.clone()), Default::default(), "{method}");
    }
}

#[test]
fn an_upgrade_is_never_held() {
    for configuration in [CONFIG, CHUNKED] {
        start(configuration);
        // The headers end nothing, and frames that look like a tagged request go on at once.
        let request = Request {
            chunks: vec![TAGGED.into(), vec![], vec![0xff; 2_000_000]],
            ..post("").with(":method", "GET").with("upgrade", "other")
        };
        let outcome = send(&request);
        assert_eq!(outcome.body.len(), TAGGED.len() + 2_000_000);
    }
}

#[test]
fn bodies_above_the_limit_are_refused_with_and_without_a_tag() {
    for framing in ["exact", "chunked"] {
        start_with_head(
            &format!(r#"{{"sidecar_cluster":"s","framing":"{framing}","max_body_bytes":90}}"#),
            100,
        );
        let long = format!("{UNTAGGED}{}", " ".repeat(100));
        let answer = (
            413,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"the body exceeds 90 bytes (max_body_bytes)","data":{"reason":"body_too_large"}}}"#,
        );
        let outcome = send(&post(&long));
        assert_eq!(outcome.replied(), answer);
        assert_eq!(outcome.headers, None, "by its content-length, before anything is forwarded");
        for request in shapes(&long) {
            assert_eq!(send(&request).replied(), answer, "{request:?}");
        }
        // A body that is exactly as long as allowed, and one that is a byte longer.
        let exactly = format!("{TAGGED}{}", " ".repeat(90 - TAGGED.len()));
        for request in shapes(&exactly) {
            assert!(send(&request).body().starts_with(REWRITTEN));
        }
        for request in shapes(&format!("{exactly} ")) {
            assert_eq!(send(&request).replied(), answer, "{request:?}");
        }
        let outcome = send(&post(TAGGED).with("content-length", "99999999999999999999999"));
        assert!(outcome.complete, "what is no length is not one");
    }
}

#[test]
fn a_tag_without_a_head_is_refused_and_the_rest_passes() {
    for (count, configuration) in [(12, CONFIG), (24, CHUNKED)] {
        start(configuration);
        for request in shapes(TAGGED) {
            let outcome = send(&request);
            assert_eq!(outcome.replied(), (503, no_head_error("1").as_str()));
            let json = vec![("content-type".to_owned(), "application/json".to_owned())];
            assert_eq!(outcome.reply.as_ref().map(|reply| &reply.headers), Some(&json));
            assert!(outcome.body.is_empty());
            assert!(outcome.response_header("x-finality-head").is_empty());
        }
        for request in shapes(UNTAGGED) {
            assert_eq!(send(&request).body(), UNTAGGED);
        }
        assert_eq!(refused("no_head"), count);
    }
}

#[test]
fn a_batch_is_refused_as_a_whole_with_one_error_for_each_id() {
    start(CONFIG);
    let batch =
        format!(r#"[{UNTAGGED},{{"method":"x","params":[]}},{}]"#, TAGGED.replace("1,", r#""b","#));
    let outcome = send(&post(&batch));
    let expected = format!("[{},{}]", no_head_error("1"), no_head_error(r#""b""#));
    assert_eq!(outcome.replied(), (503, expected.as_str()));
    let notification = r#"{"jsonrpc":"2.0","method":"eth_getBalance","params":["espresso"]}"#;
    let outcome = send(&post(notification));
    let empty = Reply { status: 503, headers: vec![], body: String::new() };
    assert_eq!(outcome.reply, Some(empty));
}

#[test]
fn every_element_of_a_batch_gets_the_same_number() {
    start_with_head(CONFIG, 100);
    let outcome = send(&post(&format!("[{TAGGED},{UNTAGGED},{TAGGED}]")));
    assert_eq!(outcome.body(), format!("[{REWRITTEN},{UNTAGGED},{REWRITTEN}]"));
    assert_eq!(metric("requests_total"), 1);
    assert_eq!(metric("bodies_rewritten_total"), 1);
    assert_eq!(metric("tags_replaced_total"), 2);
}

#[test]
fn broken_json_passes_without_and_is_refused_with_a_tag() {
    start_with_head(CONFIG, 100);
    for broken in ["", "{", "hello", r#"{"params":["latest"#, "\u{0}"] {
        assert_eq!(send(&post(broken)).body(), broken);
    }
    let outcome = send(&post(&TAGGED[..TAGGED.len() - 1]));
    assert_eq!(
        outcome.replied(),
        (
            400,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse error: the body may contain a finality tag but is not valid JSON","data":{"reason":"unparsable"}}}"#
        )
    );
    assert_eq!(refused("unparsable"), 1);
}

#[test]
fn limits_of_tagged_bodies_are_told_by_their_settings() {
    start_with_head(&config(r#""max_batch_length":2,"max_depth":3"#), 100);
    let (status, body) = {
        let outcome = send(&post(&format!("[{TAGGED},{TAGGED},{TAGGED}]")));
        (outcome.replied().0, outcome.replied().1.to_owned())
    };
    assert_eq!(status, 413);
    assert!(body.contains("max_batch_length") && body.contains("-32600"), "{body}");
    let outcome = send(&post(r#"{"id":1,"method":"a","params":[[["espresso"]]]}"#));
    assert_eq!(outcome.replied().0, 413);
    assert!(outcome.replied().1.contains("max_depth"));
    assert_eq!((refused("batch_too_long"), refused("too_deep")), (1, 1));
    assert!(send(&post(&format!("[{UNTAGGED},{UNTAGGED},{UNTAGGED}]"))).complete);
}

#[test]
fn a_request_without_body_bytes_but_with_trailers_passes() {
    for configuration in [CONFIG, CHUNKED] {
        start(configuration);
        let outcome = send(&Request { trailers: true, ..post("").without_body() });
        assert_eq!(outcome.body(), "");
        let outcome = send(&Request { separate_end: true, ..post("").without_body() });
        assert_eq!(outcome.body(), "");
    }
}

#[test]
fn a_body_that_a_decompressor_cut_or_emptied_is_refused() {
    for configuration in [CONFIG, CHUNKED] {
        for library in ["gzip", "brotli", "as-an-operator-calls-it"] {
            start_with_head(configuration, 100);
            let read = |bytes: &str| {
                let name = format!("x-envoy-decompressor-{library}-compressed-bytes");
                host(|host| host.request_trailers = vec![(name, bytes.into())]);
            };
            let empty = Request { trailers: true, ..post("").without_body() };
            let long = format!("[{}\"latest\"]", " ".repeat(100_000));
            let with_trailers = |body: &str| {
                // Two parts: a held one, and one that is too long for that.
                let chunks = [&body[..body.len() / 3], &body[body.len() / 3..]];
                let chunks = chunks.iter().map(|chunk| chunk.as_bytes().to_vec()).collect();
                Request { trailers: true, chunks, ..post("").without("content-length") }
            };
            let cut = |body: &str| with_trailers(&body[..body.len() - 1]);
            let broken =
                [empty.clone(), cut(TAGGED), cut(UNTAGGED), cut(&long), with_trailers("hello")];
            read("20");
            for request in &broken {
                let before = refused("unparsable");
                let outcome = send(request);
                assert_eq!(outcome.replied().0, 400);
                assert!(outcome.replied().1.contains("-32700"), "{outcome:?}");
                assert_eq!(refused("unparsable"), before + 1);
            }
            assert_eq!(send(&with_trailers(TAGGED)).body(), REWRITTEN);
            let deep = "[".repeat(50_000) + &"]".repeat(50_000);
            for body in [UNTAGGED, &long, &deep] {
                assert_eq!(send(&with_trailers(body)).body(), body);
            }
            read("0");
            for request in [&empty, &cut(UNTAGGED), &cut(&long)] {
                assert_eq!(
                    send(request).body(),
                    String::from_utf8(request.chunks.concat()).unwrap()
                );
            }
        }
    }
}

#[test]
fn after_an_answer_nothing_more_is_passed_on_or_answered() {
    start(CHUNKED);
    host(|host| {
        host.request_headers = post(TAGGED).headers;
    });
    callbacks::create(7, ROOT);
    assert_eq!(callbacks::request_headers(7, 3, false), CONTINUE);
    host(|host| host.request_body = TAGGED.into());
    for end in [true, true, false] {
        assert_eq!(callbacks::request_body(7, TAGGED.len(), end), PAUSE);
    }
    assert_eq!(callbacks::request_trailers(7, 1), PAUSE);
    assert_eq!(host(|host| host.replies.len()), 1);
    callbacks::delete(7);
}

#[test]
fn a_body_that_grows_too_long_is_refused_before_its_end() {
    start(&config(r#""max_body_bytes":90"#));
    host(|host| {
        host.request_headers = post(UNTAGGED).chunked(1).headers;
    });
    callbacks::create(7, ROOT);
    assert_eq!(callbacks::request_headers(7, 3, false), PAUSE);
    for (size, replies) in [(0, 0), (90, 0), (91, 1), (92, 1)] {
        assert_eq!(callbacks::request_body(7, size, false), PAUSE);
        assert_eq!(host(|host| host.replies.len()), replies, "{size}");
    }
    callbacks::delete(7);
}

#[test]
fn a_request_outlives_its_plugin() {
    start(CONFIG);
    host(|host| host.request_headers = post(UNTAGGED).headers);
    callbacks::create(7, ROOT);
    callbacks::delete(ROOT);
    assert_eq!(callbacks::request_headers(7, 3, false), PAUSE);
    host(|host| host.request_body = UNTAGGED.into());
    assert_eq!(callbacks::request_body(7, UNTAGGED.len(), true), CONTINUE);
}
