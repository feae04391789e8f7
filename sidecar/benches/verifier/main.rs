//! How fast the verifier catches up and how soon a head is visible, against canned services over
//! HTTP on loopback: real batches, signed, and the blocks that they describe.
//!
//! `cargo xtask bench verifier`; with `--quick` a tenth of the blocks, with `catch-up`, `modes`,
//! `steady` or `pollers` that part alone. Services and verifier are processes of their own on the
//! same machine, so that they share its processors.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark ends at the first thing that is not as expected"
)]

mod bare;
mod follow;
mod modes;
mod pollers;
mod services;
mod stages;
mod steady;
#[path = "../../tests/it/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use more of it")]
mod support;

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

use follow::follow;
use pollers::Way;
use services::{Content, Services};
use stages::Stages;
use steady::{Setting, Steady};
use support::canned;

/// One batch size.
#[derive(Debug, Serialize)]
struct BatchSize {
    transactions: usize,
    blocks: u64,
    blocks_per_second: f64,
    cpu_us_per_block: f64,
    /// Of the verifier alone, and of a whole sidecar.
    peak_rss_mib: f64,
    sidecar_peak_rss_mib: f64,
    bare_reader_blocks_per_second: f64,
    stages_us: Stages,
}

#[derive(Debug, Serialize)]
struct Memory {
    blocks: u64,
    blocks_per_second: f64,
    rss_mib: Vec<f64>,
}

#[derive(Debug, Serialize)]
struct Report {
    blocks_per_second: f64,
    blocks_per_second_one_core_compare_only: f64,
    peak_rss_mib: f64,
    steady: Vec<Steady>,
    pollers: Vec<Way>,
    empty_hotshot_blocks_per_second: f64,
    batch_sizes: Vec<BatchSize>,
    memory: Memory,
    modes: modes::Modes,
}

/// Without streams, blocks come at L2's usual pace, which is what polling goes by; with them,
/// faster, so that there are more.
const STEADY: [Setting; 4] = [
    Setting { streams: true, l1_delay_ms: 0, blocks: 300, block_time_ms: 500 },
    Setting { streams: true, l1_delay_ms: 40, blocks: 300, block_time_ms: 500 },
    Setting { streams: true, l1_delay_ms: 0, blocks: 60, block_time_ms: 2000 },
    Setting { streams: false, l1_delay_ms: 0, blocks: 60, block_time_ms: 2000 },
];
/// How many poll for how many heads.
const POLLERS: [(usize, u64); 3] = [(1, 300), (100, 100), (4_000, 20)];

fn main() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    // Cargo adds a flag of its own.
    let words: Vec<_> =
        arguments.iter().map(String::as_str).filter(|word| *word != "--bench").collect();
    let number = |text: &str| text.parse::<u64>().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match words[..] {
        ["serve", content] => {
            runtime.block_on(services::serve(serde_json::from_str(content).unwrap()));
        }
        ["follow", url, target, way] => {
            let way = serde_json::from_str(way).unwrap();
            runtime.block_on(follow::run(url, number(target), way));
        }
        ["bare", url] => bare::run(&runtime, url),
        ["catch-up"] => print(&catch_up(&runtime, 1)),
        ["catch-up", "--quick"] => print(&catch_up(&runtime, 10)),
        ["modes"] => print(&modes::all(1)),
        ["modes", "--quick"] => print(&modes::all(10)),
        ["steady"] => print(&all_steady(1)),
        ["steady", "--quick"] => print(&all_steady(10)),
        ["pollers"] => print(&all_pollers(&runtime)),
        _ => report(&runtime, words.contains(&"--quick")),
    }
    runtime.shutdown_timeout(Duration::from_secs(1));
}

fn report(runtime: &tokio::runtime::Runtime, quick: bool) {
    let scale = if quick { 10 } else { 1 };
    let batch_sizes = catch_up(runtime, scale);
    let (memory, peak_rss_mib) = memory(100_000 / scale);
    let empty_hotshot_blocks_per_second = empty(500_000 / scale);
    let modes = modes::all(scale);
    let (steady, pollers) = (all_steady(scale), all_pollers(runtime));
    let first = &batch_sizes[0];
    let report = Report {
        blocks_per_second: first.blocks_per_second,
        blocks_per_second_one_core_compare_only: 1e6
            / (first.stages_us.recover + first.stages_us.decode + first.stages_us.compare),
        peak_rss_mib,
        steady,
        pollers,
        empty_hotshot_blocks_per_second,
        batch_sizes,
        memory,
        modes,
    };
    print(&report);
    write("verifier", &report);
}

/// Written apart, since the benchmark of Nitro shows it beside its own.
fn catch_up(runtime: &tokio::runtime::Runtime, scale: u64) -> Vec<BatchSize> {
    let sizes = all_batch_sizes(runtime, scale);
    write("catch-up", &sizes);
    sizes
}

fn all_batch_sizes(runtime: &tokio::runtime::Runtime, scale: u64) -> Vec<BatchSize> {
    let sizes = [(3, 30_000, 100), (50, 5_000, 40), (500, 500, 4)];
    let measure =
        |(transactions, blocks, range)| batch_size(runtime, transactions, blocks / scale, range);
    sizes.map(measure).into()
}

fn batch_size(
    runtime: &tokio::runtime::Runtime,
    transactions: usize,
    blocks: u64,
    range: u64,
) -> BatchSize {
    eprintln!("{blocks} blocks of {transactions} transactions");
    let services = Services::start(Content { transactions, ..Content::of(blocks) });
    let bare = runtime.block_on(stages::bare_reader(&services, blocks, range));
    let followed = follow(&services, blocks);
    let stages = runtime.block_on(stages::measure(&services, blocks.min(2_000), range));
    BatchSize {
        transactions,
        blocks,
        blocks_per_second: blocks as f64 / followed.seconds,
        cpu_us_per_block: followed.cpu_seconds * 1e6 / blocks as f64,
        peak_rss_mib: followed.peak_rss_mib,
        sidecar_peak_rss_mib: steady::memory_up_to(&services, blocks),
        bare_reader_blocks_per_second: blocks as f64 / bare.as_secs_f64(),
        stages_us: stages,
    }
}

fn memory(blocks: u64) -> (Memory, f64) {
    eprintln!("memory over {blocks} blocks");
    let services = Services::start(Content::of(blocks));
    let followed = follow(&services, blocks);
    let blocks_per_second = blocks as f64 / followed.seconds;
    (Memory { blocks, blocks_per_second, rss_mib: followed.rss_mib }, followed.peak_rss_mib)
}

fn empty(blocks: u64) -> f64 {
    eprintln!("{blocks} empty HotShot blocks");
    let services = Services::start(Content { empty: blocks, ..Content::of(1) });
    blocks as f64 / follow(&services, 1).seconds
}

fn all_steady(scale: u64) -> Vec<Steady> {
    STEADY
        .map(|setting| Setting { blocks: setting.blocks / scale, ..setting })
        .map(steady::measure)
        .into()
}

fn all_pollers(runtime: &tokio::runtime::Runtime) -> Vec<Way> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    POLLERS.map(|(pollers, heads)| runtime.block_on(pollers::measure(pollers, heads))).into()
}

fn write(name: &str, part: &impl Serialize) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench");
    std::fs::create_dir_all(folder).unwrap();
    let text = serde_json::to_string_pretty(part).unwrap();
    std::fs::write(format!("{folder}/{name}.json"), text).unwrap();
}

fn print(part: &impl Serialize) {
    println!("{}", serde_json::to_string_pretty(part).unwrap());
}
