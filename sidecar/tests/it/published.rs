//! The commands for the head that all replicas publish, through the real binary.

use std::{fs, sync::Arc};

use alloy_primitives::B256;
use axum::{Json, Router, routing::post};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use finality_sidecar::store::{FileStore, Identity, Record, Store as _};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::command;

const GO_FILE: &str = r#"{"l2_block_number":10,"fallback_hotshot_height":20,"updated_at":"2026-03-27T10:11:12.123456789Z"}"#;

/// A state file whose chain is known.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store.json");
    fs::write(&path, GO_FILE).unwrap();
    let mut store = FileStore::open(&path).unwrap();
    let identity = Identity { chain_id: 7, genesis_hash: B256::ZERO, namespace: 7 };
    let record = store.record().unwrap().clone();
    store.save(Record { identity: Some(identity), ..record }).unwrap();
    folder
}

/// The file is no secret of etcd's.
#[test]
fn store_show_shows_the_file_while_etcd_is_down_and_says_that_it_is() {
    let folder = folder();
    let store = ["store", "show", "--store-path", "store.json", "--store", "etcd://127.0.0.1:9"];
    let ended = command::run(folder.path(), &store, b"", &[]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.lines().count() == 1 && ended.err.contains("(store)"), "{}", ended.err);
    let row = |name: &str| ended.out.lines().find(|line| line.starts_with(name)).map(str::to_owned);
    assert!(row("head").is_some_and(|row| row.ends_with(" 10")), "{}", ended.out);
    assert!(row("published").is_some(), "{}", ended.out);
    let ended = command::run(folder.path(), &[&store[..], &["--json"]].concat(), b"", &[]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let shown: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&shown["number"], &shown["published"]), (&json!(10), &Value::Null));
}

/// A member of etcd: whoever replaces its head is late the first time, since replicas go on.
async fn busy_etcd() -> (String, Arc<Mutex<Value>>) {
    let head = |number: u64| {
        json!({
            "format_version": 1, "generation": 0, "number": number, "hash": null,
            "l1_origin": null, "source": "espresso", "previous": null, "chain_id": 7,
            "genesis_hash": B256::ZERO, "namespace": 7,
        })
    };
    let found = move |number: u64| {
        let value = BASE64_STANDARD.encode(head(number).to_string());
        json!([{ "key": "aGVhZA==", "mod_revision": number.to_string(), "value": value }])
    };
    let at = json!({ "cluster_id": "1", "revision": "60" });
    let written = Arc::new(Mutex::new(Value::Null));
    let (header, kept) = (at.clone(), Arc::clone(&written));
    let range = async move || Json(json!({ "header": at, "kvs": found(50) }));
    let txn = async move |Json(question): Json<Value>| {
        if question["compare"][0]["mod_revision"] != "51" {
            let responses = json!([{ "response_range": { "kvs": found(51) } }]);
            return Json(json!({ "header": header, "responses": responses }));
        }
        let value = question["success"][0]["request_put"]["value"].as_str().unwrap();
        let value = BASE64_STANDARD.decode(value).unwrap();
        *kept.lock() = serde_json::from_slice(&value).unwrap();
        Json(json!({ "header": header, "succeeded": true }))
    };
    let routes = Router::new().route("/v3/kv/range", post(range)).route("/v3/kv/txn", post(txn));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (format!("etcd://{address}"), written)
}

#[tokio::test(flavor = "multi_thread")]
async fn store_reset_lowers_what_replicas_go_on_raising() {
    let folder = folder();
    let (etcd, written) = busy_etcd().await;
    let reset = |to: &str| {
        let path = ["--store-path", "store.json"];
        let arguments = [&["store", "reset", "--yes", "--to", to, "--store", &etcd], &path[..]];
        let arguments = arguments.concat();
        command::run(folder.path(), &arguments, b"", &[])
    };
    assert_eq!(reset("52").code, 64, "that is no lower head");
    assert!(written.lock().is_null());
    let ended = reset("40");
    assert_eq!(ended.code, 0, "{ended:?}");
    let written = written.lock();
    assert_eq!((&written["generation"], &written["number"]), (&json!(1), &json!(40)));
    assert_eq!(written["previous"]["revision"], 51);
}
