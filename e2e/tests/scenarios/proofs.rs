//! Scenario 20: query services that lie where their answers are proven.

use std::sync::Arc;

use finality_e2e::{
    batch::Shape,
    batcher::namespace,
    block::Block,
    devnet::Devnet,
    emulated::Emulated,
    hotshot::{Encoding, Fault, Lie, Proven, Transaction},
    l1::FINALITY_DEPTH,
    signer::Signer,
    wait::{PATIENCE, until},
};

/// What lies about the payload of a block are refused for.
const ABOUT_PAYLOADS: [(Lie, &str); 11] = [
    (Lie::TransactionDropped, "length"),
    (Lie::TransactionAdded, "length"),
    (Lie::TransactionsReordered, "commitment"),
    (Lie::TransactionAltered, "commitment"),
    (Lie::NamespaceAbsent, "presence"),
    (Lie::ProofOfAnotherNamespace, "path"),
    (Lie::ProofOfAnotherHeight, "length"),
    (Lie::ProofOfAnotherVersion, "path"),
    (Lie::Threshold, "length"),
    (Lie::WronglyEncoded, "wrong_encoding"),
    (Lie::WronglyEncodedAtMoreWeight, "committee_size"),
];

async fn proving(services: usize) -> Devnet<Emulated> {
    with(services, "payload").await
}

pub(crate) async fn with(services: usize, proofs: &str) -> Devnet<Emulated> {
    let devnet = Devnet::emulated().services(services).sidecar("--hotshot-proofs", proofs);
    devnet.start().await
}

/// HotShot goes on, L1 shows all blocks but that last one, and the sidecar reads that in two final
/// blocks.
pub(crate) async fn show_on_l1(net: &Devnet<Emulated>) {
    net.mine_hotshot(1).await;
    for _ in 0..2 {
        let shown = net.l1.latest().await.number + 1;
        until("the light client to be read", PATIENCE, async || {
            net.mine_l1(1).await;
            net.sidecar.full_round().await;
            let status = net.sidecar.status().await;
            (status["proofs"]["read_at"]["number"].as_u64() >= Some(shown)).then_some(())
        })
        .await;
    }
}

/// From now on these services show a chain that has a batch for the next block, which HotShot does
/// not have. Returns that block.
pub(crate) async fn forge(net: &Devnet<Emulated>, services: usize) -> Vec<Arc<Block>> {
    net.hotshot.forge();
    let all = std::iter::once(&*net.hotshot).chain(&net.services);
    all.take(services).for_each(|it| it.set_fault(Some(Fault::Lie(Lie::ForgedChain))));
    net.mine_l1(FINALITY_DEPTH + 1).await;
    let blocks = net.build(1).await;
    let payload = Signer::batcher().sign(&blocks[0].batch.body(Shape::FourFields));
    net.hotshot.submit_forged(Transaction {
        namespace: namespace(),
        payload,
        confirms: Vec::new(),
    });
    net.mine_hotshot(2).await;
    blocks
}

pub(crate) fn be_honest(net: &Devnet<Emulated>) {
    std::iter::once(&*net.hotshot).chain(&net.services).for_each(|it| it.set_fault(None));
}

/// How often an answer of the first service was refused for that reason.
async fn refused(net: &Devnet<Emulated>, reason: &str) -> f64 {
    let series =
        format!("espresso_query_service_bad_answers_total{{service=\"1\",reason=\"{reason}\"}}");
    net.sidecar.metric(&series).await.unwrap_or_default()
}

async fn refused_for(net: &Devnet<Emulated>, lie: Lie, reason: &str) {
    until(&format!("{lie:?} to be refused for its {reason}"), PATIENCE, async || {
        (refused(net, reason).await > 0.0).then_some(())
    })
    .await;
}

/// A process that knows neither a committee nor who has lied.
async fn restart(net: &Devnet<Emulated>) {
    net.sidecar.kill();
    net.sidecar.start().await;
    let head = net.height().await;
    net.report("the head of before", |report| report.number == head && report.status.is_usable())
        .await;
}

/// While the sidecar is stopped: two batches, and a header after them; with the lie about them from
/// its start on.
async fn lie_about_headers(net: &Devnet<Emulated>, lie: Lie) {
    net.sidecar.kill();
    post_two(net).await;
    net.mine_hotshot(1).await;
    net.hotshot.set_fault(Some(Fault::Lie(lie)));
    net.sidecar.start().await;
}

