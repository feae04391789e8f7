//! Which requests are inspected by their headers: method, content type, encoding, length.

use crate::{envoy::*, host::host, requests::*};

#[test]
fn headers_wait_for_a_body_that_may_not_come_only_where_the_framing_is_exact() {
    for (more, waits) in [
        (r#""framing":"exact""#, true),
        (r#""framing":"chunked""#, false),
        (r#""framing":"exact","mode":"observe""#, false),
    ] {
        start(&format!(r#"{{"sidecar_cluster":"s",{more}}}"#));
        let request = post("").with("content-encoding", "gzip").with(":method", "GET");
        let request = request.without("content-length");
        host(|host| host.request_headers.clone_from(&request.headers));
        callbacks::create(9, ROOT);
        let action = callbacks::request_headers(9, request.headers.len(), false);
        assert_eq!(action == PAUSE, waits, "{more}");
    }
}

#[test]
fn requests_that_are_not_json_rpc_pass_and_are_counted() {
    start(CONFIG);
    for (request, reason) in [
        (post(TAGGED).with(":method", "CONNECT"), "method"),
        (post(TAGGED).with(":method", "OPTIONS").without_body(), "no_body"),
        (post(TAGGED).with(":method", "GET").without_body(), "no_body"),
        (post("").with(":method", "GET").chunked(1), "no_body"),
        (post(TAGGED).without_body(), "no_body"),
        (post(TAGGED).with("content-type", "application/grpc"), "content_type"),
        (post(TAGGED).with("content-type", "multipart/form-data; boundary=x"), "content_type"),
        (post(TAGGED).with("upgrade", "other").with(":method", "GET"), "upgrade"),
        (post(TAGGED).with("upgrade", "other").chunked(3), "upgrade"),
    ] {
        let before = passed(reason);
        let outcome = send(&request);
        assert_eq!(outcome.body, request.chunks.concat(), "{request:?}");
        assert!(outcome.complete);
        let values = |name| request.headers.iter().filter(move |(key, _)| key == name).count();
        assert_eq!(outcome.header("content-length").len(), values("content-length"));
        assert_eq!(passed(reason), before + 1, "{request:?}");
    }
}

#[test]
fn a_body_is_inspected_whatever_the_method() {
    for configuration in [CONFIG, CHUNKED] {
        start_with_head(configuration, 100);
        for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "connect"] {
            for request in shapes(TAGGED) {
                assert_eq!(send(&request.with(":method", method)).body(), REWRITTEN, "{method}");
            }
        }
        for content_type in ["text/html", "application/grpc", "", "\u{fffd}"] {
            let options = |request: Request| {
                request.with(":method", "OPTIONS").with("content-type", content_type)
            };
            for request in shapes(TAGGED) {
                assert_eq!(send(&options(request)).body(), REWRITTEN, "{content_type}");
            }
        }
    }
}

/// Bodies of DATA frames without a byte.
fn empty_bodies() -> Vec<Request> {
    let empty = post("").without_body();
    let frames = |count| Request { chunks: vec![Vec::new(); count], ..empty.clone() };
    let mut bodies = vec![frames(1), frames(2)];
    bodies.push(Request { trailers: true, ..empty.clone() });
    bodies.push(Request { trailers: true, ..frames(1) });
    bodies
}

#[test]
fn an_empty_data_frame_is_no_body() {
    for configuration in [CONFIG, CHUNKED] {
        start(configuration);
        for request in empty_bodies() {
            // What refuses a body does not refuse a request without one.
            let encoded = request.clone().with("content-encoding", "gzip").with(":method", "GET");
            for request in [request.clone().with(":method", "GET"), request, encoded] {
                let before = passed("no_body");
                let outcome = send(&request);
                assert_eq!(outcome.body(), "", "{request:?}");
                assert_eq!(passed("no_body"), before + 1, "{request:?}");
            }
        }
        let encoded = post("").with("content-encoding", "gzip").with("content-length", "0");
        assert!(send(&Request { chunks: vec![Vec::new()], ..encoded.clone() }).complete);
        let more = Request { chunks: vec![Vec::new(), TAGGED.into()], ..encoded };
        assert_eq!(send(&more).replied().0, 415, "whatever the length says");
    }
}

#[test]
fn a_refusal_that_the_headers_decide_sends_nothing_to_the_node() {
    for configuration in [CONFIG, CHUNKED] {
        start(configuration);
        for method in ["POST", "PUT", "PATCH", "GET", "DELETE", "OPTIONS"] {
            let encoded = post(TAGGED).with(":method", method).with("content-encoding", "gzip");
            let long = post(TAGGED).with(":method", method).with("content-length", "1000000000");
            let config = r#"{"sidecar_cluster":"s","max_body_bytes":1000000}"#;
            assert!(configure(2, config));
            for outcome in [send(&encoded), send_to(2, &long, &[])] {
                assert!(matches!(outcome.replied().0, 413 | 415), "{method}");
                assert_eq!(outcome.headers, None, "{method}");
            }
            let of_unknown_length = send(&encoded.clone().chunked(10));
            assert_eq!(of_unknown_length.replied().0, 415);
            assert!(of_unknown_length.body.is_empty());
            if matches!(method, "POST" | "PUT" | "PATCH") {
                assert_eq!(of_unknown_length.headers, None, "{method}: there will be a body");
            }
        }
    }
}

#[test]
fn json_without_or_with_another_name_is_inspected() {
    start_with_head(CONFIG, 100);
    for content_type in
        ["", "Application/JSON; charset=utf-8", "application/json-rpc", "text/plain"]
    {
        let request = post(TAGGED).with("content-type", content_type);
        assert_eq!(send(&request).body(), REWRITTEN, "{content_type}");
    }
    assert_eq!(send(&post(TAGGED).without("content-type")).body(), REWRITTEN);
}

#[test]
fn encoded_bodies_are_refused_or_passed_as_configured() {
    start_with_head(CONFIG, 100);
    let outcome = send(&post(UNTAGGED).with("content-encoding", "gzip"));
    assert_eq!(
        outcome.replied(),
        (
            415,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"content-encoding \"gzip\" is not supported: it could hide a finality tag","data":{"reason":"encoded"}}}"#
        )
    );
    assert_eq!(outcome.headers, None, "nothing reaches the node");
    assert_eq!(refused("encoded"), 1);
    assert_eq!(send(&post(TAGGED).with("content-encoding", "identity")).body(), REWRITTEN);
    let html = post(UNTAGGED).with("content-encoding", "gzip").with("content-type", "text/html");
    assert!(send(&html).complete);

    assert!(configure(2, &config(r#""content_encoding":"pass""#)));
    let outcome = send_to(2, &post(TAGGED).with("content-encoding", "br"), &[]);
    assert_eq!(outcome.body(), TAGGED);
    assert_eq!(passed("encoded"), 1);
}
