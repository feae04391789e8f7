//! No secret of a URL comes out anywhere, whatever the dependencies do, and every log line is one
//! JSON object of the documented shape.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::mpsc,
    time::Instant,
};

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Value, json};

use crate::support::{
    PATIENCE, command,
    http::{Request, serve},
    process::{STORE, Sidecar},
};

/// Part of every secret, in each form in which a server could repeat it.
const SECRET: &str = "hush";
const SETTINGS: [&str; 4] =
    ["node_execution_rpc", "node_consensus_rpc", "l1_rpc", "query_service_url"];

/// What a dependency answers to the text of a request.
type Behavior = fn(&str) -> String;

fn text((head, body): &Request) -> String {
    head.clone() + &String::from_utf8_lossy(body)
}

fn answer(code: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {code}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Each way to fail has a name, which is the first part of the URL's path.
const WAYS: [(&str, Behavior); 6] = [
    ("unauthorized", |head| answer("401 Unauthorized", &quoted(head))),
    ("throttled", |head| answer("429 Too Many Requests", &quoted(head))),
    ("misled", |head| {
        answer("200 OK", &format!(r#"{{"jsonrpc":"2.0","id":1,"result":{}}}"#, quoted(head)))
    }),
    ("garbage", |head| answer("200 OK", head)),
    ("cut", |_| "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{".into()),
    ("redirect", |head| {
        // The other host would tell what it is asked.
        let port = head.split("elsewhere-").nth(1).unwrap().split(['/', '?', ' ']).next().unwrap();
        format!(
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:{port}/taken\r\ncontent-length: 0\r\n\r\n"
        )
    }),
];

/// What is asked first, answered so that the sidecar continues with the next dependency; all else
/// is an error.
fn first_steps(request: &str) -> String {
    let vectors: Value =
        serde_json::from_str(include_str!("../../testdata/op_node_rpc.json")).unwrap();
    let config = &vectors["rollup_config"];
    let result = if request.contains("optimism_rollupConfig") {
        config.clone()
    } else if request.contains("optimism_syncStatus") {
        let genesis = &config["genesis"];
        let (hash, origin) = (&genesis["l2"]["hash"], &genesis["l1"]);
        json!({"finalized_l2": {"number": 0, "hash": hash, "l1origin": origin}})
    } else if request.contains("eth_getBlockByNumber") {
        let number = if request.contains("\"0xa\"") { "0xa" } else { "0x0" };
        json!({"number": number, "hash": config["genesis"]["l2"]["hash"]})
    } else if request.contains("eth_blockNumber") {
        json!("0x14")
    } else if request.contains("eth_chainId") {
        let chain = if request.contains("l1_rpc") { "l1_chain_id" } else { "l2_chain_id" };
        json!(format!("{:#x}", config[chain].as_u64().unwrap()))
    } else {
        let error = json!({"code": -32000, "message": format!("no such key: {request}")});
        return answer("200 OK", &json!({"jsonrpc": "2.0", "id": 1, "error": error}).to_string());
    };
    answer("200 OK", &json!({"jsonrpc": "2.0", "id": 1, "result": result}).to_string())
}

/// A JSON object without duplicate names.
struct Line(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Line;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if members.insert(name.clone(), value).is_some() {
                        return Err(de::Error::custom(format!("{name} occurs twice")));
                    }
                }
                Ok(Line(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

fn assert_shape(line: &str) {
    let Line(members) =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let text = |name: &str| {
        members.get(name).and_then(Value::as_str).unwrap_or_else(|| panic!("{name}: {line}"))
    };
    text("timestamp").parse::<jiff::Timestamp>().unwrap();
    assert!(["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&text("level")), "{line}");
    assert!(!text("target").is_empty() && !text("message").is_empty(), "{line}");
}

#[test]
fn no_secret_comes_out_whatever_the_dependencies_do() {
    let (elsewhere, taken) = mpsc::channel();
    let other_host = serve(elsewhere, |_| answer("404 Not Found", "{}"));
    let (sender, requests) = mpsc::channel();
    let mut expected = BTreeSet::new();
    let mut urls: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for setting in SETTINGS {
        for (way, behave) in WAYS {
            let port = serve(sender.clone(), move |request| behave(&text(request)));
            urls.entry(setting).or_default().push(format!(
                "http://{SECRET}-user:{SECRET}-p%61ss@127.0.0.1:{port}/{way}/{setting}/{SECRET}-path/\
                 elsewhere-{other_host}?key={SECRET}-key"
            ));
            expected.insert(format!("{way}/{setting}"));
        }
        let works = serve(sender.clone(), |request| first_steps(&text(request)));
        // Nothing answers on the discard port, and nothing speaks TLS.
        let plain = serve(sender.clone(), |_| String::new());
        urls.entry(setting).or_default().extend([
            format!("http://127.0.0.1:9/{SECRET}-path"),
            format!("https://{SECRET}-user@127.0.0.1:{plain}/{SECRET}-path"),
            format!("http://127.0.0.1:{works}/works/{setting}/{SECRET}-path"),
        ]);
        if setting == "l1_rpc" {
            // A majority of the L1 endpoints has to work.
            urls.entry(setting).or_default().extend((0..WAYS.len() + 3).map(|index| {
                format!("http://127.0.0.1:{works}/works/{setting}/{index}/{SECRET}-path")
            }));
        }
    }
    let folder = tempfile::tempdir().unwrap();
    // With a stored head HotShot is read whatever the others do.
    let stored = r#"{"l2_block_number":10,"fallback_hotshot_height":20,"updated_at":"2026-03-27T10:11:12Z"}"#;
    std::fs::write(folder.path().join(STORE), stored).unwrap();
    // One of the settings by reference, whose name may be shown and whose value may not.
    std::fs::write(folder.path().join("l1"), urls["l1_rpc"].join(",")).unwrap();
    let flag = |setting: &str| match setting {
        "l1_rpc" => format!("--l1-rpc=file:{}", folder.path().join("l1").display()),
        setting => format!("--{}={}", setting.replace('_', "-"), urls[setting].join(",")),
    };
    let mut arguments: Vec<_> = SETTINGS.iter().map(|setting| flag(setting)).collect();
    arguments.extend(
        [
            "--batcher-addresses=0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
            "--request-timeout=2s",
            "--verification-interval=1ms",
            "--log-level=trace",
        ]
        .map(str::to_owned),
    );
    let shown: Vec<_> =
        ["print-config"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    let printed = command::run(folder.path(), &shown, b"", &[("FINALITY_STORE_PATH", STORE)]);
    assert_eq!(printed.code, 0, "{printed:?}");
    let mut outputs = vec![printed.out];
    let sidecar = Sidecar::start(folder.path(), &arguments, &[]);

    // Until every way to fail was met by every kind of dependency.
    let began = Instant::now();
    while !expected.is_empty() {
        let (head, _) = requests.recv_timeout(PATIENCE).unwrap_or_default();
        expected.retain(|way| !head.contains(way));
        assert!(
            began.elapsed() < PATIENCE,
            "{expected:?} are never asked: {}",
            sidecar.get("/v1/status").body
        );
    }
    for path in ["/v1/status", "/v1/head", "/readyz?verbose", "/livez", "/metrics", "/nothing"] {
        let answer = sidecar.get(path);
        outputs.extend([answer.head, answer.body]);
    }
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0));
    assert!(taken.try_recv().is_err(), "another host is not asked");

    log.iter().for_each(|line| assert_shape(line));
    let failures = log.iter().filter(|line| line.contains("dependency failed")).count();
    assert!(failures >= SETTINGS.len(), "{log:#?}");
    assert!(outputs[0].contains("file:"), "{}", outputs[0]);
    outputs.extend(log);
    for output in outputs {
        assert!(!output.contains(SECRET), "{output}");
        // `hush-user:hush-pass`, as a header has it.
        assert!(!output.contains("aHVzaC11c2Vy"), "{output}");
    }
}