/// Two batches in one HotShot block that is also another rollup's, so that every lie is one.
async fn post_two(net: &Devnet<Emulated>) {
    while net.hotshot.height() % 2 == 1 {
        net.mine_hotshot(1).await;
    }
    net.mine_l1(2).await;
    let blocks = net.build(2).await;
    net.batcher.post(&blocks);
    net.mine_hotshot(1).await;
}

/// Whether the HotShot block of that height has no rollup but ours.
fn is_alone(height: u64) -> bool {
    [1, 5].contains(&(height % 6))
}

/// The only service lies about payloads: the head waits, with the reason, until it tells the
/// truth.
#[tokio::test(flavor = "multi_thread")]
async fn s20_a_lie_about_a_payload_alone_stops_the_head() {
    let net = proving(1).await;
    let watch = net.watch();
    for (lie, reason) in ABOUT_PAYLOADS {
        restart(&net).await;
        let head = net.height().await;
        net.hotshot.set_fault(Some(Fault::Lie(lie)));
        post_two(&net).await;
        refused_for(&net, lie, reason).await;
        net.sidecar.reason("answer_disproven").await;
        net.head_stays_at(head).await;
        net.hotshot.set_fault(None);
        net.head_reaches(head + 2).await;
    }
    net.assert_tagged_equals_direct().await;
    watch.finish().await;
}

/// Beside an honest service, each such lie is counted, and the head goes on.
#[tokio::test(flavor = "multi_thread")]
async fn s20_a_lie_about_a_payload_beside_an_honest_service_is_counted() {
    let net = proving(2).await;
    let watch = net.watch();
    for (lie, reason) in ABOUT_PAYLOADS {
        restart(&net).await;
        net.hotshot.set_fault(Some(Fault::Lie(lie)));
        // The honest one's payloads come when the liar has been heard: from them, the sidecar would
        // know the committee, and refuse a claim of more weight for less.
        net.services[0].set_fault(Some(Fault::CutOff));
        post_two(&net).await;
        refused_for(&net, lie, reason).await;
        net.services[0].set_fault(None);
        net.head_reaches(net.height().await).await;
        net.hotshot.set_fault(None);
    }
    net.assert_tagged_equals_direct().await;
    watch.finish().await;
}

/// A weight that fits no proof: alone the service stops the head, beside another one it does not.
#[tokio::test(flavor = "multi_thread")]
async fn s20_a_wrong_weight() {
    let net = proving(1).await;
    let watch = net.watch();
    restart(&net).await;
    let head = net.height().await;
    net.sidecar.kill();
    net.hotshot.set_fault(Some(Fault::Lie(Lie::Weight)));
    net.sidecar.start().await;
    post_two(&net).await;
    refused_for(&net, Lie::Weight, "commitment").await;
    net.head_stays_at(head).await;
    net.hotshot.set_fault(None);
    net.head_reaches(head + 2).await;
    // What a committee was stays known.
    net.hotshot.set_fault(Some(Fault::Lie(Lie::Weight)));
    post_two(&net).await;
    net.head_reaches(head + 4).await;
    watch.finish().await;
}

/// Headers that are not those asked for, and a version that nobody knows: alone they stop the
/// head, against a majority they are counted.
#[tokio::test(flavor = "multi_thread")]
async fn s20_a_lie_about_headers() {
    let lies = |height| {
        [
            (Lie::HeaderSkipped(height), "header"),
            (Lie::HeadersSwapped(height), "header"),
            (Lie::UnknownVersion(height), "unsupported_version"),
        ]
    };
    let net = proving(1).await;
    for place in 0..lies(0).len() {
        restart(&net).await;
        let head = net.height().await;
        let (lie, reason) = lies(net.hotshot.height())[place];
        lie_about_headers(&net, lie).await;
        refused_for(&net, lie, reason).await;
        net.head_stays_at(head).await;
        net.hotshot.set_fault(None);
        net.head_reaches(head + 2).await;
    }
    let net = proving(3).await;
    let altered = |height| (Lie::HeaderAltered(height), "header");
    for place in 0..=lies(0).len() {
        restart(&net).await;
        // Two of three are asked at first, so the liar is one of them sooner or later.
        until("a lie about headers to be refused", PATIENCE, async || {
            let height = net.hotshot.height();
            let (lie, reason) = lies(height).get(place).copied().unwrap_or_else(|| altered(height));
            net.hotshot.set_fault(Some(Fault::Lie(lie)));
            post_two(&net).await;
            net.mine_hotshot(1).await;
            net.head_reaches(net.height().await).await;
            (refused(&net, reason).await > 0.0).then_some(())
        })
        .await;
        net.hotshot.set_fault(None);
    }
    net.assert_tagged_equals_direct().await;
}

