//! The status page and its events over real sockets.

use std::{sync::atomic::Ordering, time::Duration};

use finality_core::head::Status;
use finality_sidecar::api::{
    Phase,
    history::{Positions, Sample},
};
use jiff::Timestamp;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::support::api::{HOSTILE, Opened, Options, Served};

const PARTS: [(&str, &str); 11] = [
    ("/", "text/html; charset=utf-8"),
    ("/page/page.css", "text/css; charset=utf-8"),
    ("/page/page.js", "text/javascript; charset=utf-8"),
    ("/page/connection.js", "text/javascript; charset=utf-8"),
    ("/page/stream.js", "text/javascript; charset=utf-8"),
    ("/page/worker.js", "text/javascript; charset=utf-8"),
    ("/page/view.js", "text/javascript; charset=utf-8"),
    ("/page/chart.js", "text/javascript; charset=utf-8"),
    ("/page/icon.svg", "image/svg+xml"),
    ("/page/finality_page.js", "text/javascript; charset=utf-8"),
    ("/page/finality_page_bg.wasm", "application/wasm"),
];

#[tokio::test]
async fn every_part_bears_its_type_and_the_policy() {
    let sidecar = Served::start().await;
    for (path, kind) in PARTS {
        let answer = sidecar.get(path).await;
        assert_eq!((answer.code, answer.header("content-type")), (200, Some(kind)), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self' "), "{policy}");
        for danger in ["unsafe-inline", "unsafe-eval';", " 'unsafe-eval'", "http", "*", "data:"] {
            let allowed = policy.replace("'wasm-unsafe-eval'", "");
            assert!(!allowed.contains(danger), "{policy}");
        }
        for needed in ["frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"] {
            assert!(policy.contains(needed), "{policy}");
        }
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.header("x-finality-sidecar").is_some());
    }
    assert_eq!(sidecar.get("/page/other.js").await.code, 404);
    let metrics = sidecar.get("/metrics").await.body;
    let counted = "espresso_http_requests_total{path=\"/\",code=\"200\"} 11";
    assert!(metrics.contains(counted), "{metrics}");
}

/// What the policy would refuse, and what would fail behind a proxy that serves the page in a
/// folder.
#[tokio::test]
async fn the_page_holds_no_script_and_names_its_parts_relatively() {
    let sidecar = Served::start().await;
    let page = sidecar.get("/").await.body;
    assert!(page.contains("<script type=\"module\" src=\"page/page.js\"></script>"));
    assert_eq!(page.matches("<script").count(), 1);
    for refused in ["<style", " style=", " onclick", " onload", " onerror", "javascript:"] {
        assert!(!page.contains(refused), "{refused}");
    }
    let mut parts = 0;
    for attribute in ["src=\"", "href=\""] {
        for place in page.split(attribute).skip(1) {
            let place = place.split('"').next().unwrap();
            assert!(!place.starts_with('/') && !place.contains("//"), "{place}");
            if !place.starts_with('#') {
                assert_eq!(
                    sidecar.get(&format!("/{place}")).await.code / 100,
                    if place == "v1/head" { 5 } else { 2 }
                );
                parts += 1;
            }
        }
    }
    assert!(parts >= 5, "{parts}");
}

#[tokio::test]
async fn the_history_is_short_arrays() {
    let sidecar = Served::start().await;
    let empty = json!({ "interval_seconds": 5, "samples": [] });
    assert_eq!(sidecar.get("/v1/history").await.json(), empty);
    let positions = Positions { head: Some(5), latest: Some(7), finalized: None };
    sidecar.history.push(Sample { at: Timestamp::from_second(1_700_000_000).unwrap(), positions });
    let answer = sidecar.get("/v1/history").await;
    assert_eq!(answer.json()["samples"], json!([[1_700_000_000, 5, 7, null]]));
}

#[tokio::test(start_paused = true)]
async fn events_come_at_once_by_the_clock_and_with_the_head() {
    let sidecar = Served::start().await;
    let mut stream = sidecar.open("/v1/events").await;
    assert_eq!((stream.code(), stream.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(stream.header("x-accel-buffering"), Some("no"));
    assert_eq!(stream.header("cache-control"), Some("no-store"));
    for asked in 0..3 {
        let event = stream.event().await.unwrap();
        assert_eq!((&event["asked"], &event["hostile"]), (&json!(asked), &json!(HOSTILE)));
    }
    // The head moves a thousand times before the next event: one event shows it.
    let asked = sidecar.facts.asked.load(Ordering::Relaxed);
    for number in 0..1000 {
        sidecar.publish(number, Status::Ok);
    }
    stream.event().await.unwrap();
    assert!(sidecar.facts.asked.load(Ordering::Relaxed) <= asked + 2);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_moves_is_told_before_the_second_is_over() {
    let sidecar = Served::start().await;
    let mut stream = sidecar.open("/v1/events").await;
    // The clock of this test jumps from timer to timer, and may have jumped before the head moves.
    for number in 0..20 {
        stream.event().await.unwrap();
        sidecar.publish(number, Status::Ok);
    }
    let asked = sidecar.facts.asked_at.lock().clone();
    let pauses = asked.windows(2).map(|pair| pair[1] - pair[0]);
    let shortest = pauses.min().unwrap();
    assert!(shortest < Duration::from_secs(1), "{shortest:?}");
    assert!(shortest >= Duration::from_millis(250), "{shortest:?}");
}

#[tokio::test(start_paused = true)]
async fn streams_are_a_part_of_the_connections_and_give_their_place_back() {
    let sidecar = Served::with_room(8).await;
    let mut first = sidecar.open("/v1/events").await;
    let second = sidecar.open("/v1/events").await;
    let refused = sidecar.get("/v1/events").await;
    assert_eq!((refused.code, refused.header("retry-after")), (503, Some("5")));
    assert_eq!(refused.json()["error"], "too_many_streams");
    // Everything else is answered.
    assert_eq!(sidecar.get("/v1/status").await.code, 200);
    drop(second);
    loop {
        // An event that cannot be written is how the sidecar learns that the client has gone.
        first.event().await.unwrap();
        if sidecar.open("/v1/events").await.code() == 200 {
            break;
        }
    }
}

/// The limits for a request's head, for idle time and for writing are all much shorter.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_read_lives_for_hours() {
    let sidecar = Served::start().await;
    let began = tokio::time::Instant::now();
    let mut stream = sidecar.connect().await;
    stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut stream = Opened::of(stream).await;
    while began.elapsed() < Duration::from_secs(2 * 3600) {
        stream.event().await.expect("the stream continues");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_told_no_more_than_the_sockets_hold() {
    const BALLAST: usize = 100_000;
    const SECONDS: u64 = 3000;
    let sidecar = Served::start_with(Options { ballast: BALLAST, ..Options::default() }).await;
    let _stream = sidecar.open("/v1/events").await;
    tokio::time::sleep(Duration::from_secs(SECONDS)).await;
    let asked = sidecar.facts.asked.load(Ordering::Relaxed);
    assert!(asked < 1000, "{asked} events of {BALLAST} bytes in {SECONDS} seconds");
}

#[tokio::test]
async fn the_close_ends_every_stream() {
    let sidecar = Served::start().await;
    let mut stream = sidecar.open("/v1/events").await;
    stream.event().await.unwrap();
    sidecar.phase.send_replace(Phase::Draining);
    stream.event().await.unwrap();
    sidecar.phase.send_replace(Phase::Closing);
    while stream.event().await.is_some() {}
    sidecar.server.await.unwrap();
}
