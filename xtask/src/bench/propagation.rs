//! How fast a new head of the sidecar reaches requests, and how often the sidecar is asked for it.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use super::{
    canned::{Canned, Programs},
    client::{self, Connection},
    envoy::{Envoy, Settings},
    filter::{call, wait_for_head},
    server::{Asked, HEAD, Server},
};
use crate::{
    filter, process,
    tools::{cache::Cache, envoy::ENVOY},
    workspace::Workspace,
};

/// Numbers of Envoy's workers.
const CONCURRENCIES: [u32; 3] = [1, 2, 4];

/// New heads whose way is timed, for each of them.
const HEADS: u64 = 300;

/// New blocks whose way from the services is timed, and the mean time between two.
const BLOCKS: u64 = 300;
const BLOCK_TIME: Duration = Duration::from_millis(500);
/// Blocks before those, which teach the sidecar their cadence.
const WARM_UP: u64 = 10;

/// How long questions are counted: while there is a new head each second, and while there is none.
const COUNTED: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(60);

/// How long the first request with a new head may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// An Envoy with a node and a sidecar of its own.
struct Setup {
    concurrency: u32,
    envoy: Envoy,
    node: Server,
    sidecar: Server,
    head: u64,
}

/// Runs the benchmark and writes `bench/propagation.json` in the target folder.
///
/// # Errors
/// A part cannot be had, or a head does not reach the requests.
pub(super) fn run(workspace: &Workspace, cache: &Cache, force_fallback: bool) -> Result<()> {
    let program = ENVOY.find(cache)?.path;
    let module = filter::build(workspace, force_fallback)?;
    let programs = Programs::build(workspace)?;
    let folder = tempfile::tempdir()?;
    process::step(format_args!("{BLOCKS} new blocks, from the services to requests"));
    let mut whole = from_services(&programs, &program, &module, folder.path())?;
    whole.sort_unstable();
    let mut setups = Vec::new();
    for concurrency in CONCURRENCIES {
        let (node, sidecar) = (Server::start()?, Server::start()?);
        let name = format!("concurrency-{concurrency}");
        let envoy = Envoy::start(
            &name,
            &Settings {
                program: &program,
                wrapper: &[],
                folder: folder.path(),
                module: Some(&module),
                upstream: node.port,
                sidecar: sidecar.port,
                concurrency,
            },
        )?;
        wait_for_head(&envoy)?;
        setups.push(Setup { concurrency, envoy, node, sidecar, head: HEAD });
    }

    let mut ways = Vec::new();
    for setup in &mut setups {
        process::step(format_args!("{HEADS} new heads, concurrency {}", setup.concurrency));
        let way = (0..HEADS).map(|_| setup.way_of_a_head()).collect::<Result<Vec<_>>>();
        let mut way = way?;
        way.sort_unstable();
        ways.push(way);
    }
    process::step(format_args!("questions in {COUNTED:?} with a new head each second"));
    let busy = questions(&mut setups, COUNTED, true);
    process::step(format_args!("questions in {IDLE:?} without a new head"));
    let idle = questions(&mut setups, IDLE, false);

    let mut results = Map::new();
    println!("concurrency  p50 ms  p90 ms  p99 ms  max ms  busy 1/s  idle 1/s  polls at once");
    for (((setup, way), busy), idle) in setups.iter().zip(&ways).zip(busy).zip(idle) {
        let [p50, p90, p99, max] = [0.5, 0.9, 0.99, 1.0].map(|share| quantile(way, share));
        let most = setup.sidecar.asked().most_waiting;
        println!(
            "{:11} {p50:7.2} {p90:7.2} {p99:7.2} {max:7.2} {busy:9.2} {idle:9.3} {most:14}",
            setup.concurrency
        );
        results.insert(
            setup.concurrency.to_string(),
            json!({
                "heads": way.len(), "p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "max_ms": max,
                "questions_per_second_with_a_new_head_each_second": busy,
                "questions_per_second_without_a_new_head": idle, "most_polls_at_once": most,
            }),
        );
    }
    let [p50, p90, p99, max] = [0.5, 0.9, 0.99, 1.0].map(|share| quantile(&whole, share));
    println!("from node and query service: {p50:.2} {p90:.2} {p99:.2} {max:.2} ms");
    results.insert(
        "from_services".into(),
        json!({"blocks": BLOCKS, "p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "max_ms": max}),
    );
    let path = workspace.target.join("bench/propagation.json");
    fs::create_dir_all(path.parent().context("it has a folder")?)?;
    fs::write(&path, serde_json::to_string_pretty(&Value::Object(results))?)?;
    println!("{}", path.strip_prefix(&workspace.root).unwrap_or(&path).display());
    Ok(())
}

impl Setup {
    fn new_head(&mut self) {
        self.head += 1;
        self.sidecar.set_head(self.head);
    }

    /// The time from a new head at the sidecar to the sending of the first request that bears it.
    /// Requests follow one another on a new connection, which is any worker's.
    fn way_of_a_head(&mut self) -> Result<Duration> {
        let request = client::post(&call(1, "espresso", None));
        let mut connection = Connection::open(self.envoy.port)?;
        connection.send(&request)?;
        self.sidecar.wait_for_poll()?;
        let start = Instant::now();
        self.new_head();
        let wanted = call(1, &format!("{:#x}", self.head), None);
        loop {
            let way = start.elapsed();
            ensure!(connection.send(&request)?.0 == 200, "a request was refused");
            if self.node.last_body() == wanted.as_bytes() {
                return Ok(way);
            }
            ensure!(way < PATIENCE, "head {} does not reach the requests", self.head);
        }
    }
}

/// The times from the moment at which node and query service get a block to the sending of the
/// first request that bears it, through a real sidecar and an Envoy with two workers.
fn from_services(
    programs: &Programs,
    program: &Path,
    module: &Path,
    folder: &Path,
) -> Result<Vec<Duration>> {
    let canned = Canned::start(programs, folder, WARM_UP + BLOCKS + 1)?;
    let node = Server::start()?;
    let envoy = Envoy::start(
        "from-services",
        &Settings {
            program,
            wrapper: &[],
            folder,
            module: Some(module),
            upstream: node.port,
            sidecar: canned.port,
            concurrency: 2,
        },
    )?;
    wait_for_head(&envoy)?;
    let request = client::post(&call(1, "espresso", None));
    let mut ways = Vec::new();
    for number in 2..=WARM_UP + BLOCKS + 1 {
        thread::sleep(BLOCK_TIME.mul_f64(0.5 + (number * 37 % 100) as f64 / 100.0));
        let mut connection = Connection::open(envoy.port)?;
        let wanted = call(1, &format!("{number:#x}"), None);
        let start = Instant::now();
        canned.advance()?;
        loop {
            let way = start.elapsed();
            ensure!(connection.send(&request)?.0 == 200, "a request was refused");
            if node.last_body() == wanted.as_bytes() {
                ways.push(way);
                break;
            }
            ensure!(way < PATIENCE, "block {number} does not reach the requests");
            // Requests without a pause would take the processors from the sidecar.
            thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(ways.split_off(WARM_UP as usize))
}

/// How often each sidecar is asked in a second, over that time.
fn questions(setups: &mut [Setup], time: Duration, new_heads: bool) -> Vec<f64> {
    let asked = |setups: &[Setup]| -> Vec<Asked> {
        setups.iter().map(|setup| setup.sidecar.asked()).collect()
    };
    let (before, start) = (asked(setups), Instant::now());
    while start.elapsed() < time {
        thread::sleep(Duration::from_secs(1));
        if new_heads {
            setups.iter_mut().for_each(Setup::new_head);
        }
    }
    let rate = |after: Asked, before: Asked| {
        (after.questions - before.questions) as f64 / start.elapsed().as_secs_f64()
    };
    asked(setups).into_iter().zip(before).map(|(after, before)| rate(after, before)).collect()
}

/// The time that this share of the sorted ones does not exceed, in ms.
fn quantile(sorted: &[Duration], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share) as usize;
    let last = sorted.len().saturating_sub(1);
    sorted.get(at.min(last)).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_times() {
        let times: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(
            [0.0, 0.5, 0.99, 1.0].map(|share| quantile(&times, share)),
            [1.0, 51.0, 100.0, 100.0]
        );
        assert!(quantile(&[], 0.5).is_nan());
    }
}
