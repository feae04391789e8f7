//! Scenario 10: JSON-RPC through Envoy equals the node's own, with L2 production paused.

use alloy_primitives::{Address, B256};
use finality_e2e::{
    client::{Answer, hex},
    devnet::Devnet,
    envoy::Framing,
    l2::{Block, block},
    sequencer::{SENDER, Sequencer},
};
use serde_json::{Value, json};

/// A block with user transactions.
const BUSY_BLOCK: u64 = 5;

/// A call with an id that no other client uses, not even the sidecar.
fn call(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": format!("compare {method}"), "method": method, "params": params})
}

fn assert_same(through: &Answer, direct: &Answer, what: &str) {
    assert_eq!(through.text(), direct.text(), "{what}");
    assert_eq!(through.status, direct.status, "{what}");
    assert_eq!(through.headers["content-type"], direct.headers["content-type"], "{what}");
}

/// 25 untagged calls.
fn untagged(block: &Block) -> Vec<(&'static str, Value)> {
    let transaction = block.json["transactions"].as_array().unwrap().last().unwrap();
    let (hash, transaction) = (block.hash, &transaction["hash"]);
    vec![
        ("eth_blockNumber", json!([])),
        ("eth_chainId", json!([])),
        ("eth_syncing", json!([])),
        ("eth_gasPrice", json!([])),
        ("eth_maxPriorityFeePerGas", json!([])),
        ("eth_accounts", json!([])),
        ("eth_getBlockByHash", json!([hash, true])),
        ("eth_getBlockTransactionCountByHash", json!([hash])),
        ("eth_getUncleCountByBlockHash", json!([hash])),
        ("eth_getTransactionByHash", json!([transaction])),
        ("eth_getTransactionReceipt", json!([transaction])),
        ("eth_getTransactionByBlockHashAndIndex", json!([hash, "0x1"])),
        ("eth_getUncleByBlockHashAndIndex", json!([hash, "0x0"])),
        ("eth_getHeaderByHash", json!([hash])),
        ("net_version", json!([])),
        ("net_listening", json!([])),
        ("net_peerCount", json!([])),
        ("web3_clientVersion", json!([])),
        ("web3_sha3", json!(["0x657370726573736f"])),
        ("txpool_content", json!([])),
        ("txpool_status", json!([])),
        ("txpool_inspect", json!([])),
        // An invalid transaction.
        ("eth_sendRawTransaction", json!(["0xf800"])),
        // Over HTTP these are errors.
        ("eth_subscribe", json!(["newHeads"])),
        ("eth_unsubscribe", json!(["0x1"])),
    ]
}

/// 15 calls with a block parameter, `at`.
fn tagged(at: &str) -> Vec<(&'static str, Value)> {
    let counter = Sequencer::counter();
    let request = json!({"from": SENDER, "to": counter, "data": "0x"});
    vec![
        ("eth_getBalance", json!([SENDER, at])),
        ("eth_getCode", json!([counter, at])),
        ("eth_getStorageAt", json!([counter, B256::ZERO, at])),
        ("eth_getTransactionCount", json!([SENDER, at])),
        ("eth_call", json!([request, at])),
        ("eth_getBlockByNumber", json!([at, true])),
        ("eth_getBlockTransactionCountByNumber", json!([at])),
        ("eth_getUncleCountByBlockNumber", json!([at])),
        ("eth_getTransactionByBlockNumberAndIndex", json!([at, "0x0"])),
        ("eth_getUncleByBlockNumberAndIndex", json!([at, "0x0"])),
        ("eth_getLogs", json!([{"address": counter, "fromBlock": at, "toBlock": at}])),
        ("eth_feeHistory", json!(["0x2", at, []])),
        ("eth_getHeaderByNumber", json!([at])),
        ("eth_createAccessList", json!([request, at])),
        ("eth_simulateV1", json!([{"blockStateCalls": [{"calls": [request]}]}, at])),
    ]
}

