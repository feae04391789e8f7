//! The filter on a real Envoy: several sidecars, configurations that change, restricted
//! capabilities.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use finality_e2e::{
    client::{Client, http, send},
    edge::{Edge, outcome, resolve, tagged, untagged},
    fake_sidecar::{FakeSidecar, Says},
    ports::free_port,
    tools::Tools,
    wait::{PATIENCE, until},
};
use tokio::{sync::watch, task::JoinSet, time::timeout};

/// The difference between one pushed configuration and the next.
const DEPTH: &str = r#""max_depth": 128"#;

#[tokio::test(flavor = "multi_thread")]
async fn edge_two_listeners_with_two_sidecars_do_not_mix_heads() {
    let other = FakeSidecar::start(Says::head(7)).await;
    let (port, other_port) = (free_port(), other.port());
    let shipped = std::fs::read_to_string(Tools::from_env().unwrap().envoy_yaml).unwrap();
    let (_, rest) = shipped.split_once("  listeners:\n").unwrap();
    let (listener, _) = rest.split_once("\n  clusters:\n").unwrap();
    let second = listener
        .replace("json_rpc", "other")
        .replace("finality_sidecar", "other_sidecar")
        .replace("port_value: 8545", &format!("port_value: @{port}"));
    let cluster = format!(
        "  - name: other_sidecar\n    load_assignment:\n      cluster_name: other_sidecar\n      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {other_port} }} }} }} }}] }}]\n"
    );
    let edge = Edge::builder()
        .edit("\n  clusters:\n", &format!("{second}\n  clusters:\n{cluster}"))
        .start()
        .await;
    let second = Client::new(format!("http://127.0.0.1:{port}"));
    let both = async |first: Result<u64, String>, other: Result<u64, String>| {
        until("both heads", PATIENCE, async || {
            let found = (edge.resolve().await, resolve(&second).await);
            (found == (first.clone(), other.clone())).then_some(())
        })
        .await;
    };
    both(Ok(100), Ok(7)).await;
    other.say(Says::head(8));
    both(Ok(100), Ok(8)).await;
    edge.sidecar.say(Says::Head { number: 101, status: "diverged", chain_id: 1 });
    until("an answer of another chain", PATIENCE, async || {
        (edge.envoy.filter_stat("answers_refused_chain_id_total").await > 0).then_some(())
    })
    .await;
    other.say(Says::head(9));
    both(Ok(100), Ok(9)).await;
    other.say(Says::Head { number: 9, status: "diverged", chain_id: 22_266_222 });
    both(Ok(100), Err("diverged".into())).await;
}

