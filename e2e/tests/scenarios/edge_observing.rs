//! `mode: observe` on a real Envoy: everything passes as without the filter, and client and
//! operator are told what would have become of it.

use finality_e2e::{
    client::{http, http2, pieces, send},
    echo::LENGTH,
    edge::{Edge, call, tagged, untagged},
    fake_sidecar::Says,
    wait::{PATIENCE, until},
    websocket::{Connection, Http},
};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const OBSERVED: &str = "x-finality-observed";
const OBSERVE: &str = r#""mode": "observe""#;

#[tokio::test(flavor = "multi_thread")]
async fn edge_observing_tells_what_would_become_of_tags() {
    let edge =
        Edge::builder().filter(OBSERVE).says(Says::NoHead).access_log_at_once().start().await;
    assert!(edge.envoy.log().contains(finality_filter::observing::NOTICE));
    let tells = async |body: &str| {
        let answer = edge.client().post(body).await.unwrap();
        assert_eq!((answer.status, answer.text(), answer.head()), (200, body.to_owned(), None));
        assert_eq!(answer.headers[LENGTH], body.len().to_string());
        answer.headers.get(OBSERVED).map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(tells(&tagged()).await.as_deref(), Some("no_head"));
    edge.sidecar.say(Says::head(100));
    until("the head", PATIENCE, async || {
        (tells(&tagged()).await.as_deref() == Some("100")).then_some(())
    })
    .await;
    assert_eq!(tells(&untagged()).await, None);
    assert_eq!(tells(&tagged()[1..]).await.as_deref(), Some("unparsable"));

    // In any framing, and longer than what is ever held.
    let long = call(&json!(["x".repeat(3_000_000), "espresso"]));
    for client in [http().clone(), http2()] {
        let post = || client.post(edge.envoy.url()).header("content-type", "application/json");
        for request in [
            post().body(long.clone()),
            post().body(pieces(long.as_bytes(), 100_003, false)),
            post().body(pieces(long.as_bytes(), 1_000_003, true)),
        ] {
            let answer = send(request).await.unwrap();
            assert!(answer.body == long.as_bytes());
            assert_eq!(answer.headers[OBSERVED], "100");
        }
        let answer = send(post().header("content-encoding", "gzip").body(tagged())).await.unwrap();
        assert_eq!((answer.status, answer.text()), (200, tagged()));
        assert_eq!(answer.headers[OBSERVED], "encoded");
    }

    let in_log = |value: &str| {
        edge.envoy.log().lines().any(|line| {
            serde_json::from_str::<Value>(line).is_ok_and(|line| line["observed"] == value)
        })
    };
    until("the access log", PATIENCE, async || {
        (in_log("100") && in_log("no_head") && in_log("encoded")).then_some(())
    })
    .await;
    until("the metrics", PATIENCE, async || {
        let rewritten = edge.envoy.filter_stat("observed_rewritten_total").await;
        let refused = edge.envoy.filter_stat("observed_refused_total").await;
        (rewritten >= 7 && refused >= 4).then_some(())
    })
    .await;
    assert_eq!(edge.envoy.filter_stat("bodies_rewritten_total").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_observing_leaves_websockets_alone() {
    let edge = Edge::builder().filter(OBSERVE).start().await;
    let mut connection = Connection::open(Http::One, &edge.envoy.url()).await;
    connection.send(Message::text(tagged())).await;
    assert_eq!(connection.message().await, Message::text(tagged()));
    let offer = http()
        .get(edge.envoy.url())
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")
        .header("sec-websocket-extensions", "permessage-deflate");
    edge.node.take_seen();
    assert_eq!(offer.send().await.unwrap().status(), 101);
    let seen = edge.node.take_seen();
    assert_eq!(seen[0].headers["sec-websocket-extensions"], "permessage-deflate");
}
