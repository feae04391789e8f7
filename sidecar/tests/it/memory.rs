//! Services that send as much as they can, as hard to read as they can.

use std::collections::BTreeMap;

use crate::support::{
    PATIENCE,
    canned::{Chain, Fakes, Signer, services::Flood},
    process::{Conditions, Sidecar},
};

/// Blocks before the floods, and one after each of them.
const BLOCKS: u64 = 20;
/// Long blocks after the floods, and one after each of them.
const LONG_BLOCKS: u64 = 3;
const ALL_BLOCKS: u64 = BLOCKS + FLOODS.len() as u64 + LONG_BLOCKS;
/// A longer answer is never read to its end.
const ENDLESS: usize = 60 * 1024 * 1024;
/// Almost as long as the longest answer that is read.
const LONG: usize = 31 * 1024 * 1024;
const LONG_BLOCK: usize = 23 * 1024 * 1024;

/// What may be resident, in KiB.
const RESIDENT: u64 = 128 * 1024;
/// What may be mapped: that, the program's file, and room for stacks and the allocator's arenas.
const ADDRESS_SPACE: u64 = (128 + 128) * 1024 * 1024;
/// As many stacks and arenas on a machine with many processors.
const VARIABLES: [(&str, &str); 2] = [("TOKIO_WORKER_THREADS", "2"), ("MALLOC_ARENA_MAX", "2")];

const EVERYWHERE: &str = "";
const RANGE: &str = "/namespace/";
const RPC: &str = " eth_";
const NODE_BLOCK: &str = "node eth_getBlockByNumber";

const fn flood(
    at: &'static str,
    start: &'static str,
    pattern: &'static str,
    length: usize,
    end: &'static str,
) -> Flood {
    Flood { at, start, pattern, length, end }
}

const FLOODS: [Flood; 17] = [
    flood(EVERYWHERE, "[", "[],", ENDLESS, "[]]"),
    flood(EVERYWHERE, "", "[", ENDLESS, ""),
    flood(EVERYWHERE, "", "{\"result\":", ENDLESS, ""),
    flood(EVERYWHERE, "\"", "\u{7f}", ENDLESS, "\""),
    flood(EVERYWHERE, "", "9", ENDLESS, ""),
    flood(EVERYWHERE, "", " ", ENDLESS, ""),
    flood(RANGE, "[", "[],", LONG, "[]]"),
    flood(RANGE, "", "[", LONG, ""),
    flood(RANGE, "[{\"proof\":null,\"transactions\":\"", "\u{7f}", LONG, "\"}]"),
    flood(RANGE, "[{\"proof\":\"", "\u{7f}", LONG, "\",\"transactions\":[]}]"),
    flood(
        RANGE,
        "[{\"proof\":{},\"transactions\":[",
        "{\"namespace\":22266222,\"payload\":\"\"},",
        LONG,
        "{\"namespace\":22266222,\"payload\":\"\"}]}]",
    ),
    flood(
        RANGE,
        "[{\"proof\":null,\"transactions\":[{\"namespace\":22266222,\"payload\":\"",
        "AAAA",
        LONG,
        "\"}]}]",
    ),
    flood(
        RANGE,
        "[{\"transactions\":[],\"proof\":{\"V1\":{\"ns_payload\":\"",
        "\\u0041\\/AA",
        LONG,
        "\"}}}]",
    ),
    flood(RPC, "{\"error\":{\"code\":1,\"message\":\"", "\u{7f}", LONG_BLOCK, "\"}}"),
    flood(RPC, "{\"result\":\"", "\u{7f}", LONG_BLOCK, "\"}"),
    flood(
        NODE_BLOCK,
        "{\"result\":{\"transactions\":[",
        "{\"hash\":\"0x0000000000000000000000000000000000000000000000000000000000000000\"},",
        LONG_BLOCK,
        "{\"hash\":1}]}}",
    ),
    flood(
        NODE_BLOCK,
        "{\"result\":{\"transactions\":[{\"input\":\"0x",
        "00",
        LONG_BLOCK,
        "\",\"hash\":1}]}}",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn whatever_services_send_takes_a_limited_amount_of_memory() {
    let start = async || {
        let chain = Chain::new(ALL_BLOCKS, 0, |number| number / 4);
        Fakes::start(chain, ALL_BLOCKS, Signer::new(7)).await
    };
    let all = [start().await, start().await, start().await];
    let urls: Vec<_> = all.iter().map(|fakes| format!("http://{}/v1", fakes.address)).collect();
    let mut arguments = all[0].arguments();
    arguments.retain(|argument| !argument.starts_with("--query-service-url"));
    arguments.push(format!("--query-service-url={}", urls.join(",")));
    arguments.push("--verification-interval=1ms".into());
    let folder = tempfile::tempdir().unwrap();
    let conditions = Conditions { address_space: Some(ADDRESS_SPACE), ..Conditions::default() };
    let sidecar = Sidecar::start_under(&conditions, folder.path(), &arguments, &VARIABLES);
    let confirm = async |number: u64| {
        all.iter().for_each(|fakes| fakes.post(vec![fakes.signed(number)]));
        let reached = tokio::time::timeout(PATIENCE, sidecar.head_reaches(number));
        reached.await.unwrap_or_else(|_| panic!("the head is not at {number}"));
    };
    for number in 1..=BLOCKS {
        confirm(number).await;
    }
    for (number, flood) in (BLOCKS + 1..).zip(FLOODS) {
        let floods = || all.iter().map(|fakes| count(&fakes.calls(), "flood")).sum::<u64>();
        let before = floods();
        all.iter().for_each(|fakes| fakes.set_flood(Some(flood)));
        all.iter().for_each(|fakes| fakes.post(vec![vec![0; 3]]));
        let flooded = async {
            while floods() < before + 4 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, flooded).await.unwrap_or_else(|_| panic!("{flood:?}"));
        all.iter().for_each(|fakes| fakes.set_flood(None));
        // It goes on as if nothing had been.
        confirm(number).await;
        let resident = sidecar.memory("VmHWM");
        assert!(resident <= RESIDENT, "{resident} KiB after {flood:?}");
    }
    // As long as a block of Espresso's networks may be.
    for number in ALL_BLOCKS - LONG_BLOCKS + 1..=ALL_BLOCKS {
        all.iter().for_each(|fakes| fakes.post(vec![vec![0; 10_000_000 - 8]]));
        confirm(number).await;
    }
    let (resident, mapped) = (sidecar.memory("VmHWM"), sidecar.memory("VmPeak"));
    println!("{resident} KiB resident, {mapped} KiB mapped");
    assert!(resident <= RESIDENT, "{resident} KiB");
}

fn count(calls: &BTreeMap<String, u64>, name: &str) -> u64 {
    calls.get(name).copied().unwrap_or_default()
}
