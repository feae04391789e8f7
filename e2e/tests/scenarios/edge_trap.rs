//! A module that fails in a real Envoy.
//!
//! The shipped module cannot fail on purpose. So the scenario runs the same module, to the last
//! instruction, with less memory than a long body takes: it traps, as any program without memory.

use finality_e2e::{
    client::{Answer, http, send},
    edge::{Edge, outcome, tagged, untagged},
    envoy::Framing,
    fake_sidecar::Says,
    process,
    tools::Tools,
    wait::{PATIENCE, until},
};
use wasm_encoder::{MemorySection, MemoryType, Module, RawSection};
use wasmparser::{Parser, Payload};

use crate::edge_local_replies::{refusal, refused};

/// Memory beyond the module's initial size, in pages of 64 KiB: more than small requests and one
/// copy of [`long`] take, less than two copies.
const MORE_PAGES: u64 = 20;

/// A tagged request of nearly the size that the shipped listener allows.
fn long() -> String {
    format!("{}{}", " ".repeat(900_000), tagged())
}

/// The module with exactly that much memory beyond its initial size.
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

/// Posts on a new connection, so to any worker.
async fn post(edge: &Edge, body: String) -> Answer {
    let request = http().post(edge.envoy.url()).header("content-type", "application/json");
    send(request.header("connection", "close").body(body)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_a_module_that_traps_is_restarted_and_has_the_head() {
    const TRAPS: u64 = 5;
    let folder = process::folder();
    let path = folder.path().join("limited.wasm");
    let shipped = std::fs::read(Tools::from_env().unwrap().filter).unwrap();
    std::fs::write(&path, limited(&shipped)).unwrap();
    let edge = Edge::builder().framing(Framing::Exact).module(&path).start().await;
    edge.resolves_to(Ok(100)).await;
    // From now on only the data shared by the workers has 100.
    edge.sidecar.say(Says::head(99));
    let logged = || edge.envoy.log().matches("unreachable").count();
    for trap in 1..=TRAPS {
        let before = logged();
        // Envoy answers instead of the module.
        let answer = post(&edge, long()).await;
        assert_eq!(refusal(&answer), refused(503, -32603, "unavailable"));
        assert!(logged() > before);
        // Envoy restarts the module for the next request, but not twice in a second.
        until("tagged and untagged requests", PATIENCE, async || {
            for _ in 0..10 {
                let (plain, answer) = (post(&edge, untagged()).await, post(&edge, tagged()).await);
                if answer.result().is_err_and(|error| error.code() == Some(-32603)) {
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
    // Whichever worker held the lease, one of them polls.
    edge.sidecar.say(Says::head(101));
    edge.resolves_to(Ok(101)).await;
    for seen in edge.node.take_seen() {
        assert!(!String::from_utf8_lossy(&seen.body).contains("espresso"));
    }
}
