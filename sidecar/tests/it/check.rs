//! `check` through the real binary: it finds what is wrong by code and setting, and leaves nothing
//! behind.

use std::{collections::BTreeSet, fs, path::Path};

use axum::{Router, http::StatusCode};
use finality_sidecar::store::FileStore;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    canned::{Chain, Fakes, Signer, services::Flood},
    command::{self, Ended},
};

const BLOCKS: u64 = 5;

/// Services with a batch for each block.
async fn services() -> Fakes {
    let fakes = Fakes::start(Chain::new(BLOCKS, 0, |number| number), BLOCKS, Signer::new(7)).await;
    (1..=BLOCKS).for_each(|number| fakes.post(vec![fakes.signed(number)]));
    fakes
}

/// Runs the command with other values for some flags.
fn check(folder: &Path, fakes: &Fakes, flags: &[(&str, &str)], more: &[&str]) -> Ended {
    let mut arguments = vec!["check".to_owned()];
    arguments.extend(fakes.arguments());
    let defaults = [("verification-interval", "20ms"), ("store-path", "store.json")];
    for (name, value) in defaults.iter().chain(flags) {
        let flag = format!("--{name}=");
        arguments.retain(|argument| !argument.starts_with(&flag));
        arguments.extend((!value.is_empty()).then(|| format!("{flag}{value}")));
    }
    if !more.iter().any(|argument| argument.starts_with("--count")) {
        arguments.push("--count=0s".into());
    }
    let arguments: Vec<_> =
        arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
    tokio::task::block_in_place(|| command::run(folder, &arguments, b"", &[]))
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{ended:?}"))
}

