//! Against a real socket: a header and what the service says of the namespace in its block.

use axum::{Json, Router, http::StatusCode, routing::get};
use serde_json::{Value, json};

use super::*;
use crate::{
    redact::SecretUrl,
    telemetry::{Metrics, metrics::Target},
    upstream::UpstreamOptions,
};

/// The height and a namespace of the first header of the vectors.
const HEIGHT: u64 = 42;
const LISTED: u32 = 12_648_430;

/// A service with that header and this answer for the block.
async fn service(namespace: u32, answer: Result<Value, StatusCode>) -> QueryService {
    drop(rustls::crypto::ring::default_provider().install_default());
    let vectors: Value =
        serde_json::from_str(include_str!("../../../proofs/testdata/espresso_headers.json"))
            .unwrap();
    let header = vectors["cases"][0]["header"].clone();
    let router = Router::new()
        .route("/availability/header/{height}", get(async move || Json(header)))
        .route(
            "/availability/block/42/43/namespace/{namespace}",
            get(async move || answer.map(Json)),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let options = UpstreamOptions {
        request_timeout: std::time::Duration::from_secs(20),
        retry_interval: std::time::Duration::from_secs(20),
        metrics: Metrics::new(),
    };
    let url = SecretUrl::parse(&url).unwrap();
    let http = Upstream::new(Target::Query, "query_service_url", url, options).unwrap();
    QueryService::new(http, namespace)
}

#[tokio::test]
async fn the_namespace_table_must_agree_with_the_answer_for_the_block() {
    let here = json!([{"proof": {}, "transactions": []}]);
    let absent = json!([{"proof": null, "transactions": []}]);
    for (namespace, answer, agrees) in [
        (LISTED, here.clone(), true),
        (LISTED, absent.clone(), false),
        (LISTED + 1, absent, true),
        (LISTED + 1, here, false),
        (LISTED, json!([]), false),
    ] {
        let header = service(namespace, Ok(answer.clone())).await.header(HEIGHT).await;
        assert_eq!(header.is_ok(), agrees, "{namespace} {answer}");
        if let Err(error) = header {
            assert!(error.to_string().contains("block 42"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_payload_that_comes_later_than_its_header_is_no_contradiction() {
    let service = service(LISTED, Err(StatusCode::NOT_FOUND)).await;
    assert!(service.header(HEIGHT).await.unwrap().commitment().is_some());
    let error = service.header(HEIGHT + 1).await.unwrap_err();
    assert!(error.to_string().contains("asked for header 43"), "{error}");
}
