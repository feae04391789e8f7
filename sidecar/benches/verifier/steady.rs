//! The sidecar itself with its defaults, while blocks appear one by one, and a poller as a filter
//! is one: how soon the head is there, and what that costs.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::Value;

use super::{
    bare::Bare,
    services::{Content, Services},
    support::{PATIENCE, http, process::Sidecar},
};

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// Whether query service and node tell of new blocks.
    pub(crate) streams: bool,
    /// What L1 takes for each answer, in milliseconds.
    pub(crate) l1_delay_ms: u64,
    pub(crate) blocks: u64,
    /// The mean time between two blocks, in milliseconds. They come after half of it at the least.
    pub(crate) block_time_ms: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Steady {
    streams: bool,
    l1_delay_ms: u64,
    blocks: u64,
    block_time_ms: u64,
    /// From the moment before node and query service have a block to the poller's answer.
    visible_after_ms: Percentiles,
    cpu_ms_per_block: f64,
    /// Of a bare program that asks and writes as much, between two blocks of the same run.
    bare_cpu_ms_per_block: f64,
    cpu_share_of_a_core: f64,
    rss_mib: f64,
    peak_rss_mib: f64,
    /// By dependency and purpose; L1 has two endpoints.
    calls_per_block: BTreeMap<String, f64>,
    requests_per_block: BTreeMap<String, f64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl Percentiles {
    pub(crate) fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        Self { p50: at(50), p90: at(90), p99: at(99), max: at(100) }
    }
}

pub(crate) fn measure(setting: Setting) -> Steady {
    let Setting { streams, l1_delay_ms, blocks, block_time_ms } = setting;
    eprintln!("{setting:?}");
    let content = Content { l1_delay: l1_delay_ms, streams, visible: 1, ..Content::of(0) };
    // The first blocks teach it the cadence.
    let warm_up = 10;
    let services = Services::start(Content { blocks: warm_up + blocks + 1, ..content });
    let folder = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::start(folder.path(), &services.arguments, &[]);
    let heads = poll(sidecar.address.clone());
    let mut bare = Bare::start(&services);
    let (bare_id, sidecar_id) = (bare.id(), sidecar.id());
    let mut advance = |number: u64| {
        let share = 0.5 + (number * 37 % 100) as f64 / 100.0;
        let half = Duration::from_millis(block_time_ms).mul_f64(share / 2.0);
        thread::sleep(half);
        bare.read(number - 1);
        thread::sleep(half);
        let shown = Instant::now();
        post(&services.url, "/advance");
        loop {
            let (head, at) = heads.recv_timeout(PATIENCE).unwrap();
            if head >= number {
                return at.duration_since(shown).as_secs_f64() * 1000.0;
            }
        }
    };
    for number in 2..=warm_up + 1 {
        advance(number);
    }
    let cpu_so_far = || (cpu_seconds(sidecar_id), cpu_seconds(bare_id));
    let before = (cpu_so_far(), Counts::of(&sidecar), Instant::now());
    let times = (warm_up + 2..=warm_up + blocks + 1).map(&mut advance).collect();
    let after = (cpu_so_far(), Counts::of(&sidecar), before.2.elapsed());
    let (cpu, bare_cpu) = (after.0.0 - before.0.0, after.0.1 - before.0.1);
    let per_block = |after: BTreeMap<String, f64>, before: &BTreeMap<String, f64>| {
        let new = after.into_iter().map(|(name, count)| {
            let count = count - before.get(&name).copied().unwrap_or(0.0);
            (name, count / blocks as f64)
        });
        new.filter(|(_, count)| *count > 0.0).collect()
    };
    Steady {
        streams,
        l1_delay_ms,
        blocks,
        block_time_ms,
        visible_after_ms: Percentiles::of(times),
        cpu_ms_per_block: cpu * 1000.0 / blocks as f64,
        bare_cpu_ms_per_block: bare_cpu * 1000.0 / blocks as f64,
        cpu_share_of_a_core: cpu / after.2.as_secs_f64(),
        rss_mib: sidecar.memory("VmRSS") as f64 / 1024.0,
        peak_rss_mib: sidecar.memory("VmHWM") as f64 / 1024.0,
        calls_per_block: per_block(after.1.calls, &before.1.calls),
        requests_per_block: per_block(after.1.requests, &before.1.requests),
    }
}

/// The most memory, in MiB, that a whole sidecar without proofs takes on its way to a block.
pub(crate) fn memory_up_to(services: &Services, number: u64) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let off = ["--hotshot-proofs=off".to_owned()];
    let arguments = [&services.arguments[..], &off].concat();
    let sidecar = Sidecar::start(folder.path(), &arguments, &[]);
    let heads = poll(sidecar.address.clone());
    while heads.recv_timeout(PATIENCE).unwrap().0 < number {}
    sidecar.memory("VmHWM") as f64 / 1024.0
}

/// Polls on one connection, and tells each head and when it came.
fn poll(address: String) -> mpsc::Receiver<(u64, Instant)> {
    let (sender, heads) = mpsc::channel();
    thread::spawn(move || -> Option<()> {
        let mut stream = BufReader::new(TcpStream::connect(address).ok()?);
        stream.get_ref().set_nodelay(true).ok()?;
        let mut known = 0;
        loop {
            let path = format!("/v1/head?after={known}&status=ok&wait=25s");
            let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
            stream.get_mut().write_all(request.as_bytes()).ok()?;
            let (code, body) = answer(&mut stream)?;
            let at = Instant::now();
            if code != 200 {
                // There is no head yet.
                thread::sleep(Duration::from_millis(10));
                continue;
            }
            let report: Value = serde_json::from_slice(&body).ok()?;
            known = report["number"].as_u64()?;
            sender.send((known, at)).ok()?;
        }
    });
    heads
}

/// The next answer on a connection that is kept; none when it has ended.
fn answer(stream: &mut impl BufRead) -> Option<(u16, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = http::header(&head, "content-length")?.parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((http::code(&head), body))
}

fn post(url: &str, path: &str) {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    stream.write_all(http::request(&format!("POST {path}")).as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(http::code(&text), 200);
}

/// Processor time of all threads, also of those that have ended.
fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// What dependencies were asked so far.
struct Counts {
    calls: BTreeMap<String, f64>,
    requests: BTreeMap<String, f64>,
}

impl Counts {
    fn of(sidecar: &Sidecar) -> Self {
        let metrics = sidecar.get("/metrics").body;
        let (mut calls, mut requests) = (BTreeMap::new(), BTreeMap::new());
        for line in metrics.lines() {
            let Some((name, count)) = line.rsplit_once(' ') else { continue };
            let count = count.parse().unwrap_or(0.0);
            let Some((name, labels)) = name.split_once('{') else { continue };
            let label = |at: usize| labels.split('"').nth(at).unwrap_or_default();
            match name {
                "espresso_upstream_calls_total" => {
                    let name = format!("{} {}", label(1), label(3));
                    *calls.entry(name).or_default() += count;
                }
                "espresso_upstream_requests_total" => {
                    *requests.entry(label(1).to_owned()).or_default() += count;
                }
                _ => {}
            }
        }
        Self { calls, requests }
    }
}
