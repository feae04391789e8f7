//! Verdicts on hand-written bodies: which tags are replaced, what is refused, and with which
//! response.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use finality_core::{
    methods::{ExcludedMethods, MethodTable},
    refusal::{NoHead, Refusal},
    rewrite::{Inspection, Rewriter, Rules, RulesError, Scope},
};
use serde_json::Value;

const NO_HEAD: Refusal = Refusal::NoHead(NoHead::Unknown);

fn rewriter(rules: Rules) -> Rewriter {
    Rewriter::new(rules).unwrap()
}

fn in_scope(scope: Scope) -> Rewriter {
    rewriter(Rules { scope, ..Rules::default() })
}

/// The body that is forwarded, with head 0x64, or the refusal.
fn outcome(rewriter: &Rewriter, body: &str) -> Result<String, Refusal> {
    match rewriter.inspect(body.as_bytes()) {
        Inspection::Untouched => Ok(body.to_owned()),
        Inspection::Tagged(tagged) => {
            Ok(String::from_utf8(tagged.splice(body.as_bytes(), 100)).unwrap())
        }
        Inspection::Refused(denied) => Err(denied.refusal),
    }
}

/// Asserts that every plain `"espresso"` of the body is replaced, or that none is.
fn assert_replaced(rewriter: &Rewriter, body: &str, expected: bool) {
    let wanted = if expected { body.replace("\"espresso\"", "\"0x64\"") } else { body.to_owned() };
    assert_eq!(outcome(rewriter, body), Ok(wanted));
    assert_eq!(matches!(rewriter.inspect(body.as_bytes()), Inspection::Tagged(_)), expected);
}

