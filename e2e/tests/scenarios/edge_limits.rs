//! Too many clients, slow ones and greedy ones: the limits of the shipped configuration.

use std::net::IpAddr;

use finality_e2e::{
    client::{Answer, http, http2, raw, send, unending},
    echo::HELD,
    edge::{Edge, tagged, untagged},
    wait::{PATIENCE, until},
    websocket::{Connection, Http},
};
use futures::{StreamExt, stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tokio_tungstenite::tungstenite::Message;

use crate::edge_local_replies::{refusal, refused};

/// How many requests, and how many WebSocket connections, the node gets at once.
const AT_ONCE: u64 = 4096;

/// Lets this process and its Envoy open as many files as the system allows.
fn many_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

fn post(client: &reqwest::Client, edge: &Edge) -> reqwest::RequestBuilder {
    client.post(edge.envoy.url()).header("content-type", "application/json")
}

/// How many requests the node has now.
async fn active(edge: &Edge) -> u64 {
    edge.envoy.stat("cluster.full_node.upstream_rq_active").await
}

/// A WebSocket handshake that is refused.
async fn refused_handshake(edge: &Edge) -> Answer {
    let request = http().get(edge.envoy.url()).header("connection", "upgrade");
    let request = request.header("upgrade", "websocket").header("sec-websocket-version", "13");
    send(request.header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")).await.unwrap()
}

async fn echoes(connection: &mut Connection) {
    connection.send(Message::text(untagged())).await;
    assert_eq!(connection.message().await, Message::text(untagged()));
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_idle_websockets_leave_room_for_requests() {
    many_files();
    let edge = Edge::builder().start().await;
    edge.resolves_to(Ok(100)).await;
    let url = edge.envoy.url();
    let open = stream::iter(0..AT_ONCE).map(|_| Connection::open(Http::One, &url));
    let mut connections: Vec<_> = open.buffer_unordered(64).collect().await;
    assert_eq!(active(&edge).await, AT_ONCE);
    assert_eq!(refusal(&refused_handshake(&edge).await), refused(503, -32005, "overloaded"));
    assert_eq!(edge.envoy.stat("cluster.full_node.upstream_rq_active_overflow").await, 1);
    // The name in the alert.
    let series = "envoy_cluster_upstream_rq_active_overflow{envoy_cluster_name=\"full_node\"} 1";
    assert!(edge.envoy.prometheus().await.lines().any(|line| line == series));
    for client in [http().clone(), http2()] {
        for (body, head) in [(tagged(), Some(100)), (untagged(), None)] {
            let answer = send(post(&client, &edge).body(body)).await.unwrap();
            assert_eq!((answer.status, answer.head()), (200, head), "{}", answer.text());
        }
    }
    echoes(&mut connections[0]).await;

    // There is room for as many as leave.
    connections.pop();
    until("room for a connection", PATIENCE, async || {
        (active(&edge).await < AT_ONCE).then_some(())
    })
    .await;
    echoes(&mut Connection::open(Http::One, &url).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_more_requests_than_the_node_gets_at_once_are_refused() {
    // As many as one connection may ask at once.
    const EACH: u64 = 100;
    many_files();
    let edge = Edge::builder().start().await;
    edge.resolves_to(Ok(100)).await;
    let mut held = JoinSet::new();
    let mut client = http2();
    for number in 0..AT_ONCE {
        if number % EACH == 0 {
            client = http2();
        }
        let request = client.post(format!("{}{HELD}", edge.envoy.url())).body(tagged());
        held.spawn(send(request.header("content-type", "application/json").timeout(3 * PATIENCE)));
    }
    until("the node to be busy", PATIENCE, async || (active(&edge).await == AT_ONCE).then_some(()))
        .await;
    for client in [http().clone(), http2()] {
        for body in [tagged(), untagged()] {
            let answer = send(post(&client, &edge).body(body)).await.unwrap();
            assert_eq!(refusal(&answer), refused(503, -32005, "overloaded"));
        }
    }
    assert_eq!(edge.envoy.stat("cluster.full_node.upstream_rq_active_overflow").await, 4);
    // WebSocket clients have room of their own.
    echoes(&mut Connection::open(Http::One, &edge.envoy.url()).await).await;

    edge.node.release();
    while let Some(answer) = held.join_next().await {
        let answer = answer.unwrap().unwrap();
        assert_eq!((answer.status, answer.head()), (200, Some(100)), "{}", answer.text());
    }
    edge.resolves_to(Ok(100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_a_client_has_a_limit_of_its_own() {
    const LIMIT: usize = 5;
    let edge = Edge::builder()
        .edit("max_tokens: 10000", &format!("max_tokens: {LIMIT}"))
        .edit(
            "tokens_per_fill: 1000, fill_interval: 1s",
            "tokens_per_fill: 1, fill_interval: 3600s",
        )
        .start()
        .await;
    let client = |address: &str| {
        let address: IpAddr = address.parse().unwrap();
        reqwest::Client::builder().no_proxy().local_address(address).build().unwrap()
    };
    let (greedy, other) = (client("127.0.0.2"), client("127.0.0.3"));
    for _ in 0..LIMIT {
        assert_eq!(send(post(&greedy, &edge).body(untagged())).await.unwrap().status, 200);
    }
    for forged in ["", "198.51.100.1"] {
        let request = post(&greedy, &edge).header("x-forwarded-for", forged);
        let answer = send(request.body(untagged())).await.unwrap();
        assert_eq!(refusal(&answer), refused(429, -32005, "overloaded"));
    }
    let answer = send(greedy.get(edge.envoy.url())).await.unwrap();
    assert_eq!((answer.status, answer.text()), (429, "local_rate_limited".into()));
    assert_eq!(send(post(&other, &edge).body(untagged())).await.unwrap().status, 200);
    assert_eq!(edge.envoy.stat("clients.http_local_rate_limit.rate_limited").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_clients_that_never_finish_end_and_long_calls_go_on() {
    let edge = Edge::builder()
        .edit("request_headers_timeout: 10s", "request_headers_timeout: 1s")
        .edit("request_timeout: 30s", "request_timeout: 2s")
        .start()
        .await;
    edge.resolves_to(Ok(100)).await;
    let url = edge.envoy.url();
    let mut websockets =
        [Connection::open(Http::One, &url).await, Connection::open(Http::Two, &url).await];
    // The last header would end it, if Envoy listened to strangers.
    let request = http()
        .post(format!("{url}{HELD}"))
        .header("x-envoy-upstream-rq-timeout-ms", "1")
        .body(tagged());
    let call = tokio::spawn(send(request.header("content-type", "application/json")));
    until("the call to reach the node", PATIENCE, async || {
        (active(&edge).await == 3).then_some(())
    })
    .await;
    // All of them are older than these.
    let half = raw(&url, b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Le").await;
    assert!(half.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&half));
    let unfinished = post(&http2(), &edge).body(unending(untagged().into()));
    assert_eq!(send(unfinished).await.unwrap().status, 408);

    for connection in &mut websockets {
        echoes(connection).await;
    }
    assert!(!call.is_finished());
    edge.node.release();
    let answer = call.await.unwrap().unwrap();
    assert_eq!((answer.status, answer.head()), (200, Some(100)));
}

/// What one HTTP/2 connection may do, as Envoy's first frame tells.
#[tokio::test(flavor = "multi_thread")]
async fn edge_an_http_2_connection_has_limits() {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let edge = Edge::builder().start().await;
    let url = edge.envoy.url();
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
    let settings = b"\0\0\0\x04\0\0\0\0\0";
    stream.write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..]].concat()).await.unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 4, "a SETTINGS frame");
    let mut payload = vec![0; usize::from(head[2])];
    stream.read_exact(&mut payload).await.unwrap();
    let value = |wanted: u16| {
        payload.chunks_exact(6).find_map(|setting| {
            let (name, value) = setting.split_at(2);
            (name == wanted.to_be_bytes()).then(|| u32::from_be_bytes(value.try_into().unwrap()))
        })
    };
    assert_eq!(value(MAX_CONCURRENT_STREAMS), Some(100));
    assert_eq!(value(INITIAL_WINDOW_SIZE), Some(262_144));
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_without_memory_requests_are_refused() {
    let edge = Edge::builder()
        .edit("max_heap_size_bytes: 1073741824", "max_heap_size_bytes: 1")
        .start()
        .await;
    until("Envoy to look at its memory", PATIENCE, async || {
        let answer = send(post(http(), &edge).body(untagged())).await.unwrap();
        (answer.status != 200).then(|| {
            assert_eq!(refusal(&answer), refused(503, -32005, "overloaded"));
        })
    })
    .await;
    // The workers are told one after the other.
    until("the other worker", PATIENCE, async || {
        let answer = send(http().get(edge.envoy.url())).await.unwrap();
        (answer.status != 200).then(|| {
            assert_eq!((answer.status, answer.text()), (503, "envoy overloaded".into()));
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_more_connections_than_envoy_may_have_are_closed() {
    let edge = Edge::builder()
        .edit("max_active_downstream_connections: 20000", "max_active_downstream_connections: 2")
        .start()
        .await;
    let url = edge.envoy.url();
    let address = url.trim_start_matches("http://");
    let overflow = format!("listener.{}.downstream_global_cx_overflow", address.replace(':', "_"));
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        assert_ne!(stream.read(&mut [0; 16]).await.unwrap(), 0);
        open.push(stream);
    }
    let mut third = TcpStream::connect(address).await.unwrap();
    // An end or a reset.
    assert!(matches!(third.read(&mut [0; 16]).await, Ok(0) | Err(_)));
    // Envoy counts it after it has closed it.
    until("it to be counted", PATIENCE, async || {
        (edge.envoy.stat(&overflow).await == 1).then_some(())
    })
    .await;
    open.clear();
    until("room for a connection", PATIENCE, async || {
        send(http().get(edge.envoy.url())).await.ok().map(|_| ())
    })
    .await;
}
