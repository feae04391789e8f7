//! Scenario 10: JSON-RPC through Envoy equals the node's own, with L2 production paused.

use alloy_primitives::{Address, B256};
use finality_e2e::{
    accounts::{SENDER, counter},
    batcher::OpRollup,
    block::{Block, block},
    client::{Answer, hex},
    devnet::Devnet,
    emulated::Emulated,
    envoy::Framing,
    real::Real,
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

/// 29 methods with a block, given as `at`.
fn tagged(at: &str) -> Vec<(&'static str, Value)> {
    let counter = counter();
    let request = json!({"from": SENDER, "to": counter, "data": "0x"});
    vec![
        ("eth_getBalance", json!([SENDER, at])),
        ("eth_getCode", json!([counter, at])),
        ("eth_getStorageAt", json!([counter, B256::ZERO, at])),
        ("eth_getTransactionCount", json!([SENDER, at])),
        ("eth_call", json!([request, at])),
        ("eth_estimateGas", json!([request, at])),
        ("eth_getProof", json!([counter, ["0x0"], at])),
        ("eth_getBlockByNumber", json!([at, true])),
        ("eth_getBlockReceipts", json!([at])),
        ("eth_getBlockTransactionCountByNumber", json!([at])),
        ("eth_getUncleCountByBlockNumber", json!([at])),
        ("eth_getTransactionByBlockNumberAndIndex", json!([at, "0x0"])),
        ("eth_getUncleByBlockNumberAndIndex", json!([at, "0x0"])),
        ("eth_getLogs", json!([{"address": counter, "fromBlock": at, "toBlock": at}])),
        ("eth_getLogs", json!([{"address": counter, "fromBlock": "0x1", "toBlock": at}])),
        ("eth_getLogs", json!([{"fromBlock": "earliest", "toBlock": at}])),
        ("eth_feeHistory", json!(["0x2", at, []])),
        ("eth_getHeaderByNumber", json!([at])),
        ("eth_createAccessList", json!([request, at])),
        ("eth_simulateV1", json!([{"blockStateCalls": [{"calls": [request]}]}, at])),
        ("debug_traceBlockByNumber", json!([at])),
        ("debug_traceCall", json!([request, at, {"tracer": "callTracer"}])),
        ("debug_getRawHeader", json!([at])),
        ("debug_getRawBlock", json!([at])),
        ("debug_getRawReceipts", json!([at])),
        ("debug_intermediateRoots", json!([at])),
        ("debug_dumpBlock", json!([at])),
        ("debug_accountRange", json!([at, "0x", 4, true, true, false])),
        ("debug_getModifiedAccountsByNumber", json!([at])),
    ]
}

/// What only one kind of devnet can be asked for.
trait Recorded: OpRollup {
    /// The bodies with `marker` that reached the node, and whether they came by way of Envoy; none
    /// where nobody records them.
    fn recorded(&self, marker: &str) -> Option<Vec<(String, bool)>>;

    /// Of the tagged methods, how many at least have a result.
    const RESULTS: usize;
}

impl Recorded for Emulated {
    const RESULTS: usize = 12;

    fn recorded(&self, marker: &str) -> Option<Vec<(String, bool)>> {
        let seen = self.op_node.seen(marker).into_iter();
        let body = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
        Some(seen.map(|seen| (body(&seen.body), seen.through_envoy)).collect())
    }
}

impl Recorded for Real {
    const RESULTS: usize = 26;

    fn recorded(&self, _: &str) -> Option<Vec<(String, bool)>> {
        None
    }
}

async fn compatible(net: &Devnet<impl Recorded>) {
    let watch = net.watch();
    net.produce(3).await;
    let head = net.head_reaches(net.height().await).await;
    // Blocks above the head, so that the head is not the latest block.
    net.build(2).await;
    untagged_requests(net).await;
    tagged_requests(net, head).await;
    batches(net, head).await;
    only_the_tag_changes(net, head).await;
    watch.finish().await;
}

async fn untagged_requests<R: Recorded>(net: &Devnet<R>) {
    let chain = net.rollup.chain().await;
    let methods = untagged(block(&chain, BUSY_BLOCK));
    assert_eq!(methods.len(), 25);
    let mut results = 0;
    for (method, params) in methods {
        let body = call(method, &params).to_string();
        let answer = net.assert_passes(&body).await;
        if let Some(seen) = net.rollup.recorded(&format!("compare {method}\"")) {
            assert!(seen.iter().any(|(_, through_envoy)| *through_envoy));
            assert!(seen.iter().all(|(seen, _)| *seen == body));
        }
        results += usize::from(answer.result().is_ok());
    }
    assert!(results >= 18, "only {results} methods had a result to compare");
}

async fn tagged_requests<R: Recorded>(net: &Devnet<R>, head: u64) {
    let with_number = tagged(&hex(head));
    assert_eq!(with_number.len(), 29);
    let mut results = 0;
    for ((method, params), (_, expected)) in tagged(&net.tag).into_iter().zip(with_number) {
        let through = net.client().post(call(method, &params).to_string()).await.unwrap();
        let direct = net.direct().post(call(method, &expected).to_string()).await.unwrap();
        assert_same(&through, &direct, method);
        assert_eq!(through.head(), Some(head), "{method}");
        results += usize::from(direct.result().is_ok());
    }
    assert!(results >= R::RESULTS, "only {results} methods had a result to compare");
}

async fn batches(net: &Devnet<impl Recorded>, head: u64) {
    let (envoy, node) = (net.client(), net.direct());
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
        calls.push(call("eth_getBlockByNumber", &json!(["earliest", false])));
        Value::from(calls).to_string()
    };
    let through = envoy.post(batch(&net.tag)).await.unwrap();
    let direct = node.post(batch(&hex(head))).await.unwrap();
    assert_same(&through, &direct, "batch");
    assert_eq!(through.head(), Some(head));
    assert!(through.json().as_array().unwrap().len() >= 5);

    // A notification alone.
    let notification = |at: &str| {
        json!({"jsonrpc": "2.0", "method": "eth_getBalance", "params": [SENDER, at]}).to_string()
    };
    let through = envoy.post(notification(&net.tag)).await.unwrap();
    let direct = node.post(notification(&hex(head))).await.unwrap();
    assert_eq!((through.text(), through.status), (direct.text(), direct.status));
}