fn refusal_of(body: &str) -> String {
    match rewriter(Rules::default()).inspect(body.as_bytes()) {
        Inspection::Tagged(tagged) => {
            String::from_utf8(tagged.refuse(body.as_bytes(), &NO_HEAD)).unwrap()
        }
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn only_string_values_inside_params_are_replaced() {
    let rewriter = rewriter(Rules::default());
    for body in [
        r#"{"params":["espresso"]}"#,
        r#"{"params":"espresso"}"#,
        r#"{"params":{"block":"espresso"}}"#,
        r#"{"params":[[[{"a":{"b":["espresso"]}}]]]}"#,
        r#"[{"params":["espresso"]},{"params":["espresso"]}]"#,
        r#"[null,"x",[],{"params":["espresso"]},7]"#,
        r#"{"params":null,"params":["espresso"],"params":{"x":"espresso"},"params":"espresso"}"#,
        "\t{\r\n \"params\" : [ \"espresso\" , \"espresso\" ] }\n",
    ] {
        assert_replaced(&rewriter, body, true);
    }
    for body in [
        r#""espresso""#,
        r#"["espresso"]"#,
        r#"{"method":"espresso","id":"espresso","jsonrpc":"espresso","espresso":"espresso"}"#,
        r#"{"params":[{"espresso":1}]}"#,
        r#"{"other":{"params":["espresso"]}}"#,
        r#"{"other":{"params":["espresso"]},"params":[]}"#,
        r#"[[{"params":["espresso"]}]]"#,
        r#"[[["espresso"]],{"params":[]}]"#,
        r#"{"params":["e\u017fpresso","espresso ","xespresso","espresso\u0000","espress\u006f\u006f"]}"#,
        r#"{"params":["\\u0065spresso","espresso\\"]}"#,
        r#"{"paramsx":["espresso"],"param":["espresso"]}"#,
        r#"{"params":[],"x":"espresso"}"#,
        r#"{"params":[]} "#,
    ] {
        assert_replaced(&rewriter, body, false);
    }
}

#[test]
fn escaped_spellings_of_a_tag_are_replaced() {
    for (tag, spelling) in [
        ("espresso", r"\u0065spresso"),
        ("espresso", r"\u0065\u0073\u0070\u0072\u0065\u0073\u0073\u006F"),
        ("espresso", r"espress\u006f"),
        ("a/b", r"a\/b"),
        ("a/b", r"a\u002Fb"),
        ("fin\u{e9}", r"fin\u00e9"),
        ("fin\u{e9}", "fin\u{e9}"),
        ("\u{1f600}", r"\ud83d\uDE00"),
        ("\u{1f600}", "\u{1f600}"),
    ] {
        let rewriter = rewriter(Rules { tags: vec![tag.to_owned()], ..Rules::default() });
        let body = format!(r#"{{"params":["{spelling}"]}}"#);
        assert_eq!(outcome(&rewriter, &body), Ok(r#"{"params":["0x64"]}"#.to_owned()), "{body}");
    }
    let rewriter = rewriter(Rules { tags: vec!["\u{1f600}".to_owned()], ..Rules::default() });
    for near in [r"\ud83d", r"\ude00\ud83d", r"\ud83dx\ude00", r"\ud83d\ude01", r"\ud83d\n"] {
        let body = format!(r#"{{"params":["{near}"]}}"#);
        assert_eq!(rewriter.inspect(body.as_bytes()), Inspection::Untouched, "{body}");
    }
}

#[test]
fn a_tag_in_any_ascii_case_is_replaced() {
    let params = |tag: &str| {
        [
            format!(r#"{{"method":"eth_call","params":[{{}},"{tag}"]}}"#),
            format!(r#"{{"params":[{{}},{{"blockNumber":"{tag}"}}],"method":"eth_call"}}"#),
            format!(
                r#"[{{"method":"eth_getLogs","params":[{{"fromBlock":"{tag}","toBlock":"{tag}"}}]}}]"#
            ),
        ]
    };
    let tags = ["espresso", "FIN\u{e9}", "sink"].map(str::to_owned).to_vec();
    for scope in [Scope::Params, Scope::BlockParameters] {
        let rewriter = rewriter(Rules { tags: tags.clone(), scope, ..Rules::default() });
        let spellings = [
            "espresso",
            "ESPRESSO",
            "eSpReSsO",
            r"\u0045spresso",
            r"\u0065SPRESS\u004f",
            "fin\u{e9}",
            r"FiN\u00E9",
            r"\u0066\u0049n\u00e9",
            "SINK",
        ];
        for (body, replaced) in
            spellings.iter().flat_map(|tag| params(tag).into_iter().zip(params("0x64")))
        {
            assert_eq!(outcome(&rewriter, &body), Ok(replaced), "{scope}");
        }
        // Only ASCII letters have a case; the long s and the Kelvin sign are not ASCII.
        for near in ["FIN\u{c9}", r"fin\u00c9", r"e\u017fpresso", "\u{17f}ink", "sin\u{212a}"] {
            for body in params(near) {
                assert_eq!(rewriter.inspect(body.as_bytes()), Inspection::Untouched, "{body}");
            }
        }
    }
}

#[test]
fn member_names_match_as_in_go() {
    let rewriter = rewriter(Rules::default());
    for name in ["Params", "PARAMS", "param\u{17f}", "param\\u017F", "\\u0050arams", "p\\u0041RAMs"]
    {
        assert_replaced(&rewriter, &format!(r#"{{"{name}":["espresso"]}}"#), true);
    }
    for name in
        ["param\u{df}", "paramss", "\u{17f}params", "params\\u0000", "p\\u00e1rams", "param\u{161}"]
    {
        assert_replaced(&rewriter, &format!(r#"{{"{name}":["espresso"]}}"#), false);
    }
    for name in ["Method", "METHOD", "\\u004dethod"] {
        let body = format!(r#"{{"{name}":"eth_sign","params":["espresso"]}}"#);
        assert_replaced(&rewriter, &body, false);
    }
    let rewriter = in_scope(Scope::BlockParameters);
    for name in ["blockNumber", "BLOCKNUMBER", "bloc\u{212a}Number", "bloc\\u212aNumber"] {
        let body = format!(r#"{{"method":"eth_call","params":[{{}},{{"{name}":"espresso"}}]}}"#);
        assert_replaced(&rewriter, &body, true);
    }
}

#[test]
fn excluded_methods_are_left_alone() {
    let default = rewriter(Rules::default());
    for body in [
        r#"{"method":"eth_sign","params":["0xabc","espresso"]}"#,
        r#"{"params":["0xabc","espresso"],"method":"eth_sign"}"#,
        r#"{"params":["espresso"],"method":"\u0065th_sign"}"#,
        r#"{"method":"eth_sign","method":"web3_sha3","params":["espresso"]}"#,
        r#"{"method":"eth_sign","method":null,"params":["espresso"]}"#,
    ] {
        assert_replaced(&default, body, false);
    }
    for body in [
        r#"{"method":"ETH_SIGN","params":["espresso"]}"#,
        r#"{"method":["eth_sign"],"params":["espresso"]}"#,
        r#"{"method":7,"params":["espresso"]}"#,
        r#"{"params":["espresso"]}"#,
        r#"{"x":{"method":"eth_sign"},"params":["espresso"]}"#,
        r#"{"method":"eth_call","method":"eth_getCode","params":["espresso"]}"#,
    ] {
        assert_replaced(&default, body, true);
    }
    let mixed =
        r#"[{"method":"eth_sign","params":["espresso"]},{"params":["espresso"],"method":"m"}]"#;
    assert_eq!(
        outcome(&default, mixed).unwrap(),
        r#"[{"method":"eth_sign","params":["espresso"]},{"params":["0x64"],"method":"m"}]"#
    );
    let emptied = rewriter(Rules { excluded: ExcludedMethods::new(false, []), ..Rules::default() });
    assert_replaced(&emptied, r#"{"method":"eth_sign","params":["espresso"]}"#, true);
    let extended =
        Rules { excluded: ExcludedMethods::new(true, ["acme_*".to_owned()]), ..Rules::default() };
    assert_replaced(&rewriter(extended), r#"{"method":"acme_x","params":["espresso"]}"#, false);
}

#[test]
fn several_methods_with_different_rules_are_refused() {
    for body in [
        r#"{"method":"eth_sign","method":"eth_call","params":[{},"espresso"]}"#,
        r#"{"params":[{},"espresso"],"method":"eth_call","Method":"eth_sign"}"#,
        r#"[{"id":1},{"method":"eth_call","id":2,"method":"m","params":["espresso"],"method":"eth_sign"}]"#,
    ] {
        assert_eq!(outcome(&rewriter(Rules::default()), body), Err(Refusal::AmbiguousMethod));
    }
    let blocks = in_scope(Scope::BlockParameters);
    let body = r#"{"method":"eth_getCode","params":[0,"espresso"],"method":"eth_getStorageAt"}"#;
    assert_eq!(outcome(&blocks, body), Err(Refusal::AmbiguousMethod));
    assert_replaced(
        &blocks,
        r#"{"method":"eth_getCode","params":[0,"espresso"],"method":"eth_getBalance"}"#,
        true,
    );
    // Without a tag in `params` the method does not matter.
    assert_replaced(
        &rewriter(Rules::default()),
        r#"{"method":"eth_sign","method":"eth_call","x":"espresso"}"#,
        false,
    );
}

#[test]
fn block_parameters_are_replaced_by_position() {
    let blocks = in_scope(Scope::BlockParameters);
    for (method, params) in [
        ("eth_call", r#"[{},"espresso"]"#),
        ("eth_call", r#"[{},{"blockNumber":"espresso"}]"#),
        ("eth_callMany", r#"[[],{"transactionIndex":0,"blockNumber":"espresso"}]"#),
        ("eth_callMany", r#"[[],{"blockNumber":{"blockNumber":"espresso"}}]"#),
        (
            "eth_getLogs",
            r#"[{"topics":[["0x"],null],"fromBlock":"espresso","toBlock":"espresso"}]"#,
        ),
        ("eth_feeHistory", r#"["0x5","espresso",[25,75]]"#),
        ("eth_getStorageAt", r#"["0x",{"a":[1,{"b":2}]},"espresso"]"#),
        ("eth_subscribe", r#"["logs",{"fromBlock":"espresso","toBlock":"espresso"}]"#),
    ] {
        assert_replaced(&blocks, &format!(r#"{{"method":"{method}","params":{params}}}"#), true);
        assert_replaced(&blocks, &format!(r#"[{{"params":{params},"method":"{method}"}}]"#), true);
    }
    for (method, params) in [
        ("eth_call", r#"["espresso"]"#),
        ("eth_call", r#"[{"data":"espresso"},"latest"]"#),
        ("eth_call", r#"[{},"latest","espresso"]"#),
        ("eth_call", r#"[{},["espresso"]]"#),
        ("eth_call", r#"[{},{"blockHash":"espresso"}]"#),
        ("eth_call", r#"[{"blockNumber":0},["espresso"]]"#),
        ("eth_callMany", r#"[[],{"x":{"blockNumber":0},"blockNumber":["espresso"]}]"#),
        ("eth_call", r#"[{},{"a":{"blockNumber":"espresso"}}]"#),
        ("eth_call", r#"[{},{"blockNumber":["espresso"]}]"#),
        ("eth_call", r#"[{},{"blockNumber":{"blockNumber":"espresso"}}]"#),
        ("eth_call", r#"[{},[{"blockNumber":"espresso"}]]"#),
        ("eth_call", r#""espresso""#),
        ("eth_callMany", r#"[[],{"blockNumber":{"blockNumber":{"blockNumber":"espresso"}}}]"#),
        ("eth_callMany", r#"[[],{"blockNumber":["espresso"]}]"#),
        ("eth_getBlockByNumber", r#"[{"blockNumber":"espresso"}]"#),
        ("eth_getLogs", r#"[{"address":"espresso","topics":["espresso"]}]"#),
        ("eth_getLogs", r#"[{},{"fromBlock":"espresso"}]"#),
        ("eth_subscribe", r#"["espresso",{"address":"espresso"}]"#),
        ("eth_sign", r#"["espresso","espresso"]"#),
        ("unknown", r#"["espresso","espresso"]"#),
    ] {
        assert_replaced(&blocks, &format!(r#"{{"method":"{method}","params":{params}}}"#), false);
    }
    assert_replaced(&blocks, r#"{"params":["espresso"]}"#, false);
    let extended = Rules {
        scope: Scope::BlockParameters,
        excluded: ExcludedMethods::new(true, ["eth_call".to_owned()]),
        ..Rules::default()
    };
    assert_replaced(
        &rewriter(extended),
        r#"{"method":"eth_call","params":[{},"espresso"]}"#,
        false,
    );
}

#[test]
fn block_parameters_are_replaced_by_name() {
    let blocks = in_scope(Scope::BlockParameters);
    for (method, params) in [
        // A known name, in snake and camel case, is its position.
        ("eth_getBalance", r#"{"address":"0x","block_number":"espresso"}"#),
        ("eth_getBalance", r#"{"blockNumber":"espresso","address":"0x"}"#),
        ("eth_getBalance", r#"{"block\u004eumber":"espresso"}"#),
        ("eth_getBalance", r#"{"blockNumber":{"blockNumber":"espresso"}}"#),
        ("eth_feeHistory", r#"{"blockCount":"0x5","newestBlock":"espresso"}"#),
        ("eth_getLogs", r#"{"filter":{"fromBlock":"espresso","toBlock":"espresso"}}"#),
        ("eth_callMany", r#"{"stateContext":{"blockNumber":{"blockNumber":"espresso"}}}"#),
        ("trace_call", r#"{"call":{},"trace_types":["trace"],"blockId":"espresso"}"#),
        // Under an unknown name, the value and block objects.
        ("eth_getBalance", r#"{"block":"espresso"}"#),
        ("eth_getBalance", r#"{"BlockNumber":"espresso"}"#),
        ("eth_getBalance", r#"{"x":{"blockNumber":"espresso"}}"#),
        ("eth_getLogs", r#"{"x":{"fromBlock":"espresso"},"toBlock":"espresso"}"#),
        ("eth_callMany", r#"{"x":{"blockNumber":{"blockNumber":"espresso"}}}"#),
        ("bor_getAuthor", r#"{"blockNrOrHash":"espresso"}"#),
    ] {
        assert_replaced(&blocks, &format!(r#"{{"method":"{method}","params":{params}}}"#), true);
        assert_replaced(&blocks, &format!(r#"[{{"params":{params},"method":"{method}"}}]"#), true);
    }
    for (method, params) in [
        // The name of another parameter.
        ("eth_getBalance", r#"{"address":"espresso"}"#),
        ("eth_getStorageAt", r#"{"address":"espresso","index":"espresso"}"#),
        ("eth_getLogs", r#"{"filter":"espresso"}"#),
        ("eth_getLogs", r#"{"filter":{"address":"espresso"}}"#),
        ("eth_call", r#"{"request":{"blockNumber":"espresso"}}"#),
        ("eth_call", r#"{"stateOverrides":{"blockNumber":"espresso"}}"#),
        // Data under an unknown name.
        ("eth_call", r#"{"x":{"data":"espresso"}}"#),
        ("eth_call", r#"{"x":["espresso"]}"#),
        ("eth_call", r#"{"x":[{"blockNumber":"espresso"}]}"#),
        ("eth_call", r#"{"x":{"blockNumber":["espresso"]}}"#),
        ("eth_call", r#"{"x":{"blockNumber":{"blockNumber":"espresso"}}}"#),
        ("eth_getBlockByNumber", r#"{"x":{"blockNumber":"espresso"}}"#),
        ("eth_callBundle", r#"{"x":{"blockHash":"espresso"}}"#),
        // Methods outside the table.
        ("eth_sign", r#"{"block":"espresso"}"#),
        ("unknown", r#"{"block_number":"espresso"}"#),
    ] {
        assert_replaced(&blocks, &format!(r#"{{"method":"{method}","params":{params}}}"#), false);
    }
    // Methods with the same positions and other names differ.
    let body = r#"{"method":"eth_getStorageAt","method":"eth_getProof","params":{"x":"espresso"}}"#;
    assert_eq!(outcome(&blocks, body), Err(Refusal::AmbiguousMethod));
}

#[test]
fn added_rows_are_replaced_in_block_parameters() {
    let rules = |excluded: &[&str]| Rules {
        scope: Scope::BlockParameters,
        excluded: ExcludedMethods::new(true, excluded.iter().map(|&method| method.to_owned())),
        block_parameters: MethodTable::new(
            [("my_method", "1"), ("my_logs", "0.since"), ("eth_call", "2"), ("eth_sign", "1")]
                .map(|(method, position)| (method.to_owned(), vec![position.parse().unwrap()])),
        ),
        ..Rules::default()
    };
    let added = rewriter(rules(&[]));
    for (method, params) in [
        ("my_method", r#"[0,"espresso"]"#),
        ("my_method", r#"[0,{"blockNumber":"espresso"}]"#),
        ("my_method", r#"{"anything":"espresso"}"#),
        ("my_logs", r#"[{"since":"espresso"}]"#),
        ("my_logs", r#"[{"SINCE":{"blockNumber":"espresso"}}]"#),
        ("eth_call", r#"[{},"espresso","espresso"]"#),
        ("eth_call", r#"{"state_overrides":"espresso","block_number":"espresso"}"#),
        ("eth_sign", r#"["0x","espresso"]"#),
    ] {
        assert_replaced(&added, &format!(r#"{{"method":"{method}","params":{params}}}"#), true);
    }
    for (method, params) in [
        ("my_method", r#"["espresso"]"#),
        ("my_logs", r#"["espresso",{"since":"espresso"}]"#),
        ("my_logs", r#"[{"until":"espresso"}]"#),
        ("eth_call", r#"{"request":"espresso"}"#),
        ("eth_sign", r#"["espresso"]"#),
    ] {
        assert_replaced(&added, &format!(r#"{{"method":"{method}","params":{params}}}"#), false);
    }
    // Rows do not matter in the other scope.
    let everywhere = rewriter(Rules { scope: Scope::Params, ..rules(&[]) });
    assert_replaced(&everywhere, r#"{"method":"my_method","params":["espresso"]}"#, true);
    assert_replaced(&everywhere, r#"{"method":"eth_sign","params":["0x","espresso"]}"#, false);
    let method = "my_method".to_owned();
    assert_eq!(Rewriter::new(rules(&["my_m*"])).unwrap_err(), RulesError::ExcludedRow { method });
}

#[test]
fn the_places_of_tags_have_the_quotes() {
    let body = r#"{"method":"m","params":["ESPRESSO",{"at":"espresso"}]}"#;
    let Inspection::Tagged(tagged) = rewriter(Rules::default()).inspect(body.as_bytes()) else {
        panic!("no tag");
    };
    let texts: Vec<_> = tagged.ranges().map(|range| &body[range]).collect();
    assert_eq!(texts, [r#""ESPRESSO""#, r#""espresso""#]);
}

#[test]
fn calls_that_no_node_knows_stand_for_refused_requests() {
    let rewriter = rewriter(Rules::default());
    let unknown = |body: &str| match rewriter.inspect(body.as_bytes()) {
        Inspection::Tagged(tagged) => {
            String::from_utf8(tagged.unknown_calls(body.as_bytes(), &NO_HEAD)).unwrap()
        }
        other => panic!("{other:?}"),
    };
    let call = |id: &str| format!(r#"{{{id}"method":"eth_call","params":[{{}},"espresso"]}}"#);
    let (one, two) = (call(r#""id":7,"#), call(r#""id":"a","#));
    let expected =
        |id| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"finality_refused_no_head"}}"#);
    assert_eq!(unknown(&one), expected("7"));
    assert_eq!(unknown(&call("")), "", "a notification gets no answer");
    let batch = format!("[{one},{},{two}]", call(""));
    assert_eq!(unknown(&batch), format!("[{},{}]", expected("7"), expected(r#""a""#)));
}

#[test]
fn several_tags_become_the_same_number() {
    let tags = ["espresso", "finalized"].map(str::to_owned).to_vec();
    let rewriter = rewriter(Rules { tags, ..Rules::default() });
    let body = br#"[{"params":["espresso"]},{"params":["finalized","safe"]}]"#;
    let Inspection::Tagged(tagged) = rewriter.inspect(body) else { panic!() };
    assert_eq!(tagged.tags(), 2);
    assert_eq!(tagged.splice(body, 0), br#"[{"params":["0x0"]},{"params":["0x0","safe"]}]"#);
}

#[test]
fn invalid_json_is_refused_only_if_it_may_contain_a_tag() {
    let rewriter = rewriter(Rules::default());
    for body in [
        r#"{"params":["espresso""#,
        r#"{"params":["espresso"]}}"#,
        r#"{"params":["espresso"]}{"params":["espresso"]}"#,
        r#"{"params":["espresso"],}"#,
        r#"{"params":["espresso",]}"#,
        r#"{"params":["espresso" 1]}"#,
        r#"{"params":["espresso"}"#,
        r#"{'params':["espresso"]}"#,
        r#"{"params":["\u0065spresso"}"#,
        r#"{"params":["espresso",01]}"#,
        "{\"params\":[\"espresso\",\"\n\"]}",
        "\u{feff}{\"params\":[\"espresso\"]}",
        "espresso",
    ] {
        assert_eq!(outcome(&rewriter, body), Err(Refusal::Unparsable), "{body}");
    }
    let no_tag = [
        "hello",
        "",
        " ",
        "{",
        "[1,",
        r#"{"params":["latest""#,
        r#"{"params":["\u4e2d\n\"\\"#,
        "\\",
    ];
    for body in no_tag {
        assert_eq!(rewriter.inspect(body.as_bytes()), Inspection::Untouched, "{body}");
    }
    let Inspection::Refused(denied) = rewriter.inspect(b"espresso") else { panic!() };
    let answer = denied.refuse(b"espresso");
    assert!(answer.starts_with(br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"#));
}

#[test]
fn strings_that_are_not_unicode_are_accepted() {
    let rewriter = rewriter(Rules::default());
    let body =
        b"{\"params\":[\"espresso\",\"\xff\xfe\",\"\\ud800\"],\"\xc5\":1,\"method\":\"\xff\"}";
    let Inspection::Tagged(tagged) = rewriter.inspect(body) else { panic!() };
    let expected =
        b"{\"params\":[\"0x1\",\"\xff\xfe\",\"\\ud800\"],\"\xc5\":1,\"method\":\"\xff\"}";
    assert_eq!(tagged.splice(body, 1), expected);
    let outside = b"{\"params\":[\"espresso\"]}\xff";
    assert!(matches!(rewriter.inspect(outside), Inspection::Refused(_)));
}

#[test]
fn limits_apply_only_to_bodies_with_a_tag() {
    let rewriter = rewriter(Rules { max_batch_length: 3, max_depth: 4, ..Rules::default() });
    let batch = |length: usize, tag: &str| {
        format!("[{}]", vec![format!(r#"{{"params":["{tag}"]}}"#); length].join(","))
    };
    assert!(outcome(&rewriter, &batch(3, "espresso")).is_ok());
    assert_eq!(outcome(&rewriter, &batch(4, "espresso")), Err(Refusal::BatchTooLong { limit: 3 }));
    assert_replaced(&rewriter, &batch(4, "latest"), false);
    assert_replaced(&rewriter, r#"[1,[],{},"espresso",{"x":"espresso"}]"#, false);
    assert_eq!(
        outcome(&rewriter, r#"[1,[],"x",{"params":["espresso"]}]"#),
        Err(Refusal::BatchTooLong { limit: 3 })
    );

    let nested = |depth: usize, tag: &str| {
        let inner = depth - 1;
        format!(r#"{{"params":{}"{tag}"{}}}"#, "[".repeat(inner), "]".repeat(inner))
    };
    assert!(outcome(&rewriter, &nested(4, "espresso")).is_ok());
    assert_eq!(outcome(&rewriter, &nested(5, "espresso")), Err(Refusal::TooDeep { limit: 4 }));
    assert_replaced(&rewriter, &nested(5, "latest"), false);
    // A million levels cost neither stack nor time.
    let default = in_scope(Scope::Params);
    let bomb = format!("\"espresso\"{}", "[".repeat(1_000_000));
    assert_eq!(outcome(&default, &bomb), Err(Refusal::Unparsable));
    assert_eq!(
        outcome(&default, &nested(1_000_000, "espresso")),
        Err(Refusal::TooDeep { limit: 128 })
    );
}

#[test]
fn a_refusal_answers_every_request_with_an_id_in_order() {
    let error = r#""error":{"code":-32055,"message":"no finality head is known yet: retry later","data":{"reason":"no_head"}}"#;
    let one = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},{error}}}"#);
    for id in ["1", "null", "12345678901234567890", "1.50e+2", r#""a\u0062\"""#, "\"\"", "true"] {
        assert_eq!(refusal_of(&format!(r#"{{"id":{id},"params":["espresso"]}}"#)), one(id));
        assert_eq!(refusal_of(&format!(r#"{{"params":["espresso"],"ID" : {id} }}"#)), one(id));
    }
    // An invalid id is answered with null; of several ids the last one is used, as in Go.
    assert_eq!(refusal_of(r#"{"id":{"a":[1]},"params":["espresso"]}"#), one("null"));
    assert_eq!(refusal_of(r#"{"id":1,"params":["espresso"],"id":"b"}"#), one("\"b\""));
    assert_eq!(refusal_of(r#"{"params":[{"id":7},"espresso"],"id":1}"#), one("1"));

    assert_eq!(refusal_of(r#"{"method":"m","params":["espresso"]}"#), "");
    assert_eq!(refusal_of(r#"[{"params":["espresso"]},{"method":"m"}]"#), "");
    assert_eq!(refusal_of(r#"[{"id":3,"params":["espresso"]}]"#), format!("[{}]", one("3")));
    assert_eq!(
        refusal_of(r#"[{"id":1},7,{"params":["espresso"]},{"id":"x"},[{"id":5}],{"id":[]}]"#),
        format!("[{},{},{}]", one("1"), one("\"x\""), one("null"))
    );
}

/// The ids of the response to a refused body, as JSON: an array if the response is one.
fn refused_ids(rules: &Rules, body: &str, reason: &str) -> String {
    let Inspection::Refused(denied) = rewriter(rules.clone()).inspect(body.as_bytes()) else {
        panic!("{body}")
    };
    assert_eq!(denied.refusal.reason(), reason, "{body}");
    let answer = denied.refuse(body.as_bytes());
    if answer.is_empty() {
        return String::new();
    }
    let id = |error: &Value| {
        assert_eq!(error["error"]["data"]["reason"], reason);
        error["id"].clone()
    };
    match serde_json::from_slice(&answer).unwrap() {
        Value::Array(errors) => Value::from_iter(errors.iter().map(id)).to_string(),
        error => id(&error).to_string(),
    }
}

#[test]
fn a_body_refused_for_its_form_is_answered_with_all_its_ids() {
    let rules = Rules { max_batch_length: 2, max_depth: 4, ..Rules::default() };
    let ids = |body: &str, reason: &str| refused_ids(&rules, body, reason);
    let deep = |id: &str| format!(r#"{{"params":[[[["espresso"]]]]{id}}}"#);
    assert_eq!(ids(&deep(r#","id":7"#), "too_deep"), "7");
    assert_eq!(ids(&deep(""), "too_deep"), "", "a notification");
    let batch = format!(r#"[{{"id":1}},{},{{"id":"x"}}]"#, deep(r#","id":2"#));
    assert_eq!(ids(&batch, "too_deep"), r#"[1,2,"x"]"#);

    let twice = r#""method":"eth_call","method":"eth_sign","params":[{},"espresso"]"#;
    assert_eq!(ids(&format!(r#"{{{twice},"id":"a"}}"#), "ambiguous_method"), "\"a\"");
    assert_eq!(ids(&format!("{{{twice}}}"), "ambiguous_method"), "");
    let batch = format!(r#"[{{{twice},"id":1}},{{"id":[]}}]"#);
    assert_eq!(ids(&batch, "ambiguous_method"), "[1,null]");

    let batch = r#"[{"id":1,"params":["espresso"]},{"method":"m"},{"id":3}]"#;
    assert_eq!(ids(batch, "batch_too_long"), "[1,3]");

    let long = |length: usize| {
        let notifications = r#"{"params":["espresso"]},"#.repeat(3);
        let requests = vec![r#"{"id":1}"#; length].join(",");
        format!("[{notifications}{requests}]")
    };
    assert_eq!(ids(&long(5000), "batch_too_long"), format!("[{}]", vec!["1"; 5000].join(",")));
    assert_eq!(ids(&long(5001), "batch_too_long"), "[null]");

    // What is not JSON has no ids, even if it is also nested too deep.
    for body in [r#"{"id":1,"params":["espresso"]"#, r#"[{"id":1,"params":[[[["espresso"]]]]}"#] {
        assert_eq!(ids(body, "unparsable"), "null");
    }
}

#[test]
fn splicing_another_body_does_not_panic() {
    let Inspection::Tagged(tagged) =
        rewriter(Rules::default()).inspect(br#"{"id":1,"params":["espresso"]}"#)
    else {
        panic!()
    };
    let _ = tagged.splice(b"short", 1);
    let _ = tagged.refuse(b"", &NO_HEAD);
}
