//! Bodies rewritten while they stream: the chunks do not change the result.

use std::convert::Infallible;

use finality_core::{
    jsonrpc,
    methods::ExcludedMethods,
    refusal::Refusal,
    rewrite::{Inspection, Rewriter, Rules, Scope, Stream},
};
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};

use crate::generator::{body, rules};

const HEAD: u64 = 100;

/// What a stream forwarded: everything, or what came before the refusal.
#[derive(Debug, PartialEq)]
struct Outcome {
    forwarded: Vec<u8>,
    tags: usize,
    refusal: Option<Refusal>,
    most_held: usize,
}

/// Sends chunks through a stream as the filter does, by replacing the front of a buffer.
fn pass<'a>(mut stream: Stream, chunks: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut outcome = Outcome { forwarded: Vec::new(), tags: 0, refusal: None, most_held: 0 };
    for chunk in chunks {
        let rewrite = match stream.push(chunk) {
            Ok(rewrite) => rewrite,
            Err(refusal) => {
                outcome.refusal = Some(refusal);
                return outcome;
            }
        };
        let mut asked = false;
        let number = || {
            asked = true;
            Ok::<_, Infallible>(HEAD)
        };
        let (mut buffer, mut out) = (chunk.to_vec(), Vec::new());
        let replaced = rewrite.write(chunk, number, &mut out).unwrap();
        assert_eq!(asked, rewrite.tags() > 0, "the number is needed only if there is a tag");
        buffer.splice(..replaced, out);
        outcome.forwarded.extend(buffer);
        outcome.tags += rewrite.tags();
        outcome.most_held = outcome.most_held.max(stream.held());
    }
    match stream.finish() {
        Ok(rest) => outcome.forwarded.extend(rest),
        Err(refusal) => outcome.refusal = Some(refusal),
    }
    outcome
}

/// Asserts that a stream of these chunks gives what an inspection of the whole body gives.
fn assert_like_inspection(rewriter: &Rewriter, body: &[u8], chunks: &[&[u8]]) {
    let outcome = pass(rewriter.stream(), chunks.iter().copied());
    let shown = || format!("{:?}", chunks.iter().map(|chunk| chunk.escape_ascii().to_string()));
    match rewriter.inspect(body) {
        Inspection::Untouched => {
            assert_eq!(outcome.refusal, None, "{}", shown());
            assert_eq!((outcome.forwarded.as_slice(), outcome.tags), (body, 0), "{}", shown());
        }
        Inspection::Tagged(tagged) => {
            assert_eq!(outcome.refusal, None, "{}", shown());
            assert_eq!(outcome.forwarded, tagged.splice(body, HEAD), "{}", shown());
            assert_eq!(outcome.tags, tagged.tags(), "{}", shown());
        }
        // Which of several reasons is found first may depend on the chunks.
        Inspection::Refused(_) => assert!(outcome.refusal.is_some(), "{}", shown()),
    }
}

/// The body, cut at these offsets.
fn cut<'a>(body: &'a [u8], offsets: &[usize]) -> Vec<&'a [u8]> {
    let mut offsets = offsets.to_vec();
    offsets.extend([0, body.len()]);
    offsets.sort_unstable();
    offsets.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect()
}

