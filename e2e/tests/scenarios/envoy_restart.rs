//! Scenario 6: Envoy restarts while the sidecar is down.

use finality_e2e::{
    client::{CallError, hex},
    devnet::Devnet,
    rollup::Rollup,
};
use serde_json::json;

async fn envoy_restarts_without_the_sidecar(net: &Devnet<impl Rollup>) {
    let watch = net.watch();
    net.produce(3).await;
    let head = net.head_reaches(net.height().await).await;

    // Only the sidecar is down: the filter keeps its head.
    net.sidecar.kill();
    assert_eq!(net.head().await, Some(head));
    net.assert_tagged_equals_direct().await;

    // Envoy restarts too: untagged traffic is unaffected.
    net.envoy.stop().await;
    net.envoy.start().await;
    for (method, params) in [
        ("eth_chainId", json!([])),
        ("eth_getBlockByNumber", json!([hex(head), true])),
        ("web3_sha3", json!(["0x657370726573736f"])),
    ] {
        let through = net.client().ask(method, params.clone()).await.unwrap();
        let direct = net.direct().ask(method, params).await.unwrap();
        assert_eq!((through.status, through.text()), (direct.status, direct.text()));
        assert_eq!(through.head(), None);
    }

    // Tagged requests are refused in JSON-RPC form.
    let refused = net.ask_tagged().await;
    assert_eq!((refused.status, refused.head()), (503, None));
    let error = refused.result().unwrap_err();
    assert_eq!((error.code(), error.reason()), (Some(-32055), Some("no_head")), "{error}");
    assert_eq!(refused.json()["id"], 1);
    let batch = json!([
        {"jsonrpc": "2.0", "id": "a", "method": "eth_blockNumber", "params": []},
        {"jsonrpc": "2.0", "method": "eth_chainId", "params": []},
        {"jsonrpc": "2.0", "id": 7, "method": "eth_getBalance", "params": [
            "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc", net.tag,
        ]},
    ]);
    let refused = net.client().post(batch.to_string()).await.unwrap();
    assert_eq!(refused.status, 503);
    let errors = refused.json();
    let ids: Vec<_> = errors.as_array().unwrap().iter().map(|error| &error["id"]).collect();
    assert_eq!(ids, [&json!("a"), &json!(7)]);
    assert!(errors.as_array().unwrap().iter().all(|error| error["error"]["code"] == -32055));

    // It recovers, at or above the earlier head.
    net.sidecar.start().await;
    net.head_reaches(head).await;
    net.produce(2).await;
    net.head_reaches(head + 2).await;

    // Only Envoy restarts.
    net.envoy.stop().await;
    let down = net.client().ask("eth_chainId", json!([])).await;
    assert!(matches!(down, Err(CallError::Transport(_))), "{down:?}");
    net.envoy.start().await;
    net.head_reaches(head + 2).await;
    net.assert_tagged_equals_direct().await;
    watch.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s06_envoy_restarts_without_the_sidecar() {
    envoy_restarts_without_the_sidecar(&Devnet::emulated().start().await).await;
}

mod real {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn s06_real_envoy_restarts_without_the_sidecar() {
        envoy_restarts_without_the_sidecar(&Devnet::real().start().await).await;
    }
}
