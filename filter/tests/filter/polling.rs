//! How the head is learned and shared: polls, lease, back-off, compare-and-swap, clocks.

use crate::{
    envoy::*,
    host::{Host, host},
};

const TAGGED: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0xabc","espresso"]}"#;

/// What a tagged request becomes on a worker: the number, or the reason of the refusal.
fn resolve_on(root: u32) -> String {
    let outcome = send_to(root, &post(TAGGED), &[]);
    if outcome.complete {
        return outcome.response_header("x-finality-head").concat();
    }
    let (_, body) = outcome.replied();
    let reason = body.split(r#""reason":""#).nth(1).unwrap_or(body);
    reason.trim_end_matches(r#""}}}"#).to_owned()
}

fn resolve() -> String {
    resolve_on(ROOT)
}

fn lines(level: u32) -> Vec<String> {
    host(|host| {
        host.log.iter().filter(|(of, _)| *of == level).map(|(_, line)| line.clone()).collect()
    })
}

const WARN: u32 = 3;

/// The token of a poll, by its place.
fn token(place: usize) -> u32 {
    host(|host| host.calls[place].token)
}

#[test]
fn the_first_poll_asks_at_once_and_the_next_ones_wait_for_news() {
    start(CONFIG);
    tick(ROOT);
    assert_eq!(host(|host| host.tick_period), 1000, "after the early first tick");
    let poll = last_poll();
    assert_eq!(poll.cluster, "finality_sidecar");
    assert_eq!(poll.header(":method"), "GET");
    assert_eq!(poll.header(":authority"), "finality_sidecar");
    assert_eq!(poll.header(":path"), "/v1/head");
    assert_eq!(poll.timeout, 30_000);
    assert_eq!(resolve(), "no_head");

    answer(ROOT, &report(100));
    assert_eq!(polls(), 2, "asked again at once");
    assert_eq!(last_poll().header(":path"), "/v1/head?after=100&status=ok&wait=25s");
    assert_eq!(resolve(), "100");
    assert_eq!(metric("head_number"), 100);
    assert_eq!(metric("head_contact_timestamp_seconds"), 1_800_000_000);

    answer(ROOT, &report(101));
    assert_eq!(resolve(), "101");
    assert_eq!(metric("polls_ok_total"), 2);
}

#[test]
fn one_poll_is_under_way_at_a_time_and_the_lease_lives_on_meanwhile() {
    start_with_head(CONFIG, 100);
    assert!(configure(2, CONFIG));
    for _ in 0..25 {
        pass(1000);
        tick(2);
        tick(ROOT);
    }
    assert_eq!(polls(), 2);
    answer(ROOT, &report(100));
    assert_eq!(polls(), 3, "nothing new after the whole wait: asked again at once");
}

#[test]
fn an_answer_without_news_that_came_early_waits_for_the_next_tick() {
    start_with_head(CONFIG, 100);
    for _ in 0..3 {
        let before = polls();
        answer(ROOT, &report(100));
        assert_eq!(polls(), before, "no busy loop");
        next_tick(ROOT);
        assert_eq!(polls(), before + 1);
    }
    // Two sidecars behind one name that disagree about the status must not make one either.
    let before = polls();
    answer(ROOT, &report_of(100, "node_behind", 22_266_222));
    assert_eq!(polls(), before);
}

#[test]
fn a_worker_takes_over_when_the_holder_is_silent_for_three_ticks() {
    start_with_head(CONFIG, 100);
    assert!(configure(2, CONFIG));
    pass(2999);
    tick(2);
    assert_eq!(polls(), 2);
    pass(1);
    tick(2);
    assert_eq!(polls(), 3);
    tick(ROOT);
    next_tick(ROOT);
    assert_eq!(polls(), 3, "the old holder leaves it alone");
    // The old holder's answer is still news.
    answer_to(ROOT, token(1), &report(105));
    assert_eq!((polls(), resolve()), (3, "105".to_owned()));
}

#[test]
fn another_configuration_has_its_own_lease_and_the_same_head() {
    start_with_head(CONFIG, 100);
    assert!(configure(2, &CONFIG.replace("exact", "chunked")));
    assert_eq!(resolve_on(2), "100");
    tick(2);
    assert_eq!(polls(), 3);
    answer(2, &report(200));
    assert_eq!(resolve(), "200");
    // The old one's late answer does not take the head back.
    answer_to(ROOT, token(1), &report(150));
    assert_eq!(resolve(), "200");
    assert_eq!(metric("answers_refused_lower_number_total"), 1);
}

#[test]
fn another_cache_key_begins_anew() {
    start_with_head(CONFIG, 100);
    assert!(configure(2, r#"{"sidecar_cluster":"finality_sidecar","cache_key":"b"}"#));
    assert_eq!(resolve_on(2), "no_head");
    tick(2);
    answer(2, &report(5));
    assert_eq!((resolve_on(2), resolve()), ("5".to_owned(), "100".to_owned()));
}

#[test]
fn clock_steps_stop_neither_polls_nor_tags() {
    start_with_head(CONFIG, 100);
    assert!(configure(2, CONFIG));
    // Back by an hour: the lease is too far ahead to be believed, the contact too.
    host(|host| host.nanoseconds -= 3_600_000_000_000);
    assert_eq!(resolve(), "no_contact");
    tick(2);
    assert_eq!(polls(), 3);
    assert_eq!(last_poll().header(":path"), "/v1/head", "asked at once");
    answer(2, &report(100));
    assert_eq!(resolve(), "100");
    // Ahead by an hour.
    pass(3_600_000);
    assert_eq!(resolve(), "no_contact");
    next_tick(2);
    answer(2, &report(101));
    assert_eq!(resolve(), "101");
}

#[test]
fn failed_polls_back_off_for_all_workers_together_and_are_told_once() {
    start(CONFIG);
    assert!(configure(2, CONFIG));
    let mut sent = Vec::new();
    for second in 0..100 {
        for root in [ROOT, 2] {
            let before = polls();
            tick(root);
            if polls() > before {
                sent.push(second);
                answer(root, &unreachable());
                assert_eq!(polls(), before + 1, "not at once");
            }
        }
        pass(1000);
    }
    assert_eq!(sent, [0, 1, 3, 7, 15, 31, 61, 91]);
    assert_eq!(metric("polls_failed_total"), 8);
    assert_eq!(metric("polls_ok_total"), 0);
    assert_eq!(lines(WARN).len(), 1, "{:?}", lines(WARN));
    assert!(lines(WARN)[0].contains("503"));

    pass(60_000);
    tick(2);
    answer(2, &report(7));
    assert_eq!(resolve(), "7");
    answer(2, &report(8));
    assert_eq!(last_poll().header(":path"), "/v1/head?after=8&status=ok&wait=25s");
    answer(2, &unreachable());
    next_tick(2);
    assert_eq!(last_poll().header(":path"), "/v1/head", "back when it answers");
    answer(2, &report(8));
    let info = lines(2);
    assert_eq!(info.iter().filter(|line| line.contains("answers again")).count(), 2, "{info:?}");
}

#[test]
fn an_answer_that_broke_off_is_named() {
    start_with_head(CONFIG, 100);
    answer(ROOT, &broken_off());
    assert_eq!((resolve(), metric("polls_failed_total")), ("100".to_owned(), 1));
    assert!(lines(WARN)[0].contains("broke off"), "{:?}", lines(WARN));
    assert_eq!(metric("answers_refused_http_status_total"), 0, "there was no status");
}

#[test]
fn a_cluster_that_takes_no_call_is_retried_with_a_pause() {
    use crate::host::Failure;
    start(CONFIG);
    host(|host| {
        host.failure = Some(Failure { function: "proxy_http_call", status: 2, nth: 0 });
    });
    for _ in 0..20 {
        tick(ROOT);
        pass(1000);
    }
    assert_eq!(metric("polls_failed_total"), 5);
    assert!(lines(WARN)[0].contains("sidecar_cluster"), "{:?}", lines(WARN));
    host(|host| host.failure = None);
    pass(30_000);
    tick(ROOT);
    answer(ROOT, &report(7));
    assert_eq!(resolve(), "7");
}

#[test]
fn a_poll_that_the_host_forgot_does_not_stop_the_polling() {
    start_with_head(CONFIG, 100);
    for _ in 0..31 {
        next_tick(ROOT);
    }
    assert_eq!(polls(), 2);
    next_tick(ROOT);
    assert_eq!(polls(), 3);
    answer_to(ROOT, token(1), &report(999));
    assert_eq!(resolve(), "100", "an answer to a poll that was given up is not awaited any more");
}

#[test]
fn answers_that_cannot_be_meant_are_counted_and_change_nothing() {
    start_with_head(CONFIG, 100);
    let ok = |body: &str| Answer { status: "200", marker: true, body: body.to_owned() };
    let contradiction = Answer { body: report(101).body.replace("0x65", "0x66"), ..report(101) };
    for (answer_, name) in [
        (ok(""), "answers_refused_malformed_total"),
        (ok("null"), "answers_refused_malformed_total"),
        (ok(&"[".repeat(100_000)), "answers_refused_malformed_total"),
        (ok(&report(101).body.replace(r#""ok""#, "null")), "answers_refused_malformed_total"),
        (contradiction, "answers_refused_malformed_total"),
        (report_of(101, "ok", 1), "answers_refused_chain_id_total"),
        (Answer { marker: false, ..report(101) }, "answers_refused_no_marker_total"),
        (Answer { status: "404", ..report(101) }, "answers_refused_http_status_total"),
    ] {
        let (counted, failed) = (metric(name), metric("polls_failed_total"));
        answer(ROOT, &answer_);
        assert_eq!(metric(name), counted + 1, "{answer_:?}");
        assert_eq!(metric("polls_failed_total"), failed + 1);
        assert_eq!(resolve(), "100");
        pass(30_000);
        tick(ROOT);
    }
    // A report that is too long to be one.
    let mut long = report(101);
    long.body.push_str(&" ".repeat(100_000));
    answer(ROOT, &Answer { body: long.body.replace("}", ",\"x\":0}"), ..long.clone() });
    assert_eq!(resolve(), "101", "white space beyond what is read does no harm");
}

#[test]
fn the_configured_chain_is_the_only_one() {
    start(r#"{"sidecar_cluster":"s","chain_id":10}"#);
    tick(ROOT);
    answer(ROOT, &report_of(5, "ok", 11));
    assert_eq!(resolve(), "no_head");
    assert_eq!(metric("answers_refused_chain_id_total"), 1);
    assert!(lines(WARN)[0].contains("chain_id"), "{:?}", lines(WARN));
    next_tick(ROOT);
    answer(ROOT, &report_of(5, "ok", 10));
    assert_eq!(resolve(), "5");
}

#[test]
fn the_number_never_falls_while_the_status_follows() {
    start_with_head(CONFIG, 100);
    answer(ROOT, &report_of(90, "diverged", 22_266_222));
    assert_eq!(resolve(), "diverged");
    assert_eq!(metric("answers_refused_lower_number_total"), 1);
    assert_eq!(metric("head_number"), 100);
    next_tick(ROOT);
    assert_eq!(last_poll().header(":path"), "/v1/head?after=100&status=diverged&wait=25s");
    for (status, expected) in [
        ("node_behind", "node_behind"),
        ("pruned", "100"),
        ("node_unchecked", "node_unchecked"),
        ("cut_off", "cut_off"),
        ("diverged", "diverged"),
        ("ok", "100"),
    ] {
        answer(ROOT, &report_of(100, status, 22_266_222));
        assert_eq!(resolve(), expected);
        next_tick(ROOT);
    }
    assert_eq!(metric("refused_diverged_total"), 2);
    assert_eq!(metric("refused_node_behind_total"), 1);
    let warnings = lines(WARN);
    assert!(warnings[0].contains("cache_key"), "{warnings:?}");
    assert!(warnings[1].contains("from ok to diverged"), "{warnings:?}");
}

#[test]
fn zero_is_a_head() {
    start_with_head(CONFIG, 0);
    assert_eq!(resolve(), "0");
    assert_eq!(last_poll().header(":path"), "/v1/head?after=0&status=ok&wait=25s");
}

#[test]
fn a_head_is_used_for_as_long_as_the_sidecar_was_heard_lately() {
    start_with_head(CONFIG, 100);
    answer(ROOT, &unreachable());
    pass(300_000);
    assert_eq!(resolve(), "100");
    pass(1);
    assert_eq!(resolve(), "no_contact");
    assert_eq!(metric("refused_no_contact_total"), 1);
    tick(ROOT);
    answer(ROOT, &report(100));
    assert_eq!(resolve(), "100");

    assert!(configure(2, &CONFIG.replace('}', r#","max_contact_age":"0s"}"#)));
    pass(1_000_000_000);
    assert_eq!((resolve_on(2), resolve()), ("100".to_owned(), "no_contact".to_owned()));
}

#[test]
fn a_sidecar_without_a_head_keeps_no_old_head_alive() {
    start_with_head(CONFIG, 100);
    answer(ROOT, &no_head());
    for _ in 0..300 {
        assert_eq!(resolve(), "100");
        next_tick(ROOT);
        answer(ROOT, &no_head());
    }
    pass(1);
    assert_eq!(resolve(), "no_contact");
    assert_eq!(metric("head_contact_timestamp_seconds"), 1_800_000_000);
    next_tick(ROOT);
    answer(ROOT, &report(100));
    assert_eq!(resolve(), "100");
}

#[test]
fn an_unknown_status_refuses_tags_on_all_workers_until_a_known_one_comes() {
    start_with_head(CONFIG, 100);
    assert!(configure(2, CONFIG));
    answer(ROOT, &report_of(101, "a_word_of_a_later_version", 22_266_222));
    assert_eq!((resolve(), resolve_on(2)), ("unknown_status".into(), "unknown_status".into()));
    assert_eq!(metric("refused_unknown_status_total"), 2);
    assert_eq!((metric("head_number"), metric("polls_failed_total")), (101, 0));
    // It cannot name that status in a question that waits for a change, so it asks at each tick.
    answer(ROOT, &report_of(101, "a_word_of_a_later_version", 22_266_222));
    for _ in 0..3 {
        let before = polls();
        next_tick(ROOT);
        assert_eq!(polls(), before + 1);
        assert_eq!(last_poll().header(":path"), "/v1/head");
        answer(ROOT, &report_of(101, "a_word_of_a_later_version", 22_266_222));
        assert_eq!(polls(), before + 1, "no busy loop");
    }
    assert_eq!(lines(WARN).len(), 1, "{:?}", lines(WARN));
    next_tick(ROOT);
    answer(ROOT, &report(101));
    assert_eq!((resolve(), resolve_on(2)), ("101".into(), "101".into()));
}

#[test]
fn unknown_words_in_source_and_mode_change_nothing() {
    start_with_head(CONFIG, 100);
    let mut later = report(101);
    later.body = later.body.replace(r#":"espresso""#, r#":"a word of a later version""#);
    answer(ROOT, &later);
    assert_eq!(resolve(), "101");
}

#[test]
fn a_sidecar_without_a_head_is_asked_every_tick_and_told_of_once() {
    start(CONFIG);
    for _ in 0..5 {
        tick(ROOT);
        answer(ROOT, &no_head());
        assert_eq!(resolve(), "no_head");
        pass(1000);
    }
    assert_eq!(polls(), 5);
    let told = lines(2).into_iter().filter(|line| line.contains("no head yet")).count();
    assert_eq!(told, 1);
}

#[test]
fn writers_that_are_faster_are_outlasted() {
    start(CONFIG);
    host(|host| host.mismatches = 5);
    tick(ROOT);
    assert_eq!(polls(), 1);
    host(|host| host.mismatches = 5);
    answer(ROOT, &report(100));
    assert_eq!(resolve(), "100");
    // For ever is too long: the worker leaves it to the next tick.
    host(|host| host.mismatches = u32::MAX);
    answer(ROOT, &report(101));
    assert_eq!(resolve(), "100");
    host(|host| host.mismatches = 0);
    pass(60_000);
    tick(ROOT);
    answer(ROOT, &report(102));
    assert_eq!(resolve(), "102");
}

#[test]
fn a_higher_head_that_another_worker_writes_in_between_stays() {
    let head = || {
        host(|host| host.shared.iter().find(|(key, _)| key.contains(" head ")).unwrap().1.0.clone())
    };
    start_with_head(CONFIG, 100);
    let hundred = head();
    answer(ROOT, &report(200));
    let two_hundred = head();
    host(|host| {
        host.set_shared(" head ", &hundred);
        host.overtaken_by = Some(two_hundred);
    });
    assert_eq!(resolve(), "100");
    answer(ROOT, &report(150));
    assert_eq!(host(|host| host.overtaken_by.clone()), None);
    assert_eq!(resolve(), "200");
}

#[test]
fn a_worker_sees_at_once_what_another_one_has_learned() {
    start_with_head(CONFIG, 100);
    assert!(configure(2, CONFIG));
    for number in 101..110 {
        assert_eq!(resolve_on(2), (number - 1).to_string());
        answer(ROOT, &report(number));
        assert_eq!((resolve_on(2), resolve()), (number.to_string(), number.to_string()));
    }
}

/// The write guard beside the head.
fn guard(host: &mut Host) -> &mut (Vec<u8>, u32) {
    host.shared.iter_mut().find(|(key, _)| !key.contains('"')).expect("a guard").1
}

fn head(host: &mut Host) -> &mut (Vec<u8>, u32) {
    host.shared.iter_mut().find(|(key, _)| key.contains(" head ")).expect("a head").1
}

#[test]
fn a_worker_does_not_go_back_while_another_one_writes() {
    start_with_head(CONFIG, 100);
    assert!(configure(2, CONFIG));
    let hundred = host(|host| head(host).0.clone());
    answer(ROOT, &report(200));
    assert_eq!((resolve(), resolve_on(2)), ("200".to_owned(), "200".to_owned()));
    // As a third one does it: it says that it writes, then writes, then says that it has written.
    let two_hundred = host(|host| head(host).0.clone());
    host(|host| head(host).0 = hundred);
    host(|host| (guard(host).0, guard(host).1) = (vec![1, 0, 0, 0], 1000));
    assert_eq!((resolve(), resolve_on(2)), ("100".to_owned(), "100".to_owned()));
    host(|host| head(host).0 = two_hundred);
    for _ in 0..2 {
        assert_eq!((resolve(), resolve_on(2)), ("200".to_owned(), "200".to_owned()));
    }
    // Another writer in the meantime does not end the first one's writing.
    answer(ROOT, &report(300));
    assert_eq!(host(|host| guard(host).0.clone()), [1, 0, 0, 0]);
    host(|host| (guard(host).0, guard(host).1) = (vec![], 1001));
    assert_eq!((resolve(), resolve_on(2)), ("300".to_owned(), "300".to_owned()));
}

#[test]
fn a_head_that_cannot_be_announced_is_not_written() {
    start_with_head(CONFIG, 100);
    host(|host| host.mismatches = 16);
    answer(ROOT, &report(200));
    assert_eq!(host(|host| host.mismatches), 0);
    assert_eq!((resolve(), metric("polls_failed_total")), ("100".to_owned(), 1));
    next_tick(ROOT);
    answer(ROOT, &report(200));
    assert_eq!(resolve(), "200");
    assert_eq!(host(|host| guard(host).0.len()), 0);
}

#[test]
fn without_its_guard_the_head_is_read_each_time() {
    start_with_head(CONFIG, 100);
    host(|host| host.shared.retain(|key, _| key.contains(" head ")));
    assert_eq!(resolve(), "100");
    let (key, value) = host(|host| {
        let (key, (value, _)) = host.shared.first_key_value().unwrap();
        (key.clone(), value.clone())
    });
    host(|host| host.shared.clear());
    assert_eq!(resolve(), "no_head");
    host(|host| host.shared.insert(key, (value, 1)));
    assert_eq!(resolve(), "100");
}

#[test]
fn shared_data_that_is_gone_or_garbled_is_made_anew() {
    start_with_head(CONFIG, 100);
    for garbled in [false, true] {
        host(|host| {
            if garbled {
                host.set_shared("", b"garbage");
            } else {
                host.shared.clear();
            }
        });
        assert_eq!(resolve(), "no_head");
        pass(60_000);
        tick(ROOT);
        answer(ROOT, &report(100));
        assert_eq!(resolve(), "100");
    }
}

#[test]
fn all_that_is_shared_is_there_before_the_first_poll() {
    start(CONFIG);
    let [mut head, mut guard, mut lease] = [0; 3];
    host(|host| {
        for key in host.shared.keys() {
            let kind = [(" head ", &mut head), (" lease ", &mut lease)];
            let kind = kind.into_iter().find(|(kind, _)| key.contains(kind));
            *kind.map_or(&mut guard, |(_, count)| count) += 1;
        }
    });
    assert_eq!([head, guard, lease], [1; 3]);
}

#[test]
fn a_worker_that_comes_late_does_not_undo_what_is_shared() {
    start_with_head(CONFIG, 100);
    assert!(configure(2, CONFIG));
    assert_eq!((resolve(), resolve_on(2)), ("100".to_owned(), "100".to_owned()));
    tick(2);
    assert_eq!(polls(), 2, "nor take the lease");
}

#[test]
fn the_sidecar_may_be_asked_without_waiting() {
    start_with_head(r#"{"sidecar_cluster":"s","long_poll":"0s","poll_timeout":"2s"}"#, 100);
    assert_eq!(last_poll().header(":path"), "/v1/head?after=100&status=ok");
    assert_eq!(last_poll().timeout, 2000);
}
