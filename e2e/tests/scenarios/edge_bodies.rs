//! The filter on a real Envoy: compressed bodies, and traffic that is not JSON-RPC.

use std::io::Write;

use finality_core::headers;
use finality_e2e::{
    builder::Builder,
    client::{Answer, http, http2, pieces, send},
    echo::{ANSWER, LENGTH, METHOD, TRAILERS},
    edge::{Edge, Parts, outcome, tagged, untagged},
    envoy::Framing,
    tools::Tools,
};
use reqwest::Method;
use serde_json::Value;

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn brotli(body: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    let mut encoder = brotli::CompressorWriter::new(&mut encoded, 4096, 9, 22);
    encoder.write_all(body).unwrap();
    drop(encoder);
    encoded
}

/// The shipped configuration with the shipped decompressors.
fn with_decompressors() -> Builder<Parts> {
    let path = Tools::from_env().unwrap().envoy_yaml.with_file_name("decompressor.yaml");
    let filters = std::fs::read_to_string(path).unwrap();
    let before = "          - name: finality\n";
    Edge::builder().edit(before, &format!("{filters}{before}"))
}

fn json_post(edge: &Edge, encoding: &str, body: Vec<u8>) -> reqwest::RequestBuilder {
    let request = http().post(edge.envoy.url()).header("content-type", "application/json");
    request.header("content-encoding", encoding).body(body)
}

