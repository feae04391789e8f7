//! Scenario 22: a Nitro chain.

mod arbos;
mod delayed;
mod forks;
mod life;
mod other_chain;
mod posting;
mod twists;

use finality_e2e::{
    builder::Builder,
    devnet::{Devnet, Parts},
    nitro::{Nitro, poster::Posting},
    wait::{PATIENCE, until},
};

/// A chain that posts like this; what moves the head is `hash` or `inputs`.
fn posted(posting: Posting, require: &str) -> Builder<Parts<Nitro>> {
    Devnet::nitro().posting(posting).sidecar("--nitro-require", require)
}

/// A way of posting, and what of it moves the head.
type Way = (Posting, &'static str);

/// What each way of posting lets be proven.
const MODES: [Way; 2] = [(Posting::SignatureV2, "hash"), (Posting::Signature, "inputs")];

/// From now on the chain posts like this, and the sidecar, which begins anew, goes by that.
async fn turn(net: &Devnet<Nitro>, (posting, require): Way) {
    net.batcher.set_posting(posting);
    net.sidecar.restart_with("--nitro-require", require).await;
}

/// The head is this block, of which so much is proven by what HotShot has: `hash` or `inputs`.
async fn is_proven(net: &Devnet<Nitro>, number: u64, proven: &str) {
    let report = net.report("the number", |report| report.number >= number).await;
    assert_eq!(report.number, number);
    assert_eq!(report.block.map(|block| block.proven).as_deref(), Some(proven));
    until("the status to say the same", PATIENCE, async || {
        let status = net.sidecar.status().await;
        (status["head"]["number"] == number && status["block"]["proven"] == proven).then_some(())
    })
    .await;
}

/// Waits until the verifier has seen that the node's block differs; the head stays.
async fn mismatch_is_noticed(net: &Devnet<Nitro>, head: u64) {
    until("a mismatch to be counted", PATIENCE, async || {
        (net.sidecar.batches("mismatch").await > 0.0).then_some(())
    })
    .await;
    net.head_stays_at(head).await;
}
