//! Scenario 1: the tag advances, and tagged answers equal direct answers.

use finality_core::head::{Mode, Source, Status};
use finality_e2e::{
    devnet::Devnet, emulated::Emulated, envoy::Framing, l1_info::L1InfoFormat, rollup::Rollup,
};

/// The head follows L2; answers it.
pub(crate) async fn head_follows(net: &Devnet<impl Rollup>) -> u64 {
    // A sidecar that has just started may not have seen the node yet.
    let first = net.head_reaches(0).await;
    let watch = net.watch();
    for _ in 0..4 {
        net.produce(4).await;
        net.head_reaches(net.height().await).await;
        net.assert_tagged_equals_direct().await;
    }
    let head = net.height().await;
    assert!(head >= first + 10);
    let report = net.sidecar.head().await.unwrap();
    assert_eq!((report.number, report.source), (head, Source::Espresso));
    assert_eq!((report.mode, report.status), (Mode::Espresso, Status::Ok));
    assert_eq!(report.espresso.unwrap().number, head);
    let seen = watch.finish().await;
    assert_eq!((seen.refused, seen.unanswered, seen.without_block), (0, 0, 0), "{seen:?}");
    assert_eq!(seen.heads.last(), Some(&head));
    head
}

/// The node gets the body with nothing but the tag changed, framed as configured.
async fn node_gets_the_number(net: &Devnet<Emulated>, framing: Framing, head: u64) {
    let body = r#"{"jsonrpc":"2.0","id":"as-it-reached-the-node","method":"eth_getBalance","params":["0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc","espresso"]}"#;
    let answer = net.client().post(body).await.unwrap();
    assert_eq!(answer.head(), Some(head));
    assert_eq!(answer.status, 200);
    let expected = body.replace("espresso", &format!("{head:#x}"));
    let seen = net.rollup.op_node.seen("as-it-reached-the-node");
    assert_eq!(seen.len(), 1);
    assert_eq!(String::from_utf8_lossy(&seen[0].body), expected);
    assert!(seen[0].through_envoy);
    let length = (framing == Framing::Exact).then_some(expected.len());
    assert_eq!(seen[0].content_length, length);
}

async fn tag_advances(framing: Framing, format: L1InfoFormat) {
    let net = Devnet::emulated().framing(framing).l1_info(format).start().await;
    let head = head_follows(&net).await;
    node_gets_the_number(&net, framing, head).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s01_tag_advances_exact() {
    tag_advances(Framing::Exact, L1InfoFormat::Jovian).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s01_tag_advances_chunked() {
    tag_advances(Framing::Chunked, L1InfoFormat::Ecotone).await;
}

mod real {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn s01_real_tag_advances() {
        let net = Devnet::real().framing(Framing::Chunked).start().await;
        head_follows(&net).await;
    }
}