fn assert_any_single_cut(rewriter: &Rewriter, body: &[u8]) {
    for offset in 0..=body.len() {
        assert_like_inspection(rewriter, body, &cut(body, &[offset]));
    }
    assert_like_inspection(rewriter, body, &body.chunks(1).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_agrees_with_an_inspection_whatever_the_chunks(
        body in body(), rules in rules(), cuts in vec(any::<Index>(), 0..6),
    ) {
        let rewriter = Rewriter::new(rules).unwrap();
        let body = body.as_bytes();
        let offsets: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        assert_like_inspection(&rewriter, body, &cut(body, &offsets));
        assert_like_inspection(&rewriter, body, &body.chunks(1).collect::<Vec<_>>());
    }

    #[test]
    fn a_stream_of_a_damaged_body_agrees_with_an_inspection(
        body in body(), rules in rules(), cuts in vec(any::<Index>(), 0..4),
        at: Index, byte in prop_oneof![any::<u8>(), select(&b"{}[],:\"\\"[..])], truncate: bool,
    ) {
        let rewriter = Rewriter::new(rules).unwrap();
        let mut body = body.into_bytes();
        let at = at.index(body.len());
        if truncate { body.truncate(at) } else { body[at] = byte }
        let offsets: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        assert_like_inspection(&rewriter, &body, &cut(&body, &offsets));
        assert_like_inspection(&rewriter, &body, &body.chunks(1).collect::<Vec<_>>());
    }

    #[test]
    fn bytes_forwarded_before_a_refusal_contain_no_tag(
        body in body(), rules in rules(), size in 1..40_usize, truncate: Index,
    ) {
        // With no method excluded, whatever was forwarded must hold no tag in `params`.
        let rules = Rules { scope: Scope::Params, excluded: ExcludedMethods::new(false, []), ..rules };
        let rewriter = Rewriter::new(rules).unwrap();
        let body = &body.as_bytes()[..truncate.index(body.len())];
        let whole = pass(rewriter.stream(), [body]);
        let outcome = pass(rewriter.stream(), body.chunks(size));
        prop_assert_eq!(whole.refusal.is_some(), outcome.refusal.is_some());
        // Streamed again, the bytes contain no eligible tag.
        prop_assert_eq!(pass(rewriter.stream(), [outcome.forwarded.as_slice()]).tags, 0);
    }
}

#[test]
fn every_cut_of_every_vector() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../testdata/tag_replacement.json")).unwrap();
    let mut cases = 0;
    for case in
        ["from_seed_tests", "extra"].iter().flat_map(|list| vectors[list].as_array().unwrap())
    {
        let tags = vec![case["tag"].as_str().unwrap().to_owned()];
        for scope in [Scope::Params, Scope::BlockParameters] {
            let rewriter =
                Rewriter::new(Rules { tags: tags.clone(), scope, ..Rules::default() }).unwrap();
            assert_any_single_cut(&rewriter, case["in"].as_str().unwrap().as_bytes());
        }
        cases += 1;
    }
    assert!(cases >= 20);
}

#[test]
fn every_cut_of_difficult_bodies() {
    for scope in [Scope::Params, Scope::BlockParameters] {
        let rewriter = Rewriter::new(Rules { scope, ..Rules::default() }).unwrap();
        for body in [
            r#"{"params":["0x1","\u0065spr\u0065sso"],"method":"eth_getBalance","id":1}"#,
            r#"{"params":["espresso","espress"],"method":"eth_\u0073ign"}"#,
            r#"{"params":["0x1","\u0045SPR\u0065sso","ESPRESSO"],"method":"eth_getBalance","id":1}"#,
            r#"{"params":["espresso"],"method":"eth_sign"},"#,
            r#"{"params":["0x1","espresso"],"method":"eth_call","METHOD":"eth_sign"}"#,
            r#"{"method":"eth_getLogs","params":[{"fromBlock":"espresso","toBlock":"espresso","x":"espresso"}]}"#,
            r#"{"params":[{"fromBlock":"espresso","x":{"y":1},"toBlock":"espresso"}],"method":"eth_getLogs"}"#,
            r#"{"params":[{},{"blockNumber":{"x":[1],"blockNumber":"espresso"}}],"method":"eth_callMany"}"#,
            r#"[{"params":["espresso"]},1,"espresso",{"id":"espresso","p\u0061rams":"espresso"}]"#,
            r#"{"params":["espresso"]"#,
            r#"{"params":["espr"#,
            r#"{"params":["espr\"#,
            "{\"params\":[\"espr\nesso\"]}",
            r#"{"params":["latest"]} x"#,
            r#"{"params":["latest"]} xespresso"#,
            r#"{"x":x \u0065"#,
            r#"espresso"#,
            r#"no json, and no tag"#,
            "",
        ] {
            assert_any_single_cut(&rewriter, body.as_bytes());
        }
    }
}

