//! Traces by the real binary to a collector of the test's own, and without one that works.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::mpsc,
};

use alloy_primitives::hex;
use tempfile::TempDir;

use crate::support::{
    PATIENCE,
    http::{self, Request},
    process::{Sidecar, all_at},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A server that answers every request with that status; gives its URL.
fn serve(status: &'static str) -> (String, mpsc::Receiver<Request>) {
    let (sender, requests) = mpsc::channel();
    let port = http::serve(sender, move |_| {
        format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    });
    (format!("http://127.0.0.1:{port}"), requests)
}

/// A sidecar all of whose dependencies are at `node`.
fn start(folder: &TempDir, node: &str, variables: &[(&str, &str)]) -> Sidecar {
    let mut arguments = all_at(node).to_vec();
    arguments
        .extend(["--initial-hotshot-height=1", "--verification-interval=10ms"].map(str::to_owned));
    Sidecar::start(folder.path(), &arguments, variables)
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn spans_reach_the_collector_before_the_end_and_contexts_go_in_and_out() {
    let (collector, exports) = serve("200 OK");
    let (node, requests) = serve("500 Internal Server Error");
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=seven"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test-bed"),
        // Nothing is sent before the end.
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100000"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100000"),
        ("FINALITY_TRACE_SAMPLE_RATIO", "1"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let sidecar = start(&folder, &node, &variables);
    let (request, _) = requests.recv_timeout(PATIENCE).expect("the node is asked");
    let traceparent = request.lines().find_map(|line| line.strip_prefix("traceparent: 00-"));
    let (round, _) = traceparent.expect("a dependency gets the context").split_once('-').unwrap();

    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    for method in ["GET", "STRANGERS"] {
        let mut stream = TcpStream::connect(&sidecar.address).unwrap();
        let text = format!(
            "{method} /v1/head HTTP/1.1\r\nhost: localhost\r\ntraceparent: {parent}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(text.as_bytes()).unwrap();
        stream.read_to_string(&mut String::new()).unwrap();
    }
    let (code, log) = sidecar.stop();
    let log = log.concat();
    assert_eq!(code, Some(0), "{log}");

    let exports: Vec<Request> = exports.try_iter().collect();
    let (head, _) = exports.first().expect("spans were sent at the end");
    assert!(
        head.starts_with("POST /v1/traces HTTP/1.1") && head.contains("x-tenant: seven"),
        "{head}"
    );
    assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    let all: Vec<u8> = exports.into_iter().flat_map(|(_, body)| body).collect();
    let trace_id = |text: &str| hex::decode(text).unwrap();
    for part in ["finality-sidecar", "test-bed", "GET /v1/head", "round", "node", "outcome"] {
        assert!(has(&all, part.as_bytes()), "{part}");
    }
    // A request is named by its method, and has the status and the code of its error.
    for part in ["eth_chainId", "http.response.status_code", "error.type"] {
        assert!(has(&all, part.as_bytes()), "{part}");
    }
    assert!(!has(&all, b"STRANGERS"), "anybody can make up a method");
    assert!(has(&all, &trace_id(TRACE)), "the client's trace continues");
    assert!(has(&all, &trace_id(round)), "the round in the node's request");
}

#[test]
fn what_is_not_sampled_is_not_sent_except_what_a_client_has_sampled() {
    let (collector, exports) = serve("200 OK");
    let (node, requests) = serve("500 Internal Server Error");
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
        ("FINALITY_TRACE_SAMPLE_RATIO", "0"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let sidecar = start(&folder, &node, &variables);
    let (request, _) = requests.recv_timeout(PATIENCE).expect("the node is asked");
    let context = request.lines().find_map(|line| line.strip_prefix("traceparent: "));
    assert!(context.is_some_and(|context| context.ends_with("-00")), "{request}");
    let mut stream = TcpStream::connect(&sidecar.address).unwrap();
    let text = format!(
        "GET /v1/head HTTP/1.1\r\nhost: localhost\r\ntraceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(text.as_bytes()).unwrap();
    stream.read_to_string(&mut String::new()).unwrap();
    assert_eq!(sidecar.stop().0, Some(0));
    let all: Vec<u8> = exports.try_iter().flat_map(|(_, body)| body).collect();
    assert!(has(&all, b"GET /v1/head") && !has(&all, b"eth_chainId"));
}

#[test]
fn a_collector_that_fails_is_said_once_and_disturbs_nothing() {
    let (collector, exports) = serve("503 Service Unavailable");
    let secret = collector.replace("http://", "http://user:hush@") + "/hush";
    let variables = [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", secret.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("OTEL_TRACES_SAMPLER", "always_on"),
        ("FINALITY_TRACE_SAMPLE_RATIO", "0"),
        ("FINALITY_LOG_LEVEL", "trace"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let sidecar = start(&folder, "http://127.0.0.1:9", &variables);
    for _ in 0..5 {
        let (head, _) = exports.recv_timeout(PATIENCE).expect("it keeps trying");
        // `user:hush`.
        assert!(head.contains("authorization: Basic dXNlcjpodXNo\r\n"), "{head}");
    }
    let (code, log) = sidecar.stop();
    let log = log.concat();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(log.matches("cannot export traces").count(), 1, "{log}");
    assert!(log.contains("HTTP status 503") && !log.contains("hush"), "{log}");
    assert!(!log.contains("dXNlcjpodXNo"), "{log}");
}

#[test]
fn without_an_endpoint_nothing_is_sent_and_a_bad_variable_is_named() {
    let (node, requests) = serve("500 Internal Server Error");
    for variables in [
        &[][..],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"), ("OTEL_SDK_DISABLED", "true")],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let sidecar = start(&folder, &node, variables);
        let (head, _) = requests.recv_timeout(PATIENCE).expect("the node is asked");
        assert!(!head.contains("traceparent"), "{head}");
        let (code, log) = sidecar.stop();
        let log = log.concat();
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("traces"), "{log}");
    }
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let sidecar = start(&folder, &node, &variables);
    let named = "\"error\":\"OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf or unset\"";
    assert!(sidecar.log.iter().any(|line| line.contains(named)), "{:#?}", sidecar.log);
    assert_eq!(sidecar.stop().0, Some(0));
}
