//! A module that fails in a real Envoy.
//!
//! The shipped module has no way to fail on purpose. So it is the same module, to the last
//! instruction, that is allowed less memory than a long body takes: there it ends in a trap, as any
//! program without memory.

use finality_e2e::{
    client::{Answer, CallError, http, send},
    edge::{Edge, outcome, tagged, untagged},
    fake_sidecar::Says,
    process,
    tools::Tools,
    wait::{PATIENCE, until},
};
use wasm_encoder::{MemorySection, MemoryType, Module, RawSection};
use wasmparser::{Parser, Payload};

/// Memory beyond what the module begins with, in pages of 64 KiB: more than small requests take and
/// one copy of [`long`], less than two.
const MORE_PAGES: u64 = 20;

/// A tagged request that takes nearly what the shipped listener allows.
fn long() -> String {
    format!("{}{}", " ".repeat(900_000), tagged())
}

/// The module with that much more memory than it begins with, and no more.
fn limited(module: &[u8]) -> Vec<u8> {
    let mut limited = Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.unwrap();
        if let Payload::MemorySection(memories) = &payload {
            let mut section = MemorySection::new();
            for memory in memories.clone() {
                let minimum = memory.unwrap().initial;
                section.memory(MemoryType {
                    minimum,
                    maximum: Some(minimum + MORE_PAGES),
                    memory64: false,
                    shared: false,
                    page_size_log2: None,
                });
            }
            limited.section(&section);
        } else if let Some((id, range)) = payload.as_section() {
            let place = |offset| usize::try_from(offset).unwrap();
            let data = &module[place(range.start)..place(range.end)];
            limited.section(&RawSection { id, data });
        }
    }
    limited.finish()
}

/// Posts on a connection of its own, which is any worker's.
async fn post(edge: &Edge, body: String) -> Answer {
    let request = http().post(edge.envoy.url()).header("content-type", "application/json");
    send(request.header("connection", "close").body(body)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_a_module_that_traps_is_started_anew_and_knows_the_head() {
    const TRAPS: u64 = 5;
    let folder = process::folder();
    let path = folder.path().join("limited.wasm");
    let shipped = std::fs::read(Tools::from_env().unwrap().filter).unwrap();
    std::fs::write(&path, limited(&shipped)).unwrap();
    let edge = Edge::builder().module(&path).start().await;
    edge.resolves_to(Ok(100)).await;
    // From now on only what the workers share knows of 100.
    edge.sidecar.say(Says::head(99));
    for trap in 1..=TRAPS {
        // Envoy answers in place of the module.
        let answer = post(&edge, long()).await;
        assert_eq!((answer.status, answer.text()), (503, String::new()));
        assert!(edge.envoy.log().contains("unreachable"));
        // Envoy starts the module anew for the next request, but not twice in a second.
        until("tagged and untagged requests", PATIENCE, async || {
            for _ in 0..10 {
                let (plain, answer) = (post(&edge, untagged()).await, post(&edge, tagged()).await);
                if let Err(CallError::NotJsonRpc { status: 503, .. }) = answer.result() {
                    return None;
                }
                assert_eq!(outcome(&answer), Ok(100));
                if plain.status == 503 {
                    return None;
                }
                assert_eq!(plain.text(), untagged());
            }
            (edge.envoy.stat("wasm.finality.vm_reload_success").await >= trap).then_some(())
        })
        .await;
    }
    // Whoever held the lease: somebody polls.
    edge.sidecar.say(Says::head(101));
    edge.resolves_to(Ok(101)).await;
    for seen in edge.node.take_seen() {
        assert!(!String::from_utf8_lossy(&seen.body).contains("espresso"));
    }
}
