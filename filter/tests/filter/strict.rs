//! `freshness: strict`: each body with a tag asks the sidecar.

use crate::{
    envoy::*,
    host::{Failure, host},
};

const EXACT: &str = r#"{"sidecar_cluster":"s","framing":"exact","freshness":"strict"}"#;
const CHUNKED: &str = r#"{"sidecar_cluster":"s","freshness":"strict","freshness_timeout":"750ms"}"#;
const TAGGED: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["espresso"]}"#;
const UNTAGGED: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["latest"]}"#;

fn ask(answer: &Answer) -> Outcome {
    send_and_answer(ROOT, &post(TAGGED), answer, &[])
}

/// The number that a tag became, or the reason of the refusal.
fn resolve(answer: &Answer) -> String {
    let outcome = ask(answer);
    if outcome.complete {
        return outcome.response_header("x-finality-head").concat();
    }
    let (status, body) = outcome.replied();
    assert_eq!(status, 503);
    let reason = body.split(r#""reason":""#).nth(1).expect("a reason");
    reason.trim_end_matches(r#""}}}"#).to_owned()
}

#[test]
fn a_tag_becomes_what_the_sidecar_says_now_in_every_shape_of_a_body() {
    for (configuration, first) in [(EXACT, 101), (CHUNKED, 105)] {
        start_with_head(configuration, 100);
        let mut shapes = vec![post(TAGGED), post(TAGGED).chunked(7)];
        shapes.push(Request { separate_end: true, ..post(TAGGED) });
        shapes.push(Request { trailers: true, ..post(TAGGED) });
        for (request, number) in shapes.iter().zip(first..) {
            let outcome = send_and_answer(ROOT, request, &report(number), &[]);
            assert_eq!(
                outcome.body(),
                TAGGED.replace("espresso", &format!("0x{number:x}")),
                "{request:?}"
            );
            assert_eq!(outcome.response_header("x-finality-head"), [number.to_string()]);
            if configuration == EXACT {
                let length = outcome.body().len().to_string();
                assert_eq!(outcome.header("content-length"), [length]);
            }
        }
        assert_eq!(metric("head_number"), first + 3, "known to all workers");
    }
    assert_eq!(metric("callouts_ok_total"), 8);
}

#[test]
fn the_question_wants_an_answer_at_once() {
    start_with_head(CHUNKED, 100);
    ask(&report(100));
    let call = host(|host| host.callouts[0].clone());
    assert_eq!((call.cluster.as_str(), call.timeout), ("s", 750));
    assert_eq!(call.header(":path"), "/v1/head?confirm=cluster");
    assert_eq!(host(|host| host.callouts.len()), 1);
}

#[test]
fn a_body_without_a_tag_asks_nothing() {
    start_with_head(EXACT, 100);
    assert_eq!(send(&post(UNTAGGED)).body(), UNTAGGED);
    assert!(host(|host| host.callouts.is_empty()));
}

#[test]
fn the_larger_of_answer_and_shared_head_counts() {
    start_with_head(EXACT, 100);
    assert_eq!(resolve(&report(90)), "100");
    assert_eq!(metric("answers_refused_lower_number_total"), 1);
    assert_eq!(resolve(&report(110)), "110");
    assert_eq!(resolve(&report(109)), "110");
}

#[test]
fn no_answer_means_a_refusal_even_with_a_head_that_is_fresh() {
    start_with_head(EXACT, 100);
    for (answer, reason) in [
        (unreachable(), "unconfirmed"),
        (Answer { status: "504", ..unreachable() }, "unconfirmed"),
        (Answer { marker: false, ..report(101) }, "unconfirmed"),
        (Answer { body: "{".to_owned(), ..report(101) }, "unconfirmed"),
        (Answer { status: "500", ..report(101) }, "unconfirmed"),
        (broken_off(), "unconfirmed"),
        // A replica that cannot ask the others, and an earlier sidecar: it knows no such question.
        (Answer { body: report(101).body.replace("true", "false"), ..report(101) }, "unconfirmed"),
        (Answer { body: report(101).body.replace("confirmed", "x"), ..report(101) }, "unconfirmed"),
        (Answer { status: "400", ..report(101) }, "unconfirmed"),
        (report_of(101, "ok", 1), "unconfirmed"),
        (no_head(), "no_head"),
        (report_of(100, "diverged", 22_266_222), "diverged"),
        (report_of(100, "node_behind", 22_266_222), "node_behind"),
        (report_of(100, "node_unchecked", 22_266_222), "node_unchecked"),
        (report_of(100, "cut_off", 22_266_222), "cut_off"),
        (report_of(100, "a_word_of_a_later_version", 22_266_222), "unknown_status"),
    ] {
        assert_eq!(resolve(&answer), reason, "{answer:?}");
    }
    assert_eq!(metric("refused_unconfirmed_total"), 10);
    assert_eq!(metric("callouts_failed_total"), 8);
    assert_eq!(metric("answers_refused_chain_id_total"), 1);
    assert_eq!(metric("head_number"), 101, "it is known, not confirmed");
    assert_eq!(resolve(&report_of(100, "pruned", 22_266_222)), "101");
}

#[test]
fn a_host_that_sends_nothing_means_a_refusal() {
    start_with_head(EXACT, 100);
    host(|host| {
        host.failure = Some(Failure { function: "proxy_http_call", status: 2, nth: 0 });
    });
    assert_eq!(resolve(&report(101)), "unconfirmed");
    assert_eq!(metric("callouts_failed_total"), 1);
}

#[test]
fn an_answer_for_a_request_that_is_gone_does_nothing() {
    start_with_head(EXACT, 100);
    host(|host| host.request_headers = post(TAGGED).headers);
    let open = |stream| {
        callbacks::create(stream, ROOT);
        assert_eq!(callbacks::request_headers(stream, 3, false), PAUSE);
        host(|host| host.request_body = TAGGED.into());
        assert_eq!(callbacks::request_body(stream, TAGGED.len(), true), PAUSE);
        host(|host| host.callouts.last().map(|call| call.token)).expect("a question")
    };
    let first = open(7);
    callbacks::delete(7);
    answer_to(ROOT, first, &report(101));
    let second = open(8);
    assert_eq!(host(|host| (host.resumed, host.replies.len())), (0, 0));
    assert_eq!(metric("head_number"), 100, "what nobody waits for is not read");
    // Whatever comes meanwhile waits, too.
    assert_eq!(callbacks::request_body(8, TAGGED.len(), true), PAUSE);
    assert_eq!(callbacks::request_trailers(8, 0), PAUSE);
    answer_to(ROOT, second, &report(103));
    assert_eq!(host(|host| (host.resumed, host.replies.len())), (1, 0));
    assert_eq!(
        host(|host| host.request_body.clone()),
        TAGGED.replace("espresso", "0x67").into_bytes()
    );
}
