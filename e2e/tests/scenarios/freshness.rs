//! Scenario 7: what streams say is only a reason to look.

use std::time::Instant;

use finality_e2e::{
    devnet::Devnet,
    hotshot::StreamFault,
    new_heads::NewHeads,
    rollup::Rollup,
    wait::{PATIENCE, until},
};

/// What dependencies were asked so far.
async fn calls<R: Rollup>(net: &Devnet<R>) -> f64 {
    let metrics = net.sidecar.get("/metrics").await.unwrap();
    let metrics = metrics.text();
    let calls = metrics.lines().filter(|line| line.starts_with("espresso_upstream_calls_total{"));
    calls.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

/// How often streams have begun a round.
async fn told<R: Rollup>(net: &Devnet<R>, target: &str) -> f64 {
    let series = format!("espresso_verifier_wakeups_total{{target=\"{target}\"}}");
    net.sidecar.metric(&series).await.unwrap()
}

/// Blocks come, and the head follows. Returns the calls for that, and its seconds.
async fn go_on<R: Rollup>(net: &Devnet<R>) -> (f64, f64) {
    let (before, started) = (calls(net).await, Instant::now());
    for _ in 0..5 {
        net.produce(1).await;
        net.head_reaches(net.height().await).await;
    }
    net.assert_tagged_equals_direct().await;
    (calls(net).await - before, started.elapsed().as_secs_f64())
}

/// What streams say is only a reason to look: whatever they do, the head is right and goes on, as
/// it does by polling. `heads` are the streams of node and L1.
async fn streams_cost_freshness_alone<R: Rollup>(net: &Devnet<R>, heads: &NewHeads) {
    let watch = net.watch();
    net.produce(2).await;
    net.head_reaches(net.height().await).await;
    until("a stream", PATIENCE, async || (net.hotshot.requests("stream") > 0).then_some(())).await;
    let usual = go_on(net).await;
    assert!(told(net, "query").await > 0.0);
    for fault in [StreamFault::Lies, StreamFault::Stalls, StreamFault::Dies, StreamFault::Floods] {
        net.hotshot.set_stream_fault(Some(fault));
        heads.set_fault(Some(fault));
        let (before, opened) = (told(net, "l1").await, net.hotshot.requests("stream"));
        if fault == StreamFault::Lies {
            until("lies to be heard", PATIENCE, async || {
                (told(net, "l1").await > before).then_some(())
            })
            .await;
        }
        // The one that floods is left alone for a minute after that, so it comes last.
        if fault == StreamFault::Floods {
            until("a stream that floods", PATIENCE, async || {
                (net.hotshot.requests("stream") > opened).then_some(())
            })
            .await;
        }
        let (calls, seconds) = go_on(net).await;
        // Some are for the blocks, some for the time.
        let budget = 2.0 * usual.0 * (seconds / usual.1).max(1.0);
        assert!(calls <= budget, "{fault:?}: {calls} calls in {seconds} s, usually {usual:?}");
        if matches!(fault, StreamFault::Stalls | StreamFault::Dies) {
            let before = told(net, "query").await;
            go_on(net).await;
            assert_eq!(told(net, "query").await, before, "{fault:?}: polling finds the blocks");
        }
    }
    net.hotshot.set_stream_fault(None);
    heads.set_fault(None);
    go_on(net).await;
    watch.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s07_streams_that_lie_flood_stall_or_die_cost_freshness_alone() {
    let heads = NewHeads::start().await;
    let net = Devnet::emulated()
        .sidecar("--verification-interval", "1s")
        .sidecar("--l1-ws", &heads.url())
        .sidecar("--node-execution-ws", &heads.url());
    streams_cost_freshness_alone(&net.start().await, &heads).await;
}

/// A single L1 endpoint tells of its blocks at its HTTP address.
#[tokio::test(flavor = "multi_thread")]
async fn s07_l1_tells_when_to_read_it() {
    let net = Devnet::emulated().sidecar("--verification-interval", "1s").start().await;
    let watch = net.watch();
    let before = told(&net, "l1").await;
    until("L1 to be heard", PATIENCE, async || {
        net.produce(1).await;
        net.head_reaches(net.height().await).await;
        (told(&net, "l1").await > before).then_some(())
    })
    .await;
    watch.finish().await;
}

mod real {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn s07_real_streams_that_lie_flood_stall_or_die_cost_freshness_alone() {
        let heads = NewHeads::start().await;
        let net = Devnet::real()
            .sidecar("--verification-interval", "1s")
            .sidecar("--l1-ws", &heads.url())
            .sidecar("--node-execution-ws", &heads.url());
        streams_cost_freshness_alone(&net.start().await, &heads).await;
    }
}
