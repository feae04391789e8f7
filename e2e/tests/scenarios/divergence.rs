//! Scenario 9: the node leaves the chain below the head.

use axum::Router;
use finality_core::head::{Source, Status};
use finality_e2e::{
    block::Chain,
    devnet::Devnet,
    emulated::op_node,
    invariants::Watch,
    ports::Server,
    process,
    sidecar::{Settings, Sidecar},
    wait::{PATIENCE, until},
};

/// How far below the head the node's fork starts.
const DEPTH: u64 = 2;

/// Confirms some blocks, then makes the node follow a fork that starts below the head and ends
/// above it.
async fn diverge(net: &Devnet, watch: &Watch) -> (u64, Chain) {
    net.produce(4).await;
    let head = net.head_reaches(net.height().await).await;
    let honest = net.rollup.sequencer.chain().await;
    net.rollup.sequencer.fork_above(head - DEPTH).await;
    net.rollup.sequencer.produce(DEPTH + 1).await;
    watch.node_may_differ(true);
    net.rollup.follow_sequencer().await;
    net.tagged_is_refused("diverged").await;
    let report = net.report("status diverged", |report| report.status == Status::Diverged).await;
    assert_eq!(report.number, head);
    net.head_stays_at(head).await;
    (head, honest)
}

#[tokio::test(flavor = "multi_thread")]
async fn s09_divergence_healed_by_the_node() {
    let net = Devnet::emulated().start().await;
    let watch = net.watch();
    let (head, honest) = diverge(&net, &watch).await;
    net.rollup.node.follow(&honest).await;
    net.head_reaches(head).await;
    net.report("status ok", |report| report.status == Status::Ok).await;
    watch.node_may_differ(false);
    net.assert_tagged_equals_direct().await;

    net.rollup.sequencer.follow(&honest).await;
    net.produce(2).await;
    net.head_reaches(head + 2).await;
    let seen = watch.finish().await;
    assert!(seen.refused > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn s09_divergence_decided_by_ethereum() {
    let net = Devnet::emulated().start().await;
    let watch = net.watch();
    let (head, honest) = diverge(&net, &watch).await;
    // A finalized block below the head decides nothing.
    net.rollup.op_node.set_finalized(head - 1);
    net.head_stays_at(head).await;
    net.tagged_is_refused("diverged").await;

    net.rollup.op_node.set_finalized(head + 1);
    net.head_reaches(head + 1).await;
    watch.node_may_differ(false);
    let report = net.report("source ethereum", |report| report.source == Source::Ethereum).await;
    let fork = net.rollup.sequencer.chain().await;
    let tip = fork.last().unwrap();
    assert_eq!((report.number, report.status), (head + 1, Status::Ok));
    assert_eq!(report.hash, Some(tip.hash.to_string()));
    net.assert_tagged_equals_direct().await;
    let contradictions = net.sidecar.metric("espresso_verifier_contradictions_total").await;
    assert_eq!(contradictions, Some(1.0));
    let status = net.sidecar.status().await.to_string();
    let ours = honest.last().unwrap().hash.to_string();
    assert!(status.contains(&ours), "the confirmed hash: {status}");

    // Verification continues from there.
    net.produce(2).await;
    net.head_reaches(head + 3).await;
    net.report("source espresso", |report| report.source == Source::Espresso).await;
    watch.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s09_node_behind_the_head() {
    let net = Devnet::emulated().start().await;
    let watch = net.watch();
    net.produce(4).await;
    let head = net.head_reaches(net.height().await).await;
    let honest = net.rollup.sequencer.chain().await;

    // The operator wiped the node; it syncs from genesis again.
    watch.node_may_differ(true);
    net.rollup.node.wipe().await;
    net.tagged_is_refused("node_behind").await;
    net.rollup.node.follow(&honest[..honest.len() - 1]).await;
    net.head_stays_at(head).await;
    net.tagged_is_refused("node_behind").await;
    net.rollup.node.follow(&honest).await;
    net.head_reaches(head).await;
    net.report("status ok", |report| report.status == Status::Ok).await;
    watch.node_may_differ(false);
    net.produce(2).await;
    net.head_reaches(head + 2).await;
    watch.finish().await;
}

/// As op-geth after an unclean stop.
#[tokio::test(flavor = "multi_thread")]
async fn s09_blocks_above_the_node_s_latest() {
    let net = Devnet::emulated().start().await;
    let watch = net.watch();
    net.produce(4).await;
    let head = net.head_reaches(net.height().await).await;

    watch.node_may_differ(true);
    net.rollup.op_node.set_latest(Some(head - 2));
    net.tagged_is_refused("node_behind").await;
    net.produce(2).await;
    net.head_stays_at(head).await;
    // Also for a sidecar that starts.
    net.sidecar.kill();
    net.sidecar.start().await;
    net.tagged_is_refused("node_behind").await;
    net.rollup.op_node.set_latest(Some(head + 1));
    net.head_reaches(head + 1).await;
    net.head_stays_at(head + 1).await;
    net.rollup.op_node.set_latest(None);
    net.head_reaches(head + 2).await;
    watch.node_may_differ(false);
    net.assert_tagged_equals_direct().await;
    watch.finish().await;
}

/// Neither op-node nor L1 is needed to see that the node has left the head.
#[tokio::test(flavor = "multi_thread")]
async fn s09_a_restart_while_op_node_hangs() {
    let net = Devnet::emulated().start().await;
    let watch = net.watch();
    let (head, honest) = diverge(&net, &watch).await;
    net.sidecar.kill();
    net.rollup.op_node.set_consensus_fault(Some(op_node::Fault::Hang));
    net.rollup.op_node.set_execution_fault(Some(op_node::Fault::Status(503)));
    net.sidecar.start().await;
    let report = net.sidecar.head().await.expect("a stored head is shown from the start");
    assert_eq!((report.number, report.status), (head, Status::NodeUnchecked));
    assert_eq!(net.sidecar.get("/readyz").await.unwrap().status, 503);
    net.rollup.op_node.set_execution_fault(None);
    net.tagged_is_refused("diverged").await;
    net.rollup.node.follow(&honest).await;
    net.report("status ok", |report| report.status == Status::Ok).await;
    net.rollup.op_node.set_consensus_fault(None);
    watch.node_may_differ(false);
    net.rollup.sequencer.follow(&honest).await;
    net.produce(2).await;
    net.head_reaches(head + 2).await;
    watch.finish().await;
}

/// Of a sidecar's endpoints the first ones hang, and the last one leaves the head.
#[tokio::test(flavor = "multi_thread")]
async fn s09_another_endpoint_leaves_the_head_while_one_hangs() {
    let net = Devnet::emulated().start().await;
    net.produce(4).await;
    let head = net.head_reaches(net.height().await).await;
    let silent = Server::start(Router::new().fallback(std::future::pending::<()>)).await;
    let silent_url = silent.url();
    let own = net.sidecar.settings().clone();
    let last = net.rollup.sequencer.node().rpc().url();
    let settings = Settings {
        node_execution_rpc: format!("{silent_url},{},{last}", own.node_execution_rpc),
        node_consensus_rpc: own.node_consensus_rpc.map(|url| format!("{silent_url},{url}")),
        ..own
    };
    let folder = process::folder();
    let sidecar = Sidecar::new(settings, folder.path());
    sidecar.start().await;
    let reports = async |number: u64, status: Status| {
        until(&format!("{status} at {number}"), PATIENCE, async || {
            let report = sidecar.head().await?;
            ((report.number, report.status) == (number, status)).then_some(())
        })
        .await;
    };
    reports(head, Status::Ok).await;

    let honest = net.rollup.sequencer.chain().await;
    net.rollup.sequencer.fork_above(head - DEPTH).await;
    net.rollup.sequencer.produce(DEPTH + 1).await;
    reports(head, Status::Diverged).await;
    // The sidecar that has the node alone does not mind.
    net.report("status ok", |report| report.status == Status::Ok).await;
    net.rollup.sequencer.follow(&honest).await;
    reports(head, Status::Ok).await;
    net.produce(2).await;
    reports(head + 2, Status::Ok).await;
}