/// One of three services shows a chain of its own, with a batch that HotShot does not have.
#[tokio::test(flavor = "multi_thread")]
async fn s20_a_forged_chain_against_a_majority() {
    let net = proving(3).await;
    let watch = net.watch();
    let head = net.head_reaches(net.height().await).await;
    net.hotshot.forge();
    net.hotshot.set_fault(Some(Fault::Lie(Lie::ForgedChain)));
    net.mine_l1(1).await;
    let blocks = net.build(1).await;
    let payload = Signer::batcher().sign(&blocks[0].batch.body(Shape::FourFields));
    let transaction = Transaction { namespace: namespace(), payload, confirms: Vec::new() };
    net.hotshot.submit_forged(transaction);
    until("the forged headers to be refused", PATIENCE, async || {
        net.mine_hotshot(1).await;
        (refused(&net, "header").await > 0.0).then_some(())
    })
    .await;
    net.head_stays_at(head).await;
    net.batcher.post(&blocks);
    net.mine_hotshot(1).await;
    net.head_reaches(head + 1).await;
    net.assert_tagged_equals_direct().await;
    watch.finish().await;
}

/// A proposer encodes our namespace wrongly: it is empty, which the service proves on one of three
/// routes, and the batch is confirmed once it is posted again.
#[tokio::test(flavor = "multi_thread")]
async fn s20_a_wrongly_encoded_block_is_empty() {
    let net = proving(1).await;
    let watch = net.watch();
    for (proven, encoding, with_another) in [
        (Proven::Apart, Encoding::AlteredParity, true),
        (Proven::ApartByNamespace, Encoding::WrongPadding, true),
        (Proven::Inline, Encoding::UnevenShards, false),
    ] {
        let head = net.height().await;
        net.hotshot.set_proven(proven);
        // Alone in its block, it needs ordinary proofs before and after.
        while is_alone(net.hotshot.height()) == with_another {
            net.mine_hotshot(1).await;
        }
        net.mine_l1(1).await;
        let batch = net.build(1).await.remove(0).batch.clone();
        net.hotshot.encode_next(namespace(), encoding);
        net.batcher.post_batch(&batch, Shape::FourFields);
        net.mine_hotshot(3).await;
        net.all_is_read().await;
        net.sidecar.reason("awaiting_batch").await;
        net.head_stays_at(head).await;
        net.batcher.post_batch(&batch, Shape::FourFields);
        net.mine_hotshot(1).await;
        net.head_reaches(head + 1).await;
    }

    // A service that has no proof of it: the head waits, since the block may have a batch.
    let head = net.height().await;
    net.hotshot.set_proven(Proven::Nowhere);
    net.hotshot.encode_next(namespace(), Encoding::ExcessPadding);
    post_two(&net).await;
    refused_for(&net, Lie::NamespaceAbsent, "presence").await;
    net.produce(1).await;
    net.head_stays_at(head).await;
    net.hotshot.set_proven(Proven::Apart);
    net.sidecar.reason("awaiting_batch").await;
    net.head_stays_at(head).await;
    watch.finish().await;
}

/// The first block of a larger committee, alone in it, is called wrongly encoded for one that is
/// larger still: no ordinary proof near it bears that out.
#[tokio::test(flavor = "multi_thread")]
async fn s20_a_false_claim_in_the_first_block_of_a_committee() {
    let net = proving(1).await;
    let watch = net.watch();
    net.head_reaches(net.height().await).await;
    let head = net.height().await;
    while !is_alone(net.hotshot.height()) {
        net.mine_hotshot(1).await;
    }
    net.mine_l1(1).await;
    let blocks = net.build(1).await;
    net.batcher.post(&blocks);
    net.hotshot.set_weight(13);
    let lie = Lie::WronglyEncodedAtMoreWeight;
    net.hotshot.set_fault(Some(Fault::Lie(lie)));
    net.mine_hotshot(3).await;
    refused_for(&net, lie, "committee_size").await;
    net.head_stays_at(head).await;
    net.hotshot.set_fault(None);
    net.head_reaches(head + 1).await;
    watch.finish().await;
}

/// The committee gets another weight, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn s20_another_committee() {
    let net = proving(2).await;
    let watch = net.watch();
    for weight in [11, 100, 1_000, 10] {
        net.hotshot.set_weight(weight);
        net.produce(2).await;
        net.head_reaches(net.height().await).await;
    }
    net.assert_tagged_equals_direct().await;
    watch.finish().await;
}

