//! The commands through the real binary: exit codes, standard output to the byte, one line per
//! mistake.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use finality_sidecar::store::{FileStore, Store as _};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::command::{self, Ended};

const ADDRESS: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const GO_FILE: &str = r#"{"l2_block_number":10,"fallback_hotshot_height":20,"updated_at":"2026-03-27T10:11:12.123456789Z"}"#;

/// A folder of its own, which is also the working directory.
struct Place(TempDir);

impl Ended {
    /// The one line on standard error.
    fn complaint(&self) -> &str {
        let mut lines = self.err.lines();
        let line = lines.next().unwrap_or_else(|| panic!("no complaint: {self:?}"));
        assert_eq!(lines.next(), None, "one line: {self:?}");
        line.strip_prefix("finality-sidecar: ").unwrap_or_else(|| panic!("{line}"))
    }
}

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &[&str], input: &str) -> Ended {
        self.run_with(arguments, input, &[])
    }

    fn run_with(&self, arguments: &[&str], input: &str, variables: &[(&str, &str)]) -> Ended {
        command::run(self.0.path(), arguments, input.as_bytes(), variables)
    }
}

fn store_value(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_version_names_commit_and_target() {
    let ended = Place::new().run(&["--version"], "");
    assert_eq!(ended.code, 0);
    assert_eq!(ended.out, format!("finality-sidecar {}\n", finality_core::build::LINE));
}

#[test]
fn bad_usage_is_one_line_and_64() {
    let place = Place::new();
    for (arguments, words) in [
        (&["fly"][..], "unrecognized subcommand 'fly'"),
        (&["run", "--l1-rcp", "x"], "unexpected argument '--l1-rcp'"),
        (&["store", "reset"], "--to <NUMBER>"),
        (&["store", "reset", "--to", "-1"], "invalid value '-1' for '--to <NUMBER>'"),
        (&["rewrite", "--tag", "a", "--number", "-5"], "invalid value '-5'"),
        (&["store", "reset", "--to", "1.5"], "invalid value '1.5'"),
        (&["rewrite", "--number", "5"], "--tag <TAG>"),
        (&["rewrite", "--tag", "espresso", "--number", "0x5"], "invalid value '0x5'"),
        (&["rewrite", "--tag", "a", "--number", "5", "--scope", "all"], "block-parameters"),
        (&["rewrite", "--tag", "", "--number", "5"], "tag"),
        (&["rewrite", "--tag", "a", "--tag", "a", "--number", "5"], "tag"),
    ] {
        let ended = place.run(arguments, "");
        assert_eq!((ended.code, ended.out.as_str()), (64, ""), "{arguments:?}");
        assert!(ended.complaint().contains(words), "{arguments:?}: {}", ended.err);
    }
    // A URL in the wrong place may hold a secret all the same.
    for arguments in [
        &["https://user:secret@host/secret"][..],
        &["run", "https://user:secret@host/secret"],
        &["run", "--l1-rcp=https://user:secret@host/secret"],
        &["store", "reset", "--to", "https://user:secret@host"],
    ] {
        let ended = place.run(arguments, "");
        assert_eq!(ended.code, 64);
        assert!(!ended.complaint().contains("secret"), "{}", ended.err);
    }
    let ended = place.run(&[], "");
    assert_eq!(ended.code, 64);
    assert!(ended.err.contains("Usage:"), "{}", ended.err);
}

#[test]
fn rewrite_writes_exactly_what_would_go_to_the_node() {
    let place = Place::new();
    let tagged =
        "{ \"id\":1e0,\"method\":\"eth_call\", \"params\":[{}, \"espresso\",\"finalized\"] }\n";
    for (tags, body, expected) in [
        (&["--tag", "espresso"][..], tagged, tagged.replace("\"espresso\"", "\"0x64\"")),
        (
            &["--tag", "espresso", "--tag", "finalized"],
            tagged,
            tagged.replace("\"espresso\"", "\"0x64\"").replace("\"finalized\"", "\"0x64\""),
        ),
        (&["--tag", "espresso"], "not json", "not json".into()),
        (&["--tag", "espresso"], "", String::new()),
    ] {
        let ended = place.run(&[&["rewrite", "--number", "100"], tags].concat(), body);
        assert_eq!((ended.code, ended.out, ended.err.as_str()), (0, expected, ""));
    }
    // A string outside block parameters is eligible in one scope only.
    let body = r#"{"id":1,"method":"eth_getBalance","params":["espresso","latest"]}"#;
    let scoped = ["rewrite", "--number", "1", "--tag", "espresso", "--scope", "block-parameters"];
    assert_eq!(place.run(&scoped, body).out, body);
    assert_ne!(place.run(&scoped[..5], body).out, body);
}

#[test]
fn rewrite_writes_the_refusal_of_what_it_cannot_read() {
    let place = Place::new();
    let arguments = ["rewrite", "--number", "100", "--tag", "espresso"];
    let ended = place.run(&arguments, r#"{"id":1,"method":"eth_call","params":["espresso""#);
    assert_eq!((ended.code, ended.err.as_str()), (3, ""));
    let answer: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(answer["error"]["code"], -32700);

    let limited = [&arguments[..], &["--max-body-bytes", "10"]].concat();
    let ended = place.run(&limited, "0123456789a");
    assert_eq!(ended.code, 3);
    let answer: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(answer["error"]["code"], -32600);
    assert_eq!(place.run(&limited, "0123456789").out, "0123456789");
}

#[test]
fn print_config_shows_values_with_their_sources_and_no_secret() {
    let place = Place::new();
    fs::write(
        place.path("finality.toml"),
        format!(
            "query_service_url = \"https://query.test/v1/secret\"\nbatcher_addresses = [{ADDRESS:?}]\n\
             initial_hotshot_height = 5\nlog_level = \"debug\"\n"
        ),
    )
    .unwrap();
    let variables = [
        ("FINALITY_CONFIG", "finality.toml"),
        ("FINALITY_L1_RPC", "https://user:secret@l1.test"),
        ("FINALITY_NODE_EXECUTION_RPC", "env:NODE_URL"),
        ("NODE_URL", "http://node.test:8545/secret"),
        ("FINALITY_LOG_LEVEL", "warn"),
    ];
    let arguments =
        ["print-config", "--node-consensus-rpc", "http://127.0.0.1:9545", "--log-level=error"];
    let ended = place.run_with(&arguments, "", &variables);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    for line in [
        "listen_addr = \"127.0.0.1:8090\" # default",
        "node_execution_rpc = [\"env:NODE_URL\"] # http://node.test:8545/…, environment FINALITY_NODE_EXECUTION_RPC",
        "node_consensus_rpc = [\"http://127.0.0.1:9545/\"] # flag --node-consensus-rpc",
        "l1_rpc = [\"env:FINALITY_L1_RPC\"] # https://l1.test/…, environment FINALITY_L1_RPC",
        "query_service_url = [\"https://query.test/…\"] # file finality.toml",
        "initial_hotshot_height = \"5\" # file finality.toml",
        "log_level = \"error\" # flag --log-level",
        "# light_client_address is not set",
    ] {
        assert!(ended.out.lines().any(|found| found == line), "{line} is not in\n{}", ended.out);
    }
    assert!(!ended.out.contains("secret"), "{}", ended.out);
}

#[test]
fn bad_configuration_is_64_with_one_line_for_each_problem() {
    let place = Place::new();
    fs::write(place.path("bad.toml"), "l1_rcp = \"x\"\n").unwrap();
    for command in ["print-config", "run"] {
        let ended = place.run(&[command, "--config", "bad.toml", "--listen-addr", "nowhere"], "");
        assert_eq!(ended.code, 64, "{ended:?}");
        let settings: Vec<_> = ended
            .err
            .lines()
            .map(|line| line.strip_prefix("finality-sidecar: ").unwrap())
            .map(|line| line.split_once(": ").unwrap().0)
            .collect();
        let expected = [
            "l1_rcp (file bad.toml)",
            "node_execution_rpc",
            "node_consensus_rpc",
            "query_service_url",
            "l1_rpc",
            "listen_addr (flag --listen-addr)",
        ];
        assert_eq!(settings, expected, "{}", ended.err);
        assert!(ended.err.contains("set --l1-rpc, FINALITY_L1_RPC or l1_rpc in the file"));
    }
    let ended = place.run(&["run", "--config", "missing.toml"], "");
    assert_eq!(ended.code, 64);
    assert!(ended.err.contains(": config (file missing.toml): "), "{}", ended.err);
}

fn complete(place: &Place) -> Vec<(&'static str, &'static str)> {
    fs::write(place.path("store.json"), GO_FILE).unwrap();
    // Nothing answers on the discard port: dependencies that are down are no reason to exit.
    vec![
        ("FINALITY_NODE_EXECUTION_RPC", "http://127.0.0.1:9/secret"),
        ("FINALITY_NODE_CONSENSUS_RPC", "http://127.0.0.1:9/secret"),
        ("FINALITY_L1_RPC", "http://127.0.0.1:9/secret"),
        ("FINALITY_QUERY_SERVICE_URL", "http://127.0.0.1:9/secret"),
        ("FINALITY_BATCHER_ADDRESSES", ADDRESS),
        ("FINALITY_STORE_PATH", "store.json"),
        ("FINALITY_LISTEN_ADDR", "127.0.0.1:0"),
        ("FINALITY_LOG_LEVEL", "off"),
    ]
}

#[test]
fn something_must_tell_where_reading_begins() {
    let place = Place::new();
    let mut variables = complete(&place);
    assert_eq!(place.run_with(&["print-config"], "", &variables).code, 0, "the state file does");
    variables.push(("FINALITY_STORE_PATH", "other.json"));
    for command in ["print-config", "run"] {
        let ended = place.run_with(&[command], "", &variables);
        assert_eq!(ended.code, 64, "{ended:?}");
        assert!(ended.complaint().contains("light_client_address or initial_hotshot_height"));
    }
}

#[test]
fn the_mode_root_needs_a_light_client() {
    let place = Place::new();
    let mut variables = complete(&place);
    variables.push(("FINALITY_HOTSHOT_PROOFS", "root"));
    for command in ["print-config", "run"] {
        let ended = place.run_with(&[command], "", &variables);
        assert_eq!(ended.code, 64, "{ended:?}");
        assert!(ended.complaint().contains("light_client_address"), "{}", ended.err);
    }
    variables.push(("FINALITY_LIGHT_CLIENT_ADDRESS", ADDRESS));
    assert_eq!(place.run_with(&["print-config"], "", &variables).code, 0);
}

#[test]
fn store_move_copies_a_head_up_and_never_down() {
    let place = Place::new();
    fs::write(place.path("go.json"), GO_FILE).unwrap();
    let moved =
        |from: &str, to: &str| place.run(&["store", "move", "--from", from, "--to", to], "");
    assert_eq!(moved("absent.json", "new.json").code, 1);
    let ended = moved("go.json", "new.json");
    assert_eq!(ended.code, 0, "{}", ended.err);
    let shown = place.run(&["store", "show", "--json", "--store-path", "new.json"], "");
    assert!(shown.out.contains("\"number\":10"), "{}", shown.out);
    assert_eq!(fs::read_to_string(place.path("go.json")).unwrap(), GO_FILE);

    // The same head is no reason to stop, also where a sidecar runs; a lower one is refused.
    let held = FileStore::open(&place.path("new.json")).unwrap();
    assert_eq!(moved("go.json", "new.json").code, 0);
    fs::write(place.path("higher.json"), GO_FILE.replace(":10,", ":12,")).unwrap();
    assert_eq!(moved("higher.json", "new.json").code, 1, "it runs");
    drop(held);
    assert_eq!(moved("higher.json", "new.json").code, 0);
    assert_eq!(moved("go.json", "new.json").code, 1);
    let shown = place.run(&["store", "show", "--json", "--store-path", "new.json"], "");
    assert!(shown.out.contains("\"number\":12"), "{}", shown.out);

    // A replica that runs with others may have served more than it has verified.
    fs::write(place.path("go.json.served"), GO_FILE.replace(":10,", ":40,")).unwrap();
    assert_eq!(moved("go.json", "other.json").code, 1);
    assert!(!place.path("other.json").exists());
    fs::write(place.path("go.json.served"), GO_FILE.replace(":10,", ":9,")).unwrap();
    assert_eq!(moved("go.json", "other.json").code, 0);

    for bad in ["redis://host/x", "etcd:///x", "etcd://user@host", "etcd://host/../x"] {
        let ended = moved("go.json", bad);
        assert_eq!((ended.code, ended.err.lines().count()), (64, 1), "{}", ended.err);
    }
    let ended = moved("go.json", "etcd://127.0.0.1:9");
    assert_eq!(ended.code, 1, "the chain is not known: {}", ended.err);
}

#[test]
fn an_unproven_head_stays_where_it_is_until_a_command_clears_it() {
    let place = Place::new();
    fs::write(place.path("store.json"), GO_FILE).unwrap();
    let clear =
        || place.run(&["store", "clear-unproven", "--yes", "--store-path", "store.json"], "");
    let moved = || place.run(&["store", "move", "--from", "store.json", "--to", "new.json"], "");
    assert_eq!(clear().code, 0, "there is nothing to clear");

    let mut store = FileStore::open(&place.path("store.json")).unwrap();
    let mut record = store.record().unwrap().clone();
    record.audit.unproven = true;
    store.save(record).unwrap();
    drop(store);
    assert_eq!(moved().code, 1);
    assert!(!place.path("new.json").exists());
    let asked = place.run(&["store", "clear-unproven", "--store-path", "store.json"], "");
    assert_eq!(asked.code, 64, "nobody confirmed it");

    let ended = clear();
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.err.contains("WARN"), "the log knows of it: {}", ended.err);
    let store = FileStore::open(&place.path("store.json")).unwrap();
    assert!(!store.record().unwrap().audit.unproven);
    drop(store);
    assert_eq!(moved().code, 0);
}

#[test]
fn run_refuses_a_store_that_it_cannot_use() {
    let place = Place::new();
    let variables = complete(&place);
    fs::write(place.path("store.json"), "").unwrap();
    let ended = place.run_with(&["run"], "", &variables);
    assert_eq!(ended.code, 1);
    assert!(ended.complaint().contains("store.json cannot be used"), "{}", ended.err);
    assert!(!ended.err.contains("reset"), "{}", ended.err);

    fs::write(place.path("store.json"), GO_FILE).unwrap();
    let held = FileStore::open(&place.path("store.json")).unwrap();
    let ended = place.run_with(&["run"], "", &variables);
    assert_eq!(ended.code, 1);
    let holder = format!("another sidecar (process {})", std::process::id());
    assert!(ended.complaint().contains(&holder), "{}", ended.err);
    drop(held);

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = place.run_with(&["run", "--listen-addr", &address], "", &variables);
    assert_eq!(ended.code, 1);
    let complaint = ended.complaint();
    assert!(
        complaint.starts_with(&format!("cannot listen on {address} (listen_addr)")),
        "{complaint}"
    );
}

#[test]
fn store_show_says_whether_the_go_proxy_can_start_from_the_file() {
    let place = Place::new();
    let show = |name: &str| place.run(&["store", "show", "--store-path", name], "");
    let ended = show("store.json");
    assert_eq!(ended.code, 1);
    assert!(ended.complaint().contains("store.json"));

    fs::write(place.path("store.json"), GO_FILE).unwrap();
    let ended = show("store.json");
    assert_eq!(ended.code, 0);
    assert!(ended.out.contains("head            10\nhash            unknown\n"), "{}", ended.out);
    assert!(
        ended.out.contains("can start from this file: it reads HotShot from 21"),
        "{}",
        ended.out
    );
    let ended = place.run(&["store", "show", "--json", "--store-path", "store.json"], "");
    let shown: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&shown["number"], &shown["go_proxy_can_read"]), (&10.into(), &true.into()));

    fs::write(place.path("zero.json"), GO_FILE.replace(":20,", ":0,")).unwrap();
    let out = show("zero.json").out;
    assert!(out.contains("refuses this file: fallback_hotshot_height is zero"), "{out}");
    assert!(!place.path("store.json.lock").exists(), "showing leaves nothing behind");
}

