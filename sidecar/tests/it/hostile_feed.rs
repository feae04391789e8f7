//! What unauthorized bytes cost: no call, bounded memory, no log line.

use std::collections::BTreeMap;

use crate::support::{
    canned::{Chain, Fakes, Signer, chain::Block},
    process::Sidecar,
};

const BLOCKS: u64 = 500;
/// Hostile payloads in each HotShot block: 100,000 in all.
const HOSTILE: usize = 200;
/// What a round may ask for of each kind beyond the blocks that it confirms: ends of chains, and
/// blocks read ahead.
const CALLS_OF_A_ROUND: u64 = 16;
/// As long as a HotShot block may be.
const LONGEST: usize = 1_000_000;

struct Cost {
    calls: BTreeMap<String, u64>,
    peak_kib: u64,
    log_lines: usize,
}

/// What is posted around the honest batch of a block.
fn hostile(chain: &Chain, block: &Block, round: usize, batch: &[u8]) -> Vec<Vec<u8>> {
    let unauthorized = Signer::new(9);
    // Anybody can sign anything: the right batch, an origin and a number in the far future.
    let signed = [
        unauthorized.sign(&chain.batch(block)),
        unauthorized.sign(&chain.batch(&chain.block(block.number, block.hash, u64::MAX / 4))),
        unauthorized.sign(&chain.batch(&chain.block(u64::MAX / 4, block.hash, 1))),
        Signer::new(7).sign(b"garbage that the batcher signed"),
    ];
    let mut damaged = batch.to_vec();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    (0..HOSTILE)
        .map(|index| match index % 8 {
            0..4 => signed[index % 4].clone(),
            4 => damaged.clone(),
            5 => batch.to_vec(),
            6 if index == 6 && round.is_multiple_of(25) => vec![index as u8; LONGEST],
            _ => (0..index).map(|at| (at * 31 + round) as u8).collect(),
        })
        .collect()
}

async fn cost(attacked: bool) -> Cost {
    let chain = Chain::new(BLOCKS, 0, |number| number / 4);
    let fakes = Fakes::start(chain, BLOCKS, Signer::new(7)).await;
    for (round, block) in fakes.chain().blocks.iter().skip(1).enumerate() {
        let batch = fakes.signed(block.number);
        let mut payloads =
            if attacked { hostile(fakes.chain(), block, round, &batch) } else { Vec::new() };
        payloads.insert(payloads.len() / 2, batch);
        fakes.post(payloads);
    }
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = fakes.arguments();
    // Rounds follow upon each other while there is work, and then not again.
    arguments.push("--verification-interval=1h".into());
    let sidecar = Sidecar::start(folder.path(), &arguments, &[]);
    sidecar.head_reaches(BLOCKS).await;
    let peak_kib = sidecar.memory("VmHWM");
    Cost { calls: fakes.calls(), peak_kib, log_lines: sidecar.kill().len() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_hostile_payloads_cost_no_call_no_memory_and_no_log_line() {
    let peace = cost(false).await;
    let attack = cost(true).await;
    println!(
        "peak memory {} KiB, without an attack {} KiB; log lines {} and {}; calls {:?} and {:?}",
        attack.peak_kib,
        peace.peak_kib,
        attack.log_lines,
        peace.log_lines,
        attack.calls,
        peace.calls
    );
    // Answers that are too long are requested in parts, which takes more rounds: how many depends
    // on the machine's load. Each requests some blocks again, however many payloads there are.
    let rounds = attack.calls["height"];
    for (name, calls) in &attack.calls {
        let usual = peace.calls.get(name).copied().unwrap_or(0);
        match name.as_str() {
            "height" | "limits" => assert!(*calls < BLOCKS, "{name}: {calls}"),
            // Blocks that are too long to be read beside others are asked for in smaller and
            // smaller ranges.
            "range" | "headers" => assert!(*calls < 2 * BLOCKS, "{name}: {calls}"),
            // Each range makes one run of confirmations at most, after which it is asked for.
            "node eth_blockNumber" => {
                assert!(*calls <= usual + attack.calls["range"], "{name}: {calls}");
            }
            // They are opened again when they were silent for long.
            "stream" | "heads" => {}
            _ => assert!(
                *calls <= usual + CALLS_OF_A_ROUND * rounds,
                "{name}: {calls}, without an attack {usual}, in {rounds} rounds"
            ),
        }
    }
    assert!(attack.log_lines <= peace.log_lines + 5, "{} lines", attack.log_lines);
    assert!(attack.peak_kib < 128 * 1024, "{} KiB", attack.peak_kib);
}
