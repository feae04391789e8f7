//! Streams that tell of new blocks, to a real process that would not look for an hour.

use std::collections::BTreeMap;

use crate::support::{
    PATIENCE,
    canned::{Chain, Fakes, Signer},
    process::Sidecar,
};

const BLOCKS: u64 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn the_head_follows_what_streams_tell() {
    let calls = follow("off").await;
    assert_eq!(calls.get("headers"), None, "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proven_payload_costs_no_more_calls() {
    let calls = follow("payload").await;
    // One asks for the size of the committee, once.
    assert_eq!(calls.get("vid"), Some(&1), "{calls:?}");
}

/// Follows the streams from block to block, within the budget.
async fn follow(proofs: &str) -> BTreeMap<String, u64> {
    let chain = Chain::new(BLOCKS, 0, |number| number / 4);
    let fakes = Fakes::start(chain, 0, Signer::new(7)).await;
    fakes.post(Vec::new());
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = fakes.arguments();
    arguments.push("--verification-interval=1h".into());
    arguments.push(format!("--hotshot-proofs={proofs}"));
    let sidecar = Sidecar::start(folder.path(), &arguments, &[]);
    let both = || ["stream", "heads"].iter().all(|name| fakes.calls().contains_key(*name));
    let connected = async {
        while !both() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, connected).await.expect("it listens");
    for number in 1..=BLOCKS {
        if number % 2 == 0 {
            // HotShot is first, and the node tells when it has the block.
            fakes.post(vec![fakes.signed(number)]);
            fakes.reach(number);
        } else {
            fakes.reach(number);
            fakes.post(vec![fakes.signed(number)]);
        }
        let reached = tokio::time::timeout(PATIENCE, sidecar.head_reaches(number));
        reached.await.expect("the head advances");
    }
    let metrics = sidecar.get("/metrics").body;
    let told = metrics.lines().filter(|line| line.starts_with("espresso_verifier_wakeups_total"));
    let told: Vec<_> = told.filter(|line| !line.ends_with(" 0")).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    let calls = fakes.calls();
    let of = |names: &[&str]| names.iter().filter_map(|name| calls.get(*name)).sum::<u64>();
    // And what a start costs. How often the height is asked for depends on time, too.
    let of_blocks = of(&["headers", "range", "vid", "limits"]);
    assert!(of_blocks <= 2 * (BLOCKS + 3), "{calls:?}");
    assert!(of_blocks + of(&["height"]) <= 3 * (BLOCKS + 3), "{calls:?}");
    calls
}
