//! Scenario 4: what unauthorized signers, and a faulty batcher, can post.

use alloy_primitives::{B256, Bytes};
use finality_core::head::Source;
use finality_e2e::{
    batch::{Batch, Shape, high_s_twin},
    batcher::{OpRollup, namespace},
    block::CHAIN_ID,
    devnet::Devnet,
    hotshot::Transaction,
    signer::Signer,
    wait::{PATIENCE, until},
};

/// The batch of the next block, built but not posted.
async fn next_batch(net: &Devnet<impl OpRollup>) -> Batch {
    net.mine_l1(1).await;
    let blocks = net.build(1).await;
    blocks[0].batch.clone()
}

fn with_extra_data(mut batch: Batch, data: &'static [u8]) -> Batch {
    batch.header.extra_data = Bytes::from_static(data);
    batch
}

async fn unauthorized_garbage_and_far_future(net: &Devnet<impl OpRollup>) {
    let watch = net.watch();
    for round in 0..4_u64 {
        let batch = next_batch(net).await;
        // Meaningless bytes, short and long, some with the start of a signature.
        for length in [0, 1, 63, 64, 65, 66, 200, 100_000] {
            let seed = length as u64 * 31 + round;
            net.batcher.post_bytes((0..length).map(|at| (at as u64 * seed % 251) as u8).collect());
        }
        // An unauthorized signer signs the right batch, another one, and ones with unknown origins.
        net.batcher.post_unauthorized(&batch);
        net.batcher.post_unauthorized(&with_extra_data(batch.clone(), b"stranger"));
        for origin in [0, 1_000, u64::MAX] {
            let mut odd = batch.clone();
            odd.content.epoch_number = origin;
            odd.content.epoch_hash = B256::repeat_byte(7);
            net.batcher.post_unauthorized(&odd);
        }
        // The batcher itself, far in the future or with numbers at their limits.
        for number in [CHAIN_ID, u64::MAX - 1, u64::MAX, 0] {
            let mut far = batch.clone();
            far.header.number = number;
            net.batcher.post_batch(&far, Shape::FourFields);
        }
        // A valid signature over something that is not a batch.
        net.batcher.post_bytes(Signer::batcher().sign(b"no batch at all"));
        // Another rollup.
        let payload = Signer::batcher().sign(&batch.body(Shape::FourFields));
        let other = Transaction { namespace: namespace() + 1, payload, confirms: Vec::new() };
        net.hotshot.submit(other);
        net.mine_hotshot(1).await;
        net.all_is_read().await;
        net.head_stays_at(batch.header.number - 1).await;

        net.batcher.post_batch(&batch, Shape::FourFields);
        net.mine_hotshot(1).await;
        assert_eq!(net.head_reaches(batch.header.number).await, batch.header.number);
    }
    net.assert_tagged_equals_direct().await;
    watch.finish().await;
}

/// Authorized batches that do not extend the head do no harm.
async fn batches_that_do_not_extend_the_head_are_skipped(net: &Devnet<impl OpRollup>) {
    let watch = net.watch();
    let batch = next_batch(net).await;
    let number = batch.header.number;

    let mut wrong_parent = batch.clone();
    wrong_parent.header.parent_hash = B256::repeat_byte(1);
    wrong_parent.content.parent_hash = B256::repeat_byte(1);
    let mut wrong_time = batch.clone();
    wrong_time.header.timestamp += 1;
    wrong_time.content.timestamp += 1;
    let mut disagrees_on_parent = batch.clone();
    disagrees_on_parent.content.parent_hash = B256::repeat_byte(2);
    let mut disagrees_on_time = batch.clone();
    disagrees_on_time.content.timestamp += 1;
    let mut disagrees_on_origin = batch.clone();
    disagrees_on_origin.content.epoch_number += 1;
    let mut no_deposit = batch.clone();
    no_deposit.info_deposit = Bytes::new();
    for wrong in [
        wrong_parent,
        wrong_time,
        disagrees_on_parent,
        disagrees_on_time,
        disagrees_on_origin,
        no_deposit,
    ] {
        net.batcher.post_batch(&wrong, Shape::FourFields);
    }
    net.mine_hotshot(1).await;
    net.all_is_read().await;
    net.head_stays_at(number - 1).await;

    net.batcher.post_batch(&batch, Shape::ThreeFields);
    net.mine_hotshot(1).await;
    net.head_reaches(number).await;

    // Too late to matter: another block for a confirmed number.
    net.batcher.post_batch(&with_extra_data(batch, b"late"), Shape::FourFields);
    net.produce(3).await;
    net.head_reaches(number + 3).await;
    net.assert_tagged_equals_direct().await;
    watch.finish().await;
}

