//! JSON-RPC over WebSocket through a real Envoy, to Anvil and to a node that records what it gets.

use finality_e2e::{
    anvil::Anvil,
    client::{hex, quantity},
    edge::{Edge, tagged},
    fake_sidecar::{CHAIN_ID, Says},
    ports::free_port,
    process,
    wait::{PATIENCE, until},
    websocket::{Connection, Http},
};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{CloseCode, Data, OpCode},
    },
};

const DIVERGED: Says = Says::Head { number: 3, status: "diverged", chain_id: CHAIN_ID };

async fn call(connection: &mut Connection, id: u64, method: &str, params: Value) -> Value {
    let call = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
    connection.send(Message::text(call.to_string())).await;
    let answer = json_of(connection.message().await);
    assert_eq!(answer["id"], id, "{answer}");
    answer["result"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_websocket_tags_subscriptions_and_refusals() {
    let folder = process::folder();
    let port = free_port();
    let anvil = Anvil::start("anvil", port, CHAIN_ID, 1_700_000_000, &[], folder.path()).await;
    for _ in 0..5 {
        anvil.rpc().call("evm_mine", json!([])).await;
    }
    let edge = Edge::builder().node(port).says(Says::head(3)).start().await;
    for http in [Http::One, Http::Two] {
        edge.sidecar.say(Says::head(3));
        reason(&edge, None).await;
        conversation(&edge, &anvil, http).await;
    }
}

async fn conversation(edge: &Edge, anvil: &Anvil, http: Http) {
    let known = quantity(&anvil.rpc().call("eth_blockNumber", json!([])).await);
    let mut connection = Connection::open(http, &edge.envoy.url()).await;
    let block = call(&mut connection, 1, "eth_getBlockByNumber", json!(["espresso", false])).await;
    assert_eq!(block["number"], "0x3");
    let latest = call(&mut connection, 2, "eth_getBlockByNumber", json!(["latest", false])).await;
    assert_eq!(quantity(&latest["number"]), known);
    // A long message, with its length in the longest form.
    let addresses = vec!["0x0000000000000000000000000000000000000001"; 2000];
    let filter = json!([{"fromBlock": "espresso", "toBlock": "espresso", "address": addresses}]);
    assert_eq!(call(&mut connection, 3, "eth_getLogs", filter).await, json!([]));

    // A subscription, and its messages from the node.
    let subscription = call(&mut connection, 4, "eth_subscribe", json!(["newHeads"])).await;
    anvil.rpc().call("evm_mine", json!([])).await;
    let head = json_of(connection.message().await);
    assert_eq!(head["params"]["subscription"], subscription);
    assert_eq!(quantity(&head["params"]["result"]["number"]), known + 1);
    connection.send(Message::Ping(b"x".as_slice().into())).await;
    assert_eq!(connection.message().await, Message::Pong(b"x".as_slice().into()));

    // Without a usable head the node refuses, with the same id; everything else continues. Over
    // WebSocket, Anvil reports an unknown method as unreadable; other nodes answer -32601, as
    // Anvil does over HTTP.
    edge.sidecar.say(DIVERGED);
    reason(edge, Some("diverged")).await;
    connection.send(Message::text(tagged())).await;
    let answer = json_of(connection.message().await);
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(1), &json!(-32602)), "{answer}");
    anvil.rpc().call("evm_mine", json!([])).await;
    assert_eq!(json_of(connection.message().await)["params"]["subscription"], subscription);

    // A tagged message that is not JSON closes the connection; other clients are unaffected.
    let mut other = Connection::open(http, &edge.envoy.url()).await;
    connection.send_last(Message::text(&tagged()[1..])).await;
    let end = connection.next().await;
    assert!(matches!(end, None | Some(Ok(Message::Close(_)) | Err(_))), "{end:?}");
    let latest = call(&mut other, 6, "eth_blockNumber", json!([])).await;
    assert_eq!(quantity(&latest), known + 2);
}

fn json_of(message: Message) -> Value {
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}

/// Waits until a tag is refused for that reason, or is not.
async fn reason(edge: &Edge, wanted: Option<&str>) {
    until(&format!("tags to be refused as {wanted:?}"), PATIENCE, async || {
        let answer = edge.client().ask("eth_getBlockByNumber", json!(["espresso", false])).await;
        let result = answer.unwrap().result();
        (result.as_ref().err().and_then(|error| error.reason()) == wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_websocket_by_every_protocol() {
    for http2_to_node in [false, true] {
        let builder = Edge::builder();
        let edge = if http2_to_node { builder.http2_to_node() } else { builder };
        let edge = edge.start().await;
        for http in [Http::One, Http::Two] {
            edge.sidecar.say(Says::head(100));
            edge.resolves_to(Ok(100)).await;
            edge.node.take_messages();
            every_frame(&edge, http).await;
        }
    }
}

async fn every_frame(edge: &Edge, http: Http) {
    let rewritten = Message::text(tagged().replace("espresso", &hex(100)));
    let mut connection = Connection::open(http, &edge.envoy.url()).await;
    connection.send(Message::text(tagged())).await;
    assert_eq!(connection.message().await, rewritten);

    // In fragments, with a ping between them that the node answers first.
    let (first, second) = (tagged()[..30].to_owned(), tagged()[30..].to_owned());
    let text = OpCode::Data(Data::Text);
    connection.send(Message::Frame(Frame::message(first, text, false))).await;
    connection.send(Message::Ping(b"x".as_slice().into())).await;
    let rest = OpCode::Data(Data::Continue);
    connection.send(Message::Frame(Frame::message(second, rest, true))).await;
    assert_eq!(connection.message().await, Message::Pong(b"x".as_slice().into()));
    assert_eq!(connection.message().await, rewritten);

    // Byte by byte.
    let mut frame = vec![0x81, 0x80 | u8::try_from(tagged().len()).unwrap(), 0, 0, 0, 0];
    frame.extend(tagged().bytes());
    connection.send_bytes(&frame).await;
    assert_eq!(connection.message().await, rewritten);

    // Refusals: an unknown method, or a close frame, in place of the message.
    edge.sidecar.say(Says::Head { number: 100, status: "diverged", chain_id: CHAIN_ID });
    edge.resolves_to(Err("diverged")).await;
    connection.send(Message::text(tagged())).await;
    let unknown = r#"{"jsonrpc":"2.0","id":1,"method":"finality_refused_diverged"}"#;
    assert_eq!(connection.message().await, Message::text(unknown));
    connection.send_last(Message::text(&tagged()[1..])).await;
    let end = connection.next().await;
    assert!(
        matches!(end, Some(Ok(Message::Close(Some(frame)))) if frame.code == CloseCode::Policy)
    );
    let seen = edge.node.take_messages();
    let closed = seen.last().unwrap();
    assert!(matches!(closed, Message::Close(Some(frame)) if frame.code == CloseCode::Policy));
    for message in seen {
        assert!(!message.to_string().contains("espresso"), "{message}");
    }
}
