//! The host refuses: each function in turn, with each status that Envoy can give there, once or
//! always. Nothing may panic (which would abort this test), and no tag may slip through.
//!
//! The SDK panics on other statuses, so they cannot be tried here. `host` says why Envoy does not
//! give them.

use crate::{
    envoy::*,
    host::{FUNCTIONS, Failure, host},
};

/// The one call beside the SDK takes any status.
const ANY: [u32; 8] = [1, 2, 3, 6, 8, 10, 12, 4_000_000_000];

const STATUSES: &[(&str, &[u32])] = &[
    ("proxy_get_header_map_pairs", &ANY),
    ("proxy_get_shared_data", &[1]),
    ("proxy_set_shared_data", &[8]),
    ("proxy_http_call", &[2, 10]),
    ("proxy_increment_metric", &[1, 2]),
    ("proxy_record_metric", &[1]),
];

const TAGGED: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0xabc","espresso"]}"#;
const UNTAGGED: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0xabc","latest"]}"#;

/// A bit of everything, in a VM of its own. Returns how many tagged requests were rewritten, and
/// how often each function was called.
fn live(framing: &str, freshness: &str, failure: Option<Failure>) -> (u32, Count) {
    in_new_vm(|| (run(framing, freshness, failure), host(|host| host.count.clone())))
}

type Count = std::collections::BTreeMap<&'static str, u32>;

fn run(framing: &str, freshness: &str, failure: Option<Failure>) -> u32 {
    host(|host| {
        host.nanoseconds = START;
        host.failure = failure;
    });
    callbacks::initialize();
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
        if polling() {
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
        let (of_all, count) = live(framing, freshness, None);
        assert_eq!(of_all, rewritten);
        for function in FUNCTIONS {
            let unused = match *function {
                "proxy_continue_stream" => freshness == "cached",
                "proxy_remove_header_map_value" => framing == "exact",
                _ => false,
            };
            assert_eq!(!count.contains_key(function), unused, "{function}");
        }
        for (function, statuses) in STATUSES {
            for status in *statuses {
                live(framing, freshness, Some(Failure { function, status: *status, nth: 0 }));
                // The later rounds repeat the first ones.
                for nth in 1..=count[function].min(200) {
                    live(framing, freshness, Some(Failure { function, status: *status, nth }));
                }
            }
        }
    }
}

#[test]
fn a_host_that_loses_counts_does_not_lose_tags() {
    for function in ["proxy_increment_metric", "proxy_record_metric"] {
        let failure = Failure { function, status: 1, nth: 0 };
        assert_eq!(live("exact", "cached", Some(failure)).0, 16, "{function}");
    }
}

#[test]
fn a_request_whose_headers_cannot_be_read_is_refused() {
    for (framing, trailers) in [("exact", false), ("chunked", false), ("chunked", true)] {
        start_with_head(&format!(r#"{{"sidecar_cluster":"s","framing":"{framing}"}}"#), 100);
        let function = "proxy_get_header_map_pairs";
        host(|host| {
            host.count.clear();
            host.failure = Some(Failure { function, status: 10, nth: 1 + u32::from(trailers) });
        });
        let request = Request { trailers, ..post(TAGGED) };
        let outcome = send(&request);
        let (status, body) = outcome.replied();
        assert_eq!(status, 500);
        assert!(body.contains(r#""code":-32603"#) && body.contains(r#""reason":"host_failure""#));
    }
}