async fn post(edge: &Edge, encoding: &str, body: Vec<u8>) -> Answer {
    send(json_post(edge, encoding, body)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_compressed_requests_behind_a_decompressor() {
    for framing in [Framing::Exact, Framing::Chunked] {
        let edge = with_decompressors().framing(framing).start().await;
        edge.resolves_to(Ok(100)).await;
        let rewritten = tagged().replace("espresso", "0x64");
        for (encoding, body) in
            [("gzip", gzip(tagged().as_bytes())), ("br", brotli(tagged().as_bytes()))]
        {
            let answer = post(&edge, encoding, body.clone()).await;
            assert_eq!(
                (answer.text(), answer.head()),
                (rewritten.clone(), Some(100)),
                "{encoding}"
            );
            let client = http2();
            let request = client
                .post(edge.envoy.url())
                .header("content-type", "application/json")
                .header("content-encoding", encoding)
                .body(pieces(&body, 7, true));
            assert_eq!(send(request).await.unwrap().text(), rewritten, "{encoding}");
        }
        let plain = edge.client().post(untagged()).await.unwrap();
        assert_eq!(plain.text(), untagged());

        // An encoding without a decompressor is still refused.
        for encoding in ["zstd", "deflate"] {
            let answer = post(&edge, encoding, tagged().into_bytes()).await;
            assert_eq!(answer.status, 415, "{encoding}");
        }
        // Truncated, emptied, garbage: refused, tagged or not. What was already forwarded of a long
        // body contains no tag and is not complete JSON.
        let batch = |request: String| format!("[{}]", vec![request; 500].join(","));
        let (long, plain) = (gzip(batch(tagged()).as_bytes()), gzip(batch(untagged()).as_bytes()));
        let short = gzip(tagged().as_bytes());
        let padded = format!("{}{}", tagged(), " ".repeat(900_000));
        let cases = [
            ("gzip", long[..long.len() / 2].to_vec()),
            ("gzip", plain[..plain.len() / 2].to_vec()),
            // More than a hundred times its size, where Envoy stops.
            ("gzip", long),
            ("gzip", plain),
            ("gzip", short[..60].to_vec()),
            ("br", brotli(tagged().as_bytes())[..50].to_vec()),
            // Nothing is left of these.
            ("gzip", short[..12].to_vec()),
            ("gzip", tagged().into_bytes()),
            ("br", tagged().into_bytes()),
            ("gzip, br", short),
        ];
        edge.node.take_seen();
        for (case, (encoding, body)) in cases.iter().enumerate() {
            let request = json_post(&edge, encoding, body.clone());
            let answer = send(request).await.unwrap();
            assert_eq!(answer.status, 400, "{case}: {}", answer.text());
            assert_eq!(answer.result().unwrap_err().code(), Some(-32700), "{case}");
        }
        for seen in edge.node.take_seen() {
            let text = String::from_utf8_lossy(&seen.body).into_owned();
            assert!(!text.contains("espresso"), "{text}");
            assert!(serde_json::from_slice::<Value>(&seen.body).is_err(), "{text}");
            assert!(!seen.complete, "{text}");
        }
        let answer = post(&edge, "gzip", gzip(padded.as_bytes())).await;
        assert_eq!(answer.text().trim_end(), rewritten, "cut in white space");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_traffic_that_is_not_json_rpc_passes_byte_by_byte() {
    for framing in [Framing::Exact, Framing::Chunked] {
        let edge = Edge::builder().framing(framing).start().await;
        edge.resolves_to(Ok(100)).await;
        let all: Vec<u8> = (0..=255).cycle().take(70_000).collect();
        let body = tagged().into_bytes();
        for (method, kind, body) in [
            (Method::GET, "", vec![]),
            (Method::PUT, "application/grpc", body.clone()),
            (Method::HEAD, "", vec![]),
            (Method::OPTIONS, "", vec![]),
            (Method::POST, "application/grpc", [b"\0\0\0\0\x58".to_vec(), body.clone()].concat()),
            (Method::POST, "application/x-www-form-urlencoded", body.clone()),
            (Method::POST, "multipart/form-data; boundary=x", body.clone()),
            (Method::POST, "application/octet-stream", all.clone()),
            (Method::POST, "application/json", all),
            (Method::POST, "application/json", b"not JSON".to_vec()),
            (Method::POST, "application/json", vec![]),
        ] {
            for client in [http().clone(), http2()] {
                edge.node.take_seen();
                let url = format!("{}/health?espresso=%22espresso%22&a=%00", edge.envoy.url());
                let request = client
                    .request(method.clone(), url)
                    .header("origin", "https://example.org")
                    .header("x-custom", "\"espresso\"")
                    .header("te", "trailers")
                    .header("content-type", kind)
                    .body(body.clone());
                let answer = send(request).await.unwrap();
                assert_eq!(answer.status, 200, "{method} {kind}");
                assert_eq!(answer.headers[METHOD], method.as_str());
                assert_eq!(answer.head(), None);
                let seen = edge.node.take_complete();
                assert_eq!(seen.len(), 1);
                assert_eq!(seen[0].body, body, "{method} {kind}");
                assert_eq!(seen[0].path, "/health?espresso=%22espresso%22&a=%00");
                assert_eq!(seen[0].headers["origin"], "https://example.org");
                assert_eq!(seen[0].headers["x-custom"], "\"espresso\"");
                if method != Method::HEAD {
                    assert_eq!(answer.body, body);
                }
                // Only inspected bodies lose their length, and only with chunked framing.
                let inspected = method == Method::POST && kind == "application/json";
                if framing == Framing::Exact || !inspected {
                    let length = if body.is_empty() { None } else { Some(body.len().to_string()) };
                    let got = answer.headers[LENGTH].to_str().unwrap();
                    assert!(
                        length.as_ref().is_none_or(|length| length == got),
                        "{method} {kind}: {got}"
                    );
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_a_body_is_inspected_whatever_the_method() {
    for framing in [Framing::Exact, Framing::Chunked] {
        let edge = Edge::builder().framing(framing).start().await;
        edge.resolves_to(Ok(100)).await;
        for client in [http().clone(), http2()] {
            for (method, kind) in [
                (Method::GET, "application/json"),
                (Method::PUT, "application/json"),
                (Method::PATCH, ""),
                (Method::DELETE, "text/plain"),
                (Method::OPTIONS, "text/html"),
            ] {
                let request = client.request(method.clone(), edge.envoy.url());
                let request = request.header("content-type", kind).body(tagged());
                assert_eq!(outcome(&send(request).await.unwrap()), Ok(100), "{method}");
            }
            // An empty DATA frame ends these.
            for method in [Method::GET, Method::OPTIONS, Method::POST] {
                let request = client.request(method.clone(), edge.envoy.url());
                let request = request.header("content-type", "application/json");
                let answer = send(request.body(pieces(b"", 1, false))).await.unwrap();
                assert_eq!((answer.status, answer.body.len()), (200, 0), "{method}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_the_head_header_is_the_filters() {
    let edge = Edge::builder().start().await;
    edge.resolves_to(Ok(100)).await;
    for client in [http().clone(), http2()] {
        let request = client
            .post(edge.envoy.url())
            .header("content-type", "application/json")
            .header(ANSWER, "x-finality-head: 7")
            .header(ANSWER, "x-finality-head: 8")
            .body(tagged());
        let answer = send(request).await.unwrap();
        let got: Vec<_> = answer.headers.get_all(headers::HEAD).iter().collect();
        assert_eq!(got, ["100"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_trailers_reach_the_node() {
    for framing in [Framing::Exact, Framing::Chunked] {
        let edge = Edge::builder().framing(framing).http2_to_node().start().await;
        edge.resolves_to(Ok(100)).await;
        let client = http2();
        for (kind, sent, expected) in [
            ("application/grpc", tagged(), tagged()),
            ("application/json", untagged(), untagged()),
            ("application/json", tagged(), tagged().replace("espresso", "0x64")),
        ] {
            let request = client.post(edge.envoy.url()).header("content-type", kind);
            let answer = send(request.body(pieces(sent.as_bytes(), 9, true))).await.unwrap();
            assert_eq!(answer.text(), expected, "{kind}");
            let trailers = answer.headers[TRAILERS].to_str().unwrap();
            assert!(trailers.contains("x-trailer"), "{trailers}");
        }
    }
}
