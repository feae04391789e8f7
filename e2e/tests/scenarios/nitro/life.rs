//! What happens to a Nitro chain's operator: restarts, stalls, strangers, keys that change.

use std::collections::BTreeSet;

use alloy_primitives::Address;
use finality_core::head::Status;
use finality_e2e::{
    devnet::Devnet,
    nitro::{contracts, payloads},
    signer::Signer,
    wait::{PATIENCE, until},
};
use serde_json::{Value, json};

use super::{MODES, Way, posted, turn};
use crate::{kill::killed_again_and_again, stall::finalized_overtakes_while_hotshot_stalls};

#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_killed_again_and_again() {
    let net = Devnet::nitro().start().await;
    for mode in MODES {
        turn(&net, mode).await;
        killed_again_and_again(&net).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_finalized_overtakes_while_hotshot_stalls() {
    finalized_overtakes_while_hotshot_stalls(&Devnet::nitro().start().await).await;
}

/// Code and setting of what `check` finds to be wrong.
fn problems(report: &Value) -> BTreeSet<(String, String)> {
    let problems = report["problems"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    problems.iter().map(|problem| (text(&problem["code"]), text(&problem["setting"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_check_says_what_is_wrong() {
    let net = Devnet::nitro().start().await;
    net.head_reaches(net.height().await).await;
    let report = net.sidecar.check(&[]).await;
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["endpoints"][0]["genesis_block"], net.rollup.rules().genesis);
    assert_eq!(report["parent"]["bridge"], json!(contracts::BRIDGE));
    assert!(report["parent"]["batches"].as_u64() > Some(0), "{report}");
    assert!(report["parent"]["chain_id"].is_u64(), "{report}");
    assert_eq!(report["namespace"]["signers"], json!([Signer::batcher().address()]));
    assert!(
        report["namespace"]["last_batch"]["number"].as_u64() >= Some(net.rollup.rules().genesis)
    );

    let nobody = Address::repeat_byte(0x77).to_string();
    let nowhere = "http://127.0.0.1:1".to_owned();
    for (flag, value, found) in [
        ("--bridge-address", nobody.clone(), ("no_bridge", "bridge_address")),
        ("--bridge-address", nobody.clone(), ("other_bridge", "bridge_address")),
        (
            "--sequencer-inbox-address",
            nobody.clone(),
            ("no_sequencer_inbox", "sequencer_inbox_address"),
        ),
        ("--batcher-addresses", nobody, ("no_batch", "namespace")),
        ("--genesis-block", "77".into(), ("config_mismatch", "")),
        ("--parent-rpc", nowhere, ("connection", "parent_rpc")),
    ] {
        let report = net.sidecar.check(&[(flag, value)]).await;
        let found = (found.0.to_owned(), found.1.to_owned());
        assert!(problems(&report).contains(&found), "{found:?}: {report}");
    }
    net.rollup.node.set_node_interface(false);
    let report = net.sidecar.check(&[]).await;
    let found = ("no_node_interface".to_owned(), "node_execution_rpc".to_owned());
    assert!(problems(&report).contains(&found), "{report}");
}

/// A `finalized` that the parent chain does not confirm is not admitted.
#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_finalized_needs_the_parent_chain() {
    let net = Devnet::nitro().start().await;
    let watch = net.watch();
    let head = net.head_reaches(net.height().await).await;
    net.mine_l1(4).await;
    net.build(4).await;
    let node = &net.rollup.node;

    // In no batch, and in one that is not final.
    node.set_finalized(head + 2);
    net.head_stays_at(head).await;
    net.rollup.post_batch(head + 2).await;
    net.mine_l1(1).await;
    net.head_stays_at(head).await;
    // The node cannot say in which batch it is.
    node.set_node_interface(false);
    net.mine_l1(6).await;
    until("the reason", PATIENCE, async || {
        let status = net.sidecar.status().await;
        status["node"]["finalized_refused"].as_str()?.contains("NodeInterface").then_some(())
    })
    .await;
    net.head_stays_at(head).await;
    node.is_final(head + 2);
    node.set_node_interface(true);
    net.head_reaches(head + 2).await;
    watch.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_strangers_and_garbage() {
    let net = Devnet::nitro().start().await;
    for mode in MODES {
        turn(&net, mode).await;
        let watch = net.watch();
        let head = net.head_reaches(net.height().await).await;
        net.mine_l1(1).await;
        let blocks = net.build(1).await;
        let message = blocks[0].message().clone();
        for signer in [Signer::unauthorized(), Signer::caller()] {
            net.batcher.post_bytes(payloads::v0(&signer, std::slice::from_ref(&message)));
            let feed = finality_e2e::nitro::feed::FeedMessage::of(&blocks[0]);
            let chain_id = net.rollup.rules().chain_id;
            let own = feed.clone().sign(&signer, chain_id).sign_v2(&signer, chain_id);
            let of_another_chain = feed.sign_v2(&Signer::batcher(), chain_id + 1);
            net.batcher.post_feed(&[own]);
            net.batcher.post_feed(&[of_another_chain]);
        }
        for garbage in [vec![], vec![0; 7], vec![0; 4096], b"\0\0\0\0\0\0\0\x04\"V1\"{}".to_vec()] {
            net.batcher.post_bytes(garbage);
        }
        let entry = payloads::entry(message.position, b"no message at all");
        net.batcher.post_bytes(payloads::sealed(&Signer::batcher(), &entry));
        net.mine_hotshot(1).await;
        net.all_is_read().await;
        net.head_stays_at(head).await;
        net.batcher.post(&blocks);
        net.mine_hotshot(1).await;
        net.head_reaches(head + 1).await;
        watch.finish().await;
    }
}

/// A key counts over a range of L1's final blocks, as HotShot knew them.
async fn keys_have_ranges((posting, require): Way) {
    let (first, second) = (Signer::batcher(), Signer::successor());
    let change = 40;
    let keys = format!("{}@..{change},{}@{change}..", first.address(), second.address());
    let net = posted(posting, require).sidecar("--batcher-addresses", &keys);
    let net = net.start().await;
    let watch = net.watch();
    assert!(net.l1.finalized().await.number < change - 4);
    net.produce(2).await;
    let head = net.head_reaches(net.height().await).await;

    // Too early.
    net.batcher.set_signer(second);
    net.produce(1).await;
    net.all_is_read().await;
    net.head_stays_at(head).await;
    net.sidecar.reason("awaiting_batch").await;
    net.batcher.set_signer(first);
    let chain = net.rollup.sequencer.chain();
    net.batcher.post(&chain[chain.len() - 1..]);
    net.mine_hotshot(1).await;
    net.head_reaches(head + 1).await;

    while net.l1.finalized().await.number < change {
        net.mine_l1(1).await;
    }
    net.mine_hotshot(1).await;
    // Too late.
    net.produce(1).await;
    net.all_is_read().await;
    net.head_stays_at(head + 1).await;
    net.sidecar.reason("awaiting_batch").await;
    net.batcher.set_signer(second);
    let chain = net.rollup.sequencer.chain();
    net.batcher.post(&chain[chain.len() - 1..]);
    net.produce(2).await;
    net.head_reaches(head + 4).await;
    watch.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_key_ranges_of_hashes() {
    keys_have_ranges(MODES[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_key_ranges_of_inputs() {
    keys_have_ranges(MODES[1]).await;
}

/// The node leaves the confirmed chain, and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn s22_nitro_node_diverges_and_heals() {
    let net = Devnet::nitro().start().await;
    let watch = net.watch();
    net.produce(2).await;
    let head = net.head_reaches(net.height().await).await;
    let chain = net.rollup.sequencer.chain();
    watch.node_may_differ(true);
    net.rollup.sequencer.fork_above(head - 2);
    net.rollup.sequencer.produce(4).await;
    net.rollup.follow_sequencer();
    net.report("status diverged", |report| report.status == Status::Diverged).await;
    net.tagged_is_refused("diverged").await;
    net.rollup.sequencer.follow(&chain);
    net.rollup.follow_sequencer();
    net.report("status ok", |report| report.status == Status::Ok).await;
    until("tagged requests to be answered", PATIENCE, async || net.head().await).await;
    watch.node_may_differ(false);
    net.produce(2).await;
    net.head_reaches(head + 2).await;
    watch.finish().await;
}