/// Sends tagged requests on one connection, so to one worker, until any client has seen the last
/// head. No answer may be below what any client had seen when the request was sent.
async fn watch_heads(url: String, seen: Arc<watch::Sender<u64>>, last: u64) {
    let client = reqwest::Client::new();
    while *seen.borrow() < last {
        let floor = *seen.borrow();
        let request = client.post(&url).header("content-type", "application/json");
        let number = outcome(&send(request.body(tagged())).await.unwrap()).unwrap();
        assert!(number >= floor, "{number} after {floor}");
        seen.send_if_modified(|seen| {
            let newer = number > *seen;
            *seen = number.max(*seen);
            newer
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_no_worker_goes_back_behind_another() {
    const LAST: u64 = 1_100;
    let edge = Edge::builder().many_requests().start().await;
    edge.resolves_to(Ok(100)).await;
    let (sender, mut seen) = watch::channel(100);
    let sender = Arc::new(sender);
    let mut clients = JoinSet::new();
    for _ in 0..6 {
        clients.spawn(watch_heads(edge.envoy.url(), Arc::clone(&sender), LAST));
    }
    for number in 101..=LAST {
        edge.sidecar.say(Says::head(number));
        tokio::select! {
            reached = timeout(PATIENCE, seen.wait_for(|seen| *seen >= number)) => {
                reached.expect("a client sees each head in time").unwrap();
            }
            // Ends before the last head only by a panic.
            Some(ended) = clients.join_next() => ended.unwrap(),
        }
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
}

/// Sends tagged requests until `stop`. The head must never go down, and every request must be
/// answered.
async fn load(url: String, stop: Arc<AtomicBool>) -> (u64, u64) {
    let (mut head, mut requests) = (0, 0);
    while !stop.load(Ordering::SeqCst) {
        // Each on a new connection: a draining listener may close an idle one.
        let request = http().post(&url).header("content-type", "application/json");
        let answer = send(request.header("connection", "close").body(tagged())).await.unwrap();
        let number = outcome(&answer).unwrap();
        assert!(number >= head, "the head fell from {head} to {number}");
        (head, requests) = (number, requests + 1);
    }
    (head, requests)
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_configurations_change_under_load() {
    let edge = Edge::builder().many_requests().filter(DEPTH).dynamic().start().await;
    edge.resolves_to(Ok(100)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> =
        (0..2).map(|_| tokio::spawn(load(edge.envoy.url(), Arc::clone(&stop)))).collect();
    let mut depth = DEPTH.to_owned();
    for number in 101..=120 {
        let next = format!(r#""max_depth": {number}"#);
        assert!(edge.envoy.push(&depth, &next).await);
        depth = next;
        edge.sidecar.say(Says::head(number));
        edge.resolves_to(Ok(number)).await;
    }
    // A configuration that the filter rejects: the previous one keeps running and gets new heads.
    assert!(!edge.envoy.push(&depth, r#""max_depth": "deep""#).await);
    edge.sidecar.say(Says::head(121));
    edge.resolves_to(Ok(121)).await;
    assert!(edge.envoy.log().contains("max_depth must be"), "{}", edge.envoy.log());
    assert!(edge.envoy.push(r#""max_depth": "deep""#, DEPTH).await);
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        let (head, requests) = client.await.unwrap();
        assert!(head >= 120 && requests > 100, "{requests} requests, head {head}");
    }
    // The pollers of drained listeners end with them; one is left.
    edge.envoy.drained().await;
    until("one poller", PATIENCE, async || (edge.sidecar.waiting() == 1).then_some(())).await;
    edge.sidecar.say(Says::head(122));
    edge.resolves_to(Ok(122)).await;
}

/// How many configurations [`edge_memory_is_back_after_many_configurations`] pushes. 1,000 take
/// half a minute: `FINALITY_E2E_PUSHES=1000`.
fn pushes() -> u64 {
    std::env::var("FINALITY_E2E_PUSHES").map_or(60, |count| count.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_memory_is_back_after_many_configurations() {
    let edge = Edge::builder().filter(DEPTH).dynamic().start().await;
    edge.resolves_to(Ok(100)).await;
    let mut depth = DEPTH.to_owned();
    let mut memory = Vec::new();
    // The first ones grow the allocator's pools to their size.
    for (first, count) in [(1000, 30), (2000, pushes())] {
        for number in first..first + count {
            let next = format!(r#""max_depth": {number}"#);
            assert!(edge.envoy.push(&depth, &next).await);
            depth = next;
            // A few at a time at most, as with an operator who pushes by hand or by a controller.
            if number % 10 == 0 {
                edge.envoy.drained().await;
            }
        }
        edge.envoy.drained().await;
        assert_eq!(edge.resolve().await, Ok(100));
        memory.push(edge.envoy.memory());
    }
    println!("memory in KiB after 30 and after {} more configurations: {memory:?}", pushes());
    assert!(memory[1] * 10 <= memory[0] * 11, "{memory:?} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_a_capability_that_is_missing_stops_nothing_else() {
    let edge =
        Edge::builder().edit("                      proxy_http_call: {}\n", "").start().await;
    until("polls to fail", PATIENCE, async || {
        (edge.envoy.filter_stat("polls_failed_total").await > 0).then_some(())
    })
    .await;
    assert_eq!(edge.resolve().await, Err("no_head".into()));
    assert_eq!(edge.sidecar.asked(), 0);
    assert_eq!(edge.envoy.stat("wasm.envoy.wasm.runtime.v8.active").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_a_missing_capability_that_tags_need_lets_no_tag_pass() {
    let edge = Edge::builder()
        .edit("                      proxy_set_buffer_bytes: {}\n", "")
        .start()
        .await;
    let post = async |body: String| edge.client().post(body).await.unwrap();
    // The call ends the worker's VM, and Envoy answers.
    until("the head to be known", PATIENCE, async || {
        let answer = post(tagged()).await;
        let error = answer.result().err()?;
        (error.reason() == Some("unavailable")).then_some(())
    })
    .await;
    until("the VM to be back", PATIENCE, async || {
        let answer = post(untagged()).await;
        (answer.text() == untagged()).then_some(())
    })
    .await;
    for seen in edge.node.take_seen() {
        assert!(!String::from_utf8_lossy(&seen.body).contains("espresso"));
    }
}
