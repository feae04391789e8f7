//! `decode` through the real binary, on every vector.

use std::path::Path;

use serde_json::Value;

use crate::support::command::{self, Ended};

fn decode(arguments: &[&str], input: &str) -> Ended {
    let arguments = [&["decode", "op"], arguments].concat();
    command::run(Path::new("."), &arguments, input.as_bytes(), &[])
}

fn vectors(name: &str) -> Value {
    let path = format!("{}/testdata/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn every_batch_is_printed_as_one_object() {
    for case in vectors("op_batches.json")["cases"].as_array().unwrap() {
        for shape in ["three_field", "four_field"] {
            let payload = case[shape]["payload"].as_str().unwrap();
            let output = decode(&["--batcher", case["batcher"].as_str().unwrap()], payload);
            assert_eq!(output.code, 0);
            assert!(output.err.is_empty());
            let printed: Value = serde_json::from_str(&output.out).unwrap();
            assert_eq!(printed["number"], case["number"]);
            assert_eq!(printed["hash"], case["header_hash"]);
            assert_eq!(printed["parent_hash"], case["rpc_block"]["parentHash"]);
            assert_eq!(printed["l1_origin"]["number"], case["epoch_number"]);
            assert_eq!(printed["l1_origin"]["hash"], case["epoch_hash"]);
            assert_eq!(printed["timestamp"], case["timestamp"]);
            assert_eq!(printed["signer"], case["batcher"]);
            assert_eq!(printed["transactions"], case["batch_transactions"]);
            assert_eq!(printed["info_deposit"], case["l1_info_deposit_raw"]);
        }
    }
}

#[test]
fn what_is_refused_gets_one_line_and_exit_code_2() {
    let vectors = vectors("op_adversarial.json");
    let batcher = vectors["batcher"].as_str().unwrap();
    for case in vectors["cases"].as_array().unwrap() {
        // Only the comparison with a block can tell this one.
        let good = case["name"] == "extra transaction not in header transactionsRoot";
        let output = decode(&["--batcher", batcher], case["payload"].as_str().unwrap());
        assert_eq!(output.code, if good { 0 } else { 2 }, "{}", case["name"]);
        let printed = output.out;
        assert_eq!(printed.lines().count(), 1, "{}: {printed}", case["name"]);
    }
    for input in ["0x123", "hello", "0xzz", "\u{e9}"] {
        let output = decode(&["--batcher", batcher], input);
        assert_eq!(output.code, 2);
        assert!(output.out.starts_with("hex: "), "{input}");
    }
}

#[test]
fn white_space_and_a_missing_prefix_do_no_harm_and_any_of_several_batchers_may_sign() {
    let case = &vectors("op_batches.json")["cases"][0];
    let payload = case["four_field"]["payload"].as_str().unwrap().trim_start_matches("0x");
    let batcher = case["batcher"].as_str().unwrap();
    let other = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8";
    let input = format!(" \n{payload}\r\n");
    let output = decode(&["--batcher", other, "--batcher", batcher], &input);
    assert_eq!(output.code, 0);
    let output = decode(&["--batcher", other], &input);
    assert_eq!(output.code, 2);
    assert!(output.out.starts_with("signer: "));
}

#[test]
fn bad_arguments_are_usage_errors() {
    for arguments in [&[][..], &["--batcher", "0x12"], &["--batcher"], &["--unknown"]] {
        let output = decode(arguments, "0x");
        assert_eq!(output.code, 64, "{arguments:?}");
        assert_eq!(output.err.lines().count(), 1);
    }
}
