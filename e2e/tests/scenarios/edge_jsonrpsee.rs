//! A node built on jsonrpsee and alloy, as reth and op-reth are: it takes parameters by name, in
//! snake and camel case, and tags in any case.

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{Address, U64, U256};
use finality_e2e::{
    client::Client,
    edge::Edge,
    wait::{PATIENCE, until},
};
use jsonrpsee::{
    core::{RpcResult, async_trait},
    proc_macros::rpc,
    server::{Server, ServerHandle},
};
use serde::Deserialize;
use serde_json::{Value, json};

/// The members of a filter that name blocks.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Filter {
    from_block: Option<BlockNumberOrTag>,
    to_block: Option<BlockNumberOrTag>,
}

/// Some methods with the names and types that reth declares. Each returns the blocks that it was
/// asked for.
#[rpc(server, namespace = "eth")]
trait Eth {
    #[method(name = "getBalance")]
    async fn balance(&self, address: Address, block_number: Option<BlockId>) -> RpcResult<Value>;

    #[method(name = "getBlockByNumber")]
    async fn block_by_number(&self, number: BlockNumberOrTag, full: bool) -> RpcResult<Value>;

    #[method(name = "getStorageAt")]
    async fn storage_at(
        &self,
        address: Address,
        index: U256,
        block_number: Option<BlockId>,
    ) -> RpcResult<Value>;

    #[method(name = "feeHistory")]
    async fn fee_history(
        &self,
        block_count: U64,
        newest_block: BlockNumberOrTag,
        reward_percentiles: Option<Vec<f64>>,
    ) -> RpcResult<Value>;

    #[method(name = "getLogs")]
    async fn logs(&self, filter: Filter) -> RpcResult<Value>;
}

struct Node;

#[async_trait]
impl EthServer for Node {
    async fn balance(&self, _: Address, block_number: Option<BlockId>) -> RpcResult<Value> {
        Ok(json!([block_number]))
    }

    async fn block_by_number(&self, number: BlockNumberOrTag, _: bool) -> RpcResult<Value> {
        Ok(json!([number]))
    }

    async fn storage_at(
        &self,
        _: Address,
        _: U256,
        block_number: Option<BlockId>,
    ) -> RpcResult<Value> {
        Ok(json!([block_number]))
    }

    async fn fee_history(
        &self,
        _: U64,
        newest_block: BlockNumberOrTag,
        _: Option<Vec<f64>>,
    ) -> RpcResult<Value> {
        Ok(json!([newest_block]))
    }

    async fn logs(&self, filter: Filter) -> RpcResult<Value> {
        Ok(json!([filter.from_block, filter.to_block]))
    }
}

/// A node at a free port. It stops when the handle is dropped.
async fn node() -> (ServerHandle, u16) {
    let server = Server::builder().build("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    (server.start(Node.into_rpc()), port)
}

/// An edge in front of the node, with `finalized` as a tag.
async fn edge(port: u16, scope: &str) -> Edge {
    let filter = format!(r#""scope": "{scope}""#);
    let edge = Edge::builder().tags(&["finalized"]).filter(&filter).node(port).start().await;
    // Nothing echoes, so the head is known once a tag is not refused.
    let tagged = json!([Address::ZERO, "finalized"]);
    until("a head", PATIENCE, async || {
        edge.client().try_call("eth_getBalance", tagged.clone()).await.ok()
    })
    .await;
    edge
}

/// Requests with a tag, and what the node is asked for if each tag becomes block 100.
fn requests() -> Vec<(&'static str, Value, Value)> {
    let address = Address::ZERO;
    let mut requests = Vec::new();
    for tag in ["finalized", "Finalized", "FINALIZED"] {
        requests.extend([
            ("eth_getBalance", json!([address, tag]), json!(["0x64"])),
            ("eth_getBalance", json!({"address": address, "block_number": tag}), json!(["0x64"])),
            ("eth_getBalance", json!({"address": address, "blockNumber": tag}), json!(["0x64"])),
            (
                "eth_getBalance",
                json!({"address": address, "blockNumber": {"blockNumber": tag}}),
                json!(["0x64"]),
            ),
            ("eth_getBlockByNumber", json!({"number": tag, "full": false}), json!(["0x64"])),
            (
                "eth_getStorageAt",
                json!({"blockNumber": tag, "index": "0x0", "address": address}),
                json!(["0x64"]),
            ),
            ("eth_feeHistory", json!({"blockCount": "0x2", "newestBlock": tag}), json!(["0x64"])),
            (
                "eth_getLogs",
                json!({"filter": {"fromBlock": "0x1", "toBlock": tag}}),
                json!(["0x1", "0x64"]),
            ),
        ]);
    }
    requests
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_parameters_by_name_in_front_of_a_node_on_jsonrpsee() {
    let (_node, port) = node().await;
    // The node itself takes every one of these requests for its own `finalized`.
    let direct = Client::new(format!("http://127.0.0.1:{port}"));
    for (method, params, wanted) in requests() {
        let own = wanted.to_string().replace("0x64", "finalized");
        assert_eq!(direct.call(method, params.clone()).await.to_string(), own, "{method} {params}");
    }
    for scope in ["block-parameters", "params"] {
        let edge = edge(port, scope).await;
        for (method, params, wanted) in requests() {
            let answer = edge.client().ask(method, params.clone()).await.unwrap();
            assert_eq!(answer.result().unwrap(), wanted, "{scope}: {method} {params}");
            assert_eq!(answer.head(), Some(100), "{scope}: {method} {params}");
        }
    }
}
