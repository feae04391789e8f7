//! From Espresso's Go proxy to the sidecar and back: its configuration files and flags through the
//! real binary, its state file, and the tables of `docs/migration.md`.

use std::{fs, path::Path};

use finality_sidecar::{
    config::{GO_PROXY_NAMES, Setting},
    store::{FileStore, Store},
};
use serde_json::Value;

use crate::support::command::{self, Ended};

const OUR_LIST: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

impl Ended {
    #[track_caller]
    fn has(&self, lines: &[&str]) {
        for line in lines {
            assert!(self.out.lines().any(|found| found == *line), "{line} is not in\n{}", self.out);
        }
    }

    /// The notes, each shortened to the name it begins with.
    fn notes(&self) -> Vec<&str> {
        let notes = self.out.lines().filter_map(|line| line.strip_prefix("# Note: "));
        notes.map(|note| note.split(' ').next().unwrap()).collect()
    }
}

fn run_in(folder: &Path, arguments: &[&str]) -> Ended {
    command::run(folder, arguments, b"", &[])
}

/// `print-config` beside the files of that program.
fn print_config(arguments: &[&str]) -> Ended {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/go_proxy");
    run_in(&folder, &[&["print-config"], arguments].concat())
}

#[test]
fn the_first_file_is_complete() {
    let ended = print_config(&["--config", "first.json"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{}", ended.out);
    ended.has(&[
        "listen_addr = \"127.0.0.1:8090\" # default",
        "node_execution_rpc = [\"http://op-geth:8545/\"] # file first.json, full_node_execution_rpc",
        "node_consensus_rpc = [\"http://op-node:9545/\"] # file first.json, op.full_node_consensus_rpc",
        "l1_rpc = [\"https://l1.test/…\"] # file first.json, l1_rpc",
        "query_service_url = [\"https://query.test/…\"] # file first.json, op.query_service_url",
        "batcher_addresses = [\"0x976EA74026E726554dB657fA54763abd0C3a0aa9\"] # file first.json, op.batcher_address",
        "initial_hotshot_height = \"1\" # file first.json, initial_hotshot_height",
        "store_path = \"/data/espresso_store.json\" # file first.json, store_file_path",
        "verification_interval = \"5s\" # file first.json, op.verification_interval",
        "log_level = \"debug\" # file first.json, log_level",
    ]);
    let mut notes = ended.notes();
    notes.sort_unstable();
    assert_eq!(notes, ["full_node_execution_rpc", "listen_addr"]);
    assert!(!ended.out.contains("secret"));
}

#[test]
fn what_moved_elsewhere_is_said() {
    let ended = print_config(&["--config", "middle.json"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{}", ended.out);
    ended.has(&[
        "verification_interval = \"250ms\" # file middle.json, verification_interval",
        "store_path = \"espresso_store.json\" # default of the Go proxy, whose names are used",
        "batch_authenticator_address = \"0x4826533b4897376654bb4d4ad88b7fafd0c98528\" # file middle.json, \
         op.batch_authenticator_address",
        "# batcher_addresses is not set",
        "log_format = \"text\" # file middle.json, log_format",
    ]);
    let mut notes = ended.notes();
    notes.sort_unstable();
    // The longest body is that program's default, which needs no note.
    let expected = [
        "batcher_addresses",
        "espresso_tag",
        "finality_poll_interval",
        "full_node_execution_rpc",
        "listen_addr",
        "max_batch_size",
        "track_batch_latency",
        "ws_listen_addr",
    ];
    assert_eq!(notes, expected);
}

#[test]
fn the_latest_file_lacks_what_its_program_does_not_ask() {
    let ended = print_config(&["--config", "latest.json"]);
    assert_eq!(ended.code, 64);
    let complaint = "finality-sidecar: node_consensus_rpc: missing: set --node-consensus-rpc, \
                     FINALITY_NODE_CONSENSUS_RPC or node_consensus_rpc in the file\n";
    assert_eq!(ended.err, complaint, "and nothing else");
    let ended =
        print_config(&["--config", "latest.json", "--node-consensus-rpc", "http://op-node:9545"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{}", ended.out);
    ended.has(&[
        "l1_rpc = [\"https://l1.test/…\"] # file latest.json, eth_rpc",
        "namespace = \"22266222\" # file latest.json, namespace",
        "# initial_hotshot_height is not set",
    ]);
    assert!(ended.out.contains("# Note: espresso_tag (file latest.json, espresso_tag) is ignored"));
}

#[test]
fn flags_of_that_program_count_above_its_file() {
    let flags = [
        "--full-node-execution-rpc=http://node",
        "--op.full-node-consensus-rpc=http://op-node",
        // The last one counts.
        "--eth-rpc=http://earlier",
        "--eth-rpc=http://l1",
        "--op.query-service-url=http://query",
        "--op.light-client-address=0x9fe46736679d2d9a65f0992f2272de9f3c7fa6e0",
        "--op.verification-interval=10ms",
        "--espresso-tag=espresso",
        "--op.enable",
        "--mode=op",
        "--ws.listen-addr=:8081",
    ];
    let ended = print_config(&[&["--config", "first.json"], &flags[..]].concat());
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{}", ended.out);
    ended.has(&[
        "node_execution_rpc = [\"http://node/\"] # flag --full-node-execution-rpc",
        "l1_rpc = [\"http://l1/\"] # flag --eth-rpc",
        "verification_interval = \"10ms\" # flag --op.verification-interval",
        "store_path = \"/data/espresso_store.json\" # file first.json, store_file_path",
    ]);
    let notes = ended.notes();
    assert!(notes.contains(&"ws_listen_addr") && notes.contains(&"listen_addr"), "{notes:?}");
    // Without a file, that program's state file is used.
    let ended = print_config(&flags);
    ended.has(&[
        "store_path = \"espresso_store.json\" # default of the Go proxy, whose names are used",
    ]);
    // Names of ours win, and settle which of the two says who may sign.
    let ours = ["--config", "middle.json", "--batcher-addresses", OUR_LIST];
    let ended = print_config(&ours);
    assert_eq!(ended.code, 0, "{}", ended.err);
    ended.has(&["# batch_authenticator_address is not set"]);
    assert!(ended.notes().contains(&"batch_authenticator_address"), "{}", ended.out);
}

/// That program's reader takes names without case, and null and zero for nothing given.
#[test]
fn a_file_is_read_as_that_program_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{"Full_Node_Execution_RPC":"http://node","OP":{"full_node_consensus_rpc":"http://op",
        "verification_interval":0,"batcher_address":"0x0000000000000000000000000000000000000000"},
        "l1_rpc":"http://l1","query_service_url":"http://query","initial_hotshot_height":7,"nitro":null}"#;
    fs::write(folder.path().join("old.json"), text).unwrap();
    let ended = run_in(folder.path(), &["print-config", "--config", "old.json"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{}", ended.out);
    ended.has(&[
        "node_execution_rpc = [\"http://node/\"] # file old.json, full_node_execution_rpc",
        "node_consensus_rpc = [\"http://op/\"] # file old.json, op.full_node_consensus_rpc",
        "verification_interval = \"1s\" # default",
        "# batcher_addresses is not set",
    ]);
}

/// Members and flags of a rollup kind that is off mean nothing, whatever they hold.
#[test]
fn what_belongs_to_nitro_means_nothing_in_mode_op() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{"mode":"op","full_node_execution_rpc":"http://node","eth_rpc":"http://l1",
        "query_service_url":"http://query","initial_hotshot_height":7,
        "op":{"full_node_consensus_rpc":"http://op"},"nitro":{"feed_url":"ws://feed",
        "bridge_address":"0x1","valid_signing_key_addresses":[{"address":"0x1","from":0}],
        "wait_for_eth_finality":true,"eth_log_scan_block_range":10000}}"#;
    fs::write(folder.path().join("old.json"), text).unwrap();
    let flags = ["--nitro.wait-for-eth-finality", "--nitro.eth-log-scan-block-range=5"];
    let arguments = [&["print-config", "--config", "old.json"], &flags[..]].concat();
    let ended = run_in(folder.path(), &arguments);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{}", ended.out);
    assert_eq!(ended.notes(), ["full_node_execution_rpc"]);
}

/// Both of its ways to say so; what has no use for Nitro is left out.
#[test]
fn the_settings_of_nitro_are_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["11", "22"].map(|digits| format!("0x{}", digits.repeat(20)));
    let ranges = format!(
        r#"[{{"address":"{first}","from":5,"to":9}},
            {{"Address":"{second}","to":18446744073709551615}}]"#
    );
    for (kind, keys, waits) in [
        (r#""mode":"nitro""#, "valid_signing_key_addresses", "wait_for_eth_finality\":true"),
        (
            r#""op":{"enable":false,"batcher_address":"0x1"}"#,
            "valid_batcher_addresses",
            "wait_for_eth_finality\":false",
        ),
        (r#""mode":"nitro""#, "valid_batcher_addresses", "wait_for_l1_finalization\":true"),
    ] {
        let text = format!(
            r#"{{{kind},"full_node_execution_rpc":"http://node","l1_rpc":"http://l1",
            "query_service_url":"http://query","nitro":{{"enable":true,"feed_url":"ws://feed",
            "bridge_address":"0x{bridge}","{keys}":{ranges},"namespace":33139,
            "initial_hotshot_height":77,"{waits}}}}}"#,
            bridge = "33".repeat(20),
        );
        fs::write(folder.path().join("old.json"), text).unwrap();
        let inbox = format!("--sequencer-inbox-address=0x{}", "44".repeat(20));
        let ended = run_in(folder.path(), &["print-config", "--config", "old.json", &inbox]);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{}", ended.out);
        ended.has(&[
            "rollup = \"nitro\" # file old.json, nitro.enable",
            &format!("batcher_addresses = [\"{first}@5..10\", \"{second}\"] # file old.json, nitro.{keys}"),
            "namespace = \"33139\" # file old.json, nitro.namespace",
            "initial_hotshot_height = \"77\" # file old.json, nitro.initial_hotshot_height",
            &format!("bridge_address = \"0x{}\" # file old.json, nitro.bridge_address", "33".repeat(20)),
            "# node_consensus_rpc is not set",
        ]);
        let mut notes = ended.notes();
        notes.retain(|note| note.starts_with("nitro."));
        let (waits, _) = waits.split_once('"').unwrap();
        assert_eq!(notes, ["nitro.feed_url", &format!("nitro.{waits}")]);
        let note = format!("nitro.{waits}) is ignored: it is always so here that ");
        assert!(ended.out.contains(&note), "{}", ended.out);

        // The chain of the bridge, unless it is told; the flag has the same name there.
        for (more, is_noted) in [
            (&[][..], true),
            (&["--l1-rpc=http://parent"], true),
            (&["--parent-rpc=http://parent"], false),
        ] {
            let arguments = [&["print-config", "--config", "old.json", &inbox], more].concat();
            let ended = run_in(folder.path(), &arguments);
            assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{}", ended.out);
            assert_eq!(ended.notes().contains(&"l1_rpc"), is_noted, "{}", ended.out);
        }
    }
}

#[test]
fn what_cannot_be_taken_over_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |text: &str, flags: &[&str]| {
        fs::write(folder.path().join("old.json"), text).unwrap();
        let ended =
            run_in(folder.path(), &[&["print-config", "--config", "old.json"], flags].concat());
        assert_eq!(ended.code, 64, "{}", ended.out);
        assert!(!ended.err.contains("secret"), "{}", ended.err);
        ended.err
    };
    for (text, flags, complaint) in [
        (r#"{"mode":"optimum"}"#, &[][..], "rollup (file old.json, mode): "),
        ("{}", &["--mode", "optimum"], "rollup (flag --mode): "),
        (
            r#"{"mode":"op","nitro":{"enable":true}}"#,
            &[],
            "nitro.enable (file old.json, nitro.enable): conflicts with",
        ),
        (r#"{"mode":"nitro","nitro":{"port":1}}"#, &[], "nitro.port (file old.json): "),
        (
            r#"{"mode":"nitro","nitro":{"valid_signing_key_addresses":[{"address":"0x1"}]}}"#,
            &[],
            "nitro.valid_signing_key_addresses (file old.json): the range",
        ),
        (r#"{"proxyPort":"8089"}"#, &[], "proxyPort (file old.json): "),
        (r#"{"op":{"l2":1}}"#, &[], "op.l2 (file old.json): "),
        (r#"{"node_execution_rpc":"http://a"}"#, &[], "node_execution_rpc (file old.json): "),
        (
            r#"{"l1_rpc":"http://a","eth_rpc":"http://b"}"#,
            &[],
            "conflicts with the value from file old.json, ",
        ),
        (r#"{"l1_rpc":{}}"#, &[], "l1_rpc (file old.json): "),
        (r#"{"verification_interval":1.5}"#, &[], "must be a whole number of nanoseconds"),
        (r#"{"op":"secret"}"#, &[], "op (file old.json): "),
        (r#"{"Verification_Interval":-1}"#, &[], "must be a whole number of nanoseconds"),
        (r#"{"verification_interval":"5"}"#, &[], "\"5\""),
        (r#"{"l1_rpc":"ws://secret"}"#, &[], "l1_rpc (file old.json, l1_rpc): WebSocket"),
        (r#"{"eth_rpc":"/secret/geth.ipc"}"#, &[], "l1_rpc (file old.json, eth_rpc): a socket"),
        (r#"{"l1_rpc":"http://secret""#, &[], "config (file old.json): "),
        (
            "{}",
            &["--l1-rpc", "http://a", "--eth-rpc", "http://b"],
            "l1_rpc (flag --l1-rpc): also set by flag --eth-rpc",
        ),
        ("{}", &["--listen-addr", ":8080"], "listen_addr (flag --listen-addr): "),
    ] {
        let complaints = refused(text, flags);
        assert!(complaints.contains(complaint), "{text}: {complaint} is not in\n{complaints}");
    }
}

/// As the Go proxy reads it: other members are ignored, zeros are refused.
fn as_the_go_proxy_reads(path: &Path) -> (u64, u64) {
    let file: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let number = file["l2_block_number"].as_u64().unwrap();
    let fallback = file["fallback_hotshot_height"].as_u64().unwrap();
    assert!(number > 0 && fallback > 0 && file["updated_at"].is_string());
    (number, fallback)
}

#[test]
fn the_state_file_goes_over_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("espresso_store.json");
    let show = || {
        let old_flag = ["store", "show", "--json", "--store-file-path", "espresso_store.json"];
        let ended = run_in(folder.path(), &old_flag);
        assert_eq!(ended.code, 0, "{}", ended.err);
        serde_json::from_str::<Value>(&ended.out).unwrap()
    };
    // As that program writes it, on a machine with another time zone.
    let text = "{\"l2_block_number\":8430,\"fallback_hotshot_height\":7,\
                \"updated_at\":\"2026-06-05T19:20:40.05937001-04:00\"}\n";
    fs::write(&path, text).unwrap();
    let shown = show();
    assert_eq!((&shown["number"], &shown["restart_hotshot_height"]), (&8430.into(), &7.into()));

    let mut store = FileStore::open(&path).unwrap();
    let mut record = store.record().unwrap().clone();
    record.number = 8500;
    record.restart_height = Some(400);
    record.fallback_height = Some(39);
    store.save(record).unwrap();
    drop(store);
    assert_eq!(as_the_go_proxy_reads(&path), (8500, 39));
    assert_eq!(show()["go_proxy_can_read"], true);

    // It continues and writes its members alone, perhaps with new ones; then the sidecar imports
    // them again.
    let text = text.replace("8430", "8600").replace(":7,", ":50,\"new\":{\"a\":1},");
    fs::write(&path, text).unwrap();
    let shown = show();
    assert_eq!((&shown["number"], &shown["restart_hotshot_height"]), (&8600.into(), &50.into()));
    assert_eq!(FileStore::open(&path).unwrap().record().unwrap().number, 8600);
}

#[test]
fn the_table_of_the_document_has_every_name_and_what_it_becomes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/migration.md");
    let document = fs::read_to_string(path).unwrap();
    let first = format!("| `{}` |", GO_PROXY_NAMES[0].member);
    let rows = document.lines().skip_while(|line| !line.starts_with(&first));
    let rows: Vec<_> = rows.take_while(|line| line.starts_with('|')).collect();
    assert_eq!(rows.len(), GO_PROXY_NAMES.len());
    for (row, name) in rows.iter().zip(GO_PROXY_NAMES) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, member, flag, becomes, ..] = cells.as_slice() else { panic!("{row}") };
        assert_eq!(*member, format!("`{}`", name.member), "the order is that of the code");
        assert_eq!(*flag, format!("`--{}`", name.flag()));
        let first = becomes.split('`').nth(1).unwrap_or_default();
        match name.setting() {
            Some(setting) => assert_eq!(first, setting, "{row}"),
            None => assert!(Setting::named(first).is_none(), "{row}"),
        }
    }
}
