//! What the three values of `hotshot_proofs` cost, each beside `off` in the same run.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    follow::{Followed, Way, follow_so},
    services::{Content, Services},
};

const MODES: [&str; 3] = ["off", "payload", "root"];

/// One mode over the same blocks.
#[derive(Debug, Serialize)]
pub(crate) struct Mode {
    mode: &'static str,
    blocks_per_second: f64,
    /// That of `off` is 1, here and below.
    speed: f64,
    cpu_us_per_block: f64,
    peak_rss_mib: f64,
    rss_mib_above_off: f64,
    downloaded_bytes_per_block: f64,
    downloads: f64,
    requests: BTreeMap<String, u64>,
}

/// What is measured over one content of the services.
#[derive(Debug, Serialize)]
pub(crate) struct Case {
    what: &'static str,
    blocks: u64,
    services: usize,
    modes: Vec<Mode>,
}

pub(crate) type Modes = Vec<Case>;

/// All cases, with blocks by that scale.
pub(crate) fn all(scale: u64) -> Modes {
    let with = |blocks, weight, junk| Content { weight, junk, ..Content::of(blocks) };
    let without = |blocks, weight| Content { empty: blocks, weight, ..Content::of(1) };
    vec![
        case("weight 100, with the namespace", 1, with(30_000 / scale, 100, 0)),
        case("weight 1000, with the namespace", 1, with(20_000 / scale, 1_000, 0)),
        case("weight 100, without the namespace", 1, without(500_000 / scale, 100)),
        case("weight 1000, without the namespace", 1, without(500_000 / scale, 1_000)),
        case("payloads of 20 kB, three services", 3, with(5_000 / scale, 100, 19_000)),
        case("payloads of 1 MB, three services", 3, with(300 / scale, 100, 1_000_000)),
        case("payloads of 10 MB, three services", 3, with(100 / scale, 100, 10_000_000)),
    ]
}

fn case(what: &'static str, count: usize, content: Content) -> Case {
    eprintln!("{what}");
    let services = Services::start(content);
    let blocks = content.blocks + content.empty;
    let mut modes: Vec<Mode> = Vec::new();
    let mut before = calls(&services);
    for (proofs, mode) in (0..).zip(MODES) {
        let way = Way { proofs, services: count };
        let Followed { seconds, cpu_seconds, peak_rss_mib, .. } =
            follow_so(&services, content.blocks, way);
        let after = calls(&services);
        let blocks = blocks as f64;
        let (blocks_per_second, bytes) = (blocks / seconds, (after.1 - before.1) as f64 / blocks);
        let off = modes.first();
        let of_off = |value: f64, of: fn(&Mode) -> f64| value / off.map_or(value, of);
        let asked = |(name, count): (&String, &u64)| {
            let count = count - before.0.get(name).copied().unwrap_or(0);
            let is_asked = ["range", "headers", "vid", "path"].contains(&name.as_str());
            is_asked.then(|| (name.clone(), count))
        };
        let mode = Mode {
            mode,
            blocks_per_second,
            speed: of_off(blocks_per_second, |off| off.blocks_per_second),
            cpu_us_per_block: cpu_seconds * 1e6 / blocks,
            peak_rss_mib,
            rss_mib_above_off: peak_rss_mib - off.map_or(peak_rss_mib, |off| off.peak_rss_mib),
            downloaded_bytes_per_block: bytes,
            downloads: of_off(bytes, |off| off.downloaded_bytes_per_block),
            requests: after.0.iter().filter_map(asked).collect(),
        };
        eprintln!("{mode:?}");
        modes.push(mode);
        before = after;
    }
    Case { what, blocks, services: count, modes }
}

/// What the services were asked so far, and the length of the query service's answers.
fn calls(services: &Services) -> (BTreeMap<String, u64>, u64) {
    let url = format!("{}/calls", services.url);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { reqwest::get(url).await.unwrap().json().await.unwrap() })
}
