use std::{collections::BTreeMap, io::Write, time::Duration};

use alloy_primitives::Address;

use super::*;
use crate::{batchers::BatcherTenure, telemetry::log::Format};

const ADDRESS: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

/// Flags, variables and file of one case.
#[derive(Default)]
struct Given {
    flags: BTreeMap<&'static str, String>,
    variables: BTreeMap<String, String>,
    file: String,
}

impl Given {
    fn complete() -> Self {
        let mut given = Self::default();
        for name in ["node_execution_rpc", "node_consensus_rpc", "l1_rpc", "query_service_url"] {
            given
                .variable(name, &format!("http://user:secret@{}.test/key", name.replace('_', "-")));
        }
        given.variable("batcher_addresses", ADDRESS);
        given
    }

    fn variable(&mut self, name: &str, text: &str) {
        self.variables.insert(Setting::named(name).unwrap().variable(), text.to_owned());
    }

    fn environment(&self) -> Environment {
        self.variables.clone().into_iter().collect()
    }

    fn values(&self) -> Values {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(self.file.as_bytes()).unwrap();
        let config = (!self.file.is_empty()).then(|| file.path());
        Values::gather(&self.flags, config, &self.environment())
    }

    fn config(&self) -> Result<Config, Problems> {
        Config::from_values(&self.values())
    }

    fn problems(&self) -> Vec<String> {
        self.config().unwrap_err().iter().map(ToString::to_string).collect()
    }
}

#[test]
fn certificates_are_refused_where_etcd_is_not_asked_over_tls() {
    let problems = |store: &str| {
        let mut given = Given::complete();
        given.variable("store_ca_file", "/ca.pem");
        if !store.is_empty() {
            given.variable("store", store);
        }
        given.config().map_or_else(|problems| problems.iter().count(), |_| 0)
    };
    assert_eq!(problems("etcds://user:password@host"), 0);
    for store in ["", "etcd://host", "redis://host", "etcds://user@host", "etcds://host/../x"] {
        assert_eq!(problems(store), 1, "{store}");
    }
}

#[test]
fn every_default_is_acceptable() {
    let config = Given::complete().config().unwrap();
    assert_eq!(config.listen_addr.to_string(), "127.0.0.1:8090");
    assert_eq!(config.store_path, PathBuf::from("finality-store.json"));
    assert_eq!(config.verification_interval, Duration::from_secs(1));
    assert_eq!(config.shutdown_delay, Duration::ZERO);
    assert_eq!(config.namespace, None);
    assert_eq!(config.ready_max_age, None);
    assert_eq!(config.log_format, Format::Auto);
}

#[test]
fn each_value_alone_comes_from_the_first_source_that_has_it() {
    // (flag, variable, file) → the one that counts
    let table = [
        (Some("1s"), Some("2s"), Some("3s"), "1s", "flag --request-timeout"),
        (Some("1s"), None, Some("3s"), "1s", "flag --request-timeout"),
        (None, Some("2s"), Some("3s"), "2s", "environment FINALITY_REQUEST_TIMEOUT"),
        (None, Some(""), Some("3s"), "3s", "file "),
        (None, None, Some("3s"), "3s", "file "),
        (None, None, None, "10s", "default"),
    ];
    for (flag, variable, file, text, source) in table {
        let mut given = Given::complete();
        given.flags.extend(flag.map(|text| ("request_timeout", text.to_owned())));
        if let Some(text) = variable {
            given.variable("request_timeout", text);
        }
        given.file = format!(
            "log_level = \"debug\"\n{}",
            file.map_or(String::new(), |text| format!("request_timeout = {text:?}"))
        );
        let values = given.values();
        let value = values.get("request_timeout").unwrap();
        assert_eq!(value.text, text);
        assert!(value.source.describe("request_timeout").starts_with(source), "{:?}", value.source);
        let config = given.config().unwrap();
        assert_eq!(config.request_timeout, humantime::parse_duration(text).unwrap());
        assert_eq!(config.log_level, "debug", "another value of the file still counts");
    }
}

