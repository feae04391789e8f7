//! The filter on a real Envoy, with a sidecar that fails in every way.

use finality_e2e::{
    client::{http, http2, pieces, send},
    edge::{Edge, outcome, tagged, untagged},
    envoy::Framing,
    fake_sidecar::{CHAIN_ID, Says},
    ports::free_port,
    wait::{PATIENCE, until},
};

/// Polls in quick succession, so that a scenario sees several.
const FAST: &str = r#""poll_tick": "20ms", "long_poll": "1s", "poll_timeout": "1100ms", "poll_backoff_max": "20ms""#;

/// Untagged traffic is never affected.
async fn untagged_passes(edge: &Edge) {
    let answer = edge.client().post(untagged()).await.unwrap();
    assert_eq!((answer.status, answer.text(), answer.head()), (200, untagged(), None));
}

/// Waits until that counter has counted one more poll.
async fn one_more(edge: &Edge, counter: &str) {
    let before = edge.envoy.filter_stat(counter).await;
    until(&format!("one more {counter}"), PATIENCE, async || {
        (edge.envoy.filter_stat(counter).await > before).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_sidecar_unreachable() {
    for freshness in ["cached", "strict"] {
        // The comment keeps the text that the devnet replaces.
        let closed = format!("port_value: @{} # not port_value: 8090", free_port());
        let edge = Edge::builder()
            .filter(&format!(r#""freshness": "{freshness}", {FAST}"#))
            .edit("port_value: 8090", &closed)
            .start()
            .await;
        untagged_passes(&edge).await;
        one_more(&edge, "polls_failed_total").await;
        let reason = if freshness == "strict" { "unconfirmed" } else { "no_head" };
        assert_eq!(edge.resolve().await, Err(reason.into()));
        assert_eq!(edge.sidecar.asked(), 0);
        let logged = until("the log", PATIENCE, async || {
            let logged = edge.envoy.log().matches("poll failed").count();
            (logged > 0).then_some(logged)
        })
        .await;
        assert!(logged <= 3, "logged {logged} times"); // at most once per thread
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_sidecar_without_a_head_slow_and_wrong() {
    let edge = Edge::builder().filter(FAST).says(Says::NoHead).start().await;
    edge.resolves_to(Err("no_head")).await;
    untagged_passes(&edge).await;

    // A silent sidecar: no head at first, later the last head stays in use.
    edge.sidecar.say(Says::Nothing);
    one_more(&edge, "polls_failed_total").await;
    edge.resolves_to(Err("no_head")).await;
    edge.sidecar.say(Says::head(100));
    edge.resolves_to(Ok(100)).await;
    edge.sidecar.say(Says::Nothing);
    one_more(&edge, "polls_failed_total").await;
    assert_eq!(edge.resolve().await, Ok(100));

    for (says, counter) in [
        (Says::Text("<html>".into()), "answers_refused_malformed_total"),
        (Says::Text("[".repeat(1_000_000)), "answers_refused_malformed_total"),
        (Says::head(99), "answers_refused_lower_number_total"),
        (
            Says::Head { number: 200, status: "ok", chain_id: CHAIN_ID + 1 },
            "answers_refused_chain_id_total",
        ),
    ] {
        edge.sidecar.say(says.clone());
        one_more(&edge, counter).await;
        assert_eq!(edge.resolve().await, Ok(100), "{says:?}");
        untagged_passes(&edge).await;
    }
    for (status, reason) in
        [("diverged", "diverged"), ("a_word_of_a_later_version", "unknown_status")]
    {
        edge.sidecar.say(Says::Head { number: 100, status, chain_id: CHAIN_ID });
        edge.resolves_to(Err(reason)).await;
        untagged_passes(&edge).await;
    }
    edge.sidecar.say(Says::head(101));
    edge.resolves_to(Ok(101)).await;
    // The worker that got the answer shows it after it shares it.
    until("the metric", PATIENCE, async || {
        (edge.envoy.filter_stat("head_number").await == 101).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_strict_freshness() {
    let strict = format!(r#""freshness": "strict", "freshness_timeout": "5s", {FAST}"#);
    for framing in [Framing::Exact, Framing::Chunked] {
        let edge = Edge::builder().framing(framing).filter(&strict).start().await;
        // The very next request sees the sidecar's current answer, on every worker.
        for number in 100..130 {
            edge.sidecar.say(Says::head(number));
            assert_eq!(edge.resolve().await, Ok(number));
        }
        edge.sidecar.say(Says::head(5));
        assert_eq!(edge.resolve().await, Ok(129));

        edge.sidecar.say(Says::Nothing);
        assert_eq!(edge.resolve().await, Err("unconfirmed".into()));
        // A client that disconnects while its request waits.
        let post = http().post(edge.envoy.url()).header("content-type", "application/json");
        let asked = edge.sidecar.asked();
        let client = tokio::spawn(send(post.body(tagged())));
        until("the question", PATIENCE, async || (edge.sidecar.asked() > asked).then_some(()))
            .await;
        client.abort();
        for (says, reason) in [
            (Says::Text("{}".into()), "unconfirmed"),
            (Says::Head { number: 1, status: "ok", chain_id: 7 }, "unconfirmed"),
            (Says::NoHead, "no_head"),
            (Says::Head { number: 129, status: "node_behind", chain_id: CHAIN_ID }, "node_behind"),
            (
                Says::Head { number: 129, status: "node_unchecked", chain_id: CHAIN_ID },
                "node_unchecked",
            ),
        ] {
            edge.sidecar.say(says);
            assert_eq!(edge.resolve().await, Err(reason.into()));
            untagged_passes(&edge).await;
        }
        edge.sidecar.say(Says::head(130));
        assert_eq!(edge.resolve().await, Ok(130));

        // Over HTTP/2, with trailers and without.
        let client = http2();
        for trailers in [false, true] {
            edge.node.take_seen();
            let request = client
                .post(edge.envoy.url())
                .header("content-type", "application/json")
                .body(pieces(tagged().as_bytes(), 10, trailers));
            assert_eq!(outcome(&send(request).await.unwrap()), Ok(130));
            assert_eq!(edge.node.take_complete().len(), 1);
        }
        assert_eq!(edge.envoy.stat("wasm.envoy.wasm.runtime.v8.active").await, 4);
    }
}
