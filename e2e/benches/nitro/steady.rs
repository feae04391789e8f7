//! How soon a message that appears is the head.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use alloy_primitives::{B256, U256};
use finality_e2e::{
    hotshot::{Hotshot, StreamFault},
    l1::L1Block,
    nitro::{
        block::Chain,
        node::Node,
        poster::{NitroPoster, Posting},
    },
};
use serde::Serialize;

use super::{CHAIN_ID, FINALIZED, Services, TIME, genesis, message, rules};

/// The mean time between two messages. They come after half of it at the least.
const BLOCK_TIME: Duration = Duration::from_millis(250);
/// Messages before any is measured: a sidecar learns the cadence by them.
const WARM_UP: u64 = 10;

#[derive(Debug, Serialize)]
pub(crate) struct Steady {
    /// Whether the query service tells of new blocks.
    streams: bool,
    messages: usize,
    /// From the moment before the query service has a message to a poller's answer with its block.
    visible_after_ms: Percentiles,
}

#[derive(Debug, Serialize)]
pub(crate) struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl Percentiles {
    fn of(times: &mut [f64]) -> Self {
        times.sort_by(f64::total_cmp);
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        Self { p50: at(50), p90: at(90), p99: at(99), max: at(100) }
    }
}

/// With streams and without.
pub(crate) async fn all(scale: usize) -> Vec<Steady> {
    let services = Services::start(1, Vec::new(), None).await;
    let mut all = Vec::new();
    for streams in [true, false] {
        eprintln!("{} messages one by one, streams: {streams}", 300 / scale);
        all.push(services.steady(300 / scale, streams).await);
    }
    all
}

impl Services {
    /// Messages appear one by one, unevenly, and the node has their blocks.
    async fn steady(&self, messages: usize, streams: bool) -> Steady {
        let l1 = |number: u64| L1Block {
            number,
            hash: B256::from(U256::from(number + 1)),
            parent_hash: B256::from(U256::from(number)),
            timestamp: TIME,
        };
        let hotshot = Arc::new(Hotshot::start(l1(FINALIZED)).await);
        hotshot.set_stream_fault((!streams).then_some(StreamFault::Dies));
        let genesis = Arc::new(genesis());
        let node = Node::start(rules(), Arc::clone(&genesis)).await;
        let poster = NitroPoster::new(Arc::clone(&hotshot), CHAIN_ID, Posting::SignatureV2);
        let folder = tempfile::tempdir().unwrap();
        let (node_url, hotshot_url) = (node.server().url(), hotshot.url());
        let more = ["--verification-interval=50ms"];
        let sidecar = self.run_with(folder.path(), &node_url, &hotshot_url, &more);
        let (mut chain, mut times) = (Chain::new(), Vec::new());
        for position in 1..=WARM_UP + messages as u64 {
            let tip = chain.last().unwrap_or(&genesis);
            let block = Arc::new(rules().block(tip, message(position)));
            chain.push(Arc::clone(&block));
            let share = 0.5 + (position * 37 % 100) as f64 / 100.0;
            tokio::time::sleep(BLOCK_TIME.mul_f64(share)).await;
            let seen = sidecar.reaches(position);
            let shown = async {
                let shown = Instant::now();
                node.follow(&chain);
                poster.post(&[block]);
                hotshot.mine(l1(FINALIZED), l1(FINALIZED));
                shown
            };
            let (shown, seen) = tokio::join!(shown, seen);
            if position > WARM_UP {
                times.push(seen.duration_since(shown).as_secs_f64() * 1_000.0);
            }
        }
        Steady { streams, messages, visible_after_ms: Percentiles::of(&mut times) }
    }
}
