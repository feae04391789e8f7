//! The sidecar's verifier in a process of its own, so that its memory and processor time are its
//! own.

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use finality_sidecar::{
    batchers::{BatcherSource, BatcherTenure},
    config::HotshotProofs,
    espresso::QueryServices,
    head::{HeadKeeper, PublishedHead},
    l1::L1,
    node::{Execution, Node},
    redact::SecretUrl,
    rollup::op::{Consensus, Op, OpStack},
    store::FileStore,
    telemetry::{Metrics, metrics::Target},
    upstream::{News, Upstream, UpstreamOptions},
    verifier::{BUDGET, Options, Parts, Verifier},
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{
    canned::services::LIGHT_CLIENT,
    services::{self, Services},
};

/// What following the services to a block cost.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Followed {
    pub(crate) seconds: f64,
    /// Processor time of the verifier's process, all threads.
    pub(crate) cpu_seconds: f64,
    /// Resident memory at a quarter, half, three quarters and the end of the way, in MiB.
    pub(crate) rss_mib: Vec<f64>,
    pub(crate) peak_rss_mib: f64,
}

/// How the services are followed.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Way {
    /// As `hotshot_proofs`: 0 is `off`, 1 `payload`, 2 `root`.
    pub(crate) proofs: u8,
    /// How many query services there are.
    pub(crate) services: usize,
}

/// Follows the services to block `target` in another process, without proofs.
pub(crate) fn follow(services: &Services, target: u64) -> Followed {
    follow_so(services, target, Way { proofs: 0, services: 1 })
}

/// Follows the services to block `target` in another process.
pub(crate) fn follow_so(services: &Services, target: u64, way: Way) -> Followed {
    let way = serde_json::to_string(&way).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["follow", &services.url, &target.to_string(), &way])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(crate) fn upstream(url: &str, target: Target, path: &str, metrics: &Metrics) -> Upstream {
    let options = UpstreamOptions {
        request_timeout: Duration::from_secs(10),
        retry_interval: Duration::from_secs(1),
        metrics: metrics.clone(),
    };
    let url = SecretUrl::parse(&format!("{url}/{path}")).unwrap();
    Upstream::new(target, "benchmark", url, options).unwrap()
}

fn memory(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Processor time so far; the kernel counts in hundredths of a second.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

async fn reach(head: &mut PublishedHead, number: u64) {
    let reached = head.wait_for(|head| head.as_ref().is_some_and(|head| head.number >= number));
    reached.await.unwrap();
}

/// The other process.
pub(crate) async fn run(url: &str, target: u64, way: Way) {
    let proofs = match way.proofs {
        0 => HotshotProofs::Off,
        1 => HotshotProofs::Payload,
        _ => HotshotProofs::Root,
    };
    let interval = Duration::from_secs(1);
    let folder = tempfile::tempdir().unwrap();
    let metrics = Metrics::new();
    let store = FileStore::open(&folder.path().join("store.json")).unwrap();
    let (keeper, mut head) = HeadKeeper::new(store, metrics.clone());
    let upstream = |target, path| upstream(url, target, path, &metrics);
    let services = (0..way.services).map(|_| upstream(Target::Query, "v1")).collect();
    let query = QueryServices::new(services, 0, metrics.clone()).with_proofs(proofs);
    let parts = Parts {
        rollup: OpStack::new(
            Op::default(),
            Consensus::new(upstream(Target::Consensus, "rpc/consensus")),
        ),
        node: Node::new(Execution::from(upstream(Target::Node, "rpc/node"))),
        // Two, as operators have: one alone must say its final block twice, an interval apart.
        l1: L1::new(["rpc/l1"; 2].map(|path| upstream(Target::L1, path)).into(), interval),
        open_feed: Box::new(move |namespace| query.with_namespace(namespace)),
        keeper,
        news: News::default(),
        board: Arc::default(),
        metrics: metrics.clone(),
    };
    let batcher = services::batcher().address();
    let options = Options {
        proofs,
        interval,
        namespace: None,
        batchers: BatcherSource::Fixed(vec![BatcherTenure::always(batcher)]),
        light_client: (proofs != HotshotProofs::Off).then_some(LIGHT_CLIENT),
        initial_hotshot_height: Some(0),
        budget: BUDGET,
        trust_node_finalized: false,
    };
    let verifier = Verifier::new(parts, options);
    let (stop, stopped) = watch::channel(false);
    let started = Instant::now();
    let task = tokio::spawn(verifier.run(stopped));
    let mut rss_mib = Vec::new();
    for quarter in 1..=4 {
        reach(&mut head, target * quarter / 4).await;
        rss_mib.push(memory("VmRSS:"));
    }
    let (seconds, cpu_seconds) = (started.elapsed().as_secs_f64(), cpu_seconds());
    stop.send_replace(true);
    task.await.unwrap().unwrap();
    let peak_rss_mib = memory("VmHWM:");
    let followed = Followed { seconds, cpu_seconds, rss_mib, peak_rss_mib };
    println!("{}", serde_json::to_string(&followed).unwrap());
}
