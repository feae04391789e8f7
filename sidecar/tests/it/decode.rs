//! `decode` through the real binary, on every vector.

use std::path::Path;

use serde_json::Value;

use crate::support::command::{self, Ended};

fn decode(arguments: &[&str], input: &str) -> Ended {
    run(&[&["decode", "op"], arguments].concat(), input)
}

fn decode_nitro(arguments: &[&str], input: &str) -> Ended {
    run(&[&["decode", "nitro"], arguments].concat(), input)
}

fn run(arguments: &[&str], input: &str) -> Ended {
    command::run(Path::new("."), arguments, input.as_bytes(), &[])
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

#[test]
fn every_message_of_a_nitro_payload_is_printed_as_one_object() {
    let vectors = vectors("nitro.json");
    let both = &vectors["v1"][0];
    let signer = both["signer"].as_str().unwrap();
    let arguments = ["--chain-id", "412346", "--batcher", signer];
    let output = decode_nitro(&arguments, both["payload"].as_str().unwrap());
    assert_eq!((output.code, output.err.as_str()), (0, ""));
    let printed: Vec<Value> =
        output.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [first, second] = printed.as_slice() else { panic!("{printed:?}") };
    assert_eq!((&first["position"], &second["position"]), (&7.into(), &8.into()));
    assert_eq!(first["signatures"][0]["scheme"], "signature");
    assert_eq!(second["signatures"][0]["scheme"], "signatureV2");
    assert_eq!(second["signatures"][0]["signer"], signer);
    assert_eq!(first["block_hash"], Value::Null);
    assert_eq!(second["block_hash"], both["messages"][1]["blockHash"]);
    assert_eq!(second["transactions"].as_array().unwrap().len(), 1);

    let v0 = &vectors["v0"];
    let signer = v0["recovered_signer"].as_str().unwrap();
    let arguments = ["--chain-id", "1", "--batcher", signer];
    let output = decode_nitro(&arguments, v0["payload"].as_str().unwrap());
    assert_eq!(output.code, 0);
    let printed: Value = serde_json::from_str(&output.out).unwrap();
    let expected = &v0["messages"][0];
    assert_eq!(printed["position"], expected["position"]);
    assert_eq!(printed["kind"], 3);
    assert_eq!(printed["origin"], "sequencer");
    assert_eq!(printed["delayed_messages_read"], expected["delayed_messages_read"]);
    assert_eq!(printed["transactions"][0], expected["parsed"][0]["tx_hash"]);
    assert_eq!(printed["signatures"][0]["digest"], v0["signed_hash"]);

    // The others are printed beside one that is refused.
    let pruned = &vectors["v1"][1];
    let arguments = ["--chain-id", "412346", "--batcher", both["signer"].as_str().unwrap()];
    let output = decode_nitro(&arguments, pruned["payload"].as_str().unwrap());
    assert_eq!(output.code, 0);
    let refused = |line: &&str| line.contains("\"refused\"");
    assert_eq!((output.out.lines().count(), output.out.lines().filter(refused).count()), (3, 1));
}

#[test]
fn a_nitro_payload_that_is_refused_gets_one_line_and_exit_code_2() {
    let vectors = vectors("nitro.json");
    let batcher = vectors["v1"][0]["signer"].as_str().unwrap();
    let arguments = ["--chain-id", "412346", "--batcher", batcher];
    for case in vectors["adversarial"].as_array().unwrap() {
        let output = decode_nitro(&arguments, case["payload"].as_str().unwrap());
        assert_eq!(output.code, 2, "{}", case["name"]);
        assert_eq!(output.out.lines().count(), 1, "{}", case["name"]);
    }
    let strange = ["--chain-id", "1", "--batcher", batcher];
    let output = decode_nitro(&strange, vectors["v1"][0]["payload"].as_str().unwrap());
    assert_eq!(output.code, 2);
    for arguments in [&[][..], &["--batcher", batcher], &["--chain-id", "x", "--batcher", batcher]]
    {
        assert_eq!(decode_nitro(arguments, "0x").code, 64);
    }
}