#[test]
fn all_problems_are_listed_at_once_each_with_its_source() {
    let mut given = Given::default();
    given.flags.insert("listen_addr", "8090".into());
    given.variable("l1_rpc", "ws://host/secret");
    given.file = "l1_rcp = \"x\"\nnamespace = 4294967296\nmax_connections = 1.5\n".into();
    let problems = given.problems();
    let expected = [
        ("l1_rcp (file ", "unknown setting"),
        ("max_connections (file ", "\"1.5\" is not a whole number"),
        ("listen_addr (flag --listen-addr)", "\"8090\" is not an IP address"),
        ("node_execution_rpc", "missing: set --node-execution-rpc, FINALITY_NODE_EXECUTION_RPC or"),
        ("node_consensus_rpc", "missing"),
        ("l1_rpc (environment FINALITY_L1_RPC)", "WebSocket is not supported"),
        ("query_service_url", "missing"),
        ("namespace (file ", "not a whole number from 0 to 4294967295"),
    ];
    for (start, text) in expected {
        assert!(
            problems.iter().any(|line| line.starts_with(start) && line.contains(text)),
            "{start} {text}: {problems:#?}"
        );
    }
    assert!(problems.iter().all(|line| !line.contains("secret") && !line.contains('\n')));
}

#[test]
fn bad_values_are_refused_by_the_name_of_their_setting() {
    let table = [
        ("light_client_address", "0x0000000000000000000000000000000000000000"),
        ("light_client_address", "0x1234"),
        ("batcher_addresses", " , "),
        ("batcher_addresses", "0x1234"),
        ("l1_rpc", ","),
        ("l1_rpc", "http://a.test,host:8545"),
        ("initial_hotshot_height", "-1"),
        ("verification_interval", "0s"),
        ("verification_interval", "5"),
        ("verification_interval", "5000000000"),
        ("request_timeout", "2days"),
        ("query_service_url", ", ,"),
        ("query_service_url", "https://a/v1,ftp://b"),
        ("query_service_url", "https://a/v1, https://a/v1"),
        ("query_service_url", "https://a/v1,https://key@A:443/v1/"),
        ("l1_rpc", "http://a.test/one,http://a.test/two,http://a.test./one?key=2"),
        ("query_service_url", "https://a/v1,env:UNSET"),
        ("max_connections", "0"),
        ("allowed_hosts", ","),
        ("allowed_hosts", "https://sidecar.test"),
        ("allowed_hosts", "sidecar.test:8090"),
        ("allowed_hosts", "*.test"),
        ("log_level", "inof"),
        ("log_level", "finality_sidecar=loud"),
        ("log_format", "xml"),
        ("trace_sample_ratio", "5%"),
        ("trace_sample_ratio", "1.01"),
        ("trace_sample_ratio", "-0.1"),
        ("trace_sample_ratio", "NaN"),
        ("l1_rpc", "host:8545"),
        ("l1_rpc", "https://"),
        ("l1_rpc", "env:UNSET"),
        ("l1_rpc", "file:/does/not/exist"),
        ("l1_rpc", "env:"),
        ("l1_rpc", "file:"),
        ("l1_rpc", "file:/dev/null"),
        ("l1_rpc", "file:/"),
        ("l1_rpc", "http://a.test/key http://b.test/key"),
        ("l1_rpc", "http://a.test/key\nhttp://b.test/key"),
        ("l1_rpc", "http://a.test/k\tey"),
        ("l1_rpc", "http://a.test/…"),
        ("l1_rpc", "wss://a.test/key"),
        ("l1_rpc", "/data/geth.ipc"),
        ("l1_rpc", "geth.ipc"),
        ("l1_rpc", "//a.test"),
        ("l1_rpc", "a.test"),
    ];
    for (name, text) in table {
        let mut given = Given::complete();
        given.variable(name, text);
        let problems = given.problems();
        let [problem] = &*problems else { panic!("{name} {text}: {problems:?}") };
        let source = format!("environment {}", Setting::named(name).unwrap().variable());
        assert!(problem.starts_with(&format!("{name} ({source}): ")), "{problem}");
    }
    let mut given = Given::complete();
    given.variable("batch_authenticator_address", ADDRESS);
    let problems = given.problems();
    assert!(problems.len() == 1 && problems[0].contains("batch_authenticator_address"));
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_one_problem() {
    let values = Values::gather(
        &BTreeMap::new(),
        Some(std::path::Path::new("/does/not/exist.toml")),
        &Given::complete().environment(),
    );
    let problems = Config::from_values(&values).unwrap_err().to_string();
    assert!(problems.starts_with("config (file /does/not/exist.toml): "), "{problems}");

    let mut given = Given::complete();
    given.file = "log_level = \"info\"\nl1_rpc = \"https://host/secret\n".into();
    let problems = given.problems();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("line 2") && !problems[0].contains("secret"), "{problems:?}");
}