/// Big integers, key order, white space and unknown members stay.
async fn only_the_tag_changes(net: &Devnet<impl Recorded>, head: u64) {
    let body = |at: &str| {
        format!(
            "{{ \"params\" : [ \"{:#x}\",\t{at} ] , \"z\": 1e400, \"method\":\"eth_getBalance\",\r\n \
             \"a\": {{\"espresso\": \"espresso\"}}, \"id\": 123456789012345678901234567890 , \
             \"jsonrpc\":\"2.0\", \"kept-as-it-is\": [1.10, -0, \"\\u00e9\\/\"] }}  ",
            Address::ZERO
        )
    };
    for spelling in ["\"espresso\"", "\"\\u0065spresso\"", "\"espr\\u0065ss\\u006F\""] {
        let through = net.client().post(body(spelling)).await.unwrap();
        assert_eq!(through.head(), Some(head), "{spelling}");
        let expected = body(&format!("\"{}\"", hex(head)));
        if let Some(seen) = net.rollup.recorded("kept-as-it-is") {
            assert_eq!(seen.last(), Some(&(expected.clone(), true)));
        }
        assert_same(&through, &net.direct().post(expected).await.unwrap(), spelling);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_compatibility_exact() {
    compatible(&Devnet::emulated().framing(Framing::Exact).start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_compatibility_chunked() {
    compatible(&Devnet::emulated().framing(Framing::Chunked).start().await).await;
}

mod real {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn s10_real_compatibility() {
        compatible(&Devnet::real().start().await).await;
    }
}
