//! The demo: a devnet that runs by the clock, a view of it, and a check of it.

mod check;
pub mod relay;
mod view;

use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    builder::Builder,
    devnet::{Devnet, Parts},
    rollup::Rollup,
};

/// Seconds before now at which L1 begins, so that its first blocks are not of the future.
const AGE: u64 = 10;
/// No query service is believed about anything.
const PROOFS: &str = "root";

/// Which rollup stands behind Envoy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// OP on Anvil.
    Op,
    /// OP on op-geth and op-node.
    #[value(skip)]
    OpReal,
    /// A Nitro chain.
    Nitro,
}

/// Runs the demo until Ctrl-C, or the check until it has passed or failed, with that rollup.
/// Everything has stopped when this returns. True means success.
///
/// # Panics
/// When a part does not start.
pub async fn run(check: bool, kind: Kind) -> bool {
    let mut interrupt = signal(SignalKind::interrupt()).unwrap();
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    let stopped = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let demo = async {
        match kind {
            Kind::Op => run_all(Devnet::emulated(), check).await,
            Kind::OpReal => run_all(Devnet::real().with_op_batcher(), check).await,
            Kind::Nitro => run_all(Devnet::nitro(), check).await,
        }
    };
    tokio::select! {
        success = demo => success,
        () = stopped => !check,
    }
}

async fn run_all<R: Rollup>(net: Builder<Parts<R>>, check: bool) -> bool {
    println!("starting L1, sequencer, full node, HotShot, batcher, sidecar and Envoy …");
    let net = net.age(AGE).sidecar("--hotshot-proofs", PROOFS).start().await;
    net.catch_up().await;
    net.by_the_clock(async {
        if check {
            check::run(&net).await
        } else {
            view::show(&net).await;
            true
        }
    })
    .await
}