#[test]
fn the_file_takes_arrays_and_whole_numbers() {
    let mut given = Given::complete();
    given.variables.remove("FINALITY_BATCHER_ADDRESSES");
    given.file = format!(
        "batcher_addresses = [{ADDRESS:?}, {:?}, {:?}]\nnamespace = 7\ninitial_hotshot_height = 0\n",
        ADDRESS.to_lowercase(),
        "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
    );
    let config = given.config().unwrap();
    let tenures = config.batcher_addresses.unwrap();
    assert_eq!(tenures.len(), 2, "no address counts twice");
    assert_eq!(config.namespace, Some(7));
    assert_eq!(config.initial_hotshot_height, Some(0));
}

#[test]
fn a_reference_names_a_file_or_variable_with_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l1");
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let problems = |text: &str| {
        let mut given = Given::complete();
        given.variable("l1_rpc", text);
        given.variables.insert("LINES".into(), "http://a.test\nhttp://b.test".into());
        given.problems()
    };
    // It does not wait for a writer.
    let refused = problems(&format!("file:{}", pipe.display()));
    assert!(refused[0].contains("not a regular file"), "{refused:?}");
    for text in ["http://a.test\nhttp://b.test\n", "http://a.test\r\rx", "", " \n"] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(problems(&format!("file:{}", path.display())).len(), 1, "{text:?}");
    }
    assert_eq!(problems("env:LINES").len(), 1);
    let unset = problems("env: UNSET");
    assert!(unset[0].contains("\" UNSET\""), "{unset:?}");
}

#[test]
fn secrets_may_be_references_and_are_never_shown() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "https://l1.test:444/v3/secret?key=secret\n").unwrap();
    let mut given = Given::complete();
    given.variable("l1_rpc", &format!("file:{}, env:NODE", secret.path().display()));
    given.variables.insert("NODE".into(), "http://secret@node.test".into());
    given.flags.insert("node_execution_rpc", "env:NODE".into());
    given.flags.insert("query_service_url", "http://one.test/secret, env:NODE".into());
    let config = given.config().unwrap();
    assert_eq!(config.query_service_url[1..], config.node_execution_rpc);
    let [first, second] = &*config.l1_rpc else { panic!("{:?}", config.l1_rpc) };
    assert_eq!(first.expose().as_str(), "https://l1.test:444/v3/secret?key=secret");
    assert_eq!(first.to_string(), "https://l1.test:444/…");
    assert_eq!(second.expose().as_str(), "http://secret@node.test/");
    let values = given.values();
    let shown = format!("{}{config:?}{values:?}", describe(&values, Secrets::Masked));
    assert!(!shown.contains("secret"), "{shown}");
    assert!(
        shown.contains("node_execution_rpc = [\"env:NODE\"] # http://node.test/…, flag --node"),
        "{shown}"
    );
    assert!(
        shown.contains(&format!("l1_rpc = [\"file:{}\", \"env:NODE\"]", secret.path().display())),
        "{shown}"
    );
    let listed = r#"query_service_url = ["http://one.test/…", "env:NODE"] # http://one.test/…, "#;
    assert!(shown.contains(listed), "{shown}");
    assert!(shown.contains("# namespace is not set"));
}

