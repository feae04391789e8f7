//! `prove`: each step, and the one that fails.

use axum::{Json, Router, routing::get};
use serde_json::{Value, json};

use crate::support::command::{self, Ended};

fn vectors(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A recorded block under the light client's root, as a file for the command.
fn recorded() -> Value {
    let namespaces = vectors(include_str!("../../../proofs/testdata/proofs_namespace.json"));
    let tree = vectors(include_str!("../../../proofs/testdata/proofs_block_tree.json"));
    let case = namespaces["cases"].as_array().unwrap();
    let case = case.iter().find(|case| case["name"] == "recorded 0.5 chain, block 1").unwrap();
    json!({
        "header": tree["recorded_0_5_chain"][1]["header"],
        "answer": case["answer"],
        "vid_common": {"common": case["vid_common"]},
    })
}

/// A path that leads to the root of another header.
fn with_root(mut file: Value) -> Value {
    let tree = vectors(include_str!("../../../proofs/testdata/proofs_block_tree.json"));
    file["block_state"] = tree["devnet_proof"]["proof"].clone();
    let root = tree["devnet_proof"]["light_client_root"].to_string();
    file["light_client"] = json!({"height": 44, "root": root.trim_matches('"')});
    file
}

fn prove(file: &Value, arguments: &[&str]) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file.json"), file.to_string()).unwrap();
    let arguments = [&["prove", "--file", "file.json"], arguments].concat();
    command::run(folder.path(), &arguments, b"", &[])
}

/// The step that failed.
fn failed(ended: &Ended) -> &str {
    assert_eq!(ended.code, 2, "{ended:?}");
    ended.out.lines().last().unwrap().split_once(": FAILED: ").unwrap().0
}

fn steps(ended: &Ended) -> Vec<&str> {
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.out.lines().map(|line| line.split_once(": ").unwrap().0).collect()
}

#[test]
fn prove_prints_each_step_of_recorded_answers() {
    let ended = prove(&recorded(), &["--namespace", "102"]);
    assert_eq!(steps(&ended), ["header", "table", "committee", "namespace", "transactions"]);
    let empty = prove(&recorded(), &["--namespace", "5"]);
    assert_eq!(steps(&empty), ["header", "table"]);
}

#[test]
fn prove_names_the_step_that_fails() {
    let change = |change: &dyn Fn(&mut Value)| {
        let mut file = recorded();
        change(&mut file);
        prove(&file, &["--namespace", "102"])
    };
    let version = change(&|file| file["header"]["version"]["Version"]["minor"] = json!(7));
    assert_eq!(failed(&version), "header");
    let hidden = change(&|file| file["answer"] = json!({"proof": null}));
    assert_eq!(failed(&hidden), "namespace");
    let size = change(&|file| file["vid_common"]["common"]["V1"]["total_weights"] = json!(6));
    assert_eq!(failed(&size), "namespace");
    let root = prove(&recorded(), &["--namespace", "102", "--root"]);
    assert_eq!(failed(&root), "root");
    let other = prove(&with_root(recorded()), &["--namespace", "102", "--root"]);
    assert_eq!(failed(&other), "path");
    let unreadable = prove(&json!({"other": 1}), &["--namespace", "102"]);
    assert_eq!(unreadable.code, 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn prove_asks_services() {
    let file = recorded();
    let (header, answer) = (file["header"].clone(), file["answer"].clone());
    let common = file["vid_common"].clone();
    let router = Router::new()
        .route("/availability/header/1/2", get(async move || Json(json!([header]))))
        .route("/availability/block/1/2/namespace/102", get(async move || Json(json!([answer]))))
        .route("/availability/vid/common/1", get(async move || Json(common)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let run = |height: &'static str, url: String| {
        tokio::task::spawn_blocking(move || {
            let folder = tempfile::tempdir().unwrap();
            let arguments = ["prove", "--height", height, "--namespace", "102"];
            let arguments = [&arguments[..], &["--query-service-url", &url]].concat();
            command::run(folder.path(), &arguments, b"", &[])
        })
    };
    let ended = run("1", url.clone()).await.unwrap();
    assert_eq!(steps(&ended), ["header", "table", "committee", "namespace", "transactions"]);
    let absent = run("9", url).await.unwrap();
    assert_eq!(absent.code, 1, "{absent:?}");
}
