//! The filter in Envoy beside a bare Envoy, one with a module that only reads, and one with an
//! earlier module of the filter: CPU and instructions per request, throughput and latency.

use std::{fs, path::PathBuf, thread, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use super::{
    before,
    client::{self, Connection, Load},
    envoy::{Envoy, Settings},
    instructions::Counted,
    server::{HEAD, Server},
};
use crate::{
    filter, process,
    tools::{cache::Cache, envoy::ENVOY, valgrind},
    workspace::Workspace,
};

/// The Envoys take the same load in turn, in many short rounds, so that what else the machine does
/// affects all alike; the medians of the rounds count. They are restarted now and then, since where
/// a process lies in memory makes a difference of microseconds for as long as it lives.
const STARTS: usize = 5;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(400);
const CONNECTIONS: usize = 2;

/// What any filter costs that reads headers and bodies.
const READS: &str = include_str!("reader.wat");

/// The Envoys that are compared, by their modules.
const BARE: &str = "bare";
const READER: &str = "reader";
const BEFORE: &str = "before";
const FILTER: &str = "filter";

type Modules = Vec<(&'static str, Option<PathBuf>)>;

/// A kind of request.
struct Shape {
    name: &'static str,
    /// None: a GET.
    body: Option<String>,
    tags: usize,
    /// Whether its instructions are counted, too; for a body of 1 MB that would take minutes.
    is_counted: bool,
}

impl Shape {
    fn request(&self) -> Vec<u8> {
        self.body.as_deref().map_or_else(client::get, client::post)
    }

    fn body(&self) -> &str {
        self.body.as_deref().unwrap_or_default()
    }
}

/// What one round has shown of one Envoy.
struct Sample {
    /// CPU of the Envoy process per request, in µs.
    cpu: f64,
    throughput: f64,
    p50: f64,
    p99: f64,
}

/// One figure of each Envoy.
type Figures<T> = Vec<(&'static str, T)>;

fn of<'a, T>(figures: &'a Figures<T>, name: &str) -> Option<&'a T> {
    figures.iter().find(|(of, _)| *of == name).map(|(_, figure)| figure)
}

/// Runs the benchmark and writes `bench/filter.json` in the target folder. `before` names the
/// earlier module; see [`before::find`].
///
/// # Errors
/// A part is not available, or a request is not answered as it should be.
pub(super) fn run(
    workspace: &Workspace,
    cache: &Cache,
    force_fallback: bool,
    before: Option<&str>,
) -> Result<()> {
    let program = ENVOY.find(cache)?.path;
    let before = before::find(workspace, before)?;
    let module = filter::build(workspace, force_fallback)?;
    let folder = tempfile::tempdir()?;
    let reader = folder.path().join("reader.wasm");
    fs::write(&reader, wat::parse_str(READS)?)?;
    let mut modules: Modules = vec![(BARE, None), (READER, Some(reader))];
    modules.extend(before.map(|before| (BEFORE, Some(before))));
    modules.push((FILTER, Some(module)));

    let (upstream, sidecar) = (Server::start()?, Server::start()?);
    let settings = Settings {
        program: &program,
        wrapper: &[],
        folder: folder.path(),
        module: None,
        upstream: upstream.port,
        sidecar: sidecar.port,
        concurrency: 1,
    };
    let shapes = shapes();
    let instructions = count(&modules, &settings, &shapes)?;
    let rounds = time(&modules, &settings, &shapes, &upstream)?;

    let results: Map<String, Value> = shapes
        .iter()
        .zip(&rounds)
        .zip(&instructions)
        .map(|((shape, rounds), instructions)| {
            (shape.name.to_owned(), Value::Object(report(shape, rounds, instructions)))
        })
        .collect();
    print(&shapes, &results);
    let path = workspace.target.join("bench/filter.json");
    fs::create_dir_all(path.parent().context("it has a folder")?)?;
    fs::write(&path, serde_json::to_string_pretty(&Value::Object(results))?)?;
    println!("{}", path.strip_prefix(&workspace.root).unwrap_or(&path).display());
    Ok(())
}

/// Instructions per request, for each shape; none where valgrind cannot be had.
fn count(
    modules: &Modules,
    settings: &Settings<'_>,
    shapes: &[Shape],
) -> Result<Vec<Figures<f64>>> {
    let mut counts: Vec<Figures<f64>> = shapes.iter().map(|_| Vec::new()).collect();
    let valgrind = match valgrind::find() {
        Ok(valgrind) => valgrind,
        Err(error) => {
            process::step(format_args!("instructions are not counted: {error:#}"));
            return Ok(counts);
        }
    };
    for (name, module) in modules {
        process::step(format_args!("instructions, {name}"));
        let settings = Settings { module: module.as_deref(), ..*settings };
        let mut envoy = Counted::start(&valgrind, name, &settings)?;
        if [BEFORE, FILTER].contains(name) {
            wait_for_head(&envoy.envoy)?;
        }
        envoy.settle()?;
        for (shape, counts) in shapes.iter().zip(&mut counts) {
            if shape.is_counted {
                counts.push((*name, envoy.per_request(&shape.request())?));
            }
        }
    }
    Ok(counts)
}

/// Samples of all rounds, for each shape.
fn time(
    modules: &Modules,
    settings: &Settings<'_>,
    shapes: &[Shape],
    upstream: &Server,
) -> Result<Vec<Vec<Figures<Sample>>>> {
    process::step(format_args!("{} rounds of {} kinds of requests", STARTS * ROUNDS, shapes.len()));
    let mut rounds: Vec<Vec<Figures<Sample>>> = shapes.iter().map(|_| Vec::new()).collect();
    for _ in 0..STARTS {
        let start = |(name, module): &(&'static str, Option<PathBuf>)| {
            let settings = Settings { module: module.as_deref(), ..*settings };
            Ok((*name, Envoy::start(name, &settings)?))
        };
        let envoys: Figures<Envoy> = modules.iter().map(start).collect::<Result<_>>()?;
        for (_, envoy) in envoys.iter().filter(|(name, _)| [BEFORE, FILTER].contains(name)) {
            wait_for_head(envoy)?;
            for shape in shapes {
                check(shape, envoy, upstream)?;
            }
        }
        for round in 0..ROUNDS {
            for (shape, rounds) in shapes.iter().zip(&mut rounds) {
                let request = shape.request();
                let measure =
                    |(name, envoy): &(&'static str, Envoy)| Ok((*name, measure(envoy, &request)?));
                // None always goes first.
                let samples: Result<_> = if round % 2 == 0 {
                    envoys.iter().map(measure).collect()
                } else {
                    envoys.iter().rev().map(measure).collect()
                };
                rounds.push(samples?);
            }
        }
    }
    Ok(rounds)
}

/// The figures of a shape, by their names in the file of results.
fn report(
    shape: &Shape,
    rounds: &[Figures<Sample>],
    instructions: &Figures<f64>,
) -> Map<String, Value> {
    let middle =
        |figure: &dyn Fn(&Figures<Sample>) -> Option<f64>| median(rounds.iter().filter_map(figure));
    let cpu = |name: &'static str| middle(&|round| Some(of(round, name)?.cpu));
    let added =
        |name: &'static str| middle(&|round| Some(of(round, name)?.cpu - of(round, BARE)?.cpu));
    let ratio = |figure: fn(&Sample) -> f64| {
        middle(&|round| Some(figure(of(round, FILTER)?) / figure(of(round, BARE)?)))
    };
    let mut report = Map::new();
    let mut add = |name: &str, value: Option<f64>| {
        if let Some(value) = value {
            report.insert(name.to_owned(), json!(value));
        }
    };
    add("bare_cpu_us", cpu(BARE));
    add("filter_cpu_us", cpu(FILTER));
    add("added_cpu_us", added(FILTER));
    add("reader_added_cpu_us", added(READER));
    add("before_added_cpu_us", added(BEFORE));
    add("throughput_ratio", ratio(|sample| sample.throughput));
    add("p50_ratio", ratio(|sample| sample.p50));
    add("p99_ratio", ratio(|sample| sample.p99));
    let count = |name| of(instructions, name).copied();
    let added = |name| Some(count(name)? - count(BARE)?);
    add("bare_instructions", count(BARE));
    add("added_instructions", added(FILTER));
    add("reader_added_instructions", added(READER));
    add("before_added_instructions", added(BEFORE));
    report.insert("bytes".to_owned(), json!(shape.body().len()));
    report.insert("tags".to_owned(), json!(shape.tags));
    report
}

fn print(shapes: &[Shape], results: &Map<String, Value>) {
    let figure = |shape: &Shape, name: &str| results.get(shape.name)?.get(name)?.as_f64();
    let cell = |shape: &Shape, name: &str, width: usize, digits: usize| {
        figure(shape, name)
            .map_or_else(|| format!("{:>width$}", "-"), |value| format!("{value:width$.digits$}"))
    };
    println!("                        CPU µs           added µs");
    println!(
        "                bytes     bare    filter   filter  before  reader  throughput  p50   p99"
    );
    for shape in shapes {
        print!("{:15} {:7}", shape.name, shape.body().len());
        for (name, width, digits) in [
            ("bare_cpu_us", 9, 1),
            ("filter_cpu_us", 10, 1),
            ("added_cpu_us", 9, 1),
            ("before_added_cpu_us", 8, 1),
            ("reader_added_cpu_us", 8, 1),
            ("throughput_ratio", 12, 2),
            ("p50_ratio", 6, 2),
            ("p99_ratio", 6, 2),
        ] {
            print!("{}", cell(shape, name, width, digits));
        }
        println!();
    }
    println!();
    println!("                 instructions   added instructions");
    println!("                         bare     filter    before    reader  filter/before");
    for shape in shapes.iter().filter(|shape| shape.is_counted) {
        print!("{:20}", shape.name);
        for name in [
            "bare_instructions",
            "added_instructions",
            "before_added_instructions",
            "reader_added_instructions",
        ] {
            print!("{}", cell(shape, name, 10, 0));
        }
        let before = figure(shape, "before_added_instructions");
        let ratio = before.zip(figure(shape, "added_instructions"));
        println!(
            "{}",
            ratio.map_or_else(String::new, |(before, now)| format!("{:15.3}", now / before))
        );
    }
}

fn shapes() -> Vec<Shape> {
    let post = |name, body, tags, is_counted| Shape { name, body: Some(body), tags, is_counted };
    vec![
        post("small_untagged", call(1, "latest", None), 0, true),
        post("small_tagged", call(1, "espresso", None), 1, true),
        post("batch_20k", batch(100), 50, true),
        // 5,000 calls within the filter's default max_body_bytes.
        post("batch_1m", batch(5000), 2500, false),
        Shape { name: "get", body: None, tags: 0, is_counted: true },
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
    let (status, answer) = Connection::open(envoy.port)?.send(&shape.request())?;
    ensure!(status == 200, "{}: {status}: {}", shape.name, String::from_utf8_lossy(&answer));
    let expected = shape.body().replace("\"espresso\"", &format!("\"{HEAD:#x}\""));
    ensure!(upstream.last_body() == expected.as_bytes(), "{}: a wrong body", shape.name);
    ensure!(shape.body().matches("\"espresso\"").count() == shape.tags, "{}: tags", shape.name);
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

/// None of no values.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shapes_are_of_the_sizes_that_their_names_say() {
        let lengths: Vec<usize> = shapes().iter().map(|shape| shape.body().len()).collect();
        for (length, expected) in
            lengths.iter().zip([100..130, 100..130, 18_000..21_000, 900_000..1_000_000, 0..1])
        {
            assert!(expected.contains(length), "{lengths:?}");
        }
        for body in shapes().iter().filter_map(|shape| shape.body.as_ref()) {
            assert!(serde_json::from_str::<Value>(body).is_ok());
        }
    }

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
    }
}