/// HotShot goes from one way of dispersal to the other.
#[tokio::test(flavor = "multi_thread")]
async fn s20_an_upgrade_to_another_dispersal() {
    let net = Devnet::emulated().hotshot_version(5).start().await;
    let watch = net.watch();
    net.produce(3).await;
    net.head_reaches(net.height().await).await;
    net.hotshot.set_version(6);
    net.produce(3).await;
    net.head_reaches(net.height().await).await;
    net.assert_tagged_equals_direct().await;
    watch.finish().await;
}

/// All services forge the same headers: tags are refused once L1 shows the truth, and served again
/// when HotShot has the batch after all.
#[tokio::test(flavor = "multi_thread")]
async fn s20_headers_that_all_forge_end_in_unproven() {
    let net = with(2, "payload").await;
    net.produce(1).await;
    let head = net.head_reaches(net.height().await).await;
    let blocks = forge(&net, 2).await;
    net.head_reaches(head + 1).await;
    show_on_l1(&net).await;
    net.tagged_is_refused("unproven").await;
    net.sidecar.reason("unproven").await;
    be_honest(&net);
    net.batcher.post(&blocks);
    net.mine_hotshot(1).await;
    show_on_l1(&net).await;
    net.head_reaches(head + 1).await;
    net.produce(1).await;
    net.head_reaches(head + 2).await;
    net.assert_tagged_equals_direct().await;
}

/// The same, and the liars turn honest while the sidecar is down.
#[tokio::test(flavor = "multi_thread")]
async fn s20_liars_that_turn_honest_after_a_kill() {
    let net = with(2, "payload").await;
    net.produce(1).await;
    let head = net.head_reaches(net.height().await).await;
    forge(&net, 2).await;
    net.head_reaches(head + 1).await;
    net.sidecar.kill();
    be_honest(&net);
    net.sidecar.start().await;
    show_on_l1(&net).await;
    net.tagged_is_refused("unproven").await;
}

/// With `root`, forged headers move nothing, whether all services forge or two of three.
#[tokio::test(flavor = "multi_thread")]
async fn s20_forged_headers_under_the_root() {
    for (services, liars) in [(2, 2), (3, 2)] {
        let net = with(services, "root").await;
        let watch = net.watch();
        net.produce(1).await;
        show_on_l1(&net).await;
        let head = net.head_reaches(net.height().await).await;
        let blocks = forge(&net, liars).await;
        show_on_l1(&net).await;
        net.head_stays_at(head).await;
        if liars == services {
            be_honest(&net);
        }
        net.batcher.post(&blocks);
        net.mine_hotshot(1).await;
        show_on_l1(&net).await;
        net.head_reaches(head + 1).await;
        net.assert_tagged_equals_direct().await;
        watch.finish().await;
    }
}

/// The light client is false for one L1 block: nothing is confirmed meanwhile, and no tag refused.
#[tokio::test(flavor = "multi_thread")]
async fn s20_a_light_client_that_is_false_for_one_reading() {
    for proofs in ["payload", "root"] {
        let net = with(1, proofs).await;
        let watch = net.watch();
        net.produce(2).await;
        show_on_l1(&net).await;
        let head = net.head_reaches(net.height().await).await;
        net.mine_hotshot(2).await;
        net.mine_l1_with_a_false_root().await;
        net.mine_l1(FINALITY_DEPTH).await;
        net.sidecar.reason("checkpoint_contradicts").await;
        net.produce(1).await;
        show_on_l1(&net).await;
        net.head_reaches(head + 1).await;
        net.assert_tagged_equals_direct().await;
        watch.finish().await;
    }
}

/// With `root`, the head waits for a light client that stands still, over kills, and catches up
/// from far behind.
#[tokio::test(flavor = "multi_thread")]
async fn s20_a_light_client_that_stands_still() {
    let net = with(2, "root").await;
    let watch = net.watch();
    net.produce(1).await;
    show_on_l1(&net).await;
    let head = net.head_reaches(net.height().await).await;
    for _ in 0..3 {
        net.l1.mine(1).await;
        net.batcher.post(&net.build(1).await);
        net.mine_hotshot(500).await;
        net.sidecar.kill();
        net.sidecar.start().await;
        net.sidecar.reason("awaiting_checkpoint").await;
        net.head_stays_at(head).await;
    }
    show_on_l1(&net).await;
    net.head_reaches(head + 3).await;
    net.assert_tagged_equals_direct().await;
    watch.finish().await;
}
