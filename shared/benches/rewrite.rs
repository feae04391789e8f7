//! The cost of the rewriter for bodies of different shapes, compared with a `serde_json` round
//! trip.
//!
//! `cargo bench -p finality-core`
#![allow(clippy::panic, reason = "a benchmark ends at the first thing that is not as expected")]

use std::{convert::Infallible, hint::black_box, time::Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use finality_core::rewrite::{Inspection, Rewriter, Rules, Scope};
use memchr::memmem;

const HEAD: u64 = 0x0123_4567;

/// A call of about 120 bytes plus `padding`.
fn call(id: usize, block: &str, padding: usize) -> String {
    let address = format!("0x{:040x}", id * 0x9e37_79b9);
    let data = "0".repeat(padding);
    match padding {
        0 => format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"eth_getBalance","params":["{address}","{block}"]}}"#
        ),
        _ => format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"eth_call","params":[{{"to":"{address}","data":"0x{data}"}},"{block}"]}}"#
        ),
    }
}

/// A batch of calls, every other one of which has a tag if `tagged`.
fn batch(calls: usize, tagged: bool) -> String {
    let block = |id: usize| if tagged && id.is_multiple_of(2) { "espresso" } else { "latest" };
    let calls: Vec<String> = (0..calls).map(|id| call(id, block(id), 74)).collect();
    format!("[{}]", calls.join(","))
}

fn rewrite(rewriter: &Rewriter, body: &[u8]) -> Option<Vec<u8>> {
    match rewriter.inspect(body) {
        Inspection::Untouched => None,
        Inspection::Tagged(tagged) => Some(tagged.splice(body, HEAD)),
        Inspection::Refused(denied) => panic!("{denied:?}"),
    }
}

/// Streams the body in chunks of the size that a proxy reads, and writes what changes.
fn stream(rewriter: &Rewriter, body: &[u8], out: &mut Vec<u8>) -> usize {
    const CHUNK: usize = 64 * 1024;
    let mut stream = rewriter.stream();
    let mut written = 0;
    for chunk in body.chunks(CHUNK) {
        out.clear();
        match stream.push(chunk) {
            Ok(rewrite) => {
                let _ = rewrite.write(chunk, || Ok::<_, Infallible>(HEAD), out);
            }
            Err(refusal) => panic!("{refusal:?}"),
        }
        written += out.len();
    }
    match stream.finish() {
        Ok(rest) => written + rest.len(),
        Err(refusal) => panic!("{refusal:?}"),
    }
}

fn round_trip(body: &[u8]) -> Vec<u8> {
    let parsed: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    serde_json::to_vec(&parsed).unwrap_or_default()
}

/// What ignoring the case of tags costs: the search of a body without a tag, compared with one for
/// exactly `espresso`. The two take turns, and the shortest time of each counts.
fn case(_: &mut Criterion) {
    let rewriter = Rewriter::new(Rules::default()).unwrap_or_else(|error| panic!("{error}"));
    let exact = memmem::Finder::new("espresso");
    for body in [call(1, "latest", 0), batch(100, false), batch(5000, false)] {
        let body = body.as_bytes();
        let repetitions = 1_000_000 / body.len() + 1;
        let time = |search: &dyn Fn() -> bool| {
            let start = Instant::now();
            for _ in 0..repetitions {
                assert!(!search());
            }
            start.elapsed().as_secs_f64() / repetitions as f64 * 1e6
        };
        let (mut any_case, mut same_case) = (f64::MAX, f64::MAX);
        for _ in 0..1000 {
            let found = || rewriter.inspect(black_box(body)) != Inspection::Untouched;
            any_case = any_case.min(time(&found));
            let found = || {
                exact.find(black_box(body)).is_some()
                    || memchr::memchr(b'\\', black_box(body)).is_some()
            };
            same_case = same_case.min(time(&found));
        }
        println!(
            "{} bytes without a tag: {any_case:.3} µs in any case, {same_case:.3} µs in exact case, ratio {:.2}",
            body.len(),
            any_case / same_case
        );
    }
}

fn shapes(criterion: &mut Criterion) {
    let rewriter = |scope| {
        let rules = Rules { scope, max_batch_length: 5000, ..Rules::default() };
        Rewriter::new(rules).unwrap_or_else(|error| panic!("{error}"))
    };
    let (everywhere, blocks) = (rewriter(Scope::Params), rewriter(Scope::BlockParameters));
    for (name, body, tags) in [
        ("small untagged", call(1, "latest", 0), 0),
        ("small tagged", call(1, "espresso", 0), 1),
        ("batch of 100, untagged", batch(100, false), 0),
        ("batch of 100, 50 tags", batch(100, true), 50),
        ("batch of 5000, untagged", batch(5000, false), 0),
        ("batch of 5000, 2500 tags", batch(5000, true), 2500),
        ("1 MB of call data, tagged", call(1, "espresso", 1_000_000), 1),
    ] {
        let body = body.as_bytes();
        let found = match everywhere.inspect(body) {
            Inspection::Tagged(tagged) => tagged.tags(),
            _ => 0,
        };
        assert_eq!(found, tags, "{name}");
        let mut group = criterion.benchmark_group(format!("{name} ({} bytes)", body.len()));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function("rewrite", |bencher| {
            bencher.iter(|| rewrite(&everywhere, black_box(body)));
        });
        group.bench_function("rewrite, block-parameters", |bencher| {
            bencher.iter(|| rewrite(&blocks, black_box(body)));
        });
        group.bench_function("stream", |bencher| {
            let mut out = Vec::new();
            bencher.iter(|| stream(&everywhere, black_box(body), &mut out));
        });
        group.bench_function("serde_json round trip", |bencher| {
            bencher.iter(|| round_trip(black_box(body)));
        });
        group.finish();
    }
}

criterion_group!(benches, case, shapes);
criterion_main!(benches);
