//! How fast the verifier catches up and how soon a head is visible, against canned services over
//! HTTP on loopback: real batches, signed, and the blocks that they describe.
//!
//! `cargo xtask bench verifier`; with `--quick` a tenth of the blocks. Services and verifier are
//! processes of their own on the same machine, so that they share its processors.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark ends at the first thing that is not as expected"
)]

#[path = "../../tests/it/support/canned/mod.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod canned;
mod follow;
mod services;
mod stages;

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use follow::follow;
use services::{Content, Services};
use stages::Stages;

/// One batch size.
#[derive(Debug, Serialize)]
struct BatchSize {
    transactions: usize,
    blocks: u64,
    blocks_per_second: f64,
    cpu_us_per_block: f64,
    peak_rss_mib: f64,
    bare_reader_blocks_per_second: f64,
    stages_us: Stages,
}

#[derive(Debug, Serialize)]
struct Memory {
    blocks: u64,
    blocks_per_second: f64,
    rss_mib: Vec<f64>,
}

/// How soon a head is visible, and what that costs.
#[derive(Debug, Serialize)]
struct Percentiles {
    streams: bool,
    l1_delay_ms: u64,
    cpu_ms_per_block: f64,
    cpu_share_of_a_core: f64,
    rss_mib: f64,
    calls_per_block: BTreeMap<String, f64>,
    seconds: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    blocks_per_second: f64,
    blocks_per_second_one_core_compare_only: f64,
    peak_rss_mib: f64,
    visible_after_ms: Vec<Percentiles>,
    empty_hotshot_blocks_per_second: f64,
    batch_sizes: Vec<BatchSize>,
    memory: Memory,
}

/// Whether the dependencies stream, and what L1 takes for each answer, in milliseconds.
const STEADY: [(bool, u64); 3] = [(true, 0), (true, 40), (false, 0)];
/// Blocks that appear one by one in each.
const STEADY_BLOCKS: u64 = 120;

fn main() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match words[..] {
        ["serve", blocks, transactions, empty, visible, l1_delay] => {
            runtime.block_on(services::serve(Content {
                blocks: number(blocks),
                transactions: number(transactions) as usize,
                empty: number(empty),
                visible: number(visible),
                l1_delay: number(l1_delay),
            }))
        }
        ["follow", url, target, steady, interval, streams] => {
            let interval = humantime::parse_duration(interval).unwrap();
            let (target, steady) = (number(target), number(steady));
            runtime.block_on(follow::run(url, target, steady, interval, streams == "streams"));
        }
        _ => report(&runtime, words.contains(&"--quick")),
    }
    runtime.shutdown_timeout(Duration::from_secs(1));
}

fn report(runtime: &tokio::runtime::Runtime, quick: bool) {
    let scale = if quick { 10 } else { 1 };
    let batch_sizes: Vec<_> = [(3, 30_000, 100), (50, 5_000, 40), (500, 500, 4)]
        .into_iter()
        .map(|(transactions, blocks, range)| {
            batch_size(runtime, transactions, blocks / scale, range)
        })
        .collect();
    let (memory, peak_rss_mib) = memory(100_000 / scale);
    let empty_hotshot_blocks_per_second = empty(500_000 / scale);
    let visible_after_ms =
        STEADY.map(|(streams, l1_delay)| steady(streams, l1_delay, STEADY_BLOCKS / scale));
    let first = &batch_sizes[0];
    let report = Report {
        blocks_per_second: first.blocks_per_second,
        blocks_per_second_one_core_compare_only: 1e6
            / (first.stages_us.recover + first.stages_us.decode + first.stages_us.compare),
        peak_rss_mib,
        visible_after_ms: visible_after_ms.into(),
        empty_hotshot_blocks_per_second,
        batch_sizes,
        memory,
    };
    let text = serde_json::to_string_pretty(&report).unwrap();
    println!("{text}");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench");
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(format!("{folder}/verifier.json"), text).unwrap();
}

fn batch_size(
    runtime: &tokio::runtime::Runtime,
    transactions: usize,
    blocks: u64,
    range: u64,
) -> BatchSize {
    eprintln!("{blocks} blocks of {transactions} transactions");
    let services =
        Services::start(Content { blocks, transactions, empty: 0, visible: blocks, l1_delay: 0 });
    let bare = runtime.block_on(stages::bare_reader(&services, blocks, range));
    let followed = follow(&services, blocks, 0, "1s", false);
    let stages = runtime.block_on(stages::measure(&services, blocks.min(2_000), range));
    BatchSize {
        transactions,
        blocks,
        blocks_per_second: blocks as f64 / followed.seconds,
        cpu_us_per_block: followed.cpu_seconds * 1e6 / blocks as f64,
        peak_rss_mib: followed.peak_rss_mib,
        bare_reader_blocks_per_second: blocks as f64 / bare.as_secs_f64(),
        stages_us: stages,
    }
}

fn memory(blocks: u64) -> (Memory, f64) {
    eprintln!("memory over {blocks} blocks");
    let services = Services::start(Content {
        blocks,
        transactions: 3,
        empty: 0,
        visible: blocks,
        l1_delay: 0,
    });
    let followed = follow(&services, blocks, 0, "1s", false);
    let blocks_per_second = blocks as f64 / followed.seconds;
    (Memory { blocks, blocks_per_second, rss_mib: followed.rss_mib }, followed.peak_rss_mib)
}

fn empty(blocks: u64) -> f64 {
    eprintln!("{blocks} empty HotShot blocks");
    let services = Services::start(Content {
        blocks: 1,
        transactions: 3,
        empty: blocks,
        visible: 1,
        l1_delay: 0,
    });
    blocks as f64 / follow(&services, 1, 0, "1s", false).seconds
}

fn steady(streams: bool, l1_delay_ms: u64, blocks: u64) -> Percentiles {
    eprintln!("{blocks} blocks one by one, streams: {streams}, L1 takes {l1_delay_ms} ms");
    let services = Services::start(Content {
        blocks: blocks + 1,
        transactions: 3,
        empty: 0,
        visible: 1,
        l1_delay: l1_delay_ms,
    });
    let followed = follow(&services, blocks + 1, blocks, "1s", streams);
    let mut times = followed.visible_after_ms;
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    let per_block = |(name, count): (String, f64)| (name, count / blocks as f64);
    Percentiles {
        streams,
        l1_delay_ms,
        cpu_ms_per_block: followed.steady_cpu_seconds * 1000.0 / blocks as f64,
        cpu_share_of_a_core: followed.steady_cpu_seconds / followed.steady_seconds,
        rss_mib: followed.rss_mib.last().copied().unwrap_or_default(),
        calls_per_block: followed.calls.into_iter().map(per_block).collect(),
        seconds: followed.steady_seconds,
        p50: at(50),
        p90: at(90),
        p99: at(99),
        max: at(100),
    }
}