#[test]
fn a_comma_in_a_secret_does_not_make_a_host_of_it() {
    let mut given = Given::complete();
    given.variable("l1_rpc", "https://secret,name:pass@host/");
    let shown = describe(&given.values(), Secrets::Masked);
    let masked = r#"l1_rpc = ["env:FINALITY_L1_RPC"] # …, …, environment"#;
    assert!(shown.contains(masked) && !shown.contains("secret,"), "{shown}");
    assert!(!shown.contains("https://secret"), "{shown}");
}

#[test]
fn what_is_described_can_be_read_as_a_file() {
    let mut given = Given::complete();
    given.variable("log_level", "info,\"odd\"=debug");
    given.variable("store_path", "C:\\odd \"name\".json");
    let table: toml::Table = describe(&given.values(), Secrets::Masked).parse().unwrap();
    assert_eq!(table["store_path"].as_str(), Some("C:\\odd \"name\".json"));
    assert_eq!(table["batcher_addresses"][0].as_str(), Some(ADDRESS));
}

/// Values that `run` uses, from all kinds of sources.
fn given_in_all_ways(secret: &std::path::Path) -> Given {
    let mut given = Given::complete();
    // The environment counts above a file, so what flags have replaced there must go.
    for name in ["NODE_EXECUTION_RPC", "L1_RPC", "QUERY_SERVICE_URL"] {
        given.variables.remove(&format!("FINALITY_{name}"));
    }
    given.variables.insert("NODE".into(), "http://secret@node.test".into());
    given.variable("node_consensus_rpc", "http://a.test/key,http://b.test");
    given.variable("allowed_hosts", "a.test, b.test");
    given.flags.insert("node_execution_rpc", "env:NODE".into());
    given.flags.insert("l1_rpc", format!("file:{}, https://plain.test", secret.display()));
    given.flags.insert("query_service_url", "https://query.test".into());
    given.flags.insert("log_level", "warn+1".into());
    given.file =
        "namespace = 0x10\nverification_interval = \"250ms\"\nstore_path = 'odd \"#.json'\n".into();
    given
}

#[test]
fn what_is_described_yields_the_same_configuration() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "https://l1.test/secret\n").unwrap();
    let given = given_in_all_ways(secret.path());
    let shown = |config: &Config| {
        let consensus = config.node_consensus_rpc.clone().unwrap();
        let urls = [&config.node_execution_rpc, &consensus, &config.l1_rpc];
        let urls: Vec<_> = urls.into_iter().flatten().map(|url| url.expose().clone()).collect();
        format!("{config:?}{urls:?}")
    };
    let before = shown(&given.config().unwrap());
    for secrets in [Secrets::Masked, Secrets::Shown] {
        let text = describe(&given.values(), secrets);
        assert_eq!(text.contains("secret@"), secrets == Secrets::Shown, "{text}");
        let variables = match secrets {
            Secrets::Masked => given.variables.clone(),
            Secrets::Shown => BTreeMap::new(),
        };
        let again = Given { file: text, variables, ..Given::default() };
        assert_eq!(shown(&again.config().unwrap()), before, "{secrets:?}");
    }
}

#[test]
fn a_masked_url_is_refused_in_place_of_the_real_one() {
    let mut given = Given::complete();
    given.flags.insert("l1_rpc", "https://l1.test/v3/key".into());
    let text = describe(&given.values(), Secrets::Masked);
    assert!(text.contains("l1_rpc = [\"https://l1.test/…\"] # flag"), "{text}");
    let mut again = Given { file: text, variables: given.variables, ..Given::default() };
    again.variables.remove("FINALITY_L1_RPC");
    let problems = again.problems();
    let [problem] = &*problems else { panic!("{problems:?}") };
    assert!(problem.starts_with("l1_rpc (file ") && problem.contains("masked"), "{problem}");
}

