//! The demo: a devnet that runs by the clock, a view of it, and a check of it.

mod check;
mod view;

use std::{sync::Arc, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval},
};

use crate::devnet::Devnet;

/// How often each chain makes a block.
const TICK: Duration = Duration::from_secs(1);
/// How far the node's `finalized` is behind its latest block.
const FINALIZED_LAG: u64 = 20;

/// Runs the demo until Ctrl-C, or the check until it has passed or failed. Everything has stopped
/// when this returns. True means success.
///
/// # Panics
/// When a part does not start.
pub async fn run(check: bool) -> bool {
    let mut interrupt = signal(SignalKind::interrupt()).unwrap();
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    let stopped = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::select! {
        success = run_all(check) => success,
        () = stopped => !check,
    }
}

async fn run_all(check: bool) -> bool {
    println!("starting L1, sequencer, full node, op-node, HotShot, batcher, sidecar and Envoy …");
    let net = Arc::new(Devnet::builder().genesis_now().start().await);
    // Declared after the devnet, so that it stops first.
    let mut tickers = tickers(&net);
    tokio::select! {
        success = check::run(&net), if check => success,
        () = view::show(&net), if !check => true,
        _ = tickers.join_next() => false,
    }
}

/// L1, L2 and HotShot by the clock, independent of one another.
fn tickers(net: &Arc<Devnet>) -> JoinSet<()> {
    let mut tickers = JoinSet::new();
    let l1 = Arc::clone(net);
    tickers.spawn(async move {
        let mut clock = clock();
        loop {
            clock.tick().await;
            l1.mine_l1(1).await;
        }
    });
    let l2 = Arc::clone(net);
    tickers.spawn(async move {
        let mut clock = clock();
        loop {
            clock.tick().await;
            let blocks = l2.build(1).await;
            l2.batcher.post(&blocks);
            let finalized = l2.height().await.saturating_sub(FINALIZED_LAG);
            l2.op_node.set_finalized(finalized.max(l2.op_node.highest_finalized()));
        }
    });
    let hotshot = Arc::clone(net);
    tickers.spawn(async move {
        let mut clock = clock();
        loop {
            clock.tick().await;
            hotshot.mine_hotshot(1).await;
        }
    });
    tickers
}

fn clock() -> Interval {
    let mut clock = interval(TICK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    clock
}
