//! Generated bodies and rules.

use finality_core::{
    methods::{ExcludedMethods, MethodTable},
    rewrite::{Rules, Scope},
};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::reference::{self, Node};

/// The tags of the rules.
const TAGS: [&str; 2] = ["espresso", "fin/\u{e9}\u{1f600}"];

/// The text with the letters of a bit mask in upper case.
fn in_case(text: &str, upper: u64) -> String {
    let case = |(at, letter): (usize, char)| match upper >> at & 1 {
        1 => letter.to_ascii_uppercase(),
        _ => letter,
    };
    text.chars().enumerate().map(case).collect()
}

/// Strings that are a tag, resemble one, or do neither.
fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => select(&TAGS[..]).prop_map(str::to_owned),
        2 => (select(&TAGS[..]), any::<u64>()).prop_map(|(tag, upper)| in_case(tag, upper)),
        1 => select(&["e\u{17f}presso", "espresso ", "espress", "FIN/\u{c9}\u{1f600}", "0x10", "latest", ""][..])
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
            "at",
            "",
        ][..],
    )
    .prop_map(str::to_owned)
}

/// Names of parameters: known, nearly known, and others.
fn parameter() -> impl Strategy<Value = String> {
    let names = &[
        "address",
        "block_number",
        "blockNumber",
        "block_Number",
        "BlockNumber",
        "state_overrides",
        "stateOverrides",
        "block_id",
        "blockId",
        "newest_block",
        "newestBlock",
        "filter",
        "request",
        "number",
        "fromBlock",
        "from",
        "blockTag",
        "",
    ][..];
    select(names).prop_map(str::to_owned)
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
            "my_call",
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
        2 => (named(&["params"]), vec((parameter(), value()), 0..4).prop_map(Node::Object)),
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

/// The first characters of the methods that the rules may exclude by name.
pub(crate) const EXCLUDED: &str = "acme_";

/// Rows that the rules may add.
fn added_rows() -> MethodTable {
    let rows = [
        ("my_call", &["1", "0.at"][..]),
        ("eth_call", &["2", "0.fromBlock"]),
        ("debug_traceBlockByHash", &["0"]),
    ];
    MethodTable::new(rows.map(|(method, positions)| {
        (method.to_owned(), positions.iter().map(|position| position.parse().unwrap()).collect())
    }))
}

/// Rules with low limits.
pub(crate) fn rules() -> impl Strategy<Value = Rules> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (flags, 1..6_usize, 2..12_usize).prop_map(
        |((blocks, defaults, extra, added), max_batch_length, max_depth)| Rules {
            tags: TAGS.map(str::to_owned).to_vec(),
            scope: if blocks { Scope::BlockParameters } else { Scope::Params },
            excluded: ExcludedMethods::new(defaults, extra.then(|| format!("{EXCLUDED}*"))),
            block_parameters: if added { added_rows() } else { MethodTable::default() },
            max_batch_length,
            max_depth,
            ..Rules::default()
        },
    )
}

/// A document, spelled with random escapes and white space.
pub(crate) fn body() -> impl Strategy<Value = String> {
    (document(), any::<u64>()).prop_map(|(document, seed)| reference::spell(&document, seed))
}