#[test]
fn variables_that_begin_like_ours_and_are_none_are_refused() {
    let mut given = Given::complete();
    for name in ["FINALITY_L1_RCP", "FINALITY_NAMESPACES", "FINALITY_NODE_URL", "FINALITY_"] {
        given.variables.insert(name.into(), "x".into());
    }
    let problems = given.problems();
    let expected = [
        "FINALITY_ (environment): unknown setting",
        "FINALITY_L1_RCP (environment): unknown setting; did you mean FINALITY_L1_RPC?",
        "FINALITY_NAMESPACES (environment): unknown setting; did you mean FINALITY_NAMESPACE?",
        "FINALITY_NODE_URL (environment): unknown setting",
    ];
    assert_eq!(problems, expected);
    // What Kubernetes sets for a service named finality-sidecar, and what is empty.
    let mut given = Given::complete();
    for (name, text) in [
        ("FINALITY_SIDECAR_SERVICE_HOST", "10.0.0.1"),
        ("FINALITY_SIDECAR_SERVICE_PORT", "8090"),
        ("FINALITY_SIDECAR_SERVICE_PORT_HTTP", "8090"),
        ("FINALITY_SIDECAR_PORT", "tcp://10.0.0.1:8090"),
        ("FINALITY_SIDECAR_PORT_8090_TCP", "tcp://10.0.0.1:8090"),
        ("FINALITY_SIDECAR_PORT_8090_TCP_ADDR", "10.0.0.1"),
        ("FINALITY_SIDECAR_PORT_8090_TCP_PROTO", "tcp"),
        ("FINALITY_L1_RCP", ""),
    ] {
        given.variables.insert(name.into(), text.into());
    }
    given.config().unwrap();
    given.variables.insert("FINALITY_LISTEN_PORT".into(), "8090".into());
    assert_eq!(given.problems().len(), 1);
}

#[test]
fn numbers_and_levels_may_be_written_as_go_writes_them() {
    let of = |name: &str, text: &str| {
        let mut given = Given::complete();
        given.variable(name, text);
        given.config()
    };
    for (text, number) in [("0x10", 16), ("0XfF", 255), ("1_000", 1000), ("0x_1_0", 16), ("0", 0)] {
        let height = of("initial_hotshot_height", text).unwrap().initial_hotshot_height;
        assert_eq!(height, Some(number), "{text}");
        assert_eq!(of("namespace", text).unwrap().namespace, u32::try_from(number).ok(), "{text}");
    }
    for text in ["", "0x", "_1", "1_", "1__0", "0x1_", "+1", "-1", "1.0", "0xg", "f"] {
        assert!(text.is_empty() || of("initial_hotshot_height", text).is_err(), "{text}");
    }
    assert!(of("namespace", "0x100000000").is_err());
    for (text, level) in [
        ("warn+1", "error"),
        ("WARN+0", "warn"),
        ("info-4", "debug"),
        ("debug-4", "trace"),
        ("error+4", "error"),
        ("info+2", "warn"),
    ] {
        assert_eq!(of("log_level", text).unwrap().log_level, level, "{text}");
    }
    for text in ["warn+", "loud+1", "warn+x", "+1"] {
        assert!(of("log_level", text).is_err(), "{text}");
    }
    for (text, share) in [("0", 0.0), ("0.25", 0.25), ("1", 1.0)] {
        let ratio = of("trace_sample_ratio", text).unwrap().trace_sample_ratio;
        assert!((ratio - share).abs() < f64::EPSILON, "{text}");
    }
}

/// YAML, and so a values file of the chart, reads a bare off as false.
#[test]
fn what_is_proven_is_off_as_yaml_writes_it_too() {
    let mode = |text: &str| {
        let mut given = Given::complete();
        given.file = text.into();
        given.config().map(|config| config.hotshot_proofs)
    };
    assert_eq!(mode(""), Ok(HotshotProofs::Payload));
    for text in ["false", "\"false\"", "\"off\""] {
        assert_eq!(mode(&format!("hotshot_proofs = {text}")), Ok(HotshotProofs::Off), "{text}");
    }
    for text in ["true", "\"on\"", "\"Off\""] {
        let problems = mode(&format!("hotshot_proofs = {text}")).unwrap_err();
        assert!(problems.to_string().starts_with("hotshot_proofs"), "{problems}");
    }
}

