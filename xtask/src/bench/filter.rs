//! The filter in Envoy beside a bare Envoy, and beside one with a module that only reads: CPU per
//! request, throughput and latency.

use std::{fs, path::Path, thread, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use super::{
    client::{self, Connection, Load},
    envoy::Envoy,
    server::{HEAD, Server},
};
use crate::{
    filter, process,
    tools::{cache::Cache, envoy::ENVOY},
    workspace::Workspace,
};

/// The Envoys take the same load in turn, in many short rounds, so that what else the machine does
/// meets all alike; the medians over the rounds count. They are started anew now and then, since
/// where a process comes to lie in memory makes a difference of microseconds for as long as it
/// lives.
const STARTS: usize = 5;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(400);
const CONNECTIONS: usize = 2;

/// What any filter costs that reads headers and bodies.
const READER: &str = include_str!("reader.wat");

/// A kind of request.
struct Shape {
    name: &'static str,
    body: String,
    tags: usize,
}

/// What one round has shown of one Envoy.
struct Sample {
    /// CPU of the Envoy process per request, in µs.
    cpu: f64,
    throughput: f64,
    p50: f64,
    p99: f64,
}

/// What one round has shown of all Envoys.
struct Round {
    bare: Sample,
    reader: Sample,
    filter: Sample,
}

/// Runs the benchmark and writes `bench/filter.json` in the target folder.
///
/// # Errors
/// A part cannot be had, or a request is not answered as it should be.
pub(super) fn run(workspace: &Workspace, cache: &Cache, force_fallback: bool) -> Result<()> {
    let program = ENVOY.find(cache)?.path;
    let module = filter::build(workspace, force_fallback)?;
    let folder = tempfile::tempdir()?;
    let (upstream, sidecar) = (Server::start()?, Server::start()?);
    let start = |name: &str, module: Option<&Path>| {
        Envoy::start(&program, name, folder.path(), module, upstream.port, sidecar.port, 1)
    };
    let reader = folder.path().join("reader.wasm");
    fs::write(&reader, wat::parse_str(READER)?)?;
    let shapes = shapes();
    process::step(format_args!("{} rounds of {} kinds of requests", STARTS * ROUNDS, shapes.len()));
    let mut rounds: Vec<Vec<Round>> = shapes.iter().map(|_| Vec::new()).collect();
    for _ in 0..STARTS {
        let bare = start("bare", None)?;
        let reader = start("reader", Some(&reader))?;
        let filter = start("filter", Some(&module))?;
        wait_for_head(&filter)?;
        for shape in &shapes {
            check(shape, &filter, &upstream)?;
        }
        for round in 0..ROUNDS {
            for (shape, rounds) in shapes.iter().zip(&mut rounds) {
                let request = client::post(&shape.body);
                // None always goes first.
                rounds.push(if round % 2 == 0 {
                    let bare = measure(&bare, &request)?;
                    let reader = measure(&reader, &request)?;
                    Round { bare, reader, filter: measure(&filter, &request)? }
                } else {
                    let filter = measure(&filter, &request)?;
                    let reader = measure(&reader, &request)?;
                    Round { filter, reader, bare: measure(&bare, &request)? }
                });
            }
        }
    }

    let mut results = Map::new();
    println!("                        CPU µs           added µs");
    println!("                bytes     bare    filter   filter  reader  throughput  p50   p99");
    for (shape, rounds) in shapes.iter().zip(&rounds) {
        let middle = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure));
        let bare_cpu = middle(|round| round.bare.cpu);
        let filter_cpu = middle(|round| round.filter.cpu);
        let added_cpu = middle(|round| round.filter.cpu - round.bare.cpu);
        let reader_added_cpu = middle(|round| round.reader.cpu - round.bare.cpu);
        let throughput = middle(|round| round.filter.throughput / round.bare.throughput);
        let p50 = middle(|round| round.filter.p50 / round.bare.p50);
        let p99 = middle(|round| round.filter.p99 / round.bare.p99);
        println!(
            "{:15} {:7} {bare_cpu:7.1} {filter_cpu:9.1} {added_cpu:8.1} {reader_added_cpu:7.1} {throughput:11.2} {p50:5.2} {p99:5.2}",
            shape.name,
            shape.body.len(),
        );
        results.insert(
            shape.name.to_owned(),
            json!({
                "bytes": shape.body.len(), "tags": shape.tags,
                "bare_cpu_us": bare_cpu, "filter_cpu_us": filter_cpu, "added_cpu_us": added_cpu,
                "reader_added_cpu_us": reader_added_cpu,
                "throughput_ratio": throughput, "p50_ratio": p50, "p99_ratio": p99,
            }),
        );
    }
    let path = workspace.target.join("bench/filter.json");
    fs::create_dir_all(path.parent().context("it has a folder")?)?;
    fs::write(&path, serde_json::to_string_pretty(&Value::Object(results))?)?;
    println!("{}", path.strip_prefix(&workspace.root).unwrap_or(&path).display());
    Ok(())
}

