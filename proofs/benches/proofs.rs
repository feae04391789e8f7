//! The cost of each check on one thread.
//!
//! `cargo bench -p espresso-proofs`
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark ends at the first thing that is not as expected; tests use the rest"
)]

#[path = "../src/tests/encoder.rs"]
mod encoder;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use espresso_proofs::{Answer, Chain, Evidence, Header, TaggedBase64};
use serde_json::Value;

use encoder::{Block, Dispersed, answer, honest, payload, shards};

/// A namespace with so many bytes of transactions, beside another one.
fn block(bytes: usize, committee: usize) -> Block {
    let transactions = vec![0x5a; bytes.max(200) / 10];
    let transactions = vec![transactions.as_slice(); 10];
    Block {
        namespaces: vec![
            Dispersed::honest(9, payload(&[b"another"]), committee),
            Dispersed::honest(7, payload(&transactions), committee),
        ],
    }
}

fn headers(criterion: &mut Criterion) {
    let json = block(2_000, 10).header_json(42).to_string();
    criterion.bench_function("header", |bencher| {
        bencher.iter(|| Header::read(black_box(json.as_bytes())).unwrap().committed().unwrap());
    });
    let vectors: Value =
        serde_json::from_str(include_str!("../testdata/proofs_block_tree.json")).unwrap();
    let chain = vectors["recorded_0_5_chain"].as_array().unwrap();
    let headers: Vec<_> = chain.iter().map(|block| encoder::header(&block["header"])).collect();
    let mut before = Chain::new();
    before.extend(&headers[..6]).unwrap();
    criterion.bench_function("root of one more header", |bencher| {
        bencher.iter(|| {
            let mut chain = before.clone();
            chain.extend(black_box(&headers[6..])).unwrap();
            chain
        });
    });
    criterion.bench_function("light client root", |bencher| {
        bencher.iter(|| black_box(before.tree().root()).light_client_root());
    });
}

fn namespaces(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("namespace");
    let sizes = [2_000, 20_000, 100_000, 1_000_000].map(|bytes| (bytes, 1_000));
    for (bytes, committee) in [(2_000, 100)].into_iter().chain(sizes) {
        let block = block(bytes, committee);
        let header = block.header();
        let answered = block.opening(1).to_string();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("{bytes} bytes, committee of {committee}"), |bencher| {
            bencher.iter(|| {
                let answer = Answer::read(black_box(answered.as_bytes())).unwrap();
                let evidence = answer.check(&header, 7, committee as u32, &[]).unwrap();
                answer.into_block(&evidence)
            });
        });
    }
    group.finish();
}

fn wrong_encoding(criterion: &mut Criterion) {
    let committee = 1_000;
    let mut block = block(2_000, committee);
    let mut wrong = shards(&block.namespaces[1].payload, committee, honest);
    wrong[committee - 1][0] ^= 1;
    block.namespaces[1].shards = wrong;
    let header = block.header();
    let ordinary = answer(&block.opening(0)).check(&header, 9, committee as u32, &[]).unwrap();
    let Evidence::Opened(size) = ordinary else { return };
    let last = committee - committee.div_ceil(3);
    let claim = block.claim(1, std::slice::from_ref(&(last..committee))).to_string();
    criterion.bench_function("wrong encoding, committee of 1000", |bencher| {
        bencher.iter(|| {
            let answer = Answer::read(black_box(claim.as_bytes())).unwrap();
            answer.check(&header, 7, size.size(), &[size]).unwrap()
        });
    });
}

criterion_group!(benches, headers, namespaces, wrong_encoding);
criterion_main!(benches);
