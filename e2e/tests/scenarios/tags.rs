//! Scenario 8: `finalized` as a tag, alone and with `espresso`.

use finality_e2e::{client::hex, devnet::Devnet, rollup::Rollup};
use serde_json::{Value, json};

const ACCOUNT: &str = "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc";

async fn finalized_as_the_tag(net: &Devnet<impl Rollup>) {
    let watch = net.watch();
    net.produce(4).await;
    let head = net.head_reaches(net.height().await).await;
    net.assert_tagged_equals_direct().await;

    // To the node itself it means something else.
    let block = |client: &finality_e2e::client::Client, tag: &'static str| {
        let client = client.clone();
        async move { client.ask("eth_getBlockByNumber", json!([tag, false])).await.unwrap() }
    };
    let own = block(&net.direct(), "finalized").await;
    let through = block(&net.client(), "finalized").await;
    assert_ne!(own.json()["result"]["number"], through.json()["result"]["number"]);
    assert_eq!(through.json()["result"]["number"], hex(head));
    // Other tags are the node's business, including `espresso`.
    for tag in ["latest", "safe", "earliest", "pending", "espresso"] {
        let call = json!({
            "jsonrpc": "2.0", "id": 1, "method": "eth_getBlockByNumber", "params": [tag, false],
        });
        net.assert_passes(&call.to_string()).await;
    }
    watch.finish().await;
}

async fn both_tags(net: &Devnet<impl Rollup>) {
    let watch = net.watch();
    net.produce(4).await;
    let head = net.head_reaches(net.height().await).await;
    let batch = |one: &str, other: &str| {
        let call = |id: u64, tag: &str| {
            json!({
                "jsonrpc": "2.0", "id": id, "method": "eth_getBalance", "params": [ACCOUNT, tag],
            })
        };
        let logs = json!({
            "jsonrpc": "2.0", "id": 3, "method": "eth_getLogs",
            "params": [{"fromBlock": one, "toBlock": other}],
        });
        Value::from(vec![call(1, one), call(2, other), logs]).to_string()
    };
    let through = net.client().post(batch("espresso", "finalized")).await.unwrap();
    assert_eq!((through.status, through.head()), (200, Some(head)));
    let number = hex(head);
    let direct = net.direct().post(batch(&number, &number)).await.unwrap();
    assert_eq!(through.text(), direct.text());
    assert_eq!(through.json().as_array().unwrap().len(), 3);
    watch.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s08_finalized_as_the_tag() {
    finalized_as_the_tag(&Devnet::emulated().tags(&["finalized"]).start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s08_both_tags() {
    both_tags(&Devnet::emulated().tags(&["espresso", "finalized"]).start().await).await;
}

mod real {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn s08_real_finalized_as_the_tag_in_block_parameters() {
        let net = Devnet::real().tags(&["finalized"]).filter(r#""scope": "block-parameters""#);
        finalized_as_the_tag(&net.start().await).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s08_real_both_tags() {
        both_tags(&Devnet::real().tags(&["espresso", "finalized"]).start().await).await;
    }
}
