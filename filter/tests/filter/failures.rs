//! The host refuses: each function in turn, with each status, once or always. Nothing may panic
//! (which would abort this test), and no tag may slip through to the node.

use crate::{
    envoy::*,
    host::{FUNCTIONS, Failure, Host, host},
};

const STATUSES: [u32; 8] = [1, 2, 3, 6, 8, 10, 12, 4_000_000_000];
const TAGGED: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0xabc","espresso"]}"#;
const UNTAGGED: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0xabc","latest"]}"#;

/// A bit of everything. Returns how many tagged requests were rewritten.
fn live(framing: &str, freshness: &str, failure: Option<Failure>) -> u32 {
    use finality_filter::callbacks as filter;
    host(|host| {
        *host = Host { nanoseconds: 1_800_000_000_000_000_000, failure, ..Host::default() }
    });
    filter::_initialize();
    let configuration = format!(
        r#"{{"sidecar_cluster":"s","framing":"{framing}","freshness":"{freshness}","max_body_bytes":200}}"#
    );
    if !configure(ROOT, &configuration) {
        return 0;
    }
    let mut rewritten = 0;
    for answer_ in
        [report(100), unreachable(), no_head(), report_of(101, "diverged", 22_266_222), report(102)]
    {
        next_tick(ROOT);
        if polls() > 0 {
            answer(ROOT, &answer_);
        }
        for request in [
            post(TAGGED),
            post(TAGGED).chunked(10),
            Request { trailers: true, ..post(TAGGED) },
            post(TAGGED).with("x-finality-sidecar", "1"),
        ] {
            let outcome = send_and_answer(ROOT, &request, &answer_, &[]);
            let body = String::from_utf8(outcome.body).unwrap();
            assert!(!body.contains("espresso"), "{failure:?}: {body}");
            if outcome.complete {
                assert!(body.contains(r#""0x6"#), "{failure:?}: {body}");
                let headers = outcome.headers.expect("headers");
                let length = headers.iter().find(|(name, _)| name == "content-length");
                let length = length.map(|(_, value)| String::from_utf8(value.clone()).unwrap());
                assert!(
                    length.as_ref().is_none_or(|length| *length == body.len().to_string()),
                    "{failure:?}: {length:?}"
                );
                rewritten += 1;
            }
        }
        for request in [post(UNTAGGED), post(UNTAGGED).with(":method", "GET").without_body()] {
            let outcome = send(&request);
            if outcome.complete {
                assert_eq!(outcome.body, request.chunks.concat(), "{failure:?}");
            }
        }
        send(&post(&" ".repeat(201)));
        send(&post("").with("content-encoding", "gzip"));
    }
    rewritten
}

#[test]
fn no_refusal_of_the_host_panics_or_lets_a_tag_through() {
    for (framing, freshness, rewritten) in [
        ("exact", "cached", 16), // all but those while diverged
        ("chunked", "cached", 16),
        ("exact", "strict", 8), // those for which the sidecar reports a head
        ("chunked", "strict", 8),
    ] {
        assert_eq!(live(framing, freshness, None), rewritten);
        let count = host(|host| host.count.clone());
        for function in FUNCTIONS {
            let calls = count.get(function).copied().unwrap_or_default();
            assert_eq!(
                calls == 0,
                match *function {
                    "proxy_continue_stream" | "proxy_set_effective_context" =>
                        freshness == "cached",
                    "proxy_remove_header_map_value" => framing == "exact",
                    _ => false,
                },
                "{function}: {calls} calls"
            );
            for status in STATUSES {
                // "Not found" is what a host may say of a header that was not there to remove.
                if (*function, status) == ("proxy_remove_header_map_value", 1) {
                    continue;
                }
                live(framing, freshness, Some(Failure { function, status, nth: 0 }));
            }
            // The later rounds repeat the first ones.
            for nth in 1..=calls.min(200) {
                live(framing, freshness, Some(Failure { function, status: 10, nth }));
            }
        }
    }
}

#[test]
fn a_host_that_loses_logs_and_metrics_does_not_lose_tags() {
    for function in
        ["proxy_log", "proxy_define_metric", "proxy_increment_metric", "proxy_record_metric"]
    {
        assert_eq!(
            live("exact", "cached", Some(Failure { function, status: 10, nth: 0 })),
            16,
            "{function}"
        );
    }
}

#[test]
fn what_the_host_does_not_do_is_answered_with_an_internal_error() {
    for (function, framing) in [
        ("proxy_get_buffer_bytes", "exact"),
        ("proxy_set_buffer_bytes", "exact"),
        ("proxy_set_buffer_bytes", "chunked"),
        ("proxy_remove_header_map_value", "chunked"),
        ("proxy_replace_header_map_value", "exact"),
    ] {
        host(|host| host.failure = None);
        start_with_head(&format!(r#"{{"sidecar_cluster":"s","framing":"{framing}"}}"#), 100);
        host(|host| host.failure = Some(Failure { function, status: 10, nth: 0 }));
        let outcome = send(&post(TAGGED));
        assert_eq!(
            outcome.replied(),
            (
                500,
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"the proxy could not process the request","data":{"reason":"host_failure"}}}"#
            ),
            "{function}"
        );
    }
}
