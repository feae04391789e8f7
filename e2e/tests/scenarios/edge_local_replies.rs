//! What Envoy answers itself: JSON-RPC to requests that could be JSON-RPC, its own text to others.

use finality_e2e::{
    client::{Answer, http, http2, pieces, send, unending},
    edge::{Edge, call, tagged, untagged},
    envoy::Framing,
    fake_sidecar::Says,
    ports::free_port,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Code and reason of an answer of Envoy, which has no id.
pub(crate) fn refusal(answer: &Answer) -> (u16, i64, String) {
    assert_eq!(answer.headers["content-type"], "application/json");
    let json = answer.json();
    assert_eq!((&json["jsonrpc"], &json["id"]), (&json!("2.0"), &Value::Null), "{json}");
    let error = &json["error"];
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{json}");
    let reason = error["data"]["reason"].as_str().unwrap();
    (answer.status, error["code"].as_i64().unwrap(), reason.to_owned())
}

/// The same, to be compared.
pub(crate) fn refused(status: u16, code: i64, reason: &str) -> (u16, i64, String) {
    (status, code, reason.to_owned())
}

fn post(client: &reqwest::Client, edge: &Edge) -> reqwest::RequestBuilder {
    client.post(edge.envoy.url()).header("content-type", "application/json")
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_without_a_node_json_rpc_gets_json_rpc() {
    let edge = Edge::builder().node(free_port()).start().await;
    for client in [http().clone(), http2()] {
        let request = |method: Method| client.request(method, edge.envoy.url());
        for could_be in [
            post(&client, &edge).body(untagged()),
            post(&client, &edge).body(pieces(untagged().as_bytes(), 9, false)),
            post(&client, &edge).body("[]"),
            request(Method::POST).body(untagged()),
            request(Method::POST).header("content-type", "text/plain; charset=x").body(untagged()),
            request(Method::POST).header("content-type", "Application/JSON-rpc").body(untagged()),
        ] {
            let answer = send(could_be).await.unwrap();
            assert_eq!(refusal(&answer), refused(503, -32603, "unavailable"));
        }
        for other in [
            request(Method::GET),
            request(Method::OPTIONS).header("content-type", "application/json"),
            request(Method::POST).header("content-type", "text/html").body("x"),
            request(Method::POST).header("content-type", "application/x-www-form-urlencoded"),
        ] {
            let answer = send(other).await.unwrap();
            assert_eq!(answer.status, 503);
            assert_eq!(answer.headers["content-type"], "text/plain");
            assert!(answer.text().starts_with("upstream connect error"), "{}", answer.text());
        }
    }
    let upgrade = http().get(edge.envoy.url()).header("connection", "upgrade");
    let upgrade = upgrade.header("upgrade", "websocket").header("sec-websocket-version", "13");
    let answer = send(upgrade.header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")).await;
    assert_eq!(refusal(&answer.unwrap()), refused(503, -32603, "unavailable"));
}

/// The filter's own answers go out as they are.
#[tokio::test(flavor = "multi_thread")]
async fn edge_the_filters_refusals_keep_their_ids() {
    let edge = Edge::builder().says(Says::NoHead).start().await;
    edge.resolves_to(Err("no_head")).await;
    let batch = format!("[{},{}]", tagged(), tagged().replace("\"id\":1", "\"id\":\"b\""));
    let answer = edge.client().post(batch).await.unwrap();
    let ids: Vec<_> =
        answer.json().as_array().unwrap().iter().map(|answer| answer["id"].clone()).collect();
    assert_eq!((answer.status, ids), (503, vec![json!(1), json!("b")]));
    // Notifications alone get an empty answer.
    let answer = edge.client().post(tagged().replace("\"id\":1,", "")).await.unwrap();
    assert_eq!((answer.status, answer.text()), (503, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_a_body_that_envoy_refuses_gets_json_rpc() {
    let long = r#""max_body_bytes": 8000000"#;
    let edge = Edge::builder().framing(Framing::Exact).filter(long).start().await;
    edge.resolves_to(Ok(100)).await;
    let body = call(&json!(["x".repeat(3_000_000)]));
    for client in [http().clone(), http2()] {
        let answer = send(post(&client, &edge).body(body.clone())).await.unwrap();
        assert_eq!(refusal(&answer), refused(413, -32600, "body_too_large"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_timeouts_get_json_rpc() {
    // It takes connections and never answers.
    let node = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let edge = Edge::builder()
        .node(node.local_addr().unwrap().port())
        .edit("request_timeout: 30s", "request_timeout: 1s")
        .edit("stream_idle_timeout: 600s", "stream_idle_timeout: 2s")
        .start()
        .await;
    for client in [http().clone(), http2()] {
        let unfinished = post(&client, &edge).body(unending(untagged().into()));
        let answer = send(unfinished).await.unwrap();
        assert_eq!(refusal(&answer), refused(408, -32002, "timeout"));
        let answer = send(post(&client, &edge).body(untagged())).await.unwrap();
        assert_eq!(refusal(&answer), refused(504, -32002, "timeout"));
    }
}