/// A batch that extends the head but is not the node's block comes first: the head waits until
/// Ethereum has decided.
async fn batch_that_differs_from_the_node(net: &Devnet<impl OpRollup>) {
    let watch = net.watch();
    let batch = next_batch(net).await;
    let number = batch.header.number;
    net.batcher.post_batch(&with_extra_data(batch.clone(), b"other"), Shape::FourFields);
    net.mine_hotshot(1).await;
    net.batcher.post_batch(&batch, Shape::FourFields);
    net.mine_hotshot(1).await;
    until("a mismatch to be counted", PATIENCE, async || {
        (net.sidecar.batches("mismatch").await > 0.0).then_some(())
    })
    .await;
    net.all_is_read().await;
    net.head_stays_at(number - 1).await;
    let status = net.sidecar.status().await.to_string();
    assert!(status.contains(&batch.header.hash_slow().to_string()), "the node's hash: {status}");

    net.finalize(number).await;
    net.head_reaches(number).await;
    net.report("source ethereum", |report| report.source == Source::Ethereum).await;
    net.produce(2).await;
    net.head_reaches(number + 2).await;
    net.assert_tagged_equals_direct().await;
    watch.finish().await;
}

async fn duplicates_and_disorder(net: &Devnet<impl OpRollup>) {
    let watch = net.watch();
    let start = net.height().await;
    net.head_reaches(start).await;
    net.mine_l1(5).await;
    let blocks = net.build(5).await;
    let batches: Vec<Batch> = blocks.iter().map(|block| block.batch.clone()).collect();

    // All but the next one, in reverse, each in every equivalent form.
    for batch in batches[1..].iter().rev() {
        let payload = net.batcher.post_batch(batch, Shape::FourFields);
        net.batcher.post_bytes(high_s_twin(&payload));
        net.batcher.post_batch(batch, Shape::ThreeFields);
        net.batcher.post_batch(batch, Shape::FourFields);
        net.mine_hotshot(1).await;
    }
    net.all_is_read().await;
    net.head_stays_at(start).await;

    // The missing one, and only with the twin of the batcher's signature.
    let payload = Signer::batcher().sign(&batches[0].body(Shape::FourFields));
    net.hotshot.submit(Transaction {
        namespace: namespace(),
        payload: high_s_twin(&payload),
        confirms: vec![(batches[0].header.number, batches[0].header.hash_slow())],
    });
    net.mine_hotshot(1).await;
    net.head_reaches(start + 5).await;
    net.assert_tagged_equals_direct().await;
    watch.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s04_unauthorized_garbage_and_far_future() {
    unauthorized_garbage_and_far_future(&Devnet::emulated().start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s04_batches_that_do_not_extend_the_head_are_skipped() {
    batches_that_do_not_extend_the_head_are_skipped(&Devnet::emulated().start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s04_batch_that_differs_from_the_node() {
    batch_that_differs_from_the_node(&Devnet::emulated().start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s04_duplicates_and_disorder() {
    duplicates_and_disorder(&Devnet::emulated().start().await).await;
}

mod real {
    use super::*;

    /// All of it, one after the other, on one devnet.
    #[tokio::test(flavor = "multi_thread")]
    async fn s04_real_malicious_feed() {
        let net = Devnet::real().start().await;
        unauthorized_garbage_and_far_future(&net).await;
        batches_that_do_not_extend_the_head_are_skipped(&net).await;
        duplicates_and_disorder(&net).await;
        batch_that_differs_from_the_node(&net).await;
    }
}
