//! Long bodies through a real Envoy with the shipped listener, whose buffer is 1 MiB.

use finality_e2e::{
    client::{Answer, http, http2, pieces, send},
    echo::{LENGTH, TRAILERS},
    edge::Edge,
    envoy::Framing,
    fake_sidecar::Says,
    wait::{PATIENCE, until},
};

const MIB: usize = 1024 * 1024;

/// A batch of about that size, with a tag at both ends.
fn batch(size: usize, tag: &str) -> String {
    let call = |block: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{{}},"{block}"]}}"#)
    };
    let filling = call(&"x".repeat(100_000));
    let mut batch = format!("[{},", call(tag));
    while batch.len() < size {
        batch.push_str(&filling);
        batch.push(',');
    }
    batch + &call(tag) + "]"
}

async fn post(client: &reqwest::Client, edge: &Edge, body: reqwest::Body) -> Answer {
    let request = client.post(edge.envoy.url()).header("content-type", "application/json");
    send(request.timeout(PATIENCE).body(body)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_64_mib_pass_in_constant_memory() {
    let edge = Edge::builder().start().await;
    edge.resolves_to(Ok(100)).await;
    let (body, expected) = (batch(64 * MIB, "espresso"), batch(64 * MIB, "0x64"));
    let before = edge.envoy.memory();
    let answer = post(http(), &edge, body.into()).await;
    assert_eq!((answer.status, answer.head()), (200, Some(100)));
    assert!(answer.body == expected.as_bytes());
    assert_eq!(answer.headers[LENGTH], "none");
    let grown = edge.envoy.memory().saturating_sub(before) / 1024;
    println!("Envoy has grown by {grown} MiB");
    assert!(grown < 32, "Envoy has grown by {grown} MiB");
}

/// A short chunk of a body, then one that alone fills the host's buffer, as a busy Envoy reads
/// them.
#[tokio::test(flavor = "multi_thread")]
async fn edge_parts_as_long_as_the_buffer() {
    const WIDER: &str = "              request_body_buffer_limit: 2097152\n";
    let (body, expected) = (batch(3 * MIB, "espresso"), batch(3 * MIB, "0x64"));
    // A body of known length needs no more than the listener's own buffer; for one of unknown
    // length, the shipped configuration has room for such a chunk on top of what is held.
    for known in [true, false] {
        let mut builder = Edge::builder().edit(
            "per_connection_buffer_limit_bytes: 1048576",
            "per_connection_buffer_limit_bytes: 70000",
        );
        if known {
            builder = builder.edit(WIDER, "");
        }
        let edge = builder.start().await;
        edge.resolves_to(Ok(100)).await;
        for client in [http().clone(), http2()] {
            for size in [1_000, 20_000] {
                let mut request =
                    client.post(edge.envoy.url()).header("content-type", "application/json");
                if known {
                    request = request.header("content-length", body.len());
                }
                let answer =
                    send(request.body(pieces(body.as_bytes(), size, false))).await.unwrap();
                assert_eq!((answer.status, answer.head()), (200, Some(100)), "{known} {size}");
                assert!(answer.body == expected.as_bytes(), "{known} {size}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_long_bodies_by_every_protocol() {
    for http2_to_node in [false, true] {
        let builder = Edge::builder();
        let builder = if http2_to_node { builder.http2_to_node() } else { builder };
        let edge = builder.start().await;
        edge.resolves_to(Ok(100)).await;
        let (body, expected) = (batch(3 * MIB, "espresso"), batch(3 * MIB, "0x64"));
        let untagged = batch(3 * MIB, "latest");
        for client in [http().clone(), http2()] {
            for size in [10_007, 1_000_003] {
                for trailer in [false, true] {
                    let sent = pieces(body.as_bytes(), size, trailer);
                    let answer = post(&client, &edge, sent).await;
                    assert_eq!((answer.status, answer.head()), (200, Some(100)));
                    assert!(answer.body == expected.as_bytes(), "{size} {trailer}");
                    let sent = pieces(untagged.as_bytes(), size, trailer);
                    let answer = post(&client, &edge, sent).await;
                    assert_eq!((answer.status, answer.head()), (200, None));
                    assert!(answer.body == untagged.as_bytes(), "{size} {trailer}");
                    if answer.headers.contains_key(TRAILERS) {
                        assert!(trailer && http2_to_node);
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_long_bodies_that_are_refused() {
    let edge = Edge::builder().says(Says::NoHead).start().await;
    edge.resolves_to(Err("no_head")).await;
    let body = batch(3 * MIB, "espresso");
    for (known, status, reason) in [(false, 503, "no_head"), (true, 400, "unparsable")] {
        if known {
            edge.sidecar.say(Says::head(100));
            edge.resolves_to(Ok(100)).await;
        }
        edge.node.take_seen();
        // A body without its end: the refusal comes when most of it has been forwarded.
        let answer =
            post(&http2(), &edge, pieces(&body.as_bytes()[..body.len() - 1], 20_000, false)).await;
        let error = answer.result().unwrap_err();
        assert_eq!((answer.status, error.reason()), (status, Some(reason)), "{error}");
        assert_eq!(answer.head(), None);
        // The node knows of the end of what it had later than the client.
        let seen = until("the node to have the rest", PATIENCE, async || {
            let seen = edge.node.take_seen();
            (!known || seen.iter().any(|seen| seen.body.len() > MIB)).then_some(seen)
        })
        .await;
        for seen in seen {
            assert!(!seen.complete);
            assert!(!String::from_utf8_lossy(&seen.body).contains("\"espresso\""));
        }
    }

    // Exact framing has a limit, and the filter enforces it before Envoy does.
    let edge = Edge::builder().framing(Framing::Exact).start().await;
    edge.resolves_to(Ok(100)).await;
    let answer = post(http(), &edge, body.into()).await;
    assert_eq!((answer.status, answer.result().unwrap_err().code()), (413, Some(-32600)));
}