#[test]
fn only_possible_tags_are_held() {
    let rewriter = Rewriter::new(Rules::default()).unwrap();
    let held = |body: &str| {
        let mut stream = rewriter.stream();
        let _ = stream.push(body.as_bytes()).unwrap();
        stream.held()
    };
    assert_eq!(held(r#"{"method":"m","params":["#), 0);
    assert_eq!(held(r#"{"method":"m","params":[""#), 1);
    assert_eq!(held(r#"{"method":"m","params":["espr"#), 5);
    assert_eq!(held(r#"{"method":"m","params":["eSPR"#), 5);
    assert_eq!(held(r#"{"method":"m","params":["0x"#), 0);
    assert_eq!(held(r#"{"method":"m","params":["esx"#), 0);
    assert_eq!(held(r#"{"method":"m","params":["\u00"#), 5);
    assert_eq!(held(r#"{"method":"m","params":["espresso""#), 0);
    assert_eq!(held(r#"{"method":"espr"#), 0);
    assert_eq!(held(r#"{"method":"m","params":[{"espr"#), 0);
    assert_eq!(held(r#"["espr"#), 0);
    assert_eq!(held(r#"{"params":["latest",1"#), 0, "without a tag there is nothing to wait for");
    assert_eq!(held(r#"{"params":["espresso",1"#), r#""espresso",1"#.len());
    assert_eq!(held(r#"{"params":["espresso",1],"method":"m""#), 0);
    assert_eq!(held(r#"[{"params":["espresso"]}"#), 0);
}

#[test]
fn a_tag_waits_for_its_method_up_to_the_limit() {
    let rules = Rules { max_held_bytes: 1000, ..Rules::default() };
    let rewriter = Rewriter::new(rules).unwrap();
    // `held` is the distance from the tag to the end of the method.
    let body = |held: usize| {
        let frame = r#""espresso",""],"method":"m""#.len();
        let filler = "f".repeat(held - frame);
        format!(r#"{{"params":["espresso","{filler}"],"method":"m"}}"#)
    };
    for size in [1, 7, 100, 5000] {
        let outcome = pass(rewriter.stream(), body(1000).as_bytes().chunks(size));
        assert_eq!(outcome.refusal, None);
        assert_eq!(outcome.forwarded, body(1000).replace("espresso", "0x64").into_bytes());
        assert!(outcome.most_held <= 1000);
        let outcome = pass(rewriter.stream(), body(1001).as_bytes().chunks(size));
        assert_eq!(outcome.refusal, Some(Refusal::HeldTooLong { limit: 1000 }));
        assert!(outcome.most_held <= 1000);
    }
}

#[test]
fn memory_counts_all_that_an_unfinished_body_keeps() {
    let rules = Rules { max_depth: usize::MAX, max_held_bytes: usize::MAX, ..Rules::default() };
    let rewriter = Rewriter::new(rules).unwrap();
    for (body, least, most) in [
        ("[".to_owned(), 1, 1000),
        // A byte for each container.
        ("[".repeat(5000), 5000, 20_000),
        // The held bytes, and the place of each tag.
        (format!(r#"{{"params":[{}"#, r#""espresso","#.repeat(1000)), 27_000, 100_000),
        // The ids, for the response.
        (format!("[{}", format!(r#"{{"id":"{}"}},"#, "x".repeat(200)).repeat(30)), 6000, 20_000),
    ] {
        let mut stream = rewriter.stream();
        for chunk in body.as_bytes().chunks(1000) {
            let _ = stream.push(chunk).unwrap();
        }
        assert!((least..most).contains(&stream.memory()), "{}", stream.memory());
    }
}

#[test]
fn memory_is_bounded_for_a_long_body() {
    let call = r#"{"id":1,"params":["0x00","espresso"],"x":"\n","method":"eth_getBalance"},"#;
    let long = format!("\"{}\",", "d".repeat(300_000));
    let rules = Rules { max_batch_length: usize::MAX, ..Rules::default() };
    let mut stream = Rewriter::new(rules).unwrap().stream();
    let (mut tags, mut written) = (0, 0);
    let mut memory = 0;
    let mut push = |bytes: &[u8]| {
        for chunk in bytes.chunks(1009) {
            let rewrite = stream.push(chunk).unwrap();
            let mut out = Vec::new();
            let replaced = rewrite.write(chunk, || Ok::<_, Infallible>(HEAD), &mut out).unwrap();
            assert!(stream.held() <= call.len());
            memory = memory.max(stream.memory());
            tags += rewrite.tags();
            written += out.len() + chunk.len() - replaced;
        }
    };
    push(b"[");
    for _ in 0..20 {
        push(call.repeat(500).as_bytes());
        push(long.as_bytes());
    }
    push(b"1]");
    assert!(stream.finish().unwrap().is_empty());
    assert_eq!(tags, 10_000);
    assert!(memory < 64 * 1024, "{memory}");
    let shorter = "espresso".len() - "0x64".len();
    assert_eq!(written, 3 + 20 * (500 * (call.len() - shorter) + long.len()));
}

#[test]
fn a_late_refusal_has_the_id_of_a_single_request() {
    let rewriter = Rewriter::new(Rules::default()).unwrap();
    let answer = |chunks: &[&str]| {
        let mut stream = rewriter.stream();
        for chunk in chunks {
            let _ = stream.push(chunk.as_bytes()).unwrap();
        }
        let answer = String::from_utf8(stream.refuse(&Refusal::Unparsable)).unwrap();
        let (_, rest) = answer.split_once(r#""id":"#).unwrap();
        rest.split_once(r#","error""#).unwrap().0.to_owned()
    };
    assert_eq!(answer(&[r#"{"id":7,"params":["#]), "7");
    assert_eq!(answer(&[r#"{"id":12"#, r#"34,"params":["#, "1"]), "1234");
    assert_eq!(answer(&[r#"{"id":"a"#, r#"b","params":["#]), "\"ab\"");
    assert_eq!(answer(&[r#"{"id":1,"id":2"#, "}"]), "2");
    assert_eq!(answer(&[r#"{"params":["#]), "null");
    assert_eq!(answer(&[r#"{"id":[1],"params":["#]), "null");
    let long = format!(r#"{{"id":"{}","#, "x".repeat(300));
    assert_eq!(answer(&[&long]), "null");
    assert_eq!(answer(&[r#"{"id":7,"id":"#, &format!("\"{}", "x".repeat(5000)), "\"}"]), "null");
    assert_eq!(answer(&[r#"{"id":7,"x":1}"#]), "7");
}

#[test]
fn a_late_refusal_of_a_batch_has_the_ids_shown_so_far() {
    let rewriter = Rewriter::new(Rules::default()).unwrap();
    let refuse = |body: &str, size: usize, refusal: &Refusal| {
        let mut stream = rewriter.stream();
        for chunk in body.as_bytes().chunks(size) {
            let _ = stream.push(chunk).unwrap();
        }
        let answer: serde_json::Value = serde_json::from_slice(&stream.refuse(refusal)).unwrap();
        match answer {
            serde_json::Value::Array(errors) => {
                serde_json::Value::from_iter(errors.iter().map(|error| error["id"].clone()))
                    .to_string()
            }
            error => error["id"].to_string(),
        }
    };
    let long = format!("\"{}\"", "x".repeat(300));
    let longer = format!("\"{}\"", "x".repeat(2000));
    let many: String = (0..4000).map(|id| format!(r#"{{"id":{id}}},"#)).collect();
    for size in [1, 2, 7, 1000, 1 << 20] {
        for (body, ids) in [
            (r#"[{"id":7,"params":["#, "[7]"),
            (
                r#"[{"id":7},{"id":"a\u0062"},{"method":"m"},{"id":[1]},{"id":3,"#,
                r#"[7,"ab",null,3]"#,
            ),
            (r#"[{"id":1,"id":2},{"id":3,"id":4,"params":[]}"#, "[2,4]"),
            (r#"[{"id":7},{"method":"#, "[7]"),
            (r#"[{"method":"m"},"#, "[null]"),
            ("[", "[null]"),
            (&format!(r#"[{{"id":{long}}},{{"id":{longer}}},{{"id":7}}"#), "[null,null,7]"),
            (&format!(r#"[{{"id":7,"id":{longer}}},{{"id":8}}"#), "[null,8]"),
            (&format!("[{many}"), "[null]"),
        ] {
            assert_eq!(refuse(body, size, &Refusal::AmbiguousMethod), ids, "{body} by {size}");
            // JSON-RPC wants one error for what is not JSON.
            assert_eq!(refuse(body, size, &Refusal::Unparsable), "null");
        }
    }
}

#[test]
fn every_refusal_of_a_stream_is_answered_with_its_ids() {
    let rules = Rules { max_batch_length: 2, max_depth: 6, max_held_bytes: 40, ..Rules::default() };
    let rewriter = Rewriter::new(rules).unwrap();
    let call = r#"{"id":1,"method":"m","params":["espresso"]}"#;
    for (body, reason, ids) in [
        (format!("[{call},{call},{call}]"), "batch_too_long", "1,1"),
        (r#"[{"id":1,"params":[[[["#.to_owned() + "[[[\"espresso\"", "too_deep", "1"),
        (
            r#"[{"id":1,"method":"eth_call","params":["espresso"],"method":"eth_sign"},"#
                .to_owned(),
            "ambiguous_method",
            "1",
        ),
        (format!(r#"[{{"id":1,"params":["espresso","{}"#, "x".repeat(60)), "held_too_long", "1"),
    ] {
        let mut stream = rewriter.stream();
        let mut refused = None;
        for chunk in body.as_bytes().chunks(1) {
            match stream.push(chunk) {
                Ok(rewrite) => drop(rewrite),
                Err(refusal) => {
                    refused = Some(refusal);
                    break;
                }
            }
        }
        let refusal = refused.unwrap_or_else(|| panic!("{body}"));
        assert_eq!(refusal.reason(), reason);
        let expected: Vec<_> = ids.split(',').map(str::as_bytes).collect();
        assert_eq!(stream.refuse(&refusal), jsonrpc::errors(expected, &refusal), "{reason}");
    }
}

#[test]
fn only_a_finished_json_value_is_json() {
    let rewriter = Rewriter::new(Rules { max_depth: 4, ..Rules::default() }).unwrap();
    let is_json = |body: &str| {
        let mut stream = rewriter.stream();
        for chunk in body.as_bytes().chunks(3) {
            let _ = stream.push(chunk).unwrap();
        }
        let _ = stream.finish().unwrap();
        stream.is_json()
    };
    for body in ["[1]", "{}", " 12 ", "\"x\"", "[[[[1]]]]", "[[[[[1]]]]]", "[[[[[1"] {
        assert!(is_json(body), "{body}");
    }
    for body in ["", "hello", "[1", "{\"a\":", "1 2", "[[[[", "\"x"] {
        assert!(!is_json(body), "{body}");
    }
}

#[test]
fn the_longest_known_method_is_found_whatever_the_chunks() {
    let excluded = ExcludedMethods::new(false, ["acme_*".to_owned()]);
    let rewriter = Rewriter::new(Rules { excluded, ..Rules::default() }).unwrap();
    for (length, known) in [(1024, true), (1025, false)] {
        let method = format!("acme_{}", "x".repeat(length - "acme_".len()));
        let body = format!(r#"{{"params":["espresso"],"method":"{method}"}}"#);
        let replaced = matches!(rewriter.inspect(body.as_bytes()), Inspection::Tagged(_));
        assert_eq!(replaced, !known);
        for size in [1, 100, 1023, 1024, 1025, 1026, 1030] {
            let chunks: Vec<_> = body.as_bytes().chunks(size).collect();
            assert_like_inspection(&rewriter, body.as_bytes(), &chunks);
        }
        assert_any_single_cut(&rewriter, body.as_bytes());
    }
}
