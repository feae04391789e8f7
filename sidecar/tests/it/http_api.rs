//! The HTTP API through real sockets, with a head that the test moves by hand.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use finality_core::head::{HeadQuery, HeadReport, Status};
use finality_sidecar::api::Phase;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    api::{FOR_EVER, Options, Served, receive, report},
    http,
};

fn after(number: u64, status: Option<Status>) -> String {
    let after = Some(number);
    let query = HeadQuery { after, status, wait_seconds: 3000, confirm: false };
    format!("GET {}", query.path())
}

#[tokio::test]
async fn without_a_head_it_says_why() {
    let sidecar = Served::start().await;
    let answer = sidecar.get("/v1/head").await;
    assert_eq!(answer.code, 503);
    assert_eq!(answer.json()["error"], "no_head");
    assert_eq!(answer.json()["reason"], "the node has not answered yet");
    assert_eq!(answer.json()["reason_code"], "chain_unknown");
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn the_head_is_answered_as_the_core_reads_it() {
    let sidecar = Served::start().await;
    sidecar.publish(12345, Status::Ok);
    let answer = sidecar.get("/v1/head").await;
    assert_eq!(answer.code, 200);
    assert_eq!(
        serde_json::from_str::<HeadReport>(&answer.body).unwrap(),
        *report(12345, Status::Ok)
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    // A number that is news is answered at once, whatever the wait.
    assert_eq!(sidecar.ask(&after(12344, Some(Status::Ok))).await.json()["number"], 12345);
    assert_eq!(sidecar.ask(&after(20000, Some(Status::Pruned))).await.json()["number"], 12345);
}

#[tokio::test]
async fn a_long_poll_ends_with_a_higher_number_and_not_before() {
    let sidecar = Served::start().await;
    sidecar.publish(5, Status::Ok);
    let waiting = sidecar.send(&after(5, Some(Status::Ok))).await;
    // Seen by the server before the head moves: the second answer comes after the first request.
    sidecar.get("/v1/head").await;
    sidecar.publish(5, Status::Ok);
    sidecar.publish(6, Status::Ok);
    assert_eq!(receive(waiting).await.json()["number"], 6);
}

#[tokio::test]
async fn a_long_poll_ends_with_another_status() {
    let sidecar = Served::start().await;
    sidecar.publish(5, Status::Ok);
    let by_status = sidecar.send(&after(5, Some(Status::Ok))).await;
    let by_number = sidecar.send(&after(5, None)).await;
    sidecar.get("/v1/head").await;
    sidecar.publish(5, Status::Diverged);
    assert_eq!(receive(by_status).await.json()["status"], "diverged");
    sidecar.publish(6, Status::Diverged);
    assert_eq!(receive(by_number).await.json()["number"], 6);
}

#[tokio::test]
async fn a_client_that_has_a_head_waits_for_the_first_one_of_this_sidecar() {
    let sidecar = Served::start().await;
    let waiting = sidecar.send(&after(5, Some(Status::Ok))).await;
    sidecar.get("/v1/head").await;
    sidecar.publish(4, Status::Ok);
    sidecar.publish(6, Status::Ok);
    assert_eq!(receive(waiting).await.json()["number"], 6);
}

#[tokio::test(start_paused = true)]
async fn when_the_wait_is_over_the_current_head_is_answered() {
    let limit = Duration::from_secs(2);
    let sidecar =
        Served::start_with(Options { long_poll_limit: limit, ..Options::default() }).await;
    let start = tokio::time::Instant::now();
    let answer = sidecar.ask(&after(5, None)).await;
    assert_eq!((answer.code, answer.json()["error"].as_str()), (503, Some("no_head")));
    sidecar.publish(5, Status::Ok);
    // Three thousand seconds are asked for; the limit is two.
    assert_eq!(sidecar.ask(&after(5, Some(Status::Ok))).await.json()["number"], 5);
    // The clock of this test is not the wall's: it jumps from timer to timer.
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn hundreds_wait_while_others_are_answered_and_one_change_wakes_them_all() {
    let sidecar = Served::start().await;
    sidecar.publish(5, Status::Ok);
    let mut waiting = Vec::new();
    for _ in 0..300 {
        waiting.push(sidecar.send(&after(5, Some(Status::Ok))).await);
    }
    assert_eq!(sidecar.get("/v1/head").await.json()["number"], 5);
    sidecar.publish(7, Status::Ok);
    for stream in waiting {
        assert_eq!(receive(stream).await.json()["number"], 7);
    }
}

#[tokio::test]
async fn a_bad_query_is_named() {
    let sidecar = Served::start().await;
    sidecar.publish(5, Status::Ok);
    for (query, parameter) in [
        ("after=x", "\"after\""),
        ("after=1&after=2", "\"after\""),
        ("confirm=fine", "\"confirm\""),
        ("wait=25", "\"wait\""),
        ("after=%ff", "\"after\""),
    ] {
        let answer = sidecar.get(&format!("/v1/head?{query}")).await;
        assert_eq!(answer.code, 400, "{query}");
        assert_eq!(answer.json()["error"], "bad_query");
        let reason = answer.json()["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains(parameter), "{query}: {reason}");
    }
}

#[tokio::test]
async fn a_file_confirms_its_head_and_what_later_clients_ask_is_ignored() {
    let sidecar = Served::start().await;
    sidecar.publish(5, Status::Ok);
    for (query, confirmed) in [
        ("confirm=cluster", Some(true)),
        ("later=1", None),
        // A status that this sidecar does not know is never the head's.
        ("after=5&status=a_later_word&wait=3000s", None),
    ] {
        let answer = sidecar.get(&format!("/v1/head?{query}")).await.json();
        assert_eq!(answer["number"], 5, "{query}");
        assert_eq!(answer["confirmed"].as_bool(), confirmed, "{query}");
    }
}

#[tokio::test]
async fn every_answer_bears_the_marker_and_every_error_is_json() {
    let sidecar = Served::start().await;
    for (request, code) in [
        ("GET /v1/head", 503),
        ("GET /v1/head?wait=x", 400),
        ("GET /v1/status", 200),
        ("GET /livez", 200),
        ("GET /readyz", 503),
        ("GET /healthz", 503),
        ("GET /metrics", 200),
        ("GET /nothing", 404),
        ("GET /v1/head/", 404),
        ("POST /v1/head", 405),
        ("DELETE /metrics", 405),
        ("BREW /livez", 405),
    ] {
        let answer = sidecar.ask(request).await;
        assert_eq!(answer.code, code, "{request}");
        assert_eq!(
            answer.header("x-finality-sidecar"),
            Some(finality_core::build::VERSION),
            "{request}"
        );
        if code >= 400 && code != 503 {
            assert!(answer.json()["error"].is_string(), "{request}");
        }
        if code == 405 {
            assert_eq!(answer.header("allow"), Some("GET,HEAD"), "{request}");
        }
    }
}

#[tokio::test]
async fn head_requests_have_no_body() {
    let sidecar = Served::start().await;
    sidecar.publish(5, Status::Ok);
    let answer = sidecar.ask("HEAD /v1/head").await;
    assert_eq!((answer.code, answer.body.as_str()), (200, ""));
}

#[tokio::test]
async fn readiness_lists_its_checks() {
    let sidecar = Served::start().await;
    let answer = sidecar.get("/readyz").await;
    assert_eq!(answer.code, 503);
    assert_eq!(answer.json()["checks"][0]["reason"], "the node has not answered yet");
    sidecar.publish(5, Status::Diverged);
    assert_eq!(sidecar.get("/readyz").await.json(), serde_json::json!({ "ready": true }));
    let checks = sidecar.get("/healthz?verbose").await.json()["checks"].clone();
    let names: Vec<_> = checks.as_array().unwrap().iter().map(|check| &check["name"]).collect();
    assert_eq!(names, ["head", "node", "cluster", "store", "serving"]);
    sidecar.facts.writable.store(false, Ordering::Relaxed);
    let answer = sidecar.get("/readyz").await;
    assert_eq!((answer.code, &answer.json()["checks"][0]["name"]), (503, &"store".into()));
    assert_eq!(sidecar.get("/livez").await.code, 200);
    sidecar.facts.alive.store(false, Ordering::Relaxed);
    assert_eq!(sidecar.get("/livez").await.code, 503);
}

#[tokio::test]
async fn a_head_that_is_being_checked_is_answered_when_it_was() {
    let sidecar = Served::start().await;
    sidecar.publish(5, Status::NodeUnchecked);
    let waiting = sidecar.send("GET /v1/head").await;
    sidecar.polls_are_held(1).await;
    sidecar.publish(5, Status::Ok);
    assert_eq!(receive(waiting).await.json()["status"], "ok");
}

#[tokio::test(start_paused = true)]
async fn a_stored_head_that_the_node_was_not_asked_about_is_not_ready() {
    let sidecar = Served::start().await;
    sidecar.publish(5, Status::NodeUnchecked);
    let answer = sidecar.get("/readyz").await;
    assert_eq!((answer.code, &answer.json()["checks"][0]["name"]), (503, &"node".into()));
    let answer = sidecar.get("/v1/head").await;
    assert_eq!((answer.code, &answer.json()["status"]), (200, &"node_unchecked".into()));
    // A poll that knows this status ends with the next one.
    let waiting = sidecar.send(&after(5, Some(Status::NodeUnchecked))).await;
    sidecar.get("/v1/head").await;
    sidecar.publish(5, Status::Ok);
    assert_eq!(receive(waiting).await.json()["status"], "ok");
    assert_eq!(sidecar.get("/readyz").await.code, 200);
}

#[tokio::test]
async fn age_counts_only_when_asked() {
    let limit = Some(Duration::from_secs(60));
    let sidecar = Served::start_with(Options { ready_max_age: limit, ..Options::default() }).await;
    sidecar.publish(5, Status::Ok);
    let answer = sidecar.get("/readyz").await;
    assert_eq!((answer.code, &answer.json()["checks"][0]["name"]), (503, &"age".into()));
    let mut fresh = report(6, Status::Ok);
    Arc::get_mut(&mut fresh).unwrap().updated_at = jiff::Timestamp::now().to_string();
    sidecar.head.send_replace(Some(fresh));
    assert_eq!(sidecar.get("/readyz").await.code, 200);
}

#[tokio::test]
async fn metrics_count_answers_by_known_paths_only() {
    let sidecar = Served::start().await;
    sidecar.get("/v1/head").await;
    sidecar.get("/v1/head").await;
    sidecar.get("/secret-path").await;
    let answer = sidecar.get("/metrics").await;
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    for line in [
        "espresso_http_requests_total{path=\"/v1/head\",code=\"503\"} 2",
        "espresso_http_requests_total{path=\"other\",code=\"404\"} 1",
    ] {
        assert!(answer.body.contains(line), "{}", answer.body);
    }
    assert!(!answer.body.contains("secret"));
}

#[tokio::test]
async fn a_drain_serves_everything_and_the_close_answers_those_who_wait() {
    let sidecar = Served::start().await;
    sidecar.publish(5, Status::Ok);
    let waiting = sidecar.send(&after(5, Some(Status::Ok))).await;
    let until_close = sidecar.send(&after(6, Some(Status::Ok))).await;
    sidecar.phase.send_replace(Phase::Draining);
    assert_eq!(sidecar.get("/readyz").await.json()["checks"][0]["name"], "serving");
    assert_eq!(sidecar.get("/v1/head").await.code, 200);
    sidecar.publish(6, Status::Ok);
    assert_eq!(receive(waiting).await.json()["number"], 6);
    sidecar.phase.send_replace(Phase::Closing);
    assert_eq!(receive(until_close).await.json()["number"], 6);
    sidecar.server.await.unwrap();
    assert!(TcpStream::connect(sidecar.address).await.is_err(), "nothing listens any more");
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_close() {
    let sidecar = Served::start().await;
    let mut idle = sidecar.connect().await;
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut first = [0; 15];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    sidecar.phase.send_replace(Phase::Closing);
    sidecar.server.await.unwrap();
}

/// A request on a connection that stays open, and the headers of its answer.
async fn ask_on(stream: &mut TcpStream) -> std::io::Result<u16> {
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
    let mut answer = [0; 1024];
    match stream.read(&mut answer).await? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(http::code(&String::from_utf8_lossy(&answer))),
    }
}

#[tokio::test]
async fn idle_connections_make_room_and_the_longest_idle_goes_first() {
    let sidecar = Served::with_room(3).await;
    let [mut first, mut second, mut third] =
        [sidecar.connect().await, sidecar.connect().await, sidecar.connect().await];
    // Busy for a moment, so idle for a shorter time than the others.
    assert_eq!(ask_on(&mut first).await.unwrap(), 200);
    let mut idle = Vec::new();
    for longest_idle in [&mut second, &mut third] {
        let mut new = sidecar.connect().await;
        assert_eq!(ask_on(&mut new).await.unwrap(), 200);
        idle.push(new);
        assert_eq!(longest_idle.read(&mut [0]).await.unwrap_or(0), 0);
        assert_eq!(ask_on(&mut first).await.unwrap(), 200, "it stays");
    }
    // However many there are.
    for _ in 0..200 {
        idle.push(sidecar.connect().await);
    }
    sidecar.publish(5, Status::Ok);
    assert_eq!(sidecar.get("/v1/head").await.json()["number"], 5);
}

#[tokio::test]
async fn beyond_busy_connections_probes_are_answered_and_all_else_gets_a_quick_503() {
    let sidecar = Served::with_room(2).await;
    sidecar.publish(5, Status::Ok);
    let polls = [
        sidecar.send(&after(5, Some(Status::Ok))).await,
        sidecar.send(&after(5, Some(Status::Ok))).await,
    ];
    sidecar.polls_are_held(2).await;
    // Idle ones beyond the limit do no harm either.
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(sidecar.connect().await);
    }
    assert_eq!(sidecar.get("/livez").await.code, 200);
    assert_eq!(sidecar.get("/readyz").await.code, 200);
    for path in ["/v1/head", "/metrics", "/", "/nothing"] {
        let answer = sidecar.get(path).await;
        assert_eq!((answer.code, answer.header("retry-after")), (503, Some("1")), "{path}");
        assert_eq!(answer.json()["error"], "too_many_connections");
        assert!(answer.header("x-finality-sidecar").is_some());
    }
    sidecar.publish(6, Status::Ok);
    for poll in polls {
        assert_eq!(receive(poll).await.json()["number"], 6);
    }
    assert_eq!(sidecar.get("/v1/head").await.json()["number"], 6, "there is room again");
}

#[tokio::test(start_paused = true)]
async fn half_a_request_does_not_hold_up_the_close() {
    let sidecar = Served::start().await;
    let mut half = sidecar.connect().await;
    half.write_all(b"GET /livez HTTP/1.1\r\nhost: local").await.unwrap();
    let silent = sidecar.connect().await;
    sidecar.get("/livez").await;
    let start = tokio::time::Instant::now();
    sidecar.phase.send_replace(Phase::Closing);
    sidecar.server.await.unwrap();
    // The clock of this test is not the wall's: it jumps from timer to timer.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop((half, silent));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_too_slow_is_cut_off() {
    let sidecar = Served::start().await;
    let mut slow = sidecar.connect().await;
    slow.write_all(b"GET /livez HTTP/1.1\r\nhost: te").await.unwrap();
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&rest), "");
}

#[tokio::test]
async fn a_head_of_a_request_that_is_too_large_is_refused() {
    let sidecar = Served::start().await;
    let answer = sidecar.get(&format!("/{}", "x".repeat(20_000))).await;
    assert!([414, 431].contains(&answer.code), "{answer:?}");
    assert_eq!(sidecar.get("/livez").await.code, 200);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_and_does_not_read_loses_its_place() {
    let sidecar = Served::with_room(1).await;
    let mut deaf = sidecar.connect().await;
    let ended = tokio::time::timeout(FOR_EVER, async {
        // The answers fill every buffer on the way, then the requests do, then the connection ends.
        while deaf.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").await.is_ok() {}
    });
    ended.await.expect("the connection ends");
    assert_eq!(sidecar.get("/livez").await.code, 200);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_in_the_end() {
    let sidecar = Served::with_room(1).await;
    let mut idle = sidecar.connect().await;
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut text = String::new();
    tokio::time::timeout(FOR_EVER, idle.read_to_string(&mut text)).await.expect("it ends").unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    assert_eq!(sidecar.get("/livez").await.code, 200);
}

#[tokio::test]
async fn a_body_is_not_waited_for() {
    let sidecar = Served::start().await;
    for (request, code) in [("POST /v1/head", 405), ("GET /livez", 200), ("PUT /nothing", 404)] {
        let mut stream = sidecar.connect().await;
        let head =
            format!("{request} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000000\r\n\r\nx");
        stream.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(
            receive(stream).await.code,
            code,
            "{request}: answered, and the connection closed"
        );
    }
}

/// A page of another site that points its name at this address.
#[tokio::test]
async fn a_request_for_another_host_reads_nothing() {
    let sidecar = Served::start().await;
    sidecar.publish(5, Status::Ok);
    for path in ["/v1/head", "/v1/status", "/v1/events", "/metrics", "/livez", "/", "/nothing"] {
        for head in [
            format!("GET {path} HTTP/1.1\r\nhost: evil.test:8090\r\n"),
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nhost: evil.test\r\n"),
            format!("GET http://evil.test{path} HTTP/1.1\r\nhost: localhost\r\n"),
        ] {
            let mut stream = sidecar.connect().await;
            stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).await.unwrap();
            let answer = receive(stream).await;
            assert_eq!(answer.code, 421, "{head}: {answer:?}");
            assert_eq!(answer.json()["error"], "host_not_allowed");
        }
    }
    // As the filter asks, a browser on this machine, a scrape, and a program without any host.
    for host in ["host: finality_sidecar\r\n", "host: 127.0.0.1:8090\r\n", "host: [::1]\r\n", ""] {
        let mut stream = sidecar.connect().await;
        let text = format!("GET /v1/head HTTP/1.1\r\n{host}connection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        assert_eq!(receive(stream).await.code, 200, "{host}");
    }
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_harms_nobody() {
    let sidecar = Served::start().await;
    let many_headers = format!("GET /livez HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200));
    let long_path = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(15_000));
    let long_header = format!("GET /livez HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(20_000));
    for (text, code) in [
        ("\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03\r\n\r\n", 400),
        ("GET\r\n\r\n", 400),
        ("GET /livez HTTP/3.0\r\n\r\n", 400),
        ("GET /livez HTTP/1.1\r\na b: c\r\n\r\n", 400),
        ("GET /livez HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        ("POST /livez HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
        (many_headers.as_str(), 431),
        (long_header.as_str(), 431),
        (long_path.as_str(), 404),
    ] {
        let mut stream = sidecar.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let shown: String = text.chars().take(60).collect();
        let mut answer = Vec::new();
        // A connection with unread input may be reset after the answer.
        drop(stream.read_to_end(&mut answer).await);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{shown:?}: {answer}");
    }
    assert_eq!(sidecar.get("/livez").await.code, 200);
}

/// Polls that wait hold neither a thread nor each other, and none is forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_long_polls_do_not_stand_in_the_way() {
    const POLLS: usize = 3000;
    // Both ends of each connection are files of this process.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    assert!(limit.maximum.is_none_or(|most| most > 2 * POLLS as u64 + 500), "raise ulimit -Hn");

    let sidecar = Served::with_room(2 * POLLS).await;
    sidecar.publish(5, Status::Ok);
    let mut waiting = Vec::new();
    for _ in 0..POLLS {
        waiting.push(sidecar.send(&after(5, Some(Status::Ok))).await);
    }
    sidecar.polls_are_held(POLLS).await;
    for _ in 0..300 {
        assert_eq!(sidecar.get("/v1/head").await.json()["number"], 5);
    }
    sidecar.polls_are_held(POLLS).await;
    sidecar.publish(6, Status::Ok);
    for stream in waiting {
        assert_eq!(receive(stream).await.json()["number"], 6);
    }
    let metrics = sidecar.get("/metrics").await.body;
    assert!(metrics.contains("\nespresso_http_long_polls 0\n"), "{metrics}");
}