#[test]
fn names_are_unique_and_defaults_parse() {
    let mut names: Vec<_> = SETTINGS.iter().map(|setting| setting.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), SETTINGS.len());
    assert!(SETTINGS.iter().all(|setting| !(setting.required && setting.default.is_some())));
}

#[test]
fn batchers_are_a_list_with_l1_ranges_or_a_contract() {
    let of = |text: &str| {
        let mut given = Given::complete();
        given.variable("batcher_addresses", text);
        given.config().map(|config| config.batchers())
    };
    let batcher: Address = ADDRESS.parse().unwrap();
    let table = [
        (String::new(), 0, None),
        ("@100..200".into(), 100, Some(200)),
        ("@100..".into(), 100, None),
        ("@..200".into(), 0, Some(200)),
        ("@..".into(), 0, None),
    ];
    for (range, from, until) in table {
        let tenure = BatcherTenure { batcher, from, until };
        assert_eq!(of(&format!("{ADDRESS}{range}")).unwrap(), BatcherSource::Fixed(vec![tenure]));
        // What is shown can be given again.
        assert_eq!(of(&tenure.to_string()).unwrap(), BatcherSource::Fixed(vec![tenure]));
    }
    for range in ["@", "@5", "@5...", "@9..9", "@9..5", "@-1..5", "@a..b", "@1..2..3"] {
        let problem = of(&format!("{ADDRESS}{range}")).unwrap_err().to_string();
        assert!(problem.contains(&format!("{:?}", &range[1..])), "{range}: {problem}");
    }
    let mut given = Given::complete();
    given.variables.remove("FINALITY_BATCHER_ADDRESSES");
    assert_eq!(given.config().unwrap().batchers(), BatcherSource::Contract(None));
    given.variable("batch_authenticator_address", ADDRESS);
    assert_eq!(given.config().unwrap().batchers(), BatcherSource::Contract(Some(batcher)));
}

#[test]
fn each_kind_of_rollup_has_its_settings() {
    let address = format!("0x{:040x}", 1);
    let nitro = || {
        let mut given = Given::default();
        for name in ["node_execution_rpc", "l1_rpc", "query_service_url"] {
            given.variable(name, "http://a.test");
        }
        given.variable("rollup", "nitro");
        for name in ["bridge_address", "sequencer_inbox_address", "batcher_addresses"] {
            given.variable(name, &address);
        }
        given
    };
    let config = nitro().config().unwrap();
    assert_eq!((config.rollup, config.nitro_require), (RollupKind::Nitro, NitroRequire::Hash));
    let refused = |change: &dyn Fn(&mut Given)| {
        let mut given = nitro();
        change(&mut given);
        let problems = given.problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems[0].split([' ', ':']).next().unwrap().to_owned()
    };
    for name in ["bridge_address", "sequencer_inbox_address", "batcher_addresses"] {
        assert_eq!(
            refused(&|given| {
                given.variables.retain(|key, _| !key.ends_with(&name.to_uppercase()));
            }),
            name
        );
    }
    let consensus = |given: &mut Given| given.variable("node_consensus_rpc", "http://a.test");
    assert_eq!(refused(&consensus), "node_consensus_rpc");
    assert_eq!(refused(&|given| given.variable("rollup", "cosmos")), "rollup");
    assert_eq!(refused(&|given| given.variable("nitro_require", "state")), "nitro_require");
    let op = refused(&|given| {
        given.variable("rollup", "op");
        consensus(given);
        given.variables.retain(|key, _| !key.ends_with("SEQUENCER_INBOX_ADDRESS"));
    });
    assert_eq!(op, "bridge_address");
}
