//! Findings of the audits of Espresso's streamer at the level of the clients, and that every test
//! named in `docs/audit.md` exists.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use alloy_primitives::B256;
use axum::Router;
use finality_sidecar::{
    espresso::QueryService,
    eth,
    l1::Endpoint as _,
    redact::SecretUrl,
    telemetry::{Metrics, metrics::Target},
    upstream::{Upstream, UpstreamError, UpstreamOptions},
};
use serde_json::{Value, json};

/// A dependency that always answers the same.
async fn dependency(answer: Value) -> Upstream {
    // Tests share the process: the first one installs it.
    drop(rustls::crypto::ring::default_provider().install_default());
    let router = Router::new().fallback(async move || axum::Json(answer.clone()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let options = UpstreamOptions {
        request_timeout: Duration::from_secs(30),
        retry_interval: Duration::ZERO,
        metrics: Metrics::new(),
    };
    Upstream::new(Target::Query, "query_service_url", SecretUrl::parse(&url).unwrap(), options)
        .unwrap()
}

fn empty_blocks(count: usize) -> Value {
    Value::Array(vec![json!({"proof": null, "transactions": []}); count])
}

async fn range_of_four(answer: Value) -> Result<usize, UpstreamError> {
    let service = QueryService::new(dependency(answer).await, 7);
    service.range(10, 14).await.map(|blocks| blocks.len())
}

#[tokio::test]
async fn open_1_an_empty_array_for_a_range_is_an_error() {
    let answer = range_of_four(empty_blocks(0)).await;
    assert!(matches!(answer, Err(UpstreamError::Malformed(_))), "{answer:?}");
}

#[tokio::test]
async fn open_2_an_array_of_any_other_length_is_an_error() {
    assert_eq!(range_of_four(empty_blocks(4)).await, Ok(4));
    for length in [1, 3, 5, 40] {
        let answer = range_of_four(empty_blocks(length)).await;
        assert!(matches!(answer, Err(UpstreamError::Malformed(_))), "{length}: {answer:?}");
    }
}

#[tokio::test]
async fn open_7_the_hash_of_an_l1_block_is_what_l1_says_whatever_fields_a_fork_adds() {
    let hash = B256::repeat_byte(3);
    let block = json!({"number": "0x5", "hash": hash, "aFieldOfALaterFork": "0x1"});
    let answer = json!({"jsonrpc": "2.0", "id": 1, "result": block});
    let l1 = dependency(answer).await;
    assert_eq!(l1.block_at(5).await, Ok(Some(eth::BlockId { number: 5, hash })));
}

/// The names of all test functions below a folder.
fn functions(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(path).unwrap();
            let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
            while words.by_ref().any(|word| word == "fn") {
                names.extend(words.next().map(str::to_owned));
            }
        }
    }
}

#[test]
fn every_test_named_in_the_table_of_findings_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut known = BTreeSet::new();
    for folder in ["shared", "proofs", "filter", "sidecar", "e2e", "docs"] {
        functions(&root.join(folder), &mut known);
    }
    let table = fs::read_to_string(root.join("docs/audit.md")).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    let mut checked = 0;
    for row in rows {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for name in tests.split('`').skip(1).step_by(2) {
            assert!(known.contains(name), "docs/audit.md names `{name}`, which no test is called");
            checked += 1;
        }
    }
    assert!(checked > 40, "only {checked} names were found");
}