#[test]
fn store_reset_lowers_the_head_and_tells_the_second_step() {
    let place = Place::new();
    let path = place.path("store.json");
    fs::write(&path, GO_FILE).unwrap();
    let reset = |arguments: &[&str]| {
        place.run(&[&["store", "reset", "--store-path", "store.json"], arguments].concat(), "yes\n")
    };
    let ended = reset(&["--to", "4"]);
    assert_eq!(ended.code, 64);
    assert!(ended.complaint().contains("--yes"));
    let ended = reset(&["--to", "11", "--yes"]);
    assert_eq!(ended.code, 64);
    assert!(ended.complaint().contains("from 10 to 11"), "{ended:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), GO_FILE, "nothing was written");

    let held = FileStore::open(&path).unwrap();
    let ended = reset(&["--to", "4", "--yes"]);
    assert_eq!(ended.code, 1);
    assert!(ended.complaint().contains("is in use by another sidecar"));
    drop(held);

    let ended = reset(&["--to", "4", "--restart-height", "15", "--yes"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert!(ended.out.contains("cache_key") && ended.out.contains("restart every Envoy"));
    let written = store_value(&path);
    assert_eq!(written["l2_block_number"], 4);
    assert_eq!(written["restart_hotshot_height"], 15);
    assert_eq!(written["fallback_hotshot_height"], 14);
    assert_eq!(written["hash"], Value::Null);

    assert_eq!(written["generation"], 1);
    let id = written["store_id"].as_str().unwrap().to_owned();

    // Envoys know that file's head by its id now.
    let ended = reset(&["--to", "0", "--yes"]);
    assert_eq!(ended.code, 0, "zero is a legal head");
    assert!(ended.out.contains("next poll"), "{ended:?}");
    let written = store_value(&path);
    assert_eq!((&written["generation"], written["store_id"].as_str()), (&2.into(), Some(&*id)));
}

/// What a file may have held bounds a reset, also if it is damaged, empty or not ours to read.
#[test]
fn store_reset_cannot_raise_what_cannot_be_read() {
    let place = Place::new();
    let path = place.path("store.json");
    let reset = |number: &str| {
        let arguments = ["store", "reset", "--store-path", "store.json", "--yes", "--to", number];
        place.run(&arguments, "")
    };
    assert_eq!(reset("0").code, 1);
    assert_eq!(fs::read_dir(place.0.path()).unwrap().count(), 0, "a wrong path leaves nothing");
    let whole = GO_FILE.replace("}", ",\"format_version\":1}");
    let newer = GO_FILE.replace("}", ",\"format_version\":2}");
    for text in ["", " \n", "garbage", &newer, &newer[1..], &whole.replace(":10", ":ten")] {
        fs::write(&path, text).unwrap();
        let ended = reset("0");
        assert_eq!(ended.code, 1, "{text}: {ended:?}");
        assert!(!ended.complaint().contains("reset"), "{ended:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    // Damaged, but with a number; with several, the lowest counts.
    let cut = &GO_FILE[..GO_FILE.len() - 5];
    for text in [&whole, cut, &format!("{cut}{}", cut.replace(":10", ":12"))] {
        fs::write(&path, text).unwrap();
        assert_eq!(reset("11").code, 64, "{text}");
        assert_eq!(fs::read_to_string(&path).unwrap(), *text);
        assert_eq!(reset("9").code, 0, "{text}");
        assert_eq!(store_value(&path)["l2_block_number"], 9);
    }
}

#[test]
fn an_end_of_output_is_no_panic() {
    let place = Place::new();
    fs::write(place.path("store.json"), GO_FILE).unwrap();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_finality-sidecar"))
        .args(["store", "show", "--store-path", "store.json"])
        .env_clear()
        .current_dir(place.0.path())
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let complaint = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{complaint}");
    assert!(complaint.starts_with("finality-sidecar: "), "{complaint}");
}
