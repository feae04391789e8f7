//! Clients that open many requests on one connection, so on one worker, and end none of them.

use axum::body::Bytes;
use finality_e2e::{
    client::{Answer, http, http2, send, unending},
    edge::{Edge, tagged, untagged},
    envoy::Framing,
    wait::{PATIENCE, until},
    websocket::{Connection, Http},
};
use tokio::task::JoinSet;

/// What each request sends: nearly all that may be held before a method, and no end.
fn unfinished() -> Bytes {
    format!(r#"{{"id":7,"params":[{}"#, r#""espresso","#.repeat(23_800)).into()
}

const REQUESTS: usize = 640;

/// Sends the requests. They wait for their answers until they are dropped.
fn attack(edge: &Edge) -> JoinSet<Answer> {
    let (client, body) = (http2(), unfinished());
    let mut requests = JoinSet::new();
    for _ in 0..REQUESTS {
        let request = client.post(edge.envoy.url()).header("content-type", "application/json");
        let request = request.timeout(10 * PATIENCE).body(unending(body.clone()));
        requests.spawn(async { send(request).await.unwrap() });
    }
    requests
}

/// Others, on connections of their own and so on both workers, get their answers.
async fn others_are_served(edge: &Edge) {
    for _ in 0..20 {
        for (body, head) in [(tagged(), Some(100)), (untagged(), None)] {
            let request = http().post(edge.envoy.url()).header("content-type", "application/json");
            let answer = send(request.header("connection", "close").body(body)).await.unwrap();
            assert_eq!((answer.status, answer.head()), (200, head), "{}", answer.text());
        }
    }
    assert_eq!(edge.envoy.stat("wasm.finality.vm_reload_success").await, 0);
}

/// Waits until the filter has seen the headers of so many requests.
async fn seen(edge: &Edge, requests: usize) {
    until("all requests", PATIENCE, async || {
        let seen = edge.envoy.filter_stat("requests_total").await;
        (seen >= u64::try_from(requests).unwrap()).then_some(())
    })
    .await;
}

const FAST: &str = r#""poll_tick": "20ms""#;

#[tokio::test(flavor = "multi_thread")]
async fn edge_bodies_that_never_end_do_not_end_the_vm() {
    let edge = Edge::builder().many_streams().filter(FAST).start().await;
    edge.resolves_to(Ok(100)).await;
    let before = edge.envoy.memory();
    let mut requests = attack(&edge);
    seen(&edge, REQUESTS).await;
    let refused = "refused_overloaded_total";
    until("most to be refused", PATIENCE, async || {
        let count = edge.envoy.filter_stat(refused).await;
        (count > u64::try_from(REQUESTS / 2).unwrap()).then_some(())
    })
    .await;
    others_are_served(&edge).await;
    let answer = requests.join_next().await.unwrap().unwrap();
    assert_eq!(answer.status, 503);
    let error = &answer.json()["error"];
    assert_eq!(
        (&error["code"], &error["data"]["reason"]),
        (&(-32005).into(), &"overloaded".into())
    );
    let grown = edge.envoy.memory().saturating_sub(before) / 1024;
    println!("Envoy has grown by {grown} MiB");
    assert!(grown < 300, "Envoy has grown by {grown} MiB");

    // Those that end make room.
    drop(requests);
    let count = edge.envoy.filter_stat(refused).await;
    let body = [unfinished().as_ref(), br#""espresso"],"method":"eth_call"}"#].concat();
    until("room", PATIENCE, async || {
        let request = http2().post(edge.envoy.url()).header("content-type", "application/json");
        let answer = send(request.body(body.clone())).await.unwrap();
        (answer.head() == Some(100)).then_some(())
    })
    .await;
    println!("{} refused", edge.envoy.filter_stat(refused).await - count);
}

/// There, Envoy holds the bodies.
#[tokio::test(flavor = "multi_thread")]
async fn edge_bodies_that_envoy_holds_do_not_end_the_vm() {
    for (framing, freshness) in [(Framing::Exact, "cached"), (Framing::Chunked, "strict")] {
        // The sidecar's answers wait, too, while the workers hold and free the bodies.
        let members = format!(r#"{FAST}, "freshness": "{freshness}", "freshness_timeout": "15s""#);
        let edge = Edge::builder().many_streams().framing(framing).filter(&members).start().await;
        edge.resolves_to(Ok(100)).await;
        let requests = attack(&edge);
        seen(&edge, REQUESTS).await;
        others_are_served(&edge).await;
        assert_eq!(edge.envoy.filter_stat("refused_overloaded_total").await, 0);
        drop(requests);
        assert_eq!(edge.resolve().await, Ok(100));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_messages_that_never_end_do_not_end_the_vm() {
    const CONNECTIONS: usize = 200;
    let edge = Edge::builder().filter(FAST).start().await;
    edge.resolves_to(Ok(100)).await;
    // A frame of a text of a million bytes, and all but one of them.
    let header = [0x81, 0xff, 0, 0, 0, 0, 0, 0x0f, 0x42, 0x40, 0, 0, 0, 0];
    let frame = [&header[..], &[b' '; 999_999]].concat();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(Http::One, &edge.envoy.url()).await;
        connection.send_raw(&frame).await;
        connections.push(connection);
    }
    others_are_served(&edge).await;
    let grown = edge.envoy.memory() / 1024;
    println!("Envoy has {grown} MiB");
    assert!(grown < 700, "Envoy has {grown} MiB");
}
