//! Properties of the rewriter over generated bodies, held against a reference written on `serde_json`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod reference;

use finality_core::methods::NeverList;
use finality_core::refusal::{NoHead, Refusal};
use finality_core::rewrite::{Inspection, Rewriter, Rules, Scope};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use reference::{Node, Verdict};
use serde::de::IgnoredAny;

const TAGS: [&str; 2] = ["espresso", "fin/\u{e9}\u{1f600}"];

/// Strings that are, resemble, or have nothing to do with a tag.
fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => select(&TAGS[..]).prop_map(str::to_owned),
        1 => select(&["Espresso", "espresso ", "espress", "fin/\u{e9}", "0x10", "latest", ""][..])
            .prop_map(str::to_owned),
        1 => "[a-z\"\\\\/\u{8}\u{c}\n\t\u{0}\u{7f}\u{e9}\u{1f600}]{0,12}",
    ]
}

fn number() -> impl Strategy<Value = Node> {
    select(&["0", "-0", "7", "-1.5e-3", "10E+2", "12345678901234567890", "0.10"][..])
        .prop_map(|number| Node::Scalar(number.to_owned()))
}

fn name() -> impl Strategy<Value = String> {
    select(
        &[
            "blockNumber",
            "BLOCKnumber",
            "bloc\u{212a}Number",
            "blockHash",
            "fromBlock",
            "toBlock",
            "FROMBLOCK",
            "params",
            "method",
            "id",
            "espresso",
            "stateBlockNumber",
            "",
        ][..],
    )
    .prop_map(str::to_owned)
}

fn leaf() -> impl Strategy<Value = Node> {
    prop_oneof![
        5 => string().prop_map(Node::String),
        1 => number(),
        1 => select(&["true", "false", "null"][..]).prop_map(|word| Node::Scalar(word.to_owned())),
    ]
}

fn value() -> impl Strategy<Value = Node> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Node::Array),
            vec((name(), inner), 0..4).prop_map(Node::Object),
        ]
    })
}

fn method() -> impl Strategy<Value = Node> {
    let names = select(
        &[
            "eth_call",
            "eth_getLogs",
            "eth_callMany",
            "eth_getBlockByNumber",
            "eth_callBundle",
            "eth_getStorageAt",
            "eth_feeHistory",
            "debug_getAccessibleState",
            "web3_sha3",
            "eth_sign",
            "engine_newPayloadV4",
            "debug_traceBlockByHash",
            "acme_call",
            "espresso",
            "",
        ][..],
    );
    prop_oneof![
        9 => names.prop_map(|method| Node::String(method.to_owned())),
        1 => value(),
    ]
}

fn member() -> impl Strategy<Value = (String, Node)> {
    let named = |names: &'static [&'static str]| select(names).prop_map(str::to_owned);
    let params = vec(value(), 0..4).prop_map(Node::Array);
    prop_oneof![
        4 => (named(&["params", "params", "Params", "PARAM\u{17f}", "param\u{17f}"]), params),
        1 => (named(&["params", "paramS"]), value()),
        3 => (named(&["method", "method", "method", "Method", "METHOD"]), method()),
        2 => (named(&["id", "id", "ID", "iD"]), value()),
        1 => (named(&["jsonrpc", "paramss", "param", "methods", "i", "ids", "params "]), value()),
    ]
}

fn request() -> impl Strategy<Value = Node> {
    vec(member(), 0..6).prop_map(Node::Object)
}

fn document() -> impl Strategy<Value = Node> {
    prop_oneof![
        4 => request(),
        4 => vec(prop_oneof![5 => request(), 1 => value()], 0..6).prop_map(Node::Array),
        1 => value(),
    ]
}

fn rules() -> impl Strategy<Value = Rules> {
    (any::<bool>(), any::<bool>(), any::<bool>(), 1..6_usize, 2..12_usize).prop_map(
        |(blocks, defaults, extra, max_batch_length, max_depth)| Rules {
            tags: TAGS.map(str::to_owned).to_vec(),
            scope: if blocks { Scope::BlockParameters } else { Scope::Params },
            never: NeverList::new(defaults, extra.then(|| "acme_*".to_owned())),
            max_batch_length,
            max_depth,
        },
    )
}

/// A document, spelled with random escapes and white space.
fn body() -> impl Strategy<Value = String> {
    (document(), any::<u64>()).prop_map(|(document, seed)| reference::spell(&document, seed))
}

fn inspect(rules: &Rules, body: &[u8]) -> Inspection {
    Rewriter::new(rules.clone()).unwrap().inspect(body)
}

fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equals_the_reference_on_json(body in body(), rules in rules(), number: u64) {
        let node: Node = serde_json::from_str(&body).unwrap();
        let inspection = inspect(&rules, body.as_bytes());
        match reference::verdict(&node, &rules, number) {
            Verdict::TooDeep { tags } => match inspection {
                // Without a tag it hangs on the search whether the body was walked at all.
                Inspection::Untouched => prop_assert!(!tags),
                other => prop_assert!(
                    matches!(&other, Inspection::Refused(denied)
                        if denied.refusal == Refusal::TooDeep { limit: rules.max_depth }),
                    "{other:?}"
                ),
            },
            Verdict::Refused(refusal) => prop_assert!(
                matches!(&inspection, Inspection::Refused(denied) if denied.refusal == refusal),
                "{inspection:?} instead of {refusal:?}"
            ),
            Verdict::Untouched => prop_assert_eq!(inspection, Inspection::Untouched),
            Verdict::Tagged { rewritten, tags, ids } => {
                let Inspection::Tagged(tagged) = inspection else { panic!("{inspection:?}") };
                prop_assert_eq!(tagged.tags(), tags);
                let spliced = tagged.splice(body.as_bytes(), number);
                prop_assert_eq!(serde_json::from_slice::<Node>(&spliced).unwrap(), rewritten);
                let answer = tagged.refuse(body.as_bytes(), &Refusal::NoHead(NoHead::Unknown));
                prop_assert_eq!(reference::ids_of_answer(&answer), ids);
            }
        }
    }

    #[test]
    fn output_differs_only_inside_matched_tokens_and_is_stable(body in body(), rules in rules(), number: u64) {
        if let Inspection::Tagged(tagged) = inspect(&rules, body.as_bytes()) {
            let spliced = tagged.splice(body.as_bytes(), number);
            let before = reference::tokens(&body);
            let after = reference::tokens(std::str::from_utf8(&spliced).unwrap());
            prop_assert_eq!(before.len(), after.len());
            let mut changed = 0;
            for (before, after) in before.iter().zip(&after) {
                if before != after {
                    let text: String = serde_json::from_str(before).unwrap();
                    prop_assert!(TAGS.contains(&text.as_str()), "{before} became {after}");
                    prop_assert_eq!(*after, format!("\"{number:#x}\""));
                    changed += 1;
                }
            }
            prop_assert_eq!(changed, tagged.tags());
            prop_assert_eq!(inspect(&rules, &spliced), Inspection::Untouched);
        }
    }

    #[test]
    fn a_verdict_on_damaged_json_agrees_with_serde(
        body in body(), rules in rules(), at: prop::sample::Index, byte: u8, cut: bool,
    ) {
        let mut body = body.into_bytes();
        let at = at.index(body.len());
        if cut { body.truncate(at) } else { body[at] = byte }
        match inspect(&rules, &body) {
            Inspection::Tagged(tagged) => {
                prop_assert!(is_json(&body));
                prop_assert!(is_json(&tagged.splice(&body, 1)));
            }
            Inspection::Refused(denied) => {
                match denied.refusal {
                    Refusal::Unparsable => prop_assert!(!is_json(&body)),
                    // The rest of the body was not read.
                    Refusal::TooDeep { .. } => {}
                    _ => prop_assert!(is_json(&body)),
                }
                prop_assert!(is_json(&denied.body(&body)));
            }
            Inspection::Untouched => {}
        }
    }

    #[test]
    fn no_bytes_make_it_panic(body in vec(any::<u8>(), 0..200), rules in rules()) {
        if let Inspection::Tagged(tagged) = inspect(&rules, &body) {
            let _ = tagged.splice(&body, 1);
        }
    }

    #[test]
    fn no_soup_of_json_makes_it_panic(
        pieces in vec(select(&[
            "{", "}", "[", "]", ",", ":", "\"params\"", "\"method\"", "\"id\"", "\"espresso\"", "\"eth_sign\"",
            "\\", "\"", "\\u0065", "\\u00", "1", "-", "e", "true", "nul", " ", "\u{17f}", "espresso",
        ][..]), 0..60),
        rules in rules(),
    ) {
        let body = pieces.concat();
        match inspect(&rules, body.as_bytes()) {
            Inspection::Untouched => {}
            Inspection::Refused(denied) if denied.refusal == Refusal::Unparsable => {
                prop_assert!(!is_json(body.as_bytes()));
            }
            Inspection::Refused(_) => {}
            Inspection::Tagged(_) => prop_assert!(is_json(body.as_bytes())),
        }
    }
}
