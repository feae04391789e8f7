//! JSON-RPC over WebSocket through a real Envoy, to Anvil.

use finality_e2e::anvil::Anvil;
use finality_e2e::edge::Edge;
use finality_e2e::fake_sidecar::{CHAIN_ID, Says};
use finality_e2e::ports::free_port;
use finality_e2e::process;
use finality_e2e::wait::{PATIENCE, until};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Connection = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn next(connection: &mut Connection) -> Message {
    let message = connection.next();
    let message = tokio::time::timeout(PATIENCE, message).await;
    message.expect("a message in time").expect("a message").unwrap()
}

async fn call(connection: &mut Connection, id: u64, method: &str, params: Value) -> Value {
    let call = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
    connection.send(Message::text(call.to_string())).await.unwrap();
    let answer: Value = serde_json::from_str(next(connection).await.to_text().unwrap()).unwrap();
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
    until("the head", PATIENCE, async || {
        (edge.envoy.filter_stat("head_number").await == 3).then_some(())
    })
    .await;
    let url = edge.envoy.url().replace("http:", "ws:");
    let (mut connection, _) = connect_async(&url).await.unwrap();

    let block = call(&mut connection, 1, "eth_getBlockByNumber", json!(["espresso", false])).await;
    assert_eq!(block["number"], "0x3");
    let latest = call(&mut connection, 2, "eth_getBlockByNumber", json!(["latest", false])).await;
    assert_eq!(latest["number"], "0x5");
    // A long message, by the longest form of its length.
    let addresses = vec!["0x0000000000000000000000000000000000000001"; 2000];
    let filter = json!([{"fromBlock": "espresso", "toBlock": "espresso", "address": addresses}]);
    assert_eq!(call(&mut connection, 3, "eth_getLogs", filter).await, json!([]));

    // A subscription, and its messages from the node.
    let subscription = call(&mut connection, 4, "eth_subscribe", json!(["newHeads"])).await;
    anvil.rpc().call("evm_mine", json!([])).await;
    let head: Value = serde_json::from_str(next(&mut connection).await.to_text().unwrap()).unwrap();
    assert_eq!(head["params"]["subscription"], subscription);
    assert_eq!(head["params"]["result"]["number"], "0x6");
    connection.send(Message::Ping(b"x".as_slice().into())).await.unwrap();
    assert_eq!(next(&mut connection).await, Message::Pong(b"x".as_slice().into()));

    // A tag that cannot be served closes the connection; other clients go on.
    let (mut other, _) = connect_async(&url).await.unwrap();
    edge.sidecar.say(Says::Head { number: 3, status: "diverged", chain_id: CHAIN_ID });
    edge_is_diverged(&edge).await;
    let tagged =
        r#"{"jsonrpc":"2.0","id":5,"method":"eth_getBlockByNumber","params":["espresso",false]}"#;
    connection.send(Message::text(tagged)).await.unwrap();
    let end = tokio::time::timeout(PATIENCE, connection.next()).await.unwrap();
    assert!(matches!(end, None | Some(Ok(Message::Close(_)) | Err(_))), "{end:?}");
    let latest = call(&mut other, 6, "eth_blockNumber", json!([])).await;
    assert_eq!(latest, "0x6");
}

async fn edge_is_diverged(edge: &Edge) {
    until("the status", PATIENCE, async || {
        let answer = edge.client().ask("eth_getBlockByNumber", json!(["espresso", false])).await;
        (answer.unwrap().status == 503).then_some(())
    })
    .await;
}