async fn compatible(framing: Framing) {
    let net = Devnet::builder().framing(framing).start().await;
    let watch = net.watch();
    net.produce(3).await;
    let head = net.head_reaches(net.height().await).await;
    // Blocks above the head, so that the head is not the latest block.
    net.build(2).await;
    let (envoy, node) = (net.client(), net.direct());

    let chain = net.sequencer.chain().await;
    let methods = untagged(block(&chain, BUSY_BLOCK));
    assert_eq!(methods.len(), 25);
    let mut results = 0;
    for (method, params) in methods {
        let body = call(method, &params).to_string();
        let through = envoy.post(body.clone()).await.unwrap();
        let direct = node.post(body.clone()).await.unwrap();
        assert_same(&through, &direct, method);
        assert_eq!(through.head(), None, "{method}");
        let seen = net.op_node.seen(&format!("compare {method}\""));
        assert!(seen[0].through_envoy && !seen[1].through_envoy);
        assert_eq!(String::from_utf8_lossy(&seen[0].body), body);
        results += usize::from(direct.result().is_ok());
    }
    assert!(results >= 18, "only {results} methods had a result to compare");

    let number = hex(head);
    let with_number = tagged(&number);
    assert_eq!(with_number.len(), 15);
    let mut results = 0;
    for ((method, params), (_, expected)) in tagged(&net.tag).into_iter().zip(with_number) {
        let through = envoy.post(call(method, &params).to_string()).await.unwrap();
        let direct = node.post(call(method, &expected).to_string()).await.unwrap();
        assert_same(&through, &direct, method);
        assert_eq!(through.head(), Some(head), "{method}");
        results += usize::from(direct.result().is_ok());
    }
    assert!(results >= 12, "only {results} methods had a result to compare");

    // A mixed batch: elements with no tag, one tag and two, and a notification.
    let batch = |at: &str| {
        let mut calls: Vec<Value> = tagged(at)
            .into_iter()
            .filter(|(method, _)| ["eth_getBalance", "eth_call", "eth_getLogs"].contains(method))
            .map(|(method, params)| call(method, &params))
            .collect();
        calls.insert(1, call("eth_chainId", &json!([])));
        calls.insert(
            3,
            json!({"jsonrpc": "2.0", "method": "eth_getBalance", "params": [SENDER, at]}),
        );
        calls.push(call("eth_getBlockByNumber", &json!(["latest", false])));
        Value::from(calls).to_string()
    };
    let through = envoy.post(batch(&net.tag)).await.unwrap();
    let direct = node.post(batch(&number)).await.unwrap();
    assert_same(&through, &direct, "batch");
    assert_eq!(through.head(), Some(head));
    assert!(through.json().as_array().unwrap().len() >= 5);

    // A notification alone.
    let notification = |at: &str| {
        json!({"jsonrpc": "2.0", "method": "eth_getBalance", "params": [SENDER, at]}).to_string()
    };
    let through = envoy.post(notification(&net.tag)).await.unwrap();
    let direct = node.post(notification(&number)).await.unwrap();
    assert_same(&through, &direct, "notification");

    // Only the tag changes: big integers, key order, whitespace and unknown members stay.
    let body = |at: &str| {
        format!(
            "{{ \"params\" : [ \"{:#x}\",\t{at} ] , \"z\": 1e400, \"method\":\"eth_getBalance\",\r\n \
             \"a\": {{\"espresso\": \"espresso\"}}, \"id\": 123456789012345678901234567890 , \
             \"jsonrpc\":\"2.0\", \"kept-as-it-is\": [1.10, -0, \"\\u00e9\\/\"] }}  ",
            Address::ZERO
        )
    };
    for spelling in ["\"espresso\"", "\"\\u0065spresso\"", "\"espr\\u0065ss\\u006F\""] {
        let before = net.op_node.seen("kept-as-it-is").len();
        let through = envoy.post(body(spelling)).await.unwrap();
        assert_eq!(through.head(), Some(head), "{spelling}");
        let seen = net.op_node.seen("kept-as-it-is");
        assert_eq!(seen.len(), before + 1);
        let expected = body(&format!("\"{number}\""));
        assert_eq!(String::from_utf8_lossy(&seen[before].body), expected);
        assert_same(&through, &node.post(expected).await.unwrap(), spelling);
    }
    watch.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_compatibility_exact() {
    compatible(Framing::Exact).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_compatibility_chunked() {
    compatible(Framing::Chunked).await;
}
