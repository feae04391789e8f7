//! Scenario 7: HotShot stalls, lies or fails, then resumes; the node's `finalized` overtakes.

use finality_core::head::{Mode, Source, Status};
use finality_e2e::{
    devnet::Devnet,
    emulated::{Emulated, op_node},
    hotshot::Fault,
    l1::FINALITY_DEPTH,
    rollup::{Poster, Rollup},
    wait::{PATIENCE, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn s07_finalized_overtakes_while_hotshot_stalls() {
    finalized_overtakes_while_hotshot_stalls(&Devnet::emulated().start().await).await;
}

pub(crate) async fn finalized_overtakes_while_hotshot_stalls(net: &Devnet<impl Rollup>) {
    let watch = net.watch();
    net.produce(2).await;
    let head = net.head_reaches(net.height().await).await;

    // L2 continues, HotShot does not.
    net.mine_l1(6).await;
    let blocks = net.build(6).await;
    net.batcher.post(&blocks);
    net.head_stays_at(head).await;

    net.finalize(head + 3).await;
    net.head_reaches(head + 3).await;
    let report = net.sidecar.head().await.unwrap();
    assert_eq!((report.number, report.source), (head + 3, Source::Ethereum));
    assert_eq!((report.mode, report.status), (Mode::Espresso, Status::Ok));
    net.assert_tagged_equals_direct().await;
    net.head_stays_at(head + 3).await;

    // HotShot resumes: what it confirms below the head changes nothing, the rest advances it.
    net.mine_hotshot(1).await;
    net.head_reaches(head + 6).await;
    net.report("source espresso", |report| report.source == Source::Espresso).await;
    net.produce(2).await;
    net.head_reaches(head + 8).await;
    watch.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s07_what_services_forgot_is_skipped_when_ethereum_has_overtaken() {
    let net = Devnet::emulated().start().await;
    let watch = net.watch();
    net.produce(2).await;
    let head = net.head_reaches(net.height().await).await;

    // The services forget batches before they are read.
    net.hotshot.set_fault(Some(Fault::Status(503)));
    net.produce(3).await;
    net.mine_hotshot(30).await;
    net.hotshot.prune(15);
    net.hotshot.set_fault(None);
    net.sidecar.reason("position_unavailable").await;
    net.head_stays_at(head).await;

    // Ethereum finalizes blocks on L1 blocks at which the light client knew a later height.
    net.produce(FINALITY_DEPTH + 3).await;
    let finalized = net.height().await;
    net.rollup.op_node.set_finalized(finalized);
    net.head_reaches(finalized).await;
    net.produce(2).await;
    net.head_reaches(finalized + 2).await;
    net.report("source espresso", |report| report.source == Source::Espresso).await;

    // A service whose storage was lost.
    net.hotshot.reset();
    net.sidecar.reason("position_unavailable").await;
    watch.finish().await;
}

/// Waits until what is finalized was read, from now on.
async fn finality_is_read(net: &Devnet<Emulated>) {
    let asked = net.rollup.op_node.sync_status_requests();
    until("the sync status to be asked for twice", PATIENCE, async || {
        (net.rollup.op_node.sync_status_requests() >= asked + 2).then_some(())
    })
    .await;
}

/// A `finalized` that op-node, L1 or the node itself does not confirm is not admitted.
#[tokio::test(flavor = "multi_thread")]
async fn s07_finalized_needs_admission() {
    let net = Devnet::emulated().start().await;
    let watch = net.watch();
    let head = net.head_reaches(net.height().await).await;
    net.mine_l1(4).await;
    net.build(4).await;

    // op-node reports less than the execution RPC.
    net.rollup.op_node.set_consensus_finalized(Some(head));
    net.rollup.op_node.set_finalized(head + 2);
    finality_is_read(&net).await;
    net.head_stays_at(head).await;
    // op-node is starting, failing, silent.
    net.rollup.op_node.set_finalized(head);
    net.rollup.op_node.set_consensus_finalized(None);
    for fault in [op_node::Fault::NotReady, op_node::Fault::Status(500), op_node::Fault::Garbage] {
        net.rollup.op_node.set_consensus_fault(Some(fault));
        net.rollup.op_node.set_finalized(head + 3);
        finality_is_read(&net).await;
        // Lowered before the fault ends: a reading that goes down is ignored anyway.
        net.rollup.op_node.set_finalized(head);
        net.rollup.op_node.set_consensus_fault(None);
        net.head_stays_at(head).await;
    }
    net.rollup.op_node.forget_finalized();
    finality_is_read(&net).await;
    net.head_stays_at(head).await;
    net.rollup.op_node.set_finalized(head + 4);
    net.head_reaches(head + 4).await;
    net.rollup.op_node.set_finalized(head);
    finality_is_read(&net).await;
    net.head_stays_at(head + 4).await;
    watch.finish().await;
}

/// The node's own RPCs fail: nothing is lost, and tags keep their number.
#[tokio::test(flavor = "multi_thread")]
async fn s07_node_fails() {
    let net = Devnet::emulated().start().await;
    let watch = net.watch();
    for (execution, consensus) in [
        (Some(op_node::Fault::Status(500)), None),
        (Some(op_node::Fault::Garbage), None),
        (Some(op_node::Fault::Page(404)), None),
        (Some(op_node::Fault::Huge), Some(op_node::Fault::Nested)),
        (Some(op_node::Fault::Nested), Some(op_node::Fault::Huge)),
        (None, Some(op_node::Fault::Hang)),
        (Some(op_node::Fault::Status(502)), Some(op_node::Fault::NotReady)),
    ] {
        let head = net.head_reaches(net.height().await).await;
        net.rollup.op_node.set_execution_fault(execution);
        net.rollup.op_node.set_consensus_fault(consensus);
        net.produce(2).await;
        net.sidecar.full_round().await;
        let report = net.sidecar.head().await.unwrap();
        assert!(report.number >= head);
        net.rollup.op_node.set_execution_fault(None);
        net.rollup.op_node.set_consensus_fault(None);
        net.head_reaches(head + 2).await;
    }
    net.assert_tagged_equals_direct().await;
    watch.finish().await;
}

/// What lists of transactions are worth, which nothing proves.
const LISTS: [Fault; 2] = [Fault::WrongNamespace, Fault::GarbageBase64];

async fn query_service_fails_in_every_way(net: &Devnet<impl Rollup>, believes_lists: bool) {
    let watch = net.watch();
    let faults = [
        ("height", Fault::Status(500)),
        ("height", Fault::TooManyRequests(1)),
        ("height", Fault::Height(0)),
        ("height", Fault::Height(1)),
        ("height", Fault::Height(u64::MAX)),
        ("height", Fault::PayloadsLate(2)),
        ("namespace", Fault::ShortArray),
        ("namespace", Fault::LongArray),
        ("namespace", Fault::EmptyArray),
        ("namespace", Fault::WrongNamespace),
        ("namespace", Fault::GarbageBase64),
        ("namespace", Fault::NotJson),
        ("namespace", Fault::CutOff),
        ("height", Fault::Page(404)),
        ("height", Fault::Page(401)),
        ("height", Fault::Huge),
        ("height", Fault::Nested),
        ("height", Fault::Hang),
    ];
    for (route, fault) in faults {
        let head = net.head_reaches(net.height().await).await;
        net.hotshot.set_fault(Some(fault));
        if !believes_lists && LISTS.contains(&fault) {
            net.produce(1).await;
            net.head_reaches(head + 1).await;
            continue;
        }
        net.produce(1).await;
        let asked = net.hotshot.requests(route);
        until(&format!("two requests under {fault:?}"), PATIENCE, async || {
            (net.hotshot.requests(route) >= asked + 2).then_some(())
        })
        .await;
        // A height that is too high hides nothing: the verifier finds out how far it can read.
        if fault != Fault::Height(u64::MAX) {
            assert_eq!(net.head().await, Some(head), "{fault:?}");
        }
        net.hotshot.set_fault(None);
        // Nothing was lost.
        net.head_reaches(head + 1).await;
    }
    net.assert_tagged_equals_direct().await;
    watch.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s07_query_service_fails_in_every_way() {
    query_service_fails_in_every_way(&Devnet::emulated().start().await, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s07_query_service_that_is_believed_fails_in_every_way() {
    let net = Devnet::emulated().sidecar("--hotshot-proofs", "off").start().await;
    query_service_fails_in_every_way(&net, true).await;
}

mod real {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn s07_real_query_service_fails_in_every_way() {
        query_service_fails_in_every_way(&Devnet::real().start().await, false).await;
    }

    /// op-batcher goes on while HotShot stalls: Ethereum's finality takes the head over, which
    /// HotShot then passes again.
    #[tokio::test(flavor = "multi_thread")]
    async fn s07_real_finalized_overtakes_while_hotshot_stalls() {
        let net = Devnet::real().start().await;
        let watch = net.watch();
        net.produce(2).await;
        let head = net.head_reaches(net.height().await).await;
        let blocks = net.build(3).await;
        net.batcher.post(&blocks);
        net.finalize(head + 3).await;
        net.report("source ethereum", |report| report.source == Source::Ethereum).await;
        let head = net.head_reaches(head + 3).await;
        net.assert_tagged_equals_direct().await;
        net.catch_up().await;
        net.produce(2).await;
        net.head_reaches(net.height().await.max(head + 1)).await;
        net.report("source espresso", |report| report.source == Source::Espresso).await;
        watch.finish().await;
    }
}
