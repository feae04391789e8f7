//! Every case of the tag replacement vectors.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use finality_core::rewrite::{Inspection, Rewriter, Rules};
use serde::Deserialize;

/// The only case whose expected bytes lack the white space before the body. This rewriter keeps all
/// bytes outside the matched tokens.
const WHITE_SPACE_DROPPED: &str = "leading white space before a batch";

/// The only case with a tag in upper case. The Go proxy forwards it to nodes that would accept it;
/// this rewriter replaces it.
const CASE_DIFFERS: &str = "case differs, not replaced";

#[derive(Deserialize)]
struct Vectors {
    from_seed_tests: Vec<Case>,
    extra: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    tag: String,
    block: u64,
    #[serde(rename = "in")]
    body: String,
    out: Option<String>,
}

#[test]
fn every_case_gives_the_expected_bytes() {
    let vectors: Vectors =
        serde_json::from_str(include_str!("../testdata/tag_replacement.json")).unwrap();
    let cases = vectors.from_seed_tests.iter().chain(&vectors.extra);
    assert!(cases.clone().count() >= 20);
    for Case { name, tag, block, body, out } in cases {
        let mut expected = out.clone();
        if name == WHITE_SPACE_DROPPED {
            let white = &body[..body.len() - body.trim_start().len()];
            expected = out.as_ref().map(|out| format!("{white}{out}"));
        }
        if name == CASE_DIFFERS {
            assert!(body.contains("\"Espresso\""), "{body}");
            expected = Some(body.replace("\"Espresso\"", &format!("\"{block:#x}\"")));
        }
        let rules = Rules { tags: vec![tag.clone()], ..Rules::default() };
        let actual = match Rewriter::new(rules).unwrap().inspect(body.as_bytes()) {
            Inspection::Untouched => None,
            Inspection::Tagged(tagged) => {
                Some(String::from_utf8(tagged.splice(body.as_bytes(), *block)).unwrap())
            }
            Inspection::Refused(denied) => panic!("{name}: {denied:?}"),
        };
        assert_eq!(actual, expected, "{name}");
    }
}
