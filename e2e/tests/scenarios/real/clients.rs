//! Scenario 18: clients that talk to op-geth through Envoy by WebSocket, and by filters.

use finality_e2e::{
    client::{self, Client, hex, http, quantity},
    devnet::Devnet,
    websocket::{Connection, Http},
};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

async fn send(connection: &mut Connection, call: &Value) {
    connection.send(Message::text(call.to_string())).await;
}

async fn message(connection: &mut Connection) -> Value {
    serde_json::from_str(connection.message().await.to_text().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn s18_websocket_with_tags_and_subscriptions() {
    let net = Devnet::real().start().await;
    net.produce(2).await;
    let head = net.head_reaches(net.height().await).await;
    for http in [Http::One, Http::Two] {
        let mut connection = Connection::open(http, &net.envoy.url()).await;
        let block = |id: u64, tag: &str| {
            json!({
                "jsonrpc": "2.0", "id": id, "method": "eth_getBlockByNumber",
                "params": [tag, true],
            })
        };
        send(&mut connection, &block(1, "espresso")).await;
        let tagged = message(&mut connection).await;
        let direct = net.direct().call("eth_getBlockByNumber", json!([hex(head), true])).await;
        assert_eq!(tagged["result"], direct);

        // A batch, with and without a tag.
        send(&mut connection, &json!([block(2, "espresso"), block(3, "earliest")])).await;
        let answers = message(&mut connection).await;
        assert_eq!(answers[0]["result"], direct);
        assert_eq!(answers[1]["result"]["number"], "0x0");

        // New blocks come by themselves, also after a tagged call in between.
        let subscribe =
            json!({"jsonrpc": "2.0", "id": 4, "method": "eth_subscribe", "params": ["newHeads"]});
        send(&mut connection, &subscribe).await;
        let subscription = message(&mut connection).await["result"].clone();
        send(&mut connection, &block(5, "espresso")).await;
        let (mut answered, mut numbers) = (false, Vec::new());
        while !answered || numbers.len() < 2 {
            let message = message(&mut connection).await;
            if message["id"] == 5 {
                assert_eq!(message["result"], direct);
                answered = true;
            } else {
                assert_eq!(message["method"], "eth_subscription", "{message}");
                assert_eq!(message["params"]["subscription"], subscription);
                numbers.push(quantity(&message["params"]["result"]["number"]));
            }
        }
        assert!(numbers.is_sorted(), "{numbers:?}");
        assert!(numbers[0] > head);
    }
}

/// op-geth serves `localhost` by default, and clients use the name of the edge.
#[tokio::test(flavor = "multi_thread")]
async fn s18_clients_by_a_host_name() {
    const NAME: &str = "rpc.example.org";
    let net = Devnet::real().start().await;
    net.produce(2).await;
    let head = net.head_reaches(net.height().await).await;
    let call = json!({
        "jsonrpc": "2.0", "id": 1, "method": "eth_getBlockByNumber", "params": ["espresso", false],
    });
    let post = async |url: &str| {
        let request = http().post(url).header("content-type", "application/json");
        client::send(request.header("host", NAME).body(call.to_string())).await.unwrap()
    };
    assert_eq!(post(net.direct().url()).await.status, 403);
    let by_http = post(&net.envoy.url()).await.result().unwrap();
    assert_eq!(quantity(&by_http["number"]), head);
    // The longest body that op-geth reads, 5 MiB.
    let mut long = call.to_string();
    long.push_str(&" ".repeat(5 * 1024 * 1024 - long.len()));
    let long = net.client().post(long).await.unwrap();
    assert_eq!((long.head(), long.result().unwrap()), (Some(head), by_http.clone()));
    let mut connection = Connection::open_by_name(&net.envoy.url(), NAME).await;
    send(&mut connection, &call).await;
    assert_eq!(message(&mut connection).await["result"], by_http);
}

/// A filter with a tag is a filter up to the head at that time.
#[tokio::test(flavor = "multi_thread")]
async fn s18_filters_and_ranges_of_logs() {
    let net = Devnet::real().start().await;
    let watch = net.watch();
    for _ in 0..3 {
        net.rollup.users.count().await;
        net.catch_up().await;
        net.produce(2).await;
    }
    let head = net.head_reaches(net.height().await).await;
    let logs = async |client: &Client, from: &str, to: &str| {
        let filter = json!([{"fromBlock": from, "toBlock": to}]);
        let id = client.call("eth_newFilter", filter.clone()).await;
        let by_filter = client.call("eth_getFilterLogs", json!([id])).await;
        (by_filter, client.call("eth_getLogs", filter).await)
    };
    let number = hex(head);
    for (from, to) in [("0x1", "espresso"), ("espresso", "espresso"), ("earliest", "espresso")] {
        let (from_number, to_number) = (from.replace("espresso", &number), number.as_str());
        let (by_filter, at_once) = logs(&net.client(), from, to).await;
        let direct = logs(&net.direct(), &from_number, to_number).await;
        assert_eq!((&by_filter, &at_once), (&direct.0, &direct.1), "{from} to {to}");
        if from != "espresso" {
            assert!(!at_once.as_array().unwrap().is_empty());
        }
    }
    // Beyond the head there is nothing yet, which op-geth calls an invalid range.
    let next = hex(head + 1);
    let filter = json!([{"fromBlock": next, "toBlock": "espresso"}]);
    let beyond = net.client().try_call("eth_getLogs", filter).await;
    assert_eq!(beyond.unwrap_err().code(), Some(-32602));
    watch.finish().await;
}
