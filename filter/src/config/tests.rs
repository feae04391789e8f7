use super::*;

fn parse(text: &str) -> Result<Config> {
    Config::parse(text.as_bytes()).map(|(config, _)| config)
}

/// The message for one more member beside `sidecar_cluster`.
fn refusal(member: &str) -> String {
    match parse(&format!(r#"{{"sidecar_cluster":"s",{member}}}"#)) {
        Ok(config) => panic!("{member} was taken: {config:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn only_the_cluster_is_required() {
    let config = parse(r#"{"sidecar_cluster":"finality_sidecar"}"#).unwrap();
    assert_eq!(config.sidecar_cluster, "finality_sidecar");
    assert_eq!(config.sidecar_authority, "finality_sidecar");
    assert_eq!(config.chain_id, None);
    assert_eq!(config.cache_key, "default");
    assert_eq!(config.rules, Rules::default());
    assert_eq!(config.framing, Framing::Chunked);
    assert_eq!(config.content_encoding, ContentEncoding::Refuse);
    assert_eq!(config.max_body_bytes, None);
    assert!(config.streams());
    assert_eq!(config.freshness, Freshness::Cached);
    assert_eq!(config.freshness_timeout.as_secs(), 2);
    assert_eq!(config.max_contact_age.as_secs(), 300);
    assert_eq!(config.poll_tick.as_secs(), 1);
    assert_eq!(config.long_poll.as_secs(), 25);
    assert_eq!(config.poll_timeout.as_secs(), 30);
    assert_eq!(config.poll_backoff_max.as_secs(), 30);
    assert_eq!(config.head_header, "x-finality-head");
}

#[test]
fn every_key_is_taken() {
    let text = r#"{"sidecar_cluster":"c","sidecar_authority":"a","chain_id":22266222,"mode":"observe",
        "cache_key":"k","tags":["espresso","finalized"],"scope":"block-parameters",
        "never_methods":{"defaults":false,"extra":["my_method"]},
        "block_parameters":{"your_method":[1,"0.fromBlock"],"eth_call":["2"]},"max_batch_length":5,
        "max_depth":6,"max_held_bytes":8,"framing":"exact","content_encoding":"pass","max_body_bytes":7,
        "freshness":"strict","freshness_timeout":"750ms","max_contact_age":"3m","poll_tick":"250ms","long_poll":"1m","poll_timeout":"2m",
        "poll_backoff_max":"10s","head_header":"X-Head"}"#;
    let object: Map<String, Value> = serde_json::from_str(text).unwrap();
    assert_eq!(object.len(), reference::KEYS.len(), "a key is not tested");
    let config = parse(text).unwrap();
    assert_eq!(config.sidecar_authority, "a");
    assert_eq!(config.chain_id, Some(22_266_222));
    assert_eq!(config.mode, Mode::Observe);
    assert_eq!(config.cache_key, "k");
    assert_eq!(config.rules.tags, ["espresso", "finalized"]);
    assert_eq!(config.rules.scope, Scope::BlockParameters);
    assert_eq!(config.rules.excluded, ExcludedMethods::new(false, vec!["my_method".to_owned()]));
    let positions = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let rows: [(&str, Vec<_>); 2] =
        [("your_method", positions(&["1", "0.fromBlock"])), ("eth_call", positions(&["2"]))];
    let table = MethodTable::new(rows.map(|(method, positions)| (method.to_owned(), positions)));
    assert_eq!(config.rules.block_parameters, table);
    assert_eq!((config.rules.max_batch_length, config.rules.max_depth), (5, 6));
    assert_eq!(config.rules.max_held_bytes, 8);
    assert_eq!(config.framing, Framing::Exact);
    assert_eq!(config.content_encoding, ContentEncoding::Pass);
    assert_eq!(config.max_body_bytes, Some(7));
    assert_eq!(config.freshness, Freshness::Strict);
    assert_eq!(config.freshness_timeout.as_millis(), 750);
    assert_eq!(config.max_contact_age.as_secs(), 180);
    assert_eq!(config.poll_tick.as_millis(), 250);
    assert_eq!(config.long_poll.as_secs(), 60);
    assert_eq!(config.poll_timeout.as_secs(), 120);
    assert_eq!(config.poll_backoff_max.as_secs(), 10);
    assert_eq!(config.head_header, "x-head");
    assert_eq!(parse(r#"{"sidecar_cluster":"c","head_header":""}"#).unwrap().head_header, "");
}

#[test]
fn bodies_that_are_held_have_a_longest_length() {
    for member in [r#""framing":"exact""#, r#""freshness":"strict""#] {
        let config = parse(&format!(r#"{{"sidecar_cluster":"s",{member}}}"#)).unwrap();
        assert!(!config.streams());
        assert_eq!(config.max_body_bytes, Some(1_000_000));
    }
}

#[test]
fn what_is_no_object_is_refused() {
    for text in ["", "{", "espresso", "\u{1}\u{2}"] {
        assert!(matches!(parse(text), Err(ConfigError::NotJson(_))), "{text}");
    }
    for text in ["null", "[]", "\"x\"", "1"] {
        assert!(matches!(parse(text), Err(ConfigError::NotAnObject)), "{text}");
    }
    assert_eq!(parse("{}").unwrap_err().to_string(), "sidecar_cluster is required");
}

#[test]
fn unknown_keys_are_named() {
    let message = refusal(r#""tag":["espresso"]"#);
    assert!(message.starts_with(r#"unknown key "tag"; known are sidecar_cluster, "#), "{message}");
    let message = refusal(r#""never_methods":{"default":true}"#);
    assert_eq!(message, r#"unknown key "never_methods.default"; known are defaults, extra"#);
}

#[test]
fn wrong_values_are_refused_by_the_name_of_their_key() {
    for (key, values) in [
        ("sidecar_cluster", &["1", "\"\"", "null"][..]),
        ("sidecar_authority", &["[]", "\"\""]),
        ("chain_id", &["-1", "1.5", "\"1\"", "18446744073709551616"]),
        ("cache_key", &["{}", "\"\""]),
        ("tags", &["\"espresso\"", "[1]", "[]", "[\"\"]", "[\"0x1\"]"]),
        ("scope", &["1", "\"all\"", "\"Params\""]),
        ("never_methods", &["[]", "true"]),
        ("never_methods.defaults", &["1"]),
        ("never_methods.extra", &["\"eth_sign\"", "[1]"]),
        ("block_parameters", &["[]", "1", "\"eth_call\""]),
        ("block_parameters.my_method", &["1", "[]", "[-1]", "[1.5]", "[\"fromBlock\"]", "[[1]]"]),
        ("max_batch_length", &["0", "-1", "\"5\"", "4294967296"]),
        ("max_depth", &["0", "1.5"]),
        ("max_held_bytes", &["0", "\"1\""]),
        ("framing", &["\"Exact\"", "true"]),
        ("content_encoding", &["\"gzip\"", "1"]),
        ("max_body_bytes", &["0", "-1", "\"1MB\"", "1e9"]),
        ("freshness", &["\"Strict\"", "true"]),
        ("freshness_timeout", &["1", "\"0s\""]),
        ("max_contact_age", &["\"30s\"", "5", "\"5\"", "\"-5s\"", "\"1y\"", "\"\""]),
        ("poll_tick", &["1", "\"0s\"", "\"9ms\"", "\"1m\""]),
        ("long_poll", &["25", "\"500ms\"", "\"1500ms\"", "\"x\""]),
        ("poll_timeout", &["30", "\"0s\"", "\"25s\""]),
        ("poll_backoff_max", &["30", "\"0s\"", "\"999ms\""]),
        ("head_header", &["1", "\":path\"", "\"a b\"", "\"é\"", "\"a\\n\""]),
    ] {
        for value in values {
            let message = match key.split_once('.') {
                None => refusal(&format!("\"{key}\":{value}")),
                Some((parent, key)) => refusal(&format!("\"{parent}\":{{\"{key}\":{value}}}")),
            };
            // `poll_tick` longer than the longest pause is told by the key of the latter.
            assert!(
                message.contains(key)
                    || (key == "poll_tick" && message.contains("poll_backoff_max")),
                "{key}: {value}: {message}"
            );
        }
    }
}

#[test]
fn a_default_given_is_as_good_as_none() {
    let without = parse(r#"{"sidecar_cluster":"s"}"#).unwrap();
    let mut given = 0;
    for key in &reference::KEYS {
        // Words, and the name of another key, are no values.
        let Some(value) = key.default.strip_prefix('`').and_then(|text| text.strip_suffix('`'))
        else {
            continue;
        };
        if reference::NAMES.contains(&value) {
            continue;
        }
        let text = format!(r#"{{"sidecar_cluster":"s","{}":{value}}}"#, key.name);
        assert_eq!(format!("{:?}", parse(&text).unwrap()), format!("{without:?}"), "{}", key.name);
        given += 1;
    }
    assert_eq!(given, 18, "a default is words and was not tried");
}