fn shapes() -> Vec<Shape> {
    let shape = |name, body, tags| Shape { name, body, tags };
    vec![
        shape("small_untagged", call(1, "latest", None), 0),
        shape("small_tagged", call(1, "espresso", None), 1),
        shape("batch_20k", batch(100), 50),
        // 5,000 calls within the filter's default max_body_bytes.
        shape("batch_1m", batch(5000), 2500),
    ]
}

/// A call of about 120 bytes; with call data, of about 200.
pub(super) fn call(id: usize, block: &str, data: Option<usize>) -> String {
    let address = format!("0x{id:040x}");
    match data {
        None => format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"eth_getBalance","params":["{address}","{block}"]}}"#
        ),
        Some(digits) => format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"eth_call","params":[{{"to":"{address}","data":"0x{:0digits$x}"}},"{block}"]}}"#,
            0
        ),
    }
}

/// A batch of which every other call bears a tag.
fn batch(calls: usize) -> String {
    let block = |id: usize| if id.is_multiple_of(2) { "espresso" } else { "latest" };
    let calls: Vec<String> = (0..calls).map(|id| call(id, block(id), Some(64))).collect();
    format!("[{}]", calls.join(","))
}

/// Waits until the filter has learned the head.
pub(super) fn wait_for_head(envoy: &Envoy) -> Result<()> {
    const TRIES: usize = 500;
    let request = client::post(&call(1, "espresso", None));
    let mut connection = Connection::open(envoy.port)?;
    for _ in 0..TRIES {
        if connection.send(&request)?.0 == 200 {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("the filter learns no head")
}

/// Asserts that what is measured works.
fn check(shape: &Shape, envoy: &Envoy, upstream: &Server) -> Result<()> {
    let (status, answer) = Connection::open(envoy.port)?.send(&client::post(&shape.body))?;
    ensure!(status == 200, "{}: {status}: {}", shape.name, String::from_utf8_lossy(&answer));
    let expected = shape.body.replace("\"espresso\"", &format!("\"{HEAD:#x}\""));
    ensure!(upstream.last_body() == expected.as_bytes(), "{}: a wrong body", shape.name);
    ensure!(shape.body.matches("\"espresso\"").count() == shape.tags, "{}: tags", shape.name);
    Ok(())
}

fn measure(envoy: &Envoy, request: &[u8]) -> Result<Sample> {
    let before = envoy.cpu()?;
    let load: Load = client::load(envoy.port, request, CONNECTIONS, ROUND)?;
    let cpu = envoy.cpu()?.saturating_sub(before);
    Ok(Sample {
        cpu: cpu.as_secs_f64() * 1e6 / load.latencies.len() as f64,
        throughput: load.throughput(),
        p50: load.quantile(0.5),
        p99: load.quantile(0.99),
    })
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shapes_are_of_the_sizes_that_their_names_say() {
        let lengths: Vec<usize> = shapes().iter().map(|shape| shape.body.len()).collect();
        for (length, expected) in
            lengths.iter().zip([100..130, 100..130, 18_000..21_000, 900_000..1_000_000])
        {
            assert!(expected.contains(length), "{lengths:?}");
        }
        for shape in shapes() {
            assert_eq!(shape.body.matches("\"espresso\"").count(), shape.tags);
            assert!(serde_json::from_str::<Value>(&shape.body).is_ok());
        }
    }

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
    }
}
