//! The check: the head advances through Envoy, and tagged answers equal direct ones.

use std::time::Duration;

use alloy_primitives::B256;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    accounts::{SENDER, counter},
    client::hex,
    devnet::Devnet,
    rollup::Rollup,
};

/// How far the head must advance.
const BLOCKS: u64 = 10;
/// How long it may take. Chains make a block each second.
const LIMIT: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(200);

/// Runs the check and prints what it saw.
pub(super) async fn run(net: &Devnet<impl Rollup>) -> bool {
    let watch = net.watch();
    let Some(first) = net.head().await else {
        println!("failed: no tagged request is answered through Envoy");
        return false;
    };
    println!("the head is {first}; waiting until it is {}", first + BLOCKS);
    let begin = Instant::now();
    let mut last = first;
    while last < first + BLOCKS {
        if begin.elapsed() > LIMIT {
            let status = net.sidecar.get("/v1/status").await.map(|answer| answer.text());
            println!(
                "failed: in {} s the head advanced from {first} to {last} only; the node is at {}, \
                 HotShot at {}; the sidecar says: {}",
                LIMIT.as_secs(),
                net.node_height().await,
                net.hotshot.height(),
                status.unwrap_or_else(|error| error.to_string()),
            );
            return false;
        }
        sleep(LOOK).await;
        if let Some(head) = net.head().await.filter(|head| *head != last) {
            println!("head {head} through Envoy; the node is at {}", net.node_height().await);
            last = head;
        }
    }

    let mut success = true;
    for (method, params) in questions(&net.tag) {
        match compare(net, method, &params).await {
            Ok(head) => println!("{method}: tagged answer equals direct answer at block {head}"),
            Err(difference) => {
                println!("failed: {method}: {difference}");
                success = false;
            }
        }
    }
    let seen = watch.finish().await;
    println!(
        "{} tagged requests answered, {} refused; the head took {} values and never went back",
        seen.answered,
        seen.refused,
        seen.heads.len(),
    );
    if success {
        println!("ok: the head advanced from {first} to {last} through Envoy");
    }
    success
}

fn questions(tag: &str) -> [(&'static str, Value); 6] {
    let counter = counter();
    [
        ("eth_getBlockByNumber", json!([tag, true])),
        ("eth_getBalance", json!([SENDER, tag])),
        ("eth_getTransactionCount", json!([SENDER, tag])),
        ("eth_call", json!([{"to": counter}, tag])),
        ("eth_getStorageAt", json!([counter, B256::ZERO, tag])),
        ("eth_getLogs", json!([{"address": counter, "fromBlock": "0x0", "toBlock": tag}])),
    ]
}

/// Sends the tagged request through Envoy, and the same request with the number directly.
async fn compare(net: &Devnet<impl Rollup>, method: &str, params: &Value) -> Result<u64, String> {
    let tagged =
        net.client().ask(method, params.clone()).await.map_err(|error| error.to_string())?;
    let head = tagged.head().ok_or_else(|| format!("no head in the answer {}", tagged.text()))?;
    tagged.result().map_err(|error| error.to_string())?;
    let numbered =
        params.to_string().replace(&format!("{:?}", net.tag), &format!("{:?}", hex(head)));
    let numbered = serde_json::from_str(&numbered).map_err(|error| error.to_string())?;
    let direct = net.direct().ask(method, numbered).await.map_err(|error| error.to_string())?;
    if tagged.body == direct.body {
        Ok(head)
    } else {
        Err(format!("tagged: {}; direct at {head}: {}", tagged.text(), direct.text()))
    }
}