/// Code and setting of each remark.
fn remarks(report: &Value, name: &str) -> BTreeSet<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let remarks = report[name].as_array().unwrap();
    remarks.iter().map(|remark| (text(&remark["code"]), text(&remark["setting"]))).collect()
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> BTreeSet<(String, String)> {
    pairs.map(|(code, setting)| (code.to_owned(), setting.to_owned())).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_right_ends_with_zero_and_leaves_nothing_behind() {
    let (folder, fakes) = (TempDir::new().unwrap(), services().await);
    let ended = check(folder.path(), &fakes, &[], &["--json"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{}", ended.out);
    let report = json(&ended);
    assert_eq!((&report["ok"], remarks(&report, "problems")), (&true.into(), pairs([])));
    let notes = pairs([("all_voters_needed", "l1_rpc"), ("single_voter", "query_service_url")]);
    assert_eq!(remarks(&report, "notes"), notes);
    assert_eq!(report["first_head"]["number"], BLOCKS);
    assert_eq!(report["first_head"]["source"], "espresso");
    assert_eq!(report["reason_code"], "up_to_date");
    assert_eq!(report["namespace"]["last_batch"]["number"], BLOCKS);
    assert_eq!(report["chain"]["chain_id"], 22_266_222);
    let endpoints = report["endpoints"].as_array().unwrap();
    assert_eq!(endpoints.len(), 5);
    assert_eq!((&endpoints[0]["version"], &endpoints[0]["latest"]), (&"node/v1".into(), &5.into()));
    assert_eq!(endpoints[2]["state_depth"], 100_000);
    assert!(endpoints.iter().all(|endpoint| endpoint["calls_per_hour"].is_null()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is written");

    let ended = check(folder.path(), &fakes, &[], &[]);
    assert_eq!(ended.code, 0);
    assert!(ended.out.contains("up_to_date") && ended.out.contains("node/v1"), "{}", ended.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_proven_and_what_l1_shows_is_told() {
    let (folder, fakes) = (TempDir::new().unwrap(), services().await);
    let client = "0x1111111111111111111111111111111111111111";
    for (proofs, block_state) in
        [("payload", true.into()), ("root", true.into()), ("off", Value::Null)]
    {
        let flags = [("light-client-address", client), ("hotshot-proofs", proofs)];
        let ended = check(folder.path(), &fakes, &flags, &["--json"]);
        let report = json(&ended);
        assert_eq!(report["proofs"]["mode"], proofs, "{report}");
        assert_eq!(report["endpoints"][4]["block_state"], block_state, "{report}");
        assert!(report["light_client"]["root"].is_string(), "{report}");
        assert!(!remarks(&report, "notes").iter().any(|(code, _)| code == "no_block_state"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_counted_for_each_endpoint_and_purpose() {
    let (folder, fakes) = (TempDir::new().unwrap(), services().await);
    let ended = check(folder.path(), &fakes, &[], &["--json", "--count=2s"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let report = json(&ended);
    assert!(report["counted_ms"].as_u64() >= Some(2000));
    let calls = |index: usize, purpose: &str| {
        report["endpoints"][index]["calls_per_hour"][purpose].as_u64()
    };
    assert!(calls(0, "latest") > Some(0), "{report}");
    assert!(calls(4, "height") > Some(0), "{report}");
}

/// A member of etcd that answers every question alike.
async fn etcd(status: StatusCode, answer: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new().fallback(async move || (status, answer));
    tokio::spawn(async { axum::serve(listener, routes).await.unwrap() });
    format!("etcd://{address}/finality")
}

/// Where replicas publish together, etcd is asked for their head; nothing is written there either.
#[tokio::test(flavor = "multi_thread")]
async fn etcd_is_asked_for_the_head_of_all_replicas() {
    let (folder, fakes) = (TempDir::new().unwrap(), services().await);
    let nothing = r#"{"header": {"cluster_id": "1", "revision": "1"}}"#;
    let foreign = r#"{"header": {"cluster_id": "1", "revision": "2"},
        "kvs": [{"key": "aGVhZA==", "mod_revision": "2", "value": "e30="}]}"#;
    let wrong = [("cut_off", "store")];
    for (store, problems) in [
        (etcd(StatusCode::OK, nothing).await, &[][..]),
        (etcd(StatusCode::OK, foreign).await, &wrong),
        (etcd(StatusCode::UNAUTHORIZED, "{}").await, &wrong),
        ("etcd://127.0.0.1:9/finality".into(), &wrong),
    ] {
        let ended = check(folder.path(), &fakes, &[("store", &store)], &["--json"]);
        let report = json(&ended);
        let expected = problems.iter().map(|(code, setting)| ((*code).into(), (*setting).into()));
        assert_eq!(remarks(&report, "problems"), expected.collect(), "{store}");
        assert_eq!(ended.code, if problems.is_empty() { 0 } else { 4 });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is written");
    }
}

/// Each fault is told by its code, with the setting to change.
#[tokio::test(flavor = "multi_thread")]
async fn each_fault_is_told_by_code_and_setting() {
    let (folder, fakes) = (TempDir::new().unwrap(), services().await);
    let url = |path: &str| format!("http://{}/{path}", fakes.address);
    let (node, l1, root) = (url("rpc/node"), url("rpc/l1"), url(""));
    let both = format!("{l1},{node}");
    let nobody = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
    let (down, no_path) = ("http://127.0.0.1:9/key-of-l1", url("nowhere/key-of-l1"));
    for (flags, expected) in [
        (&[("node-execution-rpc", down)][..], &[("connection", "node_execution_rpc")][..]),
        (&[("l1-rpc", no_path.as_str())], &[("wrong_path", "l1_rpc"), ("no_majority", "l1_rpc")]),
        // Of two, the second is of another chain.
        (&[("l1-rpc", &both)], &[("other_chain", "l1_rpc"), ("no_majority", "l1_rpc")]),
        (&[("node-execution-rpc", &l1)], &[("other_chain", "node_consensus_rpc")]),
        (&[("node-consensus-rpc", &node)], &[("malformed", "node_consensus_rpc")]),
        (
            &[("query-service-url", &root)],
            &[("wrong_path", "query_service_url"), ("no_majority", "query_service_url")],
        ),
        (&[("namespace", "7")], &[("no_batch", "namespace")]),
        (&[("batcher-addresses", nobody)], &[("no_batch", "namespace")]),
        (&[("batcher-addresses", "")], &[("batchers_unknown", "batch_authenticator_address")]),
        (
            &[("light-client-address", nobody)],
            &[("light_client_unreadable", "light_client_address")],
        ),
        (&[("store-path", "none/store.json")], &[("store_unwritable", "store_path")]),
    ] {
        let ended = check(folder.path(), &fakes, flags, &["--json"]);
        assert_eq!(ended.code, 4, "{flags:?}: {ended:?}");
        let report = json(&ended);
        let found = remarks(&report, "problems");
        for (code, setting) in expected {
            assert!(found.contains(&((*code).into(), (*setting).into())), "{flags:?}: {found:?}");
        }
        assert!(!ended.out.contains("key-of-l1"), "{}", ended.out);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is written");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_says_cannot_write_to_the_terminal() {
    let (folder, fakes) = (TempDir::new().unwrap(), services().await);
    let (start, end) = ("{\"error\":{\"code\":1,\"message\":\"\\u001b[2J\\u0007", "\"}}");
    fakes.set_flood(Some(Flood { at: "node eth_", start, pattern: "x", length: 0, end }));
    let ended = check(folder.path(), &fakes, &[], &[]);
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(!ended.out.contains(['\u{1b}', '\u{7}']), "{ended:?}");
}

/// A file in use is read, and one of another chain is told.
#[tokio::test(flavor = "multi_thread")]
async fn the_state_file_is_read_and_left_alone() {
    let (folder, fakes) = (TempDir::new().unwrap(), services().await);
    let path = folder.path().join("store.json");
    let text =
        r#"{"l2_block_number":2,"fallback_hotshot_height":1,"updated_at":"2026-03-27T10:11:12Z"}"#;
    fs::write(&path, text).unwrap();
    let held = FileStore::open(&path).unwrap();
    let ended = check(folder.path(), &fakes, &[("initial-hotshot-height", "")], &["--json"]);
    let report = json(&ended);
    assert_eq!((ended.code, &report["store"]["number"]), (0, &2.into()), "{ended:?}");
    assert_eq!(report["first_head"]["number"], 2);
    assert_eq!(report["reason_code"], "head_hash_unknown");
    assert_eq!(report["namespace"]["last_batch"]["number"], BLOCKS);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    drop(held);

    fs::write(&path, "garbage").unwrap();
    let ended = check(folder.path(), &fakes, &[], &["--json"]);
    assert_eq!(ended.code, 4);
    assert!(
        remarks(&json(&ended), "problems")
            .contains(&("store_unwritable".into(), "store_path".into()))
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "garbage");
}

#[test]
fn a_bad_configuration_is_64_before_anything_is_asked() {
    let folder = TempDir::new().unwrap();
    let ended = command::run(folder.path(), &["check", "--l1-rpc", "nonsense"], b"", &[]);
    assert_eq!((ended.code, ended.out.as_str()), (64, ""));
    assert!(ended.err.contains("l1_rpc (flag --l1-rpc)"), "{}", ended.err);
}
