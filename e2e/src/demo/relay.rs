//! HotShot and L1 for a Nitro node that runs elsewhere: what its feed tells is posted.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::interval;

use crate::{
    hotshot::{Hotshot, Transaction},
    l1::L1,
    nitro::relay::relay,
    process,
    signer::Signer,
};

/// L1 blocks before anything else, so that there is a final one.
const L1_BEFORE: u64 = 8;

/// Posts what the feed tells, and mines L1 and HotShot by the clock, for ever. Prints with which
/// flags a sidecar finds them.
///
/// # Panics
/// When a part does not start.
pub async fn run(feed: &str, chain_id: u32) {
    let folder = process::folder();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let batcher = Signer::batcher().address();
    let l1 = L1::start(now - L1_BEFORE - 2, batcher, folder.path()).await;
    l1.mine(L1_BEFORE).await;
    let hotshot = Arc::new(Hotshot::start(l1.finalized().await).await);
    println!(
        "finality-sidecar run --rollup nitro --query-service-url {} --l1-rpc {} \
         --light-client-address {} …",
        hotshot.url(),
        l1.rpc().url(),
        l1.light_client(),
    );
    let post = |payload| {
        hotshot.submit(Transaction { namespace: chain_id, payload, confirms: Vec::new() });
    };
    let clock = async {
        let mut clock = interval(Duration::from_secs(1));
        loop {
            clock.tick().await;
            let height = hotshot.height() - 1;
            l1.set_light_client(height + 1, height, hotshot.light_client_root(height)).await;
            l1.mine(1).await;
            hotshot.mine(l1.latest().await, l1.finalized().await);
        }
    };
    tokio::select! {
        () = relay(feed, post) => {}
        () = clock => {}
    }
}
